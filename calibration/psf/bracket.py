"""Raw frames of an exposure bracket, summed as they come, and how steady light and scene were.

One frame at a time is in memory. Of each exposure the sum and the highest sample of every pixel
are kept (6 bytes a pixel), of each frame the means of blocks of 16 x 16 pixels: enough to tell
how bright the light was in it, and whether it shows something else than the others.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from calibration.bayer import plane_names
from calibration.errors import CalibrationError
from calibration.noise.dark import MasterDark
from calibration.noise.model import NoiseModel, PlaneNoise
from calibration.uncertainty import Uncertain, weighted_line
from hardware.frames import RawFrame

_BLOCK = 16  # pixels along the side of a block
_ROUNDS = 4  # of Gauss-Newton; the problem is all but linear
_FAR = 5.0  # robust deviations
_LIGHT = 0.02  # least deviation of the light that makes a frame an outlier
_OTHER = 2.0  # times the usual chi-square that makes a frame an outlier
_CHANCE = 1e-5  # of a chi-square at which noise alone is no longer believed
_DRIFT = 0.01  # relative change of the light over the bracket that is worth a word

# n (2^16 - 1) has to stay below 2^32
_MOST_FRAMES = 65_535


@dataclass(eq=False)
class ExposureSum:
    """Frames of one exposure time.

    Attributes
    ----------
    total : ndarray of uint32
        (H, W) sum of the samples [DN].
    peak : ndarray of uint16
        (H, W) highest sample of each pixel [DN].
    frames : list of int
        Which frames they are, counted from 0 in the order in which the bracket got them.
    times : list of float
        Exposure of each as the sensor reports it [s].
    """

    total: NDArray[np.uint32]
    peak: NDArray[np.uint16]
    frames: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self.frames)

    @property
    def time(self) -> float:
        """Mean exposure time [s]."""
        return sum(self.times) / len(self.times)

    def mean(self) -> NDArray[np.float64]:
        """Mean sample of each pixel (H, W) [DN]."""
        return np.divide(self.total, self.count, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class _Seen:
    """What is kept of a single frame."""

    exposure: float
    time: float  # since the first frame [s]
    means: NDArray[np.float64]  # of the blocks [DN]
    peaks: NDArray[np.uint16]


class Bracket:
    """Sums of the frames of one scene, by exposure time.

    Exposures are told apart by four digits, because a sensor does not always report the same
    setting alike.
    """

    def __init__(self) -> None:
        self.sums: dict[float, ExposureSum] = {}
        self.first: RawFrame | None = None
        self.seen: list[_Seen | None] = []

    def add(self, frame: RawFrame) -> None:
        """Take in a frame.

        Raises
        ------
        CalibrationError
            It is of another mode, region, gain or black level than those before it.
        """
        if self.first is None:
            self.first = frame
        _refuse_other(self.first, frame)
        key = float(f"{frame.exposure:.4g}")
        if key not in self.sums:
            shape = frame.shape
            self.sums[key] = ExposureSum(np.zeros(shape, np.uint32), np.zeros(shape, np.uint16))
        group = self.sums[key]
        if group.count == _MOST_FRAMES:
            raise ValueError(f"an exposure holds {_MOST_FRAMES} frames at most")
        group.total += frame.mosaic
        np.maximum(group.peak, frame.mosaic, out=group.peak)
        group.frames.append(len(self.seen))
        group.times.append(frame.exposure)
        since = (frame.timestamp - self.first.timestamp) * 1e-9
        means, peaks = _blocks(frame.mosaic)
        self.seen.append(_Seen(key, since, means, peaks))

    def skip(self) -> None:
        """Leave a frame out, so that those after it keep their numbers."""
        self.seen.append(None)

    @property
    def exposures(self) -> tuple[float, ...]:
        """Exposure times, shortest first [s]."""
        return tuple(sorted(self.sums))


@dataclass(frozen=True)
class FrameLight:
    """How a frame compares with the others.

    Attributes
    ----------
    number : int
        Which one it is, from 0.
    exposure : float
        Exposure time [s].
    time : float
        Since the first frame, by the clock of the sensor [s].
    light : Uncertain
        Light of the source in it; the mean over the bracket is 1.
    chi_square : float
        Of its blocks per degree of freedom, once the light is taken into account; about 1 where
        the frame shows what the others show.
    outlier : str
        Why the frame does not belong, or "".
    """

    number: int
    exposure: float
    time: float
    light: Uncertain
    chi_square: float
    outlier: str


@dataclass(frozen=True)
class LightLog:
    """How steady the light was.

    Attributes
    ----------
    frames : tuple of FrameLight
        In the order in which they were taken in.
    flicker : float
        Standard deviation of the light, outliers left out, what noise explains taken off.
    drift : Uncertain
        Relative change of the light from the first to the last frame.
    """

    frames: tuple[FrameLight, ...]
    flicker: float
    drift: Uncertain

    @property
    def outliers(self) -> tuple[FrameLight, ...]:
        """Frames that do not belong."""
        return tuple(frame for frame in self.frames if frame.outlier)

    def ratios(self) -> dict[float, Uncertain]:
        """Mean light of each exposure time, outliers left out; 1 is the mean of all frames."""
        out = {}
        for exposure in sorted({frame.exposure for frame in self.frames}):
            own = [f.light for f in self.frames if f.exposure == exposure and not f.outlier]
            if own:
                mean = sum(light.value for light in own) / len(own)
                # what they share, such as the blocks they are compared by, does not average out
                error = max(light.uncertainty for light in own)
                out[exposure] = Uncertain(mean, error)
        return out

    def warnings(self) -> tuple[str, ...]:
        """Say what is worth a word."""
        notes = [
            f"frame {frame.number} ({frame.exposure:g} s) is left out: {frame.outlier}"
            for frame in self.outliers
        ]
        if abs(self.drift.value) > max(_DRIFT, 5 * self.drift.uncertainty):
            notes.append(
                f"the light changed by {self.drift.value:+.1%} over the bracket; let the source "
                f"warm up, or merge with its ratios"
            )
        if self.flicker > _DRIFT:
            notes.append(f"the light flickers by {self.flicker:.1%} from frame to frame")
        return tuple(notes)


def light_log(bracket: Bracket, darks: Mapping[float, MasterDark], noise: NoiseModel) -> LightLog:
    """Compare the frames of a bracket with each other, over all exposures.

    Block b of frame k is :math:`a_k t_k R_b` above the dark; lights a and rates R come from
    weighted least squares over the blocks that are not clipped in any frame of an exposure.

    Parameters
    ----------
    bracket : Bracket
        Two frames or more.
    darks : mapping
        Exposure time, as in ``bracket.exposures``, to the master dark of the same region.
    noise : NoiseModel
        Of this mode and gain.
    """
    kept = [(number, seen) for number, seen in enumerate(bracket.seen) if seen is not None]
    if len(kept) < 2 or bracket.first is None:
        raise CalibrationError(f"{len(kept)} frames: two or more are needed to compare them")
    planes = [noise.planes[name] for name in plane_names(bracket.first.cfa)]
    dark_means = {t: _blocks(darks[t].mean)[0].ravel() for t in bracket.exposures}
    signal = np.array([seen.means.ravel() - dark_means[seen.exposure] for _, seen in kept])
    time = np.array([seen.exposure for _, seen in kept])
    ceiling = 0.9 * min(clip_level(plane, bracket.first.white_level) for plane in planes)
    weight = np.array([1 / _block_variance(planes, seen, signal.shape[1]) for _, seen in kept])
    for exposure in bracket.exposures:
        own = time == exposure
        peaks = np.max([seen.peaks for _, seen in kept if seen.exposure == exposure], axis=0)
        weight[np.ix_(own, peaks.ravel() > ceiling)] = 0.0
    light, sigma, chi_square, reasons = _without_outliers(signal, time, weight)
    frames = tuple(
        FrameLight(
            number, seen.exposure, seen.time, Uncertain(float(a), float(s)), float(c), reason
        )
        for (number, seen), a, s, c, reason in zip(
            kept, light, sigma, chi_square, reasons, strict=True
        )
    )
    good = np.array([not reason for reason in reasons])
    spread = float(light[good].var(ddof=1)) if good.sum() > 1 else 0.0
    flicker = math.sqrt(max(spread - float(np.mean(sigma[good] ** 2)), 0.0))
    return LightLog(frames, flicker, _drift([f for f in frames if not f.outlier]))


def _lights(
    signal: NDArray[np.float64], time: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Light, its uncertainty, the reduced chi-square of each frame, and its degrees of freedom.

    The rates of the blocks are eliminated (Schur complement), so that only the frames are left.
    """
    seen = weight.sum(0) > 0
    signal, weight = signal[:, seen], weight[:, seen]
    light = np.ones(len(signal))
    t = time[:, None]
    rate = (weight * t * signal).sum(0) / (weight * t**2).sum(0)
    reduced = np.eye(len(signal))
    for _ in range(_ROUNDS):
        by_light, by_rate = t * rate, t * light[:, None]
        residual = signal - by_light * light[:, None]
        cross = weight * by_light * by_rate
        of_rates = (weight * by_rate**2).sum(0)
        reduced = np.diag((weight * by_light**2).sum(1)) - (cross / of_rates) @ cross.T
        pull = (weight * by_rate * residual).sum(0)
        right = (weight * by_light * residual).sum(1) - (cross / of_rates) @ pull
        # the scale of all lights is free: the pseudo-inverse leaves their sum as it is
        step = np.linalg.pinv(reduced, rcond=1e-9, hermitian=True) @ right
        rate = rate + (pull - cross.T @ step) / of_rates
        light = light + step
        scale = light.mean()
        light, rate = light / scale, rate * scale
    covariance = np.linalg.pinv(reduced, rcond=1e-9, hermitian=True)
    residual = signal - t * rate * light[:, None]
    used = np.maximum((weight > 0).sum(1) * (1 - 1 / len(signal)), 1.0)
    chi_square = (weight * residual**2).sum(1) / used
    return light, np.sqrt(np.maximum(np.diag(covariance), 0.0)), chi_square, used


def _without_outliers(
    signal: NDArray[np.float64], time: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], list[str]]:
    """As `_lights`, the frame that fits worst left out as long as there is one; and why.

    One at a time, because one that does not belong spoils the fit of the others.
    """
    count = len(signal)
    light, sigma, chi_square = np.ones(count), np.zeros(count), np.zeros(count)
    reasons = [""] * count
    left = np.arange(count)
    while True:
        light[left], sigma[left], chi_square[left], used = _lights(
            signal[left], time[left], weight[left]
        )
        worst, reason = _worst(light[left], sigma[left], chi_square[left], used)
        if not reason or len(left) <= 2:
            return light, sigma, chi_square, reasons
        reasons[left[worst]] = reason
        left = np.delete(left, worst)


def _worst(
    light: NDArray[np.float64],
    sigma: NDArray[np.float64],
    chi_square: NDArray[np.float64],
    used: NDArray[np.float64],
) -> tuple[int, str]:
    """Which frame fits the others least, and why it does not belong, or ""."""
    middle, usual = float(np.median(light)), float(np.median(chi_square))
    spread = 1.4826 * float(np.median(np.abs(light - middle)))  # that of a normal distribution
    off = np.abs(light / middle - 1)
    # 1 and more is too far
    by_light = off / np.maximum(_LIGHT, _FAR * np.hypot(sigma, spread) / middle)
    noise = max(usual, 1.0) * chi2.isf(_CHANCE, used) / used  # of few blocks it scatters far
    by_change = chi_square / np.maximum(max(_OTHER * usual, usual + 1), noise)
    one, other = int(np.argmax(by_light)), int(np.argmax(by_change))
    if max(by_light[one], by_change[other]) < 1:
        return one, ""
    # what shows something else seldom has the same light, so that is asked first
    if by_change[other] >= 1 and by_change[other] >= by_light[one]:
        return other, (
            f"it shows something else (chi-square {chi_square[other]:.1f}, of the others "
            f"{usual:.1f}): the spot moved, or other light came in"
        )
    return one, f"its light is {light[one] / middle:.3f} of that of the others"


def _drift(frames: list[FrameLight]) -> Uncertain:
    time = np.array([frame.time for frame in frames])
    if len(frames) < 3 or np.ptp(time) == 0:
        return Uncertain(0.0, 0.0)
    variance = np.array([max(frame.light.uncertainty, 1e-9) ** 2 for frame in frames])
    slope = weighted_line(time, np.array([f.light.value for f in frames]), variance).slope
    whole = float(np.ptp(time))
    return Uncertain(slope.value * whole, slope.uncertainty * whole)


def _block_variance(planes: list[PlaneNoise], seen: _Seen, blocks: int) -> NDArray[np.float64]:
    """Variance of the mean of each block [DN^2]; noise that a row shares counts as such."""
    pixel = np.zeros(blocks)
    row = 0.0
    for plane in planes:
        own = (plane.system_gain.value * plane.row_noise.value) ** 2
        pixel += plane.variance(seen.means.ravel(), seen.exposure) - own
        row += own
    side = min(_BLOCK, *seen.means.shape) if blocks == 1 else _BLOCK
    return np.asarray((pixel / side**2 + row / side) / len(planes))


def _blocks(mosaic: NDArray[np.generic]) -> tuple[NDArray[np.float64], NDArray[np.uint16]]:
    """Mean and highest sample of blocks of 16 x 16; what is left over at the edges is left out."""
    height, width = mosaic.shape
    rows, columns = height // _BLOCK, width // _BLOCK
    if not rows or not columns:
        raise ValueError(
            f"frames are {height} x {width} pixels: {_BLOCK} x {_BLOCK} or more are needed"
        )
    whole = mosaic[: rows * _BLOCK, : columns * _BLOCK]
    parts = whole.reshape(rows, _BLOCK, columns, _BLOCK)
    return parts.mean((1, 3), dtype=np.float64), parts.max((1, 3))


def clip_level(plane: PlaneNoise, white_level: float) -> float:
    """Sample at which a plane clips [DN]: as measured, or the white level where it is lower."""
    return white_level if plane.saturation is None else min(plane.saturation, white_level)


def _refuse_other(first: RawFrame, frame: RawFrame) -> None:
    for name in ("shape", "origin", "cfa", "bits", "white_level", "black_level"):
        here, there = getattr(frame, name), getattr(first, name)
        if here != there:
            raise CalibrationError(
                f"{name} = {here}, but {there} in the frames before it: a bracket is of one mode "
                f"and region; merge each by itself"
            )
    if abs(frame.gain - first.gain) > 1e-3 * first.gain:
        raise CalibrationError(
            f"gain = {frame.gain:g}, but {first.gain:g} in the frames before it: a bracket is of "
            f"one gain; merge each by itself"
        )
    if not frame.confirmed:
        raise CalibrationError(
            f"the sensor did not confirm the exposure of a frame ({frame.exposure:g} s): its rate "
            f"would be a guess; take it again"
        )
