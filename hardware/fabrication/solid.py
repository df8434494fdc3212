"""Closed solids under a height map, as vertices and triangles.

The map is a grid of vertices whose lines need not be evenly spaced. Below it stand four walls and
a bottom that is a fan from its middle to every vertex of the rim, so that each edge has exactly
two triangles. Axes are right-handed with z out of the relief: x right, y up.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardware.fabrication.design import Map

Triangles = NDArray[np.int64]
_BAND = 1 << 17  # quadrilaterals made at a time


@dataclass(frozen=True)
class Solid:
    """A relief on a base, in any one unit.

    Attributes
    ----------
    x, y : ndarray
        (C,) and (R,) positions of the grid lines; x rises, y falls, since rows run down.
    z : ndarray
        (R, C) heights of the vertices, all above `bottom`.
    bottom : float
        Height of the bottom.
    """

    x: Map
    y: Map
    z: Map
    bottom: float

    @property
    def triangles(self) -> int:
        """Number of triangles: grid, walls and fan."""
        rows, columns = self.z.shape
        return int(2 * (rows - 1) * (columns - 1) + 3 * 2 * (rows + columns - 2))

    @property
    def volume(self) -> float:
        r"""Volume in closed form.

        A quadrilateral is cut from its lower left to its upper right corner, so these two count
        1/3 of its area each and the other two 1/6.
        """
        area = np.outer(-np.diff(self.y), np.diff(self.x))
        ends = (self.z[1:, :-1] + self.z[:-1, 1:]) / 3
        others = (self.z[:-1, :-1] + self.z[1:, 1:]) / 6
        return float((area * (ends + others - self.bottom)).sum())

    def vertices(self) -> Iterator[Map]:
        """Yield vertices (N, 3): the rows of the grid, the rim at the bottom, its middle."""
        for y, heights in zip(self.y, self.z, strict=True):
            yield np.column_stack((self.x, np.full_like(self.x, y), heights))
        rim = self._rim()
        columns = self.z.shape[1]
        low = np.full(len(rim), self.bottom)
        yield np.column_stack((self.x[rim % columns], self.y[rim // columns], low))
        middle = ((self.x[0] + self.x[-1]) / 2, (self.y[0] + self.y[-1]) / 2, self.bottom)
        yield np.array([middle])

    def faces(self) -> Iterator[Triangles]:
        """Yield triangles (N, 3) of vertex numbers, counter-clockwise seen from outside."""
        rows, columns = self.z.shape
        band = max(1, _BAND // columns)
        for start in range(0, rows - 1, band):
            row = np.arange(start, min(start + band, rows - 1))[:, None]
            upper_left = (row * columns + np.arange(columns - 1)).ravel()
            lower_left = upper_left + columns
            corners = (upper_left, lower_left, upper_left + 1)
            others = (upper_left + 1, lower_left, lower_left + 1)
            yield np.stack([*corners, *others], axis=1).reshape(-1, 3)
        top = self._rim()
        low = rows * columns + np.arange(len(top))
        after, low_after = np.roll(top, -1), np.roll(low, -1)
        middle = np.full_like(low, rows * columns + len(top))
        yield np.stack([low, low_after, after], axis=1)
        yield np.stack([low, after, top], axis=1)
        yield np.stack([middle, low_after, low], axis=1)

    def _rim(self) -> NDArray[np.int64]:
        """Vertex numbers around the grid: down on the left, right, up, and back to the left."""
        rows, columns = self.z.shape
        number = np.arange(rows * columns).reshape(rows, columns)
        sides = (number[:-1, 0], number[-1, :-1], number[:0:-1, -1], number[0, :0:-1])
        return np.concatenate(sides)


def smooth_solid(height: Map, x: Map, y: Map, bottom: float) -> Solid:
    """Solid whose vertices are the samples (R, C) at x (C,) and y (R,), y down."""
    return Solid(x, -y, height, bottom)


def block_solid(height: Map, x: Map, y: Map, bottom: float, wall: float) -> Solid:
    """Solid of flat cells of one size around x (C,) and y (R,), y down.

    Vertical walls where four cells meet have edges with four triangles, which no slicer takes for
    closed. So a wall leans over `wall` of a cell, half of it on either side: every cell has four
    vertices of its own height, and the whole is a grid again.
    """
    lines = []
    for axis in (x, y):
        cell = axis[1] - axis[0]
        pair = np.stack([axis - (1 - wall) / 2 * cell, axis + (1 - wall) / 2 * cell], axis=1)
        pair[0, 0], pair[-1, 1] = axis[0] - cell / 2, axis[-1] + cell / 2
        lines.append(pair.ravel())
    across, down = lines
    return Solid(across, -down, np.repeat(np.repeat(height, 2, axis=0), 2, axis=1), bottom)
