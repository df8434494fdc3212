"""Cells divided by soft edges or shifted etches: their mean field, not their mean height."""

import pytest
import torch
from torch.autograd import gradcheck

from optics import Errors, Fabricated, Fabrication, WrappedRelief
from optics.fabrication import cells
from optics.propagation import cis_turns
from tests.optics.cameras import FreeHeight, small_camera

CELL = 8e-6


def scalar(value):
    return torch.tensor(value, dtype=torch.float64)


def relief(rows=14, columns=19, wrap=6.0):
    """Turns of a wrapped prism with some noise: walls of `wrap` waves and gentle steps."""
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    noise = torch.rand(rows, columns, generator=torch.Generator().manual_seed(3))
    return (1.3 * x + 0.7 * y + 0.4 * noise).to(torch.float64).remainder(wrap)


def blurred(height, sigma, points):
    """Surface at `points` x `points` points of every cell after a blur of `sigma` cells."""
    lines = []
    for count in height.shape:
        place = (torch.arange(count * points, dtype=torch.float64) + 0.5) / points
        reach = 8
        index = torch.arange(-reach, count + reach)
        source = torch.where(index < 0, -1 - index, index)
        source = torch.where(source >= count, 2 * count - 1 - source, source)
        edge = torch.special.ndtr((place[:, None] - index) / sigma)
        edge = edge - torch.special.ndtr((place[:, None] - index - 1) / sigma)
        lines.append((edge, source))
    (down, rows), (across, columns) = lines
    return down @ height[rows][:, columns] @ across.mT


def brute_force(turns, rate, sigma, points):
    """Mean of the field over many points of every cell of the blurred relief."""
    field = cis_turns(rate[:, None, None] * blurred(turns, sigma, points))
    shape = (len(rate), turns.shape[0], points, turns.shape[1], points)
    return field.reshape(shape).mean((2, 4))


@pytest.mark.parametrize(
    ("sigma", "allowed"),
    [
        # corners and neighbouring edges are left out: of the order of (sigma / cell)^2
        (0.05, 2 * 0.05**2),
        (0.15, 2 * 0.15**2),
        # point by point: midpoint rule with half a turn between points on the steepest wall
        (0.3, 1e-2),
        (0.6, 1e-2),
    ],
)
def test_mean_field_of_blurred_cells_is_that_of_many_points(sigma, allowed):
    turns, rate = relief(), torch.tensor([1.0, 1.3], dtype=torch.float64)
    wanted = brute_force(turns, rate, sigma, 120)
    found = cells.blurred_cells(turns, rate, sigma=scalar(sigma), cell=1.0)
    error = (found - wanted).abs().square().mean().sqrt()
    assert float(error) < allowed
    sharp = cis_turns(rate[:, None, None] * turns)
    assert float((sharp - wanted).abs().square().mean().sqrt()) > 10 * allowed


def test_a_decentre_moves_soft_cells_as_they_are():
    """Even those whose neighbour has left the map."""
    rate, turn = scalar([1 / 1e-6]), 1e-6

    def field(cells_down):
        errors = Errors(blur=scalar(0.3e-6), decentre=scalar([cells_down * CELL, 0.0]))
        out = Fabrication().mean_field(
            relief() * turn, errors, rate, cell=CELL, wrap_height=6 * turn
        )
        return out[0]

    torch.testing.assert_close(field(3)[3:], field(0)[:-3], rtol=0, atol=1e-12)
    torch.testing.assert_close(field(-3)[:-3], field(0)[3:], rtol=0, atol=1e-12)


def test_without_blur_the_field_is_that_of_the_height():
    turns, rate = relief(), torch.tensor([0.9], dtype=torch.float64)
    found = cells.blurred_cells(turns, rate, sigma=scalar(0.0), cell=1.0)
    torch.testing.assert_close(found, cis_turns(rate[:, None, None] * turns))


@pytest.mark.parametrize("turns", [0.0, 0.01, -0.37, 4.2, 30.0])
def test_edge_share_is_its_integral(turns):
    u = (torch.arange(400_000, dtype=torch.float64) + 0.5) / 50_000
    exact = (cis_turns(turns * torch.special.ndtr(-u)) - 1).sum() / 50_000
    found = cells.edge_share(scalar([turns]))[0]
    # linear interpolation: an eighth of the squared step of 2 pi / 128 times K'' < 0.3
    assert abs(complex(found - exact)) < 1e-4


@pytest.mark.parametrize("sigma", [0.1, 0.35])
def test_blurred_cells_pass_gradcheck(sigma):
    turns, rate = relief(5, 6, wrap=2.0), torch.tensor([1.1], dtype=torch.float64)

    def field(height, width):
        return torch.view_as_real(cells.blurred_cells(height, rate, sigma=width, cell=1.0))

    # the table is linear between its entries, so the step has to stay between two
    inputs = (turns.requires_grad_(), scalar(sigma).requires_grad_())
    assert gradcheck(field, inputs, eps=1e-7, atol=1e-5)


@pytest.mark.parametrize("blur", [0.3e-6, 2.4e-6])
def test_psf_of_a_wrapped_mask_with_soft_walls_is_that_of_its_surface(blur):
    """A surface resolved by 32 points a cell is what the mean field of a cell stands for."""
    mask = WrappedRelief(aperture_diameter=0.4e-3, cell=CELL, profile="random")
    camera = small_camera(mask, aperture_diameter=0.4e-3, window=15)
    wave = torch.tensor([500e-9, 640e-9], dtype=torch.float64)
    made = Fabricated(mask, fabrication=Fabrication(), errors=Errors(blur=scalar(blur)))
    with torch.no_grad():
        fine = FreeHeight(blurred(mask.height(), blur / CELL, 32), CELL / 32, pixelated=True)
        wanted, found, design = (camera.replace(mask=m).spot(1.0, wave) for m in (fine, made, mask))
    # one cell in twelve is cut by the rim, where the stop takes a share of it and not a part
    assert float((found - wanted).norm() / wanted.norm()) < 0.12
    assert float((design - wanted).norm() / wanted.norm()) > 0.3


def test_overlay_divides_cells_into_rectangles_of_one_level_each():
    level = torch.randint(0, 8, (7, 9), generator=torch.Generator().manual_seed(1))
    shifts = torch.tensor([[0.0, 0.0], [0.25, -0.5], [-1.25, 0.125]], dtype=torch.float64)
    parts = cells.shifted_levels(level, levels=8, shifts=shifts, cell=1.0)
    assert float(sum(share for share, _ in parts)) == pytest.approx(1.0, abs=1e-14)
    fine = level.repeat_interleave(8, 0).repeat_interleave(8, 1)
    moved = torch.zeros_like(fine)
    for k, (y, x) in enumerate((shifts * 8).round().long().tolist()):
        rows = (torch.arange(fine.shape[0]) - y).clamp(0, fine.shape[0] - 1)
        columns = (torch.arange(fine.shape[1]) - x).clamp(0, fine.shape[1] - 1)
        moved += fine[rows][:, columns] // 2**k % 2 * 2**k
    rate = 0.37
    wanted = cis_turns(rate * moved.double()).reshape(7, 8, 9, 8).mean((1, 3))
    found = sum(share * cis_turns(rate * part) for share, part in parts)
    inside = (slice(2, -2), slice(2, -2))  # clamped edges repeat cells there, not parts of them
    torch.testing.assert_close(found[inside], wanted[inside], rtol=0, atol=1e-12)


def test_overlay_reaches_the_light_with_its_gradient():
    mask = WrappedRelief(aperture_diameter=0.4e-3, cell=CELL, spread=9e-3, cut=2.5)
    camera = small_camera(mask, aperture_diameter=0.4e-3, window=31)
    wave = torch.tensor([550e-9], dtype=torch.float64)
    weight = torch.rand(31, 31, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def number(shift):
        errors = Errors(overlay=torch.stack([shift * 0, shift]) * CELL)
        made = Fabricated(mask, fabrication=Fabrication(levels=4), errors=errors)
        return (camera.replace(mask=made).spot(1.0, wave)[0] * weight).sum()

    shift = torch.tensor([0.2, 0.3], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(number(shift), shift)
    assert float(slope.norm()) > 0
    for axis in (0, 1):
        step = torch.zeros(2, dtype=torch.float64)
        step[axis] = 1e-4
        with torch.no_grad():
            found = (number(shift + step) - number(shift - step)) / 2e-4
        # the number is quadratic in a share, so central differences are exact but for rounding
        assert float(slope[axis]) == pytest.approx(float(found), rel=1e-6, abs=1e-10)
