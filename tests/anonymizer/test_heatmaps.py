"""Heatmaps against their closed forms: Gaussian, mean position, ridge, normalised error."""

import pytest
import torch

from anonymizer.heatmaps import (
    IBUG68_CURVES,
    boundary_map,
    from_map,
    gaussian_heatmaps,
    normalised_mean_error,
    soft_argmax,
    to_map,
)


def points(batch=2, size=48, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(batch, 68, 2, generator=generator, dtype=torch.float64)
    return size * (0.25 + 0.5 * draw)  # 12 px from every border


def test_a_gaussian_has_peak_one_at_its_pixel_and_falls_as_told():
    maps = gaussian_heatmaps(torch.tensor([[[11.0, 5.0]]]), 20, sigma=2.0)[0, 0]
    assert maps[5, 11].item() == 1.0  # row y, column x
    assert maps[5, 13].item() == pytest.approx(torch.tensor(-0.5).exp().item())
    assert maps[9, 11].item() == pytest.approx(torch.tensor(-2.0).exp().item())
    assert maps.amax() == maps[5, 11]


def test_mean_position_inverts_the_gaussian():
    wanted = points()
    maps = gaussian_heatmaps(wanted, 48, sigma=1.5)
    maps = maps / maps.sum((-2, -1), keepdim=True)
    # Poisson sum: sampling moves the mean by exp(-2 (pi sigma)^2) < 1e-19; the cut at 12 px = 8
    # sigma leaves 1e-14
    torch.testing.assert_close(soft_argmax(maps), wanted, rtol=0, atol=1e-11)


def test_mean_position_of_a_wide_map_is_x_then_y():
    maps = torch.zeros(1, 1, 4, 7)
    maps[0, 0, 1, 5] = 1.0
    assert soft_argmax(maps).tolist() == [[[5.0, 1.0]]]


@pytest.mark.parametrize(("size", "map_size"), [(64, 16), (48, 64), (30, 30)])
def test_map_pixels_and_input_pixels_are_inverse(size, map_size):
    wanted = points(size=size)
    torch.testing.assert_close(from_map(to_map(wanted, size, map_size), size, map_size), wanted)


def test_both_grids_cover_the_same_square():
    edges = torch.tensor([[[-0.5, 63.5]]])  # outer borders of the first and of the last pixel
    torch.testing.assert_close(to_map(edges, 64, 16), torch.tensor([[[-0.5, 15.5]]]))


def test_the_ridge_is_one_on_the_curves_and_falls_across():
    whole = points().round()
    ridge = boundary_map(whole, 48, sigma=1.0)
    assert ridge.shape == (2, 1, 48, 48)
    for face, line in zip(whole.long(), ridge[:, 0], strict=True):
        assert torch.all(line[face[:, 1], face[:, 0]] == 1)
    assert 0 <= ridge.min() < 1e-3
    assert ridge.max() == 1


def test_the_ridge_runs_between_neighbours_of_a_curve():
    line = torch.zeros(1, 68, 2) - 100  # far outside
    line[0, 15] = torch.tensor([12.0, 10.0])  # the last piece of the contour
    line[0, 16] = torch.tensor([4.0, 10.0])
    ridge = boundary_map(line, 24, steps=4)[0, 0]
    assert ridge[10, [12, 10, 8, 6, 4]].tolist() == [1.0] * 5
    assert ridge[10, 0].item() < 1e-3  # exp(-8): not beyond its end


def test_every_landmark_is_on_a_curve():
    assert sorted({i for curve in IBUG68_CURVES for i in curve}) == list(range(68))


def test_error_is_the_mean_distance_over_the_distance_of_the_outer_eye_corners():
    true = points()
    true[:, 36], true[:, 45] = torch.tensor([10.0, 20.0]), torch.tensor([40.0, 20.0])
    moved = true + torch.tensor([3.0, -4.0])
    moved[1, :34] = true[1, :34]
    expected = torch.tensor([5 / 30, 5 / 60], dtype=torch.float64)
    torch.testing.assert_close(normalised_mean_error(moved, true), expected)


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_a_face_without_a_finite_answer_counts_as_one(wrong):
    true = points()
    moved = true.clone()
    moved[0, 5, 1] = wrong
    assert normalised_mean_error(moved, true).tolist() == [1.0, 0.0]
