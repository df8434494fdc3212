"""Maps on other grids: area averages on coarser ones, nearest samples on those of a device.

All grids are centred on (0, 0). An average treats a sample as a flat cell; a wrapped relief loses
its jumps where a coarse cell covers one, which the formats that average say in their notes.
"""

import math

import numpy as np

from hardware.fabrication.design import HeightMap, Map, positions


def coarsen(surface: HeightMap, most: int) -> HeightMap:
    """Average the map until its longer side has at most `most` samples.

    Parameters
    ----------
    surface : HeightMap
        Map (H, W); one that is small enough is returned as it is, as a plain `HeightMap`.
    most : int
        Most samples along a side.
    """
    longest = max(surface.shape)
    if longest <= most:
        return HeightMap(surface.height, surface.spacing)
    factor = longest / most
    # 1e-9: 1024 samples of 4 are 256, not 257, whatever the division rounds to
    rows, columns = (max(2, math.ceil(side / factor - 1e-9)) for side in surface.shape)
    down = _overlap(surface.shape[0], rows, factor)
    across = _overlap(surface.shape[1], columns, factor)
    return HeightMap(down @ surface.height @ across.T, surface.spacing * factor)


def averaged(design: HeightMap, grid: HeightMap) -> str:
    """Say what `coarsen` made of a map."""
    return (
        f"averaged from {design.shape[1]} x {design.shape[0]} cells of "
        f"{design.spacing * 1e6:.4g} um to {grid.shape[1]} x {grid.shape[0]} of "
        f"{grid.spacing * 1e6:.4g} um"
    )


def nearest(surface: HeightMap, shape: tuple[int, int], spacing: float, fill: float) -> HeightMap:
    """Give every sample of another grid the height of the cell in which it lies.

    Parameters
    ----------
    surface : HeightMap
        Map of flat cells.
    shape : tuple of int
        Rows and columns of the new grid.
    spacing : float
        Sample distance of the new grid [m].
    fill : float
        Height outside the map [m].
    """
    places = []
    for count, size in zip(shape, surface.shape, strict=True):
        position = positions(count, spacing / surface.spacing) + size / 2
        # 1e-9 of a cell: samples on the border of two cells go the same way on every machine
        places.append(np.floor(position + 1e-9).astype(np.int64))
    row, column = places
    out = surface.height[
        np.clip(row, 0, surface.shape[0] - 1)[:, None],
        np.clip(column, 0, surface.shape[1] - 1)[None, :],
    ]
    out[(row < 0) | (row >= surface.shape[0]), :] = fill
    out[:, (column < 0) | (column >= surface.shape[1])] = fill
    return HeightMap(out, spacing)


def _overlap(fine: int, coarse: int, factor: float) -> Map:
    """Share (coarse, fine) of every fine cell in every coarse one, `factor` times its size."""
    edges = np.arange(fine + 1) - fine / 2
    wide = (np.arange(coarse + 1) - coarse / 2) * factor
    high = np.minimum(wide[1:, None], edges[None, 1:])
    low = np.maximum(wide[:-1, None], edges[None, :-1])
    share = np.clip(high - low, 0.0, None)
    return np.asarray(share / share.sum(axis=1, keepdims=True), np.float64)
