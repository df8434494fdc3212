"""Stages on Thorlabs controllers that speak APT (Kinesis): K-Cubes, T-Cubes, LTS, racks."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from hardware.errors import DeviceFault, DeviceTimeout, ProtocolError, SettingsNotApplied
from hardware.motion import apt_messages as apt
from hardware.motion.axes import Reading
from hardware.motion.base import Stage
from hardware.serial_link import SerialLink

CHANNEL = 1
#: A status is asked for this often where the answer came damaged.
QUESTIONS = 3
_VELOCITY = struct.Struct("<Hiii")  # channel, lowest velocity, acceleration, velocity


@dataclass(frozen=True)
class AptScale:
    """How a controller counts one axis.

    Attributes
    ----------
    counts : float
        Encoder counts or microsteps per metre or radian, by the stage's data sheet.
    velocity : float
        The controller's units of velocity per m/s or rad/s, by the protocol's table.
    destination : int
        Address: 0x50 for a controller on USB, 0x21 and on for the bays of a rack.
    """

    counts: float
    velocity: float
    destination: int = 0x50

    def __post_init__(self) -> None:
        if not (self.counts > 0 and self.velocity > 0):
            raise ValueError(
                f"counts = {self.counts:g}, velocity = {self.velocity:g}: above 0 is needed"
            )
        if self.destination not in apt.SOURCES:
            raise ValueError(f"destination = {self.destination:#x}, expected 0x50 or 0x21 to 0x2a")


@dataclass
class AptStage(Stage):
    """Axes on one APT port, which is opened on construction.

    Parameters
    ----------
    port : str
        Path, or a pyserial URL.
    scales : mapping of str to AptScale
        Of each axis.
    status_message : {"dc", "stepper"}
        Which status message the controller knows: "dc" for KDC, TDC, BBD and the like,
        "stepper" for KST, TST, LTS.
    reply : float
        Longest wait for an answer; a device that is silent for longer in motion is stopped [s].
    """

    port: str
    scales: Mapping[str, AptScale]
    status_message: Literal["dc", "stepper"] = field(default="dc", kw_only=True)
    reply: float = field(default=0.15, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if set(self.scales) != set(self.axes):
            raise ValueError(f"scales = {', '.join(self.scales)}: one for each axis is needed")
        if len({scale.destination for scale in self.scales.values()}) < len(self.axes):
            raise ValueError("scales: each axis needs a destination of its own")
        if self.status_message not in ("dc", "stepper"):
            raise ValueError(f"status_message = {self.status_message!r}, expected dc or stepper")
        self._link = SerialLink(self.port, rtscts=True, dtr=True, clock=self.clock)
        try:
            self._link.resync()
            for scale in self.scales.values():
                self._link.write(
                    apt.short(apt.NO_FLASH, scale.destination)
                    + apt.short(apt.STOP_UPDATES, scale.destination)
                )
            self._halt()  # it may still move for a program that was killed
            self._read()
        except BaseException:
            self._link.close()
            raise

    # The protocol

    def _hear(self, timeout: float) -> apt.Message | None:
        """Take in one message; raise the errors that it may bring."""
        received = self._link.receive(apt.take, timeout)
        if received is None:
            return None
        message = apt.parse(received)
        if message.kind == apt.DC_STATUS:
            self._link.write(apt.short(apt.ACK_DC_STATUS, message.source))
        if message.kind == apt.ERROR:
            raise DeviceFault(
                f"error of {message.source:#x}", "the controller failed", position_trusted=False
            )
        if message.kind == apt.RICH_ERROR and len(message.data) >= 4:
            code = int.from_bytes(message.data[2:4], "little")
            text = message.data[4:].split(b"\0")[0].decode("ascii", errors="replace")
            raise DeviceFault(f"error {code}", text, position_trusted=False)
        return message

    def _ask(self, request: bytes, kind: int, source: int, size: int) -> bytes:
        """Ask, again where nothing whole came, and return the data of the answer."""
        with self._link.conversation:
            while self._hear(0.0) is not None:  # what was said unasked
                pass
            for _ in range(QUESTIONS):
                self._link.write(request)
                end = self.clock.now() + self.reply / QUESTIONS
                while (message := self._hear(end - self.clock.now())) is not None:
                    fits = message.kind == kind and message.source == source
                    if fits and len(message.data) >= size:
                        return message.data
        raise self._link.timed_out(request, self.reply)

    def _ask_motion(self, name: str) -> tuple[int, frozenset[str]]:
        there = self.scales[name].destination
        if self.status_message == "dc":
            asked, kind = apt.REQUEST_DC_STATUS, apt.DC_STATUS
        else:
            asked, kind = apt.REQUEST_STATUS, apt.STATUS
        return apt.parse_motion(self._ask(apt.short(asked, there, CHANNEL), kind, there, 14))

    # What the base class asks for

    def _read(self) -> Reading:
        position, words, fault = {}, [], None
        moving = False
        for name in self.axes:
            counts, bits = self._ask_motion(name)
            position[name] = counts / self.scales[name].counts
            moving = moving or bool(bits & apt.MOVING)
            words.append(f"{name}: {', '.join(sorted(bits))}")
            if bits & apt.FAULTS:
                what = ", ".join(sorted(bits & apt.FAULTS))
                fault = DeviceFault(f"status of {name}", what, position_trusted=False)
            elif self._homed and "homed" not in bits:
                fault = DeviceFault(
                    f"status of {name}", "the controller restarted", position_trusted=False
                )
        return Reading("; ".join(words), position, moving, fault)

    def _start(self, target: Mapping[str, float]) -> None:
        self._link.write(
            b"".join(
                apt.long(
                    apt.MOVE,
                    self.scales[name].destination,
                    struct.pack("<Hi", CHANNEL, round(value * self.scales[name].counts)),
                )
                for name, value in target.items()
            )
        )

    def _home(self) -> None:
        for name in self.axes:
            self._link.write(apt.short(apt.ENABLE, self.scales[name].destination, CHANNEL, 1))
            self._set_velocity(name)
            self._home_axis(name)

    def _home_axis(self, name: str) -> None:
        there, limit, begun = self.scales[name].destination, self._homing_time(), self.clock.now()
        self._link.write(apt.short(apt.HOME, there, CHANNEL))
        seen = False  # the bit of an earlier homing may still be there when this one starts
        while True:
            _, bits = self._ask_motion(name)
            seen = seen or bool(bits & apt.MOVING) or "homed" not in bits
            if bits & apt.FAULTS:
                what = ", ".join(sorted(bits & apt.FAULTS))
                raise DeviceFault(f"homing of {name}", what, position_trusted=False)
            if seen and "homed" in bits and not bits & apt.MOVING:
                return
            self._pause()
            if self.clock.now() - begun > limit:
                raise DeviceTimeout(f"homing of {name}", limit, ", ".join(sorted(bits)))

    def _set_velocity(self, name: str) -> None:
        """Set the speed of the axis, and leave its acceleration."""
        scale = self.scales[name]
        request = apt.short(apt.REQUEST_VELOCITY, scale.destination, CHANNEL)

        def ask() -> tuple[int, ...]:
            size = _VELOCITY.size
            return _VELOCITY.unpack_from(self._ask(request, apt.VELOCITY, scale.destination, size))

        channel, lowest, acceleration, _ = ask()
        wanted = round(self.axes[name].speed * scale.velocity)
        if not 0 < wanted < 2**31:
            raise ProtocolError(
                request, b"", hint=f"speed of {name} is {wanted} in its units: check velocity"
            )
        data = _VELOCITY.pack(channel, min(lowest, wanted), acceleration, wanted)
        self._link.write(apt.long(apt.SET_VELOCITY, scale.destination, data))
        if (got := ask()[3]) != wanted:
            raise SettingsNotApplied(
                f"speed of {name}", wanted / scale.velocity, got / scale.velocity,
                f"{self.axes[name].unit}/s",
            )  # fmt: skip

    def _stop(self) -> None:
        self._end(apt.PROFILED)

    def _halt(self) -> None:
        self._end(apt.AT_ONCE)

    def _end(self, how: int) -> None:
        stops = (apt.short(apt.STOP, s.destination, CHANNEL, how) for s in self.scales.values())
        self._link.urgent(b"".join(stops))

    def _clear(self) -> None:
        """Nothing: APT controllers keep no memory of a stop."""

    def _release(self) -> None:
        self._link.close()
