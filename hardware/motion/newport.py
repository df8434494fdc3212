"""Stages on Newport SMC100 and CONEX controllers, alone or several on one chain.

A command gets no answer of its own: the error state is asked for after each.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from hardware.errors import DeviceFault, DeviceTimeout, HardwareError, ProtocolError
from hardware.motion.axes import Reading
from hardware.motion.base import STARTS_WITHIN, Stage
from hardware.serial_link import SerialLink

#: A query is asked this often where the answer came damaged.
QUESTIONS = 3
#: A controller is back after a reset within this time [s].
RESTART = 10.0
NO_ERROR = "@"
_FAULTS = {
    0x0001: "negative end of run",
    0x0002: "positive end of run",
    0x0004: "peak current",
    0x0008: "mean current",
    0x0010: "short circuit",
    0x0020: "following error",
    0x0040: "homing took too long",
    0x0080: "wrong stage",
    0x0100: "supply voltage too low",
    0x0200: "output power exceeded",
}
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")


@dataclass(frozen=True)
class ControllerState:
    """State of one controller by its code of two hexadecimal digits."""

    code: int
    faults: int

    @property
    def name(self) -> str:
        """Name of the state."""
        for low, high, name in (
            (0x0A, 0x11, "NOT REFERENCED"),
            (0x14, 0x14, "CONFIGURATION"),
            (0x1E, 0x1F, "HOMING"),
            (0x28, 0x29, "MOVING"),
            (0x32, 0x38, "READY"),
            (0x3C, 0x3F, "DISABLE"),
            (0x46, 0x47, "JOGGING"),
        ):
            if low <= self.code <= high:
                return name
        return f"state {self.code:02X}"

    @property
    def moving(self) -> bool:
        """Whether the axis moves."""
        return self.name in ("HOMING", "MOVING", "JOGGING")

    @property
    def complaint(self) -> str:
        """What the positioner reports, empty if nothing."""
        return ", ".join(text for bit, text in _FAULTS.items() if self.faults & bit)


@dataclass
class NewportStage(Stage):
    """Axes on SMC100 or CONEX controllers; the port is opened on construction.

    `home` resets a controller that was referenced before, as it homes only once after a reset.

    Parameters
    ----------
    port : str
        Path, or a pyserial URL.
    addresses : mapping of str to int
        Address of each axis on the chain, 1 to 31; without it a single axis has 1.
    baudrate : int
        57600 for SMC100, 921600 for CONEX.
    reply : float
        Longest wait for an answer; a device that is silent for longer in motion is stopped [s].
    """

    port: str
    addresses: Mapping[str, int] = field(default_factory=dict, kw_only=True)
    baudrate: int = field(default=57_600, kw_only=True)
    reply: float = field(default=0.15, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        default = dict.fromkeys(self.axes, 1) if len(self.axes) == 1 else {}
        self._address = dict(self.addresses) or default
        used = list(self._address.values())
        if (
            set(self._address) != set(self.axes)
            or len(set(used)) < len(used)
            or not all(1 <= address <= 31 for address in used)
        ):
            raise ValueError(
                f"addresses = {self._address}: each axis needs one of its own, 1 to 31"
            )
        self._link = SerialLink(self.port, baudrate=self.baudrate, clock=self.clock)
        try:
            self._link.write(b"\r\n")  # ends what may be half a line
            self._halt()  # it may still move for a program that was killed
            self._link.resync()
            for name in self.axes:
                self._query(name, "TE")  # an old error is not ours
                self._compare_limits(name)
        except BaseException:
            self._link.close()
            raise

    # The protocol

    def _query(self, name: str, words: str) -> str:
        """Ask one controller, again where the answer came damaged, and return what it says."""
        prefix = f"{self._address[name]}{words.rstrip('?')}"
        request = f"{self._address[name]}{words}\r\n".encode("ascii")
        with self._link.conversation:
            while self._link.read_line(0.0) is not None:  # answers that came too late
                pass
            end, received = self.clock.now() + self.reply, b""
            for _ in range(QUESTIONS):
                self._link.write(request)
                heard = self._link.read_line(end - self.clock.now())
                if heard is None:
                    break
                received = heard
                if received == request.strip():
                    raise ProtocolError(request, received, hint="the port echoes: turn that off")
                line = received.decode("ascii", errors="replace").strip()
                if line.startswith(prefix) and line.isprintable() and "\ufffd" not in line:
                    return line[len(prefix) :].strip()
            if received:
                raise ProtocolError(request, received)
            raise self._link.timed_out(request, self.reply)

    def _number(self, name: str, words: str) -> float:
        said = self._query(name, words)
        if _NUMBER.fullmatch(said) is None:
            raise ProtocolError(words.encode(), said.encode())
        return float(said)

    def _set(self, name: str, words: str) -> None:
        """Send a command, once, and ask whether it was taken."""
        with self._link.conversation:
            self._link.write(f"{self._address[name]}{words}\r\n".encode("ascii"))
            code = self._query(name, "TE")
            if code != NO_ERROR:
                text = self._query(name, f"TB{code}")
                raise DeviceFault(f"TE {code}", f"{text} ({words})", position_trusted=True)

    def _state(self, name: str) -> ControllerState:
        said = self._query(name, "TS")
        try:
            if len(said) != 6:
                raise ValueError(said)
            return ControllerState(int(said[4:], 16), int(said[:4], 16))
        except ValueError:
            raise ProtocolError(b"TS", said.encode()) from None

    # What the base class asks for

    def _read(self) -> Reading:
        position, words, fault, moving = {}, [], None, False
        for name in self.axes:
            position[name] = self._number(name, "TP") / self._per(name)
            state = self._state(name)
            moving = moving or state.moving
            words.append(f"{name}: {state.name}")
            complaint = state.complaint
            if not complaint and self._homed and not (state.moving or state.name == "READY"):
                complaint = state.name  # it restarted, or its motor is off
            if complaint:
                fault = DeviceFault(f"TS of {name}", complaint, position_trusted=False)
        return Reading("; ".join(words), position, moving, fault)

    def _start(self, target: Mapping[str, float]) -> None:
        for name, value in target.items():
            self._set(name, f"PA{value * self._per(name):.6f}")

    def _home(self) -> None:
        for name in self.axes:
            if self._state(name).name != "NOT REFERENCED":
                self._reset(name)
            self._set(name, "OR")
            limit, begun = self._homing_time(), self.clock.now()
            while (state := self._state(name)).name != "READY":
                started = self.clock.now() - begun > STARTS_WITHIN
                if state.complaint or (started and not state.moving):
                    raise DeviceFault(
                        f"homing of {name}", state.complaint or state.name, position_trusted=False
                    )
                self._pause()
                if self.clock.now() - begun > limit:
                    raise DeviceTimeout(f"homing of {name}", limit, state.name)
            self._set(name, f"VA{self.axes[name].speed * self._per(name):.6f}")

    def _reset(self, name: str) -> None:
        """Make a controller forget its reference; it is mute for some seconds."""
        self._link.write(f"{self._address[name]}RS\r\n".encode("ascii"))
        begun, state = self.clock.now(), "nothing"
        while self.clock.now() - begun < RESTART:
            self._pause()
            try:
                state = self._state(name).name
            except (DeviceTimeout, ProtocolError):
                continue
            if state == "NOT REFERENCED":
                self._query(name, "TE")
                return
        raise DeviceTimeout(f"reset of {name}", RESTART, state)

    def _stop(self) -> None:
        self._link.urgent(b"ST\r\n")  # all addresses

    def _halt(self) -> None:
        """Stop; these controllers know no harder stop that keeps the motor holding."""
        self._stop()

    def _clear(self) -> None:
        for name in self.axes:
            self._query(name, "TE")

    def _release(self) -> None:
        self._link.close()

    # How

    def _per(self, name: str) -> float:
        """Units of the controller in one of ours: millimetres, degrees."""
        return 1e3 if self.axes[name].unit == "m" else 180 / math.pi

    def _compare_limits(self, name: str) -> None:
        axis, per = self.axes[name], self._per(name)
        low, high = self._number(name, "SL?"), self._number(name, "SR?")
        if not (low <= axis.low * per and axis.high * per <= high):
            raise HardwareError(
                f"{self.port}: limits {axis.low * per:g} to {axis.high * per:g} of {name} are not "
                f"within the controller's {low:g} to {high:g} (SL, SR)"
            )
