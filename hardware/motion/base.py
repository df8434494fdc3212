"""Stages: axes with limits that move only where they are known to stand.

A driver sends and asks; this class keeps the rules. Limits are checked before anything is sent.
Nothing moves before homing, except a short jog. A move is never sent twice. Whatever goes wrong
in motion stops the stage at once, and takes its homing away. An emergency stop passes all locks
and stays until it is cleared.
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
from hardware.motion.axes import Axis, Reading, StageStatus

#: Longest jog of an axis that was not homed [m or rad].
UNHOMED_JOG = 1e-3
#: How often a moving stage is asked where it stands [s].
POLL = 0.02
#: A stage stands still when this many reads in a row agree.
EQUAL_READS = 3
#: A stage that accepted a move may stand this long before it starts [s].
STARTS_WITHIN = 0.5
#: A stage that moved may stand this long before it is within its tolerance [s].
SETTLES_WITHIN = 0.15


@dataclass
class Stage(ABC):
    """Axes that move together on one controller; use it in a ``with`` block.

    Parameters
    ----------
    axes : mapping of str to Axis
        By name.
    clock : Clock
        Source of time.
    slack : float
        A move may take this long beside twice its distance over its speed [s].
    """

    axes: Mapping[str, Axis]
    clock: Clock = field(default_factory=SystemClock, kw_only=True, repr=False)
    slack: float = field(default=5.0, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        if not self.axes:
            raise ValueError("axes = {}: a stage has at least one axis")
        if not 0 < self.slack <= 3600:
            raise ValueError(f"slack = {self.slack:g} s, expected above 0, at most 3600 s")
        self._homed = False
        self._closed = False
        self._motion: Literal["", "move", "home"] = ""
        self._stopped = threading.Event()  # emergency stop, latched
        self._ending = threading.Event()  # `stop` during the motion that is under way
        self._command = threading.RLock()  # one motion at a time; reads and stops need none

    # What a driver provides. Each may raise a HardwareError, and may be called from any thread.

    @abstractmethod
    def _read(self) -> Reading:
        """Ask the device for its state, and return it; also in motion."""

    @abstractmethod
    def _start(self, target: Mapping[str, float]) -> None:
        """Send one move to `target` [m or rad], and return when it is accepted."""

    @abstractmethod
    def _home(self) -> None:
        """Home all axes, and return when it is done; call `_pause` while waiting."""

    @abstractmethod
    def _stop(self) -> None:
        """Stop a move with deceleration, the position kept: without a lock, from any thread."""

    @abstractmethod
    def _halt(self) -> None:
        """Stop at once: called without a lock, from any thread, also while another waits."""

    @abstractmethod
    def _clear(self) -> None:
        """Leave an alarm, and the state that `_halt` left the device in."""

    def _release(self) -> None:  # noqa: B027  a simulated stage has nothing to release
        """Release the port; called once."""

    # What a user calls

    @property
    def homed(self) -> bool:
        """Whether it is known where the stage stands."""
        return self._homed

    @property
    def stopped(self) -> bool:
        """Whether an emergency stop is latched."""
        return self._stopped.is_set()

    def home(self) -> None:
        """Find the reference of all axes.

        Raises
        ------
        EmergencyStopped
            An emergency stop is latched, or was given on the way.
        HardwareError
            The device did not find it; it was stopped.
        """
        with self._command:
            self._ending.clear()
            self._refuse_if_stopped()
            self._homed = False
            with self._in_motion("home"):
                self._home()
                self._pause()
                self._look()
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
        if not wanted:
            return
        with self._command:
            self._ending.clear()
            self._refuse_if_stopped()
            self._refuse_unless_homed(f"move to {self._shown(wanted)}")
            here = self._look().position
            self._refuse_unless_homed(f"move to {self._shown(wanted)}")
            first = {
                name: max(self.axes[name].low, value - self.axes[name].backlash)
                for name, value in wanted.items()
                if self.axes[name].backlash > 0 and here[name] > value - self.axes[name].backlash
            }
            if first:
                self._travel({**wanted, **first}, here)
                here = self._look().position
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
        unit = self.axes[axis].unit
        if not math.isfinite(distance):
            raise ValueError(f"distance = {distance} {unit}: a number is needed")
        with self._command:
            self._ending.clear()
            self._refuse_if_stopped()
            if not self._homed and abs(distance) > UNHOMED_JOG:
                raise NotHomedError(
                    f"jog of {axis} by {distance:g} {unit}: unhomed at most {UNHOMED_JOG:g} {unit}",
                    hint="home() it first",
                )
            here = self._look().position
            wanted = {axis: here[axis] + distance}
            if self._homed:
                self._check(wanted)
            self._travel(wanted, here)

    def position(self) -> dict[str, float]:
        """Return where the stage stands, or passes in a move [m or rad].

        Raises
        ------
        NotHomedError
            It is not known.
        """
        with self._watched():
            found = dict(self._read_and_judge().position)
        self._refuse_unless_homed("position")
        return found

    def status(self) -> StageStatus:
        """Return state and position, trusted or not; also while it moves."""
        with self._watched():
            now = self._read_and_judge()
        return StageStatus(now.state, dict(now.position), now.moving, self._homed, self.stopped)

    def stop(self) -> None:
        """Stop with deceleration, the position kept; homing is cut short.

        The thread that waits for the motion gets a `DeviceFault` that says so.
        """
        self._ending.set()
        if self._motion == "home":
            self._halt()
        else:
            self._stop()

    def emergency_stop(self) -> None:
        """Stop at once, from any thread; nothing moves until `clear`."""
        self._stopped.set()
        if self._motion:
            self._homed = False
        self._halt()

    def clear(self) -> None:
        """Leave an emergency stop or an alarm; a stage stopped in motion must be homed."""
        with self._command, self._watched():
            try:
                self._read_and_judge()  # what is cleared away may say that the position is lost
            except HardwareError:
                self._homed = False
            self._clear()
            self._read_and_judge()
            self._stopped.clear()

    def close(self) -> None:
        """Stop, and release the port; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        try:
            with suppress(HardwareError):  # it may be gone
                self.stop()
        finally:
            self._homed = False
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # What drivers use

    def _pause(self) -> None:
        """Wait for a moment in a motion; raise if it was stopped."""
        self.clock.sleep(POLL)
        self._refuse_if_stopped()
        if self._ending.is_set() and self._motion == "home":
            raise DeviceFault("stopped", "homing was cut short", position_trusted=False)

    def _homing_time(self) -> float:
        """Return the longest time for homing all axes, one after the other [s]."""
        return self.slack + 2 * sum(a.span / a.speed_of_homing for a in self.axes.values())

    # How

    def _shown(self, wanted: Mapping[str, float]) -> str:
        return ", ".join(f"{name} = {v:g} {self.axes[name].unit}" for name, v in wanted.items())

    def _check(self, wanted: Mapping[str, float]) -> None:
        for name, value in wanted.items():
            if name not in self.axes:
                raise ValueError(f"axis = {name!r}: there are {', '.join(self.axes)}")
            axis = self.axes[name]
            if not axis.low <= value <= axis.high:  # also for NaN
                raise LimitError(name, value, axis.low, axis.high, axis.unit)

    def _refuse_if_stopped(self) -> None:
        if self._stopped.is_set():
            raise EmergencyStopped("an emergency stop is latched", hint="see why, then clear()")

    def _refuse_unless_homed(self, what: str) -> None:
        if not self._homed:
            raise NotHomedError(
                f"{what}: the stage is not homed, or lost its position",
                hint="home() it with its path free",
            )

    def _read_and_judge(self) -> Reading:
        now = self._read()
        if now.fault is not None and not now.fault.position_trusted:
            self._homed = False
        return now

    def _look(self) -> Reading:
        """Read the state of a stage that is about to move; raise what it complains about."""
        with self._watched():
            now = self._read_and_judge()
        if now.fault is not None:
            raise now.fault
        return now

    def _travel(self, wanted: Mapping[str, float], here: Mapping[str, float]) -> None:
        """Send one move, and wait until the stage stands where it should."""
        limit = self.slack + 2 * max(
            abs(value - here[name]) / self.axes[name].speed for name, value in wanted.items()
        )
        with self._in_motion("move"):
            begun = still_since = self.clock.now()
            self._start(wanted)
            if self._ending.is_set():  # given before the move was: now it counts
                self._stop()
            equal, last = 1, self._read()
            seen = last.moving
            while True:
                self._pause()
                now = self._read()
                if now.fault is not None:
                    raise now.fault
                time = self.clock.now()
                if now.moving or self._differ(now.position, last.position):
                    equal, still_since, seen = 1, time, True
                else:
                    equal += 1
                last = now
                if equal >= EQUAL_READS:
                    off = self._differ(now.position, wanted)
                    if not off:
                        return
                    if self._ending.is_set():
                        raise DeviceFault(
                            "stopped", f"short of {self._shown(wanted)}", position_trusted=True
                        )
                    if time - still_since > (SETTLES_WITHIN if seen else STARTS_WITHIN):
                        reached = {name: now.position[name] for name in off}
                        raise DeviceFault(
                            "position",
                            f"{self._shown(wanted)} was asked, {self._shown(reached)} reached",
                            position_trusted=False,
                        )
                if time - begun > limit:
                    what = f"move to {self._shown(wanted)}"
                    raise DeviceTimeout(what, limit, last.state, hint="home()")

    def _differ(self, a: Mapping[str, float], b: Mapping[str, float]) -> list[str]:
        """Return the axes of both on which they are further apart than the tolerance."""
        both = a.keys() & b.keys()
        return [name for name in both if not abs(a[name] - b[name]) <= self.axes[name].tolerance]

    @contextmanager
    def _in_motion(self, motion: Literal["move", "home"]) -> Iterator[None]:
        """Stop at once, the position lost, whatever goes wrong; also Ctrl-C.

        Except where the device refuses or ends a motion in order: `DeviceFault.position_trusted`.
        An emergency stop may have come before the move that it should stop: it is given again.
        """
        self._motion = motion
        try:
            yield
        except BaseException as error:
            in_order = isinstance(error, DeviceFault) and error.position_trusted
            if not in_order or self._stopped.is_set():
                self._homed = False
                with suppress(HardwareError):  # it may be gone; `error` says more
                    self._halt()
                if self._stopped.is_set() and isinstance(error, HardwareError):
                    raise EmergencyStopped(
                        "stopped in motion; the position is lost", hint="clear(), then home()"
                    ) from error
            raise
        finally:
            self._motion = ""

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Take the homing away, and stop, where an error says that the position is lost."""
        try:
            yield
        except (DeviceFault, DeviceDisconnected) as error:
            if not (isinstance(error, DeviceFault) and error.position_trusted):
                self._homed = False
                with suppress(HardwareError):
                    self._halt()
            raise
