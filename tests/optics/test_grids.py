"""The grid: symmetric sample centres and an area-weighted stop."""

import math

import pytest
import torch

from optics.grids import coordinates, disc_coverage, squared_radius
from optics.masks.base import cells_across


@pytest.mark.parametrize("samples", [2, 7, 8])
def test_sample_centres_are_symmetric_about_the_axis(samples):
    x = coordinates(samples, 3e-6)
    torch.testing.assert_close(x, -x.flip(0), rtol=0, atol=0)
    torch.testing.assert_close(torch.diff(x), torch.full((samples - 1,), 3e-6).double())


def test_squared_radius_has_rows_along_y():
    square = squared_radius((4, 7), 2.0)
    assert square.shape == (4, 7)
    assert float(square[0, 3]) == 9.0  # y = -3, x = 0
    assert float(square[1, 0]) == 1.0 + 36.0


@pytest.mark.parametrize(("shape", "diameter"), [((64, 70), 60.3), ((65, 65), 65.0), ((9, 8), 6.1)])
def test_disc_coverage_has_the_area_of_the_disc(shape, diameter):
    area = float(disc_coverage(shape, 1.0, diameter).sum())
    # 32 strips per sample: midpoint error of the chord, worst where it is vertical
    relative = 2e-5 if diameter > 20 else 1e-3
    assert area == pytest.approx(math.pi * diameter**2 / 4, rel=relative)


def test_disc_coverage_of_a_fine_grid_is_exact_to_a_millionth():
    cover = disc_coverage((512, 512), 1.0, 500.0)
    # the error falls with samples**-1.5 or faster
    assert float(cover.sum()) == pytest.approx(math.pi * 250**2, rel=1e-6)


def test_disc_coverage_is_one_inside_zero_outside_and_symmetric():
    cover = disc_coverage((40, 50), 1e-5, 36e-5)
    assert float(cover.min()) == 0.0
    assert float(cover.max()) == 1.0
    radius = squared_radius((40, 50), 1e-5).sqrt()
    assert bool((cover[radius < 17.2e-5] == 1).all())  # half a diagonal inside the rim
    assert bool((cover[radius > 18.8e-5] == 0).all())
    torch.testing.assert_close(cover, cover.flip(0), rtol=0, atol=1e-12)
    torch.testing.assert_close(cover, cover.flip(1), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("diameter", "cell", "cells"),
    # in binary 0.2 mm / 4 um is 50.00000000000001
    [(0.2e-3, 4e-6, 50), (1e-3, 2e-6, 500), (5e-3, 8e-6, 626), (4e-3, 31.25e-6, 128)],
)
def test_cells_across_is_the_smallest_even_number_that_covers(diameter, cell, cells):
    assert cells_across(diameter, cell) == cells


def test_a_disc_beside_the_middle_covers_the_same_samples_further_on():
    middle = disc_coverage((40, 50), 1.0, 17.3)
    beside = disc_coverage((40, 50), 1.0, 17.3, centre=(3.0, -5.0))
    torch.testing.assert_close(beside, middle.roll((3, -5), (0, 1)), rtol=0, atol=1e-12)
    part = disc_coverage((40, 50), 1.0, 17.3, centre=(0.3, 0.4))
    # rows of the rim are summed at 32 heights
    assert float(part.sum()) == pytest.approx(float(middle.sum()), rel=1e-3)
