"""Masks of the skips, and the maps of the facial structure."""

import pytest
import torch

from anonymizer.alignment import CANONICAL68, GROUPS
from anonymizer.heatmaps import gaussian_heatmaps
from anonymizer.stargan.masks import clean_heatmaps, group_masks, structure_maps, wflw_masks

SIDE = 64


def face(scale=36.0):
    return CANONICAL68[None] * scale + (SIDE - 1) / 2


def at(landmark):
    return (round(float(landmark[1])), round(float(landmark[0])))


def test_coarse_mask_covers_brows_eyes_nose_mouth_and_fine_mask_eyes_and_nose():
    points = face()
    coarse, fine = group_masks(gaussian_heatmaps(points, SIDE))
    covered = {
        name: [
            all(bool(mask[0, 0][at(points[0, k])] > 0.7) for k in group) for mask in (coarse, fine)
        ]
        for name, group in GROUPS.items()
    }
    assert covered == {
        "contour": [False, False],
        "brows": [True, False],
        "nose": [True, True],
        "eyes": [True, True],
        "mouth": [True, False],
    }
    assert coarse.amin() >= 0
    assert coarse.amax() <= 1


def one_wflw(channel, row=128, column=100, side=256):
    maps = torch.zeros(1, 98, side, side)
    maps[0, channel, row, column] = 0.8
    return maps


@pytest.mark.parametrize(
    ("channel", "down", "power", "fine"),
    [
        (10, 0, 3, False),  # chin
        (40, 7, 2, False),  # a brow
        (57, -8 - 4, 4, True),  # a nostril moves twice
        (53, -4, 1, True),  # the bridge of the nose, but for its first point
        (51, 0, 1, True),
        (79, 8, 4, False),  # upper lip
        (85, -8, 4, False),  # lower lip
        (90, 2, 3, False),  # inner lip
        (96, 0, 1, True),  # a pupil
    ],
)
def test_published_builder_moves_and_sharpens_each_part(channel, down, power, fine):
    coarse, fine_mask = wflw_masks(one_wflw(channel))
    assert coarse[0, 0].nonzero().tolist() == [[128 + down, 100]]
    assert float(coarse.max()) == pytest.approx(0.8**power)
    assert bool(fine_mask.any()) == fine


@pytest.mark.parametrize("channel", [0, 7, 25, 32, 33, 46, 76, 82])
def test_published_builder_drops_the_upper_contour_and_four_corners(channel):
    assert not wflw_masks(one_wflw(channel)).coarse.any()


def test_published_builder_draws_eyes_twice_with_fixed_shifts():
    for side in (256, 128):
        coarse, fine = wflw_masks(one_wflw(65, row=60, side=side))
        found = {r: float(coarse[0, 0, r, c]) for r, c in coarse[0, 0].nonzero().tolist()}
        assert found == pytest.approx({68: 0.8**3, 84: 0.8})
        assert torch.equal(coarse, fine)


def test_shifts_scale_with_the_side():
    (row, _), *_ = wflw_masks(one_wflw(79, row=60, side=128)).coarse[0, 0].nonzero().tolist()
    assert abs(row - 60) == 4


def test_cleaning_drops_noise_and_stretches_to_one():
    maps = torch.tensor([[0.05, 0.3], [0.6, 0.09]])[None, None]
    torch.testing.assert_close(clean_heatmaps(maps)[0, 0], torch.tensor([[0.0, 0.5], [1.0, 0.0]]))
    assert not clean_heatmaps(torch.full((1, 1, 4, 5), 0.5)).any()


def test_structure_maps_follow_the_landmarks_and_have_their_gradient():
    points = face().double()
    maps = structure_maps(points, SIDE)
    assert maps.shape == (1, 6, SIDE, SIDE)
    for index, group in enumerate(GROUPS.values()):
        for k in group:  # a peak of 1, at most half a pixel away along each axis
            assert maps[0, index][at(points[0, k])] > 0.6
    maps = structure_maps(points.requires_grad_(True), SIDE)
    (gradient,) = torch.autograd.grad((maps * torch.rand_like(maps)).sum(), points)
    assert (gradient.abs().sum(-1) > 0).all()


def test_wrong_number_of_heatmaps_is_refused():
    with pytest.raises(ValueError, match=r"heatmaps is \(1, 68, 8, 8\), expected \(B, 98, H, H\)"):
        wflw_masks(torch.zeros(1, 68, 8, 8))
