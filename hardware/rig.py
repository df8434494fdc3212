"""A rig: one camera with the stages, lights and modulators around it, and what stops them all."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Self

from hardware.cameras.base import Camera
from hardware.clock import Clock, SystemClock
from hardware.lights.base import Light
from hardware.modulators.base import PhaseModulator
from hardware.motion.axes import Axis
from hardware.motion.base import Stage
from hardware.safety import Safety, Stoppable, Stopped, tell_all


@dataclass
class Rig:
    """Everything on the table; use it in a ``with`` block, which leaves it dark and still.

    Parameters
    ----------
    camera : Camera
        The camera.
    stages, lights, modulators : mapping
        Devices by name; names of axes and of light channels are unique over all of them.
    name : str
        What the rig is called in sessions.
    clock : Clock
        Source of time.
    """

    camera: Camera
    stages: Mapping[str, Stage] = field(default_factory=dict)
    lights: Mapping[str, Light] = field(default_factory=dict)
    modulators: Mapping[str, PhaseModulator] = field(default_factory=dict)
    name: str = "rig"
    clock: Clock = field(default_factory=SystemClock, repr=False)

    def __post_init__(self) -> None:
        self._stage_of = _owners("axis", {n: list(s.axes) for n, s in self.stages.items()})
        self._light_of = _owners("channel", {n: list(v.channels) for n, v in self.lights.items()})
        stoppable: dict[str, Any] = {f"light {n}": v for n, v in self.lights.items()}
        stoppable |= {f"stage {n}": v for n, v in self.stages.items()}
        for name, modulator in self.modulators.items():
            if isinstance(modulator, Stoppable):  # a phase harms nobody, a mirror that moves might
                stoppable[f"modulator {name}"] = modulator
        self.safety = Safety(stoppable, clock=self.clock)
        held = [name for name, device in stoppable.items() if getattr(device, "stopped", False)]
        if held:
            self.safety.stopped = Stopped(f"before it was opened ({', '.join(held)})")

    @property
    def axes(self) -> dict[str, Axis]:
        """All axes by name."""
        return {axis: self.stages[owner].axes[axis] for axis, owner in self._stage_of.items()}

    @property
    def channels(self) -> list[str]:
        """Names of all light channels."""
        return list(self._light_of)

    def home(self) -> None:
        """Home the stages that are not homed."""
        for stage in self.stages.values():
            if not stage.homed:
                stage.home()

    def move_to(self, target: Mapping[str, float]) -> None:
        """Move axes to a position [m or rad], one stage after the other.

        Raises
        ------
        ValueError
            There is no such axis.
        HardwareError
            As `Stage.move_to`.
        """
        for axis in target:
            if axis not in self._stage_of:
                raise ValueError(f"axis = {axis!r}: the rig has {', '.join(self._stage_of)}")
        for name, stage in self.stages.items():
            part = {axis: v for axis, v in target.items() if self._stage_of[axis] == name}
            if part:
                stage.move_to(part)

    def light(self, levels: Mapping[str, float]) -> None:
        """Set the channels named, 0 to 1, and all others dark."""
        for channel in levels:
            if channel not in self._light_of:
                raise ValueError(f"channel = {channel!r}: the rig has {', '.join(self._light_of)}")
        for channel, owner in self._light_of.items():
            self.lights[owner].set(channel, levels.get(channel, 0.0))

    def position(self) -> dict[str, float]:
        """Return where all axes stand [m or rad]."""
        found: dict[str, float] = {}
        for stage in self.stages.values():
            found |= stage.position()
        return found

    def about(self) -> Mapping[str, Any]:
        """Return what a session of this rig notes besides, as plain data for JSON."""
        return {}

    def known_truth(self) -> Mapping[str, Any] | None:
        """Return what a simulated rig hides from all but the reports; None where nobody knows."""
        return None

    def park(self) -> list[str]:
        """Lights off and stages stopped, all at once; return what could not be told, and why."""
        calls: dict[str, Callable[[], None]] = {f"light {n}": v.off for n, v in self.lights.items()}
        calls |= {f"stage {n}": v.stop for n, v in self.stages.items()}
        done = Stopped("parked")
        tell_all(calls, done, clock=self.clock)
        return [f"{name}: {done.failed[name]}" for name in calls if name in done.failed]

    def close(self) -> None:
        """Park, and release all devices, the camera last; safe to call twice."""
        with ExitStack() as stack:  # closes all, whatever one of them raises
            stack.callback(self.camera.close)
            for modulator in self.modulators.values():
                stack.callback(modulator.close)
            for stage in self.stages.values():
                stack.callback(stage.close)
            for light in self.lights.values():
                stack.callback(light.close)
            self.park()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _owners(kind: str, parts: Mapping[str, list[str]]) -> dict[str, str]:
    """Return the device of each part by the part's name."""
    owner: dict[str, str] = {}
    for device, names in parts.items():
        for name in names:
            if name in owner:
                raise ValueError(f"{kind} {name!r} belongs to {owner[name]} and to {device}")
            owner[name] = device
    return owner
