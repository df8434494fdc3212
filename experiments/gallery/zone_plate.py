"""Zone plate: rings that step the phase by half a wave focus like a lens, in several places.

Rings at radii sqrt(k lambda_0 f_0) send 4 / (pi m)^2 of an ideal lens's peak to each odd order m,
at f_0 / m; at another wavelength the focus lies at f_0 lambda_0 / lambda (Hecht, *Optics*, 5th ed.
(2017), sec. 10.3.5).

    python -m experiments.gallery.zone_plate    the plate, and the light on its axis in two colours
"""

import math

import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.gallery import COLOURS, EXPECTED, Check, Result, publish, side_by_side
from optics.grids import squared_radius
from optics.propagation import cis, radial_spots

DESIGN, FOCAL, ZONES, NODES = 550e-9, 50e-3, 45, 100  # [m], [m], rings, samples of each
RADIUS = math.sqrt(ZONES * DESIGN * FOCAL)  # [m]


def on_axis(wavelength: float, distances: Tensor) -> Tensor:
    """Light on the axis at `distances` [m], over the peak of an ideal lens of the same size."""
    count = ZONES * NODES  # rings are equal parts of the area, so the samples are too
    square = (torch.arange(count, dtype=torch.float64) + 0.5) * RADIUS**2 / count
    phase = torch.arange(count) // NODES % 2 * math.pi
    light = radial_spots(
        cis(phase.to(torch.float64))[None], radii=square.sqrt(),
        weights=torch.full_like(square, math.pi * RADIUS**2 / count), distance=FOCAL,
        wavelength=torch.tensor([wavelength], dtype=torch.float64), points=(1, 1), pitch=1e-6,
        curvature=1 / distances[:, None],  # there is no lens that would take it away
    )[:, 0, 0, 0]  # fmt: skip
    return light * (wavelength * FOCAL / (math.pi * RADIUS**2)) ** 2


def compute() -> Result:
    """Scan the axis at the design wavelength and in blue."""
    distances = 1 / torch.linspace(15, 70, 661, dtype=torch.float64)
    scans = torch.stack([on_axis(wave, distances) for wave in (DESIGN, 450e-9)])
    orders = on_axis(DESIGN, torch.tensor([FOCAL, FOCAL / 3], dtype=torch.float64)).tolist()
    near = 1 / torch.linspace(15.8, 16.8, 401, dtype=torch.float64)
    blue = float(near[on_axis(450e-9, near).argmax()])
    checks = (
        # a sum of n samples per half-period is off by (pi m / n)^2 / 12 of the order m
        Check("first order / ideal lens", orders[0], 4 / math.pi**2, 1e-4),
        Check("third order / ideal lens", orders[1], 4 / (3 * math.pi) ** 2, 1e-3),
        # the other orders, of 45 rings only, pull at the peak of the first
        Check("focus at 450 nm [mm]", 1e3 * blue, 1e3 * FOCAL * DESIGN / 450e-9, 1e-3),
    )
    plate = (squared_radius((400, 400), RADIUS / 400) * ZONES / RADIUS**2).floor() % 2
    return Result(checks, {"plate": plate, "distances": distances, "scans": scans})


def draw(result: Result) -> Figure:
    """Return the middle of the plate and the light on its axis."""
    figure, left, right = side_by_side(width_ratios=(1, 1.6))
    half = 1e3 * RADIUS / 2
    left.imshow(result["plate"], cmap="gray", extent=(-half, half, half, -half))
    left.grid(visible=False)
    left.set(title="Middle of the plate", xlabel="x [mm]", ylabel="y [mm]")
    for scan, colour, name in zip(result["scans"], COLOURS[1::-1], ("550", "450"), strict=True):
        right.plot(1e3 * result["distances"], scan, color=colour, label=f"{name} nm")
    right.hlines([4 / math.pi**2, 4 / (3 * math.pi) ** 2], 14, 67, **EXPECTED, label="4 / (π m)²")
    right.axvline(1e3 * FOCAL * DESIGN / 450e-9, **EXPECTED)
    right.set(title="On the axis", xlabel="distance [mm]", ylabel="light / ideal lens")
    right.legend(loc="upper left", bbox_to_anchor=(0.08, 0.85))
    return figure


if __name__ == "__main__":
    publish()
