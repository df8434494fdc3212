"""Three Fresnel propagators: one answer, closed forms, adjoint, refusals."""

import math
import re

import pytest
import torch

from optics.grids import coordinates
from optics.propagation import (
    SamplingError,
    cis,
    fresnel,
    fresnel_impulse,
    fresnel_to_points,
    fresnel_transfer,
    propagate,
)

WAVELENGTH, SPACING = 550e-9, 5e-6


def noise(*shape, dtype=torch.complex128, seed=1):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def gaussian(shape, spacing, z, waist=40e-6):
    """Fundamental mode by its q parameter, without carrier (Saleh and Teich, sec. 3.1)."""
    y, x = (coordinates(n, spacing) for n in shape)
    q0 = -1j * math.pi * waist**2 / WAVELENGTH
    q = z + q0
    return q0 / q * torch.exp(1j * math.pi / WAVELENGTH / q * (y[:, None] ** 2 + x**2))


def to_grid(field, **given):
    points = (field.shape[-2], field.shape[-1])
    return fresnel_to_points(field, points=points, pitch=given["spacing"], **given)


FORMS = {
    "transfer": fresnel_transfer,
    "impulse": fresnel_impulse,
    "guarded": fresnel,
    "points": to_grid,
}


@pytest.mark.parametrize("sign", [1, -1], ids=["forward", "back"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    # paraxial closed form; the beam is 1e-7 at the edge of the grid after 15 mm. Float32: rounding
    ("dtype", "bar"),
    [(torch.complex128, 1e-6), (torch.complex64, 1e-6)],
)
def test_gaussian_beam_keeps_its_closed_form_with_its_phase(form, dtype, bar, sign):
    shape, z = (128, 120), sign * 15e-3
    field = gaussian(shape, SPACING, 0.0)
    out = FORMS[form](field.to(dtype), spacing=SPACING, wavelength=WAVELENGTH, distance=z)
    exact = gaussian(shape, SPACING, z)
    assert out.dtype == dtype
    assert float((out.to(exact) - exact).norm() / exact.norm()) < bar


@pytest.mark.parametrize("form", FORMS)
def test_wavelengths_in_one_call_are_the_same_as_one_by_one(form):
    waves = [640e-9, 440e-9]
    field = gaussian((90, 84), SPACING, 0.0, waist=30e-6)
    given = {"spacing": SPACING, "distance": 15e-3}
    out = FORMS[form](field[None], wavelength=waves, **given)
    for plane, wave in zip(out, waves, strict=True):
        alone = FORMS[form](field, wavelength=wave, **given)
        # padding may differ, so what is lost at the edge differs: the beam is 1e-4 there
        assert float((plane - alone).norm() / alone.norm()) < 1e-3


def test_paraxial_and_exact_part_by_the_phase_of_the_next_term():
    """A wave of sine s is ahead by k z s^4 / 8 in the exact kernel (and s^6 / 16 beyond)."""
    n, spacing, z, index = 128, 1e-6, 5e-3, 30
    sine = index * WAVELENGTH / (n * spacing)
    wave = cis(2 * math.pi * sine / WAVELENGTH * coordinates(n, spacing))[:, None].expand(n, 6)
    common = {"spacing": spacing, "wavelength": WAVELENGTH, "distance": z, "padding": "periodic"}
    ratio = (propagate(wave, **common) / fresnel_transfer(wave, **common)).mean()
    k = 2 * math.pi / WAVELENGTH
    expected = -k * z * (sine**4 / 8 + sine**6 / 16)
    turn = torch.remainder(ratio.angle() - expected + math.pi, 2 * math.pi) - math.pi
    assert abs(float(turn)) < 5 / 128 * k * z * sine**8 * 1.1  # the term after those


def test_lens_given_as_curvature_is_the_lens_sampled_in_the_field():
    shape, focal = (90, 80), 40e-3
    field = gaussian(shape, SPACING, 0.0)
    y, x = (coordinates(n, SPACING) for n in shape)
    lens = cis(-math.pi / (WAVELENGTH * focal) * (y[:, None] ** 2 + x**2))
    given = {
        "spacing": SPACING, "wavelength": WAVELENGTH, "distance": 35e-3, "points": (20, 24),
        "pitch": 2e-6, "offset": (12e-6, -7e-6),
    }  # fmt: skip
    sampled = fresnel_to_points(field * lens, **given)
    known = fresnel_to_points(field, curvature=-1 / focal, **given)
    assert float((sampled - known).norm() / known.norm()) < 1e-12


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    # rounding of float64 and float32
    ("dtype", "bar"),
    [(torch.complex128, 1e-12), (torch.complex64, 1e-5)],
)
def test_gradient_is_the_adjoint(form, dtype, bar):
    x = noise(2, 30, 24, dtype=dtype).requires_grad_()
    ax = FORMS[form](x, spacing=SPACING, wavelength=[WAVELENGTH, 640e-9], distance=8e-3)
    y = noise(*ax.shape, dtype=dtype, seed=2)
    (back,) = torch.autograd.grad(ax, x, grad_outputs=y)
    left = torch.vdot(y.flatten(), ax.detach().flatten())
    right = torch.vdot(back.flatten(), x.detach().flatten())
    assert abs(complex(left - right)) < bar * float(ax.detach().norm() * y.norm())


@pytest.mark.parametrize("form", FORMS)
def test_gradcheck_and_vmap(form):
    def send(field):
        return FORMS[form](field, spacing=SPACING, wavelength=WAVELENGTH, distance=8e-3)

    assert torch.autograd.gradcheck(lambda f: send(f).abs().square(), noise(3, 4).requires_grad_())
    many = noise(3, 8, 9)
    torch.testing.assert_close(
        torch.func.vmap(send, in_dims=1)(many.movedim(0, 1)), torch.stack([send(f) for f in many])
    )
    _, tangent = torch.func.jvp(send, (many[0],), (many[1],))
    torch.testing.assert_close(tangent, send(many[1]))


def test_impulse_response_too_near_is_refused_and_the_distance_named_works():
    given = {"spacing": SPACING, "wavelength": WAVELENGTH}
    with pytest.raises(SamplingError, match=r"use fresnel_transfer, or a distance") as refusal:
        fresnel_impulse(noise(128, 100), distance=2e-3, **given)
    least = float(re.search(r"at least ([\d.e-]+) m", str(refusal.value))[1])
    fresnel_impulse(noise(128, 100), distance=least * 1.001, **given)


def test_single_transform_too_near_is_refused_and_the_spacing_named_works():
    given = {"wavelength": WAVELENGTH, "distance": 5e-3, "points": (64, 64), "pitch": 8e-6}
    with pytest.raises(SamplingError, match=r"turns [\d.]+ times per sample") as refusal:
        fresnel_to_points(noise(200, 200), spacing=5e-6, **given)
    least = float(re.search(r"spacing of at most ([\d.e-]+) m", str(refusal.value))[1])
    samples = math.floor(200 * 5e-6 / least)
    fresnel_to_points(noise(samples, samples), spacing=least * 0.999, **given)


def test_single_transform_over_no_distance_is_refused():
    with pytest.raises(SamplingError, match=r"distance = 0 m.*use FreeSpace"):
        fresnel_to_points(
            noise(8, 8), spacing=5e-6, wavelength=WAVELENGTH, distance=0.0, points=(4, 4),
            pitch=5e-6,
        )  # fmt: skip


def test_distance_zero_is_the_identity():
    field = noise(6, 7)
    for form in (fresnel, fresnel_transfer):
        assert torch.equal(form(field, spacing=5e-6, wavelength=WAVELENGTH, distance=0.0), field)


def test_wrong_planes_are_refused():
    with pytest.raises(ValueError, match=r"expected \(\.\.\., 2 or 1, 8, 8\)"):
        fresnel(noise(3, 8, 8), spacing=5e-6, wavelength=[5e-7, 6e-7], distance=1e-3)
