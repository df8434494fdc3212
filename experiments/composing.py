"""Composing the config of a job with Hydra, and checking it key by key.

Every mistake on the command line or in a config file is a SettingsError that says which setting
in which file is wrong, what is allowed, and what was probably meant.
"""

import math
import typing
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import hydra
import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.settings import (
    OWN_PACKAGES,
    PHYSICAL,
    RANGES,
    SettingsError,
    did_you_mean,
    kind,
    one_line,
    same_kind,
    show,
)

_NOT_A_SETTING = (
    "{!r:.100} is not a setting; write key=value, and quote special characters: 'key=\"a, b\"'"
)


def compose(
    job: str, overrides: Sequence[str] = (), *, config_module: str = "configs"
) -> DictConfig:
    """Return the config of `job` with `overrides`, checked key by key.

    Parameters
    ----------
    job : str
        Name of the job and of its file in `config_module`.
    overrides : sequence of str
        "key=value" and "group=option", as on the command line.
    config_module : str
        Package that holds the config files.

    Raises
    ------
    SettingsError
        A key, group or option is unknown, or a value is not of the type of its default.
    """
    with _hydra(config_module) as loader:
        parsed = _parse(overrides)
        choices = [o for o in parsed if _is_group(loader, o, job)]
        for choice in choices:
            _check_option(loader, choice, job)
        base = _compose(job, choices)
        places = _Places(base, config_module)
        for override in parsed:
            if override not in choices and not override.is_hydra_override():
                _check_override(override, base, places, loader)
        final = base if len(choices) == len(parsed) else _compose(job, parsed)
        _check_values(final, places)
    return OmegaConf.masked_copy(final, [str(key) for key in final if key != "hydra"])


def describe(job: str, *, config_module: str = "configs") -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the top-level settings of a job, and per group its choice and its options."""
    with _hydra(config_module) as loader:
        config = _compose(job, [])
        groups = {
            group: (chosen, _options(loader, group, job))
            for group, chosen in config.hydra.runtime.choices.items()
            if not group.startswith("hydra")
        }
        plain = OmegaConf.to_container(config, resolve=False)
    settings = {
        str(key): value
        for key, value in typing.cast(dict[Any, Any], plain).items()
        if key not in groups and key != "hydra"
    }
    return settings, groups


@contextmanager
def _hydra(config_module: str) -> Iterator[ConfigLoader]:
    with hydra.initialize_config_module(config_module, version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


def _compose(job: str, overrides: Iterable[Override]) -> DictConfig:
    lines = [str(override.input_line) for override in overrides]
    try:
        return hydra.compose(job, lines, return_hydra_config=True)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}" if mark else ""
        raise SettingsError(f"a config file of {job!r}{place}: {error.problem}") from error
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, RecursionError) as error:
        raise SettingsError(f"{job}: {one_line(error)}") from error


def _parse(overrides: Sequence[str]) -> list[Override]:
    parser = OverridesParser.create()
    parsed = []
    for line in overrides:
        try:
            override = parser.parse_override(line)
        except (HydraException, RecursionError) as error:
            raise SettingsError(_NOT_A_SETTING.format(line)) from error
        if not override.key_or_group:
            raise SettingsError(_NOT_A_SETTING.format(line))
        if override.is_sweep_override():
            raise SettingsError(f"{line:.200}: several values are a sweep; add --multirun")
        parsed.append(override)
    return parsed


def _options(loader: ConfigLoader, group: str, job: str) -> list[str]:
    """Return what can be chosen; files whose name starts with "_" are parts of others.

    A folder of the job's name within a group holds options for that job alone.
    """
    name = group.split("@")[0]
    found = loader.get_group_options(name, ObjectType.CONFIG)
    own = loader.get_group_options(f"{name}/{job}", ObjectType.CONFIG)
    return [o for o in [*found, *(f"{job}/{o}" for o in own)] if not o.startswith("_")]


def _is_group(loader: ConfigLoader, override: Override, job: str) -> bool:
    return bool(_options(loader, override.get_key_element().lstrip("+~"), job))


def _check_option(loader: ConfigLoader, choice: Override, job: str) -> None:
    group, value = choice.key_or_group, choice.value()
    options = _options(loader, group, job)
    for option in value if isinstance(value, list) else [value]:
        if option is None or isinstance(option, dict):
            raise SettingsError(f"{group} is chosen by name: {', '.join(options)}")
        if str(option) not in options:
            near = did_you_mean(str(option), options)
            raise SettingsError(
                f"{group} = {option!s:.80}: there is no such option{near}; "
                f"there are {', '.join(options)}"
            )


def _check_override(
    override: Override, base: DictConfig, places: "_Places", loader: ConfigLoader
) -> None:
    key, line = override.key_or_group, override.input_line
    if key not in places.keys:
        names = [*places.keys, *loader.list_groups("")]
        raise SettingsError(
            f"{key!r} is not a setting of this job{did_you_mean(key, names)}; "
            "--help lists the settings"
        )
    if override.is_delete():
        raise SettingsError(f"{line}: settings cannot be removed, only changed")
    default, value = places.default(base, key), override.value()
    if value is None and "." in key:
        return  # a part of an object: whoever builds it knows whether it may be left out
    if default is not None and key.split(".")[-1] not in PHYSICAL and not same_kind(default, value):
        raise SettingsError(
            f"{key} = {show(value)}, expected {kind(default)} such as {show(default)} "
            f"({places.file(key)})"
        )


class _Places:
    """Every key of a config, and the file that sets it."""

    def __init__(self, config: DictConfig, config_module: str) -> None:
        self.folder = config_module.replace(".", "/")
        self.job = str(config.hydra.job.config_name)
        self.files: dict[str, str] = {}  # by the path where a group's option is put
        for choice, option in config.hydra.runtime.choices.items():
            group, _, place = choice.partition("@")
            self.files[place or group.replace("/", ".")] = f"{group}/{option}.yaml"
        self.keys = [key for key, _ in _walk(config)]

    def file(self, key: str) -> str:
        """Name the file that holds `key`, as far as the groups tell."""
        parts = key.split(".")
        for length in range(len(parts) - 1, 0, -1):
            file = self.files.get(".".join(parts[:length]))
            if file is not None:
                return f"{self.folder}/{file}"
        return f"{self.folder}/{self.job}.yaml"

    @staticmethod
    def default(config: DictConfig, key: str) -> object:
        """Return the value the files give `key`; None where they leave it open."""
        return OmegaConf.select(config, key, throw_on_resolution_failure=False)


def _walk(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted path and the value of every setting; interpolations are left alone."""
    if path:
        yield path, node
    if isinstance(node, DictConfig):
        for key in map(str, node):
            name = f"{path}.{key}" if path else key
            if name == "hydra":
                continue
            if OmegaConf.is_missing(node, key) or OmegaConf.is_interpolation(node, key):
                yield name, None
            else:
                yield from _walk(node[key], name)


def _check_values(config: DictConfig, places: _Places) -> None:
    """Refuse numbers that are not finite or out of range, and targets that are not ours."""
    for key, value in _walk(config):
        last = key.split(".")[-1]
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if isinstance(value, float) and not math.isfinite(value):
            raise SettingsError(f"{key} = {value!r} is not a finite number ({places.file(key)})")
        if last in RANGES and not (value is None or OmegaConf.is_config(value)):
            low, high = RANGES[last]
            if not number or not low <= value <= high:
                raise SettingsError(
                    f"{key} = {show(value)}, expected {low:g} to {high:g} ({places.file(key)})"
                )
        if last == "_target_" and str(value).split(".")[0] not in OWN_PACKAGES:
            raise SettingsError(
                f"{key} = {value!r:.80}: only names in {', '.join(OWN_PACKAGES)} are ever built"
            )
