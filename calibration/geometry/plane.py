"""How a flat target appears in the picture: a homography and the lens's radial distortion."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibration.errors import CalibrationError
from calibration.geometry.distortion import distorted, undistorted
from calibration.geometry.solve import Parameter, Solution, solved

Array = NDArray[np.float64]

_SPAN = 0.1  # of the frame's half diagonal: how far a homography is from its first guess
_MOST_DISTORTION = 0.5


@dataclass(frozen=True, eq=False)
class PlaneMap:
    """Places on a plane and the pixels that see them; pairs are (y, x) or (row, column).

    Attributes
    ----------
    matrix : ndarray
        (3, 3) homography from (y, x, 1) on the plane [m] to the picture without distortion
        [pixel], its last entry 1.
    centre : tuple of float
        Pixel about which the lens distorts.
    radius : float
        Unit of the distortion's radius [pixel].
    radial : tuple of float
        k1, k2 of `calibration.geometry.distortion`.
    """

    matrix: Array
    centre: tuple[float, float]
    radius: float
    radial: tuple[float, float] = (0.0, 0.0)

    def to_pixels(self, points: ArrayLike) -> Array:
        """Return the pixels (..., 2) at which points (..., 2) of the plane are seen [m]."""
        flat = projected(self.matrix, np.asarray(points, np.float64))
        centre = np.asarray(self.centre)
        seen = distorted((flat - centre) / self.radius, self.radial)
        out: Array = seen * self.radius + centre
        return out

    def to_plane(self, pixels: ArrayLike) -> Array:
        """Return the points (..., 2) of the plane that pixels (..., 2) see [m]."""
        centre = np.asarray(self.centre)
        seen = (np.asarray(pixels, np.float64) - centre) / self.radius
        flat = undistorted(seen, self.radial) * self.radius + centre
        back = np.asarray(np.linalg.inv(self.matrix), np.float64)
        return projected(back, np.asarray(flat, np.float64))

    def moved(self, shift: ArrayLike) -> "PlaneMap":
        """Return the map of a picture that is displaced by (rows, columns) [pixel]."""
        down, right = np.asarray(shift, np.float64)
        across = np.array([[1, 0, down], [0, 1, right], [0, 0, 1]])
        centre = (self.centre[0] + down, self.centre[1] + right)
        return PlaneMap(across @ self.matrix, centre, self.radius, self.radial)

    @property
    def linear(self) -> Array:
        """Derivative (2, 2) of the pixel by the place on the plane, at (0, 0) of that [1/m]."""
        h = self.matrix
        out: Array = h[:2, :2] - np.outer(h[:2, 2], h[2, :2])
        return out

    @property
    def mirrored(self) -> bool:
        """Whether the plane is seen as in a mirror."""
        return bool(np.linalg.det(self.linear) < 0)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for a file."""
        return {
            "matrix": self.matrix.tolist(),
            "centre": list(self.centre),
            "radius": self.radius,
            "radial": list(self.radial),
        }


@dataclass(frozen=True, eq=False)
class PlaneFit:
    """A plane's map from correspondences.

    Attributes
    ----------
    map : PlaneMap
        Best values.
    solution : Solution
        Of the eight entries h11 to h32, then k1 and k2 if fitted, with points in units of their
        spread and pixels in those of `map.radius` about `map.centre`.
    rms : float
        Of the distances between pixels seen and fitted [pixel].
    """

    map: PlaneMap
    solution: Solution
    rms: float


def projected(matrix: Array, points: Array) -> Array:
    """Apply a homography (3, 3) to points (..., 2)."""
    out = points @ matrix[:, :2].T + matrix[:, 2]
    flat: Array = out[..., :2] / out[..., 2:]
    return flat


def homography(points: Array, pixels: Array) -> Array:
    """Return the homography (3, 3) that takes points (n, 2) to pixels (n, 2), n >= 4.

    Direct linear transformation, both sides brought to zero mean and unit spread (Hartley, "In
    defense of the eight-point algorithm", IEEE Trans. Pattern Anal. Mach. Intell. 19, 1997).
    """
    left, right = _normaliser(points), _normaliser(pixels)
    p, q = projected(left, points), projected(right, pixels)
    ones, zeros = np.ones(len(p)), np.zeros(len(p))
    a = np.column_stack([p, ones])
    blank = np.column_stack([zeros] * 3)
    rows = np.concatenate(
        [
            np.column_stack([a, blank, -q[:, :1] * a]),
            np.column_stack([blank, a, -q[:, 1:] * a]),
        ]
    )
    _, lengths, vectors = np.linalg.svd(rows)
    if lengths[7] < 1e-9 * lengths[0]:
        raise CalibrationError(
            f"{len(p)} correspondences do not fix a homography: four or more are needed, no three "
            f"of which lie on one line"
        )
    out: Array = np.linalg.inv(right) @ vectors[-1].reshape(3, 3) @ left
    out /= out[2, 2]
    return out


def fit_plane(
    points: ArrayLike,
    pixels: ArrayLike,
    sigma: ArrayLike,
    *,
    centre: tuple[float, float],
    radius: float,
    terms: int = 2,
) -> PlaneFit:
    """Fit a plane's map to points that were seen at pixels.

    Parameters
    ----------
    points : array_like
        (n, 2) places on the plane [m].
    pixels : array_like
        (n, 2) where they are seen.
    sigma : array_like
        Standard uncertainty of each pixel coordinate, one for all or (n,) [pixel].
    centre : tuple of float
        Pixel about which the lens distorts; the middle of the frame if nothing better is known.
    radius : float
        Unit of the distortion's radius, such as half the frame's diagonal [pixel].
    terms : {0, 1, 2}
        Terms of the radial distortion.

    Raises
    ------
    CalibrationError
        The correspondences leave some of it open.
    """
    p, q = np.asarray(points, np.float64), np.asarray(pixels, np.float64)
    if p.ndim != 2 or p.shape[1] != 2 or p.shape != q.shape:
        raise ValueError(f"points is {p.shape} and pixels {q.shape}, expected (n, 2) both")
    if terms not in (0, 1, 2):
        raise ValueError(f"terms = {terms}: 0, 1 or 2 of the radial distortion can be fitted")
    middle = np.asarray(centre)
    inner, seen = _normaliser(p), (q - middle) / radius
    s = projected(inner, p)
    error = np.broadcast_to(np.asarray(sigma, np.float64), len(p))[:, None] / radius
    if not (np.isfinite(error).all() and error.min() > 0):
        raise ValueError(f"sigma goes down to {error.min() * radius:g} px: above zero is needed")

    def fitted(values: Array) -> Array:
        k = (*values[8:], 0.0, 0.0)
        return distorted(projected(np.append(values[:8], 1.0).reshape(3, 3), s), (k[0], k[1]))

    start = homography(s, seen).ravel()[:8]
    parameters = [
        Parameter(f"h{i // 3 + 1}{i % 3 + 1}", float(v), _SPAN) for i, v in enumerate(start)
    ] + [Parameter(f"k{i + 1}", 0.0, _MOST_DISTORTION) for i in range(terms)]
    solution = solved(
        lambda values: ((fitted(values) - seen) / error).ravel(),
        parameters,
        {},
        "take more points, spread over the whole frame, or fit fewer terms of the distortion",
    )
    outer = np.array([[radius, 0, middle[0]], [0, radius, middle[1]], [0, 0, 1]])
    matrix = outer @ np.append(solution.values[:8], 1.0).reshape(3, 3) @ inner
    k = (*solution.values[8:], 0.0, 0.0)
    plane = PlaneMap(matrix / matrix[2, 2], centre, radius, (float(k[0]), float(k[1])))
    distance = np.sum((plane.to_pixels(p) - q) ** 2, axis=1)
    return PlaneFit(plane, solution, math.sqrt(float(distance.mean())))


def _normaliser(points: Array) -> Array:
    """Matrix (3, 3) that takes points to zero mean and unit spread."""
    mean = points.mean(axis=0)
    spread = math.sqrt(float(np.mean((points - mean) ** 2)))
    if len(points) < 4 or spread == 0:
        raise CalibrationError(
            f"{len(points)} correspondences{' at one place' if spread == 0 else ''}: a homography "
            f"needs four or more, no three of which lie on one line"
        )
    return np.array([[1, 0, -mean[0]], [0, 1, -mean[1]], [0, 0, spread]]) / spread
