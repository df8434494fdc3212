"""Stages on GRBL 1.1 and grblHAL controllers.

Every move is a jog (``$J=``) in machine coordinates: it does not depend on what G-code was active
before, and it can be cancelled with its position kept. One line at a time is under way, so that
the controller's receive buffer of 128 bytes is never overrun.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hardware.errors import DeviceFault, DeviceTimeout, HardwareError, ProtocolError
from hardware.motion.axes import Reading
from hardware.motion.base import POLL, Stage
from hardware.motion.grbl_words import (
    LETTERS,
    TRUSTED_ALARMS,
    Report,
    alarm_text,
    complaints,
    error_text,
    is_banner,
    parse_report,
    parse_setting,
)
from hardware.serial_link import SerialLink

STATUS, HOLD, RESET, CANCEL_JOG = b"?", b"!", b"\x18", b"\x85"
#: A controller behind a bootloader answers after this time at the latest [s].
STARTUP = 4.0
#: A status is asked for this often where the answer came damaged.
QUESTIONS = 3
#: Reports until one has the work offset; GRBL sends it with every 30th at least.
OFFSET_WITHIN = 40
ECHO = "the port echoes: turn that off"
_MOVING = frozenset({"Run", "Jog", "Home"})
_FOREIGN = {
    "Door": "the safety door is open",
    "Sleep": "the motors are off",
    "Check": "G-code is checked, nothing moves",
}


@dataclass
class GrblStage(Stage):
    """Axes on a GRBL controller; the port is opened and the controller reset on construction.

    Positions are machine coordinates, so limits are negative unless homing sets the origin.

    Parameters
    ----------
    port : str
        Path, or a pyserial URL.
    letters : mapping of str to str
        Letter of each axis on the controller; without it the axes' own names are the letters.
    reply : float
        Longest wait for an answer; a device that is silent for longer in motion is stopped [s].
    dtr : bool
        Level of DTR; some boards with USB of their own send nothing while it is low.
    transcript : path, optional
        File to which all traffic is appended.

    Raises
    ------
    DeviceNotFound, DeviceBusy, DeviceTimeout
        There is no such port, somebody owns it, nothing answers.
    HardwareError
        The controller's settings do not fit `axes`.
    """

    port: str
    letters: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    reply: float = field(default=0.15, kw_only=True)
    dtr: bool = field(default=False, kw_only=True)
    transcript: str | Path | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._letter = {name: self.letters.get(name, name.upper()) for name in self.axes}
        used = list(self._letter.values())
        if len(set(used)) < len(used) or not set(used) <= set(LETTERS):
            raise ValueError(f"letters = {self._letter}: each axis needs one of {LETTERS}")
        self._alarm: int | None = None  # the last that was pushed, until it is left
        self._halted = True  # a reset banner that comes now is our doing
        self._offset: tuple[float, ...] | None = None
        self._reports: list[Report] = []  # came, and not yet looked at
        self._last: Reading | None = None
        self._settings: dict[int, float] = {}
        self._link = SerialLink(
            self.port, clock=self.clock, dtr=self.dtr, transcript=self.transcript
        )
        try:
            self._connect()
        except BaseException:
            self._link.close()
            raise

    # The protocol

    def _hear(self, timeout: float) -> str | None:
        """Take in the next line, and return it if it belongs to a command."""
        heard = self._link.read_line(timeout)
        if heard is None:
            return None
        line = heard.decode("ascii", errors="replace").strip()
        if line.startswith("ALARM:") and line[6:].isdigit():
            self._alarm = int(line[6:])
        elif is_banner(line):
            self._offset = None
            if not self._halted:
                raise DeviceFault("reset", "the controller restarted", position_trusted=False)
        elif (report := parse_report(line)) is not None:
            self._offset = report.offset or self._offset
            self._reports.append(report)
        elif (setting := parse_setting(line)) is not None:
            self._settings[setting[0]] = setting[1]
        elif line.startswith("?<"):
            raise ProtocolError(STATUS, heard, hint=ECHO)
        else:
            return line
        return ""

    def _send(self, text: str, timeout: float | None = None) -> None:
        """Send a line, once, and wait for its ok."""
        request, limit = text.encode("ascii") + b"\n", timeout or self.reply
        with self._link.conversation:
            self._drain()
            self._link.write(request)
            end = self.clock.now() + limit
            while (line := self._hear(end - self.clock.now())) is not None:
                if self._answered(request, line):
                    return
            raise self._link.timed_out(request, limit)

    def _answered(self, request: bytes, line: str) -> bool:
        """Return whether a line is the ok to a request; raise if it is anything but."""
        if line == "ok":
            return True
        if self._alarm is not None and not self._halted:
            raise self._alarmed(self._alarm)
        if line.startswith("error:"):
            code = int(line[6:]) if line[6:].isdigit() else 0
            # Nothing was done, and nothing moved.
            raise DeviceFault(line, error_text(code), position_trusted=True)
        if line and line.encode("ascii", errors="replace") == request.strip():
            raise ProtocolError(request, line.encode(), hint=ECHO)
        return False

    def _drain(self) -> None:
        """Look at what was said unasked."""
        while self._hear(0.0) is not None:
            pass
        self._reports.clear()

    def _report(self) -> Report:
        """Ask for one report; again, within the same time, where a line came damaged."""
        with self._link.conversation:
            self._drain()
            end = self.clock.now() + self.reply
            for _ in range(QUESTIONS):
                self._link.write(STATUS)
                while (line := self._hear(end - self.clock.now())) is not None:
                    if self._reports:
                        return self._reports[-1]
                    if line and not line.startswith("["):
                        break
            raise self._link.timed_out(STATUS, self.reply)

    # What the base class asks for

    def _read(self) -> Reading:
        if self._motion == "home" and self._last is not None:
            return self._last  # it answers nothing while it homes
        report = self._report()
        for _ in range(OFFSET_WITHIN):
            machine = self._machine(report)
            if machine is not None:
                break
            report = self._report()
        else:
            raise ProtocolError(STATUS, repr(report).encode(), hint="set $10=1")
        if len(machine) < 1 + max(LETTERS.index(letter) for letter in self._letter.values()):
            raise ProtocolError(STATUS, repr(report).encode(), hint="it has fewer axes")
        position = {
            name: machine[LETTERS.index(letter)] / self._per(name)
            for name, letter in self._letter.items()
        }
        state = report.state if report.substate is None else f"{report.state}:{report.substate}"
        # Hold:0 stands; other holds slow down.
        moving = report.state in _MOVING or (report.state == "Hold" and report.substate != 0)
        self._last = Reading(state, position, moving, self._fault(report))
        return self._last

    def _machine(self, report: Report) -> tuple[float, ...] | None:
        if report.machine is not None:
            return report.machine
        if report.work is None or self._offset is None:
            return None
        return tuple(w + o for w, o in zip(report.work, self._offset, strict=False))

    def _fault(self, report: Report) -> DeviceFault | None:
        if report.state == "Alarm":
            return self._alarmed(report.substate or self._alarm or 0)
        self._alarm = None
        if report.state in _FOREIGN:
            return DeviceFault(report.state, _FOREIGN[report.state], position_trusted=False)
        return None

    def _alarmed(self, code: int) -> DeviceFault:
        return DeviceFault(
            f"ALARM:{code}" if code else "Alarm",
            alarm_text(code) if code else "locked",
            position_trusted=code in TRUSTED_ALARMS,
        )

    def _start(self, target: Mapping[str, float]) -> None:
        here = self._last.position if self._last is not None else target
        way = {name: abs(value - here[name]) * self._per(name) for name, value in target.items()}
        time = max(way[name] / (self.axes[name].speed * self._per(name)) for name in target)
        feed = math.hypot(*way.values()) / time if time > 0 else 1.0
        words = (f"{self._letter[name]}{v * self._per(name):.4f}" for name, v in target.items())
        self._halted = False
        self._send(f"$J=G53G21G90{''.join(words)}F{max(60 * feed, 0.01):.3f}")

    def _home(self) -> None:
        self._restart()
        self._read()
        request, limit = b"$H\n", self._homing_time()
        begun = self.clock.now()
        with self._link.conversation:
            self._drain()
            self._halted = False
            self._alarm = None
            self._link.write(request)
        while True:
            line = self._hear(POLL)
            if line is not None and self._answered(request, line):
                break
            if self._alarm is not None:
                raise self._alarmed(self._alarm)
            self._pause()
            if self.clock.now() - begun > limit:
                raise self._link.timed_out(request, limit, hint="are the limit switches connected?")
        self._last = None

    def _homing_time(self) -> float:
        """Return how long GRBL may search by its own settings, twice, and the slack [s]."""
        seek = max(self._settings.get(25, 0.0), 1.0) / 60
        feed = max(self._settings.get(24, 0.0), 1.0) / 60
        travel = sum(self._settings[130 + LETTERS.index(v)] for v in self._letter.values())
        locate = len(self.axes) * 5 * self._settings.get(27, 0.0)
        return self.slack + 2 * (1.5 * travel / seek + locate / feed)

    def _stop(self) -> None:
        self._link.urgent(CANCEL_JOG)

    def _halt(self) -> None:
        self._halted = True
        self._link.urgent(HOLD + RESET)

    def _clear(self) -> None:
        """Reset, and unlock where an alarm remains: only here, as only a person calls it."""
        self._restart()
        if self._report().state == "Alarm":
            self._send("$X")
        self._alarm = None
        self._halted = False

    def _release(self) -> None:
        self._link.close()

    # How

    def _per(self, name: str) -> float:
        """Units of the controller in one of ours: millimetres, degrees."""
        return 1e3 if self.axes[name].unit == "m" else 180 / math.pi

    def _restart(self) -> None:
        """Reset at rest, which drops what waits and keeps the position, and wait for an answer."""
        self._halted = True
        self._link.urgent(RESET)
        self._wake()

    def _wake(self) -> None:
        """Ask until it answers: the banner may be lost, and a bootloader swallows questions."""
        begun = self.clock.now()
        while True:
            self._link.resync()
            try:
                self._report()
            except DeviceTimeout:
                if self.clock.now() - begun > STARTUP:
                    raise
            else:
                return

    def _connect(self) -> None:
        self._restart()  # a line or a move of a program that was killed may still be there
        self._send("$$", 5 * self.reply)
        self._halted = False
        wanted = {
            self._letter[name]: (
                axis.low * self._per(name),
                axis.high * self._per(name),
                axis.speed * self._per(name) * 60,
            )
            for name, axis in self.axes.items()
        }
        wrong = complaints(self._settings, wanted)
        if wrong:
            raise HardwareError(f"{self.port}: the controller does not fit: {'; '.join(wrong)}")
