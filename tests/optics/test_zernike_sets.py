"""Other Zernike sets, rotation and evaluation at free points."""

import math

import pytest
import torch

from optics.grids import coordinates
from optics.zernike import (
    ansi_to_nm,
    fringe_to_nm,
    nm_to_noll,
    noll_to_nm,
    rotate_zernike,
    to_noll,
    zernike_at,
    zernike_surface,
)

FRINGE = {  # J. C. Wyant's list, University of Arizona: polynomial in rho, and its azimuth
    2: (lambda r: r, 1), 3: (lambda r: r, -1), 4: (lambda r: 2 * r**2 - 1, 0),
    5: (lambda r: r**2, 2), 6: (lambda r: r**2, -2), 7: (lambda r: 3 * r**3 - 2 * r, 1),
    8: (lambda r: 3 * r**3 - 2 * r, -1), 9: (lambda r: 6 * r**4 - 6 * r**2 + 1, 0),
    10: (lambda r: r**3, 3), 11: (lambda r: r**3, -3), 12: (lambda r: 4 * r**4 - 3 * r**2, 2),
    16: (lambda r: 20 * r**6 - 30 * r**4 + 12 * r**2 - 1, 0),
    25: (lambda r: 70 * r**8 - 140 * r**6 + 90 * r**4 - 20 * r**2 + 1, 0),
    37: (lambda r: 924 * r**12 - 2772 * r**10 + 3150 * r**8 - 1680 * r**6 + 420 * r**4
         - 42 * r**2 + 1, 0),
}  # fmt: skip


def polar(y, x):
    return torch.hypot(y, x), torch.atan2(y.expand_as(y + x), x.expand_as(y + x))


def grid(rows=9, columns=12):
    return coordinates(rows, 0.15)[:, None], coordinates(columns, 0.15)[None, :]


def test_orders_of_the_sets_and_back():
    assert [ansi_to_nm(j) for j in range(6)] == [(0, 0), (1, -1), (1, 1), (2, -2), (2, 0), (2, 2)]
    for j in range(1, 120):
        assert nm_to_noll(*noll_to_nm(j)) == j


@pytest.mark.parametrize("j", FRINGE)
def test_fringe_coefficients_are_values_at_the_rim(j):
    radial, m = FRINGE[j]
    assert fringe_to_nm(j)[1] == m
    y, x = grid()
    r, angle = polar(y, x)
    azimuth = torch.cos(m * angle) if m >= 0 else torch.sin(-m * angle)
    coefficients = torch.zeros(37, dtype=torch.float64)
    coefficients[j - 1] = 0.7
    ours = zernike_at(to_noll(coefficients, "fringe"), y, x)
    # order 12 in float64; |R| reaches 1e2 beyond the rim
    torch.testing.assert_close(ours, 0.7 * radial(r) * azimuth, rtol=1e-11, atol=1e-11)


def test_ansi_coefficients_are_the_same_modes_in_another_order():
    values = torch.arange(10, dtype=torch.float64)
    ours = to_noll(values, "ansi")
    for j in range(10):
        assert ours[nm_to_noll(*ansi_to_nm(j)) - 1] == j


def test_values_at_free_points_equal_the_surface_on_the_grid():
    coefficients = torch.randn(45, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = coordinates(33, 2 / 33)
    inside = x[:, None] ** 2 + x[None, :] ** 2 <= 1
    ours = zernike_at(coefficients, x[:, None], x[None, :])
    surface = zernike_surface(coefficients, 33)
    torch.testing.assert_close(ours[inside], surface[inside], rtol=1e-12, atol=1e-12)
    one_by_one = zernike_at(coefficients, x[:, None].expand(33, 33), x[None, :].expand(33, 33))
    # beyond the rim order 8 reaches 1e3 in the corners
    torch.testing.assert_close(ours, one_by_one, rtol=1e-11, atol=1e-11)


def test_turned_coefficients_are_the_surface_at_turned_points():
    coefficients = torch.randn(2, 9, dtype=torch.float64)  # the last lacks its partner
    y, x = grid()
    angle = 0.77
    c, s = math.cos(angle), math.sin(angle)
    turned = rotate_zernike(coefficients, angle)
    assert turned.shape == (2, 10)
    torch.testing.assert_close(
        zernike_at(turned, y, x), zernike_at(coefficients, c * y - s * x, c * x + s * y)
    )


def test_turning_keeps_the_rms():
    coefficients = torch.randn(21, dtype=torch.float64)
    torch.testing.assert_close(rotate_zernike(coefficients, 1.3).norm(), coefficients.norm())


def test_gradients_and_transforms():
    y, x = grid(3, 4)
    values = torch.rand(7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c: zernike_at(rotate_zernike(c, 0.3), y, x), (values,))
    many = coordinates(15, 0.1)
    assert torch.autograd.gradcheck(
        lambda c: zernike_at(c, many[:, None], many[None, :]), (values,)
    )
    fringe = torch.rand(9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c: to_noll(c, "fringe"), (fringe,))
    batch = torch.rand(5, 7, dtype=torch.float64)
    mapped = torch.func.vmap(lambda c: zernike_at(rotate_zernike(c, 0.3), y, x))(batch)
    torch.testing.assert_close(mapped, zernike_at(rotate_zernike(batch, 0.3), y, x))


def test_unknown_sets_and_indices_are_refused():
    with pytest.raises(ValueError, match="37 polynomials"):
        fringe_to_nm(38)
    with pytest.raises(ValueError, match="use 'noll', 'ansi' or 'fringe'"):
        to_noll(torch.zeros(3), "osa")
    with pytest.raises(ValueError, match="m runs from -3 to 3 in steps of 2"):
        nm_to_noll(3, 2)
