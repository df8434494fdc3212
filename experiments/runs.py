"""Run folders: `runs/<job>/<UTC time>/`, found again by name, continued, and recorded.

`run.json` tells the job, its overrides, the versions and the state (running, finished,
interrupted, failed); `config.json` holds the composed config, with units, as data.
"""

import itertools
import logging
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from experiments.settings import SettingsError
from experiments.store import LOCK, ArtifactError, read_json, save_json, write_manifest

RUNS = Path("runs")
SHIPPED = Path(__file__).parent / "shipped"  #: <job> and <job>_<name>, as ./lab pack makes them
RECORD = "run.json"
CONFIG = "config.json"
FROZEN = "frozen.json"  #: of a run that froze the mask of another: that one, and its settings
#: Settings that may change when a run is continued: its steps so far do not depend on them.
FREE = (
    "run", "resume", "steps", "progress", "checkpoint_every", "log_every", "device", "workers",
    "port", "host", "key_file", "clear", "processes", "start", "stop",
)  # fmt: skip
PER_STEP = ("steps", "jobs")  #: of a pipeline: each step looks itself whether it is still the same

log = logging.getLogger(__name__)


def find_run(job: str, which: str) -> Path:
    """Return the folder of an earlier run.

    Parameters
    ----------
    job : str
        What made it.
    which : str
        "latest" for the last one that finished, "shipped" (or "shipped_<name>") for one that comes
        with the program, or its folder.

    Raises
    ------
    ArtifactError
        There is no such run.
    """
    folder = (
        RUNS / job / "latest" if which == "latest" else shipped_runs(job).get(which, Path(which))
    )
    if not (folder / RECORD).is_file():
        known = ", ".join([*map(str, newest_first(job)[:3]), *shipped_runs(job)]) or "none"
        raise ArtifactError(
            f"run = {which}: {folder} holds no run of {job}; name its folder, or 'latest' for "
            f"the last one that finished (there are: {known})"
        )
    return folder.parent / folder.readlink() if folder.is_symlink() else folder


def shipped_runs(job: str) -> dict[str, Path]:
    """Return the runs of a job that come with the program, by their names."""
    found = sorted(record.parent for record in SHIPPED.glob(f"{job}*/{RECORD}"))
    return {f"shipped{path.name.removeprefix(job)}": path for path in found}


def config_of(run: Path) -> dict[str, Any]:
    """Return the settings that describe the camera and the networks of a run, with units."""
    if (run / FROZEN).exists():
        return dict(read_json(run / FROZEN)["config"])
    return dict(read_json(run / CONFIG))


def unfinished(job: str, which: str) -> Path:
    """Return the run to continue: the one named, or for "latest" the newest unfinished one."""
    if which != "latest":
        return find_run(job, which)
    for folder in newest_first(job):
        if read_json(folder / RECORD).get("state") != "finished":
            return folder
    raise ArtifactError(f"resume = true: no run of {job} in {RUNS / job} is unfinished")


def new_folder(job: str) -> Path:
    """Make and return a run folder of its own; all processes of torchrun get the same one."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from experiments.distributed import agreed_time

        return RUNS / job / f"{agreed_time():%Y-%m-%dT%H-%M-%S}"
    name = f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}"
    for number in itertools.count(1):
        folder = RUNS / job / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise RuntimeError("unreachable")


def newest_first(job: str) -> list[Path]:
    """Return the run folders of a job."""
    found = (record.parent for record in (RUNS / job).glob(f"*/{RECORD}"))
    return sorted((path for path in found if not path.is_symlink()), reverse=True)


def stored_overrides(folder: Path) -> list[str]:
    """Return the overrides a run was started with."""
    overrides = read_json(folder / RECORD).get("overrides")
    if not isinstance(overrides, list) or not all(isinstance(o, str) for o in overrides):
        raise ArtifactError(f"{folder / RECORD} does not list the overrides of the run")
    return overrides


def refuse_changes(folder: Path, config: dict[str, Any]) -> None:
    """Raise SettingsError, with the difference, if `config` would make it another run."""
    old, new = _flat(read_json(folder / CONFIG)), _flat(config)
    changed = [
        f"{key}: {old.get(key)!r} -> {new.get(key)!r}"
        for key in sorted(set(old) | set(new))
        if old.get(key) != new.get(key)
        and key.split(".")[-1] not in FREE
        and key.split(".")[0] not in PER_STEP
    ]
    if changed:
        raise SettingsError(
            f"{folder} was made with other settings ({'; '.join(changed[:5])}); continue it "
            "without changing them, or start a run of its own"
        )


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {path: value}
    result: dict[str, Any] = {}
    for key, item in value.items():
        result |= _flat(item, f"{path}.{key}" if path else str(key))
    return result


class Record:
    """The record of one run while it goes on.

    Parameters
    ----------
    folder : Path
        Run folder.
    job : str
        Name of the job.
    overrides : sequence of str
        Overrides of the command line, in order.
    config : dict
        Composed config.
    """

    def __init__(
        self, folder: Path, job: str, overrides: Sequence[str], config: dict[str, Any]
    ) -> None:
        self._folder, self._job = folder, job
        self._fresh = not (folder / RECORD).exists()
        self._record: dict[str, Any] = {
            "job": job,
            "overrides": _lasting(overrides),
            "state": "running",
            "started": _now(),
            "versions": _versions(),
        }
        save_json(folder / CONFIG, config)
        save_json(folder / RECORD, self._record)

    def close(self, state: str, code: int) -> None:
        """Note how the run ended; one that failed before it made anything leaves no folder."""
        own = {CONFIG, RECORD, LOCK, f"{self._job}.log"}
        if state == "failed" and self._fresh and {p.name for p in self._folder.iterdir()} <= own:
            shutil.rmtree(self._folder, ignore_errors=True)
            return
        self._record |= {"state": state, "exit_code": code, "ended": _now()}
        save_json(self._folder / RECORD, self._record)
        if state == "finished":
            # steps of a pipeline have manifests of their own
            inner = [path.parent.name for path in self._folder.glob(f"*/{RECORD}")]
            write_manifest(self._folder, exclude=("checkpoints", f"{self._job}.log", *inner))
            self._move_latest()

    def _move_latest(self) -> None:
        link = RUNS / self._job / "latest"
        temporary = link.with_name(f".latest.{os.getpid()}")
        try:
            link.parent.mkdir(parents=True, exist_ok=True)
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(os.path.relpath(self._folder, link.parent))
            temporary.replace(link)
        except OSError as error:  # a file system without links
            log.warning("%s could not be moved to this run: %s", link, error)


def _lasting(overrides: Sequence[str]) -> list[str]:
    """Return the overrides that hold again when the run is continued."""
    once = {"clear", "start", "stop"}  # said anew each time, by somebody who looked
    if "resume=true" in [o.lower() for o in overrides]:
        once |= {"resume", "run"}
    return [o for o in overrides if o.partition("=")[0] not in once]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "machine": platform.platform()}
    for name in ("veilens", "torch", "numpy", "hydra-core"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    try:
        found["commit"] = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        found["commit"] = "unknown"
    return found
