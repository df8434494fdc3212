"""Cells of a comparison: what each result depends on, and where it is kept."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from experiments.store import ArtifactError, atomic_write, read_bytes, read_json, save_json

SCHEMA = 1
"""Raised when cells are computed differently, so that none of before is taken."""

FOLDER = "compare"
RECORD = "cell.json"
PICTURES = "reconstructions.npz"

Part = Literal["attack", "utility", "shown"]
State = Literal["done", "not run", "failed"]


@dataclass(frozen=True)
class Cell:
    """One contestant at one distance, under one attack or one measure of utility.

    Attributes
    ----------
    method : str
        Name of the contestant.
    distance : float
        Where faces are [m].
    part : {"attack", "utility", "shown"}
        What is tried; "shown" keeps what the fixed people look like.
    name : str
        Of the attack or the measure.
    key : str
        SHA-256 of all that the result depends on; empty where it is not run.
    reason : str
        Why it is not run.
    """

    method: str
    distance: float
    part: Part
    name: str
    key: str = ""
    reason: str = ""

    @property
    def place(self) -> str:
        """Where it stands in a run: method / distance / name."""
        return f"{self.method}/{label(self.distance)}/{self.name}"


@dataclass(frozen=True)
class Result:
    """What became of a cell.

    Attributes
    ----------
    cell : Cell
    state : {"done", "not run", "failed"}
    reason : str
        Why there is no record.
    record : mapping
        What was found; empty unless done.
    """

    cell: Cell
    state: State
    reason: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)


def label(distance: float) -> str:
    """Return a distance [m] as it stands in names of numbers."""
    return f"{distance:g}m"


class Cache:
    """Results of cells, each in a folder of its own that is there whole or not at all.

    Parameters
    ----------
    root : Path
        Cache of the jobs.
    """

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER

    def place(self, key: str) -> Path:
        """Return the folder of a finished cell."""
        return self.folder / key

    def has(self, key: str) -> bool:
        """Return whether the cell is finished."""
        return (self.place(key) / RECORD).is_file()

    def read(self, key: str) -> dict[str, Any]:
        """Return the record of a finished cell.

        Raises
        ------
        ArtifactError
            It is damaged, or of another cell.
        """
        record = read_json(self.place(key) / RECORD)
        if not isinstance(record, dict) or record.get("key") != key:
            raise ArtifactError(
                f"{self.place(key)} holds another cell; remove that folder, it is computed anew"
            )
        return record

    def workshop(self, key: str, process: int) -> Path:
        """Return an empty folder in which `process` makes the cell; what was begun is dropped."""
        folder = self.folder / f".{key}.{process}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def keep(self, key: str, workshop: Path, record: Mapping[str, Any]) -> None:
        """Finish a cell: its record is written last, and the folder then gets its name."""
        shutil.rmtree(workshop / "checkpoints", ignore_errors=True)
        save_json(workshop / RECORD, {"key": key, **record})
        if self.has(key):  # another job was faster
            shutil.rmtree(workshop)
            return
        shutil.rmtree(self.place(key), ignore_errors=True)
        workshop.replace(self.place(key))

    def tidy(self) -> None:
        """Remove what processes that are gone have left half-made."""
        for folder in self.folder.glob(".*.*"):
            if not _alive(folder.suffix.removeprefix(".")):
                shutil.rmtree(folder, ignore_errors=True)

    def copy(self, cell: Cell, run: Path) -> None:
        """Put the record of a finished cell, and its pictures, into a run folder."""
        source, target = self.place(cell.key), run / cell.place
        save_json(target / f"{cell.part}.json", self.read(cell.key))
        if (source / PICTURES).is_file():
            atomic_write(target / PICTURES, read_bytes(source / PICTURES))


def _alive(process: str) -> bool:
    if not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
