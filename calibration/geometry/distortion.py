r"""Lens distortion: radial to the fourth order, and decentring.

.. math:: t_d = t \, (1 + k_1 r^2 + k_2 r^4) + 2 \, (p \cdot t) \, t + p \, r^2

for points t = (y, x) about the axis, r = \|t\| (Brown, "Decentering distortion of lenses",
Photogramm. Eng. 32, 1966), in tangents or in units of any radius.
"""

import numpy as np
from numpy.typing import NDArray

from calibration.errors import CalibrationError

Array = NDArray[np.float64]
Pair = tuple[float, float]

_MOST_STEPS = 100
_CLOSE = 1e-12  # of the inverse, relative to the largest radius


def distorted(points: Array, radial: Pair, decentring: Pair = (0.0, 0.0)) -> Array:
    """Return where points (..., 2) are seen."""
    squared = np.sum(points**2, axis=-1, keepdims=True)
    out: Array = points * (1 + radial[0] * squared + radial[1] * squared**2)
    if any(decentring):
        p = np.asarray(decentring)
        out = out + 2 * (points @ p)[..., None] * points + p * squared
    return out


def undistorted(points: Array, radial: Pair, decentring: Pair = (0.0, 0.0)) -> Array:
    """Return the points (..., 2) that are seen at `points`.

    Raises
    ------
    CalibrationError
        The distortion is too strong to be undone there.
    """
    if not (any(radial) or any(decentring)):
        return points
    out = points.copy()
    close = _CLOSE * (1 + float(np.abs(points).max(initial=0.0)))
    for _ in range(_MOST_STEPS):
        with np.errstate(over="ignore", invalid="ignore"):
            step = points - distorted(out, radial, decentring)
        worst = float(np.abs(step).max(initial=0.0))
        if worst <= close:
            return out
        if not worst < 10 * (1 + float(np.abs(points).max())):
            break
        out = out + step
    raise CalibrationError(
        f"distortion k1 = {radial[0]:g}, k2 = {radial[1]:g} cannot be undone out to a radius of "
        f"{float(np.hypot(points[..., 0], points[..., 1]).max()):.3g}: fit it over the whole frame"
    )
