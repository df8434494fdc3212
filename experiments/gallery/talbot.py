"""Talbot carpet: a grating lit by a plane wave images itself without a lens.

The orders 0 and +-1 of a grating of period a are in step again after the Talbot length
lambda / (1 - sqrt(1 - (lambda / a)^2)), whatever the angle; higher orders of a fine grating are not
quite (Lord Rayleigh, Phil. Mag. 11, 196 (1881)).

    python -m experiments.gallery.talbot    light between a slit grating and its first image
"""

import math

import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.gallery import COMPUTED, EXPECTED, Check, Result, publish, side_by_side
from optics.grids import coordinates
from optics.propagation import propagate

WAVELENGTH, PERIOD, SAMPLES = 550e-9, 50e-6, 256  # [m], [m], samples over four periods
LENGTH = PERIOD**2 / WAVELENGTH * (1 + math.sqrt(1 - (WAVELENGTH / PERIOD) ** 2))  # [m]


def light(grating: Tensor, distance: float) -> Tensor:
    """Intensity behind a field (samples,) that repeats for ever."""
    field = propagate(
        grating[None].to(torch.complex128), spacing=4 * PERIOD / SAMPLES, wavelength=WAVELENGTH,
        distance=distance, padding="periodic",
    )  # fmt: skip
    return field[0].abs().square()


def compute() -> Result:
    """Propagate a slit grating for the picture and a cosine grating for the check."""
    x = coordinates(SAMPLES, 4 / SAMPLES)  # [periods]
    x = x - x[SAMPLES // 2]  # a sample on the bright line
    cosine, slits = 1 + torch.cos(2 * math.pi * x), ((x.remainder(1) - 0.5).abs() > 0.375).double()
    distances = torch.linspace(0, LENGTH, 321, dtype=torch.float64)
    line = torch.stack([light(cosine, z)[SAMPLES // 2] for z in distances.tolist()])
    carpet = torch.stack([light(slits, z) for z in distances.tolist()], dim=1)
    # |1 + exp(i p)|^2 on the line, where the orders +-1 lag by p
    expected = 2 + 2 * torch.cos(2 * math.pi * distances / LENGTH)
    checks = (
        Check("bright line at the Talbot length", float(line[-1]), 4.0, 1e-12),
        Check("at a quarter of it", float(line[80]), 2.0, 1e-12),
    )
    return Result(checks, {"carpet": carpet, "z": distances, "line": line, "expected": expected})


def draw(result: Result) -> Figure:
    """Return the carpet of the slits, and the bright line of the cosine grating."""
    figure, left, right = side_by_side(width_ratios=(1.5, 1))
    extent = (0, 1e3 * LENGTH, 2 * 1e6 * PERIOD, -2 * 1e6 * PERIOD)
    left.imshow(result["carpet"], extent=extent, aspect="auto", cmap="inferno", vmax=2)
    left.grid(visible=False)
    left.set(title="Behind slits 50 µm apart", xlabel="distance [mm]", ylabel="x [µm]")
    right.plot(1e3 * result["z"], result["line"], **COMPUTED, label="computed")
    right.plot(1e3 * result["z"], result["expected"], **EXPECTED, label="2 + 2 cos(2π z / length)")
    right.set(title="Bright line of a cosine grating", xlabel="distance [mm]", ylabel="intensity")
    right.legend(loc="upper center")
    return figure


if __name__ == "__main__":
    publish()
