"""Marks beside a mask: crosses, verniers, letters, and structures that are measured after etching.

Everything is drawn with its own reference point as (0, 0), x to the right and y UP, in whole
nanometres. Rectangles are rows (left, lower, right, upper), disjoint within a layer.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import gdstk
import numpy as np
from numpy.typing import NDArray

from hardware.fabrication.design import asymmetric_letter
from hardware.fabrication.rectangles import rectangles

Edges = NDArray[np.int64]
UM = 1000  # nanometres
ARM, LINE, GAP = 50 * UM, 10 * UM, 2 * UM  # cross: half its size, its line, room around the line
VERNIER_PITCH, VERNIER_MARKS = 8 * UM, 10  # main scale; marks on either side of zero
STATION = (240 * UM, 410 * UM)  # width and height of the marks that measure one layer
STEP = (50 * UM, 100 * UM)  # one step of the staircase; wide enough for a stylus
GRATING_LINES, GRATING_LENGTH = 8, 100 * UM


@dataclass
class Drawing:
    """Rectangles and polygons on numbered layers [nm]."""

    boxes: list[tuple[int, Edges]] = field(default_factory=list)
    polygons: list[tuple[int, NDArray[np.int64]]] = field(default_factory=list)

    def add(self, layer: int, edges: Edges, x: int = 0, y: int = 0) -> None:
        """Put rectangles on `layer`, their reference point at (x, y)."""
        self.boxes.append((layer, edges + np.array([x, y, x, y])))

    def write(self, layers: Iterable[int], words: str, size: int, x: int, y: int) -> None:
        """Write `words` upright, `size` tall, their lower left corner at (x, y)."""
        glyphs = [glyph.points for glyph in gdstk.text(words, size, (x, y))]
        for layer in layers:
            self.polygons += [(layer, np.rint(points).astype(np.int64)) for points in glyphs]

    def place(self, other: "Drawing", x: int, y: int) -> None:
        """Copy `other` with its reference point at (x, y)."""
        for layer, edges in other.boxes:
            self.add(layer, edges, x, y)
        self.polygons += [(layer, points + np.array([x, y])) for layer, points in other.polygons]

    def bounds(self) -> tuple[int, int, int, int]:
        """Left, lower, right, upper end of all that is drawn."""
        low = [edges[:, :2] for _, edges in self.boxes] + [p for _, p in self.polygons]
        high = [edges[:, 2:] for _, edges in self.boxes] + [p for _, p in self.polygons]
        left, lower = np.concatenate(low).min(0).tolist()
        right, upper = np.concatenate(high).max(0).tolist()
        return left, lower, right, upper


def box(left: int, lower: int, right: int, upper: int) -> Edges:
    """One rectangle (1, 4)."""
    return np.array([[left, lower, right, upper]], np.int64)


def frame(left: int, lower: int, right: int, upper: int, width: int) -> Edges:
    """Four rectangles, `width` wide, around a rectangle."""
    return np.array(
        [
            [left - width, lower - width, right + width, lower],
            [left - width, upper, right + width, upper + width],
            [left - width, lower, left, upper],
            [right, lower, right + width, upper],
        ],
        np.int64,
    )


def swap_axes(edges: Edges) -> Edges:
    """Mirror on the diagonal: what measured along x measures along y, positive sense kept."""
    return edges[:, [1, 0, 3, 2]]


def cross() -> Edges:
    """Upright cross: a column and the two halves of a bar (3, 4)."""
    half = LINE // 2
    return np.array(
        [
            [-half, -ARM, half, ARM],
            [-ARM, -half, -half, half],
            [half, -half, ARM, half],
        ],
        np.int64,
    )


def cross_outline() -> Edges:
    """Four corners between which the lines of `cross` fit with `GAP` on either side (8, 4)."""
    near = LINE // 2 + GAP
    far = near + LINE
    angle = np.array([[near, near, far, ARM], [far, near, ARM, far]], np.int64)
    left = angle[:, [2, 1, 0, 3]] * [-1, 1, -1, 1]
    upper = np.concatenate([angle, left])
    return np.concatenate([upper, upper[:, [0, 3, 2, 1]] * [1, -1, 1, -1]])


def vernier(resolution: int) -> tuple[Edges, Edges]:
    """Draw main and secondary scale that read a displacement along x.

    The marks of the secondary scale are `resolution` closer to each other. If its layer lies
    i times the resolution too far towards +x, its mark i stands exactly above that of the main
    scale, counted from the longest mark, positive towards +x.

    Parameters
    ----------
    resolution : int
        Smallest displacement that is read [nm].

    Returns
    -------
    main, secondary : ndarray
        (21, 4) rectangles: the main scale above y = 0, the secondary one below [nm].
    """
    i = np.arange(-VERNIER_MARKS, VERNIER_MARKS + 1)
    length = np.where(i == 0, 40, np.where(i % 5 == 0, 32, 24)) * UM
    half = VERNIER_PITCH // 4
    near = np.full_like(i, UM)

    def scale(pitch: int, lower: Edges, upper: Edges) -> Edges:
        return np.stack([i * pitch - half, lower, i * pitch + half, upper], axis=1)

    main = scale(VERNIER_PITCH, near, near + length)
    return main, scale(VERNIER_PITCH - resolution, -near - length, -near)


def upright_f(size: int) -> Edges:
    """Letter F in a square from (0, 0) to (size, size); tells which side and which way is up."""
    unit = size // 8
    top, bottom, left, right = rectangles(asymmetric_letter(8)).astype(np.int64).T
    return np.stack([left, 8 - bottom, right, 8 - top], axis=1) * unit


def station(layer: int, first: int, resolution: int) -> Drawing:
    """Draw what measures where `layer` lies on `first`, the middle of its top at (0, 0)."""
    out = Drawing()
    at = (-60 * UM, -60 * UM)
    out.add(first, cross(), *at)
    out.write([layer], str(layer), 60 * UM, 20 * UM, -90 * UM)
    if layer != first:
        out.add(layer, cross_outline(), *at)
        main, secondary = vernier(resolution)
        out.add(first, main, 0, -165 * UM)
        out.add(layer, secondary, 0, -165 * UM)
        out.add(first, swap_axes(main), 0, -310 * UM)
        out.add(layer, swap_axes(secondary), 0, -310 * UM)
    return out


def gratings(layer: int, cell: int) -> Drawing:
    """Lines and spaces of 1, 2 and 4 cells on one layer, side by side from (0, 0)."""
    out = Drawing()
    x = 0
    for width in (cell, 2 * cell, 4 * cell):
        left = x + 2 * width * np.arange(GRATING_LINES, dtype=np.int64)
        lower = np.zeros_like(left)
        out.add(layer, np.stack([left, lower, left + width, lower + GRATING_LENGTH], axis=1))
        x += 2 * width * GRATING_LINES + 20 * UM
    return out


def staircase(etches: list[list[int]]) -> Drawing:
    """Draw steps side by side from (0, 0); `etches` names the layers of each."""
    width, height = STEP
    out = Drawing()
    for i, layers in enumerate(etches):
        for layer in layers:
            out.add(layer, box(i * width, 0, (i + 1) * width, height))
    return out
