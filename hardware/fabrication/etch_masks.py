"""Masks for lithography as layouts: what GDSII and OASIS files of a mask have in common.

One layer for every etch, polygons where material is taken away; crosses, verniers, label and
witness structures beside the mask; a dicing street around it all; copies with a dose sweep.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import ClassVar, Literal, cast

import gdstk
import numpy as np
from numpy.typing import NDArray

from hardware.errors import HardwareError
from hardware.fabrication.design import HeightMap, MaskDesign
from hardware.fabrication.dies import Copies, Frame, assemble
from hardware.fabrication.layout import Boxes, Grid, Layout
from hardware.fabrication.layout_reader import Etch, LayoutReader, Window
from hardware.fabrication.levels import Levels
from hardware.fabrication.marks import VERNIER_MARKS, VERNIER_PITCH
from hardware.fabrication.rectangles import count_rectangles, rectangles
from hardware.fabrication.target import Plain, Target, Written

#: First of three layers for boundary, street and labels: old programs know only 0 to 63.
_DOCUMENTS, _DOCUMENTS_AFTER_GREYS = 61, 301
_MOST_STEPS = 16  # of the staircase; beyond it only those of single etches


@dataclass(frozen=True)
class EtchMasks(Target):
    """Masks of a relief with 2^n levels.

    Attributes
    ----------
    levels : int
        Number of levels, a power of two.
    waves : int
        Wavelengths of delay at which the relief is wrapped.
    layers : {"bit", "level"}
        "bit": layer b + 1 is the mask of etch b, which takes 2^b steps, for n aligned etches.
        "level": layer d holds the cells that end d steps deep, for one exposure whose dose
        depends on the layer; its marks are on the deepest layer only.
    marks : bool
        Crosses, verniers, orientation F and label.
    witness : bool
        Lines and spaces on every etch layer, and a staircase of all depths, to be measured.
    label : str
        Text beside the mask; "" for the name of the design.
    margin : float
        Free room around the mask and the marks [m].
    street : float
        Width of the dicing street around each copy [m].
    vernier : float
        Displacement of two layers that the verniers resolve [m].
    copy_rows, copy_columns : int
        Copies of the mask, at most 26 rows.
    copy_gap : float
        Room between the streets of neighbouring copies [m].
    dose_step : float
        Relative dose from one copy to the next, about 1 in the middle. Unless 0, copy i has
        datatype i of its own in the mask, so that the writer can give it its dose.
    """

    #: End of the file's name.
    suffix: ClassVar[str]
    units: ClassVar[Mapping[str, str]] = {"dose_step": "ratio"}

    levels: int = 8
    waves: int = 1
    layers: Literal["bit", "level"] = "bit"
    marks: bool = True
    witness: bool = True
    label: str = ""
    margin: float = 100e-6
    street: float = 100e-6
    vernier: float = 0.1e-6
    copy_rows: int = 1
    copy_columns: int = 1
    copy_gap: float = 0.0
    dose_step: float = 0.0

    def __post_init__(self) -> None:
        Levels(self.levels, self.waves)
        if self.layers not in ("bit", "level"):
            raise ValueError(f"layers = {self.layers!r}, expected 'bit' or 'level'")
        _in_range("margin", self.margin, 10e-6, 0.1)
        _in_range("street", self.street, 1e-6, 0.1)
        _in_range("copy_gap", self.copy_gap, 0.0, 1.0)
        _in_range("vernier", self.vernier, 10e-9, 0.2e-6)
        if len(self.label) > 40 or not (self.label.isascii() and self.label.isprintable()):
            raise ValueError(
                f"label = {self.label!r:.60}: at most 40 printable ASCII characters are allowed"
            )
        if not (1 <= self.copy_rows <= 26 and 1 <= self.copy_columns <= 99):
            raise ValueError(
                f"copy_rows, copy_columns = {self.copy_rows}, {self.copy_columns}: 1 to 26 rows "
                f"and 1 to 99 columns are allowed"
            )
        lowest = 1 - abs(self.dose_step) * (self.copy_rows * self.copy_columns - 1) / 2
        if not (isfinite(self.dose_step) and lowest > 0):
            raise ValueError(
                f"dose_step = {self.dose_step:g} leaves the faintest copy a dose of {lowest:g}: "
                f"use a smaller step or fewer copies"
            )

    def relief_levels(self) -> Levels:
        """Levels of the relief."""
        return self._levels

    def meant(self, design: MaskDesign) -> HeightMap:
        Grid.of(design)
        return self._levels.surface(design)

    def step(self, design: MaskDesign) -> float:
        return self._levels.step(design)

    def write(self, design: MaskDesign, folder: Path) -> Written:
        grid = Grid.of(design)
        boxes = [
            Boxes(etch.layer, grid.to_edges(rectangles(cells)))
            for etch, cells in self._etched(design)
        ]
        layout, centres = self._assemble(design, boxes)
        path = folder / f"{design.name}{self.suffix}"
        self.save(layout, path)
        return Written([path], self._notes(design, layout, centres))

    def read(self, folder: Path, written: Written) -> HeightMap:
        """Read every copy; they have to agree."""
        notes = written.notes
        size = cast(dict[str, float], notes["map"])
        etches = [
            Etch(row["layer"], row["steps"]) for row in cast(list[dict[str, int]], notes["etches"])
        ]
        reader = LayoutReader(self.load(folder / written.files[0].name))
        depths: list[NDArray[np.int32]] = []
        for copy in cast(list[dict[str, float]], notes["copies"]):
            shape = int(size["rows"]), int(size["columns"])
            window = Window((copy["x_m"], copy["y_m"]), size["pitch_m"], shape)
            depths = [*depths[:1], reader.depth(etches, window)]
            if not np.array_equal(depths[0], depths[-1]):
                raise HardwareError(f"{self.name}: copy {copy['name']} differs from the first one")
        finest = cast(list[dict[str, float]], notes["etches"])[0]["depth_nm"] * 1e-9
        height = (self.levels - 1 - depths[0]).astype(np.float64) * finest
        return HeightMap(height, size["pitch_m"])

    @staticmethod
    @abstractmethod
    def save(layout: Layout, path: Path) -> None:
        """Write the layout to the new file `path`."""

    @staticmethod
    @abstractmethod
    def load(path: Path) -> gdstk.Library:
        """Read a file."""

    def etches(self) -> list[Etch]:
        """Layers that are etched, the finest first."""
        if self.layers == "level":
            return [Etch(depth, depth) for depth in range(1, self.levels)]
        return [Etch(b + 1, 1 << b) for b in range(self._levels.masks)]

    def count(self, design: MaskDesign) -> tuple[Layout, int]:
        """All but the masks themselves, and how many rectangles the masks in the file have."""
        layout, _ = self._assemble(design, [])
        number = sum(count_rectangles(cells) for _, cells in self._etched(design))
        return layout, number * (len(self._copies.names()) if self.dose_step else 1)

    @property
    def _levels(self) -> Levels:
        return Levels(self.levels, self.waves)

    @property
    def _copies(self) -> Copies:
        return Copies(self.copy_rows, self.copy_columns, _nm(self.copy_gap))

    @property
    def _documents(self) -> tuple[int, int, int]:
        """Layers of boundary, street and labels."""
        after = self.etches()[-1].layer >= _DOCUMENTS
        first = _DOCUMENTS_AFTER_GREYS if after else _DOCUMENTS
        return first, first + 1, first + 2

    def _etched(self, design: MaskDesign) -> Iterator[tuple[Etch, NDArray[np.bool_]]]:
        """Cells (H, W) on every layer."""
        depth = np.uint8(self.levels - 1) - self._levels.numbers(design)
        for etch in self.etches():
            if self.layers == "level":
                yield etch, depth == etch.steps
            else:
                yield etch, (depth & np.uint8(etch.steps)).astype(bool)

    def _frame(self, design: MaskDesign) -> Frame:
        layers = [etch.layer for etch in self.etches()]
        depths = list(range(self.levels))
        if self.levels > _MOST_STEPS:
            depths = [0, *(1 << b for b in range(self._levels.masks)), self.levels - 1]
        if self.layers == "level":
            steps = [[depth] if depth else [] for depth in depths]
        else:
            steps = [[e.layer for e in self.etches() if depth & e.steps] for depth in depths]
        boundary, street, labels = self._documents
        return Frame(
            etches=layers if self.layers == "bit" else layers[-1:],
            steps=steps,
            boundary=boundary,
            street_layer=street,
            labels=labels,
            marks=self.marks,
            witness=self.witness,
            label=self.label or design.name,
            margin=_nm(self.margin),
            street=_nm(self.street),
            resolution=_nm(self.vernier),
        )

    def _assemble(
        self, design: MaskDesign, boxes: list[Boxes]
    ) -> tuple[Layout, list[tuple[int, int]]]:
        masks = [boxes]
        if self.dose_step:
            masks = [
                [replace(box, datatype=i) for box in boxes]
                for i in range(len(self._copies.names()))
            ]
        grid = Grid.of(design)
        return assemble(design.name, grid, masks, self._frame(design), self._copies)

    def _notes(
        self, design: MaskDesign, layout: Layout, centres: list[tuple[int, int]]
    ) -> dict[str, Plain]:
        grid = layout.grid
        boundary, street, labels = self._documents
        notes: dict[str, Plain] = {
            "polarity": "polygons are etched; what no polygon covers stays",
            "orientation": "x to the right, y up, seen from the side of the relief; the F and the "
            "label are upright then",
            "origin": "middle of the mask; with copies, middle of their field",
            "user_unit_m": 1e-6,
            "database_unit_m": grid.metres(1),
            "map": {
                "rows": design.shape[0],
                "columns": design.shape[1],
                "pitch_m": grid.metres(grid.pitch),
            },
            "etches": self._etch_table(design),
            "boundary_layer": boundary,
            "street_layer": street,
            "label_layer": labels,
            "copies": [
                {
                    "name": name,
                    "x_m": grid.metres(x),
                    "y_m": grid.metres(y),
                    "datatype": i if self.dose_step else 0,
                    "dose_ratio": 1 + (i - (len(centres) - 1) / 2) * self.dose_step,
                }
                for i, (name, (x, y)) in enumerate(zip(self._copies.names(), centres, strict=True))
            ],
            "polygons": layout.count(),
        }
        if self.marks and self.layers == "bit" and self.levels > 2:
            notes["verniers"] = {
                "main_scale": "layer 1, longest mark 0, positive to the right and up",
                "reading": "the mark of layer k that continues one of layer 1 counts the "
                "displacement of layer k in units of the resolution",
                "main_pitch_nm": float(VERNIER_PITCH),
                "resolution_nm": float(_nm(self.vernier)),
                "range_nm": float(VERNIER_MARKS * _nm(self.vernier)),
            }
        return notes

    def _etch_table(self, design: MaskDesign) -> list[Plain]:
        """Depth of every layer, and of all up to it where etches add up."""
        finest = self.step(design) * 1e9
        table: list[Plain] = []
        total = 0
        for etch in self.etches():
            total = etch.steps if self.layers == "level" else total + etch.steps
            row: dict[str, Plain] = {"layer": etch.layer, "steps": etch.steps}
            row |= {"depth_nm": etch.steps * finest, "cumulative_nm": total * finest}
            table.append(row)
        return table


def _nm(length: float) -> int:
    return round(length * 1e9)


def _in_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} = {value:g} m: {low:g} m to {high:g} m are allowed")
