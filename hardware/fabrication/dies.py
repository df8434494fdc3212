"""What stands around a mask on the wafer: marks, witnesses, label, street; and copies of it all."""

import string
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hardware.fabrication import marks
from hardware.fabrication.layout import FARTHEST, Boxes, Cell, Grid, Layout, Points, Polygon
from hardware.fabrication.marks import UM, Drawing

_LETTER, _TEXT, _BETWEEN = 200 * UM, 100 * UM, 50 * UM  # F, height of the label, room [nm]


@dataclass(frozen=True)
class Frame:
    """Surroundings of a mask; lengths in nanometres.

    Attributes
    ----------
    etches : sequence of int
        Etch layers that carry marks, the one that the others are aligned to first.
    steps : sequence of list of int
        Layers of every step of the staircase.
    boundary, street_layer, labels : int
        Layers of what is not etched.
    marks, witness : bool
        Whether they are drawn.
    label : str
        Text beside the F.
    margin, street : int
        Free room around mask and marks; width of the dicing street.
    resolution : int
        What the verniers resolve.
    """

    etches: Sequence[int]
    steps: Sequence[list[int]]
    boundary: int
    street_layer: int
    labels: int
    marks: bool
    witness: bool
    label: str
    margin: int
    street: int
    resolution: int


@dataclass(frozen=True)
class Copies:
    """A field of copies: rows, columns, room between their streets [nm]."""

    rows: int
    columns: int
    gap: int

    def names(self) -> list[str]:
        """A1, A2, ... B1, ...: rows downwards, columns to the right."""
        letters = string.ascii_uppercase[: self.rows]
        return [f"{row}{i + 1}" for row in letters for i in range(self.columns)]


def surroundings(frame: Frame, grid: Grid, title: str) -> tuple[Drawing, tuple[int, int]]:
    """Draw all that stands beside the mask.

    Returns
    -------
    Drawing
        Everything but the mask, about the middle of the mask.
    tuple of int
        Width and height with the street: what a copy takes [nm].
    """
    rows, columns = grid.shape
    width, height = (-(-n * grid.pitch // (2 * grid.parts)) for n in (columns, rows))
    out = Drawing()
    out.add(frame.boundary, marks.box(-width, -height, width, height))
    x, y = width + frame.margin, height + frame.margin
    if frame.marks:
        tall = len(frame.etches) * marks.STATION[1]
        y = max(y, tall // 2 + _BETWEEN)
        for i, layer in enumerate(frame.etches):
            drawn = marks.station(layer, frame.etches[0], frame.resolution)
            for side in (-1, 1):  # on both sides, so that a turn shows as well
                centre = side * (x + marks.STATION[0] // 2)
                out.place(drawn, centre, tall // 2 - i * marks.STATION[1])
        visible = [frame.etches[-1], frame.labels]
        for layer in visible:
            out.add(layer, marks.upright_f(_LETTER), -width, y)
        out.write(visible, title, _TEXT, -width + _LETTER, y + _BETWEEN)
    if frame.witness:
        line = max(1, round(grid.pitch / grid.parts))
        y = -y - marks.STEP[1]
        out.place(marks.staircase(list(frame.steps)), -width, y)
        for layer in frame.etches:
            y -= marks.GRATING_LENGTH + _BETWEEN
            out.place(marks.gratings(layer, line), -width, y)
    left, lower, right, upper = out.bounds()
    half = (max(-left, right) + frame.margin, max(-lower, upper) + frame.margin)
    out.add(frame.street_layer, marks.frame(-half[0], -half[1], *half, frame.street))
    return out, (2 * (half[0] + frame.street), 2 * (half[1] + frame.street))


def assemble(
    name: str, grid: Grid, masks: Sequence[list[Boxes]], frame: Frame, copies: Copies
) -> tuple[Layout, list[tuple[int, int]]]:
    """Put masks, their surroundings and the copies together.

    Parameters
    ----------
    masks : sequence of list of Boxes
        One mask that all copies share, or one for each copy.

    Returns
    -------
    Layout
        Cells MASK, DIE and, holding all, TOP.
    list of tuple of int
        Middle x, y of every copy [database units].

    Raises
    ------
    ValueError
        The layout is too large for the numbers in a file.
    """
    names = copies.names()
    several = len(names) > 1
    title = f"{frame.label} {names[-1]}" if several else frame.label
    size = surroundings(frame, grid, title)[1]
    pitch = tuple((n + copies.gap) // 2 * 2 for n in size)
    extent = max(copies.columns * pitch[0], copies.rows * pitch[1]) // 2 * grid.parts
    if extent > FARTHEST:
        raise ValueError(
            f"layout of {2e-6 * extent / grid.parts:g} mm: at most "
            f"{2e-6 * FARTHEST / grid.parts:g} mm fit into the numbers of a file with a database "
            f"unit of {1 / grid.parts:g} nm; use fewer copies"
        )
    cells = [
        Cell("MASK" if len(masks) == 1 else f"MASK_{copy}", boxes)
        for copy, boxes in zip(names, masks, strict=False)
    ]
    top = Cell("TOP")
    centres = []
    for i, copy in enumerate(names):
        text = f"{frame.label} {copy}" if several else frame.label
        mask = cells[i if len(masks) > 1 else 0].name
        drawn, _ = surroundings(frame, grid, text)
        die = _cell(f"DIE_{copy}", drawn, grid.parts)
        die.references.append((mask, 0, 0))
        row, column = divmod(i, copies.columns)
        x = (2 * column - copies.columns + 1) * pitch[0] // 2 * grid.parts
        y = (copies.rows - 1 - 2 * row) * pitch[1] // 2 * grid.parts
        top.references.append((die.name, x, y))
        centres.append((x, y))
        cells.append(die)
    return Layout(name, grid, [*cells, top]), centres


def _cell(name: str, drawing: Drawing, parts: int) -> Cell:
    """Turn nanometres into database units."""

    def scaled(numbers: np.ndarray) -> Points:
        return (numbers * parts).astype(np.int32)

    return Cell(
        name,
        [Boxes(layer, scaled(edges)) for layer, edges in drawing.boxes],
        [Polygon(layer, scaled(points)) for layer, points in drawing.polygons],
    )
