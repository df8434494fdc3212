"""Settings of a job: converted to SI units and built into objects.

A mistake is one SettingsError that names the setting, what is allowed and what to do. Only
callables of this project's own packages are ever built. `experiments.composing` makes the
config that this module reads.
"""

import difflib
import functools
import importlib
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from configs.quantities import parse_quantity

#: Packages whose classes and functions a config may name in `_target_`.
OWN_PACKAGES = ("optics", "anonymizer", "experiments", "hardware", "calibration")

#: Settings that are physical quantities, by the last part of their name, and their dimension.
PHYSICAL = {
    "angular_margin": "angle",
    "aperture_diameter": "length",
    "astigmatism": "length",
    "base_thickness": "length",
    "beam_diameter": "length",
    "blur": "length",
    "blur_spread": "length",
    "boresight": "length",
    "cell": "length",
    "coma": "length",
    "correction_wavelength": "length",
    "copy_gap": "length",
    "decentre": "length",
    "design_wavelength": "length",
    "diameter": "length",
    "distance": "length",
    "distances": "length",
    "distortion": "length",
    "face_width": "length",
    "farthest": "length",
    "field_curvature": "length",
    "fixed": "length",
    "focal_length": "length",
    "focus": "length",
    "focus_distance": "length",
    "full_depth": "length",
    "gap": "length",
    "height_step": "length",
    "low_pass": "length",
    "margin": "length",
    "mask_to_sensor": "length",
    "max_height": "length",
    "max_size": "length",
    "max_stroke": "length",
    "min_feature": "length",
    "min_gap": "length",
    "min_zone": "length",
    "nearest": "length",
    "object_distance": "length",
    "overlay": "length",
    "period": "length",
    "pixel_pitch": "length",
    "reference_distance": "length",
    "rim_diameters": "length",
    "rim_distances": "length",
    "source_diameter": "length",
    "spacing": "length",
    "spherical": "length",
    "stage_offset": "length",
    "start_rms": "length",
    "street": "length",
    "stroke": "length",
    "surface_depth": "length",
    "surface_wavelength": "length",
    "tool_radius": "length",
    "turning": "length",
    "vernier": "length",
    "wavefront": "length",
    "wavelength": "length",
    "wavelength_shift": "length",
    "wavelengths": "length",
    "wrap_height": "length",
    "zero_distance": "length",
    "exposure": "time",
    "exposure_times": "time",
    "longest": "time",
    "max_exposure": "time",
    "min_exposure": "time",
    "patience": "time",
    "reply": "time",
    "saturation": "time",
    "settle": "time",
    "silence": "time",
    "timeout": "time",
    "angle": "angle",
    "half_field": "angle",
    "max_angle": "angle",
    "max_pitch": "angle",
    "max_roll": "angle",
    "max_turn": "angle",
    "max_yaw": "angle",
    "roll": "angle",
    "spread": "angle",
    "tilt": "angle",
}

#: Numbers with a range that every job shares, by the last part of their name.
RANGES: dict[str, tuple[float, float]] = {
    "batch": (1, 65_536),
    "batch_size": (1, 65_536),
    "checkpoint_every": (1, 1e8),
    "learning_rate": (1e-12, 10.0),
    "log_every": (1, 1e8),
    "seed": (0, 2**63 - 1),
    "steps": (0, 1e8),
    "workers": (0, 1024),
}


class SettingsError(ValueError):
    """A setting of a job is unknown, of the wrong type, without its unit, or out of range."""


class Settings(dict[str, Any]):
    """Plain settings that remember where in the config they stand, for messages.

    Attributes
    ----------
    path : str
        Dotted path of this part, "" for the whole.
    """

    def __init__(self, values: Mapping[str, Any] | None = None, path: str = "") -> None:
        super().__init__(values or {})
        self.path = path


# Converting


def to_si(config: DictConfig) -> Settings:
    """Return the settings as plain values, with physical quantities in SI units.

    The keys of `PHYSICAL` must be text with a unit ("25 mm"), or lists of such texts; they become
    floats. Nothing else is changed.

    Raises
    ------
    SettingsError
        A quantity has no unit or a wrong one, or a value that must be given is missing.
    """
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        key = getattr(error, "full_key", "") or "a setting"
        raise SettingsError(f"{key} has no default; give it: {key}=...") from error
    except (OmegaConfBaseException, RecursionError) as error:
        raise SettingsError(one_line(error)) from error
    return _converted(typing.cast(dict[str, Any], plain), "")


def _converted(values: Mapping[Any, Any], path: str) -> Settings:
    result = Settings(path=path)
    for key, value in values.items():
        result[str(key)] = _si(value, str(key), f"{path}.{key}" if path else str(key))
    return result


def _si(value: Any, key: str, path: str) -> Any:
    if isinstance(value, Mapping):
        return _converted(value, path)
    if isinstance(value, list):
        return [_si(item, key, f"{path}[{index}]") for index, item in enumerate(value)]
    if key in PHYSICAL and value is not None:
        try:
            return parse_quantity(value, PHYSICAL[key], path)
        except ValueError as error:
            raise SettingsError(str(error)) from error
    return value


# Building


def build(node: Mapping[str, Any], **extra: Any) -> Any:
    """Build the object that `node` describes: `_target_` is called with its other keys.

    Nodes below that have a `_target_` are built first. With `_partial_: true` the result is a
    function that still takes the arguments left out. Lists become tuples where the annotation of
    the argument asks for one.

    Parameters
    ----------
    node : mapping
        Part of the settings, as `to_si` returns it.
    **extra
        Further arguments, which no config holds (modules, data).

    Raises
    ------
    SettingsError
        The target is not ours or refuses its arguments; the message starts with the config path.
    """
    path = str(getattr(node, "path", "")) or str(node.get("_target_", "this part"))
    target = _locate(node.get("_target_"), path)
    parameters = inspect.signature(target).parameters
    hints = _hints(target)
    given = {key: value for key, value in node.items() if key not in ("_target_", "_partial_")}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for key in [*given, *extra]:
        if key not in parameters and not open_ended:
            raise SettingsError(
                f"{path}.{key}: {_name(target)} has no such argument"
                f"{did_you_mean(key, list(parameters))}; it takes {', '.join(parameters)}"
            )
    if both := sorted(set(given) & set(extra)):
        raise SettingsError(f"{path}.{both[0]} is set by the job itself; remove it")
    arguments = {
        key: _argument(value, hints.get(key, Any), f"{path}.{key}") for key, value in given.items()
    } | extra
    if node.get("_partial_") is True:
        return functools.partial(target, **arguments)
    for key, parameter in parameters.items():
        wanted = parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_KEYWORD,
            parameter.VAR_POSITIONAL,
        )
        if wanted and key not in arguments:
            raise SettingsError(f"{path}.{key} is missing; {_name(target)} needs it")
    try:
        return target(**arguments)
    except SettingsError:
        raise
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{path}: {error}") from error


def _locate(name: object, path: str) -> Callable[..., Any]:
    if not isinstance(name, str) or name.split(".")[0] not in OWN_PACKAGES or "." not in name:
        raise SettingsError(
            f"{path}._target_ = {name!r}: only names in {', '.join(OWN_PACKAGES)} are ever built"
        )
    module_name, _, attribute = name.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise  # a dependency of the module is missing
        raise SettingsError(f"{path}._target_ = {name!r}: there is no such module") from error
    target = vars(module).get(attribute)
    origin = str(getattr(target, "__module__", "")).split(".")[0]
    if not callable(target) or origin not in OWN_PACKAGES:
        near = did_you_mean(attribute, [n for n, v in vars(module).items() if callable(v)])
        raise SettingsError(f"{path}._target_ = {name!r}: {module_name} has no {attribute}{near}")
    return typing.cast(Callable[..., Any], target)


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except NameError:  # a name imported for type checking only
        return {}


def _argument(value: Any, annotation: Any, path: str) -> Any:
    """Return `value` as `annotation` wants it, or raise SettingsError."""
    if isinstance(value, Mapping) and "_target_" in value:
        return build(value)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        failure = SettingsError(f"{path} = {show(value)}, expected {_type_name(annotation)}")
        for option in arguments:
            try:
                return _argument(value, option, path)
            except SettingsError as error:
                failure = error if len(arguments) == 1 else failure
        raise failure
    if origin is typing.Literal:
        fits = any(value == choice and type(value) is type(choice) for choice in arguments)
    elif annotation is float:
        fits, value = _is_int(value) or isinstance(value, float), value
        value = float(value) if fits else value
    elif annotation is int:
        fits = _is_int(value)
    elif annotation in (bool, str):
        fits = isinstance(value, annotation)
    elif annotation is None or annotation is type(None):
        fits = value is None
    elif annotation is Path:
        fits, value = isinstance(value, str), Path(value) if isinstance(value, str) else value
    elif origin in (list, tuple, Sequence) and arguments:
        fits = isinstance(value, (list, tuple))
        if fits and origin is tuple and Ellipsis not in arguments:
            fits = len(value) == len(arguments)
        if fits:
            fixed = origin is tuple and Ellipsis not in arguments
            kinds = arguments if fixed else [arguments[0]] * len(value)
            items = [
                _argument(item, kind, f"{path}[{index}]")
                for index, (item, kind) in enumerate(zip(value, kinds, strict=True))
            ]
            value = tuple(items) if origin is tuple else items
    else:
        fits = True
    if not fits:
        raise SettingsError(f"{path} = {show(value)}, expected {_type_name(annotation)}")
    return value


# Words for messages


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def kind(value: object) -> str:
    """Say in words what kind of value it is."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int):
        return "a whole number"
    if isinstance(value, float):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, Sequence) else "a group of settings"


def same_kind(default: object, value: object) -> bool:
    """Return whether `value` may stand where the config file has `default`."""
    wanted, found = kind(default), kind(value)
    if wanted == "a list" and found == "a list":
        kinds = {kind(item) for item in typing.cast(Sequence[object], default)}
        if len(kinds) != 1:
            return True
        example = next(iter(typing.cast(Sequence[object], default)))
        return all(same_kind(example, item) for item in typing.cast(Sequence[object], value))
    if hasattr(value, "text") and wanted == "text":  # a quoted string
        return True
    if isinstance(default, DictConfig):
        return isinstance(value, dict)
    return wanted == found or (wanted == "a number" and found == "a whole number")


def show(value: object) -> str:
    """Return a value as the user wrote it, shortened."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    text = getattr(value, "text", value)
    return f"{text!r:.80}"


def _type_name(annotation: Any) -> str:
    plain = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}
    if annotation in plain:
        return plain[annotation]
    if typing.get_origin(annotation) is typing.Literal:
        return "one of " + ", ".join(map(str, typing.get_args(annotation)))
    return str(annotation).replace("typing.", "")


def _name(target: Callable[..., Any]) -> str:
    return f"{target.__module__}.{getattr(target, '__qualname__', target)}"


def did_you_mean(word: str, names: Sequence[str]) -> str:
    """Return "; did you mean ...?" if a name is near, whole or in its last part."""
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.75)
    if not near:
        last = {name.split(".")[-1]: name for name in reversed(names)}
        part = difflib.get_close_matches(word.split(".")[-1], list(last), n=1, cutoff=0.7)
        near = [last[part[0]]] if part else []
    return f"; did you mean {near[0]!r}?" if near else ""


def one_line(error: BaseException) -> str:
    """Return the message of an error of Hydra or OmegaConf on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "; ".join(lines[:3])
