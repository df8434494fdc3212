r"""Deformable mirror on a serial port: an open protocol for controllers of one's own.

Lines of ASCII end with a newline; before it stand ``*`` and the CRC-16 of what precedes the star,
four hex digits (CCITT: polynomial 0x1021, start 0xFFFF, not reflected). Requests begin with a tag
of 1 to 65535, which the reply repeats. Values are whole numbers, 0 for the lowest command of an
actuator and `steps` for its highest.

=======================  ======================================  =================================
request                  reply                                   meaning
=======================  ======================================  =================================
``1 ID?*0575``           ``OK 1 name=mirror protocol=1           who it is; `steps` up to 65535
                         actuators=40 steps=65535*....``
``2 SET v1 ... vN*..``   ``OK 2 v1 ... vN*....``                 set all actuators at once; the
                                                                 values that it applied
``3 REST*....``          ``OK 3 rest*....``                      all actuators to rest
``4 CLR*....``           ``OK 4 clear*....``                     allow SET after an emergency stop
``!``                    ``EVT stop*....``                       emergency: to rest, and SET is
                                                                 refused; a single byte, anywhere
=======================  ======================================  =================================

A request that is refused changes nothing: ``ERR <tag> <code> <words>``, with tag 0 where the line
was damaged. After a reset the controller is at rest and says ``EVT boot``. It goes to rest by
itself where its supply or its temperature leaves their limits, and says ``ERR`` from then on.
"""

import binascii
from itertools import count
from pathlib import Path

import numpy as np

from hardware.clock import Clock
from hardware.errors import DeviceFault, HardwareError, ProtocolError
from hardware.fabrication.design import Map
from hardware.fabrication.influence import Influence
from hardware.modulators.mirror import DeformableMirror
from hardware.serial_link import SerialLink

#: Longest wait for a reply, beyond the time that both lines take [s].
REPLY = 0.25
#: A controller behind a bootloader answers after this time at the latest [s].
STARTUP = 2.5
EMERGENCY = b"!"


def framed(text: str) -> bytes:
    r"""Return a line with its checksum.

    >>> framed("1 ID?")
    b'1 ID?*0575\n'
    """
    body = text.encode("ascii")
    return b"%b*%04X\n" % (body, binascii.crc_hqx(body, 0xFFFF))


def parse(line: bytes) -> list[str] | None:
    """Return the words of a line, or None if it is damaged."""
    body, star, check = line.rpartition(b"*")
    if not star or not body.isascii() or check != b"%04X" % binascii.crc_hqx(body, 0xFFFF):
        return None
    return body.decode("ascii").split()


class SerialMirror(DeformableMirror):
    """Mirror behind a controller that speaks this module's protocol; at rest when it is opened.

    Parameters
    ----------
    influence, diameter, settle, damping, clip, swings, samples, clock
        As `DeformableMirror`.
    port : str
        Path, or a pyserial URL such as "socket://host:port".
    baudrate : int
        Bits per second.

    Raises
    ------
    DeviceNotFound, DeviceBusy, DeviceTimeout
        There is no such port, somebody owns it, nothing answers.
    HardwareError
        It is another device, or has other actuators than the influence.
    """

    def __init__(
        self,
        influence: Influence | Path | str,
        diameter: float,
        settle: float,
        *,
        port: str,
        baudrate: int = 115_200,
        damping: float = 0.01,
        clip: bool = False,
        swings: int = 20,
        samples: int = 64,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(
            influence,
            diameter,
            settle,
            damping=damping,
            clip=clip,
            swings=swings,
            samples=samples,
            clock=clock,
        )
        self._tags = count()  # its `next` is one step, for threads
        self._byte = 10 / baudrate
        actuators = len(self.influence.lowest)
        self._link = SerialLink(port, baudrate=baudrate, longest=64 + 6 * actuators, clock=clock)
        try:
            self._steps = self._connect(actuators)
        except BaseException:
            self._link.close()
            raise

    def clear(self) -> None:
        """Allow commands again after an emergency stop."""
        self._converse("CLR")
        super().clear()

    def _apply(self, commands: Map) -> Map:
        low, width = self.influence.lowest, self.influence.highest - self.influence.lowest
        values = np.rint((commands - low) / width * self._steps).astype(int)
        words = self._converse("SET " + " ".join(str(value) for value in values))
        try:
            applied = np.array([int(word) for word in words])
        except ValueError:
            applied = np.empty(0)
        if applied.shape != values.shape:
            raise ProtocolError(b"SET", " ".join(words).encode())
        return np.asarray(low + applied / self._steps * width, np.float64)

    def _rest(self) -> None:
        if not self._stopped.is_set():
            self._link.urgent(b"\n" + framed(f"{self._next_tag()} REST"))
        else:
            self._link.urgent(EMERGENCY)  # one byte, which no damaged line can hide

    def _release(self) -> None:
        try:
            self._converse("REST")  # once more, to hear that it does
        finally:
            self._link.close()

    def _next_tag(self) -> int:
        return next(self._tags) % 65535 + 1

    def _converse(self, text: str) -> list[str]:
        """Send a request, once, and return the words of its reply behind the tag."""
        with self._link.conversation:
            while (line := self._link.read_line(0.0)) is not None:
                self._check_event(parse(line))  # what was said unasked
            tag = str(self._next_tag())
            request = framed(f"{tag} {text}")
            timeout = REPLY + 2 * len(request) * self._byte
            self._link.write(request)
            end = self._link.clock.now() + timeout
            while (line := self._link.read_line(end - self._link.clock.now())) is not None:
                words = parse(line)
                if line == request.strip():
                    raise ProtocolError(request, line, hint="the port echoes: turn that off")
                if (words is None and line) or words == []:
                    raise ProtocolError(request, line)
                self._check_event(words)
                if words is not None and words[:2] == ["OK", tag]:
                    return words[2:]
                if words is not None and words[:1] == ["ERR"] and words[1:2] in (["0"], [tag]):
                    code, what = words[2:3] or ["?"], " ".join(words[3:])
                    raise DeviceFault(f"ERR {code[0]}", what, position_trusted=True)
            raise self._link.timed_out(request[:40], timeout)

    def _check_event(self, words: list[str] | None) -> None:
        if words is not None and words[:2] == ["EVT", "boot"]:
            raise DeviceFault(
                "boot",
                "the controller restarted, the mirror is at rest",
                position_trusted=True,
                hint="show the surface again",
            )

    def _connect(self, actuators: int) -> int:
        said = dict(word.partition("=")[::2] for word in self._identity())
        own = {"name": "mirror", "protocol": "1", "actuators": str(actuators)}
        found = {key: said.get(key, "nothing") for key in own}
        steps = said.get("steps", "")
        if found != own or not (steps.isdecimal() and 1 <= int(steps) <= 65535):
            raise HardwareError(
                f"{self._link.port}: it is {found}, steps {steps or 'nothing'}; expected {own}, "
                "steps up to 65535",
                hint="take the influence that was measured with this mirror",
            )
        self._converse("REST")  # it may still hold what a program that was killed asked for
        return int(steps)

    def _identity(self) -> list[str]:
        """Ask who it is until it answers; a bootloader swallows the first questions."""
        begun = self._link.clock.now()
        self._link.write(b"\n")  # ends what may be half a line
        while True:
            self._link.resync()
            try:
                return self._converse("ID?")
            except HardwareError as error:
                if self._link.clock.now() - begun > STARTUP or "echoes" in error.hint:
                    raise
