"""Dark frames: master dark, fixed offsets, hot pixels and dark current.

A master dark belongs to an exposure time, a gain and a temperature: dark current doubles with
every six or seven kelvin.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.bayer import places
from calibration.errors import CalibrationError
from calibration.noise.stacks import FrameStatistics, TemporalNoise
from calibration.uncertainty import Line, Uncertain, square_root, weighted_line

_HOT = 5.0  # robust deviations
_ADVISED = 32  # frames of a master dark
_CLAMPED = 0.5  # of the dark current of the noise; less in the mean, and it is taken off inside


@dataclass(frozen=True)
class DarkConditions:
    """What a dark frame depends on.

    Attributes
    ----------
    exposure : float
        Exposure time [s].
    gain : float
        Analogue gain.
    temperature : float or None
        Middle of the temperature bin [°C]; None where the sensor does not tell.
    """

    exposure: float
    gain: float
    temperature: float | None

    @classmethod
    def of(
        cls, exposure: float, gain: float, temperature: float | None, *, width: float = 2.0
    ) -> "DarkConditions":
        """Return the conditions that a frame is filed under.

        Parameters
        ----------
        exposure, gain, temperature
            As the sensor reports them [s], [-], [°C]; kept to four digits, because a sensor does
            not always report the same setting alike.
        width : float, default 2.0
            Of the temperature bins [K]; 2 K change the dark current by a tenth either way.
        """
        if not (math.isfinite(exposure) and exposure > 0 and math.isfinite(gain) and gain > 0):
            raise ValueError(f"exposure = {exposure:g} s, gain = {gain:g}: both are above zero")
        if not (math.isfinite(width) and width > 0):
            raise ValueError(f"width = {width:g} K: a bin is wider than zero")
        if temperature is not None and not -100 <= temperature <= 200:
            raise ValueError(
                f"temperature = {temperature:g} °C is outside [-100, 200] °C; kelvin less 273.15"
            )
        middle = None if temperature is None else round(temperature / width) * width
        return cls(float(f"{exposure:.4g}"), float(f"{gain:.4g}"), middle)


class DarkFrames:
    """Dark frames as they come, filed by their conditions.

    Memory: 12 bytes a pixel for each of the conditions.

    Parameters
    ----------
    cfa : str
        Colours of the top-left 2 x 2 block, row by row; "" is a monochrome sensor.
    """

    def __init__(self, cfa: str) -> None:
        self.cfa = cfa
        self.stacks: dict[DarkConditions, FrameStatistics] = {}

    def add(self, mosaic: NDArray[Any], conditions: DarkConditions) -> None:
        """Take in a frame, uint16 (H, W)."""
        self.stacks.setdefault(conditions, FrameStatistics(self.cfa)).add(mosaic)

    def masters(self) -> dict[DarkConditions, "MasterDark"]:
        """Return a master dark for all conditions there are."""
        return {key: master_dark(stack, key) for key, stack in self.stacks.items()}


@dataclass(frozen=True)
class PlaneDark:
    """What a master dark says about one colour plane, hot pixels left out.

    Attributes
    ----------
    mean : Uncertain
        Of all pixels; the uncertainty is of the noise [DN].
    noise : TemporalNoise
        From frame to frame.
    fixed_variance : Uncertain
        Variance of the pixels' own offsets, noise left in the mean taken off [DN^2]; chance may
        make it negative.
    pixels, hot : int
        All of the plane, and those that are hot.
    """

    mean: Uncertain
    noise: TemporalNoise
    fixed_variance: Uncertain
    pixels: int
    hot: int

    def dsnu(self, system_gain: Uncertain) -> Uncertain:
        """Dark-signal non-uniformity [e- rms], for a `system_gain` in [DN/e-]."""
        spread = square_root(self.fixed_variance.value, self.fixed_variance.uncertainty)
        return spread.divided_by(system_gain)


@dataclass(frozen=True, eq=False)
class MasterDark:
    """Mean of dark frames of the same conditions.

    Attributes
    ----------
    conditions : DarkConditions
        Exposure, gain and temperature.
    frames : int
        How many frames were averaged.
    mean : ndarray of float32
        (H, W), black level included [DN].
    hot : ndarray of bool
        (H, W), pixels more than five robust deviations above the median of their plane.
    planes : mapping
        Plane name to its numbers.
    warnings : tuple of str
        What makes them doubtful.
    """

    conditions: DarkConditions
    frames: int
    mean: NDArray[np.float32]
    hot: NDArray[np.bool_]
    planes: Mapping[str, PlaneDark]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class DarkCurrent:
    """Dark current of one plane at one gain and temperature.

    Attributes
    ----------
    value : Uncertain
        The one of the next two that holds [e-/s].
    from_mean, from_variance : Uncertain
        By how the mean, and by how the noise grows with the exposure time [e-/s].
    clamped : bool
        The camera takes the mean dark signal off by itself: the noise tells of a current that
        the mean does not show.
    black_level : Uncertain
        Mean at no exposure time [DN].
    """

    value: Uncertain
    from_mean: Uncertain
    from_variance: Uncertain
    clamped: bool
    black_level: Uncertain


def master_dark(stack: FrameStatistics, conditions: DarkConditions) -> MasterDark:
    """Average dark frames and find what is fixed in them.

    Parameters
    ----------
    stack : FrameStatistics
        Two frames or more; 32 are advised.
    conditions : DarkConditions
        Of all of them.
    """
    mean = stack.mean()
    # a mean of whole numbers cannot be told apart finer than this, nor its spread be less
    finest = math.sqrt(1 / 12 / stack.count)
    hot = np.zeros(mean.shape, np.bool_)
    plane_places = places(mean, stack.cfa)
    for _, place in plane_places:
        hot[place] = _far_above(mean[place], finest)
    noise = stack.temporal(~hot)
    planes = {
        name: _plane(mean[place], hot[place], noise[name], stack.count)
        for name, place in plane_places
    }
    notes = []
    if stack.count < _ADVISED:
        notes.append(f"{stack.count} dark frames; {_ADVISED} or more are advised")
    zeros = float(np.mean(mean == 0))
    if zeros > 1e-3:
        notes.append(
            f"{zeros:.1%} of the pixels are zero in all dark frames: the converter cuts the "
            f"offset off; raise the black level"
        )
    return MasterDark(conditions, stack.count, mean.astype(np.float32), hot, planes, tuple(notes))


def dark_current(masters: Sequence[MasterDark], plane: str, system_gain: Uncertain) -> DarkCurrent:
    """Find the dark current from master darks of several exposure times.

    Parameters
    ----------
    masters : sequence of MasterDark
        Of one gain and temperature; at least two exposure times, of which the longest should
        collect more dark electrons than the square of the read noise over ten.
    plane : str
        Name of the colour plane.
    system_gain : Uncertain
        Of that plane at this gain [DN/e-].

    Raises
    ------
    CalibrationError
        All have the same exposure time.
    """
    if len({(m.conditions.gain, m.conditions.temperature) for m in masters}) > 1:
        raise ValueError("masters are of several gains or temperatures; give those of one")
    exposure = np.array([m.conditions.exposure for m in masters])
    if len(np.unique(exposure)) < 2:
        raise CalibrationError(
            f"{len(np.unique(exposure))} exposure times: two or more are needed to see the dark "
            f"signal grow"
        )
    darks = [m.planes[plane] for m in masters]
    by_mean = _line(exposure, [dark.mean for dark in darks])
    by_noise = _line(
        exposure, [Uncertain(dark.noise.pixel, dark.noise.pixel_uncertainty) for dark in darks]
    )
    from_mean = by_mean.slope.divided_by(system_gain)
    from_variance = by_noise.slope.divided_by(system_gain).divided_by(system_gain)
    missing = from_variance.value - from_mean.value
    error = math.hypot(from_mean.uncertainty, from_variance.uncertainty)
    clamped = missing > 3 * error and from_mean.value < _CLAMPED * from_variance.value
    # the offsets are fixed: they move all means alike, and the slope not at all
    offsets = max(darks[0].fixed_variance.value, 0.0) / darks[0].pixels
    black = math.sqrt(by_mean.offset.uncertainty**2 + offsets)
    return DarkCurrent(
        value=from_variance if clamped else from_mean,
        from_mean=from_mean,
        from_variance=from_variance,
        clamped=clamped,
        black_level=Uncertain(by_mean.offset.value, black),
    )


def _line(exposure: NDArray[np.float64], values: Sequence[Uncertain]) -> Line:
    error = np.array([value.uncertainty for value in values])
    if not error.all():
        raise CalibrationError("dark frames of one exposure time are equal: they are copies")
    return weighted_line(exposure, np.array([value.value for value in values]), error**2)


def _far_above(mean: NDArray[np.float64], finest: float) -> NDArray[np.bool_]:
    """Pixels that stand out, judged by the median and the median deviation from it."""
    middle = np.median(mean)
    deviation = 1.4826 * np.median(np.abs(mean - middle))  # that of a normal distribution
    far: NDArray[np.bool_] = mean > middle + _HOT * max(float(deviation), finest)
    return far


def _plane(
    mean: NDArray[np.float64], hot: NDArray[np.bool_], noise: TemporalNoise, frames: int
) -> PlaneDark:
    good = mean[~hot]
    rows = mean.shape[0]
    row, frame = max(noise.row, 0.0), max(noise.frame, 0.0)
    spread = float(good.var(ddof=1))
    left = (noise.pixel + row) / frames
    error = math.hypot(
        spread * math.sqrt(2 / good.size),
        noise.pixel_uncertainty / frames,
        row / frames * math.sqrt(2 / rows),
    )
    of_mean = math.sqrt((noise.pixel / good.size + row / rows + frame) / frames)
    return PlaneDark(
        mean=Uncertain(float(good.mean()), of_mean),
        noise=noise,
        fixed_variance=Uncertain(spread - left, error),
        pixels=mean.size,
        hot=int(np.count_nonzero(hot)),
    )
