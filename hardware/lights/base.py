"""Lights: levels that are dark on entry, on exit, and after any doubt."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from hardware.errors import EmergencyStopped, HardwareError


@dataclass(frozen=True)
class Channel:
    """One light source.

    Attributes
    ----------
    max_level : float
        Highest level that may be set, of 1.
    wavelength : float or None
        Centre of its spectrum, where that is known [m].
    laser : bool
        Whether it needs an interlock.
    """

    max_level: float = 1.0
    wavelength: float | None = None
    laser: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.max_level <= 1:
            raise ValueError(f"max_level = {self.max_level:g}, expected above 0, at most 1")


class Light(ABC):
    """Light sources on one controller; dark on entry and on exit, whatever happens between.

    Parameters
    ----------
    channels : mapping of str to Channel
        By name.
    longest : float
        After this time without a further `set` all channels go dark; 0: never [s].
    interlock : bool
        Whether the person who runs this says that the laser interlock is in place; channels that
        are lasers refuse to light without it.
    """

    def __init__(
        self, channels: Mapping[str, Channel], *, longest: float = 600.0, interlock: bool = False
    ) -> None:
        if not channels:
            raise ValueError("channels = {}: a light has at least one channel")
        if not longest >= 0:
            raise ValueError(f"longest = {longest:g} s: zero (never) or more is needed")
        self.channels, self.longest, self.interlock = dict(channels), longest, interlock
        self._levels = dict.fromkeys(channels, 0.0)
        self._stopped = threading.Event()
        self._command = threading.RLock()
        self._timer: threading.Timer | None = None

    # What a driver provides

    @abstractmethod
    def _apply(self, channel: str, level: float) -> None:
        """Set one channel, and return when the device confirmed it."""

    @abstractmethod
    def _dark(self) -> None:
        """All channels dark, at once: called without a lock, from any thread."""

    @abstractmethod
    def _release(self) -> None:
        """Release the port; safe to call twice."""

    # What a user calls

    @property
    def state(self) -> dict[str, float]:
        """Levels that the device confirmed last, 0 to 1."""
        return dict(self._levels)

    @property
    def stopped(self) -> bool:
        """Whether an emergency stop is latched."""
        return self._stopped.is_set()

    def set(self, channel: str, level: float) -> None:
        """Set a channel to a level of 0 (dark) to 1 (full).

        Raises
        ------
        ValueError
            There is no such channel, or the level is not allowed.
        EmergencyStopped
            An emergency stop is latched.
        HardwareError
            The device did not confirm it; all channels were told to go dark.
        """
        if channel not in self.channels:
            raise ValueError(f"channel = {channel!r}: there are {', '.join(self.channels)}")
        allowed = self.channels[channel]
        if not 0 <= level <= allowed.max_level:
            raise ValueError(f"level = {level:g} of {channel}, expected 0 to {allowed.max_level:g}")
        if level > 0 and allowed.laser and not self.interlock:
            raise ValueError(
                f"{channel} is a laser and interlock is not set; set it once the interlock of "
                "the set-up is in place"
            )
        with self._command:
            if level > 0:
                self._refuse_if_stopped()
            try:
                self._apply(channel, level)
                if level > 0:
                    self._refuse_if_stopped()  # the stop may have come before what it should undo
            except (HardwareError, KeyboardInterrupt):
                with suppress(HardwareError):
                    self.off()
                raise
            self._levels[channel] = level
            self._guard()

    def off(self) -> None:
        """All channels dark."""
        self._dark()
        self._levels = dict.fromkeys(self.channels, 0.0)
        self._guard()

    def emergency_stop(self) -> None:
        """All channels dark at once, from any thread; nothing lights until `clear`."""
        self._stopped.set()
        self.off()

    def clear(self) -> None:
        """Allow light again after an emergency stop."""
        self._stopped.clear()

    def close(self) -> None:
        """All channels dark, and release the port; safe to call twice."""
        try:
            self.off()
        finally:
            self._release()

    def __enter__(self) -> Self:
        self.off()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _refuse_if_stopped(self) -> None:
        if self._stopped.is_set():
            raise EmergencyStopped("an emergency stop is latched", hint="clear() it first")

    def _guard(self) -> None:
        """Start the time after which a forgotten light goes dark, or end it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.longest > 0 and any(self._levels.values()):
            self._timer = threading.Timer(self.longest, self._forgotten)
            self._timer.daemon = True
            self._timer.start()

    def _forgotten(self) -> None:
        with suppress(HardwareError):  # nobody is there to hear it
            self.off()
