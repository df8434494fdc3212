"""A measured PSF stack: what every pixel saw of a point source at each depth, and how surely.

The merge of an exposure bracket fills it and fits read it. Rates do not depend on the exposures
that were taken; a pixel that no exposure measured (clipped, hot, masked) is not valid, and its
rate and variance mean nothing. The dark is subtracted, the light of everything but the source
(ambient light) is not. Values may be negative: nothing is clipped.
"""

import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.bayer import plane_names
from calibration.errors import CalibrationError
from hardware.frames import shifted_cfa
from hardware.storage import atomic_write

_FORMAT = "psf-stack-1"
_ARRAYS = ("rate", "variance", "valid", "readings")


@dataclass(frozen=True, eq=False)
class PsfStack:
    """Raw pixels around the image of a point source, one region for all depths.

    Attributes
    ----------
    rate : ndarray of float64, shape (D, H, W)
        Mosaic of each depth [e-/s].
    variance : ndarray of float64, shape (D, H, W)
        Variance of `rate`, positive where valid [e-^2/s^2].
    valid : ndarray of bool, shape (D, H, W)
        Pixels that were measured.
    readings : ndarray of float64, shape (D,)
        Where the rail said that the source stood, along the axis [m].
    cfa : str
        Colours of the 2 x 2 block at the region's top left, row by row; "" is monochrome.
    origin : tuple of int
        Row and column of the region's first pixel in the full frame.
    frame : tuple of int
        Pixels (H, W) of the full frame.
    pixel_pitch : float
        Distance of neighbouring raw pixels [m].
    across : tuple of float
        Where the source stood across the axis, (y, x) by the scale of its slides [m].
    notes : mapping
        Anything else worth keeping, such as the session it came from; plain JSON values.
    """

    rate: NDArray[np.float64]
    variance: NDArray[np.float64]
    valid: NDArray[np.bool_]
    readings: NDArray[np.float64]
    cfa: str
    origin: tuple[int, int]
    frame: tuple[int, int]
    pixel_pitch: float
    across: tuple[float, float] = (0.0, 0.0)
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plane_names(self.cfa)
        for name in ("rate", "variance", "readings"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float64))
        if self.rate.ndim != 3 or 0 in self.rate.shape:
            raise ValueError(f"rate is {self.rate.shape}, expected (depth, H, W)")
        for name in ("variance", "valid"):
            shape = getattr(self, name).shape
            if shape != self.rate.shape:
                raise ValueError(f"{name} is {shape}, expected {self.rate.shape} like rate")
        if self.valid.dtype != np.bool_:
            raise TypeError(f"valid is {self.valid.dtype}, expected bool: True where measured")
        if self.readings.shape != self.rate.shape[:1] or not np.isfinite(self.readings).all():
            raise ValueError(
                f"readings is {self.readings.shape}: one finite reading for each of the "
                f"{len(self.rate)} depths is needed"
            )
        if not (math.isfinite(self.pixel_pitch) and self.pixel_pitch > 0):
            raise ValueError(f"pixel_pitch = {self.pixel_pitch:g} m: a positive length is needed")
        size = self.rate.shape[1:]
        if any(o < 0 or o + n > f for o, n, f in zip(self.origin, size, self.frame, strict=True)):
            raise ValueError(
                f"origin = {self.origin} puts {size} pixels outside of the frame of {self.frame}"
            )
        seen = self.valid
        if not np.isfinite(self.rate[seen]).all():
            raise ValueError("rate holds values that are not finite; mark those pixels not valid")
        worst = self.variance[seen].min(initial=math.inf)
        if not (worst > 0 and np.isfinite(self.variance[seen]).all()):
            raise ValueError(
                f"variance goes down to {worst:g} or is not finite where valid; a measured pixel "
                f"has a positive variance, mark the others not valid"
            )

    @property
    def depths(self) -> int:
        """Number of depths."""
        return len(self.rate)

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels (H, W) of the region."""
        return self.rate.shape[1], self.rate.shape[2]

    def at(self, depths: slice) -> "PsfStack":
        """Return some of the depths."""
        return replace(
            self, **{name: getattr(self, name)[depths] for name in ("rate", "variance", "valid",
                                                                    "readings")}
        )  # fmt: skip

    def crop(self, row: int, column: int, height: int, width: int) -> "PsfStack":
        """Return a part of the region that begins at (row, column) of it."""
        rows, columns = self.shape
        if min(row, column) < 0 or row + height > rows or column + width > columns:
            raise ValueError(
                f"rows {row} to {row + height}, columns {column} to {column + width}: the region "
                f"has {rows} x {columns} pixels"
            )
        part = (slice(None), slice(row, row + height), slice(column, column + width))
        return replace(
            self,
            rate=self.rate[part],
            variance=self.variance[part],
            valid=self.valid[part],
            cfa=shifted_cfa(self.cfa, row, column),
            origin=(self.origin[0] + row, self.origin[1] + column),
        )

    def save(self, path: Path) -> None:
        """Write the stack as .npz, whole or not at all."""
        header = {
            "format": _FORMAT,
            "cfa": self.cfa,
            "origin": [int(v) for v in self.origin],
            "frame": [int(v) for v in self.frame],
            "pixel_pitch": self.pixel_pitch,
            "across": [float(v) for v in self.across],
            "notes": dict(self.notes),
        }
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        text = np.frombuffer(json.dumps(header).encode(), np.uint8)
        atomic_write(path, lambda file: np.savez_compressed(file, header=text, **arrays))


def load_stack(path: Path) -> PsfStack:
    """Read what `PsfStack.save` wrote.

    Raises
    ------
    CalibrationError
        The file is missing, damaged, or something else.
    """
    try:
        # opened here: numpy leaves a damaged file open
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            header = json.loads(file["header"].tobytes())
            arrays = {name: file[name] for name in _ARRAYS}
        if header.pop("format") != _FORMAT:
            raise ValueError(f"format is not {_FORMAT}")
        for name in ("origin", "frame", "across"):
            header[name] = tuple(header[name])
        return PsfStack(**arrays, **header)
    except (
        OSError, EOFError, ValueError, TypeError, KeyError, AttributeError, zipfile.BadZipFile
    ) as error:  # fmt: skip
        raise CalibrationError(
            f"{path} is not a PSF stack that can be read ({error}); merge the session again"
        ) from error
