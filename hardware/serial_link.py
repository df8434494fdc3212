"""One serial port: bytes out, whole lines or messages in, and every failure under its own name.

Nothing is ever sent twice. Nobody reads in the background: what a device says unasked waits in
the buffer until the next conversation, whose driver looks at it first.
"""

import errno
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import serial

from hardware.clock import Clock, SystemClock
from hardware.errors import (
    DeviceBusy,
    DeviceDisconnected,
    DeviceNotFound,
    DeviceTimeout,
    HardwareError,
    ProtocolError,
)
from hardware.port_lock import PortLock

#: A read returns at least this often, to look at the clock and whether the link was closed [s].
SLICE = 0.02
#: Longest wait for room in the output buffer [s].
WRITE_WITHIN = 0.2
#: A device that sends for this long without a pause cannot be followed [s].
RESYNC_WITHIN = 1.0
#: Pause that ends what was going on before [s].
QUIET = 0.03


class SerialLink:
    """A serial port, opened on construction and owned until `close`.

    Several threads may use it: one conversation at a time under `conversation`, and `urgent`
    beside it.

    Parameters
    ----------
    port : str
        Path, or a pyserial URL such as "socket://host:port".
    baudrate : int
        Bits per second.
    terminator : bytes
        End of a line that comes in; a carriage return before it is removed too.
    longest : int
        Longest line or message that comes in [bytes].
    rtscts : bool
        Hardware handshake.
    dtr : bool
        Level of DTR. Low keeps an Arduino from resetting (where the system allows it); boards
        with USB of their own may send nothing while it is low.
    clock : Clock, optional
        Source of time for all limits.
    transcript : path, optional
        File to which all traffic is appended.

    Raises
    ------
    DeviceNotFound
        There is no such port, or it must not be used.
    DeviceBusy
        Somebody else owns it.
    """

    def __init__(
        self,
        port: str,
        *,
        baudrate: int = 115_200,
        terminator: bytes = b"\n",
        longest: int = 512,
        rtscts: bool = False,
        dtr: bool = False,
        clock: Clock | None = None,
        transcript: str | Path | None = None,
    ) -> None:
        self.port, self.terminator, self.longest = port, terminator, longest
        self.clock = clock or SystemClock()
        self.conversation = threading.RLock()  #: hold it from a request to its answer
        self._buffer = bytearray()
        self._history: deque[str] = deque(maxlen=40)
        self._closed = False
        self._file: TextIO | None = None
        if transcript is not None:
            self._file = Path(transcript).open("a", encoding="ascii", buffering=1)  # noqa: SIM115
        self._serial = serial.serial_for_url(
            port,
            baudrate=baudrate,
            rtscts=rtscts,
            timeout=SLICE,
            write_timeout=WRITE_WITHIN,
            exclusive=True,
            do_not_open=True,
        )
        self._serial.dtr = dtr
        if not rtscts:
            self._serial.rts = dtr
        self._lock = PortLock(port)
        try:
            self._serial.open()
        except OSError as error:  # pyserial's errors are OSErrors
            self._lock.release()
            raise _not_opened(port, error) from error

    # Conversations

    def write(self, data: bytes) -> None:
        """Send bytes, once.

        Raises
        ------
        DeviceDisconnected
            The port is gone; a part may have been sent.
        DeviceTimeout
            The device takes nothing.
        """
        with self.conversation:
            self.urgent(data)

    def urgent(self, data: bytes) -> None:
        """Send bytes now, from any thread, whoever talks or waits; errors as `write`.

        One call to the system takes them all, so that they stand in no one else's message as
        long as there is room for both.
        """
        with self._mapped():
            self._serial.write(data)
        self._note(">", data)

    def read_line(self, timeout: float) -> bytes | None:
        """Return the next line without its end, or None if none is complete in time [s].

        A part of a line stays for the next call.

        Raises
        ------
        DeviceDisconnected
            The port is gone.
        ProtocolError
            More than `longest` bytes came without an end.
        """
        line = self.receive(self._take_line, timeout)
        return None if line is None else line.rstrip(b"\r")

    def receive(self, take: Callable[[bytearray], bytes | None], timeout: float) -> bytes | None:
        """Return the next message that `take` finds and removes at the buffer's start, or None.

        Parameters
        ----------
        take : callable
            Removes one message, and what is none before it, from the buffer; returns None while
            none is complete.
        timeout : float
            Longest wait; with 0 only what has come is looked at [s].
        """
        with self.conversation:
            end = self.clock.now() + timeout
            while True:
                # The clock is asked before the port: a host that was late is no mute device.
                overdue = self.clock.now() >= end
                self._fill(wait=False)
                message = take(self._buffer)
                if message is not None:
                    self._note("<", message)
                    return message
                if len(self._buffer) > self.longest:
                    received = bytes(self._buffer)
                    self._note("< (no end)", received)
                    self._buffer.clear()
                    raise ProtocolError(b"", received)
                if overdue:
                    return None
                self._fill(wait=True)

    def ask(self, request: bytes, timeout: float) -> bytes:
        """Send a request, and return the line that answers it.

        Raises
        ------
        DeviceTimeout
            No line came in time.
        HardwareError
            As `write` and `read_line`.
        """
        with self.conversation:
            self.write(request)
            line = self.read_line(timeout)
        if line is None:
            raise self.timed_out(request, timeout)
        return line

    def resync(self) -> None:
        """Drop what has come, until the device pauses.

        Raises
        ------
        ProtocolError
            It sent for a whole second: wrong baud rate, or another program's device.
        """
        with self.conversation:
            begun = last = self.clock.now()
            while last - begun < RESYNC_WITHIN:
                if self._buffer:
                    self._note("< (dropped)", bytes(self._buffer))
                    self._buffer.clear()
                    last = self.clock.now()
                elif self.clock.now() - last > QUIET:
                    return
                self._fill(wait=True)
            raise ProtocolError(b"", bytes(self._buffer), hint="check the baud rate")

    # What is left to say

    @property
    def history(self) -> tuple[str, ...]:
        """The last lines in both directions, with their times [s]."""
        return tuple(self._history)

    def timed_out(self, request: bytes, waited: float, *, hint: str = "") -> DeviceTimeout:
        """Return the error for a request that was not answered, with the last lines."""
        part = f"; unfinished {bytes(self._buffer[-40:])!r}" if self._buffer else ""
        recent = " | ".join(list(self._history)[-4:])
        return DeviceTimeout(f"{self.port}: {request!r}", waited, recent + part, hint=hint)

    def close(self) -> None:
        """Release the port; safe to call twice, and while another thread reads."""
        if self._closed:
            return
        self._closed = True  # a reader sees it within a slice, and leaves
        got = self.conversation.acquire(timeout=10 * SLICE)
        try:
            with suppress(OSError):  # an unplugged port may refuse even that
                self._serial.close()
            if self._file is not None:
                self._file.close()
            self._lock.release()
        finally:
            if got:
                self.conversation.release()

    # How

    def _take_line(self, buffer: bytearray) -> bytes | None:
        end = buffer.find(self.terminator)
        if end < 0:
            return None
        line = bytes(buffer[:end])
        del buffer[: end + len(self.terminator)]
        return line

    def _fill(self, *, wait: bool) -> None:
        """Move what has come into the buffer; wait for a slice of time if nothing has."""
        with self._mapped():
            count = self._serial.in_waiting
            if count or wait:
                self._buffer += self._serial.read(max(1, count))

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        if self._closed:
            raise DeviceDisconnected(f"{self.port} is closed")
        try:
            yield
        except serial.SerialTimeoutException as error:
            raise DeviceTimeout(f"write to {self.port}", WRITE_WITHIN) from error
        except OSError as error:
            raise DeviceDisconnected(
                f"{self.port}: {error}", hint="check the cable; home() after it is back"
            ) from error
        except TypeError:  # pyserial's way to say that the port was closed meanwhile
            if not self._closed:
                raise
            raise DeviceDisconnected(f"{self.port} is closed") from None

    def _note(self, direction: str, data: bytes) -> None:
        line = f"{self.clock.now():.3f} {direction} {data!r}"
        self._history.append(line)
        if self._file is not None:
            # A full disk, or a stop inside a write, costs a line of the transcript alone.
            with suppress(OSError, RuntimeError, ValueError):
                self._file.write(line + "\n")


def _not_opened(port: str, error: OSError) -> HardwareError:
    if error.errno in (errno.EAGAIN, errno.EBUSY):
        return DeviceBusy(f"{port} is owned by another program", hint="close it there first")
    if error.errno == errno.EACCES:
        return DeviceNotFound(
            f"{port} may not be opened by this user",
            hint="add the user to the group that owns it, often dialout, and log in again",
        )
    return DeviceNotFound(f"{port} cannot be opened: {error}", hint="check cable and port")
