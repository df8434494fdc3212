"""Widths of regions on a grid of cells: what is too narrow for a tool, and what stands alone.

A region is at least w cells wide where a square of w x w cells that lies in the region covers it:
where an opening by that square leaves it (Serra, Image Analysis and Mathematical Morphology,
1982, ch. II). A square is the product of two intervals, so each axis is done by itself, and an
interval of w cells needs log2(w) steps.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Cells = NDArray[np.bool_]


def too_narrow(region: Cells, width: int, *, beyond: bool) -> Cells:
    """Return the cells of a region that no square of `width` cells in the region covers.

    Parameters
    ----------
    region : ndarray
        (H, W) bool.
    width : int
        Side of the square [cells].
    beyond : bool
        Whether the region goes on beyond the map.

    Returns
    -------
    ndarray
        (H, W) bool.
    """
    if width < 1:
        raise ValueError(f"width = {width}: at least 1 cell is needed")
    if width == 1:
        return np.zeros_like(region)
    padded = np.pad(region, width - 1, constant_values=beyond)
    for axis in (0, 1):
        padded = _all_of(padded, width, axis)
    for axis in (0, 1):
        padded = ~_all_of(~np.pad(padded, _ends(width - 1, axis)), width, axis)
    inner = slice(width - 1, -(width - 1))
    narrow: Cells = region & ~padded[inner, inner]
    return narrow


def smallest_width(region: Cells, most: int, *, beyond: bool, where: Cells) -> int:
    """Return the width [cells] of the narrowest part, or `most` if all parts have that.

    Widths are nested: what a large square covers, a smaller one covers too; so halving finds it.

    Parameters
    ----------
    region, where : ndarray
        (H, W) bool; only cells in `where` count.
    most : int
        Largest width of interest [cells].
    beyond : bool
        Whether the region goes on beyond the map.
    """
    kept, lost = 1, most + 1
    while lost - kept > 1:
        middle = (kept + lost) // 2
        if (too_narrow(region, middle, beyond=beyond) & where).any():
            lost = middle
        else:
            kept = middle
    return kept


def isolated(region: Cells, neighbours: Literal[4, 8]) -> Cells:
    """Return the cells (H, W), in the region or not, that differ from all their neighbours.

    Parameters
    ----------
    region : ndarray
        (H, W) bool; it does not go on beyond the map.
    neighbours : {4, 8}
        Cells that share an edge, or an edge or a corner.
    """
    rows, columns = region.shape
    padded = np.pad(region, 1)
    alone = np.ones_like(region)
    for down in (0, 1, 2):
        for right in (0, 1, 2):
            steps = abs(down - 1) + abs(right - 1)
            if steps == 1 or (steps == 2 and neighbours == 8):
                alone &= padded[down : down + rows, right : right + columns] != region
    return alone


def _ends(count: int, axis: int) -> list[tuple[int, int]]:
    return [(count, count) if n == axis else (0, 0) for n in (0, 1)]


def _all_of(cells: Cells, width: int, axis: int) -> Cells:
    """Return whether all of `width` cells in a row are set, for every such row."""
    cells = np.moveaxis(cells, axis, 0)
    have = 1
    while have < width:  # two overlapping intervals make a longer one
        step = min(have, width - have)
        cells = cells[:-step] & cells[step:]
        have += step
    return np.moveaxis(cells, 0, axis)
