"""Making the steps of a pipeline one after another, and going on where an earlier start ended.

Each step is a process of its own with a run folder of its own below that of the pipeline. The
journal says what a step was made of: its settings, and the manifests of the steps it used. A step
is done while its folder is whole and those are what they were.
"""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from experiments.runs import RECORD
from experiments.settings import SettingsError
from experiments.steps import Step, command, resumes
from experiments.store import (
    MANIFEST,
    ArtifactError,
    append_jsonl,
    file_sha256,
    read_json,
    read_jsonl,
    verify,
)

JOURNAL = "journal.jsonl"

log = logging.getLogger(__name__)


class StepFailed(RuntimeError):
    """A step ended with an error; its message has been shown.

    Attributes
    ----------
    exit_code : int
        That of the step's job.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Pipeline:
    """The steps of one pipeline in its run folder.

    Attributes
    ----------
    name : str
        Its command, for messages.
    run : Path
        Run folder.
    settings : mapping
        Settings of the pipeline.
    """

    name: str
    run: Path
    settings: Mapping[str, Any]

    @property
    def entries(self) -> dict[str, dict[str, Any]]:
        """What the journal says last of every step."""
        path = self.run / JOURNAL
        entries = read_jsonl(path) if path.exists() else []
        return {str(entry["step"]): entry for entry in entries}

    def forget(self, steps: Sequence[Step]) -> None:
        """Remove what steps made, so that they are made anew."""
        for step in steps:
            shutil.rmtree(self.run / step.name, ignore_errors=True)

    def kept(self, step: Step) -> bool:
        """Return whether a step is finished, whole, and made with the settings it is to have.

        Raises
        ------
        SettingsError
            It was made with other settings.
        ArtifactError
            Its folder is damaged.
        """
        if _state(self.run / step.name) != "finished":
            return False
        entry = self.entries.get(step.name, {})
        anew = f"./lab {self.name} run={self.run} start={step.name} makes it anew"
        if entry.get("overrides") != list(step.overrides) or entry.get("job") != step.job:
            before = " ".join([str(entry.get("job")), *entry.get("overrides", [])])
            raise SettingsError(
                f"{step.name} was made with other settings ({before}); {anew}, and all after it"
            )
        try:
            verify(self.run / step.name)
        except ArtifactError as error:
            raise ArtifactError(f"{error}; {anew}") from error
        return True

    def current(self, step: Step) -> bool:
        """Return whether a step was made of what the steps it uses hold now."""
        entry = self.entries.get(step.name, {})
        return bool(entry.get("inputs") == {name: self._manifest(name) for name in step.uses})

    def make(self, step: Step) -> None:
        """Run the job of a step, or go on with it.

        Raises
        ------
        StepFailed
            It ended with an error.
        KeyboardInterrupt
            Ctrl-C, or a scheduler's SIGTERM, ended it.
        """
        folder, inputs = self.run / step.name, self._inputs(step)
        begun = {"job": step.job, "overrides": list(step.overrides), "inputs": inputs}
        entry = self.entries.get(step.name, {})
        alike = all(entry.get(key) == value for key, value in begun.items())
        if _state(folder) is not None and alike and resumes(step):
            words = [f"run={folder}", "resume=true"]
        else:
            shutil.rmtree(folder, ignore_errors=True)
            words = [*command(step, self.settings, self.run), f"hydra.run.dir={folder}"]
            entry = {}
        append_jsonl(self.run / JOURNAL, {"step": step.name, **begun, **_spent(entry)})
        before, code = _Clock(), 1
        try:
            code = _run([sys.executable, "-m", f"experiments.{step.job}", *words])
        finally:
            spent = before.since(_spent(entry))
            append_jsonl(self.run / JOURNAL, {"step": step.name, **begun, **spent})
        if code == 0 and _state(folder) == "finished":
            return
        again = f"./lab {self.name} run={self.run} resume=true"
        if code in (0, 130, -signal.SIGINT, -signal.SIGTERM):
            raise KeyboardInterrupt(f"interrupted in step {step.name}")  # how to go on is added
        raise StepFailed(
            f"step {step.name} failed, see the message of its job above; to go on when its cause "
            f"is mended: {again}",
            code if code > 0 else 128 - code,
        )

    def _inputs(self, step: Step) -> dict[str, str]:
        """Return the hashes of the manifests of the steps that one uses."""
        found = {}
        for name in step.uses:
            manifest = self._manifest(name)
            if manifest is None:
                raise SettingsError(
                    f"step {step.name} uses {{{name}}}, which is not finished: put {name} into "
                    f"steps, and go on with ./lab {self.name} run={self.run} resume=true"
                )
            found[name] = manifest
        return found

    def _manifest(self, name: str) -> str | None:
        """Return the hash of the manifest of a step; None if it is not finished."""
        folder = self.run / name
        return file_sha256(folder / MANIFEST) if _state(folder) == "finished" else None


def _state(folder: Path) -> str | None:
    """Return the state of a run, None if there is none."""
    record = folder / RECORD
    return str(read_json(record).get("state")) if record.exists() else None


def _spent(entry: Mapping[str, Any]) -> dict[str, float]:
    return {key: float(entry.get(key, 0.0)) for key in ("seconds", "cpu_seconds")}


class _Clock:
    """Time on the wall, and what processes that have ended used of the processors [s]."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.monotonic(), _cpu_of_children()

    def since(self, earlier: Mapping[str, float]) -> dict[str, float]:
        """Return what has been spent, with what was spent earlier."""
        return {
            "seconds": round(earlier["seconds"] + time.monotonic() - self._wall, 2),
            "cpu_seconds": round(earlier["cpu_seconds"] + _cpu_of_children() - self._cpu, 2),
        }


def _cpu_of_children() -> float:
    try:
        import resource
    except ImportError:  # not a Unix
        return 0.0
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime


def _run(arguments: Sequence[str]) -> int:
    """Run a job with its output passed through, and return its exit code.

    The job is out of reach of the terminal's Ctrl-C and gets it from here, once: a second one
    would stop it before it has saved what it did.
    """
    with _forwarding() as forward:
        process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, start_new_session=True)
        forward.append(process)
        return process.wait()


@contextmanager
def _forwarding() -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Hand on Ctrl-C, SIGTERM and a closed terminal to the processes that are put into the list."""
    processes: list[subprocess.Popen[bytes]] = []

    def hand_on(number: int, frame: FrameType | None) -> None:
        if os.name == "nt" and number == signal.SIGINT:
            return  # a console gives Ctrl-C to all of its processes
        for process in processes:
            process.send_signal(signal.SIGTERM if number != signal.SIGINT else number)

    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), hand_on) for name in names}
    try:
        yield processes
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
