"""The page that goes to the maker with the files of a mask."""

from collections.abc import Mapping
from dataclasses import fields

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from experiments.exporting import MOUNTING, Exported
from experiments.preview import Seen
from experiments.report.drawing import Drawing, bare, house_style, new_figure
from experiments.report.maps import draw_map, extent, thinning
from experiments.report.seen_numbers import numbers_table, psf_row
from experiments.report.sheet import Section, Sheet, Table
from experiments.store import file_sha256
from hardware.fabrication.design import HeightMap, MaskDesign
from hardware.fabrication.findings import Report
from hardware.fabrication.levels import Levels
from hardware.fabrication.rules import Process
from hardware.fabrication.target import Target

_BROKEN = "#e6007a"
_PSFS = "PSF of the design, of the exported mask, and with errors of the making."
_CLOSE = 96  # cells across a close view


def export_sheet(
    design: MaskDesign,
    target: Target,
    process: Process,
    report: Report,
    exported: Exported | None,
    seen: Mapping[str, Seen],
) -> Sheet:
    """Lay out the page; `exported` is None where nothing was written."""
    failed = len(report.failed)
    if exported is None:
        headline = f"Not written: {failed} design rules are broken"
    else:
        trip = exported.trip
        back = "read back exactly" if trip.exact else f"{trip.area_error} cells came back wrong"
        marked = f", marked as failed: {failed} design rules are broken" if failed else ""
        headline = f"{design.name} as {target.name}: {back}{marked}"
    lead = [
        f"{design.material} for {design.wavelength * 1e9:g} nm, index {design.index:.5f} "
        f"({design.index_source}) at {design.temperature:g} K. "
        f"{design.shape[1]} x {design.shape[0]} cells of {design.spacing * 1e6:g} um, clear "
        f"diameter {design.diameter * 1e3:g} mm, relief {design.relief * 1e6:.3f} um.",
        f"Maps are in the orientation of the upright picture, y downwards. Mounting: {MOUNTING}.",
    ]
    sections = [
        Section("Relief", "", [_relief(design, report)]),
        Section("Design rules", _limits(process), tables=[_rules(report), *_places(report)]),
    ]
    if exported is not None:
        levels = target.relief_levels()
        if levels is not None:
            figures = [_etches(levels, design)]
            sections.append(Section("Etches", "", figures, [_depths(levels, design)]))
        sections.append(
            Section("Files", "", [_difference(target, design, exported)], [_files(exported)])
        )
    if seen:
        sections.append(
            Section(
                "The mask as it will be made",
                "The mask of the files in the camera of the design, as it is and with one error "
                "of the making at a time. Regressor and attackers are those of the design; none "
                "was trained again.",
                [psf_row(seen, across=4, alt=_PSFS)],
                [numbers_table(seen)],
            )
        )
    return Sheet(headline=headline, lead=lead, sections=sections)


def _limits(process: Process) -> str:
    known = {item.name: getattr(process, item.name) for item in fields(process)}
    return f"{sum(v is not None for v in known.values())} limits of the process are set."


def _relief(design: MaskDesign, report: Report) -> Drawing:
    broken = report.cells

    def draw(columns: int, width: float) -> Figure:
        figure = new_figure(width, 4.6 if columns == 2 else 8.4)
        shape = (1, 2) if columns == 2 else (2, 1)
        whole, close = (figure.add_subplot(*shape, place) for place in (1, 2))
        _map(whole, design, design.height, broken)
        whole.set_title("whole mask")
        rows, cols = _corner(design, broken)
        shown = _map(close, design, design.height, broken, rows=rows, columns=cols)
        close.set_title("close view" if broken is None else "first broken place")
        figure.colorbar(shown, ax=figure.axes, label="height [um]", shrink=0.8)
        return figure

    with house_style():
        wide, narrow = draw(2, 10.6), draw(1, 4.6)
    text = "Heights of the mask."
    if broken is not None:
        text += f" {int(broken.sum())} cells that break a rule are in pink."
    return Drawing("relief", wide, "Height map of the mask, whole and close.", text,
                   narrow=narrow, full=True, photographic=True)  # fmt: skip


def _corner(design: MaskDesign, broken: NDArray[np.bool_] | None) -> tuple[slice, slice]:
    """Return a close view: about the first broken place, or in the middle of the right half."""
    rows, columns = design.shape
    centre = (rows // 2, 3 * columns // 4)
    if broken is not None:
        centre = tuple(int(i) for i in np.argwhere(broken)[0])  # type: ignore[assignment]
    out = []
    for middle, count in zip(centre, (rows, columns), strict=True):
        first = max(0, min(middle - _CLOSE // 2, count - _CLOSE))
        out.append(slice(first, min(first + _CLOSE, count)))
    return out[0], out[1]


def _map(
    axes: Axes,
    like: HeightMap,
    values: NDArray[np.float64],
    broken: NDArray[np.bool_] | None = None,
    *,
    rows: slice = slice(None),
    columns: slice = slice(None),
) -> AxesImage:
    """Draw heights [um] over millimetres, broken cells in pink."""
    heights = values * 1e6
    limits = (heights.min(), heights.max())
    shown = draw_map(
        axes, like, heights, cmap="cividis", limits=limits, rows=rows,
        columns=columns,
    )  # fmt: skip
    if broken is not None:
        marked = broken[rows, columns]
        step = thinning(marked.shape)
        if step > 1:  # a lone cell has to stay visible when the map is thinned out
            pad = [(0, -n % step) for n in marked.shape]
            tiles = np.pad(marked, pad)
            tiles = tiles.reshape(tiles.shape[0] // step, step, tiles.shape[1] // step, step)
            marked = np.asarray(tiles.any(axis=(1, 3)))
        axes.imshow(
            np.ma.masked_where(~marked, marked), extent=extent(like, rows, columns),
            interpolation="nearest", cmap=ListedColormap([_BROKEN]),
        )  # fmt: skip
    axes.set_ylabel("y [mm]")
    return shown


def _etches(levels: Levels, design: MaskDesign) -> Drawing:
    etched = levels.etched(design)
    rows, columns = _corner(design, None)

    def draw(across: int, width: float) -> Figure:
        down = -(-len(etched) // across)
        figure = new_figure(width, (width / across + 0.35) * down)
        for place, (etch, depth) in enumerate(zip(etched, levels.depths(design), strict=True), 1):
            axes = figure.add_subplot(down, across, place)
            axes.imshow(etch[rows, columns], cmap="gray_r", interpolation="nearest")
            axes.set_title(f"etch {place}: {depth * 1e9:.1f} nm")
            bare(axes)
        return figure

    with house_style():
        wide, narrow = draw(min(4, len(etched)), 10.6), draw(2, 4.6)
    side = (columns.stop - columns.start) * design.spacing * 1e6
    return Drawing(
        "etches", wide, "Close view of the mask of every etch, black where it takes away.",
        f"{side:.0f} um of the mask of every etch; black is taken away.", narrow=narrow, full=True,
    )  # fmt: skip


def _difference(target: Target, design: MaskDesign, exported: Exported) -> Drawing:
    found = exported.found
    with house_style():
        figure = new_figure(6.4, 4.6)
        axes = figure.add_subplot()
        shown = _map(axes, found, found.height)
        figure.colorbar(shown, ax=axes, label="height read back [um]", shrink=0.9)
    trip = exported.trip
    return Drawing(
        "read_back", figure, "Height map that was read back from the files.",
        f"Read back from the files: {trip.area_error} cells are off by more than half a step of "
        f"{trip.step * 1e9:.3g} nm, at most {trip.max_height_error * 1e9:.3g} nm.",
        photographic=True,
    )  # fmt: skip


def _rules(report: Report) -> Table:
    rows = [
        [
            finding.rule,
            "kept" if finding.ok else "broken",
            _quantity(finding.value, finding.unit),
            _quantity(finding.limit, finding.unit),
            str(finding.count) if finding.count else "",
            "" if finding.ok else finding.remedy,
        ]
        for finding in report.findings
    ]
    note = f"Not checked: {'; '.join(report.skipped)}." if report.skipped else ""
    return Table(["rule", "", "worst", "limit", "cells", "what to do"], rows, note)


def _places(report: Report) -> list[Table]:
    rows = [
        [finding.rule, f"{p.row}, {p.column}", f"{p.x * 1e3:.4f}", f"{p.y * 1e3:.4f}"]
        for finding in report.failed
        for p in finding.places[:8]
    ]
    if not rows:
        return []
    return [Table(["broken rule", "row, column", "x [mm]", "y [mm]"], rows, "The first of each.")]


def _depths(levels: Levels, design: MaskDesign) -> Table:
    total, rows = 0.0, []
    for number, depth in enumerate(levels.depths(design), 1):
        total += depth
        rows.append([f"etch {number}", f"{depth * 1e9:.1f}", f"{total * 1e9:.1f}", ""])
    note = (
        f"{levels.count} levels over {levels.waves} wavelength{'s' * (levels.waves > 1)} of delay; "
        f"a blaze of that many sends {levels.efficiency():.1%} into its order (scalar theory)."
    )
    return Table(["", "depth [nm]", "all up to it [nm]", "time (for the maker)"], rows, note)


def _files(exported: Exported) -> Table:
    rows = [
        [file.name, f"{file.stat().st_size / 1e6:.3f}", file_sha256(file)[:16]]
        for file in sorted(exported.folder.iterdir())
    ]
    return Table(["file", "MB", "SHA-256, first 16"], rows)


def _quantity(value: float, unit: str) -> str:
    if not np.isfinite(value):  # no zone at all, no hollow at all
        return "none"
    if unit != "m":
        return f"{value:.4g} {unit}".strip()
    for factor, name in ((1e3, "mm"), (1e6, "um"), (1e9, "nm")):
        if abs(value) * factor >= 1 or name == "nm":
            return f"{value * factor:.4g} {name}"
    return f"{value:g} m"
