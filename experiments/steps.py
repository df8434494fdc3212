"""The steps of a pipeline: which job each one runs, with which settings, on what earlier ones made.

A step is described in the config as a job and its overrides. In an override `{name}` is the run
folder of another step of the pipeline, and the step's own name its own folder. All mistakes that
can be seen beforehand are found before the first step starts.
"""

import importlib.resources
import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from experiments.composing import compose
from experiments.settings import Settings, SettingsError, did_you_mean, to_si

#: Settings of the pipeline that every job gets which has them, before those of its step.
SHARED = ("cache", "device", "progress", "seed", "weights_path")

_FOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_PIPELINES = ("pipeline", "demo")


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes
    ----------
    name : str
        Its name, which is that of its folder too.
    job : str
        Which job it runs.
    overrides : tuple of str
        Settings of the job, with `{step}` for the folders of other steps.
    """

    name: str
    job: str
    overrides: tuple[str, ...] = ()

    @property
    def uses(self) -> tuple[str, ...]:
        """Names of the other steps whose folders it reads."""
        found = [name for line in self.overrides for name in _FOLDER.findall(line)]
        return tuple(dict.fromkeys(name for name in found if name != self.name))

    def arguments(self, run: Path) -> list[str]:
        """Return the overrides with the folders of the pipeline in `run`."""
        return [_FOLDER.sub(lambda found: str(run / found[1]), line) for line in self.overrides]


def read_steps(settings: Mapping[str, Any]) -> list[Step]:
    """Return the steps that the settings name, in their order.

    Raises
    ------
    SettingsError
        A step is described twice, nowhere, or not as a job and its overrides.
    """
    names, jobs = settings["steps"], settings["jobs"]
    if not names:
        raise SettingsError(f"steps = []: name one or more of {', '.join(jobs)}")
    steps: list[Step] = []
    for name in names:
        if name not in jobs:
            near = did_you_mean(str(name), list(jobs))
            raise SettingsError(
                f"steps: there is no step {name!r}{near}; jobs describes {', '.join(jobs)}"
            )
        if any(step.name == name for step in steps):
            raise SettingsError(f"steps: {name} stands there twice; each step is made once")
        steps.append(_read_step(name, jobs[name]))
    return steps


def _read_step(name: str, node: object) -> Step:
    if not _NAME.fullmatch(name):
        raise SettingsError(f"jobs.{name}: small letters, digits and _ are expected in a name")
    if not isinstance(node, Mapping) or set(node) - {"job", "overrides"} or "job" not in node:
        raise SettingsError(f"jobs.{name}: expected job and overrides, nothing else")
    overrides = node.get("overrides") or []
    if not isinstance(overrides, list) or not all(isinstance(line, str) for line in overrides):
        raise SettingsError(f"jobs.{name}.overrides: a list of key=value is expected")
    return Step(name, str(node["job"]), tuple(overrides))


def span(steps: Sequence[Step], settings: Mapping[str, Any]) -> tuple[int, int]:
    """Return from which step on all is made anew, and how many steps there are to be.

    Raises
    ------
    SettingsError
        `start` or `stop` is no step, or they are the wrong way round.
    """
    names = [step.name for step in steps]
    for key in ("start", "stop"):
        if settings[key] is not None and settings[key] not in names:
            raise SettingsError(f"{key} = {settings[key]!r}, expected one of {', '.join(names)}")
    end = len(names) if settings["stop"] is None else names.index(settings["stop"]) + 1
    begin = len(names) if settings["start"] is None else names.index(settings["start"])
    if settings["start"] is not None and begin >= end:
        raise SettingsError(f"start = {settings['start']} comes after stop = {settings['stop']}")
    return begin, end


def check_steps(steps: Sequence[Step], settings: Settings, there: Sequence[str]) -> None:
    """Refuse steps that cannot work, as far as that can be seen before any has run.

    Parameters
    ----------
    steps : sequence of Step
        In the order in which they are to be made.
    settings : Settings
        Of the pipeline.
    there : sequence of str
        Steps whose folders an earlier start of the pipeline left, beside those in `steps`.

    Raises
    ------
    SettingsError
        A job or a setting of a job is unknown, or a step uses one that is not made before it.
    """
    made: list[str] = [name for name in there if name not in {step.name for step in steps}]
    later = [step.name for step in steps]
    for step in steps:
        later.remove(step.name)
        for name in step.uses:
            if name in later:
                raise SettingsError(
                    f"jobs.{step.name} uses {{{name}}}, which comes later: steps are made in the "
                    f"order of steps = [{', '.join(one.name for one in steps)}]; put it first"
                )
            if name not in made:
                known = ", ".join(made) or "none"
                raise SettingsError(
                    f"jobs.{step.name} uses {{{name}}}, and no such step is made before it "
                    f"(there are: {known}); put it into steps, or mend the name"
                )
        made.append(step.name)
        _check_job(step, settings)


def _check_job(step: Step, settings: Mapping[str, Any]) -> None:
    """Compose the config of a step as its job will, with folders that are not there yet."""
    known = step.job.isidentifier() and importlib.util.find_spec(f"experiments.{step.job}")
    if not known or not _config(step.job).is_file() or step.job in _PIPELINES:
        raise SettingsError(
            f"jobs.{step.name}.job = {step.job!r}: there is no such job for a step; "
            "./lab help lists the jobs"
        )
    try:
        for line in step.overrides:
            if line.startswith(("hydra", "resume=")):
                raise SettingsError(
                    f"{line}: the pipeline itself says where and how a step goes on"
                )
        to_si(compose(step.job, command(step, settings, Path("run"))))
    except SettingsError as error:
        raise SettingsError(f"jobs.{step.name}: {error}") from error


def command(step: Step, settings: Mapping[str, Any], run: Path) -> list[str]:
    """Return the settings of a step's job, as its command line has them."""
    shared = {key: settings[key] for key in SHARED if key in settings and key in _keys(step.job)}
    return [*(f"{key}={_value(value)}" for key, value in shared.items()), *step.arguments(run)]


def resumes(step: Step) -> bool:
    """Return whether the job of a step goes on where it was interrupted."""
    return "resume" in _keys(step.job)


def _keys(job: str) -> set[str]:
    """Return the settings in the config file of a job, without its groups."""
    return set(yaml.safe_load(_config(job).read_text("utf-8")))


def _config(job: str) -> Traversable:
    return importlib.resources.files("configs").joinpath(f"{job}.yaml")


def _value(value: object) -> str:
    """Write a setting as an override has it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return f"[{','.join(_value(item) for item in value)}]"
    if isinstance(value, str):
        return quoted(value)
    return str(value)


def quoted(text: str) -> str:
    """Quote a text as Hydra's overrides want it."""
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', text)  # backslashes count before a quote alone
    return '"' + re.sub(r"(\\+)$", r"\1\1", escaped) + '"'


# Words of the command line


def translated(words: Sequence[str], jobs: Mapping[str, Any]) -> list[str]:
    """Return a command line in which `step.key=value` has become a setting of the pipeline.

    Parameters
    ----------
    words : sequence of str
        Command line. `rig=...` and `rig.key=...` are those of the step that captures.
    jobs : mapping
        What the pipeline's steps are before these words.

    Returns
    -------
    list of str
        The other words as they were, then `jobs.<step>.overrides=[...]` of each step that was
        spoken of. A setting that is given again replaces the one before it, and the choice of an
        option takes with it what was said about the option before.
    """
    others: list[str] = []
    lines: dict[str, list[str]] = {}
    for word in words:
        step, override = _addressed(word, jobs)
        if step is None:
            others.append(word)
            continue
        key = override.partition("=")[0]
        before = lines.setdefault(step, list(jobs[step].get("overrides") or []))
        kept = [
            line for line in before
            if line.partition("=")[0] != key and not line.startswith(f"{key}.")
        ]  # fmt: skip
        lines[step] = [*kept, override]
    return others + [
        f"jobs.{step}.overrides=[{','.join(quoted(line) for line in own)}]"
        for step, own in lines.items()
    ]


def _addressed(word: str, jobs: Mapping[str, Any]) -> tuple[str | None, str]:
    """Return the step that a word speaks of, and what it says to it."""
    first = re.split(r"[.=]", word, maxsplit=1)[0]
    if first == "rig":
        capture = [name for name, node in jobs.items() if node.get("job") == "capture"]
        return (capture[0], word) if len(capture) == 1 else (None, word)
    if first in jobs and word.startswith(f"{first}."):
        return first, word.partition(".")[2]
    return None, word


def plain_jobs(job: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Return what the steps of the pipeline `job` are, by name."""
    return dict(OmegaConf.to_container(compose(job, overrides)["jobs"]))  # type: ignore[arg-type]
