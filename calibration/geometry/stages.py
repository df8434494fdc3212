r"""The geometry of a camera from a point source on slides.

The source stands at the reading (z, y, x) of a rail along the axis and two slides across it. With
the scale s and the offset o of the rail, and the middle (y_p, x_p) of the pupil by the slides, its
direction is

.. math:: t = \frac{(y - y_p, x - x_p)}{s z + o}

The axis is the direction of the rail: a rail that is tilted against the lens's own axis moves the
principal point, and no source on it can tell. A wedge in the pupil does the same. The scale of the
slides is taken as true. Only the quotients of principal distance, s and o show in the picture:
`known` has to hold one of them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibration.errors import CalibrationError
from calibration.geometry.camera import CameraGeometry, split_orientation
from calibration.geometry.solve import Parameter, Solution, solved
from calibration.uncertainty import Uncertain

Array = NDArray[np.float64]

_SPANS = {
    "principal_distance": 0.2,  # of itself
    "rail_scale": 0.2,
    "rail_offset": 0.2,  # of the mean distance
    "pupil_y": 20e-3,
    "pupil_x": 20e-3,
    "turn": 0.2,
    "k1": 1.0,
    "k2": 10.0,
}
_SEPARATE = 1e-3  # of the spread of directions along their longer axis


@dataclass(frozen=True, eq=False)
class StageGeometry:
    """A camera before a rail.

    Attributes
    ----------
    camera : CameraGeometry
        The camera.
    rail_scale : Uncertain
        Length per length of the rail's reading.
    rail_offset : Uncertain
        Distance from the pupil at the reading 0 [m].
    pupil : tuple of Uncertain
        Middle of the pupil by the readings of the slides (y, x) [m].
    solution : Solution
        All parameters with their covariance.
    rms : float
        Of the distances between pixels seen and fitted [pixel].
    """

    camera: CameraGeometry
    rail_scale: Uncertain
    rail_offset: Uncertain
    pupil: tuple[Uncertain, Uncertain]
    solution: Solution
    rms: float

    def tangents(self, readings: ArrayLike) -> Array:
        """Return the directions (..., 2) of a source at readings (..., 3) of (z, y, x)."""
        return _tangents(
            np.asarray(readings, np.float64),
            self.rail_scale.value,
            self.rail_offset.value,
            np.array([p.value for p in self.pupil]),
        )

    def to_pixels(self, readings: ArrayLike) -> Array:
        """Return the pixels (..., 2) at which a source at readings (..., 3) is seen."""
        return self.camera.to_pixels(self.tangents(readings))


def fit_stages(
    readings: ArrayLike,
    pixels: ArrayLike,
    sigma: ArrayLike,
    design: CameraGeometry,
    *,
    known: Mapping[str, Uncertain],
    terms: int = 2,
) -> StageGeometry:
    """Fit a camera and its rail to the pixels at which a source was seen.

    Parameters
    ----------
    readings : array_like
        (n, 3) readings (z, y, x) of the rail and the slides [m].
    pixels : array_like
        (n, 2) centroids, or places of the zero order, in the frame.
    sigma : array_like
        Standard uncertainty of each pixel coordinate, one for all or (n,) [pixel].
    design : CameraGeometry
        The camera as designed: first guess of all but its orientation, which is found.
    known : mapping
        What is known from elsewhere, by the names principal_distance, rail_scale, rail_offset
        [m], pupil_y, pupil_x [m], row, column [pixel], turn [rad], k1, k2.
    terms : {0, 1, 2}
        Terms of the radial distortion.

    Raises
    ------
    CalibrationError
        The source's places leave some of it open; the message names what.
    """
    r, q = np.asarray(readings, np.float64), np.asarray(pixels, np.float64)
    if r.ndim != 2 or r.shape[1] != 3 or q.shape != (len(r), 2):
        raise ValueError(f"readings is {r.shape} and pixels {q.shape}, expected (n, 3) and (n, 2)")
    error = np.broadcast_to(np.asarray(sigma, np.float64), len(r))[:, None]
    if not (np.isfinite(error).all() and error.min() > 0):
        raise ValueError(f"sigma goes down to {error.min():g} px: above zero is needed")
    if terms not in (0, 1, 2):
        raise ValueError(f"terms = {terms}: 0, 1 or 2 of the radial distortion can be fitted")
    start = {name: known[name].value if name in known else value for name, value in (
        ("rail_scale", 1.0), ("rail_offset", 0.0), ("pupil_y", 0.0), ("pupil_x", 0.0))}  # fmt: skip
    if not ((start["rail_scale"] * r[:, 0] + start["rail_offset"]) > 0).all():
        raise ValueError("readings put the source behind the pupil: z grows away from the camera")
    middle = np.array([start["pupil_y"], start["pupil_x"]])
    rough = _tangents(r, start["rail_scale"], start["rail_offset"], middle)
    camera, point = _oriented(rough, q, design)
    distance = float(np.mean(r[:, 0]))
    frame = math.hypot(*design.frame)
    start |= {
        "principal_distance": camera.principal_distance,
        "row": point[0],
        "column": point[1],
        "turn": camera.turn,
        "k1": camera.radial[0],
        "k2": camera.radial[1],
    }
    spans = _SPANS | {
        "principal_distance": _SPANS["principal_distance"] * camera.principal_distance,
        "rail_offset": _SPANS["rail_offset"] * distance,
        "row": frame,
        "column": frame,
    }
    names = [n for n in start if n not in ("k1", "k2")[terms:]]
    places = {name: i for i, name in enumerate(names)}

    def placed(values: Array) -> tuple[CameraGeometry, Array]:
        v = {**start, **{name: float(values[i]) for name, i in places.items()}}
        found = replace(
            camera,
            principal_distance=max(v["principal_distance"], 1e-4),
            principal_point=(v["row"], v["column"]),
            radial=(v["k1"], v["k2"]),
            turn=min(max(v["turn"], -math.pi / 4), math.pi / 4),
        )
        pupil = np.array([v["pupil_y"], v["pupil_x"]])
        return found, _tangents(r, v["rail_scale"], v["rail_offset"], pupil)

    def residuals(values: Array) -> Array:
        found, tangents = placed(values)
        return np.asarray(((found.to_pixels(tangents) - q) / error).ravel())

    solution = solved(
        residuals,
        [Parameter(n, start[n], spans[n]) for n in names],
        known,
        "move the source along the rail and across it in both directions, and give the principal "
        "distance, or the scale or offset of the rail, as known",
    )
    found, tangents = placed(solution.values)
    distance_ = np.sum((found.to_pixels(tangents) - q) ** 2, axis=1)
    return StageGeometry(
        found,
        solution["rail_scale"],
        solution["rail_offset"],
        (solution["pupil_y"], solution["pupil_x"]),
        solution,
        math.sqrt(float(distance_.mean())),
    )


@dataclass(frozen=True)
class SourcePlace:
    """Where a source stood across the axis, by its pixels at several depths.

    Attributes
    ----------
    place : tuple of Uncertain
        From the axis (y, x) [m].
    deflection : tuple of Uncertain
        Displacement of the pixels that is the same at all depths (row, column), such as that of
        an order of the mask [pixel].
    chi_square : float
        Per degree of freedom; much above 1 if what was followed is not one spot.
    """

    place: tuple[Uncertain, Uncertain]
    deflection: tuple[Uncertain, Uncertain]
    chi_square: float


def source_place(
    geometry: StageGeometry, readings: ArrayLike, pixels: ArrayLike, sigma: float
) -> SourcePlace:
    """Return where a source stood that was moved along the rail alone: the chief ray of its PSFs.

    The place shows as the inverse of the distance, a deflection by the mask as a constant.

    Parameters
    ----------
    geometry : StageGeometry
        Camera and rail.
    readings : array_like
        (n,) of the rail, three different ones or more [m].
    pixels : array_like
        (n, 2) centroids or places of the zero order.
    sigma : float
        Standard uncertainty of each pixel coordinate [pixel].
    """
    z, q = np.asarray(readings, np.float64), np.asarray(pixels, np.float64)
    if z.ndim != 1 or q.shape != (len(z), 2):
        raise ValueError(f"readings is {z.shape} and pixels {q.shape}, expected (n,) and (n, 2)")
    if len(np.unique(z)) < 3:
        raise CalibrationError(
            f"readings has {len(np.unique(z))} different depths: three or more tell a place from a "
            f"deflection"
        )
    distance = geometry.rail_scale.value * z + geometry.rail_offset.value
    tangents = geometry.camera.to_tangents(q)
    scale = geometry.camera.pixel_pitch / geometry.camera.principal_distance
    terms = np.column_stack([1 / distance, np.ones_like(z)])
    inverse = np.linalg.inv(terms.T @ terms)
    values = inverse @ terms.T @ tangents
    left = (tangents - terms @ values) / (scale * sigma)
    chi_square = float(np.sum(left**2)) / (2 * len(z) - 4)
    spread = np.sqrt(np.diag(inverse)) * scale * sigma * math.sqrt(max(1.0, chi_square))
    aside = geometry.camera.orientation @ values[1] / scale
    y, x = (Uncertain(float(v), float(spread[0])) for v in values[0])
    row, column = (Uncertain(float(v), float(spread[1] / scale)) for v in aside)
    return SourcePlace((y, x), (row, column), chi_square)


def _tangents(readings: Array, scale: float, offset: float, pupil: Array) -> Array:
    out: Array = (readings[..., 1:] - pupil) / (scale * readings[..., :1] + offset)
    return out


def _oriented(
    tangents: Array, pixels: Array, design: CameraGeometry
) -> tuple[CameraGeometry, tuple[float, float]]:
    """Return the design as it is oriented, and where its axis is, from an affine fit."""
    away = tangents - tangents.mean(axis=0)
    spread = np.linalg.svd(away, compute_uv=False) if len(away) > 1 else np.zeros(2)
    if len(spread) < 2 or spread[1] < _SEPARATE * max(spread[0], 1e-3):
        raise CalibrationError(
            "the source was seen along one line or at one place, which does not fix the "
            "orientation, turn and mirror of the sensor: move it across the axis in y and in x"
        )
    matrix = np.linalg.lstsq(away, pixels - pixels.mean(axis=0), rcond=None)[0].T
    mirrored, quarters, turn = split_orientation(matrix)
    point = pixels.mean(axis=0) - matrix @ tangents.mean(axis=0)
    camera = replace(design, mirrored=mirrored, quarter_turns=quarters, turn=turn)
    return camera, (float(point[0]), float(point[1]))
