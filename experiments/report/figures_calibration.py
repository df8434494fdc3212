"""Figures of a calibration: PSFs and what is left of them, MTF, energy, photon transfer, phase."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from calibration.bayer import planes
from calibration.psf.registration import filled
from calibration.psf.stack import PsfStack
from experiments.comparing import Row
from experiments.report.drawing import Drawing, bare, house_style, new_figure
from experiments.twinning import Laid
from optics.zernike import zernike_at

MEASURED = "#1f2933"
_CAMERAS = {"design": "#d55e00", "as exported": "#009e73", "twin": "#0072b2"}
_COLOURS = {"R": "#d1242f", "Gr": "#1a7f37", "Gb": "#56a64b", "B": "#0072b2", "mono": "#1f2933"}
_LEAST_MTF = 1e-4  # that is drawn
_DECADES = 5  # shown below the brightest pixel
_MOST = 6  # depths in a figure
_SIDE = 101  # of the phase map

Image = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Shown:
    """One depth as it is drawn: the first green plane, background taken off [e-/s].

    Attributes
    ----------
    distance : float
        Of the source [m].
    measured : ndarray
        (h, w), pixels that were not measured filled from their neighbours.
    cameras : mapping
        Name ("design", "as exported", "twin") to what that shows, NaN beyond its window.
    """

    distance: float
    measured: Image
    cameras: Mapping[str, Image]


_Depth = TypeVar("_Depth", Row, Shown)


def shown(stack: PsfStack, cameras: Mapping[str, Laid]) -> list[Shown]:
    """Return a few depths of a stack, the nearest and the farthest among them."""
    count = min(stack.depths, _MOST)
    chosen = np.unique(np.linspace(0, stack.depths - 1, count).round().astype(int))
    name = "Gr" if stack.cfa else "mono"
    # the camera that fits best knows best what other light there is
    ambient = list(cameras.values())[-1].ambient if cameras else 0.0
    out = []
    for depth in chosen:
        seen = planes(stack.valid[depth], stack.cfa)[name]
        image = filled(planes(stack.rate[depth], stack.cfa)[name], seen)
        own = {key: planes(laid.expected[depth], stack.cfa)[name] for key, laid in cameras.items()}
        level = ambient if cameras else float(np.median(image))
        out.append(Shown(float(stack.readings[depth]), image - level, own))
    return out


def psf_figure(depths: Sequence[Shown], step: int) -> Drawing:
    """Measured, expected and residual PSFs, one row per depth, on a logarithmic scale."""
    names = list(depths[0].cameras)
    columns = ["measured", *names] + ([f"|measured - {names[-1]}|"] if names else [])

    def draw(width: float) -> Figure:
        side = width / (len(columns) + 0.25)
        figure = new_figure(width, side * len(depths) + 0.6, pad=0.03)
        for row, one in enumerate(depths):
            pictures = [one.measured, *one.cameras.values()]
            if names:
                pictures.append(np.abs(one.measured - one.cameras[names[-1]]))
            top = float(one.measured.max())
            norm = LogNorm(top * 10.0**-_DECADES, top)
            row_axes = []
            for column, picture in enumerate(pictures):
                axes = figure.add_subplot(
                    len(depths), len(columns), row * len(columns) + column + 1
                )
                drawn = axes.imshow(
                    np.clip(np.nan_to_num(picture), norm.vmin, None), norm=norm, cmap="magma",
                    interpolation="nearest",
                )  # fmt: skip
                bare(axes)
                row_axes.append(axes)
                if row == 0:
                    axes.set_title(columns[column])
                if column == 0:
                    axes.set_ylabel(f"{one.distance:.3g} m")
            figure.colorbar(drawn, ax=row_axes, shrink=0.85, pad=0.01)
        return figure

    with house_style():
        wide = draw(10.6)
    height, width = depths[0].measured.shape
    return Drawing(
        "psfs", wide, "Measured PSFs beside those of design and twin, and what is left.",
        f"First green plane, {height * step} x {width * step} raw pixels, background taken off, "
        f"[e-/s]; one row per distance of the source, its scale reaches {_DECADES} decades down.",
        full=True, photographic=True,
    )  # fmt: skip


def mtf_figure(rows: Mapping[str, Sequence[Row]]) -> Drawing:
    """MTF by depth: measured with its uncertainty, and that of each camera."""
    base = _green(next(iter(rows.values())))[:_MOST]

    def panel(axes: Axes, row: Row) -> None:
        curve = row.likeness.transfer
        axes.fill_between(
            curve.frequency, curve.measured - 2 * curve.uncertainty,
            curve.measured + 2 * curve.uncertainty, color=MEASURED, alpha=0.2, linewidth=0,
        )  # fmt: skip
        axes.plot(curve.frequency, curve.measured, color=MEASURED, label="measured")
        for name, others in rows.items():
            for other in _green(others):
                if (other.field, other.depth) == (row.field, row.depth):
                    like = other.likeness.transfer
                    axes.plot(
                        like.frequency, like.expected, "--", color=_CAMERAS[name],
                        linewidth=1.3, label=name,
                    )  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(_LEAST_MTF, 1.3)
        axes.set_xlim(float(curve.frequency[1]), float(curve.frequency[-1]))

    wide, narrow = _by_depth(base, panel, "frequency [cycles per raw pixel]", "MTF", shared=True)
    return Drawing(
        "mtf", wide, "Modulation transfer functions, measured and expected.",
        "Of the first green plane, root mean square over all directions, power of the noise taken "
        "off; the band is two standard deviations. A plane samples up to 0.25 cycles per raw "
        "pixel: finer detail of the spot appears folded back, in all curves alike.",
        narrow=narrow, full=True,
    )  # fmt: skip


def energy_figure(depths: Sequence[Shown], step: int) -> Drawing:
    """Share of the energy within a radius, by depth."""

    def panel(axes: Axes, one: Shown) -> None:
        # about one place for all, that of the camera that fits best
        middle = np.nan_to_num(list(one.cameras.values())[-1])
        radius, energy = _energy(one.measured, middle)
        axes.plot(step * radius, energy, color=MEASURED, label="measured")
        for name, image in one.cameras.items():
            radius, energy = _energy(np.nan_to_num(image), middle)
            axes.plot(step * radius, energy, "--", color=_CAMERAS[name], linewidth=1.3, label=name)
        axes.set_ylim(0, 1.02)
        axes.set_xlim(left=0)

    wide, narrow = _by_depth(depths, panel, "radius [raw pixels]", "share of the energy")
    return Drawing(
        "energy", wide, "Encircled energy, measured and expected.",
        "First green plane, about the centroid of the expected image, of the energy within the "
        "largest circle that the region holds.",
        narrow=narrow, full=True,
    )  # fmt: skip


def transfer_figure(transfer: Mapping[str, Any], gains: Mapping[str, float]) -> Drawing:
    """Variance over signal, with the line that the gain is the slope of."""
    with house_style():
        figure = new_figure(6.4, 4.6)
        axes = figure.add_subplot()
        for name, points in transfer["planes"].items():
            signal, variance = np.array(points["signal"]), np.array(points["variance"])
            colour = _COLOURS[name]
            lit = signal > 0
            axes.errorbar(
                signal[lit], variance[lit], yerr=np.array(points["uncertainty"])[lit], fmt="o",
                markersize=3.5, color=colour, label=name, linewidth=1,
            )  # fmt: skip
            dark = float(variance[~lit][0]) if (~lit).any() else 0.0
            line = np.geomspace(1.0, float(signal.max()), 200)
            axes.plot(line, dark + gains[name] * line, color=colour, linewidth=0.8)
            axes.axhline(dark, color=colour, linewidth=0.6, linestyle=":")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("signal above the dark [DN]")
        axes.set_ylabel("variance from frame to frame [DN²]")
        figure.legend(loc="outside upper right", ncols=4)
    kind = "Two points" if transfer["kind"] == "two points" else "A photon transfer"
    return Drawing(
        "transfer", figure, "Variance of the samples over their mean.",
        f"{kind}: the slope is the gain [DN/e-]; dotted: the variance of the darks.",
    )  # fmt: skip


def phase_figure(laid: Laid, wavelength: float) -> Drawing:
    """Wavefront that the twin adds to the design, over the aperture."""
    modes = {int(n[5:]): v for n, v in laid.values.items() if n.startswith("noll_")}
    coefficients = torch.zeros(max(modes), dtype=torch.float64)
    for mode, value in modes.items():
        coefficients[mode - 1] = value
    axis = torch.linspace(-1, 1, _SIDE, dtype=torch.float64)
    wave = zernike_at(coefficients, axis[:, None], axis[None, :]).numpy() / wavelength
    wave = np.where(np.hypot(*np.meshgrid(axis, axis)) <= 1, wave, np.nan)
    size = max(float(np.nanmax(np.abs(wave))), 1e-6)
    half = laid.design.aperture_diameter / 2 * 1e3
    with house_style():
        figure = new_figure(5.6, 4.6)
        axes = figure.add_subplot()
        drawn = axes.imshow(
            wave, cmap="RdBu_r", vmin=-size, vmax=size, extent=(-half, half, half, -half)
        )
        axes.grid(visible=False)
        axes.set_xlabel("x [mm]")
        axes.set_ylabel("y [mm]")
        figure.colorbar(drawn, ax=axes, label="wavefront [waves]", shrink=0.9)
    rms = math.sqrt(sum(value**2 for value in modes.values())) / wavelength
    return Drawing(
        "phase", figure, "Wavefront error of the lens by the twin.",
        f"Zernike modes of the lens that the twin found, at {wavelength * 1e9:.0f} nm: "
        f"{rms:.3f} waves rms.", photographic=True,
    )  # fmt: skip


def _by_depth(
    depths: Sequence[_Depth],
    panel: Callable[[Axes, _Depth], None],
    horizontal: str,
    vertical: str,
    *,
    shared: bool = False,
) -> tuple[Figure, Figure]:
    """Draw one panel per depth below one legend: three abreast, and all below each other."""

    def draw(across: int, width: float) -> Figure:
        down = -(-len(depths) // across)
        figure = new_figure(width, 2.7 * down + 0.5)
        first: Axes | None = None
        for place, depth in enumerate(depths):
            axes = figure.add_subplot(down, across, place + 1, sharex=first, sharey=first)
            first = first or (axes if shared else None)
            panel(axes, depth)
            axes.set_title(f"{depth.distance:.3g} m")
            if place % across == 0:
                axes.set_ylabel(vertical)
            if place >= len(depths) - across:
                axes.set_xlabel(horizontal)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=4)
        return figure

    with house_style():
        return draw(3, 10.6), draw(1, 4.6)


def _green(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.plane in ("Gr", "mono")]


def _energy(image: Image, middle: Image) -> tuple[Image, Image]:
    """Radii and the share of the energy within them, about the centroid of `middle`."""
    light = np.clip(middle, 0.0, None)
    centre = [
        float(light.sum(1 - k) @ np.arange(n)) / light.sum() for k, n in enumerate(light.shape)
    ]
    y, x = (np.arange(n) - c for n, c in zip(image.shape, centre, strict=True))
    squared = y[:, None] ** 2 + x**2
    reach = min(min(c, n - 1 - c) for n, c in zip(image.shape, centre, strict=True))
    inside = squared <= reach**2
    order = np.argsort(squared[inside], kind="stable")
    energy = np.cumsum(image[inside][order])
    radius = np.sqrt(squared[inside][order])
    thin = np.unique(np.linspace(0, len(radius) - 1, 400).astype(int))
    return radius[thin], (energy / energy[-1])[thin]
