r"""Exposure bracket to one map of rates: high dynamic range, with the variance of every pixel.

With :math:`\bar y_e` the mean of the :math:`n_e` frames of exposure time :math:`t_e`, :math:`d_e`
its master dark, K the system gain and :math:`a_e` the light of the source in it (1 if steady),

.. math::
    x_e = \frac{\bar y_e - d_e}{K a_e t_e}, \qquad
    \operatorname{var} x_e
        = \frac{\sigma^2(\hat r, t_e) / n_e + \sigma_{d,e}^2}{(K a_e t_e)^2}, \qquad
    \hat r = \frac{\sum_e x_e / \operatorname{var} x_e}{\sum_e 1 / \operatorname{var} x_e}

:math:`\sigma^2` is that of the noise model for the *expected* signal of a pixel, never for the
sample at hand: samples that chance made darker would otherwise weigh more, and the result would
come out too dark by about an electron. The expected signal is the merged one itself, with the
noise of neighbours averaged where they do not differ by more than noise.

An exposure is left out where the mean of its frames comes near the clip level, and in the pixels
around: the limit lies where no single sample is clipped yet, so that none is cut out of a mean.
Negative values are noise, and kept.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, uniform_filter

from calibration.bayer import places, plane_names
from calibration.errors import CalibrationError
from calibration.noise.dark import MasterDark
from calibration.noise.flat import FlatField
from calibration.noise.model import NoiseModel
from calibration.psf.bracket import Bracket, ExposureSum, clip_level
from calibration.uncertainty import Uncertain
from hardware.cameras.base import EXPOSURE_TOLERANCE

_SATURATION = 0.9  # share of the clip level above which an exposure is left out
_CLEAR = 6.0  # deviations that the expected sample keeps from the clip level, and from zero
_HARD = 0.75  # of the way from there to the clip level: no sample of a frame may be above
_FEW, _FEW_SHARE = 4, 1e-4  # pixels that may be clipped in all exposures, and are not measured
_BLOOMING = 2  # pixels around clipped ones that are left out, in all colours
_NEIGHBOURS = 5  # side of the window over which neighbours are compared, pixels of a plane
_ROUNDS = 3  # of the expected signal; the second changes it by parts in a thousand
_OFFSET = 0.25  # DN by which an exposure may differ from the others before it is worth a word


@dataclass(frozen=True)
class ExposureUse:
    """What an exposure contributed.

    Attributes
    ----------
    exposure : float
        Exposure time [s].
    frames : int
        How many were averaged.
    clipped : float
        Share of the pixels left out because they, or pixels beside them, are clipped.
    light : Uncertain
        Light of the source that it was divided by.
    offset : Uncertain
        By how much its samples lie above the merged rate, where all exposures see: black level
        or stray light that drifted [DN]. Always about zero for the one that decides there.
    """

    exposure: float
    frames: int
    clipped: float
    light: Uncertain
    offset: Uncertain


@dataclass(frozen=True, eq=False)
class MergedRate:
    """Rate of photo-electrons in every pixel of a mosaic.

    Attributes
    ----------
    rate : ndarray of float64
        (H, W), dark taken off; NaN where no exposure saw the pixel [e-/s].
    variance : ndarray of float64
        (H, W), of noise, of the darks and of what is not known of the response of the pixels;
        infinite where not valid [e-^2/s^2]. The gain is another matter: see `scale`.
    valid : ndarray of bool
        (H, W), pixels that were measured.
    cfa : str
        Colours of the top-left 2 x 2 block; "" is a monochrome sensor.
    origin : tuple of int
        Row and column of the first pixel in the full frame.
    scale : mapping
        Plane name to the relative uncertainty that all its pixels share, that of the gain.
    chi_square : mapping
        Plane name to chi-square per degree of freedom between the exposures; about 1.
    exposures : tuple of ExposureUse
        Shortest first.
    warnings : tuple of str
        What makes the numbers doubtful.
    """

    rate: NDArray[np.float64]
    variance: NDArray[np.float64]
    valid: NDArray[np.bool_]
    cfa: str
    origin: tuple[int, int]
    scale: Mapping[str, float]
    chi_square: Mapping[str, float]
    exposures: tuple[ExposureUse, ...]
    warnings: tuple[str, ...]


def merge(
    bracket: Bracket,
    darks: Mapping[float, MasterDark],
    noise: NoiseModel,
    *,
    lights: Mapping[float, Uncertain] | None = None,
    flat: FlatField | None = None,
) -> MergedRate:
    """Merge an exposure bracket.

    Parameters
    ----------
    bracket : Bracket
        Two frames or more in all.
    darks : mapping
        Exposure time, as in ``bracket.exposures``, to the master dark of the same region.
    noise : NoiseModel
        Of this mode and gain.
    lights : mapping, optional
        Exposure time to the light of the source, as `LightLog.ratios` finds it; without it the
        light is taken as steady.
    flat : FlatField, optional
        Response of the same pixels, which is divided out. Without it, what the noise model knows
        of the spread of the response goes into the variance.

    Raises
    ------
    CalibrationError
        Too few frames, a dark that is missing or cut off, another gain or resolution than that of
        the noise model, or pixels that are clipped in the shortest exposure.
    """
    first = bracket.first
    if first is None or sum(group.count for group in bracket.sums.values()) < 2:
        raise CalibrationError("a merge needs two frames or more")
    _check_noise(noise, first.cfa, first.bits, first.gain)
    times = bracket.exposures
    for time in times:
        _check_dark(time, darks.get(time), first.shape, first.gain, noise)
    if flat is not None and flat.response.shape != first.shape:
        raise ValueError(f"flat is {flat.response.shape}, the frames {first.shape}; crop it alike")
    one = Uncertain(1.0, 0.0)
    lights = dict.fromkeys(times, one) if lights is None else lights
    sources = [
        _Exposure(bracket.sums[time], darks[time], lights[time], first.white_level, noise)
        for time in times
    ]
    clipped = _clipped(sources, first.cfa)
    rate, variance = np.full(first.shape, np.nan), np.full(first.shape, np.inf)
    chi_square = {}
    offsets: list[list[Uncertain]] = [[] for _ in times]
    for name, place in places(rate, first.cfa):
        plane = noise.planes[name]
        usable = np.array(
            [
                ~mask[place] & ~source.dark.hot[place]
                for source, mask in zip(sources, clipped, strict=True)
            ]
        )
        rates = np.array([source.rate(name, place) for source in sources])
        merged, var, chi_square[name] = _merge_plane(sources, name, rates, usable)
        for found, source, x in zip(offsets, sources, rates, strict=True):
            found.append(_offset(source, name, x, merged, np.asarray(usable.all(0))))
        if flat is None:
            spread = plane.prnu.value if plane.prnu else 0.0
        else:
            spread = flat.planes[name].noise
            merged, var = merged / flat.response[place], var / flat.response[place] ** 2
        rate[place], variance[place] = merged, var + (spread * merged) ** 2
    valid = np.isfinite(rate)
    variance[~valid] = np.inf
    uses = tuple(
        ExposureUse(time, source.sum.count, float(mask.mean()), source.light, _mean(found))
        for time, source, mask, found in zip(times, sources, clipped, offsets, strict=True)
    )
    return MergedRate(
        rate=rate,
        variance=variance,
        valid=valid,
        cfa=first.cfa,
        origin=first.origin,
        scale={
            name: plane.system_gain.uncertainty / plane.system_gain.value
            for name, plane in noise.planes.items()
        },
        chi_square=chi_square,
        exposures=uses,
        warnings=_notes(uses),
    )


def decibels(ratio: float) -> float:
    """Return a ratio of signals as 20 log10 [dB]; minus infinity if it is not above zero."""
    return 20 * math.log10(ratio) if ratio > 0 else -math.inf


@dataclass(frozen=True, eq=False)
class _Exposure:
    """Frames of one exposure with all that turns them into rates."""

    sum: ExposureSum
    dark: MasterDark
    light: Uncertain
    white_level: float
    noise: NoiseModel

    def per_rate(self, name: str) -> float:
        """Digital numbers per rate [DN s/e-]."""
        return self.noise.planes[name].system_gain.value * self.light.value * self.sum.time

    def rate(self, name: str, place: tuple[slice, slice]) -> NDArray[np.float64]:
        """Rate of each pixel of a plane by this exposure alone [e-/s]."""
        total = self.sum.total[place] / self.sum.count
        return np.asarray((total - self.dark.mean[place]) / self.per_rate(name))

    def variance(self, name: str, expected: NDArray[np.float64]) -> NDArray[np.float64]:
        """Variance of `rate` for an expected rate [e-^2/s^2]."""
        dark = self.dark.planes[name]
        scale = self.per_rate(name)
        mean = dark.mean.value + scale * np.maximum(expected, 0.0)
        of_dark = (dark.noise.pixel + max(dark.noise.row, 0.0)) / self.dark.frames
        frames = self.noise.planes[name].variance(mean, self.sum.time) / self.sum.count
        return np.asarray((frames + of_dark) / scale**2)

    def limits(self, name: str) -> tuple[float, float]:
        """Rate above which the exposure is left out, and the sample that no frame may reach."""
        plane = self.noise.planes[name]
        top = clip_level(plane, self.white_level)
        dark = self.dark.planes[name].mean.value
        noise = math.sqrt(float(plane.variance(top, self.sum.time)))
        soft = min(_SATURATION * (top - dark), top - dark - _CLEAR * noise) + dark
        return (soft - dark) / self.per_rate(name), soft + _HARD * (top - soft)


def _clipped(sources: list[_Exposure], cfa: str) -> list[NDArray[np.bool_]]:
    """Pixels of each exposure that are clipped, or beside a clipped one."""
    masks: list[NDArray[np.bool_]] = []
    for source in sources:
        mask = np.zeros(source.sum.total.shape, np.bool_)
        for name, place in places(mask, cfa):
            limit, highest = source.limits(name)
            bright = source.rate(name, place) > limit
            mask[place] = bright | (source.sum.peak[place] >= highest)
        mask &= ~source.dark.hot
        if not masks and np.count_nonzero(mask) > max(_FEW, _FEW_SHARE * mask.size):
            raise CalibrationError(
                f"{np.count_nonzero(mask)} pixels are clipped, or nearly so, in the shortest "
                f"exposure, {source.sum.time:g} s: take shorter ones, or dim the source"
            )
        mask = binary_dilation(mask, np.ones((3, 3), np.bool_), iterations=_BLOOMING)
        masks.append(mask)
    return masks


def _merge_plane(
    sources: list[_Exposure],
    name: str,
    rates: NDArray[np.float64],
    usable: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Rate, variance and reduced chi-square of a plane, from (E, h, w) rates."""
    seen: NDArray[np.bool_] = np.asarray(usable.any(0))
    expected = np.zeros(seen.shape)
    for x, used in zip(rates, usable, strict=True):  # the longest usable one is the surest
        expected[used] = x[used]
    merged, variance = expected, np.full(seen.shape, np.inf)
    for _ in range(_ROUNDS):
        weights = np.array(
            [
                np.where(used, 1 / source.variance(name, expected), 0.0)
                for source, used in zip(sources, usable, strict=True)
            ]
        )
        total = np.where(seen, weights.sum(0), 1.0)
        merged, variance = (weights * rates).sum(0) / total, 1 / total
        expected = _expected(merged, variance, seen)
    degrees = int(usable.sum() - seen.sum())
    chi = float((weights * (rates - merged) ** 2).sum()) / degrees if degrees else math.nan
    return np.where(seen, merged, np.nan), np.where(seen, variance, np.inf), chi


def _expected(
    rate: NDArray[np.float64], variance: NDArray[np.float64], seen: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Average neighbours as far as noise alone explains how they differ (Lee's local filter)."""
    weight = np.maximum(uniform_filter(seen.astype(np.float64), _NEIGHBOURS), 1e-9)

    def local(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(uniform_filter(np.where(seen, values, 0.0), _NEIGHBOURS) / weight)

    mean = local(rate)
    spread = np.maximum(local((rate - mean) ** 2), 1e-300)
    # twice the noise: the spread of 25 neighbours is itself uncertain by a third
    share = np.clip(1 - 2 * local(variance) / spread, 0.0, 1.0)
    return np.asarray(np.where(seen, mean + share * (rate - mean), 0.0))


def _offset(
    source: _Exposure,
    name: str,
    rate: NDArray[np.float64],
    merged: NDArray[np.float64],
    both: NDArray[np.bool_],
) -> Uncertain:
    """Mean of an exposure above the merged rate in the dim half of the plane [DN]."""
    if np.count_nonzero(both) < 16:
        return Uncertain(0.0, 0.0)
    # chosen by neighbours: pixels that are dim by chance would lie above themselves elsewhere
    around = uniform_filter(np.where(both, merged, 0.0), _NEIGHBOURS)
    dim = both & (around <= np.median(around[both]))
    difference = (rate - merged)[dim] * source.per_rate(name)
    scatter = float(difference.std(ddof=1)) / math.sqrt(difference.size)
    return Uncertain(
        float(difference.mean()), math.hypot(scatter, source.dark.planes[name].mean.uncertainty)
    )


def _mean(values: list[Uncertain]) -> Uncertain:
    count = len(values)
    return Uncertain(
        sum(v.value for v in values) / count, math.hypot(*(v.uncertainty for v in values)) / count
    )


def _notes(uses: tuple[ExposureUse, ...]) -> tuple[str, ...]:
    clipped = uses[0].clipped
    lost = (
        f"{clipped:.2%} of the pixels, the brightest and those beside them, are clipped in the "
        f"shortest exposure, {uses[0].exposure:g} s, and were not measured; take shorter ones"
    )
    return (lost,) * (clipped > 0) + tuple(
        f"{use.exposure:g} s lies {use.offset} DN above the other exposures: the black level or "
        f"other light drifted between darks and frames; take both closer together"
        for use in uses
        if abs(use.offset.value) > max(_OFFSET, 5 * use.offset.uncertainty)
    )


def _check_noise(noise: NoiseModel, cfa: str, bits: int, gain: float) -> None:
    if set(noise.planes) != set(plane_names(cfa)):
        raise CalibrationError(
            f"the noise model has planes {', '.join(noise.planes)}, the frames are cfa = {cfa!r}"
        )
    if noise.bits != bits or abs(noise.gain - gain) > 0.01 * gain:
        raise CalibrationError(
            f"the noise model is of {noise.bits} bits and gain {noise.gain:g}, the frames of "
            f"{bits} bits and gain {gain:g}: take a photon transfer in the mode of the frames"
        )


def _check_dark(
    time: float, dark: MasterDark | None, shape: tuple[int, int], gain: float, noise: NoiseModel
) -> None:
    if dark is None:
        raise CalibrationError(f"there is no dark of {time:g} s: take darks of every exposure")
    if dark.mean.shape != shape:
        raise ValueError(f"the dark of {time:g} s is {dark.mean.shape}, the frames {shape}")
    kind = dark.conditions
    off = abs(kind.exposure - time)
    if off > EXPOSURE_TOLERANCE * time or abs(kind.gain - gain) > 1e-3 * gain:
        raise CalibrationError(
            f"the dark is of {kind.exposure:g} s and gain {kind.gain:g}, the frames of {time:g} s "
            f"and gain {gain:g}: a dark holds for its own settings"
        )
    for name, plane in dark.planes.items():
        deviation = math.sqrt(float(noise.planes[name].variance(plane.mean.value, time)))
        if plane.mean.value < _CLEAR * deviation:
            raise CalibrationError(
                f"{name}: the dark of {time:g} s is {plane.mean.value:.3g} DN with a noise of "
                f"{deviation:.2g} DN: the converter cuts it off at zero, and dim light comes out "
                f"too bright; raise the black level"
            )
