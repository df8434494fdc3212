"""How a job runs: command line, run folder, log, exit code.

A job is a module `experiments/<job>.py` with a config `configs/<job>.yaml`; it ends in

    if __name__ == "__main__":
        run_job("<job>", main, check=check)

Everything is checked before a folder is made. A mistake ends in one line `error: ...` and one of
these exit codes: 2 settings, 3 input data, 4 damaged or foreign files, 5 hardware, 6 disk or
memory, 7 training diverged, 8 cells of a comparison failed, 130 interrupted. VEILENS_TRACEBACK=1
shows where it came from.
"""

import errno
import importlib.resources
import itertools
import logging
import os
import sys
import time
import traceback
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from experiments.composing import compose, describe
from experiments.runs import (
    Record,
    find_run,
    new_folder,
    refuse_changes,
    stored_overrides,
    unfinished,
)
from experiments.settings import Settings, SettingsError, to_si
from experiments.store import lock

__all__ = ["find_run", "run_job"]

#: Exit code by the name of the error's class or of one of its bases; names, so that a job that
#: needs no torch need not import the modules that do.
EXIT_CODES = {
    "DesignRuleError": 2,
    "DataError": 3,
    "CalibrationError": 3,
    "MeasurementError": 3,
    "ArtifactError": 4,
    "SidecarError": 4,
    "StoreError": 4,
    "VaultError": 4,
    "WeightsError": 4,
    "HardwareError": 5,
    "ServiceError": 5,
    "ResourceError": 6,
    "MemoryError": 6,
    "OutOfMemoryError": 6,
    "TrainingDiverged": 7,
    "CellsFailed": 8,
    "ValueError": 2,
}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOMEM}
_SWEEP = {"-m", "--multirun"}
_SHOW = {"-c", "--cfg", "-p", "--package", "-i", "--info", "--resolve", "--hydra-help"}

log = logging.getLogger(__name__)

Main = Callable[[Settings, Path], None]
Check = Callable[[Settings], None]


def run_job(
    job: str,
    main: Main,
    *,
    check: Check | None = None,
    named: Mapping[str, str] | None = None,
    rewrite: Callable[[list[str]], list[str]] | None = None,
    config_module: str = "configs",
    arguments: Sequence[str] | None = None,
) -> None:
    """Run `main(settings, run_folder)` as the command line says, and exit.

    Parameters
    ----------
    job : str
        Name of the job and of its config.
    main : callable
        The job; it gets the settings in SI units and the run folder.
    check : callable, optional
        Raises ValueError where settings contradict each other; called before a folder is made.
    named : mapping of str to str, optional
        Numbers that may also be given by name, each with the group that the name chooses from:
        {"size": "budget"} reads size=small as budget=small, and leaves size=64 alone.
    rewrite : callable, optional
        Makes settings of the words of the command line that are none.
    config_module : str
        Package that holds the configs.
    arguments : sequence of str, optional
        Command line, by default that of the program.

    Raises
    ------
    SystemExit
        Always; the code is 0 if the job finished.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if {"-h", "--help"} & set(words):
        sys.stdout.write(help_text(job, main, config_module))
        sys.exit(0)
    if words and "=" not in words[0] and not words[0].startswith(("-", "~")):
        words[0] = f"what={words[0]}"
    words = [_by_name(word, named or {}) for word in words]
    try:
        words = rewrite(words) if rewrite else words
        flags, overrides = _split(words)
        folder = _prepare(job, flags, overrides, check, config_module)
    except (Exception, KeyboardInterrupt) as error:
        sys.exit(_report(error))
    place = "hydra.sweep.dir" if _SWEEP & set(flags) else "hydra.run.dir"
    own = [f"hydra.job.name={job}", "hydra.job.chdir=false", "hydra.output_subdir=null"]
    own += ["hydra/job_logging=none", "hydra/hydra_logging=none"]
    if folder is not None:
        own.append(f"{place}='{folder}'")
    sys.argv = [f"experiments.{job}", *flags, *overrides, *own]

    @hydra.main(version_base="1.3", config_path=f"pkg://{config_module}", config_name=job)
    def task(config: DictConfig) -> None:
        _task(job, main, config)

    task()
    sys.exit(0)


def help_text(job: str, main: Main, config_module: str = "configs") -> str:
    """Return what `./lab <job> --help` shows: purpose, examples, choices, settings."""
    settings, groups = describe(job, config_module=config_module)
    purpose = (sys.modules[main.__module__].__doc__ or job).strip()
    source = importlib.resources.files(config_module).joinpath(f"{job}.yaml").read_text("utf-8")
    header = itertools.takewhile(lambda line: line.startswith("#"), source.splitlines())
    lines = [purpose, "", *(line.removeprefix("#").removeprefix(" ") for line in header)]
    lines += ["", "Choices (group=option):"]
    for group, (chosen, options) in sorted(groups.items()):
        marked = (f"[{option}]" if option == chosen else option for option in options)
        lines.append(f"  {group} = {' '.join(marked)}")
    lines += ["", "Settings (key=value):"]
    lines += [f"  {key} = {_short(value)}" for key, value in settings.items()]
    lines += ["", "All settings, of the choices too: --cfg job. Several runs: key=1,2 --multirun."]
    return "\n".join(lines) + "\n"


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_short(item)}" for key, item in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value) if value != "" else '""'


# Before the job


def _by_name(word: str, groups: Mapping[str, str]) -> str:
    key, _, value = word.partition("=")
    return f"{groups[key]}={value}" if key in groups and value[:1].isalpha() else word


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the options for Hydra, and the overrides."""
    flags: list[str] = []
    overrides: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            overrides.append(word)
            continue
        if word.split("=")[0] not in _SWEEP | _SHOW:
            raise SettingsError(f"{word} is not an option; settings are key=value, see --help")
        flags.append(word)
        if word in ("-c", "--cfg", "-p", "--package") and rest:
            flags.append(rest.pop(0))
    return flags, overrides


def _prepare(
    job: str, flags: list[str], overrides: list[str], check: Check | None, config_module: str
) -> Path | None:
    """Check everything, and return the run folder to use; None if the user names it.

    Settings that are only shown need not work together: whoever asks may be looking why they do
    not. Where a run is continued, its overrides are put before the new ones.
    """
    sweep = bool(_SWEEP & set(flags))
    shown = bool(_SHOW & {flag.split("=")[0] for flag in flags})
    if sweep and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SettingsError("--multirun cannot be combined with torchrun: start one run at a time")
    folder = None
    for combination in _combinations(overrides) if sweep else [overrides]:
        config = compose(job, combination, config_module=config_module)
        settings = to_si(config)
        if settings.get("resume"):
            if sweep:
                raise SettingsError("resume=true cannot be combined with --multirun")
            folder = unfinished(job, str(settings.get("run") or "latest"))
            overrides[:] = [*stored_overrides(folder), *overrides]
            config = compose(job, overrides, config_module=config_module)
            settings = to_si(config)
            refuse_changes(folder, _plain(config))
        if check is not None and not shown:
            check(settings)
    if folder is None and not any(o.startswith("hydra.") and ".dir=" in o for o in overrides):
        folder = Path() if shown else new_folder(job)
    return folder


def _combinations(overrides: Sequence[str]) -> list[list[str]]:
    """Return the overrides of every run of a sweep."""
    parser, axes = OverridesParser.create(), []
    for line in overrides:
        try:
            override = parser.parse_override(line)
        except HydraException as error:
            raise SettingsError(f"{line!r:.100} is not a setting; write key=value") from error
        if override.is_discrete_sweep():
            values = override.sweep_string_iterator()
            axes.append([f"{override.get_key_element()}={value}" for value in values])
        else:
            axes.append([line])
    return [list(combination) for combination in itertools.product(*axes)]


def _plain(config: DictConfig) -> dict[str, Any]:
    return typing.cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


# The job


def _task(job: str, main: Main, config: DictConfig) -> None:
    """Run the job in its folder; leave by SystemExit where it fails."""
    context = HydraConfig.get()
    folder = _from_here(Path(context.runtime.output_dir))
    overrides = [str(line) for line in context.overrides.task]
    first = int(os.environ.get("RANK", "0")) == 0
    handlers = _start_log(folder / f"{job}.log", first)
    try:
        settings = to_si(config)
        if not first:
            code = _attempt(job, main, settings, folder)[0]
        else:
            with lock(folder):
                record = Record(folder, job, overrides, _plain(config))
                code, state = _attempt(job, main, settings, folder)
                record.close(state, code)
                if state == "finished":
                    sys.stdout.write(f"{folder}\n")
    except Exception as error:
        code = _report(error)
    finally:
        for handler in handlers:
            logging.getLogger().removeHandler(handler)
            handler.close()
    sys.stdout.flush()
    if code:
        raise SystemExit(code)


def _from_here(folder: Path) -> Path:
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _attempt(job: str, main: Main, settings: Settings, folder: Path) -> tuple[int, str]:
    """Run the job; return the exit code and the state of the run."""
    try:
        main(settings, folder)
    except KeyboardInterrupt as error:
        begun = any((folder / name).exists() for name in ("checkpoints", "journal.jsonl"))
        reason = str(error) or "interrupted"
        reason += f"; to go on: ./lab {job} run={folder} resume=true" if begun else ""
        log.warning(reason)
        return (0 if getattr(error, "terminated", False) else 130), (
            "interrupted" if begun else "failed"
        )
    except Exception as error:
        with (folder / f"{job}.log").open("a", encoding="utf-8") as file:
            file.write(traceback.format_exc())
        return _report(error), "failed"
    return 0, "finished"


def _start_log(path: Path, first: bool) -> list[logging.Handler]:
    """Log to the console and to `path`; of several processes only the first does."""
    console = logging.StreamHandler(sys.stdout if first else sys.stderr)
    console.setFormatter(logging.Formatter("%(message)s"))
    console.setLevel(logging.INFO if first else logging.ERROR)
    handlers: list[logging.Handler] = [console]
    if first:
        handlers.append(logging.FileHandler(path, encoding="utf-8"))
        form = logging.Formatter("%(asctime)sZ %(levelname)s %(name)s: %(message)s")
        form.converter = time.gmtime
        handlers[-1].setFormatter(form)
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    for handler in handlers:
        root.addHandler(handler)
    return handlers


def _report(error: BaseException) -> int:
    """Tell the user about an error, and return the exit code."""
    if isinstance(error, KeyboardInterrupt):
        sys.stderr.write("interrupted\n")
        return 130
    passed_on = getattr(error, "exit_code", None)  # of another process, which told its error
    code = passed_on or next(
        (EXIT_CODES[c.__name__] for c in type(error).__mro__ if c.__name__ in EXIT_CODES), 1
    )
    message = str(error)
    if isinstance(error, OSError) and code == 1:
        code = 6 if error.errno in _NO_ROOM else 3
        message = f"{error.filename or 'a file'}: {error.strerror or error}"
    defect = code == 1 and passed_on is None
    if defect or os.environ.get("VEILENS_TRACEBACK") == "1":
        traceback.print_exception(error)
    if defect:
        message = f"{type(error).__name__}: {message} (this is a defect of the program)"
    sys.stderr.write(f"error: {message}\n")
    return code
