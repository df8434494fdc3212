"""What a stage is made of and says: its axes, a reading of the device, a status for the user."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hardware.errors import DeviceFault


@dataclass(frozen=True)
class Axis:
    """One axis of a stage.

    Attributes
    ----------
    low, high : float
        Limits [m or rad].
    speed : float
        Speed of a move, also for the time it may take [m/s or rad/s].
    unit : {"m", "rad"}
        Unit of all of these.
    tolerance : float
        How far from its target a move may end, and how far reads of a standing stage may differ
        [m or rad].
    backlash : float
        Targets are approached from below, from this far away at least; 0: from anywhere
        [m or rad].
    homing_speed : float or None
        Speed of homing, for the time it may take; None: `speed` [m/s or rad/s].
    """

    low: float
    high: float
    speed: float
    unit: Literal["m", "rad"] = "m"
    tolerance: float = 10e-6
    backlash: float = 0.0
    homing_speed: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"low = {self.low:g}, high = {self.high:g} {self.unit}: low < high")
        positive = (self.speed, self.tolerance, self.speed_of_homing)
        if not all(0 < value < math.inf for value in positive) or not 0 <= self.backlash < math.inf:
            raise ValueError(
                f"speed = {self.speed:g}, tolerance = {self.tolerance:g}, backlash = "
                f"{self.backlash:g}, homing_speed = {self.homing_speed}: positive numbers are "
                "needed (backlash may be 0)"
            )

    @property
    def speed_of_homing(self) -> float:
        """Speed of homing [m/s or rad/s]."""
        return self.speed if self.homing_speed is None else self.homing_speed

    @property
    def span(self) -> float:
        """Distance between the limits [m or rad]."""
        return self.high - self.low


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
    """One answer of a device.

    Attributes
    ----------
    state : str
        Its own word for its state.
    position : mapping of str to float
        Where it believes it stands, every axis [m or rad].
    moving : bool
        Whether it moves.
    fault : DeviceFault or None
        What it complains about, if it does: nothing moves, and nothing is waited for.
    """

    state: str
    position: Mapping[str, float]
    moving: bool
    fault: DeviceFault | None = None
