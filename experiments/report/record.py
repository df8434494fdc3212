"""What a run folder holds, read once; whatever is absent is absent, never invented."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import yaml

from experiments.store import ArtifactError, load_arrays, read_json, read_jsonl

LEARNED = "learned"
REFERENCE_DISTANCE = 1.5  # [m], where a run does not say otherwise
_DISTANCE = re.compile(r"^(\d+(?:\.\d+)?)m$")
_Content = TypeVar("_Content", dict[str, Any], list[Any])
_KNOWN_ORDER = (LEARNED, "in_focus", "defocused", "low_resolution", "random_mask")


@dataclass(frozen=True)
class Value:
    """A number with its 95 % interval, where one was computed.

    Parameters
    ----------
    value : float
        Finite point estimate.
    low, high : float or None
        Limits of the interval; both or neither.
    """

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class RunRecord:
    """The contents of one run folder.

    Parameters
    ----------
    name : str
        The folder's own name; nothing above it is shown.
    job : str
        The job that wrote it.
    metrics : mapping
        Final numbers, flat keys.
    history : sequence of mapping
        One entry per logged step.
    evidence : mapping of str to ndarray
        Pictures, PSFs and curves; empty when the run stored none.
    config, overrides : str, sequence of str
        The composed settings as text and what was typed on the command line.
    versions : mapping
        Programs and libraries.
    trade_off : sequence of mapping
        One entry per privacy weight, empty without a sweep.
    data_choice : str
        What the settings call the data set, empty if they do not.
    data : mapping
        What the data set held and refused; empty when not stored.
    """

    name: str
    job: str
    metrics: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]] = ()
    evidence: Mapping[str, np.ndarray] = field(default_factory=dict)
    config: str = ""
    overrides: Sequence[str] = ()
    versions: Mapping[str, Any] = field(default_factory=dict)
    trade_off: Sequence[Mapping[str, Any]] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    data_choice: str = ""

    def number(self, key: str) -> float | None:
        """Return the metric `key` if it is there and finite."""
        return _finite(self.metrics.get(key))

    def value(self, key: str, *, camera: str = LEARNED, distance: str = "") -> Value | None:
        """Return a metric of one camera with its interval.

        Parameters
        ----------
        key : str
            Without prefix, for example ``reid_auc_inverted_1_10ke``.
        camera : str
            Camera name; the learned one carries no prefix.
        distance : str
            ``"1.5m"`` for the number at one distance, empty for the overall one.
        """
        prefix = ("" if camera == LEARNED else f"{camera}/") + (f"{distance}/" if distance else "")
        number = self.number(prefix + key)
        if number is None:
            return None
        stem, exposure = key, ""
        if match := re.match(r"^(.*)(_\d+ke)$", key):
            stem, exposure = match[1], match[2]
        for low_key, high_key in (
            (f"{key}_lo", f"{key}_hi"),
            (f"{stem}_lo{exposure}", f"{stem}_hi{exposure}"),
        ):
            low, high = self.number(prefix + low_key), self.number(prefix + high_key)
            if low is not None and high is not None:
                return Value(number, low, high)
        return Value(number)

    def array(self, key: str, ndim: int) -> np.ndarray | None:
        """Return an evidence array if it is there, not empty, and has `ndim` axes."""
        array = self.evidence.get(key)
        if array is None or array.ndim != ndim or array.size == 0:
            return None
        return array

    def scalar(self, key: str) -> float | None:
        """Return an evidence scalar if it is there, finite and positive."""
        array = self.evidence.get(key)
        if array is None or array.size != 1:
            return None
        value = _finite(array.reshape(()).item())
        return value if value is not None and value > 0 else None

    @property
    def cameras(self) -> tuple[str, ...]:
        """Cameras in the order of the evidence, then any that only the metrics name."""
        named = [str(n) for n in self.evidence.get("camera_names", np.array([])).reshape(-1)]
        found = {key.split("/", 1)[0] for key in self.metrics if "/" in key}
        extra = sorted(
            (n for n in found if not _DISTANCE.match(n) and n not in named),
            key=lambda n: (_KNOWN_ORDER.index(n) if n in _KNOWN_ORDER else len(_KNOWN_ORDER), n),
        )
        return tuple(dict.fromkeys([LEARNED, *named, *extra]))

    @property
    def distances(self) -> tuple[str, ...]:
        """Distances that occur in the metrics, nearest first, as they are written there."""
        parts = {part for key in self.metrics for part in key.split("/")[:-1]}
        return tuple(sorted((p for p in parts if _DISTANCE.match(p)), key=lambda p: float(p[:-1])))

    @property
    def reference_distance(self) -> float:
        """Distance of the baseline PSFs and the MTF [m]."""
        return self.scalar("reference_distance") or REFERENCE_DISTANCE

    @property
    def data_name(self) -> str:
        """What to call the pictures that were attacked."""
        for name in (self.metrics.get("data"), self.data.get("name"), self.data_choice):
            if isinstance(name, str) and name:
                return name
        return "the test pictures of this run"


def read_run(run: Path) -> RunRecord:
    """Read a run folder.

    Parameters
    ----------
    run : Path
        Folder with at least ``metrics.json``.

    Returns
    -------
    RunRecord
        With empty members for what the folder does not hold.

    Raises
    ------
    ArtifactError
        If ``metrics.json`` is absent or a file that is there cannot be read.
    """
    if not (run / "metrics.json").is_file():
        raise ArtifactError(
            f"run = {run.name} holds no metrics.json, which the report is made from; "
            f"finish the job first or name another run folder"
        )
    folder = run.resolve()
    history, evidence = run / "metrics.jsonl", run / "evidence.npz"
    trade_off = _read_json(run / "trade_off.json", list)
    config = _read_json(run / "config.json", dict)
    launched = _read_json(run / "run.json", dict)
    overrides = launched.get("overrides")
    versions = launched.get("versions")
    return RunRecord(
        name=folder.name,
        job=str(launched.get("job") or folder.parent.name or "run"),
        metrics=_read_json(run / "metrics.json", dict),
        history=tuple(read_jsonl(history)) if history.is_file() else (),
        evidence=load_arrays(evidence) if evidence.is_file() else {},
        config=yaml.safe_dump(config, sort_keys=False, allow_unicode=True) if config else "",
        overrides=tuple(str(item) for item in overrides) if isinstance(overrides, list) else (),
        versions=versions if isinstance(versions, dict) else {},
        trade_off=tuple(entry for entry in trade_off if isinstance(entry, dict)),
        data=_read_json(run / "data.json", dict),
        data_choice=_data_choice(config),
    )


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _read_json(path: Path, kind: type[_Content]) -> _Content:
    """Return the content of a JSON file, or an empty `kind` if there is no file."""
    if not path.is_file():
        return kind()
    content = read_json(path)
    if not isinstance(content, kind):
        raise ArtifactError(
            f"{path.name} holds a {type(content).__name__}, expected a {kind.__name__}; "
            f"write the run again"
        )
    return content


def _data_choice(config: Mapping[str, Any]) -> str:
    """Return what the settings call the data set; of paths only the last part."""
    data = config.get("data")
    if not isinstance(data, dict):
        return str(data or "")
    roots = data.get("root")
    roots = roots if isinstance(roots, list) else [roots]
    found = [str(data["name"])] if data.get("name") else [Path(str(r)).name for r in roots if r]
    if not found and "synthetic" in str(data.get("_target_")):
        found = ["rendered faces"]
    return " and ".join(found)
