"""What a check of design rules found: values, limits, and the places that break a rule."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hardware.errors import DesignRuleError
from hardware.fabrication.design import HeightMap

#: Places of one finding that are listed; all are counted and drawn.
MOST_PLACES = 20
_PREFIXES = ((1e-9, "nm"), (1e-6, "um"), (1e-3, "mm"))


@dataclass(frozen=True)
class Place:
    """One cell that breaks a rule.

    Attributes
    ----------
    row, column : int
        Indices of the cell in the map.
    x, y : float
        Middle of the cell, y down, (0, 0) in the middle of the map [m].
    """

    row: int
    column: int
    x: float
    y: float


@dataclass(frozen=True)
class Finding:
    """Outcome of one rule.

    Attributes
    ----------
    rule : str
        Name of the rule, with the etch it is about where there are several.
    ok : bool
        True if the rule is kept.
    value : float
        Worst value found [`unit`]. Of a smallest width that is kept: a width that every part has
        at least.
    limit : float
        What the process allows [`unit`].
    unit : str
        SI unit of both, "" for a plain number.
    remedy : str
        What to change if the rule is broken.
    count : int
        Cells that break it; 0 also where a rule is about the whole map.
    places : tuple of Place
        The first of them, by rows, at most `MOST_PLACES`.
    cells : ndarray or None
        (H, W) bool, the cells that break it; None if there are none.
    """

    rule: str
    ok: bool
    value: float
    limit: float
    unit: str
    remedy: str = ""
    count: int = 0
    places: tuple[Place, ...] = ()
    cells: NDArray[np.bool_] | None = field(default=None, repr=False, compare=False)

    def line(self) -> str:
        """Say the outcome in one line."""
        text = f"{'ok    ' if self.ok else 'BROKEN'} {self.rule}: {_say(self.value, self.unit)}"
        text += f", limit {_say(self.limit, self.unit)}"
        if self.count:
            text += f"; {self.count} cells, first {_where(self.places[0])}"
        return text


@dataclass(frozen=True)
class Report:
    """Outcome of all rules of a process.

    Attributes
    ----------
    findings : tuple of Finding
        One per rule, or per rule and etch.
    skipped : tuple of str
        Rules that say nothing about this design, with the reason.
    """

    findings: tuple[Finding, ...]
    skipped: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[Finding, ...]:
        """Findings of broken rules."""
        return tuple(finding for finding in self.findings if not finding.ok)

    @property
    def cells(self) -> NDArray[np.bool_] | None:
        """Cells (H, W) that break any rule; None if no cell does."""
        maps = [finding.cells for finding in self.findings if finding.cells is not None]
        return np.logical_or.reduce(maps) if maps else None

    def summary(self) -> list[str]:
        """Say every outcome in a line of its own."""
        lines = [finding.line() for finding in self.findings]
        return lines + [f"not checked: {reason}" for reason in self.skipped]

    def require(self) -> None:
        """Raise DesignRuleError if a rule is broken, saying where and what to change."""
        if not self.failed:
            return
        parts = []
        for finding in self.failed:
            text = (
                f"{finding.rule} = {_say(finding.value, finding.unit)}, allowed is "
                f"{_say(finding.limit, finding.unit)}"
            )
            if finding.count:
                text += f" ({finding.count} cells, first {_where(finding.places[0])})"
            parts.append(f"{text}: {finding.remedy}")
        raise DesignRuleError("the design breaks the rules of its process. " + "; ".join(parts))


def places_of(cells: NDArray[np.bool_], design: HeightMap) -> tuple[Place, ...]:
    """Return the first cells of a map (H, W) with their positions."""
    x, y = design.axes()
    rows, columns = np.unravel_index(np.flatnonzero(cells)[:MOST_PLACES], cells.shape)
    return tuple(
        Place(int(r), int(c), float(x[c]), float(y[r])) for r, c in zip(rows, columns, strict=True)
    )


def _where(place: Place) -> str:
    return (
        f"at x = {place.x * 1e6:.1f} um, y = {place.y * 1e6:.1f} um "
        f"(row {place.row}, column {place.column})"
    )


def _say(value: float, unit: str) -> str:
    if not np.isfinite(value):
        return "none"  # no zone, no hollow
    if unit != "m" or value == 0 or abs(value) >= 1:
        return f"{value:.6g} {unit}".strip()
    scale, name = next(
        ((s, n) for s, n in reversed(_PREFIXES) if abs(value) >= s * (1 - 1e-9)), _PREFIXES[0]
    )
    return f"{value / scale:.4g} {name}"
