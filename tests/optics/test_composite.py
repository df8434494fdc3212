"""Masks in contact and on curved surfaces."""

import math

import pytest
import torch

from optics import Errors, Fabricated, Fabrication, WrappedRelief
from optics.masks import ConicDeparture, CurvedMask, DeformableMirror, FlatMask, MaskStack
from optics.materials import material
from tests.optics.cameras import FreeHeight, small_camera, smooth_height, wave

CELL = 1e-3 / 64
COLOURS = wave(450e-9, 550e-9, 650e-9)


def part(seed, rms=0.3e-6, **changes):
    return FreeHeight(smooth_height(64, CELL, rms, 1e-4, seed), CELL, **changes)


def test_phases_of_two_materials_add():
    one, two = part(0), part(1, material="n_bk7")
    got = MaskStack([one, two]).phasor(COLOURS, dtype=torch.float64)
    rates = [(material(m).index(COLOURS) - 1) / COLOURS for m in ("fused_silica", "n_bk7")]
    turns = rates[0][:, None, None] * one.height() + rates[1][:, None, None] * two.height()
    expected = torch.polar(torch.ones_like(turns), 2 * math.pi * turns)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


def test_stack_of_one_material_is_a_mask_of_the_summed_height():
    one, two = part(0), part(1)
    stack = MaskStack([one, two])
    summed = FreeHeight((one.height() + two.height()).detach(), CELL)
    both = [small_camera(mask).spot(1.0, COLOURS) for mask in (stack, summed)]
    torch.testing.assert_close(*both)
    (slope,) = torch.autograd.grad(both[0].square().sum(), two.given)
    (expected,) = torch.autograd.grad(both[1].square().sum(), summed.given)
    torch.testing.assert_close(slope, expected)


def test_a_surface_and_its_inverse_leave_the_bare_lens():
    one = part(0)
    stack = MaskStack([one, FreeHeight(-one.height().detach(), CELL)])
    bare = small_camera(FlatMask(aperture_diameter=1e-3, cell=CELL)).spot(1.0, COLOURS)
    torch.testing.assert_close(small_camera(stack).spot(1.0, COLOURS).detach(), bare)


def test_several_materials_never_pass_for_one_height():
    stack = MaskStack([part(0), part(1, material="n_bk7")])
    with pytest.raises(ValueError, match=r"height of a stack of fused_silica, n_bk7: .* phasor"):
        stack.height()
    with pytest.raises(ValueError, match=r"turns_per_metre of a stack of fused_silica, n_bk7"):
        stack.turns_per_metre(COLOURS)
    layers = MaskStack([part(0), part(1, material="n_bk7"), part(2)]).layers(COLOURS)
    assert len(layers) == 2
    torch.testing.assert_close(layers[0][0], part(0).height() + part(2).height())


def test_camera_sees_both_materials():
    green = wave(550e-9)
    one, two = part(0), part(1, material="n_bk7")
    ratio = two.turns_per_metre(green) / one.turns_per_metre(green)
    alike = FreeHeight((one.height() + ratio * two.height()).detach(), CELL)
    got, expected = (small_camera(m).spot(1.0, green) for m in (MaskStack([one, two]), alike))
    torch.testing.assert_close(got.detach(), expected.detach())


def test_mirror_and_mask_add_too():
    mirror = DeformableMirror(aperture_diameter=1e-3, cell=CELL)
    got = MaskStack([mirror, part(0)]).phasor(COLOURS, dtype=torch.float64)
    expected = mirror.phasor(COLOURS, dtype=torch.float64) * part(0).phasor(
        COLOURS, dtype=torch.float64
    )
    torch.testing.assert_close(got, expected)


def test_a_part_as_made_keeps_its_divided_cells_in_a_stack():
    """Mean fields, not mean heights: with a flat part nothing changes, and with an even one
    everything turns by its phase."""
    designed = WrappedRelief(
        aperture_diameter=1e-3, cell=CELL, max_height=3e-6, profile="random", seed=3
    )
    made = Fabricated(designed, fabrication=Fabrication(), errors=Errors(blur=torch.tensor(3e-6)))
    alone = made.phasor(COLOURS, dtype=torch.float64)
    even = FreeHeight(torch.full((64, 64), 0.7e-6, dtype=torch.float64), CELL)
    turned = alone * even.phasor(COLOURS, dtype=torch.float64)
    rate = made.turns_per_metre(COLOURS)
    torch.testing.assert_close(MaskStack([made, even]).mean_field(rate), turned)
    camera = small_camera(MaskStack([made, even])).spot(1.0, COLOURS)
    torch.testing.assert_close(camera, small_camera(made).spot(1.0, COLOURS))
    heights = FreeHeight(made.height().detach(), CELL)  # blind to the walls within the cells
    apart = (camera - small_camera(heights).spot(1.0, COLOURS)).detach()
    assert float(apart.norm() / camera.detach().norm()) > 0.01
    (slope,) = torch.autograd.grad(camera.square().sum(), next(designed.parameters()))
    (expected,) = torch.autograd.grad(
        small_camera(made).spot(1.0, COLOURS).square().sum(), next(designed.parameters())
    )
    torch.testing.assert_close(slope, expected)


def test_stack_phasor_gradient_reaches_both_parts():
    one, two = part(0), part(1, material="n_bk7")
    weight = torch.randn(3, 64, 64, dtype=torch.complex128)
    loss = (MaskStack([one, two]).phasor(COLOURS, dtype=torch.float64) * weight).real.sum()
    slopes = torch.autograd.grad(loss, [one.given, two.given])
    with torch.no_grad():
        phasor = MaskStack([one, two]).phasor(COLOURS, dtype=torch.float64)
    for mask, slope in zip((one, two), slopes, strict=True):
        rate = 2 * math.pi * mask.turns_per_metre(COLOURS)[:, None, None]
        torch.testing.assert_close(slope, (rate * (1j * phasor * weight).real).sum(0))


def test_grids_must_agree():
    coarse = FlatMask(aperture_diameter=1e-3, cell=2 * CELL)
    with pytest.raises(ValueError, match=r"masks\[1\] has 32 cells .* masks\[0\] has 64"):
        MaskStack([part(0), coarse])
    with pytest.raises(ValueError, match="masks is empty"):
        MaskStack([])


def test_relief_on_a_slope_delays_as_a_ray_says():
    """Path of a ray through a plate of thickness h under an angle, less that in air."""
    radius, height = 2e-3, 1e-6
    mask = FreeHeight(torch.full((64, 64), height), CELL)
    got = CurvedMask(mask, radius=radius).height().detach()
    row, column = 10, 40
    r = math.hypot(row - 31.5, column - 31.5) * CELL
    n = mask.index_step + 1
    outside = math.asin(r / radius)  # on a sphere the slope angle is that of the normal
    inside = math.asin(math.sin(outside) / n)
    # wave vectors agree along the plate, so only the normal parts differ
    delay = height * (n * math.cos(inside) - math.cos(outside))
    assert float(got[row, column]) == pytest.approx(delay / (n - 1), rel=1e-12)


def test_factor_hardly_changes_over_the_visible():
    sine = math.sin(math.atan(0.5))
    index = material("fused_silica").index(wave(450e-9, 540e-9, 650e-9))
    factor = ((index**2 - sine**2).sqrt() - math.sqrt(1 - sine**2)) / (index - 1)
    assert float((factor / factor[1] - 1).abs().max()) < 5e-4


def test_flat_limit_and_gradient_of_a_curved_mask():
    inner = part(0)
    curved = CurvedMask(inner, radius=1e3)
    torch.testing.assert_close(curved.height(), inner.height())
    curved = CurvedMask(inner, radius=1e-3)
    (slope,) = torch.autograd.grad(curved.height().sum(), inner.given)
    torch.testing.assert_close(slope, curved.factor)


@pytest.mark.parametrize(("conic", "radius"), [(0.0, 8e-3), (-0.6, -8e-3), (2.0, 10e-3)])
def test_departure_is_the_fourth_power_and_more(conic, radius):
    mask = ConicDeparture(aperture_diameter=1e-3, cell=CELL, radius=radius, conic=conic)
    place = (torch.arange(64, dtype=torch.float64) - 31.5) * CELL
    square = (place[:, None] ** 2 + place**2).clamp(max=0.25e-6)
    k = 1 + conic
    series = k * square**2 / (8 * radius**3) + k**2 * square**3 / (16 * radius**5)
    # Born and Wolf, sec. 5.3 with the signs of Sag(r); next term 5 k^3 r^8 / 128 R^7
    bound = 6 * abs(k) ** 3 * (0.5e-3) ** 8 / (128 * abs(radius) ** 7)
    torch.testing.assert_close(mask.height(), -series, rtol=0, atol=bound)


def test_paraboloid_has_no_departure():
    mask = ConicDeparture(aperture_diameter=1e-3, cell=CELL, radius=2e-3, conic=-1.0)
    assert float(mask.height().abs().max()) == 0.0


def test_impossible_curvatures_say_what_is_reached():
    with pytest.raises(ValueError, match=r"radius = 0.0003 m .* reaches 0.000298 m .* weaker"):
        CurvedMask(part(0), radius=0.3e-3)
    with pytest.raises(ValueError, match=r"departs from its paraboloid by .* turns per cell"):
        ConicDeparture(aperture_diameter=5e-3, cell=40e-6, radius=4e-3)
    with pytest.raises(ValueError, match=r"radius = 0 m"):
        CurvedMask(part(0), radius=0.0)
