"""Reading requests: so many bytes, within so long, however slowly they come."""

import http.client
import io
import socket
import time
from typing import Any

#: Longest head of a request, its first line and all headers [bytes].
HEAD_LIMIT = 16 * 1024
#: Longest wait for a request to begin and for its head to end; the same for its body [s].
HEAD_WITHIN, BODY_WITHIN = 15.0, 10.0
#: What is still taken from a client after its request was refused, so that it reads the answer.
DRAINED, DRAIN_WITHIN = 1024 * 1024, 0.5


class _Timed(io.RawIOBase):
    """A socket whose reads end at a deadline, not at a time after the last byte."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.deadline = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request took too long")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class Reader(io.BufferedReader):
    """What a client sends.

    Parameters
    ----------
    connection : socket
        Connection to it.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._timed = _Timed(connection)
        self._left = 0
        super().__init__(self._timed)

    def begin_head(self) -> None:
        """Allow one more head."""
        self._timed.deadline = time.monotonic() + HEAD_WITHIN
        self._left = HEAD_LIMIT

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return the next line of the head.

        Raises
        ------
        LineTooLong
            The head is longer than `HEAD_LIMIT`.
        """
        limit = self._left + 1 if size is None or size < 0 else min(size, self._left + 1)
        line = super().readline(limit)
        self._left -= len(line)
        if self._left < 0:
            raise http.client.LineTooLong("head")
        return line

    def body(self, length: int) -> bytes:
        """Return `length` bytes, fewer where the client ends the connection."""
        self._timed.deadline = time.monotonic() + BODY_WITHIN
        return self.read(length)

    def drain(self) -> None:
        """Take and forget what a refused client is still sending."""
        self._timed.deadline = time.monotonic() + DRAIN_WITHIN
        left = DRAINED
        try:
            while left > 0 and (taken := len(self.read1(65536))):
                left -= taken
        except (OSError, ValueError):
            return  # it says no more
