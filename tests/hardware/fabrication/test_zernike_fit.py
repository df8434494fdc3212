"""Zernike modes in numpy: the same as those of `optics`, and found again in a map."""

import numpy as np
import pytest
import torch

from hardware.fabrication.design import HeightMap
from hardware.fabrication.zernike_fit import (
    fit_modes,
    fringe_orders,
    noll_orders,
    rim_value,
    zernike,
)
from optics.zernike import fringe_to_nm, noll_to_nm, zernike_at


def test_every_index_has_the_orders_of_optics():
    assert [noll_orders(j) for j in range(1, 232)] == [noll_to_nm(j) for j in range(1, 232)]
    assert [fringe_orders(j) for j in range(1, 38)] == [fringe_to_nm(j) for j in range(1, 38)]


@pytest.mark.parametrize("j", [1, 2, 3, 4, 5, 7, 8, 11, 22, 37, 66, 120, 231])
def test_every_mode_is_that_of_optics(j):
    x, y = np.linspace(-0.7, 0.6, 17)[None, :], np.linspace(-0.5, 0.71, 13)[:, None]
    one = torch.zeros(j, dtype=torch.float64)
    one[-1] = 1.0
    wanted = zernike_at(one, torch.tensor(y), torch.tensor(x)).numpy()
    # sums of factorials at order 20 cancel to 1e-16 * 1e7
    np.testing.assert_allclose(zernike(*noll_orders(j), x, y), wanted, atol=1e-9)


def test_a_tilt_rises_with_the_columns_and_a_tip_with_the_rows():
    x, y = np.array([0.0, 0.5]), np.array([0.0, 0.25])
    np.testing.assert_allclose(zernike(*noll_orders(2), x, y), 2 * x)
    np.testing.assert_allclose(zernike(*noll_orders(3), x, y), 2 * y)


@pytest.mark.parametrize("j", range(1, 38))
def test_a_fringe_mode_takes_one_on_the_rim(j):
    n, m = fringe_orders(j)
    angle = np.linspace(0, 2 * np.pi, 721)
    rim = zernike(n, m, np.cos(angle), np.sin(angle)) / rim_value(n, m)
    assert rim.max() == pytest.approx(1, abs=1e-9)  # half degrees meet every crest to 1e-16 * 1e5


def test_amplitudes_are_found_again_through_a_piston():
    rng = np.random.default_rng(1)
    orders = [noll_orders(j) for j in range(2, 16)]
    amplitudes = rng.normal(size=14) * 1e-7
    cells = HeightMap(np.zeros((90, 110)), 5e-6)
    x, y = cells.axes()
    pupil = x[None, :] / 2e-4, y[:, None] / 2e-4
    height = sum(a * zernike(n, m, *pupil) for a, (n, m) in zip(amplitudes, orders, strict=True))
    found = fit_modes(HeightMap(height + 3e-6, 5e-6), 4e-4, orders)
    # an exact combination: float64 of 3 um through well-conditioned equations
    np.testing.assert_allclose(found.amplitudes, amplitudes, atol=1e-19)
    assert found.residual < 1e-19
    # unit RMS: on 5000 samples of the pupil the mean of a mode's square is 1 to 2 percent
    assert found.rms == pytest.approx(np.linalg.norm(amplitudes), rel=0.02)


def test_what_the_modes_cannot_make_is_the_residual():
    cells = HeightMap(np.zeros((200, 240)), 5e-6)
    x, y = cells.axes()
    extra = 2e-8 * zernike(6, 6, x[None, :] / 5e-4, y[:, None] / 5e-4)
    found = fit_modes(HeightMap(extra, 5e-6), 1e-3, [noll_orders(j) for j in range(1, 12)])
    assert found.residual == pytest.approx(2e-8, rel=0.01)  # 31 000 samples: sampling of the rim
    assert np.abs(found.amplitudes).max() < 3e-10


def test_a_large_map_is_thinned_and_keeps_its_amplitude():
    cells = HeightMap(np.zeros((1030, 1100)), 5e-6)
    x, y = cells.axes()
    height = 1e-7 * zernike(3, -1, x[None, :] / 2.5e-3, y[:, None] / 2.5e-3)
    found = fit_modes(HeightMap(height, 5e-6), 5e-3, [(3, -1), (3, 1)])
    np.testing.assert_allclose(found.amplitudes, [1e-7, 0.0], atol=1e-18)  # point samples: exact


def test_more_modes_than_samples_are_refused():
    with pytest.raises(ValueError, match="fewer modes or a finer map"):
        fit_modes(HeightMap(np.eye(6), 1e-6), 6e-6, [noll_orders(j) for j in range(1, 37)])
