"""GDSII stream files, record by record.

Record types and the excess-64 reals are those of the GDSII Stream Format Manual, Calma, release
6.0 (1987). A rectangle is a BOUNDARY of 64 bytes, sixteen 32-bit words, so that millions are
filled in by columns without a loop.
"""

import math
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hardware.fabrication.layout import Boxes, Cell, Layout, Polygon

_HEADER, _BGNLIB, _LIBNAME, _UNITS, _ENDLIB = 0x0002, 0x0102, 0x0206, 0x0305, 0x0400
_BGNSTR, _STRNAME, _ENDSTR = 0x0502, 0x0606, 0x0700
_BOUNDARY, _SREF, _LAYER, _DATATYPE, _XY, _ENDEL, _SNAME = (
    *(0x0800, 0x0A00, 0x0D02, 0x0E02),
    *(0x1003, 0x1100, 0x1206),
)
_VERSION = 600
#: 1 January 1970, for modification and for access: equal layouts shall give equal bytes.
_DATES = struct.pack(">12h", *(1970, 1, 1, 0, 0, 0) * 2)
_USER_UNIT = 1e-6  # [m]
_CHUNK = 1 << 16  # rectangles, 4 MB
BOX_SIZE = 64  # bytes of a rectangle
#: Beyond it programs that keep positions as signed 32-bit numbers break [bytes].
LARGEST = 2**31 - 1


def write(layout: Layout, path: Path) -> None:
    """Write `layout` to the new file `path`.

    Raises
    ------
    ValueError
        The file would be larger than programs read.
    """
    size = stream_size(layout)
    if size > LARGEST:
        raise ValueError(
            f"gds: {layout.count()} polygons need {size / 1e9:.2f} GB, and many programs read no "
            f"GDSII file above {LARGEST / 1e9:.2f} GB; use target=oasis"
        )
    with path.open("xb") as file:
        for chunk in _stream(layout):
            file.write(chunk)


def stream_size(layout: Layout) -> int:
    """Bytes of the file [bytes]."""
    bare = [Cell(c.name, [], c.polygons, c.references) for c in layout.cells]
    rest = sum(len(chunk) for chunk in _stream(Layout(layout.name, layout.grid, bare)))
    boxes = sum(len(box.edges) for cell in layout.cells for box in cell.boxes)
    return rest + BOX_SIZE * boxes


def excess_64(value: float) -> bytes:
    """Eight-byte real: sign, exponent of 16 plus 64, and a fraction in [1/16, 1) of 56 bits."""
    if value == 0:
        return bytes(8)
    fraction, exponent = math.frexp(abs(value))
    sixteens = -(-exponent // 4)
    mantissa = round(math.ldexp(fraction, exponent - 4 * sixteens + 56))
    return struct.pack(">Q", (value < 0) << 63 | (sixteens + 64) << 56 | mantissa)


def _stream(layout: Layout) -> Iterator[bytes]:
    unit = layout.grid.unit
    yield _record(_HEADER, struct.pack(">h", _VERSION))
    yield _record(_BGNLIB, _DATES)
    yield _record(_LIBNAME, _text(layout.name))
    yield _record(_UNITS, excess_64(unit / _USER_UNIT) + excess_64(unit))
    for cell in layout.cells:
        yield _record(_BGNSTR, _DATES)
        yield _record(_STRNAME, _text(cell.name))
        for boxes in cell.boxes:
            yield from _boxes(boxes)
        for polygon in cell.polygons:
            yield _polygon(polygon)
        for name, x, y in cell.references:
            yield _record(_SREF) + _record(_SNAME, _text(name))
            yield _record(_XY, struct.pack(">2i", x, y)) + _record(_ENDEL)
        yield _record(_ENDSTR)
    yield _record(_ENDLIB)


def _record(kind: int, data: bytes = b"") -> bytes:
    return struct.pack(">HH", len(data) + 4, kind) + data


def _text(text: str) -> bytes:
    data = text.encode("ascii")
    return data + bytes(len(data) % 2)


def _polygon(polygon: Polygon) -> bytes:
    closed = np.vstack([polygon.points, polygon.points[:1]]).astype(">i4")
    return (
        _record(_BOUNDARY)
        + _record(_LAYER, struct.pack(">h", polygon.layer))
        + _record(_DATATYPE, struct.pack(">h", 0))
        + _record(_XY, closed.tobytes())
        + _record(_ENDEL)
    )


def _boxes(boxes: Boxes) -> Iterator[bytes]:
    """Yield the records of many rectangles, each once around from its lower left corner."""
    words = np.empty((min(_CHUNK, len(boxes.edges)), BOX_SIZE // 4), ">i4")
    words[:, 0] = 4 << 16 | _BOUNDARY
    words[:, 1] = 6 << 16 | _LAYER
    words[:, 2] = boxes.layer << 16 | 6
    words[:, 3] = _DATATYPE << 16 | boxes.datatype
    words[:, 4] = 44 << 16 | _XY
    words[:, 15] = 4 << 16 | _ENDEL
    for first in range(0, len(boxes.edges), _CHUNK):
        left, lower, right, upper = boxes.edges[first : first + _CHUNK].T
        block = words[: len(left)]
        block[:, 5] = block[:, 11] = block[:, 13] = left
        block[:, 6] = block[:, 8] = block[:, 14] = lower
        block[:, 7] = block[:, 9] = right
        block[:, 10] = block[:, 12] = upper
        yield block.tobytes()
