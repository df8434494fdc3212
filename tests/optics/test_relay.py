"""4f relay and lensless camera."""

import math

import pytest
import torch

from optics.grids import coordinates, disc_coverage
from optics.propagation import (
    Relay,
    SamplingError,
    cis,
    lensless_psf,
    to_sensor,
)

WAVELENGTH, SPACING = 550e-9, 10e-6


def noise(*shape, dtype=torch.complex128, seed=1):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def energy(field, spacing):
    return float(field.abs().square().sum()) * spacing**2


def test_without_a_stop_the_image_is_the_object_upside_down():
    relay = Relay(50e-3, 100e-3)
    field = noise(20, 15)
    image = relay.image(field, spacing=SPACING, wavelength=WAVELENGTH)
    assert relay.magnification == -2.0
    assert relay.image_spacing(SPACING) == pytest.approx(20e-6)
    torch.testing.assert_close(image, field.flip(-2, -1) / 2)
    assert energy(image, 20e-6) == pytest.approx(energy(field, SPACING), rel=1e-12)


def test_two_relays_turn_the_field_back():
    field = noise(20, 15)
    there = Relay(50e-3, 100e-3).image(field, spacing=SPACING, wavelength=WAVELENGTH)
    back = Relay(100e-3, 50e-3).image(there, spacing=2 * SPACING, wavelength=WAVELENGTH)
    torch.testing.assert_close(back, field)


@pytest.mark.parametrize(("cycles", "passes"), [(10, True), (14, False)])
def test_stop_passes_what_is_below_its_cutoff(cycles, passes):
    """A grating under a wide envelope: its orders fall inside or outside the stop."""
    n = 128
    frequency = cycles / (n * SPACING)
    stop = 2 * WAVELENGTH * 50e-3 * 12 / (n * SPACING)  # lets 12 cycles through
    relay = Relay(50e-3, 50e-3, stop_diameter=stop)
    assert relay.cutoff(WAVELENGTH) == pytest.approx(12 / (n * SPACING))
    y, x = (coordinates(m, SPACING) for m in (n, n - 8))
    envelope = torch.exp(-(y[:, None] ** 2 + x**2) / (0.22 * n * SPACING) ** 2)
    field = envelope * cis(2 * math.pi * frequency * x)
    image = relay.image(field, spacing=SPACING, wavelength=WAVELENGTH)
    share = energy(image, SPACING) / energy(field, SPACING)
    # the envelope's spectrum is 1.4 cycles wide: 0.5 % of it lies 2 cycles off
    assert share == pytest.approx(1.0 if passes else 0.0, abs=0.01)


def test_stopped_image_is_what_two_transforms_through_the_stop_give():
    """Object -> Fourier plane -> image by the single-lens operator, twice."""
    n, f1, f2, stop = 64, 60e-3, 90e-3, 1.6e-3
    x = coordinates(n, SPACING)
    field = torch.exp(-((x[:, None] - 40e-6) ** 2 + x**2) / 90e-6**2).to(torch.complex128)
    relay = Relay(f1, f2, stop_diameter=stop)
    ours = relay.image(field, spacing=SPACING, wavelength=WAVELENGTH)
    wave = torch.tensor([WAVELENGTH], dtype=torch.float64)
    m, pitch = 240, 8e-6
    pupil = to_sensor(field[None], spacing=SPACING, wavelength=wave, distance=f1, points=(m, m),
                      pitch=pitch)  # fmt: skip
    image = to_sensor(
        pupil * disc_coverage((m, m), pitch, stop), spacing=pitch, wavelength=wave, distance=f2,
        points=(n, n), pitch=relay.image_spacing(SPACING),
    )[0]  # fmt: skip
    # two samplings of the stop's grey rim
    assert float((ours - image).norm() / image.norm()) < 2e-3


def test_relay_gradient_is_the_adjoint():
    relay = Relay(50e-3, 75e-3, stop_diameter=2e-3)
    x = noise(2, 20, 15).requires_grad_()
    ax = relay.image(x, spacing=SPACING, wavelength=[WAVELENGTH, 640e-9])
    y = noise(*ax.shape, seed=2)
    (back,) = torch.autograd.grad(ax, x, grad_outputs=y)
    left = torch.vdot(y.flatten(), ax.detach().flatten())
    right = torch.vdot(back.flatten(), x.detach().flatten())
    torch.testing.assert_close(left, right)


def test_a_stop_too_small_for_the_field_is_refused():
    with pytest.raises(SamplingError, match=r"stop_diameter = 5e-05 m spreads a point over"):
        Relay(50e-3, 50e-3, stop_diameter=5e-5).image(
            noise(20, 15), spacing=SPACING, wavelength=WAVELENGTH
        )


def test_focal_lengths_in_millimetres_are_refused():
    with pytest.raises(ValueError, match=r"focal_length = 50 m is outside"):
        Relay(50, 100)


LENSLESS = {"spacing": 2e-6, "wavelength": WAVELENGTH, "points": (100, 120), "pitch": 2.5e-6}


def hole(shape=(60, 50), waist=20e-6):
    y, x = (coordinates(n, 2e-6) for n in shape)
    return torch.exp(-(y[:, None] ** 2 + x**2) / waist**2).to(torch.complex128)


@pytest.mark.parametrize("source_distance", [math.inf, 5e-3])
def test_lensless_psf_sums_to_the_transmitted_share(source_distance):
    psf = lensless_psf(hole(), distance=2e-3, source_distance=source_distance, **LENSLESS)
    share = float(hole().abs().square().mean())
    # the soft hole is exp(-4) of its amplitude at the edge of the samples
    assert float(psf.sum()) == pytest.approx(share, rel=1e-3)


def test_nearer_source_magnifies_the_shadow():
    """A Gaussian hole lit from distance d: a Gaussian beam of that curvature (q parameter)."""
    waist, z, d = 20e-6, 2e-3, 5e-3
    psf = lensless_psf(hole(waist=waist), distance=z, source_distance=d, **LENSLESS)
    y = coordinates(100, 2.5e-6)
    width = 2 * math.sqrt(float((psf.sum(1) * y**2).sum() / psf.sum()))
    q = 1 / complex(1 / d, WAVELENGTH / (math.pi * waist**2)) + z
    expected = math.sqrt(WAVELENGTH / math.pi / (1 / q).imag)
    # the beam's rim is cut off at three waists: 1e-3 of the width
    assert width == pytest.approx(expected, rel=5e-3)


def test_source_at_infinity_is_the_limit_of_a_far_one():
    far = lensless_psf(hole(), distance=2e-3, source_distance=1e4, **LENSLESS)
    endless = lensless_psf(hole(), distance=2e-3, source_distance=math.inf, **LENSLESS)
    # magnification 1 + 2e-7
    torch.testing.assert_close(far, endless, rtol=0, atol=1e-5 * float(endless.max()))


def test_lensless_gradcheck():
    def psf(field):
        return lensless_psf(
            field, spacing=2e-6, wavelength=WAVELENGTH, distance=0.2e-3, source_distance=0.1,
            points=(5, 4), pitch=3e-6,
        ) * 1e3  # fmt: skip

    assert torch.autograd.gradcheck(psf, noise(6, 5).requires_grad_())
