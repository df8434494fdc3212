"""Emergency stop: one call stops everything, from any thread, past every lock.

It is latched until `Safety.clear`. A signal (Ctrl-C, SIGTERM) and a silent client (`Heartbeat`)
trigger it too.
"""

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Protocol, runtime_checkable

from hardware.clock import Clock, SystemClock

#: Every device was told to stop within this time after the call [s].
STOP_WITHIN = 0.25

log = logging.getLogger(__name__)


@runtime_checkable
class Stoppable(Protocol):
    """What can be stopped at once."""

    def emergency_stop(self) -> None:
        """Stop, from any thread."""

    def clear(self) -> None:
        """Allow motion and light again."""


@dataclass
class Stopped:
    """What an emergency stop did.

    Attributes
    ----------
    reason : str
        Why it was given.
    seconds : dict of str to float
        When each device had taken it, after the call [s].
    failed : dict of str to str
        Devices that could not be told, and why.
    """

    reason: str
    seconds: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def tell_all(
    calls: Mapping[str, Callable[[], object]],
    done: Stopped,
    *,
    clock: Clock,
    within: float | None = None,
) -> None:
    """Call all, each in a thread of its own, so that neither a mute nor a broken one delays others.

    Parameters
    ----------
    calls : mapping of str to callable
        What to call for each device.
    done : Stopped
        Where it is written which of them took it, and which failed.
    clock : Clock
        Source of time.
    within : float or None
        Longest wait for all of them together; None waits for the last [s].
    """
    begun = clock.now()

    def tell(name: str, call: Callable[[], object]) -> None:
        try:
            call()
            done.seconds[name] = clock.now() - begun
        except Exception as error:  # whatever it is, the others are told
            done.failed[name] = str(error)

    threads = {
        name: threading.Thread(target=tell, args=(name, call), daemon=True)
        for name, call in calls.items()
    }
    for thread in threads.values():
        thread.start()
    for name, thread in threads.items():
        thread.join(None if within is None else max(0.0, within - (clock.now() - begun)))
        if thread.is_alive():
            done.failed[name] = f"did not take it within {within:g} s"


class Safety:
    """Stops all devices of a rig.

    Parameters
    ----------
    devices : mapping of str to Stoppable
        By name.
    clock : Clock
        Source of time.
    """

    def __init__(self, devices: Mapping[str, Stoppable], *, clock: Clock | None = None) -> None:
        self.devices = dict(devices)
        self.stopped: Stopped | None = None  #: the stop that is latched, if any
        self._clock = clock or SystemClock()

    def emergency_stop(self, reason: str) -> Stopped:
        """Stop all devices, each in a thread of its own, so that a mute one delays no other."""
        done = self.stopped = Stopped(reason)
        calls = {name: device.emergency_stop for name, device in self.devices.items()}
        tell_all(calls, done, clock=self._clock, within=STOP_WITHIN)
        for name, why in done.failed.items():
            log.error("EMERGENCY STOP (%s): %s was not stopped: %s", reason, name, why)
        return done

    def clear(self) -> None:
        """Allow motion and light again."""
        for device in self.devices.values():
            device.clear()
        self.stopped = None

    @contextmanager
    def on_signal(self) -> Iterator[None]:
        """Stop everything on Ctrl-C and SIGTERM, then raise KeyboardInterrupt."""
        if threading.current_thread() is not threading.main_thread():
            yield  # signals reach the main thread alone
            return

        def handle(number: int, frame: FrameType | None) -> None:
            self.emergency_stop(signal.Signals(number).name)
            raise KeyboardInterrupt(f"{signal.Signals(number).name}: everything was stopped")

        numbers = (signal.SIGINT, signal.SIGTERM)
        before: dict[signal.Signals, Any] = {n: signal.signal(n, handle) for n in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Heartbeat:
    """Calls `on_silence` once when nobody beats for a while; waits for the next beat after that.

    Parameters
    ----------
    on_silence : callable
        What to do.
    longest : float
        Longest silence [s].
    """

    def __init__(self, on_silence: Callable[[], object], longest: float = 5.0) -> None:
        if not 0 < longest <= 3600:
            raise ValueError(f"longest = {longest:g} s, expected above 0, at most 3600 s")
        self.longest, self._on_silence = longest, on_silence
        self._beat, self._end = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def beat(self) -> None:
        """Say that the client is alive; the first beat starts the watch."""
        self._beat.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="heartbeat", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the watch: the client left in an orderly way."""
        self._end.set()
        self._beat.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None
        self._end.clear()
        self._beat.clear()

    def _watch(self) -> None:
        alive = True
        while not self._end.is_set():
            heard = self._beat.wait(self.longest if alive else None)
            if self._end.is_set():
                return
            self._beat.clear()
            if not heard:
                self._on_silence()
            alive = heard
