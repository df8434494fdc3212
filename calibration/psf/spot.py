"""What a measured point-spread function is: energy, place, widths, colours against each other.

Colour planes stay apart and are never interpolated: each has its own pixels, every second of the
mosaic in both directions, and its own place in the 2 x 2 block. Lengths are in pixels of the
mosaic all the same, and places are counted from the first pixel of the full frame.

Everything is measured above a background that is fitted around the spot, within the largest
circle about its centroid that the region holds; uncertainties hold the noise of the pixels and
the error of the background, not the scale of the gain. Stray light that is even over the region
counts as background.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from calibration.bayer import offsets, places
from calibration.errors import CalibrationError
from calibration.psf.background import Background, fit_background, outside_spot
from calibration.psf.hdr import MergedRate, decibels
from calibration.psf.registration import Shift, filled, register
from calibration.uncertainty import Uncertain

#: Shares of the energy whose radii are reported.
ENCIRCLED = (0.5, 0.8, 0.95)

_COLOUR_BAND = 0.5  # of the frequencies of a plane: aliases differ from colour to colour
_WEAK = 5.0  # deviations; a spot with less energy is none
_ROUNDS = 20
_STILL = 1e-3  # pixels of the plane


@dataclass(frozen=True, eq=False)
class PlanePsf:
    """The point-spread function as one colour plane saw it.

    Attributes
    ----------
    rate : ndarray of float64
        (h, w) above the background; NaN where not valid [e-/s].
    variance : ndarray of float64
        (h, w) of the pixels' own noise; the error of the background is in `background`.
    valid : ndarray of bool
        (h, w) pixels that were measured.
    background : Background
        What was subtracted, and how sure it is.
    energy : Uncertain
        Sum within the circle, pixels that are not valid filled from their neighbours [e-/s].
    centroid : tuple of Uncertain
        Row and column in the full frame [pixels].
    width : Uncertain
        Root mean square distance from the centroid [pixels]; wings weigh in heavily.
    encircled : mapping
        Share of `energy` to the radius that holds it [pixels].
    radius : float
        Of the circle [pixels].
    peak : float
        Brightest pixel [e-/s].
    dynamic_range : float
        Peak over the standard deviation of the pixels around the spot, as they came out [dB].
    """

    rate: NDArray[np.float64]
    variance: NDArray[np.float64]
    valid: NDArray[np.bool_]
    background: Background
    energy: Uncertain
    centroid: tuple[Uncertain, Uncertain]
    width: Uncertain
    encircled: Mapping[float, float]
    radius: float
    peak: float
    dynamic_range: float

    def unit_psf(self) -> NDArray[np.float64]:
        """Return the plane with its sum within the circle made 1; invalid pixels are filled."""
        return filled(self.rate, self.valid) / self.energy.value


@dataclass(frozen=True)
class MeasuredPsf:
    """The point-spread function at one place of the source.

    Attributes
    ----------
    planes : mapping
        Plane name to what it saw.
    shifts : mapping
        Plane name to its displacement against the first green plane (or the only one), places of
        its pixels taken into account [pixels]: lateral colour. Frequencies above half of those
        that a plane resolves are left out; the uncertainty is that of noise.
    dynamic_range : float
        The least of the planes [dB].
    """

    planes: Mapping[str, PlanePsf]
    shifts: Mapping[str, Shift]
    dynamic_range: float


def measure_psf(merged: MergedRate, *, order: int = 1, wing: float | None = 3.0) -> MeasuredPsf:
    """Measure the point-spread function in a merged region.

    Parameters
    ----------
    merged : MergedRate
        A region with one spot, and some dark around it.
    order : {0, 1, 2}, default 1
        Of the background, a polynomial.
    wing : float or None, default 3.0
        Power by which the spot's wing falls off where the background is fitted; None if it is
        too faint to matter there.

    Raises
    ------
    CalibrationError
        There is no spot, or nothing around it.
    """
    places_of = offsets(merged.cfa)
    step = 2 if merged.cfa else 1
    planes = {}
    for name, place in places(merged.rate, merged.cfa):
        first = (
            merged.origin[0] + (place[0].start or 0),
            merged.origin[1] + (place[1].start or 0),
        )
        try:
            planes[name] = measure_plane(
                merged.rate[place],
                merged.variance[place],
                merged.valid[place],
                first=first,
                step=step,
                order=order,
                wing=wing,
            )
        except CalibrationError as error:
            raise CalibrationError(f"{name}: {error}") from error
    base = "Gr" if merged.cfa else "mono"
    shifts = {
        name: _against(planes[base], plane, places_of[base], places_of[name], step)
        for name, plane in planes.items()
        if name != base
    }
    return MeasuredPsf(planes, shifts, min(plane.dynamic_range for plane in planes.values()))


def measure_plane(
    rate: NDArray[np.float64],
    variance: NDArray[np.float64],
    valid: NDArray[np.bool_],
    *,
    first: tuple[int, int] = (0, 0),
    step: int = 1,
    order: int = 1,
    wing: float | None = 3.0,
) -> PlanePsf:
    """Measure the point-spread function in one plane.

    Parameters
    ----------
    rate, variance : ndarray
        (h, w) [e-/s], [e-^2/s^2].
    valid : ndarray of bool
        (h, w) pixels that were measured.
    first : tuple of int
        Row and column in the full frame of the plane's first pixel.
    step : {1, 2}
        Distance of the plane's pixels in those of the mosaic.
    order, wing
        As for `measure_psf`.
    """
    whole = filled(rate, valid)
    centre = _brightest(whole)
    outside = outside_spot(rate, variance, valid, centre, order=order)
    if not outside.any():
        raise CalibrationError("no pixel is brighter than noise: there is no spot in the region")
    tail = None if wing is None else centre
    background = fit_background(rate, variance, outside, order=order, wing=tail, falls=wing or 3.0)
    above = whole - background.surface()
    own = np.where(valid, variance, 0.0)
    centre, inside = _settle(above, centre)
    total = float(above[inside].sum())
    error = math.hypot(math.sqrt(own[inside].sum()), background.sum_uncertainty(inside))
    if total < _WEAK * error:
        raise CalibrationError(
            f"the spot has {total:.3g} +- {error:.2g} e-/s: too faint to measure; expose longer, "
            f"or take more frames"
        )
    y, x = (np.arange(n) - c for n, c in zip(rate.shape, centre, strict=True))
    down, along = np.broadcast_arrays(y[:, None], x[None, :])
    squared = down**2 + along**2
    second = float((above * squared)[inside].sum()) / total

    def uncertainty(lever: NDArray[np.float64]) -> float:
        weight = np.where(inside, lever, 0.0) / total
        return math.hypot(
            math.sqrt(float((weight**2 * own).sum())), background.sum_uncertainty(weight)
        )

    of_width = uncertainty(squared - second) / (2 * math.sqrt(max(second, 1e-12)))
    seen = np.where(valid, above, -math.inf)
    return PlanePsf(
        rate=np.where(valid, above, np.nan),
        variance=variance,
        valid=valid,
        background=background,
        energy=Uncertain(total, error),
        centroid=(
            Uncertain(first[0] + step * centre[0], step * uncertainty(down)),
            Uncertain(first[1] + step * centre[1], step * uncertainty(along)),
        ),
        width=Uncertain(step * math.sqrt(max(second, 0.0)), step * of_width),
        encircled=_encircled(above, squared, inside, step),
        radius=step * math.sqrt(float(squared[inside].max())),
        peak=float(seen.max()),
        dynamic_range=decibels(float(seen.max()) / background.scatter),
    )


def _brightest(image: NDArray[np.float64]) -> tuple[float, float]:
    """Middle of the brightest place, not of a single noisy pixel."""
    row, column = divmod(int(np.argmax(uniform_filter(image, 5))), image.shape[1])
    return float(row), float(column)


def _settle(
    image: NDArray[np.float64], centre: tuple[float, float]
) -> tuple[tuple[float, float], NDArray[np.bool_]]:
    """Centroid within the largest circle about itself, and the pixels of that circle."""
    height, width = image.shape
    inside = np.zeros(image.shape, np.bool_)
    for _ in range(_ROUNDS):
        radius = min(centre[0], centre[1], height - 1 - centre[0], width - 1 - centre[1])
        if radius < 2:
            raise CalibrationError(
                "the spot lies at the edge of the region: capture a region around the spot"
            )
        y, x = (np.arange(n) - c for n, c in zip(image.shape, centre, strict=True))
        inside = np.asarray(np.hypot(y[:, None], x) <= radius)
        total = float(image[inside].sum())
        if total <= 0:
            raise CalibrationError("there is no light above the background")
        moved = (
            centre[0] + float((image * inside).sum(1) @ y) / total,
            centre[1] + float((image * inside).sum(0) @ x) / total,
        )
        moved = (min(max(moved[0], 0.0), height - 1.0), min(max(moved[1], 0.0), width - 1.0))
        step = math.hypot(moved[0] - centre[0], moved[1] - centre[1])
        centre = moved
        if step < _STILL:
            break
    return centre, inside


def _encircled(
    image: NDArray[np.float64],
    squared: NDArray[np.float64],
    inside: NDArray[np.bool_],
    step: int,
) -> dict[float, float]:
    """Radii that hold shares of the energy; pixels count at the distance of their centres."""
    order = np.argsort(squared[inside], kind="stable")
    radius = np.sqrt(squared[inside][order])
    energy = np.cumsum(image[inside][order])
    energy = np.maximum.accumulate(energy / energy[-1])  # noise may let it sink again
    return {share: step * float(np.interp(share, energy, radius)) for share in ENCIRCLED}


def _against(
    base: PlanePsf,
    plane: PlanePsf,
    base_place: tuple[float, float],
    place: tuple[float, float],
    step: int,
) -> Shift:
    """Displacement of a plane in pixels of the mosaic, where its pixels lie taken into account."""
    both = base.valid & plane.valid
    scale = plane.energy.value / base.energy.value
    variance = np.where(both, plane.variance + scale**2 * base.variance, 0.0)
    found = register(base.rate, plane.rate, variance=variance, valid=both, band=_COLOUR_BAND)

    def placed(shift: Uncertain, axis: int) -> Uncertain:
        apart = place[axis] - base_place[axis]
        return Uncertain(step * shift.value + apart, step * shift.uncertainty)

    return Shift(placed(found.row, 0), placed(found.column, 1), found.similarity)
