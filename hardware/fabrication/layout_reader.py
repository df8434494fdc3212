"""Layouts read back with gdstk: which cells of a mask every etch layer covers."""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import gdstk
import numpy as np
from numpy.typing import NDArray

from hardware.errors import HardwareError
from hardware.fabrication.layout import Points
from hardware.fabrication.rectangles import fill

_Origin = tuple[int, int]


class Etch(NamedTuple):
    """A layer and how many of the finest steps its etch takes away."""

    layer: int
    steps: int


@dataclass(frozen=True)
class Window:
    """Where a map lies in a layout: middle [m], side of a cell [m], rows and columns."""

    middle: tuple[float, float]
    pitch: float
    shape: tuple[int, int]


@dataclass(frozen=True)
class _Flat:
    """Polygons of one cell: layer, edges (N, 4) of the bounding box, whether they fill it."""

    layer: NDArray[np.int64]
    edges: Points
    full: NDArray[np.bool_]


class LayoutReader:
    """Top cell of a library that `gdstk` has read.

    Parameters
    ----------
    library : gdstk.Library
        Its references may only shift, which is all that a die needs.
    """

    def __init__(self, library: gdstk.Library) -> None:
        tops = [cell for cell in library.top_level() if isinstance(cell, gdstk.Cell)]
        if len(tops) != 1:
            raise HardwareError(f"layout has {len(tops)} top cells, 1 was written")
        self._top = tops[0]
        self._unit = library.precision
        self._per_unit = library.unit / library.precision
        self._flat = cache(self._read_cell)

    def depth(self, etches: list[Etch], window: Window) -> NDArray[np.int32]:
        """Add up the steps that all etches take from each cell (H, W) of a map.

        Raises
        ------
        HardwareError
            A layer etches a cell twice.
        """
        out = np.zeros(window.shape, np.int32)
        for layer, steps in etches:
            covered = self.covered(layer, window)
            if covered.max() > 1:
                raise HardwareError(f"layer {layer} holds rectangles that overlap")
            out += steps * covered
        return out

    def covered(self, layer: int, window: Window) -> NDArray[np.int32]:
        """How many rectangles of `layer` cover each cell (H, W) of a map, rows down.

        Raises
        ------
        HardwareError
            Something on that layer lies across the window's edges or between its cells.
        """
        rows, columns = window.shape
        pitch = window.pitch / self._unit
        corner = np.array([-columns * pitch / 2, rows * pitch / 2])
        corner += np.array(window.middle) / self._unit
        found = [np.empty((0, 4), np.float64)]
        for flat, origin in self._cells(self._top, (0, 0)):
            chosen = flat.layer == layer
            edges = flat.edges[chosen] + np.array([*origin, *origin])
            at = np.stack(
                [
                    corner[1] - edges[:, 3],
                    corner[1] - edges[:, 1],
                    edges[:, 0] - corner[0],
                    edges[:, 2] - corner[0],
                ],
                axis=1,
            )
            at /= pitch
            touches = (at[:, 0] < rows) & (at[:, 1] > 0) & (at[:, 2] < columns) & (at[:, 3] > 0)
            if not flat.full[chosen][touches].all():
                raise HardwareError(
                    f"layer {layer} holds polygons in the mask that are no rectangles"
                )
            found.append(at[touches])
        boxes = np.concatenate(found)
        whole = np.rint(boxes)
        # A database unit is 2e-3 of the smallest cell that can be made, and edges are exact.
        if np.abs(boxes - whole).max(initial=0) > 1e-6:
            raise HardwareError(f"layer {layer} holds edges between the cells of the mask")
        inside = (whole >= 0) & (whole <= np.array([rows, rows, columns, columns]))
        if not inside.all():
            raise HardwareError(f"layer {layer} holds rectangles across the edge of the mask")
        return fill(whole.astype(np.int32), window.shape)

    def _cells(self, cell: gdstk.Cell, origin: _Origin) -> list[tuple[_Flat, _Origin]]:
        """All cells below `cell`, where their (0, 0) lies [database units]."""
        out = [(self._flat(cell), origin)]
        for reference in cell.references:
            below = reference.cell
            if not isinstance(below, gdstk.Cell):
                raise HardwareError(f"cell {reference.cell_name} is missing")
            turned = reference.rotation or reference.x_reflection or reference.magnification != 1
            if turned or reference.repetition.size:
                raise HardwareError(
                    f"cell {reference.cell_name} is turned or repeated in {cell.name}"
                )
            x, y = (round(v * self._per_unit) for v in reference.origin)
            out += self._cells(below, (origin[0] + x, origin[1] + y))
        return out

    def _read_cell(self, cell: gdstk.Cell) -> _Flat:
        polygons = cell.get_polygons(include_paths=False, depth=0)
        size = np.array([polygon.size for polygon in polygons], np.int64)
        layer = np.array([polygon.layer for polygon in polygons], np.int64)
        edges = np.empty((len(polygons), 4), np.int32)
        full = np.zeros(len(polygons), dtype=bool)
        for corners in np.unique(size).tolist():
            these = np.flatnonzero(size == corners)
            points = np.concatenate([polygons[i].points for i in these]) * self._per_unit
            points = np.rint(points.reshape(-1, corners, 2)).astype(np.int64)
            low, high = points.min(1), points.max(1)
            edges[these] = np.concatenate([low, high], axis=1)
            if corners == 4:
                ahead = np.roll(points, -1, axis=1)
                twice = points[..., 0] * ahead[..., 1] - points[..., 1] * ahead[..., 0]
                full[these] = np.abs(twice.sum(1)) == 2 * (high - low).prod(1)
        return _Flat(layer, edges, full)
