r"""Pixels of a camera and the directions they see.

A direction is the tangents (y, x) of its chief ray to the axis, those of a field of a PSF: with
nothing turned or mirrored, positive ones lie at larger rows and columns. With the distortion d, the
orientation Q (mirrored left to right first, then turned from x towards y), the principal distance
c, the pitch p and the principal point b,

.. math:: (r, s) = b + \frac{c}{p} \, Q \, d(t)
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibration.errors import CalibrationError
from calibration.geometry.distortion import distorted, undistorted

Array = NDArray[np.float64]

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class CameraGeometry:
    """Which pixel sees which direction; pairs are (y, x) or (row, column).

    Attributes
    ----------
    frame : tuple of int
        Pixels (H, W).
    pixel_pitch : float
        Distance of neighbouring pixels [m].
    principal_distance : float
        From the pupil to the sensor, as the scale of small angles has it [m].
    principal_point : tuple of float
        Where the axis meets the sensor [pixel].
    radial, decentring : tuple of float
        k1, k2 and p of `calibration.geometry.distortion`, for tangents.
    mirrored : bool
        Whether the picture is mirrored left to right.
    quarter_turns : int
        By how often it is turned by 90 deg after that, from x towards y, 0 to 3.
    turn : float
        The rest of the turn [rad].
    """

    frame: tuple[int, int]
    pixel_pitch: float
    principal_distance: float
    principal_point: tuple[float, float]
    radial: tuple[float, float] = (0.0, 0.0)
    decentring: tuple[float, float] = (0.0, 0.0)
    mirrored: bool = False
    quarter_turns: int = 0
    turn: float = 0.0

    def __post_init__(self) -> None:
        for name, low, high in (("pixel_pitch", 1e-7, 1e-3), ("principal_distance", 1e-4, 10.0)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(
                    f"{name} = {getattr(self, name):g} m: {low:g} to {high:g} m are allowed; "
                    f"lengths are metres"
                )
        if self.quarter_turns not in (0, 1, 2, 3):
            raise ValueError(f"quarter_turns = {self.quarter_turns}: 0 to 3 are allowed")
        if not abs(self.turn) <= math.pi / 4 + 1e-9:
            raise ValueError(
                f"turn = {self.turn:g} rad: -pi/4 to pi/4 are allowed beside the quarter turns"
            )

    @property
    def orientation(self) -> Array:
        """Matrix (2, 2) from directions (y, x) to displacements (row, column) on the sensor."""
        return orientation(self.mirrored, self.quarter_turns * math.pi / 2 + self.turn)

    def to_pixels(self, tangents: ArrayLike) -> Array:
        """Return the pixels (..., 2) that see directions (..., 2)."""
        seen = distorted(np.asarray(tangents, np.float64), self.radial, self.decentring)
        scale = self.principal_distance / self.pixel_pitch
        out: Array = scale * seen @ self.orientation.T + np.asarray(self.principal_point)
        return out

    def to_tangents(self, pixels: ArrayLike) -> Array:
        """Return the directions (..., 2) that pixels (..., 2) see."""
        away = np.asarray(pixels, np.float64) - np.asarray(self.principal_point)
        seen = away @ self.orientation * (self.pixel_pitch / self.principal_distance)
        return undistorted(seen, self.radial, self.decentring)

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and words, for JSON."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, sheet: Mapping[str, Any]) -> "CameraGeometry":
        """Read what `to_dict` made.

        Raises
        ------
        CalibrationError
            It is something else.
        """
        values = dict(sheet)
        try:
            if (version := values.pop("schema_version")) != SCHEMA_VERSION:
                raise ValueError(f"schema_version = {version}, expected {SCHEMA_VERSION}")
            for name in ("frame", "principal_point", "radial", "decentring"):
                first, second = values[name]
                values[name] = (first, second)
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise CalibrationError(
                f"this is not the geometry of a camera ({error}); fit it again"
            ) from error


def orientation(mirrored: bool, turn: float) -> Array:
    """Return the matrix (2, 2) on (y, x) that mirrors x if told, then turns x towards y [rad]."""
    c, s = math.cos(turn), math.sin(turn)
    sign = -1.0 if mirrored else 1.0
    return np.array([[c, s * sign], [-s, c * sign]])


def split_orientation(matrix: Array) -> tuple[bool, int, float]:
    """Return mirrored, quarter turns and the rest of the turn [rad] of the nearest orientation."""
    mirrored = bool(np.linalg.det(matrix) < 0)
    sign = -1.0 if mirrored else 1.0
    turn = math.atan2(sign * matrix[0, 1] - matrix[1, 0], matrix[0, 0] + sign * matrix[1, 1])
    quarters = round(turn / (math.pi / 2))
    return mirrored, quarters % 4, turn - quarters * math.pi / 2
