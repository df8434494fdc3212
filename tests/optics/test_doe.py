"""Multi-level relief: levels, gradients through the rounding, and the efficiency of a blaze."""

import math

import pytest
import torch

from optics.masks import MultilevelRelief
from optics.masks.doe import soft_round, split_levels
from optics.propagation import to_sensor

GREEN = 540e-9
WAVE = torch.tensor([GREEN], dtype=torch.float64)


def relief(**changes):
    base = {"aperture_diameter": 0.128e-3, "cell": 4e-6, "profile": "flat", "levels": 4}
    return MultilevelRelief(**(base | changes))


def blaze(levels, periods):
    """Blaze along x with one cell per level."""
    mask = relief(levels=levels, aperture_diameter=levels * periods * 4e-6)
    with torch.no_grad():
        mask.turns += torch.arange(mask.samples) / levels
    return mask


def order_efficiency(mask, order, period, wave=WAVE):
    """Light in a diffraction order of a periodic mask of flat cells: DFT times the cell's sinc."""
    with torch.no_grad():
        field = mask.phasor(wave, dtype=torch.float64)
    place = torch.arange(mask.samples, dtype=torch.float64)
    wave_x = torch.polar(torch.ones_like(place), -2 * math.pi * order * place / period)
    amplitude = (field * wave_x).mean((-2, -1))
    return (amplitude * torch.sinc(field.real.new_tensor(order / period))).abs().square()


@pytest.mark.parametrize(
    ("levels", "expected"), [(2, 0.4053), (4, 0.8106), (8, 0.9496), (16, 0.9872)]
)
def test_blaze_of_n_levels_sends_sinc_squared_of_one_nth_into_its_order(levels, expected):
    mask = blaze(levels, 2)
    got = float(order_efficiency(mask, 1, levels))
    exact = (math.sin(math.pi / levels) * levels / math.pi) ** 2
    assert got == pytest.approx(exact, abs=1e-12)
    assert got == pytest.approx(expected, abs=5e-5)


def test_same_efficiency_through_the_propagator_and_the_pixel_sinc():
    levels, periods = 4, 8
    mask = blaze(levels, periods)
    side, z = mask.samples * mask.cell, 0.05
    reach = GREEN * z / (levels * mask.cell)  # where the first order lands
    with torch.no_grad():
        field = to_sensor(
            mask.phasor(WAVE, dtype=torch.float64), spacing=mask.cell, wavelength=WAVE, distance=z,
            points=(1, 1), pitch=1e-6, offset=(0.0, reach),
        )  # fmt: skip
    sinc = math.sin(math.pi / levels) * levels / math.pi
    # at its centre an order of efficiency e has e times the peak of the open aperture
    peak = float(field.abs().square()) * (GREEN * z / side**2) ** 2 * sinc**2
    assert peak == pytest.approx(sinc**2, abs=1e-12)


def test_even_a_colour_beside_the_design_keeps_the_sum_of_the_orders():
    """Parseval: efficiencies of all orders add to one, with the sinc."""
    mask = blaze(4, 2)
    blue = torch.tensor([450e-9], dtype=torch.float64)
    # beyond order M the sinc^2 and a quarter of the light per DFT bin leave 8 / (pi^2 M)
    some = sum(float(order_efficiency(mask, order, 4, blue)) for order in range(-200, 201))
    assert 1 - 8 / (math.pi**2 * 200) <= some < 1


@pytest.mark.parametrize("rounding", ["straight_through", "annealed"])
def test_evaluated_heights_are_exactly_on_the_levels(rounding):
    mask = relief(profile="random", rounding=rounding, levels=8, aperture_diameter=0.1e-3).eval()
    with torch.no_grad():
        mask.turns += 3 * torch.randn(mask.turns.shape, generator=torch.Generator().manual_seed(0))
        height = mask.height()
    levels = torch.arange(8, dtype=torch.float64) * mask.level_height
    assert set(height.unique().tolist()) <= set(levels.tolist())
    assert len(height.unique()) == 8
    assert float(height.max()) <= mask.max_height
    nearest = (mask.surface().detach() / mask.level_height).round().remainder(8)
    assert torch.equal(mask.level(), nearest.long())


def test_top_level_wraps_to_zero():
    mask = relief(levels=4)
    with torch.no_grad():
        mask.turns.fill_(0.9)  # nearer to one turn than to three quarters
    assert float(mask.height().detach().abs().max()) == 0.0


def test_straight_through_gradient_is_that_of_the_surface():
    mask = relief(profile="gaussian", spread=5e-3)
    weight = torch.randn(mask.samples, mask.samples, dtype=torch.float64)
    parameters = [mask.turns, mask.log_spread]
    rounded = torch.autograd.grad((mask.height() * weight).sum(), parameters)
    smooth = torch.autograd.grad((mask.surface() * weight).sum(), parameters)
    for a, b in zip(rounded, smooth, strict=True):
        torch.testing.assert_close(a, b)


def test_annealed_staircase_passes_gradcheck_and_runs_from_line_to_steps():
    steps = torch.linspace(-1.3, 3.4, 17, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(soft_round, (steps, steps.new_tensor(3.0)))
    line = soft_round(steps, steps.new_tensor(1e-4))
    torch.testing.assert_close(line, steps, rtol=0, atol=1e-8)  # b^2 / 24 at most
    sharp = soft_round(steps, steps.new_tensor(1e4))
    torch.testing.assert_close(sharp, steps.round(), rtol=0, atol=1e-12)


def test_annealing_brings_the_trained_heights_to_the_levels():
    mask = relief(profile="random", rounding="annealed")
    errors = []
    for share in (0.0, 0.5, 1.0):
        mask.anneal(share)
        steps = mask.height().detach() / mask.level_height
        errors.append(float((steps - steps.round()).abs().mean()))
    assert errors[0] > errors[1] > errors[2]
    # uniform heights: a quarter for the line; at b = 60 only 1/60 about each half step is off
    assert errors[0] == pytest.approx(0.25, abs=0.03)
    assert errors[2] < 1 / 60
    (slope,) = torch.autograd.grad(mask.height().sum(), mask.turns)
    assert bool(slope.isfinite().all())


def test_bits_are_the_etches():
    level = torch.arange(8).reshape(2, 4)
    bits = split_levels(level, 8)
    assert bits.shape == (3, 2, 4)
    assert torch.equal(bits[0] + 2 * bits[1] + 4 * bits[2], level.to(torch.float64))


def test_stored_parameters_restore_the_mask():
    mask = relief(profile="gaussian", rounding="annealed")
    mask.anneal(0.7)
    other = relief(profile="gaussian", rounding="annealed", spread=3e-3)
    other.load_state_dict(mask.state_dict())
    assert torch.equal(mask.height(), other.height())


def test_bad_settings_say_what_is_allowed():
    with pytest.raises(ValueError, match=r"levels = 6: n etches make 2\^n levels; use 4 or 8"):
        relief(levels=6)
    with pytest.raises(ValueError, match=r"rounding = 'soft', expected"):
        relief(rounding="soft")
    with pytest.raises(ValueError, match=r"share = 2 is outside \[0, 1\]"):
        relief().anneal(2)
    with pytest.raises(ValueError, match=r"max_height = 1e-07 m .* allow a deeper relief"):
        relief(max_height=1e-7)
