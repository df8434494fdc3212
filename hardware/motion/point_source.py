"""The axis of the point source: a stepper without encoder on our own firmware."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hardware.errors import DeviceFault, DeviceTimeout
from hardware.motion.axes import Reading
from hardware.motion.base import Stage
from hardware.point_source import PointSource

#: The controller stops by itself when it hears nothing for this long in motion [ms].
ALIVE = 1000
#: Speed at which it seeks the switch, at most [steps/s].
SEEK_SPEED = 800
#: Steps beside the way to the switch: search beyond the limits, release, back-off, at their pace.
SEEK_MARGIN, RELEASE_TIME = 1000, 5.0
_ALARMS = {
    "estop": "an emergency stop was given",
    "home": "the home switch opened in motion",
    "far": "the far switch opened in motion",
    "search": "the home switch was not found, or is stuck",
}


@dataclass
class PointSourceStage(Stage):
    """One axis; the port is opened on construction, shared with the light of the same controller.

    Parameters
    ----------
    port : str
        Path, or a pyserial URL.
    steps : float
        Steps per metre or radian; step 0 is at home, position 0.
    """

    port: str
    steps: float = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.axes) != 1:
            raise ValueError(f"axes = {', '.join(self.axes)}: the point source has one axis")
        ((self._name, self._axis),) = self.axes.items()
        speed = self._axis.speed * self.steps
        if not (self._axis.low >= 0 and self._axis.high * self.steps <= 1_000_000):
            raise ValueError(
                f"{self._name} = {self._axis.low:g} to {self._axis.high:g} {self._axis.unit} at "
                f"{self.steps:g} steps each: 0 to 1000000 steps are possible"
            )
        if not 50 <= speed <= 5000:
            raise ValueError(f"speed of {self._name} = {speed:g} steps/s, expected 50 to 5000")
        if self._axis.tolerance * self.steps < 0.5:
            raise ValueError(
                f"tolerance of {self._name} = {self._axis.tolerance:g} {self._axis.unit} is less "
                "than half a step"
            )
        self._alive = False
        self._controller = PointSource.shared(self.port, clock=self.clock)
        try:
            if self._controller.halted():
                self._stopped.set()
        except BaseException:
            self._controller.release()
            raise

    def _read(self) -> Reading:
        said = self._controller.query("POS?")
        state, alarm, homed = said["state"], said["alarm"], said["homed"] == "1"
        fault = None
        if alarm != "none":
            fault = DeviceFault(f"alarm {alarm}", _ALARMS.get(alarm, alarm), position_trusted=homed)
        elif self._homed and not homed:
            fault = DeviceFault("homed=0", "the controller restarted", position_trusted=False)
        moving = state in ("moving", "homing")
        if self._alive and not moving:  # at rest a silent host keeps its light
            self._alive = False
            self._controller.command("ALIVE 0")
        return Reading(state, {self._name: int(said["pos"]) / self.steps}, moving, fault)

    def _start(self, target: Mapping[str, float]) -> None:
        self._keep_alive()
        self._controller.command(f"MOVE {round(target[self._name] * self.steps)}")

    def _home(self) -> None:
        low, high = round(self._axis.low * self.steps), round(self._axis.high * self.steps)
        speed = round(self._axis.speed * self.steps)
        self._controller.command(f"LIM {low} {high}")  # a reset forgets all of these
        self._controller.command(f"SPEED {speed} {min(max(4 * speed, 1000), 50000)}")
        self._keep_alive()
        limit, begun = self._homing_time(), self.clock.now()
        self._controller.command("HOME")
        while (now := self._read()).moving:
            self._pause()
            if self.clock.now() - begun > limit:
                raise DeviceTimeout("homing", limit, now.state, hint="is its path free?")
        if now.fault is not None:
            raise now.fault
        if self._controller.query("POS?")["homed"] != "1":
            raise DeviceFault("homing", "it ended without a reference", position_trusted=False)

    def _homing_time(self) -> float:
        way = self._axis.high * self.steps + SEEK_MARGIN
        return (
            self.slack
            + 2 * (way / min(SEEK_SPEED, self._axis.speed * self.steps))
            + (2 * RELEASE_TIME)
        )

    def _keep_alive(self) -> None:
        self._controller.command(f"ALIVE {ALIVE}")
        self._alive = True

    def _stop(self) -> None:
        self._controller.tell("STOP")

    def _halt(self) -> None:
        self._controller.halt()

    def _clear(self) -> None:
        self._controller.command("CLR")

    def _release(self) -> None:
        self._controller.release()
