"""B-spline surfaces: what splines promise, and the limits of the process."""

import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.interpolate import BSpline

from optics.masks import BSplineSurface
from optics.masks.bspline import spline_matrix


def surface(**changes):
    base = {"aperture_diameter": 0.3e-3, "cell": 5e-6, "controls": 9, "max_height": 20e-6}
    return BSplineSurface(**(base | changes))


def grid(mask):
    return (torch.arange(mask.samples, dtype=torch.float64) - (mask.samples - 1) / 2) * mask.cell


def test_matrix_is_scipys_cubic_spline():
    place = torch.linspace(0, 6, 50, dtype=torch.float64)
    values = torch.randn(9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    reference = BSpline(np.arange(-3, 10), values.numpy(), 3)(place.numpy())
    got = spline_matrix(place, 9) @ values
    torch.testing.assert_close(got, torch.from_numpy(reference), rtol=1e-13, atol=1e-14)


def test_cubic_polynomials_are_reproduced_exactly():
    mask = surface(max_slope=10.0, max_height=1e-2)
    y, x = grid(mask)[:, None] / 1e-4, grid(mask) / 1e-4
    wanted = 1e-8 * ((y**3 - 2 * y + 1) * (x**3 + x**2) + 3 * y**2 * x)
    mask.fit(wanted)
    with torch.no_grad():
        # least squares at a condition number of some hundreds
        torch.testing.assert_close(mask.surface(), wanted, rtol=0, atol=1e-12 * 1e-7)
        assert float(mask.excess()) == 0.0
        above = mask.height() - wanted
    assert float(above.max() - above.min()) < 1e-19  # `height` only puts the lowest at 0 or above


def test_second_derivative_is_continuous():
    place = torch.arange(0, 6, 1e-4, dtype=torch.float64)
    values = torch.randn(9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    curve = spline_matrix(place, 9) @ values
    bend = torch.diff(curve, n=2) / 1e-8
    # a step of the third derivative, at most 8 values of 3, moves it by that times 1e-4
    assert float(torch.diff(bend).abs().max()) < 24 * 1e-4 + 1e-5


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(scale=st.floats(-3, 4), seed=st.integers(0, 99), max_slope=st.floats(0.02, 1.0))
def test_relief_and_slope_keep_their_limits(scale, seed, max_slope):
    mask = surface(max_slope=max_slope, seed=seed)
    with torch.no_grad():
        mask.coefficients *= 10**scale
        height = mask.height()
    assert float(height.min()) >= 0
    assert float(height.max()) <= 20e-6 * (1 + 1e-12)
    slope = torch.hypot(torch.diff(height, dim=0)[:, :-1], torch.diff(height, dim=1)[:-1]) / 5e-6
    assert float(slope.max()) <= mask.slope_limit * (1 + 1e-9)


@pytest.mark.parametrize("angle", [0.0, 0.9, math.pi / 2])
def test_ramp_in_any_direction_uses_up_the_slope_limit(angle):
    mask = surface(max_slope=0.02)
    y, x = grid(mask)[:, None], grid(mask)
    mask.fit(3.0 * (math.sin(angle) * y + math.cos(angle) * x))
    height = mask.height().detach()
    steps = torch.diff(height, dim=0)[:, :-1], torch.diff(height, dim=1)[:-1]
    slope = torch.hypot(*steps) / mask.cell
    torch.testing.assert_close(slope, torch.full_like(slope, mask.slope_limit), rtol=1e-8, atol=0)


@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_height_passes_gradcheck_within_and_beyond_the_limits(scale):
    mask = surface(aperture_diameter=0.06e-3, controls=5)
    start = (mask.coefficients.detach() * scale).requires_grad_()

    def micrometres(coefficients):
        values = {"mask.coefficients": coefficients}
        return torch.func.functional_call(_Height(mask), values, ()) * 1e6

    assert torch.autograd.gradcheck(micrometres, start)


class _Height(torch.nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.mask = mask

    def forward(self):
        return self.mask.height()


def test_flat_start_has_a_finite_gradient():
    mask = surface()
    with torch.no_grad():
        mask.coefficients.zero_()
    (slope,) = torch.autograd.grad(mask.height().sin().sum() + mask.excess(), mask.coefficients)
    assert bool(slope.isfinite().all())


def test_excess_is_zero_within_the_limits_and_shrinks_the_surface_beyond():
    assert float(surface(start_rms=1e-8).excess().detach()) == 0.0
    mask = surface(start_rms=50e-6)
    (slope,) = torch.autograd.grad(mask.excess(), mask.coefficients)
    assert float((slope * mask.coefficients.detach()).sum()) > 0


def test_more_controls_than_samples_are_refused():
    with pytest.raises(ValueError, match=r"controls = 61: 60 samples .* use fewer"):
        surface(controls=61)
    with pytest.raises(ValueError, match=r"controls = 3: a whole number of at least 4"):
        surface(controls=3)
    with pytest.raises(ValueError, match=r"surface is \(4, 5\), expected \(60, 60\)"):
        surface().fit(torch.zeros(4, 5))
