"""What every contestant of a comparison can be asked for."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from experiments.attacks import Defence
from experiments.settings import Settings
from experiments.store import file_sha256

_PLACES = ("search", "weights_path")  # where files are looked for decides nothing

Kind = Literal["camera", "anonymizer", "protection"]


class Absent(RuntimeError):
    """A contestant needs something that is not there; the comparison goes on without it."""


@dataclass(frozen=True)
class Place:
    """The surroundings that contestants are opened in.

    Attributes
    ----------
    settings : Settings
        Of the job: device, weights_path, cache, progress.
    """

    settings: Settings


class Contestant(ABC):
    """One way to hide who is on a picture.

    Attributes
    ----------
    kind : {"camera", "anonymizer", "protection"}
        What hides: the lens, a new face made of what the camera records, or a change of a
        photograph.
    title : str
        In words, for tables.
    """

    kind: ClassVar[Kind]
    title: str

    @property
    def at_distances(self) -> bool:
        """Whether what it shows depends on where the face is."""
        return self.kind != "protection"

    @abstractmethod
    def made_of(self, place: Place) -> dict[str, str]:
        """Return hashes of all that decides what it shows, by name.

        Raises
        ------
        Absent
            Something it needs is not there.
        """

    def read_by(self, place: Place) -> dict[str, str]:
        """Return hashes of networks of its own that read what it shows, by name."""
        return {}

    @abstractmethod
    def learned_from(self, place: Place) -> set[str]:
        """Return the people of the job's data that it learned from."""

    @abstractmethod
    def open(self, place: Place, distance: float) -> Defence:
        """Return it as a defence of faces at a distance [m]."""


def digest(content: Any) -> str:
    """Return the SHA-256 of plain content, whatever the order of its keys."""
    text = json.dumps(_deciding(content), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _deciding(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _deciding(v) for k, v in value.items() if k not in _PLACES}
    return [_deciding(item) for item in value] if isinstance(value, (list, tuple)) else value


def arrays_sha256(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return the SHA-256 of arrays by name, however they are packed."""
    found = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype} {array.shape}\0".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def files_sha256(folder: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Return the hashes of those files below `folder` that are there, by name."""
    return {name: file_sha256(folder / name) for name in names if (folder / name).is_file()}


def same_people(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether a name means one person in two data sets, given their settings.

    Rendered people are drawn by seed and number, and are nobody's photographs.
    """
    rendered = ["Synthetic" in str(node.get("_target_")) for node in (one, other)]
    if all(rendered):
        return bool(one.get("seed") == other.get("seed"))
    return not any(rendered)
