"""The journal of a session: one line per event, forced to the disk before the next one begins.

Each line carries the SHA-256 of itself and of all lines before it, so that a line that was changed
or lost is found. The last line may be cut short by a power cut; it never counted, and is dropped
before the next one is written.
"""

import errno
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hardware.storage import ArtifactError, ResourceError, read_bytes, sync_folder

_START = ""  # what the first line is chained to


class Journal:
    """An append-only file of events.

    Parameters
    ----------
    path : Path
        The file; it need not be there yet.

    Raises
    ------
    ArtifactError
        A line other than the last is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        data = read_bytes(path) if path.exists() else b""
        self.entries, chain = read_entries(data, str(path))  #: events so far
        # Hash and bytes of the sound lines. One attribute, as an interrupt may fall between two.
        self._end = (chain, data.rfind(b"\n") + 1)

    def append(self, event: str, **details: object) -> dict[str, Any]:
        """Add one event, and return it when it is on the disk.

        What a call that did not return left behind is overwritten by the next.

        Raises
        ------
        ResourceError
            The disk is full, read-only or failing; the event does not count.
        """
        chain, size = self._end
        entry = {"event": event, **details}
        body = json.dumps(entry, ensure_ascii=True)
        chain = _chained(chain, body)
        try:
            new = not self.path.exists()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.truncate(size)
                file.write(f'{{"chain": "{chain}", "entry": {body}}}\n'.encode())
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
            if new:
                sync_folder(self.path.parent)
        except OSError as error:
            reason = os.strerror(error.errno or errno.EIO)
            raise ResourceError(
                f"{self.path} could not be written: {reason}; what it holds so far is sound. Make "
                "room, then continue the session"
            ) from error
        self._end = (chain, size)
        self.entries.append(entry)
        return entry


def read_entries(data: bytes, name: str) -> tuple[list[dict[str, Any]], str]:
    """Return the events in the content of a journal, and the hash that the next is chained to."""
    entries: list[dict[str, Any]] = []
    chain = _START
    for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            value = json.loads(line)
            entry, claimed = value["entry"], value["chain"]
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{name}, line {number} is damaged; restore it") from error
        chain = _chained(chain, json.dumps(entry, ensure_ascii=True))
        if chain != claimed or not isinstance(entry, Mapping):
            raise ArtifactError(
                f"{name}, line {number} does not follow from those before it: a line was changed "
                "or removed; restore it"
            )
        entries.append(dict(entry))
    return entries, chain


def _chained(chain: str, body: str) -> str:
    return hashlib.sha256(f"{chain}\n{body}".encode()).hexdigest()
