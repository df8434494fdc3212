"""Where a slanted edge runs through a picture: x of the edge in every row [pixel].

The picture is upright here: the edge runs down it, dark on the left. Pixel centres are at whole
x and rows, (0, 0) in the middle of the first one.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from calibration.edge.region import Array, direction
from calibration.errors import CalibrationError

_STEEPEST = math.radians(40)
_MOST_SCATTER = 1.0  # rms of the rows' edges about the line [pixel]


@dataclass(frozen=True)
class Rough:
    """A first straight line along the edge.

    Attributes
    ----------
    slope : float
        Pixels to larger x per row.
    centre : float
        x in the middle row [pixel].
    rise : float
        Distance over which the picture goes from 10 % to 90 % of the step, at least 1 [pixel].
    """

    slope: float
    centre: float
    rise: float


def rough_line(picture: Array) -> Rough:
    """Return the line of an upright picture to within about a pixel.

    Raises
    ------
    CalibrationError
        There are two edges.
    """
    rows, columns = picture.shape
    slope = -math.tan(direction(picture)[0])
    # x where a pixel's own path along the edge meets the middle row
    u = np.arange(columns) - slope * (np.arange(rows) - (rows - 1) / 2)[:, None]
    first = math.floor(u.min())
    index = np.floor(u - first).astype(np.intp).ravel()
    count = np.bincount(index)
    seen = np.flatnonzero(count > 0.5 * rows)
    profile = np.bincount(index, picture.ravel())[seen] / count[seen]
    sigma = max(2.0, columns / 40)
    line_spread: Array = np.diff(ndimage.gaussian_filter1d(profile, sigma, mode="nearest"))
    _refuse_two(line_spread)
    peak = int(line_spread.argmax())
    end = max(2, len(profile) // 10)
    low, high = float(profile[:end].mean()), float(profile[-end:].mean())
    smooth = ndimage.gaussian_filter1d(profile, 1.0, mode="nearest")
    inner = (smooth > low + 0.1 * (high - low)) & (smooth < low + 0.9 * (high - low))
    # bin n holds u from first + n to first + n + 1, the difference of two bins lies between them
    return Rough(slope, first + int(seen[peak]) + 1.0, max(1.0, float(np.count_nonzero(inner))))


def _refuse_two(line_spread: Array) -> None:
    """Refuse a negative lobe, or one that a wide gap parts from the largest."""
    size = np.abs(line_spread)
    lobes, number = ndimage.label(size > 0.25 * size.max())
    main = np.flatnonzero(lobes == lobes[size.argmax()])
    others = [np.flatnonzero(lobes == n) for n in range(1, number + 1) if n != lobes[main[0]]]
    # Lobes of one edge itself, as behind a phase mask, follow each other closely.
    gap = max((int(max(main[0] - o[-1], o[0] - main[-1])) for o in others), default=0)
    if line_spread.min() < -0.3 * size.max() or gap > len(main):
        raise CalibrationError(
            "two edges: the picture steps more than once across the region; choose a region with "
            "one edge and nothing else"
        )


class RowLocator:
    """Edge in every row: centroid of the row's derivative in a raised-cosine window.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the upright picture.
    centre : ndarray
        (rows,) x of the windows' middles [pixel].
    half : ndarray or float
        (rows,) half width of the windows [pixel].
    lobe : float
        Cosine's share of the windows, as in `raised_cosine`.
    """

    def __init__(
        self, shape: tuple[int, int], centre: Array, half: Array | float, lobe: float = 0.5
    ) -> None:
        x = np.arange(shape[1] - 1) + 0.5
        distance = (x - centre[:, None]) / np.reshape(np.broadcast_to(half, shape[:1]), (-1, 1))
        self._weight = raised_cosine(distance, lobe)
        self._moment = self._weight * (x - centre[:, None])
        self._centre = centre

    def __call__(self, picture: Array) -> Array:
        """Return x of the edge in every row (rows,) [pixel]."""
        step = np.diff(picture, axis=1)
        total = np.einsum("ij,ij->i", step, self._weight)
        floor = 1e-3 * float(np.abs(total).mean()) + np.finfo(float).tiny
        total = np.where(np.abs(total) < floor, floor, total)  # a row without an edge
        out: Array = self._centre + np.einsum("ij,ij->i", step, self._moment) / total
        return out


def raised_cosine(distance: Array, lobe: float = 0.5) -> Array:
    """Return 1 - lobe + lobe cos(pi d) within a distance of 1, 0 beyond: 0.5 Hann, 0.46 Hamming."""
    inside = np.abs(distance) <= 1
    return np.where(inside, 1 - lobe + lobe * np.cos(np.pi * np.clip(distance, -1, 1)), 0.0)


class Polynomial:
    """Least-squares polynomial through the rows' edges.

    Parameters
    ----------
    rows : int
        Rows of the upright picture.
    order : int
        Of the polynomial.
    """

    def __init__(self, rows: int, order: int) -> None:
        t = np.linspace(-1, 1, rows)
        basis = np.polynomial.legendre.legvander(t, order)
        self._projection, _ = np.linalg.qr(basis)
        self._pixels = np.arange(rows) - (rows - 1) / 2

    def __call__(self, location: Array) -> Array:
        """Return x of the fitted edge in every row (rows,) [pixel]."""
        out: Array = self._projection @ (self._projection.T @ location)
        return out

    def slope(self, edge: Array) -> float:
        """Return the mean slope of an edge (rows,), in pixels per row."""
        return float(self._pixels @ edge / (self._pixels @ self._pixels))


def check_angle(slope: float, rows: int) -> None:
    """Refuse an edge that too few places within a pixel are sampled of, or that is too oblique."""
    crossed, angle = rows * abs(slope), math.atan(abs(slope))
    if crossed < 1 or angle > _STEEPEST:
        raise CalibrationError(
            f"the edge is {math.degrees(angle):.2f} deg off the pixels' axis and crosses "
            f"{crossed:.2f} pixels; at most {math.degrees(_STEEPEST):.0f} deg and at least one "
            f"pixel are needed to sample it finer than the pixels: turn the chart to about 5 deg"
        )


def check_line(location: Array, edge: Array, columns: int, rise: float, order: int) -> None:
    """Refuse an edge that is not a line, or comes too near to a side of the region."""
    scatter = float(np.sqrt(np.mean((location - edge) ** 2)))
    if scatter > _MOST_SCATTER:
        raise CalibrationError(
            f"the edge scatters by {scatter:.2f} pixels about a polynomial of order {order}, "
            f"{_MOST_SCATTER:g} is allowed; raise the order up to 5, choose a region with one "
            f"straight edge, or average more frames"
        )
    nearest = min(float(edge.min()), columns - 1 - float(edge.max()))
    if nearest < 2 + rise:
        raise CalibrationError(
            f"the edge comes within {nearest:.1f} pixels of the region's side; {2 + rise:.1f} are "
            f"needed: centre the region on the edge, or make it wider"
        )
