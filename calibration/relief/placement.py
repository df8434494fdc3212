r"""Where a design lies in a measured surface, and a first guess of it by correlation.

A point (x, y) of the design is found at

.. math:: q = R(\theta) \, \mathrm{diag}(s_x, s_y) \, (x, y)^T + t

in the measured map, y down in both, (0, 0) in the middle of each, so a positive turn goes from x
towards y. A map is sampled at positions [m] by `sample`.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from hardware.fabrication.design import Map
from hardware.fabrication.measured import Measured

_CELLS = 192  # of the coarse grid along the longer side
_OVERLAP = 0.5  # of the design that has to lie in the measured map


@dataclass(frozen=True)
class Placement:
    """Where the design lies in the measured map.

    Attributes
    ----------
    shift_x, shift_y : float
        Place of the design's middle [m].
    turn : float
        Turn of the design from x towards y [rad].
    scale_x, scale_y : float
        Size of the made surface along the design's axes, relative to the design.
    """

    shift_x: float = 0.0
    shift_y: float = 0.0
    turn: float = 0.0
    scale_x: float = 1.0
    scale_y: float = 1.0

    def to_measured(self, x: Map, y: Map) -> tuple[Map, Map]:
        """Return where points of the design are in the measured map [m]."""
        c, s = math.cos(self.turn), math.sin(self.turn)
        u, v = self.scale_x * x, self.scale_y * y
        return c * u - s * v + self.shift_x, s * u + c * v + self.shift_y

    def to_design(self, x: Map, y: Map) -> tuple[Map, Map]:
        """Return where points of the measured map are in the design [m]."""
        c, s = math.cos(self.turn), math.sin(self.turn)
        u, v = x - self.shift_x, y - self.shift_y
        return (c * u + s * v) / self.scale_x, (-s * u + c * v) / self.scale_y


def sample(values: Map, spacing: tuple[float, float], x: Map, y: Map, order: int = 1) -> Map:
    """Return a map (H, W) at positions, by splines; the nearest edge beyond it.

    Parameters
    ----------
    values : ndarray
        (H, W); for order 3 its spline coefficients (`scipy.ndimage.spline_filter`).
    spacing : (float, float)
        Along x and y [m].
    x, y : ndarray
        Positions, all of one shape [m].
    order : int
        Of the spline.
    """
    rows, columns = values.shape
    places = [y / spacing[1] + (rows - 1) / 2, x / spacing[0] + (columns - 1) / 2]
    out: Map = ndimage.map_coordinates(values, places, order=order, mode="nearest", prefilter=False)
    return out


def smoothed(values: Map, valid: NDArray[np.bool_], sigma: tuple[float, float]) -> Map:
    """Return the Gaussian mean over the valid samples alone, NaN where there are none near.

    Parameters
    ----------
    values : ndarray
        (H, W); anything where it is not valid.
    valid : ndarray
        (H, W) bool.
    sigma : (float, float)
        Standard deviation along the rows' axis (y) and the columns' (x) [samples].
    """
    weight = ndimage.gaussian_filter(valid.astype(np.float64), sigma, mode="constant")
    total = ndimage.gaussian_filter(np.where(valid, values, 0.0), sigma, mode="constant")
    out: Map = np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 1e-3)
    return out


def levelled(values: Map) -> Map:
    """Return a map (H, W) less its plane; NaN stays NaN."""
    rows, columns = values.shape
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    good = np.isfinite(values)
    terms = np.stack([np.ones(good.sum()), x[good], y[good]], axis=1)
    piston, across, along = np.linalg.lstsq(terms, values[good], rcond=None)[0]
    out: Map = values - (piston + across * x + along * y)
    return out


def first_guess(
    measured: Measured, height: Map, spacing: float, diameter: float, max_turn: float
) -> tuple[float, Placement]:
    """Return how well the best shift and turn fit, and those.

    Both maps are brought to one coarse grid, the design in steps of the turn that move its rim by
    one coarse cell. Of all shifts, that with the largest correlation coefficient of what overlaps
    is taken, computed by Fourier transforms with the missing points left out (Padfield, "Masked
    object registration in the Fourier domain", IEEE Trans. Image Process. 21, 2012). Correlating
    the phases alone is no good here: it is lost on smooth surfaces of a few waves.

    Parameters
    ----------
    measured : Measured
        The made surface.
    height : ndarray
        (H, W) of the design [m].
    spacing : float
        Of the design [m].
    diameter : float
        Clear diameter of the design [m].
    max_turn : float
        Turns from -`max_turn` to `max_turn` are tried [rad].

    Returns
    -------
    (float, Placement)
        Correlation coefficient, -1 to 1, and the guess.
    """
    rows, columns = measured.height.shape
    longest = max(rows * measured.spacing_y, columns * measured.spacing_x, diameter)
    pitch = max(longest / _CELLS, spacing, measured.spacing_x, measured.spacing_y)
    count = int(fft.next_fast_len(math.ceil(1.6 * longest / pitch), real=True))
    axis = (np.arange(count) - count // 2) * pitch
    x, y = np.meshgrid(axis, axis)

    broad = (0.5 * pitch / measured.spacing_y, 0.5 * pitch / measured.spacing_x)
    picture = smoothed(levelled(measured.height), measured.valid, broad)
    steps = (measured.spacing_x, measured.spacing_y)
    there = (np.abs(x) <= columns * steps[0] / 2) & (np.abs(y) <= rows * steps[1] / 2)
    valid = there * sample(np.isfinite(picture).astype(np.float64), steps, x, y)
    seen = valid * sample(np.nan_to_num(picture), steps, x, y)
    smooth = ndimage.gaussian_filter(levelled(height), 0.5 * pitch / spacing)
    inside = (np.hypot(x, y) <= diameter / 2).astype(np.float64)

    def slid(a: NDArray[np.complex128], b: NDArray[np.complex128]) -> Map:
        out: Map = fft.irfft2(a * np.conj(b), (count, count))
        return out

    unit = float(seen.std()) + np.finfo(float).tiny
    seen /= unit
    seen_, squared_, valid_ = fft.rfft2(seen), fft.rfft2(seen**2), fft.rfft2(valid)
    inside_ = fft.rfft2(inside)
    weight = slid(valid_, inside_)
    enough = weight > _OVERLAP * weight.max()
    weight = np.where(enough, weight, 1.0)
    total = slid(seen_, inside_)
    spread = slid(squared_, inside_) - total**2 / weight
    turns = max(0, math.ceil(max_turn / (2 * pitch / diameter)))
    best, guess = -math.inf, Placement()
    for turn in np.linspace(-max_turn, max_turn, 2 * turns + 1) if turns else [0.0]:
        place = Placement(turn=float(turn))
        drawn = inside * sample(smooth, (spacing, spacing), *place.to_design(x, y)) / unit
        drawn_, drawn_total = fft.rfft2(drawn), slid(valid_, fft.rfft2(drawn))
        both = slid(seen_, drawn_) - total * drawn_total / weight
        own = slid(valid_, fft.rfft2(drawn**2)) - drawn_total**2 / weight
        fits = enough & (spread > 1e-6 * spread.max()) & (own > 1e-6 * own.max())
        likeness = np.where(fits, both / np.sqrt(np.where(fits, spread * own, 1.0)), -1.0)
        row, column = np.unravel_index(int(np.argmax(likeness)), likeness.shape)
        if likeness[row, column] > best:
            best = float(likeness[row, column])
            along, across = ((int(n) + count // 2) % count - count // 2 for n in (row, column))
            guess = Placement(across * pitch, along * pitch, float(turn))
    return best, guess
