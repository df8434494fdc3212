"""Blur that changes over the field: exact sums, no seams, eigen-PSFs."""

import pytest
import torch

from optics.imaging import blur, blur_eigen, blur_varying, eigen_psfs, field_grid
from optics.imaging.convolution import pack, shares, unpack


def rand(*shape, dtype=torch.float64):
    return torch.rand(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


def hats(samples, cells):
    """Bilinear shares straight from their definition, (samples, cells)."""
    table = torch.zeros(samples, cells, dtype=torch.float64)
    for n in range(samples):
        place = min(max((n + 0.5) * cells / samples - 0.5, 0.0), cells - 1.0)
        left = min(int(place), cells - 1)
        table[n, left] += 1 - (place - left)
        if left + 1 < cells:
            table[n, left + 1] += place - left
    return table


def direct(scene, psfs, *, margin=(0, 0)):
    """Every scene point through its own PSF, one after the other: (B, C, H + h - 1, W + w - 1).

    `margin` says how much of the scene is surround, where the PSFs of its border hold.
    """
    (height, width), (h, w) = scene.shape[-2:], psfs.shape[-2:]
    sides = []
    for n, cells, m in zip((height, width), psfs.shape[:2], margin, strict=True):
        inner = hats(n - 2 * m, cells)
        sides.append(torch.cat([inner[:1].expand(m, -1), inner, inner[-1:].expand(m, -1)]))
    out = scene.new_zeros(*scene.shape[:2], height + h - 1, width + w - 1)
    for y in range(height):
        for x in range(width):
            psf = torch.einsum("a,b,abchw->chw", sides[0][y], sides[1][x], psfs)
            out[..., y : y + h, x : x + w] += scene[..., y, x, None, None] * psf
    return out


CASES = [((1, 1), (7, 5)), ((3, 2), (5, 7)), ((2, 4), (9, 3)), ((5, 3), (1, 1)), ((13, 1), (3, 23))]


@pytest.mark.parametrize(("grid", "kernel"), CASES)
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_every_point_sends_its_light_through_its_own_psf(grid, kernel, batch):
    scene, psfs = rand(batch, 2, 13, 17), rand(*grid, 2, *kernel)
    full = direct(scene, psfs)
    # FFT in float64
    tolerance = {"rtol": 0, "atol": 1e-13 * float(full.max())}
    torch.testing.assert_close(blur_varying(scene, psfs, extent="full"), full, **tolerance)
    top, left = kernel[0] // 2, kernel[1] // 2
    same = full[..., top : top + 13, left : left + 17]
    torch.testing.assert_close(blur_varying(scene, psfs), same, **tolerance)


@pytest.mark.parametrize("extent", ["same", "full"])
@pytest.mark.parametrize("method", ["tiles", "modes"])
def test_the_surround_lights_the_border_as_a_wider_scene_would(extent, method):
    scene, psfs, level = rand(2, 2, 8, 11), rand(3, 2, 2, 5, 7), rand(2, 2) + 0.3
    wide = level[:, :, None, None].expand(2, 2, 8 + 8, 11 + 12).clone()
    wide[..., 4:12, 6:17] = scene
    full = direct(wide, psfs, margin=(4, 6))
    wanted = full[..., 4:16, 6:23] if extent == "full" else full[..., 6:14, 9:20]
    if method == "tiles":
        out = blur_varying(scene, psfs, surround=level, extent=extent)
    else:
        out = blur_eigen(scene, eigen_psfs(psfs, energy=1), surround=level, extent=extent)
    torch.testing.assert_close(out, wanted, rtol=0, atol=1e-13 * float(wanted.max()))


def test_a_grid_of_equal_psfs_is_the_uniform_blur():
    scene, psf, level = rand(3, 2, 25, 31), rand(2, 7, 5), rand(3, 2)
    psfs = psf.expand(4, 3, 2, 7, 5)
    for extent in ("same", "full"):
        torch.testing.assert_close(
            blur_varying(scene, psfs, surround=level, extent=extent),
            blur(scene, psf, surround=level, extent=extent),
            rtol=0,
            atol=1e-13 * 35,  # FFT in float64 of values up to 35
        )


def test_a_point_at_the_centre_of_a_cell_shows_the_psf_of_that_cell():
    psfs = rand(3, 5, 1, 5, 3)
    scene = torch.zeros(1, 1, 27, 35, dtype=torch.float64)  # cells of 9 x 7 pixels
    scene[..., 22, 10] = 1  # centre of cell (2, 1)
    out = blur_varying(scene, psfs)[0, 0, 20:25, 9:12]
    torch.testing.assert_close(out, psfs[2, 1, 0], rtol=0, atol=1e-14)


def test_all_light_arrives_where_psfs_change():
    """Shares add up to one at every scene point, so the light is conserved point by point."""
    scene, psfs = rand(2, 3, 21, 16), rand(4, 3, 3, 5, 9)
    psfs = psfs / psfs.sum((-2, -1), keepdim=True)
    out = blur_varying(scene, psfs, extent="full")
    torch.testing.assert_close(out.sum((-2, -1)), scene.sum((-2, -1)), rtol=1e-13, atol=0)


def test_a_uniform_scene_stays_uniform_in_single_precision():
    psf = rand(3, 9, 9, dtype=torch.float32)
    psf = psf / psf.sum((-2, -1), keepdim=True)
    scene = torch.full((2, 3, 50, 61), 0.7)
    surround = torch.full((2, 3), 0.6)  # not the same, so that the tiles have light to carry
    out = blur_varying(scene, psf.expand(7, 7, 3, 9, 9), surround=surround)
    inner = out[..., 4:-4, 4:-4]
    torch.testing.assert_close(inner, torch.full_like(inner, 0.7), rtol=1e-6, atol=0)


def test_no_seam_where_tiles_meet():
    """Second differences across the lines between tiles are as small as everywhere.

    The blurred ramp of a PSF that changes linearly from cell to cell is a parabola: its second
    difference is one number over the inner field.
    """
    cells, samples, half = 6, 120, 7
    psfs = torch.zeros(1, cells, 1, 3, 2 * half + 1, dtype=torch.float64)
    for cell in range(cells):
        share = 0.4 + 0.2 * cell / (cells - 1)  # of the light one pixel to the right
        psfs[0, cell, 0, 1, half] = 1 - share
        psfs[0, cell, 0, 1, half + 1] = share
    ramp = torch.linspace(0.2, 0.8, samples, dtype=torch.float64).expand(1, 1, 9, samples)
    row = blur_varying(ramp, psfs)[0, 0, 4]
    edge = samples // cells // 2 + half  # the outer PSFs hold beyond the outer centres
    second = row[edge:-edge].diff(n=2)
    # every value, also where tiles meet, to the rounding of a second difference
    torch.testing.assert_close(second, second.mean().expand_as(second), rtol=0, atol=1e-14)


@pytest.mark.parametrize("method", ["tiles", "modes"])
def test_single_precision_is_as_good_as_its_rounding(method):
    scene, psfs = rand(3, 3, 64, 50), rand(4, 5, 3, 15, 11)
    psfs = psfs / psfs.sum((-2, -1), keepdim=True)
    double = blur_varying(scene, psfs)
    if method == "tiles":
        single = blur_varying(scene.float(), psfs.float())
    else:
        single = blur_eigen(scene.float(), eigen_psfs(psfs.float(), energy=1))
    error = (single - double).norm() / double.norm()
    # measured 1e-7 by tiles; twenty modes of both signs add up to five times that
    assert float(error) < (3e-7 if method == "tiles" else 1e-6)


def test_backward_to_the_scene_is_the_adjoint():
    scene, psfs = rand(3, 2, 14, 11).requires_grad_(), rand(2, 3, 2, 5, 7)
    out = blur_varying(scene, psfs, extent="full")
    given = rand(*out.shape) - 0.5
    (adjoint,) = torch.autograd.grad(out, scene, given)
    # a dot product of 500 terms in float64
    torch.testing.assert_close((out * given).sum(), (scene * adjoint).sum(), rtol=1e-12, atol=1e-12)


def test_nothing_but_scene_and_psfs_is_kept_for_the_gradient():
    """Recorded spectra would be 49 tiles of several times the scene."""
    scene, psfs = rand(2, 3, 70, 63), rand(7, 7, 3, 9, 9).requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        blur_varying(scene, psfs)
    assert sorted(t.shape for t in kept) == sorted([scene.shape, psfs.shape])


@pytest.mark.parametrize("extent", ["same", "full"])
def test_gradcheck_in_scene_psfs_and_surround(extent):
    inputs = [rand(3, 1, 3, 4), rand(2, 2, 1, 3, 1), rand(3, 1)]
    inputs = [t.requires_grad_() for t in inputs]
    assert torch.autograd.gradcheck(
        lambda x, h, s: blur_varying(x, h, surround=s, extent=extent), inputs
    )


def test_second_derivatives_and_forward_mode():
    inputs = [rand(2, 1, 2, 3).requires_grad_(), rand(1, 2, 1, 3, 1).requires_grad_()]
    assert torch.autograd.gradgradcheck(blur_varying, inputs)
    assert torch.autograd.gradcheck(blur_varying, inputs, check_forward_ad=True)


def test_it_runs_under_vmap_jvp_and_grad():
    scene, psfs = rand(2, 1, 6, 7), rand(3, 2, 2, 1, 3, 3)
    mapped = torch.func.vmap(lambda h: blur_varying(scene, h))(psfs)
    torch.testing.assert_close(mapped, torch.stack([blur_varying(scene, h) for h in psfs]))
    value, slope = torch.func.jvp(lambda h: blur_varying(scene, h), (psfs[0],), (psfs[1],))
    torch.testing.assert_close(slope, mapped[1])  # linear
    torch.testing.assert_close(value, mapped[0])
    each = torch.func.vmap(torch.func.grad(lambda h: blur_varying(scene, h).square().sum()))(psfs)
    one = psfs[2].clone().requires_grad_()
    (expected,) = torch.autograd.grad(blur_varying(scene, one).square().sum(), one)
    torch.testing.assert_close(each[2], expected)


@pytest.mark.parametrize("batch", [1, 4, 5])
def test_packed_pictures_come_back(batch):
    pictures = rand(batch, 2, 3)
    packed = pack(pictures)
    assert len(packed) == (batch + 1) // 2
    assert torch.equal(unpack(packed, batch), pictures)


@pytest.mark.parametrize(("samples", "cells"), [(17, 1), (17, 3), (256, 7), (5, 5)])
def test_shares_add_up_to_one_and_interpolate_linearly(samples, cells):
    table = shares(samples, cells)
    torch.testing.assert_close(table, hats(samples, cells), rtol=0, atol=1e-14)
    torch.testing.assert_close(table.sum(1), torch.ones(samples, dtype=torch.float64))


@pytest.mark.parametrize(("grid", "kernel"), CASES)
def test_all_modes_are_the_grid_they_came_from(grid, kernel):
    scene, psfs = rand(3, 2, 13, 17), rand(*grid, 2, *kernel)
    eigen = eigen_psfs(psfs, energy=1)
    torch.testing.assert_close(eigen.psfs(), psfs, rtol=0, atol=1e-13)
    for extent in ("same", "full"):
        tiles = blur_varying(scene, psfs, extent=extent)
        modes = blur_eigen(scene, eigen, extent=extent)
        # FFT in float64 of twenty modes
        torch.testing.assert_close(modes, tiles, rtol=0, atol=1e-12 * float(tiles.max()))


def ovals(grid, side):
    """PSFs that turn and grow with the field, sum 1."""
    x = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    planes = []
    for gy in range(grid):
        for gx in range(grid):
            angle, size = torch.tensor(gy + 0.3 * gx, dtype=torch.float64), 1 + 0.1 * (gx + gy)
            along = x * angle.cos() + x[:, None] * angle.sin()
            across = x[:, None] * angle.cos() - x * angle.sin()
            plane = torch.exp(-((along / 2 / size) ** 2) - (across / size) ** 2)
            planes.append(plane / plane.sum())
    return torch.stack(planes).reshape(grid, grid, 1, side, side)


def test_the_rank_is_the_lowest_that_keeps_the_energy_and_the_report_is_true():
    psfs = ovals(4, 21)
    total = float(psfs.square().sum())
    for energy in (0.9, 0.99, 0.999):
        eigen = eigen_psfs(psfs, energy=energy)
        kept = float(eigen.energy[0])
        lost = float((eigen.psfs() - psfs).square().sum())
        assert kept >= energy
        assert 1 - lost / total == pytest.approx(kept, abs=1e-12)
        fewer = eigen_psfs(psfs, rank=eigen.rank - 1)
        assert float(fewer.energy[0]) < energy
    assert 1 < eigen.rank < 16


def test_the_blur_is_as_wrong_as_the_lost_energy_says():
    """White scene: the mean square error is the lost share of the PSFs' energy."""
    psfs = ovals(3, 15)
    scene = torch.randn(
        8, 1, 90, 81, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    eigen = eigen_psfs(psfs, rank=4)
    tiles, modes = blur_varying(scene, psfs), blur_eigen(scene, eigen)
    error = float((modes - tiles).square().sum() / tiles.square().sum())
    # interpolated PSFs differ less than those of the grid: the share is of the same order
    assert 0.2 < error / (1 - float(eigen.energy[0])) < 2


def test_gradients_reach_scene_and_psfs_through_all_modes():
    inputs = [rand(3, 1, 4, 5).requires_grad_(), rand(2, 2, 1, 3, 3).requires_grad_()]
    weights = rand(3, 1, 4, 5)
    by_modes = torch.autograd.grad(
        (blur_eigen(inputs[0], eigen_psfs(inputs[1], rank=4)) * weights).sum(), inputs
    )
    by_tiles = torch.autograd.grad((blur_varying(*inputs) * weights).sum(), inputs)
    torch.testing.assert_close(by_modes[0], by_tiles[0], rtol=0, atol=1e-12)
    # the modes are held, so a PSF is felt as far as they can show it
    modes = eigen_psfs(inputs[1].detach(), rank=4).modes[:, 0].flatten(1)
    seen = by_tiles[1].flatten(3) @ modes.T @ modes
    torch.testing.assert_close(by_modes[1].flatten(3), seen, rtol=0, atol=1e-12)


def test_gradcheck_through_eigen_psfs():
    # nine modes span all PSFs of 3 x 3 pixels, so holding them loses nothing
    scene, psfs = rand(2, 1, 6, 5).requires_grad_(), rand(3, 3, 1, 3, 3).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, h: blur_eigen(x, eigen_psfs(h, rank=9)), [scene, psfs]
    )


def test_field_points_look_at_the_centres_of_the_cells():
    """A point placed at the field of a cell is imaged at the centre of that cell."""
    fields = field_grid((40, 60), (2, 3), pixel_pitch=5e-6, sensor_distance=20e-3)
    assert len(fields) == 6
    y, x = fields[5]  # the last cell: rows 20 to 39, columns 40 to 59, centre (29.5, 49.5)
    assert y * 20e-3 / 5e-6 == pytest.approx(29.5 - 19.5)
    assert x * 20e-3 / 5e-6 == pytest.approx(49.5 - 29.5)


@pytest.mark.parametrize(
    ("scene", "psfs", "message"),
    [
        ((1, 3, 8, 8), (3, 3, 3), r"psfs \(3, 3, 3\), expected .* \(gy, gx, C, h, w\)"),
        ((1, 3, 8, 8), (2, 2, 2, 3, 3), "expected"),
        ((1, 3, 8, 8), (2, 9, 3, 3, 3), "9 cells along x for 8 scene pixels"),
        ((1, 3, 8, 8), (2, 2, 3, 4, 3), "psfs .* extent='same' needs odd sides"),
    ],
)
def test_wrong_shapes_are_named(scene, psfs, message):
    with pytest.raises(ValueError, match=message):
        blur_varying(torch.zeros(scene), torch.zeros(psfs))


def test_other_bad_input_is_named():
    scene, psfs = torch.zeros(2, 1, 8, 9), torch.ones(2, 2, 1, 3, 3)
    with pytest.raises(ValueError, match=r"surround is \(1, 1\), expected \(B, C\) = \(2, 1\)"):
        blur_varying(scene, psfs, surround=torch.zeros(1, 1))
    with pytest.raises(ValueError, match="extent = 'valid', expected 'same' or 'full'"):
        blur_varying(scene, psfs, extent="valid")
    with pytest.raises(ValueError, match="rank = 5: 2 x 2 PSFs of 3 x 3 pixels have at most 4"):
        eigen_psfs(psfs, rank=5)
    with pytest.raises(ValueError, match=r"energy = 99 is outside \(0, 1\]"):
        eigen_psfs(psfs, energy=99)
    with pytest.raises(ValueError, match=r"psfs is \(1, 3, 3\), expected \(gy, gx"):
        eigen_psfs(psfs[0, 0])
    with pytest.raises(ValueError, match=r"eigen.modes \(1, 1, 3, 3\), expected"):
        blur_eigen(torch.zeros(2, 3, 8, 9), eigen_psfs(psfs, rank=1))
    with pytest.raises(ValueError, match="pixel_pitch = 5 m"):
        field_grid((8, 9), (2, 2), pixel_pitch=5, sensor_distance=0.02)
