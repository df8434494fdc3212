"""Slopes, curvatures and zone widths of a surface, in bands of rows so that memory stays small.

Heights (H, W) are positive towards more material [m], y down.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hardware.fabrication.design import Map, MaskDesign

_BAND = 256  # rows at a time
_LEAST_SHARE = 0.5  # of a window that has to lie within the clear diameter


def slopes(height: Map, spacing: float) -> NDArray[np.float32]:
    """Return the steepest slope (H, W) at every sample, rise over run.

    Central differences; their relative error on a wave of wavenumber k is (k spacing)^2 / 6.
    """
    return _in_bands(height, lambda band: np.hypot(*_gradient(band, spacing)))


def walls(height: Map, spacing: float) -> NDArray[np.float32]:
    """Return the largest step (H, W) of each cell to its four neighbours, per cell width."""

    def of(band: Map) -> Map:
        padded = np.pad(band, 1, mode="edge")
        across = np.maximum(np.abs(padded[1:-1, 2:] - band), np.abs(padded[1:-1, :-2] - band))
        along = np.maximum(np.abs(padded[2:, 1:-1] - band), np.abs(padded[:-2, 1:-1] - band))
        return np.maximum(across, along) / spacing

    return _in_bands(height, of)


def hollow(height: Map, spacing: float) -> NDArray[np.float32]:
    r"""Return the largest curvature (H, W) towards the air, positive in a hollow [1/m].

    The larger principal curvature of a graph,

    .. math:: \kappa = M + \sqrt{M^2 - K}, \quad
              M = \frac{(1+q^2) r - 2 p q s + (1+p^2) t}{2 (1+p^2+q^2)^{3/2}}, \quad
              K = \frac{r t - s^2}{(1+p^2+q^2)^2}

    with p, q, r, s, t = h_x, h_y, h_xx, h_xy, h_yy (do Carmo, Differential Geometry of Curves and
    Surfaces, 1976, sec. 3-3, example 5). The outermost samples are 0: they have no neighbours.
    """

    def of(band: Map) -> Map:
        p, q = _gradient(band, spacing)
        inner = band[1:-1, 1:-1]
        out = np.zeros_like(band)
        p, q = p[1:-1, 1:-1], q[1:-1, 1:-1]
        r = (band[1:-1, 2:] - 2 * inner + band[1:-1, :-2]) / spacing**2
        t = (band[2:, 1:-1] - 2 * inner + band[:-2, 1:-1]) / spacing**2
        s = (band[2:, 2:] - band[2:, :-2] - band[:-2, 2:] + band[:-2, :-2]) / (4 * spacing**2)
        w = 1 + p**2 + q**2
        mean = ((1 + q**2) * r - 2 * p * q * s + (1 + p**2) * t) / (2 * w**1.5)
        gauss = (r * t - s**2) / w**2
        out[1:-1, 1:-1] = mean + np.sqrt(np.maximum(mean**2 - gauss, 0))
        return out

    return _in_bands(height, of)


def zone_rate(design: MaskDesign, wrap: float, length: float) -> NDArray[np.float32]:
    """Return how many full wraps (H, W) the surface runs through per metre [1/m].

    The mean of the height differences over a square of side `length`, so that stairs of few
    levels and noise count by what they amount to. Differences of flat cells are taken to the
    nearest multiple of `wrap`, whether or not the map is wrapped; a surface that climbs by more
    than half a wrap per cell cannot be told from one that falls. A smooth surface is taken as it
    is. The rate is 0 where less than half of the square lies within the clear diameter.

    Parameters
    ----------
    design : MaskDesign
        The mask.
    wrap : float
        Height of a full zone [m].
    length : float
        Side of the square [m].
    """
    window = max(2, round(length / design.spacing))
    clear = design.clear
    square = np.zeros(design.shape, np.float32)
    for axis in (0, 1):
        turns = np.diff(design.height, axis=axis)
        turns /= wrap
        if design.pixelated:
            turns -= np.round(turns)
        both = clear.take(range(1, clear.shape[axis]), axis) & clear.take(
            range(clear.shape[axis] - 1), axis
        )
        turns[~both] = 0
        mean = _boxed(turns.astype(np.float32), window)
        share = _boxed(both.astype(np.float32), window)
        rate = np.divide(mean, share, out=np.zeros_like(mean), where=share >= _LEAST_SHARE)
        low = np.pad(rate, [(1, 0) if n == axis else (0, 0) for n in (0, 1)], mode="edge")
        high = np.pad(rate, [(0, 1) if n == axis else (0, 0) for n in (0, 1)], mode="edge")
        square += ((low + high) / 2) ** 2  # from between the cells onto them
    np.sqrt(square, out=square)
    square /= np.float32(design.spacing)
    return square


def _boxed(values: NDArray[np.float32], window: int) -> NDArray[np.float32]:
    out: NDArray[np.float32] = ndimage.uniform_filter(values, window, mode="constant")
    return out


def _gradient(band: Map, spacing: float) -> tuple[Map, Map]:
    along, across = np.gradient(band, spacing)
    return np.asarray(across), np.asarray(along)


def _in_bands(height: Map, function: Callable[[Map], Map]) -> NDArray[np.float32]:
    """Apply a function of a cell and its eight neighbours, one band of rows at a time."""
    out = np.empty(height.shape, np.float32)
    rows = len(height)
    for first in range(0, rows, _BAND):
        last = min(first + _BAND, rows)
        above, below = min(first, 1), min(rows - last, 1)
        band = function(height[first - above : last + below])
        out[first:last] = band[above : len(band) - below]
    return out
