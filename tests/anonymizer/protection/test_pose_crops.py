"""Crops by pose: which template, where the points go, and what lies beyond the picture."""

import math

import pytest
import torch

from anonymizer.alignment import apply_similarity
from anonymizer.protection.pose_crops import _TEMPLATES, POSES, crop_by_pose, nearest_poses


def turned(points, angle, scale, shift):
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    return points @ torch.tensor([[c, s], [-s, c]], dtype=points.dtype) + torch.tensor(shift)


def test_each_template_finds_itself_however_it_is_turned_and_scaled():
    points = turned(_TEMPLATES.double(), 0.3, 1.7, [20.0, -5.0])
    pose, matrix = nearest_poses(points, 224)
    assert pose.tolist() == list(range(len(POSES)))
    found = apply_similarity(matrix, points)
    torch.testing.assert_close(found, 2 * _TEMPLATES.double())


def test_mirrored_faces_have_the_mirrored_pose():
    """Templates are each other's mirror images, but for a few thousandths of a pixel."""
    mirrored = _TEMPLATES[:, [1, 0, 2, 4, 3]].clone()
    mirrored[..., 0] = 112 - mirrored[..., 0]
    assert nearest_poses(mirrored)[0].tolist() == [4, 3, 2, 1, 0]


def test_point_of_light_at_the_nose_lands_on_the_template():
    points = turned(_TEMPLATES[2:3], -0.2, 0.9, [30.0, 10.0])
    nose = points[0, 2]
    y, x = torch.meshgrid(torch.arange(140.0), torch.arange(180.0), indexing="ij")
    spot = torch.exp(-((x - nose[0]) ** 2 + (y - nose[1]) ** 2) / 8)
    crop, pose = crop_by_pose(spot.expand(1, 3, -1, -1), points, 112)
    weights = crop[0, 0] / crop[0, 0].sum()
    y, x = torch.meshgrid(torch.arange(112.0), torch.arange(112.0), indexing="ij")
    centre = [float((weights * x).sum()), float((weights * y).sum())]
    assert pose.item() == 2
    # half a pixel would show a grid that counts from another place
    assert centre == pytest.approx(_TEMPLATES[2, 2].tolist(), abs=0.02)


def test_beyond_the_picture_crops_are_black():
    points = _TEMPLATES[2:3] - 40  # the upper left of the crop is 40 px outside
    crop, _ = crop_by_pose(torch.ones(1, 3, 112, 112), points, 112)
    assert crop[..., :38, :].abs().max() == 0
    assert crop[..., 42:70, 42:70].min() > 0.999


def test_wrong_points_are_refused():
    with pytest.raises(ValueError, match=r"points is \(1, 68, 2\), expected \(B, 5, 2\)"):
        nearest_poses(torch.zeros(1, 68, 2))
