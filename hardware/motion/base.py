"""Stages: axes with limits that move only where they are known to stand.

A driver sends and asks; this class keeps the rules. Limits are checked before anything is sent.
Nothing moves before homing, except a short jog. A move is never sent twice. An emergency stop
passes all locks and stays until it is cleared.
"""

import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal, Self

from hardware.clock import Clock, SystemClock
from hardware.errors import (
    DeviceDisconnected,
    DeviceFault,
    DeviceTimeout,
    EmergencyStopped,
    HardwareError,
    LimitError,
    NotHomedError,
)

#: Longest jog of an axis that was not homed [m or rad].
UNHOMED_JOG = 1e-3
#: How often a moving stage is asked where it stands [s].
POLL = 0.02
#: A stage stands still when this many reads in a row agree.
EQUAL_READS = 3


@dataclass(frozen=True)
class Axis:
    """One axis of a stage.

    Attributes
    ----------
    low, high : float
        Limits [m or rad].
    speed : float
        Speed of a move, for the time it may take [m/s or rad/s].
    unit : {"m", "rad"}
        Unit of all of these.
    tolerance : float
        How far from its target a move may end [m or rad].
    backlash : float
        Targets are approached from below, from this far away at least; 0: from anywhere
        [m or rad].
    """

    low: float
    high: float
    speed: float
    unit: Literal["m", "rad"] = "m"
    tolerance: float = 10e-6
    backlash: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"low = {self.low:g}, high = {self.high:g} {self.unit}: low < high")
        if not (self.speed > 0 and self.tolerance > 0 and self.backlash >= 0):
            raise ValueError(
                f"speed = {self.speed:g}, tolerance = {self.tolerance:g}, backlash = "
                f"{self.backlash:g}: positive numbers are needed (backlash may be 0)"
            )


@dataclass(frozen=True)
class StageStatus:
    """What a stage says about itself.

    Attributes
    ----------
    state : str
        The device's own word, e.g. "Idle", "Run", "ALARM:1".
    position : mapping of str to float
        Where it believes it stands [m or rad].
    moving, homed, stopped : bool
        Whether it moves; whether `position` is trusted; whether an emergency stop is latched.
    """

    state: str
    position: Mapping[str, float]
    moving: bool
    homed: bool
    stopped: bool


@dataclass(frozen=True)
class Reading:
    """One answer of a device: state word, position [m or rad], and whether it moves."""

    state: str
    position: Mapping[str, float]
    moving: bool


@dataclass
class Stage(ABC):
    """Axes that move together on one controller; use it in a ``with`` block.

    Parameters
    ----------
    axes : mapping of str to Axis
        By name.
    clock : Clock
        Source of time.
    """

    axes: Mapping[str, Axis]
    clock: Clock = field(default_factory=SystemClock, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        if not self.axes:
            raise ValueError("axes = {}: a stage has at least one axis")
        self._homed = False
        self._stopped = threading.Event()
        self._command = threading.RLock()  # one conversation at a time; the stop needs none

    # What a driver provides. Each may raise a HardwareError; one that is a DeviceFault with an
    # untrusted position, or a DeviceDisconnected, takes the homing away.

    @abstractmethod
    def _read(self) -> Reading:
        """Ask the device for its state, and return it."""

    @abstractmethod
    def _start(self, target: Mapping[str, float]) -> None:
        """Send one move to `target` [m or rad], and return when it is accepted."""

    @abstractmethod
    def _home(self) -> None:
        """Home all axes, and return when it is done."""

    @abstractmethod
    def _stop(self) -> None:
        """Stop with deceleration, the position kept."""

    @abstractmethod
    def _halt(self) -> None:
        """Stop at once: called without a lock, from any thread, also while another waits."""

    @abstractmethod
    def _clear(self) -> None:
        """Leave the state that `_halt` left the device in."""

    @abstractmethod
    def close(self) -> None:
        """Stop, and release the port; safe to call twice."""

    # What a user calls

    @property
    def homed(self) -> bool:
        """Whether it is known where the stage stands."""
        return self._homed

    def home(self) -> None:
        """Find the reference of all axes.

        Raises
        ------
        EmergencyStopped
            An emergency stop is latched.
        HardwareError
            The device did not find it.
        """
        with self._command, self._watched():
            self._refuse_if_stopped()
            self._homed = False
            self._home()
            self._refuse_if_stopped()
            self._homed = True

    def move_to(self, target: Mapping[str, float] | None = None, /, **axes: float) -> None:
        """Move to a position, and return when the stage stands there.

        Parameters
        ----------
        target : mapping of str to float, optional
            Position by axis [m or rad]; axes not named stay where they are.
        **axes : float
            The same as keywords: ``stage.move_to(z=0.1)``.

        Raises
        ------
        LimitError
            A target is outside the limits or not a number; nothing was sent.
        NotHomedError
            The stage was not homed, or lost its position.
        EmergencyStopped
            An emergency stop is latched, or was given during the move.
        DeviceTimeout, DeviceFault, DeviceDisconnected
            The move did not end where it should; it is not tried again.
        """
        wanted = {**(target or {}), **axes}
        self._check(wanted)
        with self._command, self._watched():
            self._refuse_if_stopped()
            if not self._homed:
                raise NotHomedError(
                    f"move to {_shown(wanted, self.axes)}: the stage is not homed",
                    hint="home() it first, with its path free",
                )
            here = self._read().position
            first = {
                name: max(self.axes[name].low, value - self.axes[name].backlash)
                for name, value in wanted.items()
                if self.axes[name].backlash > 0 and here[name] > value - self.axes[name].backlash
            }
            if first:
                self._travel({**wanted, **first}, here)
                here = self._read().position
            self._travel(wanted, here)

    def jog(self, axis: str, distance: float) -> None:
        """Move one axis by `distance` [m or rad]; without homing by 1 mm (1 mrad) at most.

        Raises
        ------
        NotHomedError
            The stage is not homed and the distance is longer.
        HardwareError
            As in `move_to`.
        """
        if axis not in self.axes:
            raise ValueError(f"axis = {axis!r}: there are {', '.join(self.axes)}")
        with self._command, self._watched():
            self._refuse_if_stopped()
            if not self._homed and not abs(distance) <= UNHOMED_JOG:
                raise NotHomedError(
                    f"jog of {axis} by {distance:g} {self.axes[axis].unit}: the stage is not "
                    f"homed, so at most {UNHOMED_JOG:g} {self.axes[axis].unit} is allowed",
                    hint="home() it first",
                )
            here = self._read().position
            wanted = {axis: here[axis] + distance}
            if self._homed:
                self._check(wanted)
            elif not math.isfinite(distance):
                raise ValueError(f"distance = {distance}: a number is needed")
            self._travel(wanted, here)

    def position(self) -> dict[str, float]:
        """Return where the stage stands [m or rad].

        Raises
        ------
        NotHomedError
            It is not known.
        """
        with self._command, self._watched():
            found = dict(self._read().position)
        if not self._homed:
            raise NotHomedError("position: the stage is not homed", hint="home() it first")
        return found

    def status(self) -> StageStatus:
        """Return state and position, trusted or not."""
        with self._command, self._watched():
            now = self._read()
        return StageStatus(
            now.state, dict(now.position), now.moving, self._homed, self._stopped.is_set()
        )

    def stop(self) -> None:
        """Stop with deceleration; the position is kept."""
        self._stop()

    def emergency_stop(self) -> None:
        """Stop at once, from any thread; nothing moves until `clear`."""
        self._stopped.set()
        self._halt()

    def clear(self) -> None:
        """Allow moves again after an emergency stop; a stage stopped in motion must be homed."""
        with self._command, self._watched():
            if self._stopped.is_set():
                self._clear()
                self._stopped.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # How

    def _check(self, wanted: Mapping[str, float]) -> None:
        for name, value in wanted.items():
            if name not in self.axes:
                raise ValueError(f"axis = {name!r}: there are {', '.join(self.axes)}")
            axis = self.axes[name]
            if not axis.low <= value <= axis.high:  # also for NaN
                raise LimitError(name, value, axis.low, axis.high, axis.unit)

    def _refuse_if_stopped(self) -> None:
        if self._stopped.is_set():
            raise EmergencyStopped(
                "an emergency stop is latched", hint="find out why, then clear()"
            )

    def _travel(self, wanted: Mapping[str, float], here: Mapping[str, float]) -> None:
        """Send one move, and wait until the stage stands where it should."""
        limit = 5.0 + 2 * max(
            (abs(value - here[name]) / self.axes[name].speed for name, value in wanted.items()),
            default=0.0,
        )
        begun = self.clock.now()
        self._start(wanted)
        equal, last = 0, self._read()
        while equal < EQUAL_READS - 1:
            self.clock.sleep(POLL)
            if self._stopped.is_set():
                self._homed = False
                raise EmergencyStopped("stopped in motion; the position is lost", hint="home()")
            now = self._read()
            still = not now.moving and now.position == last.position
            equal, last = (equal + 1 if still else 0), now
            if self.clock.now() - begun > limit:
                self._homed = False
                self._stop()
                raise DeviceTimeout(
                    f"move to {_shown(wanted, self.axes)}", limit, last.state, hint="home()"
                )
        for name, value in wanted.items():
            if abs(last.position[name] - value) > self.axes[name].tolerance:
                raise DeviceFault(
                    "position", f"{name} = {value:g} was asked, {last.position[name]:g} reached",
                    position_trusted=False,
                )  # fmt: skip

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Take the homing away, and stop, where an error says that the position is lost."""
        try:
            yield
        except (DeviceFault, DeviceDisconnected, KeyboardInterrupt) as error:
            if not (isinstance(error, DeviceFault) and error.position_trusted):
                self._homed = False
                with suppress(HardwareError):  # it may be gone; `error` says more
                    self._halt()
            raise


def _shown(wanted: Mapping[str, float], axes: Mapping[str, Axis]) -> str:
    return ", ".join(f"{name} = {value:g} {axes[name].unit}" for name, value in wanted.items())
