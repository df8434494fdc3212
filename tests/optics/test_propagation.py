"""Pupil to sensor: two algorithms, textbook patterns, signs, adjoint."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.special import j1

from optics.grids import coordinates, disc_coverage
from optics.propagation import cis, to_sensor

WAVELENGTH, DISTANCE = 550e-9, 50e-3


def noise(*shape, dtype=torch.complex128):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(1))


def waves(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("dtype", "bar"),
    # rounding of float64 and float32 over sums of a few hundred terms
    [(torch.complex128, 1e-10), (torch.complex64, 1e-6)],
)
def test_chirp_equals_matrix_to_rounding(dtype, bar):
    pupil = noise(3, 60, 71, dtype=dtype)
    there = {
        method: to_sensor(
            pupil, spacing=20e-6, wavelength=waves(640e-9, 550e-9, 440e-9), distance=DISTANCE,
            points=(37, 90), pitch=2.5e-6, method=method,
        )
        for method in ("chirp", "matrix")
    }  # fmt: skip
    assert there["chirp"].shape == (3, 37, 90)
    error = (there["chirp"] - there["matrix"]).norm() / there["matrix"].norm()
    assert float(error) < bar


def test_it_is_the_discrete_fourier_transform_where_the_grids_match():
    n, spacing = 16, 20e-6
    pupil = noise(1, n, n)
    pitch = WAVELENGTH * DISTANCE / (n * spacing)
    ours = to_sensor(
        pupil, spacing=spacing, wavelength=waves(WAVELENGTH), distance=DISTANCE,
        points=(n, n), pitch=pitch,
    )  # fmt: skip
    half = np.arange(n) - (n - 1) / 2
    kernel = np.exp(-2j * np.pi * np.outer(half, half) / n)
    theirs = kernel @ pupil[0].numpy() @ kernel.T * spacing**2 / (WAVELENGTH * DISTANCE)
    np.testing.assert_allclose(ours[0].numpy(), theirs, rtol=0, atol=1e-12 * abs(theirs).max())


def test_energy_is_conserved_over_one_period():
    n, spacing = 24, 10e-6
    pupil = noise(1, n, n)
    pitch = WAVELENGTH * DISTANCE / (2 * n * spacing)  # 2 n points cover the period
    field = to_sensor(
        pupil, spacing=spacing, wavelength=waves(WAVELENGTH), distance=DISTANCE,
        points=(2 * n, 2 * n), pitch=pitch,
    )  # fmt: skip
    there = float(field.abs().square().sum()) * pitch**2
    assert there == pytest.approx(float(pupil.abs().square().sum()) * spacing**2, rel=1e-12)


@pytest.fixture(scope="module")
def airy():
    """Pattern of a grey stop of 512 samples on a line, and the radius in lambda N."""
    samples, diameter = 512, 4e-3
    spacing = diameter / samples
    stop = disc_coverage((samples, samples), spacing, diameter).to(torch.complex128)
    unit = WAVELENGTH * DISTANCE / diameter

    def line(pitch, points):
        field = to_sensor(
            stop[None], spacing=spacing, wavelength=waves(WAVELENGTH), distance=DISTANCE,
            points=(1, points), pitch=pitch * unit, method="matrix",
        )  # fmt: skip
        return coordinates(points, pitch).numpy(), field[0, 0].real.numpy()

    return line


def test_airy_first_dark_ring(airy):
    x, amplitude = airy(1e-3, 2801)
    crossing = np.flatnonzero((x > 1.1) & (x < 1.35))
    first = brentq(lambda r: np.interp(r, x[crossing], amplitude[crossing]), 1.15, 1.3)
    assert first == pytest.approx(1.21967, abs=2e-5 * 1.21967)  # the bar for a grey stop


def test_airy_profile(airy):
    x, amplitude = airy(0.02, 601)
    v = np.pi * np.where(x == 0, 1e-9, x)
    expected = (2 * j1(v) / v) ** 2
    measured = amplitude**2 / amplitude.max() ** 2
    # a grey rim leaves 4e-6 of the peak at this sampling, a binary one 1.4e-4
    np.testing.assert_allclose(measured, expected, rtol=0, atol=1e-5)


def test_airy_energy_inside_the_first_ring(airy):
    x, amplitude = airy(1e-3, 2441)
    half = x >= 0
    r, intensity = x[half], amplitude[half] ** 2
    # 2 pi r I(r) dr in units of lambda N; the whole energy is the area of the stop
    peak = amplitude.max()
    inside = np.trapezoid(np.where(r <= 1.21967, 2 * np.pi * r * intensity, 0), r)
    whole = peak**2 * 4 / np.pi  # Parseval: peak = area / (lambda z), energy = area
    assert inside / whole == pytest.approx(0.8378, abs=2e-4)  # printed to four digits


def test_tilt_towards_positive_x_moves_the_spot_to_larger_columns():
    samples, spacing, theta = 128, 20e-6, 0.4e-3
    stop = disc_coverage((samples, samples), spacing, samples * spacing)
    x = coordinates(samples, spacing)
    tilted = stop * cis(2 * math.pi * theta / WAVELENGTH * x)
    field = to_sensor(
        tilted[None], spacing=spacing, wavelength=waves(WAVELENGTH), distance=DISTANCE,
        points=(21, 41), pitch=2e-6,
    )  # fmt: skip
    row, column = divmod(int(field[0].abs().argmax()), 41)
    assert (row, column) == (10, 20 + round(theta * DISTANCE / 2e-6))


@pytest.mark.parametrize("method", ["chirp", "matrix"])
def test_backward_is_the_adjoint(method):
    """<A x, y> == <x, A* y>."""
    x = noise(2, 17, 22).requires_grad_()
    out = to_sensor(
        x, spacing=30e-6, wavelength=waves(600e-9, 450e-9), distance=DISTANCE,
        points=(9, 14), pitch=4e-6, method=method,
    )  # fmt: skip
    y = noise(2, 9, 14)
    (adjoint,) = torch.autograd.grad(out, x, y)
    left, right = torch.vdot(out.flatten(), y.flatten()), torch.vdot(x.flatten(), adjoint.flatten())
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12 * float(left.abs().detach()))


def test_gradcheck():
    def spot(pupil):
        field = to_sensor(
            pupil, spacing=1e-3, wavelength=waves(WAVELENGTH), distance=DISTANCE,
            points=(3, 5), pitch=2e-6,
        )  # fmt: skip
        return field.abs().square()

    assert torch.autograd.gradcheck(spot, noise(1, 5, 4).requires_grad_())


def test_bad_arguments():
    good = {"spacing": 1e-5, "distance": 0.05, "points": (4, 4), "pitch": 1e-6}
    with pytest.raises(ValueError, match=r"pupil is \(4, 4\), expected \(\.\.\., 1, H, N\)"):
        to_sensor(noise(4, 4), wavelength=waves(WAVELENGTH), **good)
    with pytest.raises(ValueError, match="method = 'fft', expected 'auto', 'chirp' or 'matrix'"):
        to_sensor(noise(1, 4, 4), wavelength=waves(WAVELENGTH), method="fft", **good)
