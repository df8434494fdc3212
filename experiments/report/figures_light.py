"""What light sees: the mask's height, the PSFs, the MTF against the noise."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from experiments.report.drawing import (
    INK,
    QUIET,
    Drawing,
    Missing,
    bare,
    camera_colour,
    face_outline,
    house_style,
    legend_below,
    new_figure,
    nice_length,
    scale_bar,
)
from experiments.report.record import LEARNED, RunRecord
from experiments.report.wording import camera_label, enumerate_words

_DECADES = 4  # of the PSF's log scale
_INSET = 72  # cells across the zoomed centre
_HEIGHT_MAP, _PROFILE = "viridis", "#2a788e"
_CHANNELS = ("red", "green", "blue")
_SAMPLES = 900  # a displayed map needs no more samples across


def _mask(record: RunRecord) -> tuple[np.ndarray, float] | None:
    """Return the height [um] and the cell [m]."""
    height, cell = record.array("mask_height", 2), record.scalar("mask_cell")
    return None if height is None or cell is None else (1e6 * height.astype(np.float64), cell)


def mask_map(record: RunRecord) -> Drawing | Missing:
    """Draw the whole height map with a scale bar."""
    mask = _mask(record)
    if mask is None:
        return Missing("mask", "This run stored no mask height.")
    height, cell = mask
    rows, columns = height.shape
    half_x, half_y = 500 * columns * cell, 500 * rows * cell  # [mm]
    aperture = record.scalar("aperture_diameter")
    shown = height
    if aperture is not None:
        y, x = np.ogrid[:rows, :columns]
        radius = np.hypot(y - (rows - 1) / 2, x - (columns - 1) / 2) * cell
        shown = np.where(radius <= aperture / 2, height, np.nan)
    step = max(1, -(-max(rows, columns) // _SAMPLES))
    with house_style():
        figure = new_figure(4.9, 4.2)
        axes = figure.subplots()
        image = axes.imshow(
            shown[::step, ::step],
            extent=(-half_x, half_x, half_y, -half_y),
            cmap=_HEIGHT_MAP,
            interpolation="nearest" if step > 1 else "auto",
        )
        bare(axes)
        inset = min(_INSET, rows, columns) * cell * 1e3
        axes.add_patch(
            Rectangle((-inset / 2, -inset / 2), inset, inset, fill=False, edgecolor="white", lw=1.2)
        )
        bar = nice_length(0.35 * 2 * half_x)
        scale_bar(axes, bar, f"{bar:g} mm", on_white=aperture is not None)
        figure.colorbar(image, ax=axes, shrink=0.85, label="height [µm]")
    thinned = f" One cell in {step} is drawn each way." if step > 1 else ""
    return Drawing(
        "mask",
        figure,
        alt="Height map of the phase mask inside its round aperture.",
        caption=f"Height of the mask, {columns} x {rows} cells of {cell * 1e6:.3g} µm"
        f"{', inside its clear aperture' if aperture else ''}; the square marks "
        f"the part enlarged beside it.{thinned}",
        photographic=True,
    )


def mask_centre(record: RunRecord) -> Drawing | Missing:
    """Draw the central cells, large enough to see each."""
    mask = _mask(record)
    if mask is None:
        return Missing("mask_centre", "")
    height, cell = mask
    rows, columns = height.shape
    side = min(_INSET, rows, columns)
    top, left = (rows - side) // 2, (columns - side) // 2
    part = height[top : top + side, left : left + side]
    half = side * cell * 1e6 / 2
    with house_style():
        figure = new_figure(4.9, 4.2)
        axes = figure.subplots()
        image = axes.imshow(
            part, extent=(-half, half, half, -half), cmap=_HEIGHT_MAP, interpolation="nearest"
        )
        bare(axes)
        axes.axhline(0.0, color="white", lw=1.0, ls=(0, (4, 3)))
        bar = nice_length(0.35 * 2 * half)
        scale_bar(axes, bar, f"{bar:g} µm")
        figure.colorbar(image, ax=axes, shrink=0.85, label="height [µm]")
    return Drawing(
        "mask_centre",
        figure,
        alt=f"The central {side} by {side} cells of the mask.",
        caption=f"The central {side} x {side} cells, each one drawn; the dashed line is where "
        "the profile is taken.",
    )


def mask_profile(record: RunRecord) -> Drawing | Missing:
    """Draw the height along the row through the centre: all of it, and the middle cell by cell."""
    mask = _mask(record)
    if mask is None:
        return Missing("mask_profile", "")
    height, cell = mask
    columns = height.shape[1]
    line = height[height.shape[0] // 2]
    x = (np.arange(columns) - (columns - 1) / 2) * cell * 1e3
    side = min(_INSET, columns)

    def sheet(figure: Figure, rows: int) -> Figure:
        whole, middle = figure.subplots(rows, 2 // rows, squeeze=False).ravel()
        whole.plot(x, line, color=_PROFILE, lw=0.6)
        half = side * cell * 1e3 / 2
        whole.axvspan(-half, half, color=QUIET, alpha=0.25, lw=0)
        whole.set_xlabel("position [mm]")
        whole.set_title("height [µm], whole diameter", loc="left")
        middle.step(1e3 * x, line, where="mid", color=_PROFILE, lw=1.5)
        middle.set_xlim(-1e3 * half, 1e3 * half)
        middle.set_xlabel("position [µm]")
        middle.set_title(f"height [µm], central {side} cells", loc="left")
        return figure

    with house_style():
        wide, narrow = sheet(new_figure(10.4, 2.6), 1), sheet(new_figure(4.2, 4.2), 2)
    relief = float(np.nanmax(height) - np.nanmin(height))
    return Drawing(
        "mask_profile",
        wide,
        alt="Profile of the mask's height through its centre, whole and enlarged.",
        caption=f"A cut through the centre; the relief of the whole mask is {relief:.2f} µm from "
        "valley to peak. Where it jumps by all of that, it wraps round.",
        narrow=narrow,
        full=True,
    )


def _show_psf(axes: Axes, psf: np.ndarray) -> AxesImage:
    """Draw one PSF relative to its peak on a log scale."""
    peak = float(np.nanmax(psf))
    shown = np.clip(np.nan_to_num(psf) / peak if peak > 0 else psf, 10.0**-_DECADES, 1.0)
    bare(axes)
    return axes.imshow(
        shown, cmap="inferno", norm=LogNorm(10.0**-_DECADES, 1.0), interpolation="nearest"
    )


def _face_scale(axes: Axes, face_px: float | None, shape: tuple[int, ...]) -> None:
    """Draw the scale bar in face widths and, where it fits, a face's outline."""
    if face_px is None:
        return
    fraction = nice_length(0.6 * shape[-1] / face_px)
    noun = "face width" if fraction <= 1 else "face widths"
    scale_bar(axes, fraction * face_px, f"{fraction:g} {noun}")
    face_outline(axes, face_px, ((shape[-1] - 1) / 2, (shape[-2] - 1) / 2))


def _pitch(record: RunRecord) -> str:
    pitch = record.scalar("psf_pixel")
    return f" A sample is one binned pixel of {1e6 * pitch:.3g} µm." if pitch else ""


def psf_grid(record: RunRecord) -> Drawing | Missing:
    """Draw the learned PSF per colour channel and distance."""
    psf = record.array("psf", 4)
    distances = record.array("psf_distances", 1)
    if psf is None or psf.shape[1] != 3 or distances is None or len(distances) != len(psf):
        return Missing("psf", "This run stored no PSFs of the learned mask.")
    face = record.scalar("psf_face_width_px")

    scale = (
        "The bar gives the scale in face widths, a dashed outline is a face at that distance: a "
        "blur hides a face only if it is a good part of it."
        if face
        else "The size of a face was not stored, so there is no scale."
    )

    def sheet(*, distances_in_columns: bool) -> Figure:
        shape = (3, len(psf)) if distances_in_columns else (len(psf), 3)
        tile = 2.05 if distances_in_columns else 1.5
        aspect = psf.shape[-2] / psf.shape[-1]
        extra = (1.3, 0.3) if distances_in_columns else (0.3, 1.0)  # labels and colour bar [in]
        size = (tile * shape[1] + extra[0], tile * aspect * shape[0] + extra[1])
        figure = new_figure(*size, pad=0.04)
        sheet = figure.subplots(*shape, squeeze=False)
        image = None
        for i, row in enumerate(sheet):
            for j, axes in enumerate(row):
                channel, depth = (i, j) if distances_in_columns else (j, i)
                image = _show_psf(axes, psf[depth, channel])
                at = float(distances[depth])
                if channel == 0:
                    scaled = face * record.reference_distance / at if face else None
                    _face_scale(axes, scaled, psf.shape)
                titles = (f"{at:g} m", _CHANNELS[channel])
                top, side = titles if distances_in_columns else titles[::-1]
                if i == 0:
                    axes.set_title(top)
                if j == 0:
                    axes.set_ylabel(side, fontweight="bold")
        figure.colorbar(
            image,  # type: ignore[arg-type]
            ax=sheet,
            shrink=0.6,
            aspect=30,
            label="relative to the peak",
            location="right" if distances_in_columns else "bottom",
        )
        return figure

    with house_style():
        wide, narrow = sheet(distances_in_columns=True), sheet(distances_in_columns=False)
    return Drawing(
        "psf",
        wide,
        alt="Point spread functions of the learned mask for three colours and every distance.",
        caption="What the learned mask makes of one point of light, on a logarithmic scale. "
        f"{scale}{_pitch(record)}",
        narrow=narrow,
        photographic=True,
        full=True,
    )


def psf_cameras(record: RunRecord) -> Drawing | Missing:
    """Draw the green PSF of every camera at the reference distance."""
    psf = record.array("baseline_psf", 4)
    names = [str(n) for n in record.evidence.get("camera_names", np.array([]))]
    if psf is None or psf.shape[1] != 3 or len(names) != len(psf):
        return Missing("psf_cameras", "This run stored no PSFs of baseline cameras.")
    face = record.scalar("psf_face_width_px")

    def sheet(columns: int) -> Figure:
        rows = -(-len(names) // columns)
        tile = 2.0
        height = (tile * psf.shape[-2] / psf.shape[-1] + 0.25) * rows + 0.1
        figure = new_figure(tile * columns, height, pad=0.04)
        sheet = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in sheet[len(names) :]:
            axes.set_visible(False)
        for i, (axes, name) in enumerate(zip(sheet, names, strict=False)):
            _show_psf(axes, psf[i, 1])
            axes.set_title(camera_label(name), color=camera_colour(name, names), fontsize=10)
            if i == 0:
                _face_scale(axes, face, psf.shape)
        return figure

    with house_style():
        wide, narrow = sheet(len(names)), sheet(2)
    return Drawing(
        "psf_cameras",
        wide,
        alt=f"Green point spread functions of {enumerate_words([camera_label(n) for n in names])}.",
        caption=f"Every camera's green PSF at {record.reference_distance:g} m, on the same "
        "logarithmic scale. Speckle looks wide but keeps high frequencies that can be inverted; "
        "a smooth spot of the same width loses them.",
        narrow=narrow,
        photographic=True,
        full=True,
    )


def _cutoff(cycles: np.ndarray, mtf: np.ndarray, floor: np.ndarray) -> float | None:
    """Return the frequency beyond which the MTF stays under the floor, None if it never does."""
    above = np.flatnonzero(~(mtf < floor))
    if len(above) == 0:
        return float(cycles[0])
    return None if above[-1] == len(cycles) - 1 else float(cycles[above[-1] + 1])


def mtf_chart(record: RunRecord) -> Drawing | Missing:
    """Draw the MTF of every camera and the noise floors under which frequencies are lost."""
    cycles, mtf = record.array("mtf_cycles", 1), record.array("mtf", 2)
    names = [str(n) for n in record.evidence.get("camera_names", np.array([]))] or [LEARNED]
    if cycles is None or mtf is None or len(mtf) != len(names) or mtf.shape[1] != len(cycles):
        return Missing("mtf", "This run stored no MTF.")
    floors = {
        frames: floor
        for frames in (1, 100)
        if (floor := record.array(f"noise_floor_{frames}", 1)) is not None
        and len(floor) == len(cycles)
    }
    lowest = 1e-5
    with house_style():
        figure = new_figure(5.2, 4.5)
        axes = figure.subplots()
        for frames, floor in floors.items():
            axes.plot(
                cycles,
                np.clip(floor, lowest, None),
                color=INK,
                lw=1.2,
                ls=(0, (5, 3)) if frames == 1 else (0, (1, 2)),
                label=f"noise floor, {frames} frame{'s' if frames > 1 else ''}",
            )
        if floors:
            deepest = floors[max(floors)]
            axes.fill_between(
                cycles, lowest, np.clip(deepest, lowest, None), color=QUIET, alpha=0.15, lw=0
            )
        for i in reversed(range(len(names))):
            learned = names[i] == LEARNED
            axes.plot(
                cycles,
                np.clip(mtf[i], lowest, None),
                color=camera_colour(names[i], names),
                lw=2.6 if learned else 1.5,
                zorder=5 if learned else 3,
                label=camera_label(names[i]),
            )
        axes.set_yscale("log")
        axes.set_ylim(lowest, 1.5)
        axes.set_xlim(float(cycles[0]), float(cycles[-1]))
        axes.set_xlabel("spatial frequency [cycles per face width]")
        axes.set_title("MTF, green", loc="left")
        legend_below(figure, axes, [camera_label(n) for n in names])
    return Drawing(
        "mtf",
        figure,
        alt="Modulation transfer functions of all cameras over cycles per face width.",
        caption="How much contrast of each detail size survives. Where a curve lies under the "
        "noise floor, in the shaded band, an attacker cannot get that detail back at this "
        "exposure. " + _cutoff_sentence(cycles, mtf, names, floors),
    )


def _cutoff_sentence(
    cycles: np.ndarray, mtf: np.ndarray, names: list[str], floors: dict[int, np.ndarray]
) -> str:
    if LEARNED not in names or not floors:
        return "No noise floor was stored."
    curve = mtf[names.index(LEARNED)]
    parts = []
    for frames, floor in floors.items():
        lost = _cutoff(cycles, curve, floor)
        noun = f"{frames} frame{'s' if frames > 1 else ''}"
        parts.append(
            f"beyond {lost:.3g} cycles with {noun}"
            if lost is not None
            else f"not for good within {cycles[-1]:.3g} cycles with {noun}"
        )
    return f"The learned mask's curve goes under it {enumerate_words(parts)}."
