"""Masks for lithography as a GDSII file, which every mask shop reads."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import gdstk

from hardware.fabrication import gds_records
from hardware.fabrication.design import MaskDesign
from hardware.fabrication.etch_masks import EtchMasks
from hardware.fabrication.layout import Layout
from hardware.fabrication.target import Estimate

#: Rectangles from which on the much smaller file is worth a remark.
_MANY = 2_000_000


@dataclass(frozen=True)
class Gds(EtchMasks):
    """GDSII: 64 bytes for a rectangle, written as a stream, at most 2 GB."""

    name: ClassVar[str] = "gds"
    suffix: ClassVar[str] = ".gds"

    def estimate(self, design: MaskDesign) -> Estimate:
        layout, masks = self.count(design)
        size = gds_records.stream_size(layout) + gds_records.BOX_SIZE * masks
        remark = ""
        if size > gds_records.LARGEST:
            remark = (
                f"{masks / 1e6:.1f} million rectangles need {size / 1e9:.1f} GB, more than GDSII "
                f"readers take: this will be refused; use target=oasis, or larger cells"
            )
        elif masks > _MANY:
            remark = (
                f"{masks / 1e6:.1f} million rectangles, {size / 1e6:.0f} MB: "
                f"target=oasis holds the same in a tenth of the space"
            )
        return Estimate(size, layout.count() + masks, remark)

    @staticmethod
    def save(layout: Layout, path: Path) -> None:
        gds_records.write(layout, path)

    @staticmethod
    def load(path: Path) -> gdstk.Library:
        """Read with gdstk, which has no part in the writing."""
        return gdstk.read_gds(path)
