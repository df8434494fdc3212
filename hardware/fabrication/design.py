"""The mask that is to be made: one height map with everything a maker has to know about it.

Maps are (H, W), seen along the light, from the object towards the sensor: x grows with the
columns, y with the rows, and (0, 0) is the middle of the map. Files with y up turn it over; who
looks at the relief from the other side sees it mirrored, see `as_seen`. How a map is mounted under
a lens that turns pictures over is the business of who knows the camera.
"""

import hashlib
import json
import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float64]
#: Which way a relief faces in the camera.
Faces = Literal["object", "sensor"]
#: Largest side of a map [cells]: beyond it index arithmetic of file formats overflows.
MOST_CELLS = 32768


def check_faces(faces: str) -> None:
    """Raise ValueError unless `faces` is "object" or "sensor"."""
    if faces not in ("object", "sensor"):
        raise ValueError(f"faces = {faces!r}, expected 'object' or 'sensor'")


def positions(count: int, spacing: float) -> Map:
    """Positions (count,) of evenly spaced samples, 0 in the middle [unit of `spacing`]."""
    return np.asarray((np.arange(count) - (count - 1) / 2) * spacing, np.float64)


@dataclass(frozen=True)
class HeightMap:
    """A surface on a square grid.

    Attributes
    ----------
    height : ndarray
        (H, W) float64, positive towards more material [m].
    spacing : float
        Distance of neighbouring samples [m].

    Raises
    ------
    ValueError
        The map is not two-dimensional, empty, too large or not finite, or the spacing is not a
        positive length.
    """

    height: Map
    spacing: float

    def __post_init__(self) -> None:
        height = np.asarray(self.height, np.float64)
        object.__setattr__(self, "height", height)
        if height.ndim != 2 or min(height.shape) < 2:
            raise ValueError(
                f"height has shape {height.shape}: a map (rows, columns) of at least 2 x 2 cells "
                f"is needed"
            )
        if max(height.shape) > MOST_CELLS:
            raise ValueError(
                f"height has shape {height.shape}: at most {MOST_CELLS} cells on a side; use a "
                f"larger cell or split the mask"
            )
        if not np.isfinite(height).all():
            row, column = (int(i) for i in np.argwhere(~np.isfinite(height))[0])
            bad = int((~np.isfinite(height)).sum())
            raise ValueError(
                f"height[{row}, {column}] = {height[row, column]} m, and {bad - 1} more cells are "
                f"not finite: a maker needs a height everywhere; fill the gaps first"
            )
        if not (math.isfinite(self.spacing) and self.spacing > 0):
            raise ValueError(f"spacing = {self.spacing:g} m: a positive length is needed")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.height.shape
        return rows, columns

    @property
    def size(self) -> tuple[float, float]:
        """Width (along x) and height (along y) of the map [m]."""
        rows, columns = self.shape
        return columns * self.spacing, rows * self.spacing

    def axes(self) -> tuple[Map, Map]:
        """Positions x (W,) and y (H,) of the samples, y down, 0 in the middle [m]."""
        rows, columns = self.shape
        return positions(columns, self.spacing), positions(rows, self.spacing)


@dataclass(frozen=True)
class MaskDesign(HeightMap):
    """A mask as it left the design.

    Attributes
    ----------
    wavelength : float
        Vacuum wavelength for which the mask is drawn [m].
    index : float
        Refractive index of the material at that wavelength and `temperature`; 1 < index < 5.
        A mirror counts as 3, since light passes its height twice.
    material : str
        Name of the material.
    index_source : str
        Where `index` comes from.
    temperature : float
        Temperature for which `index` holds [K].
    diameter : float
        Clear diameter, centred on the map [m]; what lies outside has no optical function.
    pixelated : bool
        True if every cell is flat, False if samples stand for a smooth surface.
    name : str
        Printable label, letters, digits, ``-`` and ``_``.
    """

    wavelength: float = field(kw_only=True)
    index: float = field(kw_only=True)
    material: str = field(kw_only=True)
    index_source: str = field(kw_only=True)
    diameter: float = field(kw_only=True)
    temperature: float = field(default=293.15, kw_only=True)
    pixelated: bool = field(default=True, kw_only=True)
    name: str = field(default="mask", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("wavelength", "diameter", "temperature"):
            value = getattr(self, key)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{key} = {value:g}: a positive number in SI units is needed")
        if not 1e-7 <= self.wavelength <= 2e-5:
            raise ValueError(
                f"wavelength = {self.wavelength:g} m: 0.1 um to 20 um are allowed; lengths are in "
                f"metres here"
            )
        if not 1 < self.index < 5:
            raise ValueError(f"index = {self.index:g}: a number above 1 and below 5 is needed")
        if self.diameter > min(self.size) * (1 + 1e-9):
            raise ValueError(
                f"diameter = {self.diameter * 1e3:g} mm is larger than the map of "
                f"{self.size[0] * 1e3:g} x {self.size[1] * 1e3:g} mm: enlarge the map, or check "
                f"the units"
            )
        if not self.name or not all(c.isascii() and (c.isalnum() or c in "-_") for c in self.name):
            raise ValueError(f"name = {self.name!r}: letters, digits, - and _ are allowed")

    @property
    def turn_height(self) -> float:
        """Height that delays the design wavelength by one wavelength [m]."""
        return self.wavelength / (self.index - 1)

    @property
    def relief(self) -> float:
        """Highest less lowest point within the clear diameter [m]."""
        inside = self.height[self.clear]
        return float(inside.max() - inside.min())

    @cached_property
    def clear(self) -> NDArray[np.bool_]:
        """Cells (H, W) whose middle lies within the clear diameter."""
        x, y = self.axes()
        return np.hypot(x[None, :], y[:, None]) <= self.diameter / 2

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the heights and of all that gives them a meaning."""
        header = {
            "shape": self.shape,
            "spacing_m": self.spacing,
            "wavelength_m": self.wavelength,
            "index": self.index,
            "material": self.material,
            "diameter_m": self.diameter,
            "pixelated": self.pixelated,
        }
        text = json.dumps(header, sort_keys=True).encode()
        return hashlib.sha256(text + self.height.astype("<f8").tobytes()).hexdigest()

    def as_seen(self, faces: Faces) -> Self:
        """Return the design as someone sees it who looks at its relief.

        Parameters
        ----------
        faces : {"object", "sensor"}
            Which way the relief faces in the camera. Facing the object it is seen along the
            light, as it is held here; facing the sensor it is seen from behind: mirrored in x.
        """
        check_faces(faces)
        return self if faces == "object" else replace(self, height=self.height[:, ::-1].copy())


def asymmetric_letter(cells: int = 64) -> NDArray[np.bool_]:
    """Cells (cells, cells) of an upright letter F, which no turn or mirror maps onto itself."""
    if cells < 8:
        raise ValueError(f"cells = {cells}: at least 8 are needed to draw the letter")
    out = np.zeros((cells, cells), dtype=bool)
    unit = cells // 8
    out[unit : 7 * unit, 2 * unit : 3 * unit] = True  # stem
    out[unit : 2 * unit, 2 * unit : 6 * unit] = True  # upper bar
    out[3 * unit : 4 * unit, 2 * unit : 5 * unit] = True  # middle bar
    return out
