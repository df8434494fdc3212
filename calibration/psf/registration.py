r"""How far one image is displaced against another, to hundredths of a pixel, and how surely.

The displacement is where the cross-correlation has its maximum: found on whole pixels by Fourier
transforms, then between them by the same sum of frequencies [1]_ and its derivatives. With
gradients of the reference f and the image g, and the variance v of the noise of both, its
covariance is

.. math:: H^{-1} G H^{-1}, \qquad H = \sum \nabla f \, \nabla g^T, \quad
          G = \sum v \, \nabla f \, \nabla f^T

Noise does not add to H, as it would to gradients of one image; it does to G, which makes the
uncertainty somewhat too large where there is more noise than spot.

Both images are taken as periodic: what does not belong to the spot is subtracted before. An image
with detail finer than two pixels is no longer the same image when it moves; `band` leaves the
frequencies out that suffer most.

References
----------
.. [1] M. Guizar-Sicairos, S. T. Thurman, J. R. Fienup, "Efficient subpixel image registration
   algorithms", Opt. Lett. 33, 156 (2008).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.errors import CalibrationError
from calibration.uncertainty import Uncertain, weighted_line

_STEP = 0.1  # pixels of the grid between whole ones
_REACH = 10  # steps to either side
_ROUNDS = 4  # of Newton's method; each doubles the digits
_UNSURE = 0.5  # pixels; more than this is no registration
_BETTER = 1.5  # times what chance alone brings about


@dataclass(frozen=True)
class Shift:
    """Displacement of an image against a reference, towards larger rows and columns.

    Attributes
    ----------
    row, column : Uncertain
        In pixels of the images; the uncertainty is that of noise.
    similarity : float
        Correlation coefficient of the images at that displacement, -1 to 1.
    """

    row: Uncertain
    column: Uncertain
    similarity: float


def register(
    reference: NDArray[np.floating],
    image: NDArray[np.floating],
    *,
    variance: NDArray[np.floating] | float,
    valid: NDArray[np.bool_] | None = None,
    band: float = 1.0,
) -> Shift:
    """Find how far `image` is displaced against `reference`.

    Parameters
    ----------
    reference, image : ndarray
        (H, W), background subtracted; brightness need not be the same.
    variance : ndarray or float
        (H, W) variance of the noise in `image`, and of that in `reference` in the units of
        `image`, added up.
    valid : ndarray of bool, optional
        (H, W) pixels that count in both; the others are filled from their neighbours.
    band : float, default 1.0
        Share of the frequencies that count, up to that of two pixels a period: 0 to 1.

    Raises
    ------
    CalibrationError
        There is nothing in the images to register by.
    """
    reference, image = np.asarray(reference, np.float64), np.asarray(image, np.float64)
    if reference.ndim != 2 or image.shape != reference.shape or min(reference.shape) < 8:
        raise ValueError(
            f"reference is {reference.shape}, image {image.shape}: two images (H, W) of the same "
            f"size, 8 x 8 or more, are needed"
        )
    if not 0 < band <= 1:
        raise ValueError(f"band = {band:g} is outside (0, 1]")
    if valid is not None:
        reference, image = (filled(one, valid) for one in (reference, image))
        variance = np.where(valid, variance, 0.0)
    if not (np.isfinite(reference).all() and np.isfinite(image).all()):
        raise ValueError("images hold values that are not finite; say which pixels are valid")
    frequencies = np.meshgrid(*(np.fft.fftfreq(n) for n in image.shape), indexing="ij")
    kept = np.hypot(*frequencies) <= 0.5 * band if band < 1 else np.ones(image.shape, np.bool_)
    for axis, n in enumerate(image.shape):  # the highest frequency of an even size has no sign
        if n % 2 == 0:
            kept &= frequencies[axis] != -0.5
    kept[0, 0] = False
    spectra = [np.where(kept, np.fft.fft2(one), 0.0) for one in (reference, image)]
    cross = spectra[1] * spectra[0].conj()
    row, column = _maximum(cross)
    ramp = np.exp(-2j * math.pi * (row * frequencies[0] + column * frequencies[1]))
    moved = spectra[0] * ramp
    slopes, slopes_of_image = [
        [np.fft.ifft2(2j * math.pi * f * s).real for f in frequencies] for s in (moved, spectra[1])
    ]
    norms = [float(np.sum(np.abs(s) ** 2)) for s in spectra]
    if min(norms) == 0:
        raise CalibrationError("an image is even: there is nothing to register by")
    similarity = float(np.sum(cross * ramp.conj()).real) / math.sqrt(norms[0] * norms[1])
    count = int(np.count_nonzero(kept))
    # the largest of so many correlations of pure noise
    by_chance = math.sqrt(2 * math.log(count) / count)
    sigma = _uncertainty(slopes, slopes_of_image, np.asarray(variance, np.float64))
    if similarity < _BETTER * by_chance or not sigma.max() < _UNSURE:
        raise CalibrationError(
            f"the images have too little in common (correlation {similarity:.2g}, uncertain by "
            f"{sigma.max():.2g} pixels): average more frames, or look what they show"
        )
    return Shift(Uncertain(row, float(sigma[0])), Uncertain(column, float(sigma[1])), similarity)


def filled(image: NDArray[np.floating], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return an image whose pixels that are not valid have the mean of the nearest valid ones.

    Parameters
    ----------
    image : ndarray
        (H, W).
    valid : ndarray of bool
        (H, W), at least one pixel.
    """
    if not valid.any():
        raise CalibrationError("no pixel is valid")
    out = np.where(valid, image, 0.0).astype(np.float64)
    known = valid.copy()
    while not known.all():
        weight, total = (_around(a) for a in (known.astype(np.float64), out * known))
        new = ~known & (weight > 0)
        out[new] = total[new] / weight[new]
        known |= new
    return out


class DriftLog:
    """Where the image of a source went while frames of it were taken.

    Parameters
    ----------
    band : float, default 1.0
        As for `register`.
    """

    def __init__(self, *, band: float = 1.0) -> None:
        self.band = band
        self.times: list[float] = []
        self.shifts: list[Shift] = []
        self._reference: tuple[NDArray[np.floating], NDArray[np.floating] | float] | None = None

    def add(
        self,
        time: float,
        image: NDArray[np.floating],
        variance: NDArray[np.floating] | float,
        valid: NDArray[np.bool_] | None = None,
    ) -> None:
        """Take in an image (H, W), background subtracted, and when it was taken [s].

        The first one is what the others are compared with.
        """
        if self._reference is None:
            self._reference = (image, variance)
            return
        reference, noise = self._reference
        shift = register(reference, image, variance=variance + noise, valid=valid, band=self.band)
        self.times.append(time)
        self.shifts.append(shift)

    @property
    def largest(self) -> float:
        """Largest distance from the first image [pixels]."""
        return max((math.hypot(s.row.value, s.column.value) for s in self.shifts), default=0.0)

    def rate(self) -> tuple[Uncertain, Uncertain]:
        """Drift down the rows and along the columns [pixels/s].

        All shifts share the noise of the first image, which moves the line up or down and does
        not tilt it.
        """
        time = np.array(self.times)
        if len(time) < 2 or np.ptp(time) == 0:
            raise CalibrationError(
                f"{len(time) + 1} images: three or more at different times are needed for a drift"
            )
        rows, columns = (
            weighted_line(
                time,
                np.array([one.value for one in axis]),
                np.array([max(one.uncertainty, 1e-9) ** 2 for one in axis]),
            ).slope
            for axis in ([s.row for s in self.shifts], [s.column for s in self.shifts])
        )
        return rows, columns


def _maximum(cross: NDArray[np.complex128]) -> tuple[float, float]:
    """Where the correlation with this spectrum has its maximum [pixels]."""
    correlation = np.fft.ifft2(cross).real
    peak = np.unravel_index(int(np.argmax(correlation)), correlation.shape)
    place = [
        float(p if p < (n + 1) // 2 else p - n)
        for p, n in zip(peak, correlation.shape, strict=True)
    ]
    waves = [2j * math.pi * np.fft.fftfreq(n) for n in cross.shape]
    rows, columns = (p + _STEP * np.arange(-_REACH, _REACH + 1) for p in place)
    values = (np.exp(rows[:, None] * waves[0]) @ cross @ np.exp(waves[1][:, None] * columns)).real
    i, j = divmod(int(np.argmax(values)), len(columns))
    row, column = float(rows[i]), float(columns[j])
    for _ in range(_ROUNDS):  # Newton's method, from a tenth of a pixel
        down, along = np.exp(row * waves[0]), np.exp(column * waves[1])
        # derivatives of the correlation, by the orders down and along
        of = {
            (a, b): float(((down * waves[0] ** a) @ cross @ (along * waves[1] ** b)).real)
            for a in range(3)
            for b in range(3 - a)
        }
        determinant = of[2, 0] * of[0, 2] - of[1, 1] ** 2
        if not (of[2, 0] < 0 and determinant > 0):
            break  # no maximum near: an edge, or noise
        step = (
            (of[1, 1] * of[0, 1] - of[0, 2] * of[1, 0]) / determinant,
            (of[1, 1] * of[1, 0] - of[2, 0] * of[0, 1]) / determinant,
        )
        if max(map(abs, step)) > 2 * _STEP:
            break
        row, column = row + step[0], column + step[1]
    return row, column


def _uncertainty(
    reference: list[NDArray[np.float64]],
    image: list[NDArray[np.float64]],
    variance: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the standard uncertainty down the rows and along the columns."""
    both = np.array([[np.sum(a * b) for b in image] for a in reference])
    both = (both + both.T) / 2
    noise = np.array([[np.sum(variance * a * b) for b in reference] for a in reference])
    if np.linalg.cond(both) > 1e12:
        raise CalibrationError(
            "the images change along one direction alone: there is nothing to register by along "
            "the other"
        )
    inverse = np.linalg.inv(both)
    return np.asarray(np.sqrt(np.diag(inverse @ noise @ inverse)))


def _around(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum over 3 x 3 pixels, nothing beyond the edges."""
    padded = np.pad(values, 1)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return np.asarray(rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:])
