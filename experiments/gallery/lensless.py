"""Pinhole camera: a mask straight in front of the sensor, and how large its hole should be.

A hole of radius a at the distance z from the sensor has the Fresnel number N = a^2 / (lambda z); on
the axis a distant point gives 4 sin^2(pi N / 2) of the open beam. The blur, the radius of half the
light, is smallest near N = 0.6: the hole's shadow grows above it, diffraction below (Lord Rayleigh,
Phil. Mag. 31, 87 (1891)).

    python -m experiments.gallery.lensless    light on the axis and blur over the size of the hole
"""

import math

import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.gallery import COMPUTED, EXPECTED, Check, Result, publish, side_by_side
from optics.grids import disc_coverage
from optics.propagation import lensless_psf
from optics.quality import encircled_radius

WAVELENGTH, GAP = 550e-9, 20e-3  # wavelength, hole to sensor [m]
SAMPLES, SPACING, POINTS, PITCH = 124, 4e-6, 121, 6e-6  # mask and sensor [m]
NUMBERS = torch.linspace(0.2, 5, 25, dtype=torch.float64)


def psf(radius: float) -> Tensor:
    """Intensity on the sensor, over that of the open beam, behind a hole of `radius` [m]."""
    hole = disc_coverage((SAMPLES, SAMPLES), SPACING, 2 * radius)
    share = lensless_psf(
        hole.to(torch.complex128), spacing=SPACING, wavelength=WAVELENGTH, distance=GAP,
        source_distance=math.inf, points=(POINTS, POINTS), pitch=PITCH,
    )  # fmt: skip
    return share * (SAMPLES * SPACING / PITCH) ** 2  # of the light on the mask, per point


def compute() -> Result:
    """Widen the hole step by step."""
    radius = (NUMBERS * WAVELENGTH * GAP).sqrt()
    spots = torch.stack([psf(r) for r in radius.tolist()])
    axis = spots[:, POINTS // 2, POINTS // 2]
    blur = encircled_radius(spots, 0.5) * PITCH
    checks = (
        Check("on the axis at N = 1 / open beam", float(axis[4]), 4.0, 5e-3),
        Check("on the axis at N = 3 / open beam", float(axis[14]), 4.0, 2e-2),
        # fringes move light about within the shadow
        Check("half the light at N = 5 / radius", float(blur[-1] / radius[-1]), 0.5**0.5, 0.1),
    )
    return Result(checks, {"axis": axis, "blur": blur, "radius": radius})


def draw(result: Result) -> Figure:
    """Return the light on the axis and the blur; the two limits of the blur are dashed."""
    figure, left, right = side_by_side()
    fine = torch.linspace(0, 5, 501)
    left.plot(NUMBERS, result["axis"], "o", **COMPUTED, label="computed")
    left.plot(fine, 4 * (math.pi / 2 * fine).sin() ** 2, **EXPECTED, label="4 sin²(π N / 2)")
    left.set(title="On the axis", xlabel="Fresnel number N", ylabel="light / open", ylim=(0, 5.2))
    left.legend(loc="upper left", ncols=2)
    radius = 1e6 * result["radius"]  # [um]
    right.plot(radius, 1e6 * result["blur"], "o-", **COMPUTED, label="computed")
    right.plot(radius, radius / math.sqrt(2), **EXPECTED, label="shadow, Airy pattern")
    right.plot(radius, 0.535 * 1e12 * WAVELENGTH * GAP / (2 * radius), **EXPECTED)
    right.set(
        title="Blur", xlabel="radius of the hole [µm]", ylabel="radius of half the light [µm]"
    )
    right.legend()
    return figure


if __name__ == "__main__":
    publish()
