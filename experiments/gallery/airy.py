"""Airy pattern: the spot that a perfect lens with a round stop makes of a point.

Its first dark ring has the radius 1.21967 lambda N, N the f-number, and holds 83.78 % of the light
(G. B. Airy, Trans. Camb. Phil. Soc. 5, 283 (1835); Born and Wolf, sec. 8.5.2).

    python -m experiments.gallery.airy    the spot on a log scale, its profile on the closed form
"""

import math

import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.gallery import COMPUTED, EXPECTED, Check, Result, light_map, publish, side_by_side
from optics.grids import coordinates, disc_coverage
from optics.propagation import to_sensor
from optics.quality import encircled_energy, energy_inside

WAVELENGTH, DIAMETER, FOCAL = 550e-9, 2e-3, 25e-3  # [m]
SPACING = DIAMETER / 512  # of the samples of the pupil [m]
UNIT = WAVELENGTH * FOCAL / DIAMETER  # lambda N [m]


def spot(stop: Tensor, points: tuple[int, int], pitch: float) -> Tensor:
    """Field in the focal plane, at points `pitch` [m] apart."""
    return to_sensor(
        stop[None].to(torch.complex128),
        spacing=SPACING,
        wavelength=torch.tensor([WAVELENGTH], dtype=torch.float64),
        distance=FOCAL,
        points=points,
        pitch=pitch,
    )[0]


def compute() -> Result:
    """Find the dark ring along one radius, and the light inside it on a plane."""
    stop = disc_coverage((512, 512), SPACING, DIAMETER)
    line = spot(stop, (1, 5001), UNIT / 500)[0].real  # real, because the pupil is even
    radius = coordinates(5001, 1 / 500)  # [lambda N]
    after = int((line[2500:] < 0).nonzero()[0]) + 2500
    share = float(line[after] / (line[after] - line[after - 1]))
    ring = float(radius[after]) - share / 500
    psf = spot(stop, (401, 401), UNIT / 40).abs().square() * (UNIT / 40) ** 2
    psf = psf / (stop.sum() * SPACING**2)  # shares of the light
    inside = float(encircled_energy(psf, ring * 40) * energy_inside(psf))
    v = math.pi * radius
    airy = torch.where(v == 0, 1.0, 2 * torch.special.bessel_j1(v) / v).square()
    checks = (
        Check("radius of the first dark ring [lambda N]", ring, 1.2196699, 2e-5),
        Check("share of the light inside it", inside, 0.8377850, 2e-4),
    )
    profile = line.square() / line.max().square()
    return Result(checks, {"psf": psf, "radius": radius, "profile": profile, "airy": airy})


def draw(result: Result) -> Figure:
    """Return the spot beside its profile."""
    figure, left, right = side_by_side()
    light_map(left, result["psf"] / result["psf"].max(), 5.0, floor=1e-5)
    left.set(title="Spot, intensity / peak", xlabel="x [λN]", ylabel="y [λN]")
    right.semilogy(result["radius"], result["profile"], **COMPUTED, label="computed")
    right.semilogy(result["radius"], result["airy"], **EXPECTED, label="(2 J1(v) / v)²")
    right.axvline(1.2197, color="#d55e00", linewidth=1, label="1.2197 λN")
    right.set(title="Profile", xlabel="radius [λN]", ylabel="intensity / peak", ylim=(1e-6, 2))
    right.set_xlim(0, 5)
    right.legend()
    return figure


if __name__ == "__main__":
    publish()
