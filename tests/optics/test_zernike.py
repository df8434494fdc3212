"""Zernike sums: Noll's table, an independent library, orthonormality, adjoint."""

import math
import warnings

import pytest
import torch

from optics.grids import squared_radius
from optics.zernike import noll_to_nm, zernike_surface

NOLL = [  # R. J. Noll, J. Opt. Soc. Am. 66, 207 (1976), table I
    (0, 0), (1, 1), (1, -1), (2, 0), (2, -2), (2, 2), (3, -1), (3, 1), (3, -3), (3, 3),
    (4, 0), (4, 2), (4, -2), (4, 4), (4, -4),
]  # fmt: skip


def modes(count, samples, dtype=torch.float64):
    return torch.stack([zernike_surface(row, samples) for row in torch.eye(count, dtype=dtype)])


def test_noll_order():
    assert [noll_to_nm(j) for j in range(1, 16)] == NOLL


@pytest.mark.parametrize("j", [0, -1, 1.5])
def test_noll_index_starts_at_one(j):
    with pytest.raises(ValueError, match="j = "):
        noll_to_nm(j)


def test_modes_equal_those_of_poppy():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from poppy import zernike as poppy_zernike

        samples, count = 256, 28
        theirs = poppy_zernike.zernike_basis(nterms=count, npix=samples, outside=0.0)
    theirs = torch.as_tensor(theirs.copy(), dtype=torch.float64)
    ours = modes(count, samples)
    # poppy's grid ends on the rim, ours has sample edges there: compare on poppy's own
    # positions by growing our disc by (N - 1) / N
    ours = torch.stack(
        [
            zernike_surface(row, samples, extent=2 * samples / (samples - 1))
            for row in torch.eye(count, dtype=torch.float64)
        ]
    )
    inside = squared_radius((samples, samples), 2 / (samples - 1)) < 0.999
    # both are closed forms in float64; orders up to 6 lose three digits
    torch.testing.assert_close(ours[:, inside], theirs[:, inside], rtol=0, atol=1e-10)


@pytest.mark.parametrize(("samples", "bound"), [(128, 0.016), (256, 0.0043), (512, 0.0019)])
def test_modes_are_orthonormal_over_the_pupil(samples, bound):
    basis = modes(50, samples)
    inside = squared_radius((samples, samples), 2 / samples) <= 1
    flat = basis[:, inside]
    gram = flat @ flat.T / flat.shape[1]
    deviation = float((gram - torch.eye(50, dtype=torch.float64)).abs().max())
    # the bound is that of a binary pupil at this sampling, rounded to two digits
    assert deviation < bound * 1.05


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_350_modes_are_finite_and_bounded_by_their_norm(dtype):
    top = torch.zeros(350, dtype=dtype)
    top[-1] = 1
    surface = zernike_surface(top, 101)
    n, m = noll_to_nm(350)
    assert surface.dtype == dtype
    assert bool(surface.isfinite().all())
    # |R_n^m| <= 1 inside the disc
    assert float(surface.abs().max()) <= math.sqrt((2 if m else 1) * (n + 1)) * (1 + 1e-6)
    all_modes = zernike_surface(torch.ones(350, dtype=dtype), 101)
    assert bool(all_modes.isfinite().all())


def test_tilt_grows_along_the_columns_and_is_zero_outside():
    tilt = zernike_surface(torch.tensor([1.0], dtype=torch.float64), 64, first=2)
    assert float(tilt[32, 60]) == pytest.approx(2 * (60 - 31.5) / 32, rel=1e-12)
    assert float(tilt[0, 0]) == 0.0
    down = zernike_surface(torch.tensor([1.0], dtype=torch.float64), 64, first=3)
    torch.testing.assert_close(down, tilt.T)


def test_backward_is_the_adjoint():
    """<A c, s> == <c, A* s>."""
    generator = torch.Generator().manual_seed(0)
    c = torch.randn(60, dtype=torch.float64, generator=generator, requires_grad=True)
    s = torch.randn(33, 33, dtype=torch.float64, generator=generator)
    surface = zernike_surface(c, 33, first=4, extent=2.2)
    (adjoint,) = torch.autograd.grad(surface, c, s)
    # float64 sums of 1000 terms
    torch.testing.assert_close((surface * s).sum(), (c * adjoint).sum(), rtol=1e-12, atol=0)


def test_gradients_of_first_and_second_order():
    c = torch.randn(9, dtype=torch.float64, requires_grad=True)

    def strain(c):
        return zernike_surface(c, 8, first=2).sin()

    assert torch.autograd.gradcheck(strain, c)
    assert torch.autograd.gradgradcheck(strain, c)


def test_no_basis_is_stored():
    """A stored float64 basis of 300 modes on 256 x 256 would be 157 MB."""
    c = torch.randn(300, requires_grad=True)
    surface = zernike_surface(c, 256)
    held = sum(t.numel() * t.element_size() for t in getattr(surface.grad_fn, "saved_tensors", ()))
    assert held == 0


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"coefficients are \(2, 3\), expected \(J,\)"):
        zernike_surface(torch.zeros(2, 3), 8)
    with pytest.raises(ValueError, match="samples = 1"):
        zernike_surface(torch.zeros(2), 1)
