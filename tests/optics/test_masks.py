"""Masks: what the process can make, what the carrier promises, the phase law."""

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optics.masks import FlatMask, WrappedRelief, ZernikeSurface
from optics.materials import material

GREEN = 540e-9


def relief(**changes):
    settings = {"aperture_diameter": 0.4e-3, "cell": 4e-6, "profile": "flat"} | changes
    return WrappedRelief(**settings)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    scale=st.floats(-8, 8),
    log_spread=st.floats(-12, 0),
    seed=st.integers(0, 99),
    profile=st.sampled_from(["gaussian", "disc", "flat", "random"]),
    max_height=st.floats(1.3e-6, 2e-5),
)
def test_wrapped_height_is_always_within_the_process(scale, log_spread, seed, profile, max_height):
    mask = relief(profile=profile, max_height=max_height, aperture_diameter=80e-6, seed=seed)
    with torch.no_grad():
        noise = torch.randn(mask.turns.shape, generator=torch.Generator().manual_seed(seed))
        mask.turns += 10**scale * noise
        mask.log_spread.fill_(log_spread)
    height = mask.height().detach()
    assert float(height.min()) >= 0

    # the remainder of a tiny negative number may round up to the modulus itself
    assert (
        float(height.max()) <= mask.orders * mask.turn_height <= min(max_height, 8e-6) * (1 + 1e-8)
    )


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(scale=st.floats(-3, 4), seed=st.integers(0, 99), max_slope=st.floats(0.02, 1.0))
def test_zernike_surface_keeps_relief_and_slope_limits(scale, seed, max_slope):
    mask = ZernikeSurface(
        aperture_diameter=0.3e-3, cell=5e-6, modes=30, max_height=20e-6, max_slope=max_slope,
        seed=seed,
    )  # fmt: skip
    with torch.no_grad():
        mask.coefficients *= 10**scale
    height = mask.height().detach()
    assert float(height.min()) == 0.0
    assert float(height.max()) <= 20e-6 * (1 + 1e-12)
    inside = torch.hypot(*torch.meshgrid(*[torch.arange(60) - 29.5] * 2, indexing="ij")) <= 30
    whole = inside[:-1, :-1] & inside[1:, :-1] & inside[:-1, 1:]
    slope = torch.hypot(torch.diff(height, dim=0)[:, :-1], torch.diff(height, dim=1)[:-1]) / 5e-6
    steepest = float(slope[whole].max())
    assert steepest <= max_slope * (1 + 1e-9)
    # nor does the phase turn by more than half a wave per cell at 0.41 um
    step = float(material("ip_s").index(0.41e-6)) - 1
    assert steepest * 5e-6 * step / 0.41e-6 <= 0.5


def test_a_gentle_zernike_surface_is_not_scaled():
    mask = ZernikeSurface(aperture_diameter=1e-3, cell=8e-6, modes=3, start_rms=0.2e-6)
    surface = mask.free()
    torch.testing.assert_close(mask.height(), surface - surface.min())
    assert float(mask.excess().detach()) == 0.0


def test_zernike_excess_has_a_gradient_that_shrinks_the_surface():
    mask = ZernikeSurface(aperture_diameter=0.3e-3, cell=4e-6, modes=20, start_rms=30e-6)
    (slope,) = torch.autograd.grad(mask.excess(), mask.coefficients)
    assert bool(slope.isfinite().all())
    assert float((slope * mask.coefficients.detach()).sum()) > 0  # along the coefficients it grows


@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
def test_zernike_height_has_finite_gradients_even_for_a_flat_start(scale):
    mask = ZernikeSurface(aperture_diameter=0.2e-3, cell=8e-6, modes=12)
    with torch.no_grad():
        mask.coefficients *= scale
    (slope,) = torch.autograd.grad(mask.height().sin().sum(), mask.coefficients)
    assert bool(slope.isfinite().all())


def test_zernike_height_passes_gradcheck_where_the_limits_bind():
    mask = ZernikeSurface(aperture_diameter=0.1e-3, cell=10e-6, modes=6, start_rms=20e-6)
    start = mask.coefficients.detach().clone().requires_grad_()

    def micrometres(coefficients):
        height = torch.func.functional_call(_Height(mask), {"mask.coefficients": coefficients}, ())
        return height * 1e6

    assert torch.autograd.gradcheck(micrometres, start)


class _Height(torch.nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.mask = mask

    def forward(self):
        return self.mask.height()


@pytest.mark.parametrize(
    ("profile", "share"),
    # a Gaussian cut at radius c keeps 1 - (c^2/2) e^-(c^2/2) / (1 - e^-(c^2/2)) of its variance
    [("gaussian", 1 - 3.38 * math.exp(-3.38) / (1 - math.exp(-3.38))), ("disc", 1.0)],
)
def test_carrier_spreads_light_by_the_wanted_standard_deviation(profile, share):
    """Geometrical optics: every cell sends its light along the slope of the optical path."""
    spread, cell = 8e-3, 4e-6
    mask = relief(profile=profile, spread=spread, aperture_diameter=2e-3)
    path = mask.surface().detach() * mask.index_step
    angle = torch.diff(path, dim=1) / cell
    inside = torch.hypot(*torch.meshgrid(*[torch.arange(500) - 249.5] * 2, indexing="ij")) <= 249
    inside = inside[:, 1:] & inside[:, :-1]
    deviation = float(angle[inside].square().mean().sqrt())
    # the outermost cell of 250, 0.8 % of the light, is left out; it deflects most
    assert deviation == pytest.approx(spread * math.sqrt(share), rel=2e-2)


def test_spread_scales_the_carrier_and_only_that():
    narrow = relief(profile="gaussian", spread=4e-3)
    wide = relief(profile="gaussian", spread=8e-3)
    torch.testing.assert_close(wide.surface(), 2 * narrow.surface())
    assert wide.spread == pytest.approx(8e-3, rel=1e-12)


@pytest.mark.parametrize("name", ["fused_silica", "n_bk7", "pdms"])
@pytest.mark.parametrize("wavelength", [450e-9, 540e-9, 633e-9])
def test_a_height_of_one_wavelength_over_the_index_step_is_one_turn(name, wavelength):
    mask = relief(material=name, design_wavelength=wavelength)
    step = float(material(name).index(wavelength)) - 1
    assert mask.turn_height == pytest.approx(wavelength / step, rel=1e-15)
    with torch.no_grad():
        mask.turns.fill_(0.25)
    quarter = mask.phasor(torch.tensor([wavelength], dtype=torch.float64), dtype=torch.float64)
    # exp(+i pi / 2): height delays, and a delay is a positive phase for exp(-i omega t)
    torch.testing.assert_close(quarter, torch.full_like(quarter, 1j), rtol=0, atol=1e-12)


def test_phase_follows_dispersion():
    mask = relief()
    with torch.no_grad():
        mask.turns.fill_(0.4)
    blue = 450e-9
    phase = 2 * math.pi / blue * (float(material("fused_silica").index(blue)) - 1)
    phase *= 0.4 * mask.turn_height
    field = mask.phasor(torch.tensor([blue], dtype=torch.float64), dtype=torch.float64)[0]
    expected = torch.polar(torch.ones(()).double(), torch.tensor(phase).double())
    # the free heights are float32: 6e-8 of 0.5 turns
    torch.testing.assert_close(field, expected.expand_as(field), rtol=0, atol=1e-6)


def test_a_flat_mask_does_nothing():
    mask = FlatMask(aperture_diameter=1e-3, cell=10e-6)
    wave = torch.tensor([450e-9, 650e-9], dtype=torch.float64)
    assert mask.phasor(wave).dtype == torch.complex64
    assert bool((mask.phasor(wave) == 1).all())
    assert mask.phasor(wave).shape == (2, 100, 100)


def test_module_double_converts_a_mask():
    assert relief().double().turns.dtype == torch.float64


def test_a_spread_the_cells_cannot_deflect_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"spread = 0\.05 rad.*use spread <= ([\d.]+)") as caught:
        relief(profile="gaussian", spread=50e-3)
    allowed = float(str(caught.value).split("spread <= ")[1].split()[0])
    relief(profile="gaussian", spread=allowed * 0.99)


def test_too_shallow_a_process_is_refused_with_what_is_needed():
    with pytest.raises(ValueError, match=r"one wavelength of delay needs 1\.17\d*e-06 m"):
        relief(max_height=1e-6)
    with pytest.raises(ValueError, match=r"at most 0\.2 cells"):
        relief(max_aspect=0.2)


def test_an_unknown_profile_is_refused():
    with pytest.raises(ValueError, match="profile = 'square', expected"):
        relief(profile="square")


def test_random_profile_is_reproducible_and_fills_the_relief():
    one, two = relief(profile="random", seed=3), relief(profile="random", seed=3)
    assert torch.equal(one.height(), two.height())
    assert not torch.equal(one.height(), relief(profile="random", seed=4).height())
    # uniform over the wrap: mean one half, standard error 1 / sqrt(12 * 1e4) = 0.003
    wrap = one.orders * one.turn_height
    assert float(one.height().detach().mean()) / wrap == pytest.approx(0.5, abs=0.012)


def test_excess_of_a_relief_is_the_roughness_of_its_free_heights():
    mask = relief(aperture_diameter=40e-6)
    assert float(mask.excess().detach()) == 0.0
    with torch.no_grad():
        mask.turns += torch.arange(10.0)  # one turn per cell along x
    assert float(mask.excess().detach()) == pytest.approx(1.0, rel=1e-6)
