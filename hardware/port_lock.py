"""One owner per port: a lock file that says who, and that dies with its owner."""

import os
import re
import socket
import sys
import tempfile
from pathlib import Path

from hardware.errors import DeviceBusy

if sys.platform != "win32":  # where the system itself opens a port only once
    import fcntl


class PortLock:
    """Ownership of a port until `release`.

    The operating system ends the lock with the process, so that a file left behind locks nobody
    out. Names of the same port (``/dev/serial/by-id/...``, ``/dev/ttyACM0``) share one lock;
    URLs such as ``socket://`` have none, as their server decides.

    Parameters
    ----------
    port : str
        Path of the port, or a URL.

    Raises
    ------
    DeviceBusy
        Somebody owns it; the message says who.
    """

    def __init__(self, port: str) -> None:
        self._file: int | None = None
        if "://" in port or sys.platform == "win32":
            return
        name = re.sub(r"\W+", "-", os.path.realpath(port)).strip("-")
        path = Path(tempfile.gettempdir()) / f"veilens-port-{name}.lock"
        flags = os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            file = os.open(path, os.O_RDWR | flags, 0o644)
        except PermissionError:  # made by another user: it can still be locked and read
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(file, 200, 0).decode(errors="replace").strip()
            os.close(file)
            raise DeviceBusy(
                f"{port} is owned by {owner or 'another program'}", hint="close it there first"
            ) from None
        self._file = file
        try:
            os.ftruncate(file, 0)
            os.pwrite(file, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        except OSError:  # read-only, or a full disk: the lock holds, its message says less
            pass

    def release(self) -> None:
        """Give the port back; safe to call twice."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
