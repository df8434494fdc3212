"""Outlines of a mask as DXF, for dicing, holders and drawings: clear aperture, edges, marks.

The file holds no heights. What is compared after reading is which cells the aperture leaves
clear, as a map of two levels.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, cast

import numpy as np
from ezdxf._options import options  # as `ezdxf.options`, which is not exported with its type
from ezdxf.document import Drawing
from ezdxf.filemanagement import new
from numpy.typing import NDArray

from hardware.errors import HardwareError
from hardware.fabrication.design import HeightMap, MaskDesign
from hardware.fabrication.target import Estimate, Target, Written

_MM = 1e3  # millimetres in a metre
_MILLIMETRES = 4  # $INSUNITS
_CLEAR = 1e-6  # height that stands for "clear" when the file is compared [m]
_SIZE, _ITEMS = 19_000, 9  # bytes and entities of every file, whatever the mask
_ARM, _LINE, _LETTER = 0.2e-3, 20e-6, 0.8e-3  # half a cross, its line, the F [m]
#: Upright F on a square of eight, y up: the outline of `asymmetric_letter`.
_F = ((2, 1), (3, 1), (3, 4), (5, 4), (5, 5), (3, 5), (3, 6), (6, 6), (6, 7), (2, 7))

_Outline = list[tuple[float, float]]
_Tags = list[tuple[int, str]]


@dataclass(frozen=True)
class Outline(Target):
    """DXF in millimetres, y up, (0, 0) in the middle of the map, seen from the relief's side.

    Layers: APERTURE (circle), MAP (edge of the map), STREET (both edges of the dicing street),
    MARKS (a cross beyond each corner of the map), ORIENTATION (an upright F at the upper left).

    Attributes
    ----------
    margin : float
        Room between map and marks, and between marks and street [m].
    street : float
        Width of the dicing street [m].
    """

    name: ClassVar[str] = "dxf"
    holds_relief: ClassVar[bool] = False

    margin: float = 100e-6
    street: float = 100e-6

    def __post_init__(self) -> None:
        for key, value in (("margin", self.margin), ("street", self.street)):
            if not 1e-6 <= value <= 0.1:
                raise ValueError(f"{key} = {value:g} m: 1 um to 100 mm are allowed")

    def meant(self, design: MaskDesign) -> HeightMap:
        """Clear cells as a map of 0 and 1 um, which stand for no and yes."""
        return _clear(design.shape, design.spacing, (0.0, 0.0), design.diameter / 2)

    def step(self, design: MaskDesign) -> float:
        return _CLEAR

    def estimate(self, design: MaskDesign) -> Estimate:
        return Estimate(_SIZE, _ITEMS)

    def write(self, design: MaskDesign, folder: Path) -> Written:
        path = folder / f"{design.name}.dxf"
        with _fixed_metadata():
            self._document(design).saveas(path)
        rows, columns = design.shape
        return Written(
            [path],
            {
                "unit": "mm",
                "orientation": "x to the right, y up, seen from the side of the relief; the F is "
                "upright then",
                "origin": "middle of the map",
                "heights": "none: outlines only",
                "map": {"rows": rows, "columns": columns, "pitch_m": design.spacing},
                "clear_diameter_m": design.diameter,
                "street_m": self.street,
            },
        )

    def read(self, folder: Path, written: Written) -> HeightMap:
        """Read the circle and the edge of the map, by tags, without ezdxf."""
        size = cast(dict[str, int], written.notes["map"])
        tags = _tags((folder / written.files[0].name).read_text("utf-8"))
        unit = tags[tags.index((9, "$INSUNITS")) + 1]
        if unit != (70, str(_MILLIMETRES)):
            raise HardwareError(f"dxf: $INSUNITS is {unit[1]}, millimetres (4) were written")
        circles = list(_entities(tags, "CIRCLE", "APERTURE"))
        edges = list(_entities(tags, "LWPOLYLINE", "MAP"))
        if len(circles) != 1 or len(edges) != 1:
            raise HardwareError(
                f"dxf: {len(circles)} apertures and {len(edges)} edges of the map were read back, "
                f"1 of each was written"
            )
        x, y, radius = (_numbers(circles[0], code)[0] / _MM for code in (10, 20, 40))
        spacing = float(np.ptp(_numbers(edges[0], 10))) / _MM / size["columns"]
        height = float(np.ptp(_numbers(edges[0], 20))) / _MM
        # Both sides are whole cells, and doubles in decimal lose nothing that matters.
        if abs(height / spacing - size["rows"]) > 1e-6:
            raise HardwareError(f"dxf: the edge of the map is {height:g} m high, not whole cells")
        return _clear((size["rows"], size["columns"]), spacing, (x, y), radius)

    def _document(self, design: MaskDesign) -> Drawing:
        document = new("R2010", units=_MILLIMETRES)
        space = document.modelspace()
        for i, layer in enumerate(("APERTURE", "MAP", "STREET", "MARKS", "ORIENTATION"), 1):
            document.layers.add(layer, color=i)
        radius = design.diameter / 2 * _MM
        space.add_circle((0, 0), radius, dxfattribs={"layer": "APERTURE"})
        for layer, outline in self._outlines(design):
            points = [(x * _MM, y * _MM) for x, y in outline]
            space.add_lwpolyline(points, close=True, dxfattribs={"layer": layer})
        return document

    def _outlines(self, design: MaskDesign) -> Iterator[tuple[str, _Outline]]:
        """Layer and corners of every polygon, y up [m]."""
        width, height = design.size
        x, y = width / 2, height / 2
        yield "MAP", _rectangle(x, y)
        middle = self.margin + _ARM
        for side, up in ((-1, 1), (1, 1), (1, -1), (-1, -1)):
            yield "MARKS", _cross(side * (x + middle), up * (y + middle))
        upper = y + self.margin
        unit = _LETTER / 8
        yield "ORIENTATION", [(-x + u * unit, upper + v * unit) for u, v in _F]
        outer = x + 2 * self.margin + 2 * _ARM, upper + _LETTER + self.margin
        yield "STREET", _rectangle(*outer)
        yield "STREET", _rectangle(outer[0] + self.street, outer[1] + self.street)


def _rectangle(x: float, y: float) -> _Outline:
    return [(-x, -y), (x, -y), (x, y), (-x, y)]


def _cross(x: float, y: float) -> _Outline:
    """Twelve corners of an upright cross, anticlockwise from the right end's lower corner."""
    half = _LINE / 2
    quarter = [(_ARM, -half), (_ARM, half), (half, half)]
    turned = [quarter]
    for _ in range(3):
        turned.append([(-v, u) for u, v in turned[-1]])
    return [(x + u, y + v) for part in turned for u, v in part]


def _clear(
    shape: tuple[int, int], spacing: float, middle: tuple[float, float], radius: float
) -> HeightMap:
    """Cells whose middle lies in a circle, y of `middle` up."""
    out = HeightMap(np.zeros(shape), spacing)
    x, y = out.axes()
    distance = np.hypot(x[None, :] - middle[0], y[:, None] + middle[1])
    # A middle on the circle itself is clear, however the last digits of the file fell.
    return HeightMap(np.where(distance <= radius * (1 + 1e-9), _CLEAR, 0.0), spacing)


@contextmanager
def _fixed_metadata() -> Iterator[None]:
    """Let ezdxf write constant dates and identifiers: equal outlines give equal bytes."""
    before = options.write_fixed_meta_data_for_testing
    options.write_fixed_meta_data_for_testing = True
    try:
        yield
    finally:
        options.write_fixed_meta_data_for_testing = before


def _tags(text: str) -> _Tags:
    """Pairs of group code and value: a DXF file is two lines for each."""
    lines = text.splitlines()
    return [(int(code), value.strip()) for code, value in zip(lines[::2], lines[1::2], strict=True)]


def _entities(tags: _Tags, kind: str, layer: str) -> Iterator[_Tags]:
    """Tags of every entity of one kind on one layer."""
    first = tags.index((2, "ENTITIES"))
    starts = [i for i in range(first, len(tags)) if tags[i][0] == 0]
    for i, following in zip(starts, [*starts[1:], len(tags)], strict=True):
        if tags[i][1] == kind and (8, layer) in tags[i:following]:
            yield tags[i:following]


def _numbers(entity: _Tags, code: int) -> NDArray[np.float64]:
    return np.array([float(value) for found, value in entity if found == code])
