"""Fabrication errors against what they do to gratings, edges and waves."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch.autograd import gradcheck

from optics import Errors, Fabricated, Fabrication
from optics.fabrication import THERMAL, Thermal, cells, surface
from optics.masks import BSplineSurface, DeformableMirror, FlatMask, MultilevelRelief, WrappedRelief
from tests.optics.cameras import FreeHeight, small_camera, smooth_height, wave

CELL = 4e-6


def scalar(value):
    return torch.tensor(value, dtype=torch.float64)


def random_height(*shape, seed=0):
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def efficiency(turns, period, order=1):
    """Light in one order of flat cells along x, `turns` (N,): DFT times the cell's sinc."""
    place = torch.arange(len(turns), dtype=torch.float64)
    phase = 2 * math.pi * (turns - order * place / period)
    amplitude = torch.polar(torch.ones_like(phase), phase).mean()
    return float((amplitude * torch.sinc(scalar(order / period))).abs().square())


def blaze(levels, periods=2, **changes):
    mask = MultilevelRelief(
        aperture_diameter=levels * periods * CELL, cell=CELL, levels=levels, profile="flat"
    )
    with torch.no_grad():
        mask.turns += torch.arange(mask.samples) / levels
    return mask


# etch depth


@pytest.mark.parametrize("error", [0.0, 0.03, -0.05, 0.2])
def test_etch_error_on_a_blaze_leaves_sinc_squared_of_the_error(error):
    """With N levels exactly sinc^2(1/N) (sin pi e / N sin(pi e / N))^2; sinc^2(e) for many."""
    levels = 64
    made = Fabricated(
        blaze(levels, 1), fabrication=Fabrication(), errors=Errors(etch_scale=scalar(error))
    )
    turns = made.height().detach()[0] / made.turn_height
    got = efficiency(turns, levels)
    few = (
        torch.sinc(scalar(1 / levels))
        * torch.sinc(scalar(error))
        / torch.sinc(error / scalar(levels))
    )
    assert got == pytest.approx(float(few.square()), abs=1e-12)
    assert got == pytest.approx(float(torch.sinc(scalar(error)).square()), abs=1e-3)  # 1 / 64^2


# levels


def test_rounding_keeps_within_half_a_level_and_passes_the_gradient_on():
    height = (random_height(7, 9) * 3e-6).requires_grad_()
    made = surface.round_levels(height, level_height=0.25e-6, levels=16)
    assert float((made - height).detach().abs().max()) <= 0.125e-6 * (1 + 1e-9)
    (slope,) = torch.autograd.grad((made * random_height(7, 9, seed=1)).sum(), height)
    torch.testing.assert_close(slope, random_height(7, 9, seed=1))


def test_a_height_next_to_the_wrap_is_level_zero():
    made = surface.round_levels(torch.tensor([[0.97e-6]]), level_height=0.25e-6, levels=4)
    assert made.item() == 0.0


# minimum feature


@pytest.mark.parametrize(("width", "left"), [(1, 0.0), (2, 0.0), (3, 1.0), (5, 1.0)])
def test_ridges_and_gaps_narrower_than_the_feature_disappear(width, left):
    height = torch.zeros(20, 24, dtype=torch.float64)
    height[:, 8 : 8 + width] = 1.0
    ridge = surface.minimum_feature(height, cells=3)
    torch.testing.assert_close(ridge, height * left)
    gap = surface.minimum_feature(1 - height, cells=3)
    torch.testing.assert_close(gap, 1 - height * left)


@pytest.mark.parametrize("cells", [2, 3])
def test_minimum_feature_is_idempotent_and_passes_gradcheck(cells):
    height = random_height(7, 9)
    once = surface.minimum_feature(height, cells=cells)
    torch.testing.assert_close(surface.minimum_feature(once, cells=cells), once)
    assert gradcheck(lambda h: surface.minimum_feature(h, cells=cells), height.requires_grad_())


def test_minimum_feature_does_not_move_the_surface():
    """An even square has no centre cell: erosion and dilation must lean opposite ways."""
    height = torch.zeros(12, 12, dtype=torch.float64)
    height[3:7, 5:9] = 1.0
    for side in (2, 3, 4):
        torch.testing.assert_close(surface.minimum_feature(height, cells=side), height)


# overlay


def test_overlay_of_a_binary_layer_moves_it_towards_larger_columns():
    level = torch.zeros(4, 8, dtype=torch.int64)
    level[:, 3] = 2  # the stronger of two masks
    shifts = torch.tensor([[0.0, 0.0], [0.0, 0.25 * CELL]], dtype=torch.float64)
    parts = cells.shifted_levels(level, levels=4, shifts=shifts, cell=CELL)
    made = sum(share * part for share, part in parts) * 1e-7
    expected = torch.tensor([0, 0, 0, 0.75, 0.25, 0, 0, 0], dtype=torch.float64) * 2e-7
    torch.testing.assert_close(made, expected.expand(4, 8), rtol=1e-12, atol=1e-20)


@pytest.mark.parametrize("share", [0.25, -0.5, 1.5])
def test_misaligned_four_level_blaze_has_the_efficiency_of_its_slivers(share):
    """Phase is constant between the edges of both masks: the order's integral is a sum."""
    made = Fabricated(
        blaze(4, 3), fabrication=Fabrication(levels=4), oversample=8,
        errors=Errors(overlay=torch.tensor([[0.0, 0.0], [0.0, share * CELL]])),
    )  # fmt: skip
    turns = made.height().detach()[0][32:64] / made.turn_height  # one period away from the edges
    got = efficiency(turns, 32)

    edges = sorted({0.0, 1.0, 2.0, 3.0, 4.0, share % 4, (share + 2) % 4})
    amplitude = 0
    for low, high in itertools.pairwise(edges):
        centre = (low + high) / 2
        value = 0.25 * (int(centre) % 2) + 0.5 * (((centre - share) % 4) >= 2)
        wave_ = [complex(math.cos(a), math.sin(a)) for a in (math.pi * high / 2, math.pi * low / 2)]
        inner = (wave_[0].conjugate() - wave_[1].conjugate()) / (-0.5j * math.pi) / 4
        amplitude += inner * complex(math.cos(2 * math.pi * value), math.sin(2 * math.pi * value))
    assert got == pytest.approx(abs(amplitude) ** 2, abs=1e-12)
    assert got < 0.8


def test_overlay_keeps_the_volume_inside_and_has_the_gradient_of_the_shift():
    level = torch.zeros(9, 11, dtype=torch.int64)
    level[3:6, 4:8] = torch.randint(0, 8, (3, 4), generator=torch.Generator().manual_seed(0))

    def made(shifts):
        parts = cells.shifted_levels(level, levels=8, shifts=shifts, cell=1.0)
        return sum(share * part for share, part in parts)

    shifts = (random_height(3, 2) * 2 - 1).requires_grad_()
    assert float(made(shifts).detach().sum()) == pytest.approx(float(level.sum()), rel=1e-12)
    assert gradcheck(made, shifts)


# blur


@pytest.mark.parametrize("sigma", [0.0, 0.3, 2.5])
def test_blur_of_a_cosine_is_its_gaussian_transfer(sigma):
    """Cosines that end flat at both edges are what mirrored edges leave in shape."""
    rows, columns = 24, 40
    y, x = (torch.arange(n, dtype=torch.float64) + 0.5 for n in (rows, columns))
    height = torch.cos(math.pi * 3 * y / rows)[:, None] * torch.cos(math.pi * 5 * x / columns)
    got = surface.lateral_blur(height, sigma=scalar(sigma * CELL), cell=CELL, pixelated=False)
    f = (3 / (2 * rows)) ** 2 + (5 / (2 * columns)) ** 2
    expected = height * math.exp(-2 * (math.pi * sigma) ** 2 * f)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sigma", [0.0, 0.2, 1.3])
def test_blur_of_a_cell_edge_is_the_mean_of_the_error_function(sigma):
    height = torch.zeros(10, 40, dtype=torch.float64)
    height[:, 20:] = 1.0
    got = surface.lateral_blur(height, sigma=scalar(sigma * CELL), cell=CELL, pixelated=True)
    parts = 2000
    place = (torch.arange(40 * parts, dtype=torch.float64) + 0.5) / parts - 20
    exact = torch.special.ndtr(place / sigma) if sigma else (place > 0).to(torch.float64)
    # midpoints of 1/2000 of a cell; beyond 5 sigma 6e-7 is cut off
    torch.testing.assert_close(got[4], exact.reshape(40, parts).mean(1), rtol=0, atol=2e-6)


@pytest.mark.parametrize("pixelated", [True, False])
@pytest.mark.parametrize("sigma", [0.15, 1.1])
def test_blur_keeps_the_volume_and_passes_gradcheck(pixelated, sigma):
    height = random_height(9, 11).requires_grad_()
    width = scalar(sigma * CELL).requires_grad_()

    def blurred(h, s):
        return surface.lateral_blur(h, sigma=s * CELL, cell=CELL, pixelated=pixelated)

    got = blurred(height, width / CELL).detach()
    assert float(got.sum()) == pytest.approx(float(height.detach().sum()), rel=1e-12)
    assert gradcheck(blurred, (height, (width / CELL).detach().requires_grad_()))


def test_blur_has_a_finite_gradient_where_there_is_none():
    for pixelated in (True, False):
        width = scalar(0.0).requires_grad_()
        made = surface.lateral_blur(
            random_height(9, 11), sigma=width, cell=1.0, pixelated=pixelated
        )
        (slope,) = torch.autograd.grad(made.square().sum(), width)
        assert bool(slope.isfinite())


# tilt and decentre


def test_wedge_moves_the_spot_as_a_prism_does():
    made = Fabricated(
        FlatMask(aperture_diameter=1e-3, cell=1e-3 / 64), fabrication=Fabrication(),
        errors=Errors(tilt=torch.tensor([0.0, 1.5e-3])),
    )  # fmt: skip
    camera = small_camera(made, window=61)
    spot = camera.spot(1.0, wave(550e-9)).detach()[0]
    place = (torch.arange(61) - 30) * 5e-6
    column = float((spot.sum(0) * place).sum() / spot.sum())
    step = float(made.material.index(550e-9)) - 1
    # the window cuts the wings of the Airy pattern: 1 % of their moment
    assert column == pytest.approx(step * 1.5e-3 * camera.sensor_distance, rel=0.02)


def test_decentre_of_a_smooth_surface_is_that_of_the_formula():
    y, x = torch.arange(40, dtype=torch.float64)[:, None], torch.arange(30, dtype=torch.float64)
    wave_ = lambda y, x: torch.sin(0.2 * y) * torch.cos(0.15 * x)  # noqa: E731
    got = surface.decentre_smooth(wave_(y, x), torch.tensor([2.3, -1.6], dtype=torch.float64))
    # cubic convolution: some (0.2)^3 times 0.1 away from the edges
    error = (got - wave_(y - 2.3, x + 1.6))[5:-5, 5:-5].abs().max()
    assert float(error) < 1e-3


def test_decentre_of_a_parabola_is_exact():
    x = torch.arange(20, dtype=torch.float64)
    got = surface.decentre_smooth((x**2).expand(20, 20), scalar([0.0, 1.7]))
    torch.testing.assert_close(got[:, 5:-5], ((x - 1.7) ** 2).expand(20, 20)[:, 5:-5])


def test_decentre_of_cells_is_whole_and_its_gradient_knows_the_wrap():
    ramp = (torch.arange(12, dtype=torch.float64) * 0.3).remainder(1.0).expand(6, 12)
    shift = scalar([1.2, -2.4]).requires_grad_()
    made = surface.decentre_cells(ramp, shift, wrap_height=1.0)
    torch.testing.assert_close(made[:, :10], ramp[:, 2:])
    (slope,) = torch.autograd.grad(made[3, 5], shift)
    torch.testing.assert_close(slope, scalar([0.0, -0.3]))  # across wraps too


def test_decentre_moves_the_surface_towards_larger_rows_and_columns():
    mask = FreeHeight(smooth_height(64, CELL, 1e-6, 5e-5), CELL)
    made = Fabricated(
        mask, fabrication=Fabrication(), errors=Errors(decentre=scalar([2 * CELL, 3 * CELL]))
    )
    torch.testing.assert_close(made.height()[2:, 3:], mask.height()[:-2, :-3])


# temperature


def test_warm_silica_delays_by_index_and_expansion():
    mask = FreeHeight(torch.full((8, 8), 1e-6, dtype=torch.float64), CELL)
    made = Fabricated(mask, fabrication=Fabrication(), errors=Errors(temperature=scalar(30.0)))
    known = THERMAL["fused_silica"]
    n = mask.index_step
    expected = (n + known.index_rate * 30) / n * (1 + known.expansion * 30)
    assert float(made.height()[0, 0].detach() / 1e-6) == pytest.approx(expected, rel=1e-12)


def test_unknown_answers_to_temperature_are_refused_unless_given():
    mask = BSplineSurface(aperture_diameter=0.1e-3, cell=5e-6, controls=5)
    errors = Errors(temperature=scalar(10.0))
    with pytest.raises(ValueError, match=r"nothing is known of ip_s, only of fused_silica"):
        Fabricated(mask, fabrication=Fabrication(), errors=errors).height()
    given = Thermal(-1e-4, 1e-4, "a guess")
    made = Fabricated(mask, fabrication=Fabrication(), errors=errors, thermal=given)
    assert bool((made.height() < mask.height()).any())


# the process


def test_perfect_process_returns_the_design():
    masks = [
        WrappedRelief(aperture_diameter=0.2e-3, cell=CELL),
        FreeHeight(smooth_height(64, CELL, 1e-6, 5e-5), CELL),
        DeformableMirror(aperture_diameter=0.2e-3, cell=CELL),
    ]
    for mask in masks:
        made = Fabricated(mask, fabrication=Fabrication())
        assert torch.equal(made.height(), mask.height())
        w = wave(450e-9, 600e-9)
        assert torch.equal(made.phasor(w), mask.phasor(w))
        assert made.pixelated == mask.pixelated
        assert made.material == mask.material


def test_oversampled_cells_give_the_spot_of_the_cells():
    mask = WrappedRelief(aperture_diameter=1e-3, cell=1e-3 / 32, spread=2e-3, max_aspect=0.2)
    whole = small_camera(mask).spot(1.0, wave(550e-9)).detach()
    made = Fabricated(mask, fabrication=Fabrication(), oversample=2)
    fine = small_camera(made).spot(1.0, wave(550e-9)).detach()
    # the grey rim of the stop is drawn on finer cells: some of its 100 cells of 800
    torch.testing.assert_close(fine, whole, rtol=0, atol=0.02 * float(whole.max()))


def test_draws_have_the_given_scatter():
    process = Fabrication(
        levels=8, blur=1e-6, etch_scale=0.02, blur_spread=0.1e-6, overlay=0.3e-6, tilt=1e-4,
        decentre=2e-5, gap=1e-5, wavelength_shift=2e-9, temperature=10.0,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    draws = [process.draw(generator) for _ in range(2000)]
    for name in ("etch_scale", "tilt", "decentre", "gap", "wavelength_shift", "temperature"):
        values = torch.stack([getattr(d, name) for d in draws])
        # the deviation of 2000 draws is known to 1 / sqrt(4000) = 1.6 %
        assert float(values.std()) == pytest.approx(getattr(process, name), rel=0.08)
        assert float(values.mean().abs()) < 0.1 * getattr(process, name)
    overlay = torch.stack([d.overlay for d in draws])
    assert overlay.shape == (2000, 3, 2)
    assert float(overlay[:, 0].abs().max()) == 0.0
    assert float(overlay[:, 1:].std()) == pytest.approx(0.3e-6, rel=0.05)
    blur = torch.stack([d.blur for d in draws])
    assert float(blur.mean()) == pytest.approx(1e-6, rel=0.01)
    assert float(blur.std()) == pytest.approx(0.1e-6, rel=0.08)


def test_same_seed_draws_the_same_errors_whatever_the_other_tolerances():
    one = Fabrication(tilt=1e-4).draw(torch.Generator().manual_seed(5))
    two = Fabrication(tilt=1e-4, etch_scale=0.1).draw(torch.Generator().manual_seed(5))
    assert torch.equal(one.tilt, two.tilt)
    assert float(one.etch_scale) == 0.0


def test_blur_never_falls_below_zero():
    process = Fabrication(blur_spread=1e-6)
    draws = [process.draw(torch.Generator().manual_seed(s)).blur for s in range(20)]
    assert min(float(b) for b in draws) == 0.0


def test_gradients_reach_the_design_and_every_error_of_the_surface():
    mask = MultilevelRelief(aperture_diameter=0.1e-3, cell=CELL, levels=8, spread=5e-3)
    process = Fabrication(levels=8)
    errors = process.draw(torch.Generator().manual_seed(1))
    free = {
        "etch_scale": scalar(0.01), "blur": scalar(1e-6), "temperature": scalar(5.0),
        "overlay": scalar([[0, 0], [1e-6, -5e-7], [3e-7, 2e-7]]), "tilt": scalar([1e-4, 2e-4]),
        "decentre": scalar([1e-6, -6e-6]),
    }  # fmt: skip
    free = {name: value.requires_grad_() for name, value in free.items()}
    made = Fabricated(mask, fabrication=process, errors=replace(errors, **free), oversample=2)
    phasor = made.phasor(wave(550e-9), dtype=torch.float64)
    weight = random_height(*phasor.shape)
    slopes = torch.autograd.grad((phasor.real * weight).sum(), [mask.turns, *free.values()])
    for slope in slopes:
        assert bool(slope.isfinite().all())
        assert float(slope.abs().max()) > 0


def test_smooth_process_passes_gradcheck():
    mask = FreeHeight(smooth_height(8, CELL, 1e-6, 2e-5), CELL)

    def micrometres(height, etch, blur, tilt, decentre):
        errors = Errors(etch_scale=etch, blur=blur * CELL, tilt=tilt, decentre=decentre * CELL)
        return Fabrication().apply(
            height, errors, cell=CELL, wrap_height=1e-6, pixelated=False
        ) * 1e6  # fmt: skip

    height = mask.given.detach().clone()
    values = (height, scalar(0.02), scalar(0.7), scalar([0.01, -0.02]), scalar([0.3, -1.4]))
    assert gradcheck(micrometres, tuple(v.requires_grad_() for v in values), atol=1e-4)


@pytest.mark.parametrize("pixelated", [True, False])
def test_forward_gradient_at_no_error_is_the_backward_one(pixelated):
    """An error of zero still has an effect to first order."""
    height = random_height(9, 11) * 0.4e-6  # no neighbours half a wrap apart

    def made(etch, tilt, decentre):
        errors = Errors(etch_scale=etch, tilt=tilt, decentre=decentre * CELL)
        return Fabrication().apply(
            height, errors, cell=CELL, wrap_height=1e-6, pixelated=pixelated
        ) * 1e6  # fmt: skip

    zero = (scalar(0.0), scalar([0.0, 0.0]), scalar([0.0, 0.0]))
    step = (scalar(1.0), scalar([0.3, -0.2]), scalar([0.5, 0.7]))
    weight = random_height(9, 11, seed=2)
    forward = (torch.func.jvp(made, zero, step)[1] * weight).sum()
    free = tuple(z.requires_grad_() for z in zero)
    slopes = torch.autograd.grad((made(*free) * weight).sum(), free)
    backward = sum((a * b).sum() for a, b in zip(slopes, step, strict=True))
    torch.testing.assert_close(forward, backward)
    assert float(forward.abs()) > 0.1


def test_redraw_changes_the_mask_and_not_the_design():
    mask = FreeHeight(smooth_height(16, CELL, 1e-6, 5e-5), CELL)
    made = Fabricated(mask, fabrication=Fabrication(etch_scale=0.1))
    before = mask.height().detach().clone()
    drawn = made.redraw(torch.Generator().manual_seed(0))
    torch.testing.assert_close(made.height(), before * (1 + drawn.etch_scale))
    assert torch.equal(mask.height(), before)
    assert list(dict(made.named_parameters())) == ["mask.given"]


def test_bad_settings_say_what_is_allowed():
    smooth = FreeHeight(torch.zeros(8, 8), CELL)
    with pytest.raises(ValueError, match=r"tilt is \(3,\), expected \(2,\)"):
        Errors(tilt=torch.zeros(3))
    with pytest.raises(ValueError, match=r"overlay is \(3,\), expected \(layers, 2\)"):
        Errors(overlay=torch.zeros(3))
    with pytest.raises(ValueError, match=r"blur = -1: a tolerance is 0 or more"):
        Fabrication(blur=-1.0)
    with pytest.raises(ValueError, match=r"overlay = 1e-06 m without levels"):
        Fabrication(overlay=1e-6)
    with pytest.raises(ValueError, match=r"levels = 5: n etches make 2\^n levels"):
        Fabrication(levels=5)
    with pytest.raises(ValueError, match=r"levels = 4, .* on a smooth surface"):
        Fabricated(smooth, fabrication=Fabrication(levels=4)).height()
    with pytest.raises(ValueError, match=r"oversample = 2: only flat cells can be divided"):
        Fabricated(smooth, fabrication=Fabrication(), oversample=2)
    with pytest.raises(ValueError, match=r"overlay is \(1, 2\), expected \(2, 2\)"):
        Fabricated(
            blaze(4), fabrication=Fabrication(levels=4), errors=Errors(overlay=torch.ones(1, 2))
        ).height()
    with pytest.raises(ValueError, match=r"overlay errors need a process with levels"):
        Fabricated(
            blaze(4), fabrication=Fabrication(), errors=Errors(overlay=torch.ones(1, 2))
        ).height()
    with pytest.raises(ValueError, match=r"blur of 5 cells reaches over all 16"):
        surface.lateral_blur(torch.zeros(16, 20), sigma=scalar(5 * CELL), cell=CELL, pixelated=True)
    with pytest.raises(ValueError, match=r"blur = -1e-06 m"):
        surface.lateral_blur(torch.zeros(8, 8), sigma=scalar(-1e-6), cell=CELL, pixelated=True)
