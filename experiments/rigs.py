"""Rigs from their configs: camera, stages, lights and modulators that share one clock.

Axes and channels are plain settings in `configs/rig`. As an axis may be linear or rotary, its
limits say by their units which: "300 mm" and "20 mm/s", or "90 deg" and "5 deg/s".
"""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from configs.quantities import parse_quantity
from experiments.settings import Settings, SettingsError, build
from hardware.clock import Clock, SimulatedClock, SystemClock
from hardware.lights import Channel
from hardware.motion import Axis
from hardware.rig import Rig

_CLOCKS = {"simulated": SimulatedClock, "system": SystemClock}
_SPEEDS = ("speed", "homing_speed")


def open_rig(settings: Settings) -> Rig:
    """Return the rig that `settings` describe, its devices opened.

    Where one cannot be opened, those opened before are closed. A rig that is no list of devices
    (a simulated table, another machine's) names what opens it in `_target_`.

    Raises
    ------
    SettingsError
        A part of it has a setting that its device does not take.
    HardwareError
        A device is missing, busy or silent.
    """
    if "_target_" in settings:
        whole: Rig = build(settings)
        return whole
    clock = clock_of(settings["clock"])
    with ExitStack() as opened:
        stages, lights, modulators = {}, {}, {}
        for name, node in settings["stages"].items():
            axes = {axis: axis_of(part) for axis, part in node["axes"].items()}
            stages[name] = build(_without(node, "axes"), axes=axes, clock=clock)
            opened.callback(stages[name].close)
        for name, node in settings["lights"].items():
            channels = {channel: _channel(part) for channel, part in node["channels"].items()}
            lights[name] = build(_without(node, "channels"), channels=channels)
            opened.callback(lights[name].close)
        for name, node in settings["modulators"].items():
            modulators[name] = build(node)
            opened.callback(modulators[name].close)
        node, seen = settings["camera"], {}
        if "scene" in node:  # what a simulated camera looks at is the rest of the rig
            seen["scene"] = build(node["scene"], stages=stages, lights=lights)
            node = _without(node, "scene")
        camera = build(node, clock=clock, **seen)
        opened.callback(camera.close)
        rig = Rig(camera, stages, lights, modulators, name=settings["name"], clock=clock)
        opened.pop_all()
    return rig


def clock_of(name: str) -> Clock:
    """Return the clock that `rig.clock` names."""
    if name not in _CLOCKS:
        raise SettingsError(f"rig.clock = {name!r}, expected {' or '.join(_CLOCKS)}")
    clock: Clock = _CLOCKS[name]()
    return clock


def _without(node: Settings, key: str) -> Settings:
    return Settings({k: v for k, v in node.items() if k != key}, node.path)


def axis_of(node: Settings) -> Axis:
    """Return the axis that `node` describes; its limits say whether it is linear or rotary."""
    dimension = _dimension(node.get("low"))
    values: dict[str, Any] = {"unit": "rad" if dimension == "angle" else "m"}
    for key, value in node.items():
        name = f"{node.path}.{key}"
        if key in _SPEEDS and isinstance(value, str) and value.endswith("/s"):
            values[key] = _quantity(value.removesuffix("/s"), dimension, name)
        elif key in _SPEEDS:
            raise SettingsError(f"{name} = {value!r}: write a speed, as in '20 mm/s'")
        else:
            values[key] = _quantity(value, dimension, name)
    axis: Axis = _made(Axis, values, node)
    return axis


def _channel(node: Settings) -> Channel:
    channel: Channel = _made(Channel, node, node)
    return channel


def _made(kind: Any, values: Mapping[str, Any], node: Settings) -> Any:
    target = {"_target_": f"{kind.__module__}.{kind.__qualname__}", **values}
    return build(Settings(target, node.path))


def _dimension(text: object) -> str:
    """Return "angle" where `text` is one; all else is a length, or a mistake that it will show."""
    try:
        parse_quantity(text, "angle")
    except ValueError:
        return "length"
    return "angle"


def _quantity(text: object, dimension: str, name: str) -> float:
    try:
        return parse_quantity(text, dimension, name)
    except ValueError as error:
        raise SettingsError(str(error)) from error
