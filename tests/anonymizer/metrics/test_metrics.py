"""Formulas of the anonymizer's evaluation: closed forms, invariances, intervals."""

import math

import numpy as np
import pytest
import torch
from torchmetrics.image.fid import FrechetInceptionDistance

from anonymizer.metrics import (
    box_distance,
    box_overlap,
    eye_error,
    frechet_distance,
    head_pose,
    kernel_distance,
    landmark_distance,
    mean_over_people,
    over_people,
    temporal_jitter,
)
from anonymizer.metrics.pose import HEAD, POINTS

BOX = np.array([10.0, 20.0, 50.0, 80.0])
FIVE = np.array([[20.0, 30.0], [40.0, 30.0], [30.0, 45.0], [22.0, 60.0], [38.0, 60.0]])


def test_equal_faces_are_zero_apart():
    assert landmark_distance(FIVE, FIVE) == box_distance(BOX, BOX) == eye_error(FIVE, FIVE) == 0
    assert box_overlap(BOX, BOX) == 1


def test_published_distances_know_no_scale_and_the_corrected_ones_do():
    moved = BOX + np.array([3.0, 4.0, 3.0, 4.0])
    assert box_distance(BOX, moved) == pytest.approx(5)
    assert box_distance(2 * BOX, 2 * moved) == pytest.approx(10)
    assert box_overlap(2 * BOX, 2 * moved) == pytest.approx(box_overlap(BOX, moved))
    assert box_overlap(BOX, moved) == pytest.approx(37 * 56 / (2 * 40 * 60 - 37 * 56))
    shifted = FIVE + np.array([3.0, 4.0])
    assert landmark_distance(FIVE, shifted) == pytest.approx(3.5)
    assert eye_error(FIVE, shifted) == pytest.approx(5 / 20)
    assert eye_error(3 * FIVE, 3 * shifted) == pytest.approx(5 / 20)


def test_boxes_apart_do_not_overlap_and_turned_ones_are_refused():
    assert box_overlap(BOX, BOX + 100) == 0
    with pytest.raises(ValueError, match="expected left < right"):
        box_overlap(BOX, BOX[[2, 1, 0, 3]])
    with pytest.raises(ValueError, match=r"\(5, 2\) in the source and \(4, 2\)"):
        landmark_distance(FIVE, FIVE[:4])


def turned(yaw, pitch, roll):
    """Landmarks of the mean head in that direction, by the product of three rotations."""
    c, s = (lambda a: math.cos(a)), (lambda a: math.sin(a))
    x = torch.tensor([[1, 0, 0], [0, c(pitch), -s(pitch)], [0, s(pitch), c(pitch)]])
    y = torch.tensor([[c(yaw), 0, s(yaw)], [0, 1, 0], [-s(yaw), 0, c(yaw)]])
    z = torch.tensor([[c(roll), -s(roll), 0], [s(roll), c(roll), 0], [0, 0, 1]])
    points = torch.zeros(1, 68, 2, dtype=torch.float64)
    seen = HEAD @ (z.double() @ y.double() @ x.double()).T
    points[0, list(POINTS)] = 0.7 * seen[:, :2] + torch.tensor([31.0, 40.0]).double()
    return points


@pytest.mark.parametrize("angles", [(0, 0, 0), (0.5, 0, 0), (0, -0.3, 0), (0.4, 0.2, -0.6)])
def test_pose_of_a_turned_head_comes_back(angles):
    found = head_pose(turned(*angles))[0]
    torch.testing.assert_close(found, torch.tensor(angles).double(), atol=1e-6, rtol=0)


def test_positive_yaw_takes_the_nose_to_the_left():
    level, right = turned(0, 0, 0), turned(0.4, 0, 0)
    nose = [p[0, 30, 0] - p[0, [36, 45], 0].mean() for p in (level, right)]
    assert nose[1] < nose[0]


def test_jitter_counts_neither_motion_nor_offset_nor_drift():
    time = torch.arange(8.0)[:, None, None]
    true = torch.rand(68, 2, generator=torch.Generator().manual_seed(0)) * 40 + time.sin() * 5
    assert temporal_jitter(true + 3 + 0.5 * time, true).item() == pytest.approx(0, abs=1e-6)
    nervous = true.clone()
    nervous[::2, :, 0] += 1.0  # every second difference is 2 px
    eyes = (true[:, 45] - true[:, 36]).norm(dim=-1).mean()
    assert temporal_jitter(nervous, true).item() == pytest.approx(2 / eyes.item(), rel=1e-5)
    with pytest.raises(ValueError, match="T >= 3"):
        temporal_jitter(true[:2], true[:2])


def test_frechet_distance_of_two_gaussians():
    """|m1 - m2|^2 + tr(S1 + S2 - 2 sqrt(S1 S2)): diagonal covariances in closed form."""
    draw = torch.Generator().manual_seed(0)
    a = torch.randn(4000, 3, generator=draw, dtype=torch.float64)
    a = (a - a.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(a.T.cov())).T  # exactly white
    b = 2 * a + torch.tensor([1.0, 0.0, -2.0])
    assert frechet_distance(a, b) == pytest.approx(5 + 3 * (1 + 4 - 2 * 2), rel=1e-5)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


class AsTheyAre(torch.nn.Module):
    """Stands for the network where features are given."""

    num_features = 6

    def forward(self, features):
        return features


@pytest.mark.parametrize("count", [4, 50])  # fewer than dimensions, and more
def test_frechet_distance_is_that_of_torchmetrics(count):
    draw = torch.Generator().manual_seed(2)
    a, b = (torch.randn(count + i, 6, generator=draw, dtype=torch.float64) for i in (0, 3))
    b = b @ torch.randn(6, 6, generator=draw, dtype=torch.float64) + 0.3
    oracle = FrechetInceptionDistance(feature=AsTheyAre())
    oracle.set_dtype(torch.float64)
    oracle.update(a, real=True)
    oracle.update(b, real=False)
    assert frechet_distance(a, b) == pytest.approx(float(oracle.compute()), rel=1e-4)


def test_kernel_distance_is_unbiased_and_grows():
    draw = torch.Generator().manual_seed(1)
    halves = [torch.randn(60, 4, generator=draw) for _ in range(200)]
    same = [kernel_distance(a, b) for a, b in zip(halves[::2], halves[1::2], strict=True)]
    assert abs(np.mean(same)) < 3 * np.std(same) / math.sqrt(len(same))
    assert kernel_distance(halves[0], halves[1] + 1) > 10 * np.std(same)


def test_interval_over_people_is_wider_than_over_pictures_of_them():
    """Ten equal pictures of a person say no more than one."""
    draw = np.random.default_rng(0)
    people = draw.normal(size=30)
    ten = mean_over_people(people.repeat(10), np.arange(30).repeat(10))
    one = mean_over_people(people, np.arange(30))
    assert (ten.value, ten.low, ten.high) == pytest.approx((one.value, one.low, one.high))
    half = (one.high - one.low) / 2
    assert half == pytest.approx(1.96 * people.std() / math.sqrt(30), rel=0.1)


def test_interval_of_a_number_has_the_number_in_it():
    values = np.random.default_rng(1).normal(size=40)
    found = over_people(lambda rows: float(values[rows].var()), np.arange(40) // 2)
    assert found.value == pytest.approx(values.var())
    assert found.low < found.value < found.high
