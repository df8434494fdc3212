"""Masks for lithography as an OASIS file: the same layout as GDSII, a tenth of its size."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import gdstk

from hardware.errors import HardwareError
from hardware.fabrication.design import MaskDesign
from hardware.fabrication.etch_masks import EtchMasks
from hardware.fabrication.layout import Layout
from hardware.fabrication.target import Estimate

_USER_UNIT = 1e-6  # [m]
#: Bytes of a rectangle after compression: of masks like noise; those like lenses need fewer.
_BOX_SIZE = 5
_CHUNK = 1 << 16  # polygons that exist as Python objects in a list at a time


@dataclass(frozen=True)
class Oasis(EtchMasks):
    """OASIS (SEMI P39), compressed, for masks of millions of rectangles."""

    name: ClassVar[str] = "oasis"
    suffix: ClassVar[str] = ".oas"

    def estimate(self, design: MaskDesign) -> Estimate:
        layout, masks = self.count(design)
        items = layout.count() + masks
        return Estimate(_BOX_SIZE * items, items)

    @staticmethod
    def save(layout: Layout, path: Path) -> None:
        library = gdstk.Library(layout.name, unit=_USER_UNIT, precision=layout.grid.unit)
        scale = layout.grid.unit / _USER_UNIT
        cells = {cell.name: library.new_cell(cell.name) for cell in layout.cells}
        for cell in layout.cells:
            into = cells[cell.name]
            for boxes in cell.boxes:
                layer, datatype = boxes.layer, boxes.datatype
                for first in range(0, len(boxes.edges), _CHUNK):
                    edges = (boxes.edges[first : first + _CHUNK] * scale).tolist()
                    into.add(
                        *(gdstk.rectangle((a, b), (c, d), layer, datatype) for a, b, c, d in edges)
                    )
            for polygon in cell.polygons:
                into.add(gdstk.Polygon((polygon.points * scale).tolist(), polygon.layer))
            for name, x, y in cell.references:
                into.add(gdstk.Reference(cells[name], (x * scale, y * scale)))
        library.write_oas(path, validation="crc32")

    @staticmethod
    def load(path: Path) -> gdstk.Library:
        """Read with gdstk, which also checks the sum at the end of the file."""
        if not gdstk.oas_validate(path)[0]:
            raise HardwareError(f"{path.name}: the check sum is wrong; write the file again")
        return gdstk.read_oas(path)
