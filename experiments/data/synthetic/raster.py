"""Z-buffered triangle rasteriser: which triangle each pixel sees, and where on it.

Pixel centres lie at integer coordinates; x to the right, y down, larger depth is nearer.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

_WINDOWS = (2, 3, 4, 6, 9, 14, 22, 40, 80)  # sides of the tested squares [px]


@dataclass(frozen=True, slots=True)
class Fragments:
    """Visible surface points, one for each covered pixel.

    Attributes
    ----------
    pixel : ndarray of int64, shape (P,)
        Flat index row * size + column.
    corners : ndarray of int64, shape (3, P)
        Vertices of the triangle seen there.
    weights : ndarray of float32, shape (3, P)
        Barycentric weights of these vertices.
    depth : ndarray of float32, shape (P,)
        Interpolated depth, larger is nearer.
    """

    pixel: Ints
    corners: Ints
    weights: Floats
    depth: Floats

    def interpolate(self, values: Floats) -> Floats:
        """Interpolate per-vertex `values` (C, V) to the fragments (C, P)."""
        result = np.empty((len(values), self.pixel.size), np.float32)
        for channel, out in zip(np.ascontiguousarray(values), result, strict=True):
            np.multiply(channel[self.corners[0]], self.weights[0], out=out)
            out += channel[self.corners[1]] * self.weights[1]
            out += channel[self.corners[2]] * self.weights[2]
        return result

    def nearer_than(self, depth: Floats) -> "Fragments":
        """Keep the fragments in front of `depth` (N,), one value for each pixel."""
        near = np.flatnonzero(self.depth > depth[self.pixel])
        if near.size == self.pixel.size:
            return self
        return Fragments(
            self.pixel[near], self.corners[:, near], self.weights[:, near], self.depth[near]
        )


def grid_triangles(rows: int, columns: int) -> Ints:
    """Split every cell of a rows x columns vertex grid into two triangles (T, 3)."""
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    upper = np.stack([a, b, c], -1).reshape(-1, 3)
    lower = np.stack([b, d, c], -1).reshape(-1, 3)
    return np.concatenate([upper, lower])


def rasterise(points: Floats, triangles: Ints, size: int, *, cull: bool = True) -> Fragments:
    """Find the nearest triangle under every pixel centre of a size x size image.

    Parameters
    ----------
    points : ndarray of float32, shape (V, 3)
        Column, row [px] and depth of the vertices.
    triangles : ndarray of int64, shape (T, 3)
        Vertex indices, clockwise on the image when the outside faces the viewer.
    size : int
        Image side [px].
    cull : bool, default True
        Drop the triangles that show their back.

    Returns
    -------
    Fragments
        One entry for each covered pixel, in order of pixel index.
    """
    ia, ib, ic = np.ascontiguousarray(triangles.T)
    px, py = np.ascontiguousarray(points[:, 0]), np.ascontiguousarray(points[:, 1])
    xa, ya, xb, yb, xc, yc = px[ia], py[ia], px[ib], py[ib], px[ic], py[ic]
    area = (xb - xa) * (yc - ya) - (xc - xa) * (yb - ya)
    chosen = np.flatnonzero(area > 1e-6 if cull else np.abs(area) > 1e-6)
    corners = np.stack([xa, ya, xb, yb, xc, yc, area])[:, chosen]
    xa, ya, xb, yb, xc, yc, area = corners
    left = np.ceil(np.minimum(np.minimum(xa, xb), xc))
    right = np.floor(np.maximum(np.maximum(xa, xb), xc))
    top = np.ceil(np.minimum(np.minimum(ya, yb), yc))
    bottom = np.floor(np.maximum(np.maximum(ya, yb), yc))
    left, top = np.maximum(left, 0), np.maximum(top, 0)
    span = np.maximum(np.minimum(right, size - 1) - left, np.minimum(bottom, size - 1) - top) + 1
    seen = (right >= left) & (bottom >= top) & (left < size) & (top < size)

    parts = []
    smallest = 0
    for window in (*_WINDOWS, size):
        group = np.flatnonzero(seen & (span > smallest) & (span <= window))
        smallest = window
        if group.size:
            pixel, owner, first, second = _inside(
                corners[:, group], left[group], top[group], window, size
            )
            parts.append((pixel, chosen[group[owner]], first, second))
    if not parts:
        empty = np.zeros((3, 0), np.float32)
        return Fragments(np.zeros(0, np.int64), empty.astype(np.int64), empty, empty[0])

    pixels, owner, first, second = (np.concatenate(column) for column in zip(*parts, strict=True))
    third = 1.0 - first - second
    z = np.ascontiguousarray(points[:, 2])
    depth = z[ia[owner]] * first + z[ib[owner]] * second + z[ic[owner]] * third
    low, high = float(depth.min()), float(depth.max())
    level = ((depth - low) * ((2**30 - 1) / max(high - low, 1e-6))).astype(np.int64)
    nearest = np.full(size * size, -1, np.int64)
    np.maximum.at(nearest, pixels, level << 32 | np.arange(depth.size))
    pixel = np.flatnonzero(nearest >= 0)
    winner = nearest[pixel] & 0xFFFFFFFF
    weights = np.stack([first[winner], second[winner], third[winner]])
    owner = owner[winner]
    return Fragments(pixel, np.stack([ia[owner], ib[owner], ic[owner]]), weights, depth[winner])


def _inside(
    corners: Floats, left: Floats, top: Floats, window: int, size: int
) -> tuple[Ints, Ints, Floats, Floats]:
    """Test the window of pixel centres at each triangle's corner; keep those inside it."""
    xa, ya, xb, yb, xc, yc, area = corners
    steps = np.arange(window, dtype=np.float32)[:, None]
    inverse = 1 / area
    # a weight is linear in column and row: one plane for each triangle, (rows, columns, T)
    across, down = (yb - yc) * inverse, (xc - xb) * inverse
    start = (left - xc) * across + (top - yc) * down
    first = (start + steps * across) + (steps * down)[:, None]
    across, down = (yc - ya) * inverse, (xa - xc) * inverse
    start = (left - xa) * across + (top - ya) * down
    second = (start + steps * across) + (steps * down)[:, None]
    hit = np.minimum(first, second) >= 0
    hit &= first + second <= 1
    found = np.flatnonzero(hit)
    place, owner = np.divmod(found, area.size)
    row, column = np.divmod(place, window)
    row += top.astype(np.int64)[owner]
    column += left.astype(np.int64)[owner]
    first, second = first.reshape(-1)[found], second.reshape(-1)[found]
    inside = np.flatnonzero((row < size) & (column < size))
    if inside.size < found.size:
        row, column, owner = row[inside], column[inside], owner[inside]
        first, second = first[inside], second[inside]
    return row * size + column, owner, first, second
