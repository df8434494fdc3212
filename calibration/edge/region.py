"""A region that may hold a slanted edge: what is refused, and which way the edge runs."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from calibration.errors import CalibrationError

Array = NDArray[np.float64]

_SMALLEST = 20  # pixels each way
_MOST_CLIPPED = 0.005  # of the pixels
_LEAST_COHERENCE = 0.3  # of the gradients' directions: 0 without a preferred one, 1 all alike
_GRADIENT = 1.5  # smoothing before the gradient [pixel]


def checked(plane: ArrayLike, black_level: float, white_level: float) -> Array:
    """Return the plane above black, float64, or refuse one that cannot hold an edge."""
    values = np.asarray(plane, np.float64)
    if values.ndim != 2:
        raise ValueError(
            f"plane has shape {values.shape}, expected (H, W): give one colour plane at a time"
        )
    if not black_level < white_level:
        raise ValueError(
            f"black_level = {black_level:g}, white_level = {white_level:g}: black has to be lower"
        )
    if min(values.shape) < _SMALLEST:
        raise CalibrationError(
            f"the region has {values.shape[0]} x {values.shape[1]} pixels; at least {_SMALLEST} "
            f"each way are needed, 80 x 100 is good: take a larger region"
        )
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise CalibrationError(
            f"{bad} pixels are not finite; fill defect pixels from their neighbours in the row, or "
            f"choose another region"
        )
    saturated = float(np.mean(values >= white_level))
    if saturated > _MOST_CLIPPED:
        raise CalibrationError(
            f"{saturated:.1%} of the pixels are at the white level of {white_level:g} or above, "
            f"{_MOST_CLIPPED:.1%} is allowed: shorten the exposure"
        )
    # Of a dark side whose noise is not cut off, some pixels are below zero, or none is at it.
    cut = float(np.mean(values == 0)) if values.min() == 0 else 0.0
    if cut > _MOST_CLIPPED:
        raise CalibrationError(
            f"{cut:.1%} of the pixels are exactly 0 and none is below, {_MOST_CLIPPED:.1%} is "
            f"allowed: the dark side was cut off; keep negative values when taking the black level "
            f"off, or lighten the dark side"
        )
    return values - black_level


def direction(picture: Array) -> tuple[float, float]:
    """Return the direction of the gradients from x towards y, in (-pi/2, pi/2], and coherence.

    Both are of the structure tensor, the mean of the gradients' outer products, in which noise
    has no preferred direction and the polarity of the edge does not count.
    """
    smooth = ndimage.gaussian_filter(picture, _GRADIENT, mode="nearest")
    gy, gx = np.gradient(smooth)
    xx, yy, xy = float(np.mean(gx * gx)), float(np.mean(gy * gy)), float(np.mean(gx * gy))
    total = xx + yy
    coherence = math.hypot(xx - yy, 2 * xy) / total if total > 0 else 0.0
    return 0.5 * math.atan2(2 * xy, xx - yy), coherence


def upright(picture: Array) -> tuple[Array, bool, bool]:
    """Return the picture with its edge running down and dark on the left.

    Returns
    -------
    (ndarray, bool, bool)
        The picture; whether it was transposed; whether it was then mirrored left to right.

    Raises
    ------
    CalibrationError
        No direction is preferred: there is no edge, or there are edges in several directions.
    """
    turn, coherence = direction(picture)
    if coherence < _LEAST_COHERENCE:
        raise CalibrationError(
            f"no single edge: the gradients have a coherence of {coherence:.2f}, "
            f"{_LEAST_COHERENCE:g} is needed; choose a region with one straight edge and nothing "
            f"else, or average more frames"
        )
    transposed = abs(turn) > math.pi / 4
    out = picture.T if transposed else picture
    strip = max(2, out.shape[1] // 10)
    mirrored = bool(out[:, :strip].mean() > out[:, -strip:].mean())
    return np.ascontiguousarray(out[:, ::-1] if mirrored else out), transposed, mirrored
