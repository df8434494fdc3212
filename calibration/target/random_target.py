"""A random target to print or to show: what is on it, and the files that have its true size.

A field of black and white cells, each as likely, is near the best scene for measuring a PSF
(Delbracio, Musé, Almansa and Morel, "The non-parametric sub-pixel local point spread function
estimation is a well posed problem", Int. J. Comput. Vis. 96, 2012). Around it lies a white quiet
zone with a black square in each corner, by which a blurred picture of it is found. Places are
(y, x) from the middle, y down [m].
"""

import struct
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.storage import atomic_write

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RandomTarget:
    """Random cells with markers in the corners of a quiet zone.

    Attributes
    ----------
    rows, columns : int
        Cells of the random field.
    cell : float
        Side of a cell [m].
    marker : int
        Side of a corner marker [cells]; larger than the blur it is to be found through.
    gap : int
        White around the markers [cells].
    seed : int
        The same seed gives the same target everywhere and always.
    """

    rows: int
    columns: int
    cell: float
    marker: int = 16
    gap: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rows", "columns", "marker", "gap"):
            low = 16 if name in ("rows", "columns") else 1
            if not low <= getattr(self, name) <= 4096:
                raise ValueError(f"{name} = {getattr(self, name)}: {low} to 4096 cells are allowed")
        if not 1e-7 <= self.cell <= 0.1:
            raise ValueError(
                f"cell = {self.cell:g} m: 1e-7 to 0.1 m are allowed; lengths are metres, so a "
                f"millimetre is 1e-3"
            )

    @property
    def border(self) -> int:
        """Width of the quiet zone [cells]."""
        return self.marker + 2 * self.gap

    @property
    def shape(self) -> tuple[int, int]:
        """Cells (rows, columns) of the whole sheet."""
        return self.rows + 2 * self.border, self.columns + 2 * self.border

    @property
    def size(self) -> tuple[float, float]:
        """Height and width of the whole sheet [m]."""
        return self.shape[0] * self.cell, self.shape[1] * self.cell

    @cached_property
    def cells(self) -> NDArray[np.uint8]:
        """All cells of the sheet, 1 is white."""
        out = np.ones(self.shape, np.uint8)
        count = self.rows * self.columns
        # raw bits, as distributions may change between versions of numpy
        raw = np.random.PCG64(self.seed).random_raw(-(-count // 64)).astype("<u8").tobytes()
        bits = np.unpackbits(np.frombuffer(raw, np.uint8))[:count]
        edge, near, far = self.border, self.gap, self.gap + self.marker
        out[edge:-edge, edge:-edge] = bits.reshape(self.rows, self.columns)
        for down in (slice(near, far), slice(-far, -near)):
            for across in (slice(near, far), slice(-far, -near)):
                out[down, across] = 0
        return out

    @property
    def markers(self) -> Array:
        """Middles (4, 2) of the markers: top left, top right, bottom right, bottom left [m]."""
        y, x = (n * self.cell / 2 - (self.gap + self.marker / 2) * self.cell for n in self.shape)
        return np.array([[-y, -x], [-y, x], [y, x], [y, -x]])

    def luminance(self, points: Array, side: Array | float) -> Array:
        """Return the mean luminance of squares, 0 black to 1 white; white beyond the sheet.

        Parameters
        ----------
        points : ndarray
            (..., 2) middles of the squares [m].
        side : ndarray or float
            Their sides, along the target's axes [m].
        """
        y, x = (points[..., i] / self.cell + self.shape[i] / 2 for i in (0, 1))
        half = np.asarray(side) / self.cell / 2
        dark = (
            self._dark(y + half, x + half) - self._dark(y - half, x + half)
            - self._dark(y + half, x - half) + self._dark(y - half, x - half)
        )  # fmt: skip
        out: Array = 1 - dark / (4 * half**2)
        return out

    def _dark(self, y: Array, x: Array) -> Array:
        """Black area above and to the left of points [cells^2]."""
        sums = self._sums
        y, x = np.clip(y, 0, sums.shape[0] - 1), np.clip(x, 0, sums.shape[1] - 1)
        i = np.minimum(y.astype(np.intp), sums.shape[0] - 2)
        j = np.minimum(x.astype(np.intp), sums.shape[1] - 2)
        v, u = y - i, x - j
        place = i * sums.shape[1] + j
        flat, down = sums.ravel(), sums.shape[1]
        top = flat[place] * (1 - u) + flat[place + 1] * u
        low = flat[place + down] * (1 - u) + flat[place + down + 1] * u
        out: Array = top * (1 - v) + low * v
        return out

    @cached_property
    def _sums(self) -> Array:
        return np.pad(np.cumsum(np.cumsum(1.0 - self.cells, axis=0), axis=1), ((1, 0), (1, 0)))

    def as_dict(self) -> dict[str, Any]:
        """Return what makes the target again."""
        names = ("rows", "columns", "cell", "marker", "gap", "seed")
        return {name: getattr(self, name) for name in names}

    def save_svg(self, path: Path) -> None:
        """Write an SVG of true size, one path of black runs."""
        scale = self.cell * 1e3
        height, width = (n * scale for n in self.shape)
        runs = []
        for row, line in enumerate(self.cells):
            edges = np.flatnonzero(np.diff(np.pad(1 - line.astype(np.int8), 1)))
            runs += [f"M{a} {row}h{b - a}v1H{a}z" for a, b in edges.reshape(-1, 2)]
        text = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.6f}mm" '
            f'height="{height:.6f}mm" viewBox="0 0 {self.shape[1]} {self.shape[0]}" '
            f'shape-rendering="crispEdges">\n'
            f'<rect width="100%" height="100%" fill="#fff"/>\n'
            f'<path d="{"".join(runs)}"/>\n</svg>\n'
        )
        atomic_write(path, text.encode())

    def save_png(self, path: Path, *, cell_pixels: int = 4) -> None:
        """Write a black and white PNG whose resolution gives it its true size.

        Parameters
        ----------
        path : Path
            File to write.
        cell_pixels : int, default 4
            Dots along the side of a cell.
        """
        if not 1 <= cell_pixels <= 64:
            raise ValueError(f"cell_pixels = {cell_pixels}: 1 to 64 dots per cell are allowed")
        per_metre = round(cell_pixels / self.cell)
        dots = np.repeat(np.repeat(self.cells, cell_pixels, 0), cell_pixels, 1)
        lines = np.pad(np.packbits(dots, axis=1), ((0, 0), (1, 0)))  # each begins with "no filter"
        head = struct.pack(">IIBBBBB", dots.shape[1], dots.shape[0], 1, 0, 0, 0, 0)
        parts = [
            (b"IHDR", head),
            (b"pHYs", struct.pack(">IIB", per_metre, per_metre, 1)),
            (b"IDAT", zlib.compress(lines.tobytes(), 9)),
            (b"IEND", b""),
        ]
        content = b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in parts
        )
        atomic_write(path, content)
