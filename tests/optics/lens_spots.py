"""Spots of a lens without a mask, for the tests of lenses."""

import torch

from optics.grids import coordinates, disc_coverage
from optics.propagation import cis, to_sensor

WAVE = torch.tensor([550e-9], dtype=torch.float64)
DIAMETER, DISTANCE, SAMPLES = 2e-3, 50e-3, 96
CELL = DIAMETER / SAMPLES
PITCH = WAVE.item() * DISTANCE / DIAMETER / 4  # a quarter of the cut-off's period


def axes(rows=SAMPLES, columns=SAMPLES, cell=CELL):
    return coordinates(rows, cell)[:, None], coordinates(columns, cell)[None, :]


def pupil_field(lens, field=(0.0, 0.0), object_distance=1e3, cell=CELL, samples=SAMPLES, stop=None):
    """Aperture, transmission and wavefront of `lens`, complex (1, N, N)."""
    y, x = axes(samples, samples, cell)
    amplitude = disc_coverage((samples, samples), cell, stop or samples * cell)
    passed = lens.transmission(y, x, field=field)
    if passed is not None:
        amplitude = amplitude * passed
    opd = lens.opd(
        y, x, WAVE, field=field, object_distance=object_distance, sensor_distance=DISTANCE
    )
    if opd is None:
        opd = torch.zeros(1, samples, samples, dtype=torch.float64)
    return amplitude * cis(2 * torch.pi * opd / WAVE[:, None, None])


def spot(lens, field=(0.0, 0.0), points=129, pitch=PITCH, curvature=None, offset=(0.0, 0.0)):
    """Intensity around the image point (points, points), or (D, points, points)."""
    out = to_sensor(
        pupil_field(lens, field),
        spacing=CELL,
        wavelength=WAVE,
        distance=DISTANCE,
        points=(points, points),
        pitch=pitch,
        curvature=None if curvature is None else curvature[:, None],
        offset=offset,
    )
    return out.abs().square().squeeze(-3)


def slope_centroid(lens, field, samples=SAMPLES):
    """Mean of z grad(opd) over the pupil (y, x): where the spot's centre of mass lies [m].

    The first moment of a far-field intensity is the mean slope of the phase (Parseval).
    """
    y, x = (v.clone().requires_grad_() for v in axes(samples, samples))
    opd = lens.opd(y, x, WAVE, field=field, object_distance=1e3, sensor_distance=DISTANCE)
    stop = disc_coverage((samples, samples), CELL, DIAMETER)
    down, across = torch.autograd.grad((opd[0] * stop).sum(), (y, x))
    return DISTANCE * float(down.sum() / stop.sum()), DISTANCE * float(across.sum() / stop.sum())
