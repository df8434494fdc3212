r"""How a measured point-spread function compares with an expected one, and how surely.

Both are one colour plane on the same pixels, background taken off: the expected one has to lie
where the measured one does, which for pixels that undersample the light means to compute it there
(a tilt of the wave), not to shift samples. What is left of a displacement is reported as `drift`.
The expected plane is scaled to the measured one by least squares; pixels that were not measured
count nowhere, and are filled with the expected ones for radii and transfer functions.

Noise makes images differ and powers grow. With the variance v of every pixel, what it adds on
average is taken off:

.. math::
    \mathrm{NCC} = \frac{\sum \delta m\, \delta g}
                        {\sqrt{(\sum \delta m^2 - \sum v) \sum \delta g^2}}, \qquad
    L_2^2 = \frac{\sum (m - g)^2 - \sum v}{\sum g^2}

with measured m, scaled expected g and deviations from the mean :math:`\delta`. An :math:`L_2^2`
that comes out below zero is zero within its uncertainty. Uncertainties are of the noise of the
pixels, not of the background that was taken off nor of the gain.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.bayer import places
from calibration.errors import CalibrationError
from calibration.psf.registration import register
from calibration.uncertainty import Uncertain, square_root

#: Shares of the energy whose radii are compared.
SHARES = (0.5, 0.8)

_PADDING = 4  # of the transform: an MTF falls within few of the plain frequencies
_LEAST_PIXELS = 64
_LEAST_SIDE = 8

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Pair:
    """One quantity of both images.

    Attributes
    ----------
    measured : Uncertain
        Of the measured one.
    expected : float
        Of the expected one, by the same rule on the same pixels.
    """

    measured: Uncertain
    expected: float

    @property
    def change(self) -> float:
        """Relative difference, measured less expected; NaN where nothing was expected."""
        return self.measured.value / self.expected - 1 if self.expected else math.nan


@dataclass(frozen=True, eq=False)
class Transfer:
    """Modulation transfer, mean square over all directions.

    Attributes
    ----------
    frequency : ndarray
        (F,) up to half of the sampling of the plane [cycles per pixel of the mosaic].
    measured, uncertainty, expected : ndarray
        (F,), 1 at zero frequency; power of the noise taken off the measured one.
    """

    frequency: Array
    measured: Array
    uncertainty: Array
    expected: Array


@dataclass(frozen=True, eq=False)
class Likeness:
    """How alike a measured and an expected plane are.

    Attributes
    ----------
    ncc : Uncertain
        Normalised correlation, noise taken off; chance may bring it a little above 1.
    relative_l2 : Uncertain
        Norm of the difference over that of the expected plane, noise taken off.
    chi_square : float
        Mean squared difference in standard deviations, about 1 where the two are the same.
    pixels : int
        That were compared.
    scale : float
        Measured over expected.
    drift : tuple of Uncertain or None
        Displacement (down, right) of the measured image that is left [pixels]; None where the
        images have too little in common to tell.
    strehl : Uncertain
        Measured over expected light in the pixel that was expected brightest of the measured
        ones, energies made equal: how sharp it is against what was expected.
    radii : mapping
        Share of the energy to the radius that holds it [pixels].
    width : Pair
        Root mean square distance from the centroid [pixels].
    transfer : Transfer
        Modulation.
    mtf50 : Pair or None
        Frequency at which the modulation falls to a half [cycles per pixel]; None if it does not.
    """

    ncc: Uncertain
    relative_l2: Uncertain
    chi_square: float
    pixels: int
    scale: float
    drift: tuple[Uncertain, Uncertain] | None
    strehl: Uncertain
    radii: Mapping[float, Pair]
    width: Pair
    transfer: Transfer
    mtf50: Pair | None


def compare_mosaic(
    rate: Array, variance: Array, valid: NDArray[np.bool_], expected: Array, *, cfa: str
) -> dict[str, Likeness]:
    """Compare two mosaics (H, W), each colour plane by itself; see `compare_plane`."""
    step = 2 if cfa else 1
    return {
        name: compare_plane(rate[at], variance[at], valid[at], expected[at], step=step)
        for name, at in places(rate, cfa)
    }


def compare_plane(
    rate: Array, variance: Array, valid: NDArray[np.bool_], expected: Array, *, step: int = 1
) -> Likeness:
    """Compare one plane with what was expected.

    Parameters
    ----------
    rate, variance : ndarray
        (h, w) measured, background taken off, and the variance of every pixel.
    valid : ndarray of bool
        (h, w) pixels that were measured.
    expected : ndarray
        (h, w), at the place of the measured one, in any units.
    step : {1, 2}
        Distance of the plane's pixels in those of the mosaic, in which lengths are returned.

    Raises
    ------
    CalibrationError
        There is no light in one of them, or too few pixels.
    """
    for name, other in (("variance", variance), ("valid", valid), ("expected", expected)):
        if other.shape != rate.shape or rate.ndim != 2:
            raise ValueError(f"{name} is {other.shape}, rate {rate.shape}: (h, w) of one size")
    if min(rate.shape) < _LEAST_SIDE:
        raise ValueError(f"rate is {rate.shape}: {_LEAST_SIDE} rows and columns or more are needed")
    seen = valid & np.isfinite(expected)
    if np.count_nonzero(seen) < _LEAST_PIXELS:
        raise CalibrationError(
            f"{np.count_nonzero(seen)} pixels were measured where light is expected; "
            f"{_LEAST_PIXELS} or more are needed: capture a larger region around the spot"
        )
    m, g, v = (np.asarray(one[seen], np.float64) for one in (rate, expected, variance))
    norm = float(g @ g)
    scale = float(m @ g) / norm if norm else 0.0
    if not scale > 0:
        raise CalibrationError(
            "the measured light has nothing of what is expected; are design, place of the source "
            "and region those of the measurement?"
        )
    g = scale * g
    wanted = np.where(np.isfinite(expected), scale * expected, 0.0)
    image, own = np.where(seen, rate, wanted), np.where(seen, variance, 0.0)
    difference = m - g
    squared = float(difference @ difference - v.sum())
    error = math.sqrt(float(4 * (difference**2 @ v) + 2 * (v @ v)))
    circle = _Circle(wanted)
    transfer = _transfer(image, own, wanted, step)
    return Likeness(
        ncc=_correlation(m, g, v),
        relative_l2=square_root(squared / float(g @ g), error / float(g @ g)),
        chi_square=float((difference**2 / v).mean()),
        pixels=len(m),
        scale=scale,
        drift=_drift(wanted, image, own, step),
        strehl=_sharpness(image, own, wanted, seen),
        radii={share: circle.radius(image, own, wanted, share, step) for share in SHARES},
        width=circle.width(image, own, wanted, step),
        transfer=transfer,
        mtf50=_mtf50(transfer),
    )


def repeated(image: Array, *, apart: int = 6) -> tuple[float, tuple[int, int]]:
    """Strongest repetition of the fine pattern of an image elsewhere in it.

    Two sources in view show the same pattern twice: the correlation of the image with itself has
    a second peak at their distance, half as high as the first for two of equal brightness.

    Parameters
    ----------
    image : ndarray
        (h, w), background taken off.
    apart : int
        Displacements up to this are the pattern itself [pixels].

    Returns
    -------
    tuple
        Height of the second peak over that of the first, and its displacement (down, right).
    """
    size = [2 * n for n in image.shape]
    spectrum = np.fft.rfft2(image, s=size)
    power = np.abs(spectrum) ** 2
    # the envelope of a pattern is broad, and repeats nothing
    fy, fx = np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])
    power *= 1 - np.exp(-((math.pi * 2 * apart) ** 2) * (fy**2 + fx**2) / 2)
    correlation = np.fft.irfft2(power, s=size)
    first = float(correlation[0, 0])
    if not first > 0:
        return 0.0, (0, 0)
    for rows in (slice(0, apart + 1), slice(-apart, None)):
        for columns in (slice(0, apart + 1), slice(-apart, None)):
            correlation[rows, columns] = -math.inf
    row, column = divmod(int(correlation.argmax()), size[1])
    signed = [n - s if n > s // 2 else n for n, s in zip((row, column), size, strict=True)]
    return float(correlation[row, column]) / first, (signed[0], signed[1])


def _correlation(m: Array, g: Array, v: Array) -> Uncertain:
    dm, dg = m - m.mean(), g - g.mean()
    power, wanted = float(dm @ dm), float(dg @ dg)
    clean = power - float(v.sum())
    if not (clean > 0 and wanted > 0):
        raise CalibrationError("the image is noise alone: expose longer, or take more frames")
    ncc = float(dm @ dg) / math.sqrt(clean * wanted)
    slope = dg / math.sqrt(clean * wanted) - ncc * dm / clean
    # of the mean squares: their own scatter, beside what is linear in the noise
    error = math.hypot(math.sqrt(float(slope**2 @ v)), ncc * math.sqrt(float(v @ v) / 2) / clean)
    return Uncertain(ncc, error)


def _drift(
    wanted: Array, image: Array, variance: Array, step: int
) -> tuple[Uncertain, Uncertain] | None:
    try:
        shift = register(wanted, image, variance=variance, band=0.5)
    except CalibrationError:
        return None
    row, column = (
        Uncertain(step * s.value, step * s.uncertainty) for s in (shift.row, shift.column)
    )
    return row, column


def _sharpness(image: Array, variance: Array, wanted: Array, seen: NDArray[np.bool_]) -> Uncertain:
    peak = np.unravel_index(int(np.where(seen, wanted, -math.inf).argmax()), wanted.shape)
    ratio = float(wanted.sum() / image.sum()) / float(wanted[peak])
    return Uncertain(float(image[peak]) * ratio, math.sqrt(float(variance[peak])) * abs(ratio))


class _Circle:
    """The largest circle about the centroid of the expected image that the plane holds."""

    def __init__(self, wanted: Array) -> None:
        total = float(wanted.sum())
        centre = [
            float(wanted.sum(1 - k) @ np.arange(n)) / total for k, n in enumerate(wanted.shape)
        ]
        y, x = (np.arange(n) - c for n, c in zip(wanted.shape, centre, strict=True))
        self.squared = np.asarray(y[:, None] ** 2 + x**2)
        self.reach = min(min(c, n - 1 - c) for n, c in zip(wanted.shape, centre, strict=True))
        if self.reach < 2:
            raise CalibrationError("the spot lies at the edge of the region: capture around it")
        self.inside = self.squared <= self.reach**2

    def radius(self, image: Array, variance: Array, wanted: Array, share: float, step: int) -> Pair:
        """Radius that holds a share of the energy within the circle."""
        order = np.argsort(self.squared[self.inside], kind="stable")
        radii = np.sqrt(self.squared[self.inside][order])

        def found(values: Array) -> tuple[float, Array]:
            energy = np.cumsum(values[self.inside][order])
            energy = energy / energy[-1]
            return float(np.interp(share, np.maximum.accumulate(energy), radii)), energy

        radius, energy = found(image)
        total = float(image[self.inside].sum())
        within = (self.squared <= radius**2).astype(np.float64) - share
        noise = math.sqrt(float(within[self.inside] ** 2 @ variance[self.inside])) / total
        low, high = (float(np.interp(radius + d, radii, energy)) for d in (-1.0, 1.0))
        slope = max((high - low) / 2, 1e-9)
        return Pair(Uncertain(step * radius, step * noise / slope), step * found(wanted)[0])

    def width(self, image: Array, variance: Array, wanted: Array, step: int) -> Pair:
        """Root of the second moment within the circle."""
        squared = self.squared[self.inside]

        def moment(values: Array) -> tuple[float, float]:
            own = values[self.inside]
            total = float(own.sum())
            return float(own @ squared) / total, total

        second, total = moment(image)
        error = math.sqrt(float((squared - second) ** 2 @ variance[self.inside])) / total
        root = square_root(second, error)
        measured = Uncertain(step * root.value, step * root.uncertainty)
        return Pair(measured, step * math.sqrt(max(moment(wanted)[0], 0.0)))


def _transfer(image: Array, variance: Array, wanted: Array, step: int) -> Transfer:
    side = _PADDING * max(image.shape)
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)
    radius = np.hypot(fy, fx)
    ring = np.minimum(np.rint(radius * side).astype(np.intp), side // 2 + 1).ravel()
    twice = np.where((fx == 0) | (fx == 0.5), 1.0, 2.0)  # half of the plane stands for both
    weight = np.broadcast_to(twice, (side, len(fx))).ravel()
    count = np.bincount(ring, weight)[: side // 2 + 1]

    def rings(values: Array) -> tuple[Array, float]:
        power = np.abs(np.fft.rfft2(values, s=(side, side))) ** 2
        mean = np.bincount(ring, weight * power.ravel())[: side // 2 + 1] / count
        return mean, float(values.sum())

    power, total = rings(image)
    noise = float(variance.sum())
    clean = power - noise
    # neighbours of a padded transform are not independent, nor are the two halves of the plane
    free = np.maximum(count / (2 * side**2 / image.size), 1.0)
    error = np.sqrt((2 * np.maximum(clean, 0.0) * noise + noise**2) / free)
    mtf = np.sqrt(np.maximum(clean, 0.0)) / abs(total)
    floor = np.maximum(np.maximum(clean, 0.0), error)
    spread = error / (2 * np.sqrt(np.maximum(floor, 1e-300))) / abs(total)
    mtf[0] = 1.0
    spread[0] = 0.0
    ideal, energy = rings(wanted)
    frequency = np.bincount(ring, weight * radius.ravel())[: side // 2 + 1] / count / step
    return Transfer(frequency, mtf, spread, np.sqrt(ideal) / abs(energy))


def _mtf50(transfer: Transfer) -> Pair | None:
    found = [_fall(transfer.frequency, curve) for curve in (transfer.measured, transfer.expected)]
    if found[0] is None or found[1] is None:
        return None
    place, slope = found[0]
    error = float(np.interp(place, transfer.frequency, transfer.uncertainty)) / slope
    return Pair(Uncertain(place, error), found[1][0])


def _fall(frequency: Array, curve: Array) -> tuple[float, float] | None:
    """Where a curve falls to a half first, and how steeply."""
    below = np.flatnonzero(curve < 0.5)
    if len(below) == 0 or below[0] == 0:
        return None
    last = int(below[0])
    high, low = float(curve[last - 1]), float(curve[last])
    width = float(frequency[last] - frequency[last - 1])
    slope = (high - low) / width
    return float(frequency[last - 1]) + (high - 0.5) / slope, slope
