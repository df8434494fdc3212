"""What a process can make, and the check of a mask against it.

Only what lies within the clear diameter is judged, except for size and files.
"""

import math
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hardware.fabrication.design import MaskDesign
from hardware.fabrication.findings import Finding, Report, places_of
from hardware.fabrication.levels import Levels
from hardware.fabrication.regions import isolated, smallest_width, too_narrow
from hardware.fabrication.relief import hollow, slopes, walls, zone_rate
from hardware.fabrication.target import Estimate

# Rounding of float32 maps and of lengths that are a whole number of cells.
_SLACK = 1e-5


@dataclass(frozen=True)
class Process:
    """Limits of a process; None means that it has no such limit.

    Attributes
    ----------
    max_size : float or None
        Longer side of the map [m].
    min_feature, min_gap : float or None
        Width of what an etch takes away, and of what it leaves between [m]; parts that the rim of
        the clear diameter cuts are taken to go on.
    isolated : {4, 8} or None
        Refuse cells that an etch treats unlike all their neighbours over edges (4), or over edges
        and corners (8).
    min_zone : float or None
        Width of a full zone of a wrapped surface [m]. The local number of zones is a mean over
        this width; stairs of N levels make it uncertain by one part in N.
    max_height : float or None
        Relief [m].
    max_slope : float or None
        Slope of a smooth surface, rise over run.
    max_aspect : float or None
        Step between neighbouring flat cells, in cell widths.
    height_step : float or None
        Smallest step of an etch that is still controlled [m].
    max_levels : int or None
        Number of levels.
    tool_radius : float or None
        Nose radius of the cutting tool; no hollow of a smooth surface may be tighter [m].
    max_stroke : float or None
        Travel of a mirror's surface [m].
    max_file_size, max_items : int or None
        Bytes, and rectangles, triangles or numbers, that the maker's reader takes.
    """

    max_size: float | None = None
    min_feature: float | None = None
    min_gap: float | None = None
    isolated: Literal[4, 8] | None = None
    min_zone: float | None = None
    max_height: float | None = None
    max_slope: float | None = None
    max_aspect: float | None = None
    height_step: float | None = None
    max_levels: int | None = None
    tool_radius: float | None = None
    max_stroke: float | None = None
    max_file_size: int | None = None
    max_items: int | None = None

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(
                    f"{item.name} = {value:g}: a positive number in SI units is needed, or null "
                    f"for a process without this limit"
                )
        if self.isolated not in (None, 4, 8):
            raise ValueError(f"isolated = {self.isolated}: 4 or 8 neighbours, or null")
        if self.max_levels is not None and self.max_levels < 2:
            raise ValueError(f"max_levels = {self.max_levels}: at least 2 are needed")

    def check(
        self,
        design: MaskDesign,
        levels: Levels | None = None,
        *,
        estimate: Estimate | None = None,
    ) -> Report:
        """Check a mask against all limits.

        Parameters
        ----------
        design : MaskDesign
            The mask.
        levels : Levels or None
            Levels it is etched on; without them, rules about etches are skipped.
        estimate : Estimate or None
            Cost of its files; without it, rules about files are skipped.
        """
        checks = _Checks(self, design, levels, estimate)
        findings = [
            *checks.size(),
            *checks.etches(),
            *checks.zones(),
            *checks.heights(),
            *checks.steps(),
            *checks.smooth(),
            *checks.files(),
        ]
        return Report(tuple(findings), tuple(checks.skipped))


class _Checks:
    """The rules, one method for those that look at the same thing."""

    def __init__(
        self,
        process: Process,
        design: MaskDesign,
        levels: Levels | None,
        estimate: Estimate | None,
    ) -> None:
        self.process, self.design, self.levels, self.estimate = process, design, levels, estimate
        self.skipped: list[str] = []

    def size(self) -> list[Finding]:
        """Check the longer side of the whole map."""
        return self._at_most(
            "size", max(self.design.size), self.process.max_size, "m", "make the mask smaller"
        )

    def etches(self) -> list[Finding]:
        """Check widths and lone cells in every etch."""
        process, clear = self.process, self.design.clear
        wanted = [n for n in ("min_feature", "min_gap", "isolated") if getattr(process, n)]
        if not wanted:
            return []
        if self.levels is None:
            self.skipped += [f"{name}: the mask is not etched in levels" for name in wanted]
            return []
        out = []
        for number, etch in enumerate(self.levels.etched(self.design), 1):
            where = f", etch {number}"
            if process.min_feature:
                out.append(self._width("min_feature" + where, etch, process.min_feature))
            if process.min_gap:
                out.append(self._width("min_gap" + where, ~etch, process.min_gap))
            if process.isolated:
                lone = isolated(etch, process.isolated) & clear
                out.append(
                    self._finding(
                        f"isolated cells{where}",
                        float(np.count_nonzero(lone)),
                        0.0,
                        "",
                        "smooth the design, or take fewer levels",
                        cells=lone,
                    )
                )
        return out

    def zones(self) -> list[Finding]:
        """Check the width of full zones."""
        limit = self.process.min_zone
        if limit is None:
            return []
        waves = self.levels.waves if self.levels else 1
        rate = zone_rate(self.design, waves * self.design.turn_height, limit)
        rate[~self.design.clear] = 0
        worst = float(rate.max())
        return [
            self._finding(
                "min_zone",
                1 / worst if worst else math.inf,
                limit,
                "m",
                "deflect less, or wrap at more waves",
                cells=rate > (1 + _SLACK) / limit,
            )
        ]

    def heights(self) -> list[Finding]:
        """Check the relief against depth and stroke."""
        design = self.design
        out = []
        for rule, limit, remedy in (
            ("max_height", self.process.max_height, "wrap the relief at fewer waves"),
            ("max_stroke", self.process.max_stroke, "scale the surface down"),
        ):
            if limit is not None:
                lowest = design.height[design.clear].min()
                high = (design.height > lowest + limit * (1 + _SLACK)) & design.clear
                out.append(self._finding(rule, design.relief, limit, "m", remedy, cells=high))
        return out

    def steps(self) -> list[Finding]:
        """Check what an etch has to resolve, and how many levels there are."""
        process, levels = self.process, self.levels
        out = []
        if process.height_step is not None:
            if levels is None:
                self.skipped.append("height_step: the mask is not etched in levels")
            else:
                step, limit = levels.step(self.design), process.height_step
                out.append(
                    self._finding(
                        "height_step",
                        step,
                        limit,
                        "m",
                        "take fewer levels",
                        ok=step >= limit * (1 - _SLACK),
                    )
                )
        if levels is None and process.max_levels is not None:
            self.skipped.append("max_levels: the mask is not etched in levels")
        elif levels is not None:
            out += self._at_most(
                "max_levels", float(levels.count), process.max_levels, "", "take fewer levels"
            )
        return out

    def smooth(self) -> list[Finding]:
        """Check slope and hollows of smooth surfaces, walls of flat cells."""
        process, design = self.process, self.design
        height, spacing, clear = design.height, design.spacing, design.clear
        out = []
        if process.max_aspect is not None:
            if design.pixelated:
                out.append(self._steepest("max_aspect", walls(height, spacing), process.max_aspect))
            else:
                self.skipped.append("max_aspect: the surface is smooth; max_slope judges it")
        wanted = [n for n in ("max_slope", "tool_radius") if getattr(process, n) is not None]
        if design.pixelated:
            self.skipped += [f"{name}: the surface is made of flat cells" for name in wanted]
            return out
        if process.max_slope is not None:
            out.append(self._steepest("max_slope", slopes(height, spacing), process.max_slope))
        if process.tool_radius is not None:
            curvature = hollow(height, spacing)
            curvature[~clear] = 0
            worst = float(curvature.max())
            out.append(
                self._finding(
                    "tool_radius",
                    1 / worst if worst > 0 else math.inf,
                    process.tool_radius,
                    "m",
                    "smooth the surface, or take a sharper tool",
                    cells=curvature > (1 + _SLACK) / process.tool_radius,
                )
            )
        return out

    def files(self) -> list[Finding]:
        """Check the size of the files."""
        process, estimate = self.process, self.estimate
        wanted = [n for n in ("max_file_size", "max_items") if getattr(process, n) is not None]
        if estimate is None:
            self.skipped += [f"{name}: no file is asked for" for name in wanted]
            return []
        remedy = estimate.remark or "take larger cells, or another format"
        return [
            *self._at_most(
                "max_file_size", float(estimate.size), process.max_file_size, "B", remedy
            ),
            *self._at_most("max_items", float(estimate.items), process.max_items, "", remedy),
        ]

    def _width(self, rule: str, region: NDArray[np.bool_], limit: float) -> Finding:
        clear, spacing = self.design.clear, self.design.spacing
        cells = max(1, math.ceil(limit / spacing - _SLACK))
        # What the rim cuts off has no optical function: there every part is taken to go on.
        whole = region | ~clear
        inside = region & clear
        narrow = too_narrow(whole, cells, beyond=True) & inside
        width = cells
        if narrow.any():
            width = smallest_width(whole, cells - 1, beyond=True, where=inside)
        remedy = "smooth the design, take larger cells, or fewer levels"
        return self._finding(rule, width * spacing, limit, "m", remedy, cells=narrow)

    def _steepest(self, rule: str, slope: NDArray[np.float32], limit: float) -> Finding:
        slope[~self.design.clear] = 0
        remedy = "lower the relief, or spread it over wider zones"
        steep = slope > limit * (1 + _SLACK)
        return self._finding(rule, float(slope.max()), limit, "", remedy, cells=steep)

    def _at_most(
        self, rule: str, value: float, limit: float | None, unit: str, remedy: str
    ) -> list[Finding]:
        if limit is None:
            return []
        ok = value <= limit * (1 + _SLACK)
        return [self._finding(rule, value, float(limit), unit, remedy, ok=ok)]

    def _finding(
        self,
        rule: str,
        value: float,
        limit: float,
        unit: str,
        remedy: str,
        *,
        cells: NDArray[np.bool_] | None = None,
        ok: bool | None = None,
    ) -> Finding:
        count = 0 if cells is None else int(np.count_nonzero(cells))
        return Finding(
            rule=rule,
            ok=count == 0 if ok is None else ok,
            value=value,
            limit=limit,
            unit=unit,
            remedy=remedy,
            count=count,
            places=() if cells is None else places_of(cells, self.design),
            cells=cells if count else None,
        )
