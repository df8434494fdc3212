"""Other grids: conserved volume, centred maps, nearest cells."""

import numpy as np
import pytest

from hardware.fabrication.design import HeightMap
from hardware.fabrication.resampling import coarsen, nearest


def test_an_average_over_whole_cells_is_their_mean():
    fine = np.random.default_rng(0).random((12, 20))
    found = coarsen(HeightMap(fine, 2e-6), 5)
    assert found.shape == (3, 5)
    assert found.spacing == 8e-6
    wanted = fine.reshape(3, 4, 5, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(found.height, wanted, rtol=1e-13)  # float64 sums of 16


def test_a_tilt_keeps_its_slope_and_its_middle_for_a_factor_that_is_no_integer():
    x = (np.arange(70) - 34.5) * 3e-6
    y = (np.arange(30) - 14.5) * 3e-6
    found = coarsen(HeightMap(2e-3 * x + 5e-3 * y[:, None], 3e-6), 32)
    assert found.shape == (14, 32)
    new_x, new_y = found.axes()
    inner = found.height[1:-1]  # the outer rows reach beyond the map and average what is there
    wanted = 2e-3 * new_x + 5e-3 * new_y[1:-1, None]
    # cells cut in two count at their own middle: up to a quarter of a cell at each end of a
    # coarse cell of 70/32 cells, so half a cell's rise is generous and a shift by one is not
    np.testing.assert_allclose(inner, wanted, atol=0.5 * 3e-6 * 7e-3)
    assert abs((inner - wanted).mean()) < 1e-15  # symmetry about the middle


def test_a_small_map_stays_as_it_is():
    small = HeightMap(np.eye(6), 1e-6)
    np.testing.assert_array_equal(coarsen(small, 6).height, small.height)


def test_nearest_samples_lie_in_the_cell_they_are_taken_from():
    fine = np.arange(12 * 20, dtype=float).reshape(12, 20)
    found = nearest(HeightMap(fine, 3e-6), (5, 8), 7e-6, -1.0)
    for i in range(5):
        for j in range(8):
            row = (((i - 2) * 7 + 18) / 3) // 1
            column = (((j - 3.5) * 7 + 30) / 3) // 1
            assert found.height[i, j] == fine[int(row), int(column)]


@pytest.mark.parametrize("shape", [(6, 10), (10, 16)])
def test_the_same_pitch_copies_and_fills_around(shape):
    fine = np.arange(6 * 10, dtype=float).reshape(6, 10)
    found = nearest(HeightMap(fine, 3e-6), shape, 3e-6, -1.0).height
    top, left = (shape[0] - 6) // 2, (shape[1] - 10) // 2
    np.testing.assert_array_equal(found[top : top + 6, left : left + 10], fine)
    assert (found == -1).sum() == found.size - fine.size
