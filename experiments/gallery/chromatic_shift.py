"""Chromatic focal shift: a glass lens and a kinoform bend colours opposite ways.

A thin singlet of Abbe number V has f_C - f_F = f / V; a kinoform, its surface wrapped at d, has
f lambda_d / lambda in any material (T. Stone, N. George, Appl. Opt. 27, 2960 (1988)).

    python -m experiments.gallery.chromatic_shift    light on the axis of both, in three colours
"""

import math

import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.gallery import COLOURS, EXPECTED, Check, Result, publish, side_by_side
from optics import material
from optics.propagation import cis, radial_nodes, radial_spots

LINES = torch.tensor([486.13e-9, 587.56e-9, 656.27e-9], dtype=torch.float64)  # F, d, C [m]
RADIUS, FOCAL = 1e-3, 50e-3  # [m]
VERGENCE = torch.linspace(16, 23, 281, dtype=torch.float64)  # 1 / distance behind the lens [1/m]


def on_axis(height: Tensor, radii: Tensor, weights: Tensor, index: Tensor) -> Tensor:
    """Light on the axis (distance, colour) behind a symmetric relief, over an ideal lens."""
    turns = ((index - 1) / LINES)[:, None] * height
    light = radial_spots(
        cis(2 * math.pi * turns), radii=radii, weights=weights, wavelength=LINES, distance=FOCAL,
        points=(1, 1), pitch=1e-6, curvature=VERGENCE[:, None].expand(-1, 3),  # the relief is all
    )  # fmt: skip
    return light[..., 0, 0] / (weights.sum() / (LINES * FOCAL)) ** 2


def focus(light: Tensor) -> float:
    """Distance of the brightest point [m], by a parabola through three samples."""
    best = int(light.argmax())
    before, peak, after = light[best - 1 : best + 2].tolist()
    shift = (before - after) / (before - 2 * peak + after) / 2  # [samples]
    return float(1 / (VERGENCE[best] + shift * VERGENCE.diff()[0]))


def compute() -> Result:
    """Focus a convex N-BK7 surface, and the same surface wrapped at the line d."""
    index = material("n_bk7").index(LINES)
    radii, weights = radial_nodes(RADIUS, 500)
    surface = -(radii**2) / (2 * FOCAL * (index[1] - 1))
    glass = on_axis(surface, radii, weights, index)
    kinoform = on_axis(surface.remainder(LINES[1] / (index[1] - 1)), radii, weights, index)
    foci = torch.stack([FOCAL * (index[1] - 1) / (index - 1), FOCAL * LINES[1] / LINES])
    f_f, _, f_c = (focus(light) for light in glass.T)
    checks = (  # f / V is of first order in the dispersion, the second order is 0.6 %
        Check("N-BK7: f_C - f_F [mm]", 1e3 * (f_c - f_f), 1e3 * FOCAL / 64.17, 1e-2),
        Check("N-BK7: focus at F [m]", f_f, float(foci[0, 0]), 1e-6),
        # the orders 0 and 2, through 17 zones, pull at the peak of the first
        Check("kinoform: focus at C [m]", focus(kinoform[:, 2]), float(foci[1, 2]), 1e-3),
    )
    return Result(checks, {"light": torch.stack([glass, kinoform]), "foci": foci})


def draw(result: Result) -> Figure:
    """Return the light on the axis for both lenses; the closed form's foci are dashed."""
    figure, *charts = side_by_side(sharey=True)
    for lens, axes in enumerate(charts):
        for n, (line, colour) in enumerate(zip("FdC", COLOURS[::2], strict=False)):
            light = result["light"][lens, :, n]
            axes.plot(1e3 / VERGENCE.numpy(), light, color=colour, label=f"line {line}")
            axes.axvline(1e3 * result["foci"][lens, n], **EXPECTED)
        axes.set(xlabel="distance behind the lens [mm]", ylabel="light on the axis / ideal lens")
        axes.set_title(("N-BK7 singlet", "Kinoform")[lens])
    charts[0].legend(loc="upper right")
    return figure


if __name__ == "__main__":
    publish()
