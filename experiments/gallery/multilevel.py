"""Multi-level relief: how much light a blaze of a few etched levels sends where it should.

N levels per period put sinc^2(1 / N) of the light into the first order at the design wavelength (G.
J. Swanson, MIT Lincoln Laboratory Tech. Rep. 854 (1989), eq. 11).

    python -m experiments.gallery.multilevel    light per order, first order over the wavelength
"""

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.gallery import COLOURS, EXPECTED, Check, Result, publish, side_by_side
from optics import material
from optics.grids import coordinates
from optics.propagation import relief_spots

SILICA, DESIGN = material("fused_silica"), 540e-9  # [m]
TURN = DESIGN / (float(SILICA.index(DESIGN)) - 1)  # height of one wavelength of delay [m]
CELL, CELLS, DISTANCE = 2e-6, 16, 0.1  # cell side [m], cells per period, to the screen [m]
LEVELS, ORDERS, FIRST = (2, 4, 8, 16), 9, 5  # orders -4 to 4, the first is entry 5


def efficiency(levels: int, wavelength: float) -> Tensor:
    """Share of the light in the orders -4 to 4 of eight periods of a blaze."""
    step = torch.arange(8 * CELLS) % CELLS * levels // CELLS
    height = (step.to(torch.float64) * TURN / levels)[None]
    wave = torch.tensor([wavelength], dtype=torch.float64)
    light = relief_spots(  # a point on every order
        height, turns_per_metre=(SILICA.index(wave) - 1) / wave, amplitude=torch.ones_like(height),
        spacing=CELL, wavelength=wave, distance=DISTANCE, points=(1, ORDERS),
        pitch=wavelength * DISTANCE / (CELLS * CELL),
    )[0, 0, 0]  # fmt: skip
    flat = (height.numel() * CELL**2 / (wavelength * DISTANCE)) ** 2
    # samples stand for flat cells, which diffract as a sinc; without it all is 1.3 % too high
    return light / flat * torch.sinc(coordinates(ORDERS, 1 / CELLS)).square()


def closed_form(levels: int, wavelength: Tensor) -> Tensor:
    """Share of the light in the first order."""
    missed = (SILICA.index(wavelength) - 1) * TURN / wavelength - 1  # turns per period
    return (np.sinc(1 / levels) * torch.sinc(missed) / torch.sinc(missed / levels)).square()


def compute() -> Result:
    """Diffract at a grating of every number of levels, at every wavelength."""
    orders = torch.stack([efficiency(n, DESIGN) for n in LEVELS])
    checks = tuple(
        Check(f"order 1, {n} levels", float(order[FIRST]), float(np.sinc(1 / n)) ** 2, 1e-12)
        for n, order in zip(LEVELS, orders, strict=True)
    )
    waves = torch.linspace(400e-9, 700e-9, 31, dtype=torch.float64)
    first = torch.tensor([[efficiency(n, w)[FIRST] for w in waves.tolist()] for n in LEVELS])
    expected = torch.stack([closed_form(n, waves) for n in LEVELS])
    return Result(checks, {"orders": orders, "waves": waves, "first": first, "expected": expected})


def draw(result: Result) -> Figure:
    """Return the light per order, and that of the first order over the wavelength."""
    figure, left, right = side_by_side()
    for n, (levels, colour) in enumerate(zip(LEVELS, COLOURS, strict=False)):
        place = coordinates(ORDERS, 1.0).numpy() + (n - 1.5) * 0.2
        left.bar(place, result["orders"][n], 0.2, color=colour, label=f"{levels} levels")
        left.plot([0.5, 1.5], [result.checks[n].expected] * 2, **EXPECTED)
        right.plot(1e9 * result["waves"], result["first"][n], color=colour, linewidth=2.4)
        right.plot(1e9 * result["waves"], result["expected"][n], **EXPECTED)
    left.set(title="540 nm", xlabel="diffraction order", ylabel="share of the light")
    right.set(title="First order", xlabel="wavelength [nm]", ylabel="share of the light")
    left.legend(loc="upper left")
    return figure


if __name__ == "__main__":
    publish()
