"""Cubic phase mask: a blur that hardly depends on the distance, so that one filter undoes it.

With the phase alpha (x^3 + y^3) on a square pupil of half-side 1 the MTF is sqrt(pi / (12 alpha u))
at any defocus, u = 2 at the cut-off (E. R. Dowski, W. T. Cathey, Appl. Opt. 34, 1859 (1995));
without it (1 - s) sinc(8 W s (1 - s)), s = u / 2, for a defocus of W waves at the edge.

    python -m experiments.gallery.cubic_mask    MTF with and without the mask, at four distances
"""

import math

import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.gallery import COLOURS, EXPECTED, Check, Result, publish, side_by_side
from optics import material
from optics.grids import coordinates
from optics.propagation import relief_spots
from optics.quality import line_mtf

WAVE = torch.tensor([550e-9], dtype=torch.float64)  # [m]
SIDE, SAMPLES, DISTANCE = 2e-3, 512, 25e-3  # square pupil [m], pupil to sensor [m]
ALPHA, WAVES = 90.0, (0.0, 1.0, 2.0, 3.0)  # cubic phase [rad], defocus at the edge [waves]
FREQUENCY = torch.linspace(0.02, 0.48, 231, dtype=torch.float64)  # [cycles per sample], u = 4 f


def mtf(height: Tensor) -> Tensor:
    """MTF (defocus, frequency) along x behind a relief of fused silica."""
    rate = (material("fused_silica").index(WAVE) - 1) / WAVE
    curvature = 2 * torch.tensor(WAVES, dtype=torch.float64)[:, None] * WAVE / (SIDE / 2) ** 2
    psf = relief_spots(
        height, turns_per_metre=rate, amplitude=torch.ones_like(height), spacing=SIDE / SAMPLES,
        wavelength=WAVE, distance=DISTANCE, points=(SAMPLES, SAMPLES),
        pitch=float(WAVE) * DISTANCE / SIDE / 2, curvature=curvature,  # just samples the intensity
    )[:, 0]  # fmt: skip
    return line_mtf(psf, FREQUENCY, axis="x")


def compute() -> Result:
    """Compare a flat and a cubic relief over the defocus."""
    x = coordinates(SAMPLES, 2 / SAMPLES)
    turn = WAVE / (material("fused_silica").index(WAVE) - 1)  # height of one wave [m]
    cubic = mtf(ALPHA / (2 * math.pi) * turn * (x[:, None] ** 3 + x**3))
    flat = mtf(torch.zeros(SAMPLES, SAMPLES, dtype=torch.float64))
    law, s = (math.pi / (48 * ALPHA * FREQUENCY)).sqrt(), 2 * FREQUENCY
    sharp = torch.stack([(1 - s) * torch.sinc(8 * w * s * (1 - s)).abs() for w in WAVES])
    band = (FREQUENCY > 0.05) & (FREQUENCY < 0.3)
    # the law drops the ends of the pupil, whose ripple of 6 % averages out over the band
    checks = tuple(
        Check(f"cubic, W = {w:g}: MTF / law", float((m / law)[band].mean()), 1.0, 2e-2)
        for w, m in zip(WAVES, cubic, strict=True)
    )
    # light that lands outside the window is missing from the PSF
    lens = Check("flat, W = 1: MTF at s = 0.1", float(flat[1, 15]), float(sharp[1, 15]), 2e-3)
    return Result((*checks, lens), {"flat": flat, "sharp": sharp, "cubic": cubic, "law": law})


def draw(result: Result) -> Figure:
    """Return both families of curves; closed forms are dashed."""
    figure, left, right = side_by_side(sharey=True)
    s = 2 * FREQUENCY.numpy()
    for n, waves in enumerate(WAVES):
        left.semilogy(s, result["flat"][n], color=COLOURS[n])
        left.semilogy(s, result["sharp"][n], **EXPECTED)
        right.semilogy(s, result["cubic"][n], color=COLOURS[n], label=f"defocus {waves:g} λ")
    right.semilogy(s, result["law"], **EXPECTED, label="√(π / 12 α u)")
    left.set(title="Flat", xlabel="frequency / cut-off", ylabel="MTF", ylim=(3e-3, 1.2))
    right.set(title=f"Cubic, α = {ALPHA:g} rad", xlabel="frequency / cut-off", ylabel="MTF")
    right.legend(loc="lower left")
    return figure


if __name__ == "__main__":
    publish()
