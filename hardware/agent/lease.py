"""Who may move and capture: one client at a time, and only while it is heard.

Others may watch, and stop everything. A holder that falls silent is taken for lost: everything is
stopped, and its lease ends.
"""

import threading
from collections.abc import Callable

from hardware.errors import DeviceBusy
from hardware.safety import Heartbeat

#: Longest silence of the client that holds the lease [s].
SILENCE = 5.0


class Lease:
    """The right to move and capture.

    Parameters
    ----------
    on_silence : callable
        Called with the name of a holder that fell silent.
    silence : float, default 5.0
        Longest silence [s].
    """

    def __init__(self, on_silence: Callable[[str], object], silence: float = SILENCE) -> None:
        self.silence = silence
        self._on_silence = on_silence
        self._lock = threading.Lock()
        self._holder: tuple[str, str] | None = None  # client and its name
        self._lapsed: str | None = None  # client that fell silent last
        self._heartbeat: Heartbeat | None = None  # watches this holder, or the one that lapsed

    @property
    def holder(self) -> str | None:
        """Name of the client that holds it."""
        held = self._holder
        return held[1] if held else None

    def held_by(self, client: str) -> bool:
        """Return whether `client` holds it."""
        held = self._holder
        return held is not None and held[0] == client

    def take(self, client: str, name: str) -> None:
        """Give the lease to `client`, who may hold it already.

        Raises
        ------
        DeviceBusy
            Another client holds it.
        """
        ended = None
        with self._lock:
            if self._holder is None:
                ended, self._lapsed = self._heartbeat, None
                self._holder = held = (client, name)
                self._heartbeat = Heartbeat(lambda: self._lost(held), self.silence)
            elif self._holder[0] != client:
                raise self._busy()
            self._beat()
        if ended is not None:
            ended.close()  # without the lock: a watch that ends may be waiting for it

    def check(self, client: str) -> None:
        """Raise DeviceBusy unless `client` holds the lease; if it does, it was heard just now."""
        with self._lock:
            if not self.held_by(client):
                raise self._lost_lease() if client == self._lapsed else self._busy()
            self._beat()

    def give_back(self, client: str) -> bool:
        """End the lease of `client`; return whether it held it."""
        with self._lock:
            if not self.held_by(client):
                return False
            self._holder, ended, self._heartbeat = None, self._heartbeat, None
        if ended is not None:
            ended.close()
        return True

    def close(self) -> None:
        """End the lease and its watch."""
        with self._lock:
            self._holder, ended, self._heartbeat = None, self._heartbeat, None
        if ended is not None:
            ended.close()

    def _beat(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.beat()

    def _lost(self, held: tuple[str, str]) -> None:
        if self._holder != held:
            return
        self._on_silence(held[1])
        with self._lock:
            if self._holder == held:
                self._holder, self._lapsed = None, held[0]

    def _busy(self) -> DeviceBusy:
        if self._holder is None:
            return DeviceBusy("nobody holds the control of the rig", hint="take it first")
        return DeviceBusy(
            f"{self._holder[1]} controls the rig", hint="wait until it is given back; all may stop"
        )

    def _lost_lease(self) -> DeviceBusy:
        return DeviceBusy(
            f"nothing was heard for {self.silence:g} s, so everything was stopped and the control "
            "of the rig ended",
            hint="look after the connection, take control again, then clear()",
        )
