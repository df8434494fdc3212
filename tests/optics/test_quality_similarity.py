"""Registration of PSFs to a fraction of a pixel."""

import math

import pytest
import torch

from optics.grids import coordinates
from optics.quality import register


def spots(shape=(41, 52), shift=(0.0, 0.0), energy=1.0, turn=0.0):
    """Three Gaussians, no symmetry; `turn` changes the shape."""
    y = coordinates(shape[0], 1.0)[:, None] - shift[0]
    x = coordinates(shape[1], 1.0)[None, :] - shift[1]
    total = torch.zeros(shape, dtype=torch.float64)
    for y0, x0, sigma, weight in ((0, 0, 1.6, 1.0), (3, -4, 1.3, 0.5), (-2, 5 + turn, 2.0, 0.7)):
        total = total + weight * torch.exp(-((y - y0) ** 2 + (x - x0) ** 2) / (2 * sigma**2))
    return energy * total / spots_sum


spots_sum = 1.0
spots_sum = float(spots().sum())


@pytest.mark.parametrize(
    "shift", [(0.0, 0.0), (0.237, -0.811), (-6.5, 9.25), (3.0, 0.5), (0.004, 0.0)]
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_shift_is_recovered_to_a_hundredth_of_a_pixel(shift, dtype):
    found = register(spots(shift=shift).to(dtype), spots().to(dtype))
    # band-limited to 1e-4 of the peak: far better than the hundredth asked for
    torch.testing.assert_close(found.shift, torch.tensor(shift, dtype=dtype), rtol=0, atol=1e-3)
    assert float(found.correlation) == pytest.approx(1, abs=1e-5)
    assert float(found.difference) < 2e-3
    assert found.shift.dtype == dtype


def test_a_shift_larger_than_half_the_window_is_not_wrapped():
    a, b = torch.zeros(40, 48, dtype=torch.float64), torch.zeros(40, 48, dtype=torch.float64)
    a[:9, :11], b[-9:, -11:] = spots((9, 11)), spots((9, 11))
    found = register(b, a)
    torch.testing.assert_close(
        found.shift, torch.tensor([31.0, 37.0], dtype=torch.float64), rtol=0, atol=1e-6
    )


def test_energy_changes_the_difference_and_not_the_correlation():
    found = register(spots(shift=(1.3, 0.4), energy=0.7), spots())
    assert float(found.correlation) == pytest.approx(1, abs=1e-6)
    assert float(found.difference) == pytest.approx(0.3, abs=1e-4)


def test_another_shape_has_a_lower_correlation_that_no_shift_beats():
    given, wanted = spots(shift=(0.31, -0.47), turn=1.5), spots()
    found = register(given, wanted)
    assert 0.9 < float(found.correlation) < 0.999
    norm = float((given.square().sum() * wanted.square().sum()).sqrt())
    for dy in (-0.2, 0.0, 0.2):
        for dx in (-0.2, 0.0, 0.2):
            y, x = float(found.shift[0]) + dy, float(found.shift[1]) + dx
            moved = float((given * spots(shift=(y, x))).sum()) / norm
            assert moved <= float(found.correlation) + 1e-6


def test_difference_of_two_shapes_is_the_relative_l2_distance():
    found = register(spots(turn=0.8), spots())
    y, x = found.shift.tolist()
    expected = (spots(turn=0.8) - spots(shift=(y, x))).square().sum() / spots().square().sum()
    assert float(found.difference) == pytest.approx(math.sqrt(float(expected)), rel=1e-4)


def test_a_batch_is_registered_one_by_one():
    shifts = [[(0.2, 1.4), (-3.3, 0.0)], [(5.1, -2.2), (0.0, 0.6)], [(1.0, 1.0), (-0.7, 0.7)]]
    stack = torch.stack([torch.stack([spots(shift=s) for s in row]) for row in shifts])
    found = register(stack, spots().expand_as(stack))
    assert found.correlation.shape == (3, 2)
    expected = torch.tensor(shifts, dtype=torch.float64)
    torch.testing.assert_close(found.shift, expected, rtol=0, atol=1e-3)


def test_noise_moves_the_shift_by_its_cramer_rao_bound():
    """Variance of a shift: noise variance over the energy of the slope (Cramer-Rao)."""
    wanted, sigma = spots(), 1e-4
    generator = torch.Generator().manual_seed(0)
    stack = wanted + sigma * torch.randn(200, *wanted.shape, dtype=torch.float64,
                                         generator=generator)  # fmt: skip
    found = register(stack, wanted.expand_as(stack))
    slope = (spots(shift=(1e-4, 0.0)) - spots(shift=(-1e-4, 0.0))) / 2e-4
    other = (spots(shift=(0.0, 1e-4)) - spots(shift=(0.0, -1e-4))) / 2e-4
    fisher = torch.tensor(
        [[slope.square().sum(), (slope * other).sum()], [(slope * other).sum(),
                                                         other.square().sum()]]
    )  # fmt: skip
    bound = (sigma**2 * fisher.inverse().diagonal()).sqrt()
    # 200 draws: 4.5 / sqrt(400)
    torch.testing.assert_close(found.shift.std(0), bound.double(), rtol=0.225, atol=0)


def test_registration_gradcheck():
    given = spots((9, 10), shift=(0.3, -0.2), turn=-3.0)
    wanted = spots((9, 10), turn=-4.0)

    def all_three(psf, reference):
        found = register(psf, reference)
        # as one tensor: gradcheck passes over outputs that carry no gradient at all
        return torch.cat([found.shift, found.correlation[None], found.difference[None]])

    assert torch.autograd.gradcheck(all_three, (given.requires_grad_(), wanted.requires_grad_()))


def test_equal_psfs_have_a_finite_gradient():
    psf = spots((9, 10)).requires_grad_()
    found = register(psf, psf.detach().clone())
    (slope,) = torch.autograd.grad(found.difference + found.correlation, psf)
    assert bool(slope.isfinite().all())


def test_what_cannot_be_registered_is_refused():
    with pytest.raises(ValueError, match=r"psf is \(4, 5\) and reference \(4, 6\)"):
        register(torch.ones(4, 5), torch.ones(4, 6))
    with pytest.raises(ValueError, match="zero everywhere"):
        register(torch.ones(4, 5), torch.zeros(4, 5))
    with pytest.raises(ValueError, match="upsampling = 0"):
        register(torch.ones(4, 5), torch.ones(4, 5), upsampling=0)
