"""Poisson spot: behind a disc, in the middle of its shadow, it is as bright as beside it.

All of the rim is equally far from the axis. With a Gaussian beam of waist w around a disc of radius
a the spot has exp(-2 (a / w)^2) of the open beam's light, and near the axis the profile
J0^2(k a r / z) (A. Fresnel 1819; Born and Wolf, *Principles of Optics*, sec. 8.4.2).

    python -m experiments.gallery.poisson_spot    the shadow, and the light across its middle
"""

import math

import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.gallery import COMPUTED, EXPECTED, Check, Result, light_map, publish, side_by_side
from optics.grids import coordinates, disc_coverage, squared_radius
from optics.propagation import propagate_to_points

WAVELENGTH, DISTANCE, RADIUS, WAIST = 550e-9, 80e-3, 0.2e-3, 0.6e-3  # [m]
SHAPE, SPACING = (768, 768), 4e-6  # [m]


def behind(field: Tensor, points: int) -> Tensor:
    """Intensity at `points` x `points`, 2 um apart, however coarse the samples of the field."""
    spread = propagate_to_points(
        field.to(torch.complex128), spacing=SPACING, wavelength=WAVELENGTH, distance=DISTANCE,
        points=(points, points), pitch=2e-6,
    )  # fmt: skip
    return spread.abs().square()


def compute() -> Result:
    """Put the disc into the beam, and take it out again."""
    beam = torch.exp(-squared_radius(SHAPE, SPACING) / WAIST**2)
    disc = beam * (1 - disc_coverage(SHAPE, SPACING, 2 * RADIUS))
    shadow = behind(disc, 301) / behind(beam, 1)
    radius, across = coordinates(301, 2e-6), shadow[150]
    share = math.exp(-2 * (RADIUS / WAIST) ** 2)
    bessel = torch.special.bessel_j0(2 * math.pi / WAVELENGTH * RADIUS * radius / DISTANCE)
    # the disc's rim is sampled: 50 samples to its radius, shared by area
    check = Check("spot / open beam", float(across[150]), share, 2e-3)
    arrays = {"shadow": shadow, "radius": radius, "across": across}
    return Result((check,), arrays | {"expected": share * bessel**2})


def draw(result: Result) -> Figure:
    """Return the shadow and its profile."""
    figure, left, right = side_by_side()
    light_map(left, result["shadow"], 0.3)
    left.set(title="Light / open beam", xlabel="x [mm]", ylabel="y [mm]")
    millimetres = 1e3 * result["radius"]
    right.plot(millimetres, result["across"], **COMPUTED, label="computed")
    right.plot(millimetres, result["expected"], **EXPECTED, label="exp(-2 a² / w²) J0²(k a r / z)")
    right.set(title="Across the middle", xlabel="x [mm]", ylabel="light / open beam")
    right.set(xlim=(-0.15, 0.15), ylim=(0, 1.25))
    right.legend(loc="upper left")
    return figure


if __name__ == "__main__":
    publish()
