"""The controller of the point source: one stepper axis and one LED on one port.

Speaks the protocol of `hardware/firmware`. The stage and the light of one controller share one
object per port, as a port has one owner.
"""

import re
import threading
from itertools import count
from typing import ClassVar, Self

from hardware.clock import Clock
from hardware.errors import DeviceFault, HardwareError, ProtocolError
from hardware.serial_link import SerialLink

#: Longest wait for a reply; the controller gives it within 0.02 s [s].
REPLY = 0.15
#: A controller behind a bootloader answers after this time at the latest [s].
STARTUP = 2.5
#: A query is asked this often where the line was damaged.
QUESTIONS = 3
EMERGENCY = b"!"
#: Code of the error for what needs `CLR` first.
REFUSED_IN_ALARM = "6"
_LINE = re.compile(rb"(OK|ERR|EVT) ([ -)+-~]+)\*([0-9A-F]{2})")


def crc8(data: bytes) -> int:
    """Return the CRC-8 of polynomial 0x07 and start 0, not reflected.

    >>> hex(crc8(b"123456789"))
    '0xf4'
    """
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return crc


def framed(text: str) -> bytes:
    r"""Return a line with its checksum.

    >>> framed("2 HOME")
    b'2 HOME*17\n'
    """
    body = text.encode("ascii")
    return b"%b*%02X\n" % (body, crc8(body))


def parse(line: bytes) -> tuple[str, list[str]] | None:
    """Return kind and words of a line ``OK ...``, ``ERR ...`` or ``EVT ...``; None if damaged."""
    match = _LINE.fullmatch(line)
    if match is None or crc8(line[:-3]) != int(match[3], 16):
        return None
    return match[1].decode(), match[2].decode().split()


class PointSource:
    """A point source's controller; it stops and goes dark when it is opened.

    Use `shared` and `release`: the last user closes the port.

    Parameters
    ----------
    port : str
        Path, or a pyserial URL.
    clock : Clock, optional
        Source of time.

    Raises
    ------
    DeviceNotFound, DeviceBusy, DeviceTimeout
        There is no such port, somebody owns it, nothing answers.
    HardwareError
        It is another device, or another protocol.
    """

    _of_port: ClassVar[dict[str, "PointSource"]] = {}
    _sharing: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, port: str, *, clock: Clock | None = None) -> None:
        self._users = 1
        self._tags = count()  # its `next` is one step, for threads
        self._link = SerialLink(port, clock=clock, longest=256)
        try:
            self._connect()
        except BaseException:
            self._link.close()
            raise

    @classmethod
    def shared(cls, port: str, *, clock: Clock | None = None) -> Self:
        """Return the controller at a port, opened if nobody in this process has it yet."""
        with cls._sharing:
            known = cls._of_port.get(port)
            if known is None:
                known = cls._of_port[port] = cls(port, clock=clock)
            else:
                known._users += 1
            return known  # type: ignore[return-value]  # only this class fills the table

    def release(self) -> None:
        """Close the port if this was its last user."""
        with self._sharing:
            self._users -= 1
            if self._users == 0:
                self._of_port.pop(self._link.port, None)
                self._link.close()

    def command(self, text: str) -> dict[str, str]:
        """Send a command, once, and return what the reply says by key.

        Raises
        ------
        DeviceFault
            It was refused and nothing changed, or the controller restarted meanwhile.
        DeviceTimeout, ProtocolError
            Whether it was executed is not known.
        """
        return self._converse(text, 1)

    def query(self, text: str) -> dict[str, str]:
        """Ask, again where a line was damaged, and return what the reply says by key."""
        return self._converse(text, QUESTIONS)

    def tell(self, text: str) -> None:
        """Send a command from any thread, past whoever talks; its reply is not waited for."""
        self._link.urgent(b"\n" + framed(f"{self._next_tag()} {text}"))

    def halted(self) -> bool:
        """Return whether an emergency stop is latched; it outlives the program that gave it."""
        return self.query("POS?").get("alarm") == "estop"

    def halt(self) -> None:
        """Stop the motion and darken the LED at once, from any thread; `CLR` leaves it."""
        self._link.urgent(EMERGENCY)

    # How

    def _next_tag(self) -> int:
        return next(self._tags) % 65535 + 1

    def _converse(self, text: str, questions: int) -> dict[str, str]:
        with self._link.conversation:
            while self._link.read_line(0.0) is not None:  # events, and replies that came too late
                pass
            end = self._link.clock.now() + REPLY
            damaged = b""
            for _ in range(questions):
                tag = str(self._next_tag())
                request = framed(f"{tag} {text}")
                self._link.write(request)
                received = self._answer(tag, request, end)
                if isinstance(received, dict):
                    return received
                damaged = received
            raise ProtocolError(request, damaged)

    def _answer(self, tag: str, request: bytes, end: float) -> dict[str, str] | bytes:
        """Return the reply with this tag, or the line that says that one was damaged."""
        while (line := self._link.read_line(end - self._link.clock.now())) is not None:
            if line == request.strip():
                raise ProtocolError(request, line, hint="the port echoes: turn that off")
            said = parse(line)
            if said is None:
                if line:
                    return line
                continue
            kind, words = said
            if kind == "EVT" and words[:1] == ["boot"]:
                raise DeviceFault("boot", "the controller restarted", position_trusted=False)
            if kind == "OK" and words[:1] == [tag]:
                return dict(word.partition("=")[::2] for word in words[1:])
            if kind == "ERR" and words[:1] == [tag]:
                code, what = (*words[1:], "", "")[:2]
                hint = "look at it, then clear() it" if code == REFUSED_IN_ALARM else ""
                raise DeviceFault(
                    f"ERR {code}", f"{what}: {request!r}", position_trusted=True, hint=hint
                )
            if kind == "ERR" and words[:1] == ["0"]:
                return line
        raise self._link.timed_out(request, REPLY)

    def _connect(self) -> None:
        identity = self._identity()
        name, protocol = identity.get("name"), identity.get("protocol")
        if (name, protocol) != ("point-source", "1"):
            raise HardwareError(
                f"{self._link.port}: it is {name!r} with protocol {protocol!r}, expected "
                "'point-source' with protocol '1'",
                hint="flash the firmware of this version",
            )
        self.command("STOP")  # it may still do what a program that was killed asked for
        self.command("LED 0")

    def _identity(self) -> dict[str, str]:
        """Ask who it is until it answers; a bootloader swallows the first questions."""
        begun = self._link.clock.now()
        self._link.write(b"\n")  # ends what may be half a line
        while True:
            self._link.resync()
            try:
                return self.query("ID?")
            except (ProtocolError, DeviceFault) as error:
                if self._link.clock.now() - begun > STARTUP or "echoes" in error.hint:
                    raise
            except HardwareError:
                if self._link.clock.now() - begun > STARTUP:
                    raise
