"""Time, injected wherever something waits, so that tests and simulators can run it."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What every waiting part of `hardware` asks for the time."""

    def now(self) -> float:
        """Return a time that never goes back, for measuring spans [s]."""

    def sleep(self, span: float) -> None:
        """Wait [s]."""

    def utc(self) -> datetime:
        """Return the date and time; it may jump, so nothing is measured with it."""


class SystemClock:
    """The clock of the machine."""

    def now(self) -> float:
        """Return the monotonic clock [s]."""
        return time.monotonic()

    def sleep(self, span: float) -> None:
        """Wait [s]."""
        time.sleep(max(0.0, span))

    def utc(self) -> datetime:
        """Return the date and time of the system."""
        return datetime.now(UTC)


class SimulatedClock:
    """A clock that only moves when somebody waits on it.

    Parameters
    ----------
    start : datetime, optional
        Date and time at zero.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self._start = start or datetime(2000, 1, 1, tzinfo=UTC)
        self._now = 0.0

    def now(self) -> float:
        """Return the time waited so far [s]."""
        return self._now

    def sleep(self, span: float) -> None:
        """Let time pass [s], at once."""
        self._now += max(0.0, span)

    def utc(self) -> datetime:
        """Return the start plus the time waited so far."""
        return self._start + timedelta(seconds=self._now)
