"""The page of a measured mask: design, what was made, and what to order next."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from calibration.relief.precompensation import Correction
from experiments.measuring import Comparison
from experiments.preview import Seen
from experiments.report.drawing import Drawing, house_style, new_figure
from experiments.report.maps import draw_map
from experiments.report.seen_numbers import numbers_table, psf_row
from experiments.report.sheet import Section, Sheet, Table
from hardware.fabrication.design import Map, MaskDesign

_CLOSE = 48  # cells along the cut
_PSFS = "PSF of the design and of the mask as it was made."


def measured_sheet(
    comparison: Comparison,
    ordered: MaskDesign,
    correction: Correction,
    metrics: Mapping[str, float],
    seen: Mapping[str, Seen],
) -> Sheet:
    """Lay out the page.

    Parameters
    ----------
    comparison : Comparison
        What was made, beside what was meant.
    ordered : MaskDesign
        Heights it was made of.
    correction : Correction
        What to order next.
    metrics : mapping
        `experiments.measuring.numbers` of the two.
    seen : mapping
        The camera by "design" and "as_made"; empty where it was not looked through.
    """
    design, scan = comparison.design, comparison.scan
    rows, columns = scan.height.shape
    lead = [
        f"{scan.source}: {columns} x {rows} points of {scan.spacing_x * 1e6:.4g} x "
        f"{scan.spacing_y * 1e6:.4g} um, {scan.valid.mean():.1%} of them measured. The design has "
        f"{design.shape[1]} x {design.shape[0]} cells of {design.spacing * 1e6:g} um in "
        f"{design.material}, clear diameter {design.diameter * 1e3:.4g} mm, relief "
        f"{design.relief * 1e6:.3f} um.",
        "Maps are seen along the light, from the object towards the sensor; y grows downwards.",
    ]
    named = {name.replace("_", " "): one for name, one in seen.items()}
    left = metrics["unmeasured_cells"]
    sections = [
        Section(
            "Design and made surface",
            f"{left:.0f} of {metrics['cells']:.0f} cells within the clear diameter were not "
            f"measured: there the surface as made is the design."
            if left
            else f"All {metrics['cells']:.0f} cells within the clear diameter were measured.",
            [_maps(comparison), _cut(comparison)],
        ),
        Section(
            "Where the design lies in the scan",
            "Shift, turn, size and tilt are those of the sample under the instrument and were "
            "taken off; the depth was not.",
            tables=[_placement(comparison, metrics)],
        ),
        Section(
            "What to order next",
            "The residual, smoothed and times the gain, is taken off the heights that were "
            "ordered, within the range of the process.",
            [_change(ordered, correction.design)],
            [_order(metrics)],
        ),
    ]
    if seen:
        sections.append(
            Section(
                "The camera with the mask as it was made",
                f"The made surface has {comparison.parts} x {comparison.parts} samples per cell "
                f"here. Regressor and attackers are those of the design; none was trained again.",
                [psf_row(named, across=2, alt=_PSFS)],
                [numbers_table(named)],
            )
        )
    headline = (
        f"{design.name} as made: depth {metrics['depth_scale']:.2%} of the design, residual "
        f"{metrics['residual_rms_m'] * 1e9:.1f} nm rms"
    )
    return Sheet(headline=headline, lead=lead, sections=sections)


def _around_zero(values: Map) -> tuple[float, float]:
    """Limits of a scale that is even about 0 and leaves single spikes out."""
    size = float(np.nanquantile(np.abs(values), 0.995)) or 1.0
    return -size, size


def _maps(comparison: Comparison) -> Drawing:
    design = comparison.design
    meant = np.where(design.clear, design.height, np.nan) * 1e6
    made = np.where(design.clear, design.height + comparison.residual, np.nan) * 1e6
    residual = np.where(design.clear, comparison.residual, np.nan) * 1e9
    limits = (float(np.nanmin(meant)), float(np.nanmax(meant)))

    def draw(shape: tuple[int, int], size: tuple[float, float]) -> Figure:
        figure = new_figure(*size)
        axes = [figure.add_subplot(*shape, place) for place in (1, 2, 3)]
        for one, values, title in zip(axes, (meant, made), ("design", "as made"), strict=False):
            heights = draw_map(one, design, values, cmap="cividis", limits=limits)
            one.set_title(title)
        error = draw_map(
            axes[2], design, residual, cmap="RdBu_r", limits=_around_zero(residual),
        )  # fmt: skip
        axes[2].set_title("made less design")
        for one in axes if shape[1] == 1 else axes[:1]:
            one.set_ylabel("y [mm]")
        wide = shape[0] == 1
        where = "bottom" if wide else "right"
        share = 0.8
        figure.colorbar(heights, ax=axes[:2], label="height [um]", location=where, shrink=share)
        figure.colorbar(error, ax=axes[2], label="residual [nm]", location=where, shrink=share)
        return figure

    with house_style():
        wide, narrow = draw((1, 3), (10.6, 4.6)), draw((3, 1), (4.6, 10.8))
    return Drawing(
        "surfaces", wide, "Height maps of the design, of the made surface, and their difference.",
        "The clear diameter, mean height of every cell; white was not measured. Design and made "
        "surface share one scale, the residual has its own.",
        narrow=narrow, full=True, photographic=True,
    )  # fmt: skip


def _cut(comparison: Comparison) -> Drawing:
    design, fine, parts = comparison.design, comparison.fine, comparison.parts
    row, count = design.shape[0] // 2, design.shape[1]
    first = max(0, count // 2 - _CLOSE // 2)
    cells = slice(first, min(count, first + _CLOSE))
    points = slice(cells.start * parts, cells.stop * parts)
    x, fine_x = design.axes()[0][cells] * 1e6, fine.axes()[0][points] * 1e6
    along = row * parts + parts // 2
    made = np.where(comparison.fine_unmeasured[along], np.nan, fine.height[along])[points]
    edges = np.append(x, x[-1] + design.spacing * 1e6) - design.spacing * 1e6 / 2
    meant = design.height[row, cells]

    def draw(size: tuple[float, float]) -> Figure:
        figure = new_figure(*size)
        axes = figure.add_subplot()
        if design.pixelated:
            axes.stairs(meant * 1e6, edges, baseline=None, color="#5b5b5b", linewidth=1.4,
                        label="design")  # fmt: skip
        else:
            axes.plot(x, meant * 1e6, color="#5b5b5b", linewidth=1.4, label="design")
        axes.plot(fine_x, made * 1e6, color="#d55e00", linewidth=1.2, label="as made")
        axes.set_xlabel("x [um]")
        axes.set_ylabel("height [um]")
        figure.legend(loc="outside upper right", ncols=2)
        return figure

    with house_style():
        wide, narrow = draw((10.6, 3.6)), draw((4.6, 3.4))
    return Drawing(
        "cut", wide, "Heights of the design and of the made surface along a line.",
        f"Along x through the middle, y = {design.axes()[1][row] * 1e6:.3g} um, {len(x)} cells; "
        f"the made surface with {parts} sample{'s' * (parts > 1)} per cell.",
        narrow=narrow, full=True,
    )  # fmt: skip


def _placement(comparison: Comparison, metrics: Mapping[str, float]) -> Table:
    quantities = [
        ("shift in x", "shift_x_m", 1e6, "um"),
        ("shift in y", "shift_y_m", 1e6, "um"),
        ("turn from x towards y", "turn_rad", 1e3, "mrad"),
        ("size in x, less one", "scale_x", 1e6, "ppm"),
        ("size in y, less one", "scale_y", 1e6, "ppm"),
        ("tilt along x", "tilt_x_rad", 1e3, "mrad"),
        ("tilt along y", "tilt_y_rad", 1e3, "mrad"),
        ("height of the design's zero", "piston_m", 1e9, "nm"),
        ("depth scale", "depth_scale", 1.0, ""),
    ]
    rows = []
    for name, key, factor, unit in quantities:
        zero = 1.0 if unit == "ppm" else 0.0
        value, spread = (metrics[key] - zero) * factor, metrics[f"uncertainty/{key}"] * factor
        rows.append([name, *_rounded(value, spread), unit])
    rows += [
        ["blur of process and instrument", f"{metrics['blur_m'] * 1e6:.3g}", "", "um"],
        ["scatter of the points", f"{metrics['noise_m'] * 1e9:.3g}", "", "nm"],
        ["residual, rms", f"{metrics['residual_rms_m'] * 1e9:.4g}", "", "nm"],
        ["residual, 95 % stay below", f"{metrics['residual_95_m'] * 1e9:.4g}", "", "nm"],
        ["variance explained", f"{metrics['explained']:.2%}", "", ""],
    ]
    found = comparison.found
    note = (
        "Standard uncertainties for white noise alone; edges of cells and texture of the surface "
        "are none, and can make the errors many times larger. "
    )
    if found.mirrored or found.quarter_turns:
        mirror = "mirrored left to right and " if found.mirrored else ""
        note += f"The scan was {mirror}turned by {90 * found.quarter_turns} deg to fit."
    else:
        note += "The scan was neither mirrored nor turned over to fit."
    return Table(["", "value", "uncertainty", "unit"], rows, note)


def _rounded(value: float, spread: float) -> tuple[str, str]:
    """Value and uncertainty to the same digit, two of the uncertainty."""
    if not spread > 0:
        return f"{value:.4g}", ""
    digits = max(0, 1 - int(np.floor(np.log10(spread))))
    return f"{value:.{digits}f}", f"{spread:.{digits}f}"


def _change(ordered: MaskDesign, following: MaskDesign) -> Drawing:
    change = np.where(ordered.clear, following.height - ordered.height, np.nan) * 1e9
    with house_style():
        figure = new_figure(6.4, 4.6)
        axes = figure.add_subplot()
        shown = draw_map(axes, ordered, change, cmap="RdBu_r", limits=_around_zero(change))
        axes.set_ylabel("y [mm]")
        figure.colorbar(shown, ax=axes, label="change [nm]", shrink=0.9)
    return Drawing(
        "change", figure, "Change of the heights for the next print.",
        "Heights to order next less those that were ordered.", photographic=True,
    )  # fmt: skip


def _order(metrics: Mapping[str, float]) -> Table:
    rows = [
        ["change, rms", f"{metrics['next/change_rms_m'] * 1e9:.4g} nm"],
        ["cells at the limit of the process", f"{metrics['next/limited_cells']:.0f}"],
    ]
    return Table(["", "next.npz"], rows)
