"""Deformable mirror: 36 actuators take out the defocus of a point that is too near.

A defocus of W waves at the rim of a round pupil leaves sinc^2(W) of the peak (Born and Wolf, sec.
9.1), an error of s waves rms about exp(-(2 pi s)^2) (V. N. Mahajan, JOSA 73, 860 (1983)).

    python -m experiments.gallery.deformable_mirror    peak over defocus, mirror at rest and set
"""

import math

import torch
from matplotlib.figure import Figure

from experiments.gallery import COLOURS, EXPECTED, Check, Result, light_map, publish
from experiments.report.drawing import new_figure
from optics import Band, Camera, DeformableMirror, Sensor, ThinLens
from optics.grids import disc_coverage, squared_radius
from optics.masks import GaussianActuators

WAVELENGTH, DIAMETER, FOCUS = 550e-9, 2e-3, 0.5  # [m]


def camera(mirror: DeformableMirror) -> Camera:
    """Return a camera of f = 25 mm with the stop on the mirror and pixels far below the spot."""
    band = Band(WAVELENGTH, 1e-12)
    return Camera(
        aperture_diameter=DIAMETER, lens=ThinLens(focal_length=25e-3), mask=mirror,
        sensor=Sensor(pixel_pitch=0.5e-6, binning=1, bayer=False, cfa="", bands=(band,)),
        focus_distance=FOCUS, window=81, double=True,
    )  # fmt: skip


def compute() -> Result:
    """Set the mirror for one wave of defocus; look at points near and far, before and after."""
    pushers = GaussianActuators(across=6, coupling=0.15)
    mirror = DeformableMirror(aperture_diameter=DIAMETER, cell=DIAMETER / 128, influence=pushers)
    made, shape = camera(mirror), (mirror.samples, mirror.samples)
    waves = torch.linspace(-1.5, 1.5, 31, dtype=torch.float64)  # defocus at the rim
    vergence = 1 / FOCUS + 2 * waves * WAVELENGTH / (DIAMETER / 2) ** 2  # 1 / distance [1/m]
    # reflected light passes every height twice
    wanted = -WAVELENGTH / 2 * squared_radius(shape, mirror.cell) / (DIAMETER / 2) ** 2
    stacks, wave = [], torch.tensor([WAVELENGTH], dtype=torch.float64)
    for commands in (torch.zeros(36), mirror.best_commands(wanted)):
        mirror.command(commands)
        stacks.append(made.spots((1 / vergence).tolist(), wave)[0, :, 0].detach())
    psf = torch.stack(stacks) / stacks[0][15].max()
    peaks = psf[:, :, 40, 40]
    pupil = disc_coverage(shape, mirror.cell, DIAMETER)
    rest = 2 * (mirror.height().detach() - wanted) / WAVELENGTH
    rest = rest - (pupil * rest).sum() / pupil.sum()
    left_over = math.exp(-((2 * math.pi) ** 2) * float((pupil * rest**2).sum() / pupil.sum()))
    checks = (  # a pixel of 0.07 lambda N averages over the peak
        Check("mirror at rest, half a wave: peak", float(peaks[0, 20]), 4 / math.pi**2, 2e-3),
        Check("mirror set, one wave: peak", float(peaks[1, 25]), left_over, 2e-3),
    )
    expected = torch.stack([torch.sinc(waves) ** 2, left_over * torch.sinc(waves - 1) ** 2])
    return Result(checks, {"waves": waves, "peaks": peaks, "psf": psf, "expected": expected})


def draw(result: Result) -> Figure:
    """Return the peaks over the defocus, and the spot at one wave before and after."""
    figure = new_figure(9.0, 3.0)
    left, *spots = figure.subplots(1, 3)
    for n, name in enumerate(("at rest", "set for 1 λ")):
        left.plot(result["waves"], result["peaks"][n], color=COLOURS[n], linewidth=2.4, label=name)
        left.plot(result["waves"], result["expected"][n], **EXPECTED)
        light_map(spots[n], result["psf"][n, 25].clip(1e-4), 20.25, floor=1e-4)
        spots[n].set(title=f"1 λ, mirror {name}", xlabel="x [µm]", ylabel="y [µm]")
    left.set(title="Peak / sharp", xlabel="defocus at the rim [λ]", ylabel="peak", ylim=(0, 1.6))
    left.legend(loc="upper left")
    return figure


if __name__ == "__main__":
    publish()
