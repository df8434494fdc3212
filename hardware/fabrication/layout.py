"""A layout as the formats for lithography understand it: cells of polygons on numbered layers.

Coordinates are whole database units, x to the right and y UP; the middle of a mask is (0, 0) of
its cell. Nothing here knows how a file looks.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hardware.fabrication.design import HeightMap

#: Database units that are tried, coarsest first, in parts of a nanometre.
_PARTS = (1, 10, 100)
#: Largest coordinate of a layout [database units]: files hold signed 32-bit numbers.
FARTHEST = 2**31 - 1

Points = NDArray[np.int32]


@dataclass(frozen=True)
class Grid:
    """How the cells of a map lie on the grid of a file.

    Attributes
    ----------
    parts : int
        Database units per nanometre.
    pitch : int
        Side of a cell [database units].
    shape : tuple of int
        Rows and columns of the map.
    """

    parts: int
    pitch: int
    shape: tuple[int, int]

    @property
    def unit(self) -> float:
        """Database unit [m]."""
        return 1e-9 / self.parts

    @property
    def corner(self) -> tuple[int, int]:
        """Left edge and upper edge of the map [database units]."""
        rows, columns = self.shape
        return -columns * self.pitch // 2, rows * self.pitch // 2

    def metres(self, units: int) -> float:
        """Length of so many database units [m]."""
        return units / (1e9 * self.parts)

    def to_edges(self, boxes: NDArray[np.int32]) -> Points:
        """Left, lower, right, upper edges (N, 4) of rectangles given in rows and columns."""
        left, top = self.corner
        out = np.empty_like(boxes)
        out[:, 0] = left + boxes[:, 2] * self.pitch
        out[:, 1] = top - boxes[:, 1] * self.pitch  # rows go down, y goes up
        out[:, 2] = left + boxes[:, 3] * self.pitch
        out[:, 3] = top - boxes[:, 0] * self.pitch
        return out

    @classmethod
    def of(cls, surface: HeightMap) -> "Grid":
        """Coarsest grid on which every edge of a cell is a whole number of units.

        1 nm is what most readers expect; 0.1 nm and 0.01 nm are taken only where the edges of
        the cells need them.

        Raises
        ------
        ValueError
            The edges are no whole hundredths of a nanometre: a polygon would not be a cell.
        """
        for parts in _PARTS:
            pitch = surface.spacing * 1e9 * parts
            whole = round(pitch)
            # Computed lengths are off by some rounding; 1e-9 of the widest map is below 1 nm.
            exact = whole > 0 and abs(pitch - whole) < 1e-9 * whole
            if exact and all(n * whole % 2 == 0 for n in surface.shape):
                if max(surface.shape) * whole > FARTHEST:
                    raise ValueError(
                        f"map of {max(surface.size) * 1e3:g} mm: with the database unit of "
                        f"{1 / parts:g} nm that its cell of {surface.spacing * 1e9:.15g} nm needs, "
                        f"at most {FARTHEST * 1e-6 / parts:g} mm fit; use a cell of whole nm"
                    )
                return cls(parts, whole, surface.shape)
        near = max(round(surface.spacing * 1e9 * 50) / 50, 0.02)
        raise ValueError(
            f"cell = {surface.spacing * 1e9:.15g} nm: layouts hold whole hundredths of a nm, and "
            f"the edges of these cells are not; use {near:.12g} nm"
        )


@dataclass(frozen=True)
class Boxes:
    """Rectangles on one layer: `edges` (N, 4) is left, lower, right, upper [database units]."""

    layer: int
    edges: Points
    datatype: int = 0


@dataclass(frozen=True)
class Polygon:
    """Simple polygon on one layer: `points` (N, 2) are x, y [database units]."""

    layer: int
    points: Points


@dataclass
class Cell:
    """Named drawing; `references` are names of other cells and where their (0, 0) is placed."""

    name: str
    boxes: list[Boxes] = field(default_factory=list)
    polygons: list[Polygon] = field(default_factory=list)
    references: list[tuple[str, int, int]] = field(default_factory=list)

    def count(self) -> int:
        """Polygons of this cell itself."""
        return sum(len(box.edges) for box in self.boxes) + len(self.polygons)


@dataclass(frozen=True)
class Layout:
    """Cells, each before those that refer to it; the last one holds all."""

    name: str
    grid: Grid
    cells: list[Cell]

    def count(self) -> int:
        """Polygons in the file; copies by reference count once."""
        return sum(cell.count() for cell in self.cells)
