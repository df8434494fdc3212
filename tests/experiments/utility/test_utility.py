"""What is left to do with pictures of which it is known: all of it, some of it, nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from anonymizer.alignment import CANONICAL68
from anonymizer.checkpoints import WeightsError
from anonymizer.colour import encode_srgb
from anonymizer.detection import Detection as Found
from anonymizer.regressors import CompactRegressor
from experiments.attacks import Blank, CameraDefence, Clear, ProtectionDefence
from experiments.data.crops import FaceCrops
from experiments.stages import Schedule
from experiments.utility import (
    Detection,
    Distributions,
    Downstream,
    Landmarks,
    Likeness,
    Recognition,
)
from experiments.utility.landmarks import correlation, eye_opening, mouth_opening
from tests.experiments.attacks.planted import SIZE, Constant, trial
from tests.experiments.attacks.test_attacks import defended, gaussian
from tests.experiments.attacks.test_keys import Ignored

BRIEF = Schedule(steps=2, batch=8, learning_rate=1e-3)
TASK = Schedule(steps=50, batch=24, learning_rate=1e-2)
MIDDLE = (SIZE - 1) / 2


def shape_of(shift, mouth, turn):
    """Landmarks (N, 68, 2) of a face at `shift` (N, 2), its mouth open, its nose turned."""
    points = torch.as_tensor(CANONICAL68).float() * (SIZE / 3) + MIDDLE + shift[:, None]
    points[:, 65:68, 1] += 4 * mouth[:, None]
    points[:, 30, 0] += 6 * (turn - 0.5)
    return points


def spots(first, count, each=3):
    """A spot for each face: where it is, its red the opening of the mouth, its blue the turn."""
    draw = np.random.default_rng(first)
    n = count * each
    shift, mouth, turn = (
        torch.from_numpy(draw.uniform(low, high, size)).float()
        for low, high, size in ((-3, 3, (n, 2)), (0.1, 0.9, n), (0.1, 0.9, n))
    )
    line = torch.arange(SIZE) - MIDDLE
    y, x = line[:, None], line[None, :]
    square = (x - shift[:, 0, None, None]) ** 2 + (y - shift[:, 1, None, None]) ** 2
    light = torch.exp(-square / 18)[:, None] * torch.stack((mouth, torch.ones(n), turn), 1).reshape(
        n, 3, 1, 1
    )
    pixels = (encode_srgb(light) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return FaceCrops(
        images=pixels,
        landmarks=shape_of(shift, mouth, turn).numpy(),
        person=np.arange(count).repeat(each).astype(np.int64),
        names=tuple(f"spot {first + i}" for i in range(count)),
        files=tuple(f"{first}-{i}.png" for i in range(n)),
        context=1.7,
    )


class SpotReader(nn.Module):
    """Reads spots exactly, and what is no spot the same everywhere."""

    def forward(self, light):
        total = light.sum((-2, -1)).clamp(min=1e-3)
        line = torch.arange(SIZE) - MIDDLE
        x, y = (light[:, 1].sum(axis) @ line / total[:, 1] for axis in (1, 2))
        shift = torch.stack((x, y), 1)
        return Read(shape_of(shift, total[:, 0] / total[:, 1], total[:, 2] / total[:, 1]))


class Read:
    def __init__(self, points):
        self.points = points

    def landmarks(self):
        return self.points


class Grey(Clear):
    """Keeps where the face is, and loses its colours."""

    def show(self, faces, *, frames=1):
        return faces.scenes.light[:, 1:2].expand(-1, 3, -1, -1)


def spotted(defence, folder, **changes):
    parts = {"learn": spots(0, 24), "tune": spots(30, 10), "test": spots(60, 10)}
    return trial(defence, folder, **(parts | {"reader": SpotReader()} | changes))


# landmarks


def test_clear_pictures_are_read_as_far_as_the_reader_can(tmp_path):
    found = Landmarks(BRIEF).run(spotted(Clear(), tmp_path), "landmarks")
    assert found["nme"] < 0.03  # 8 bits, and spots that leave the picture
    assert found["failures"] == 0
    assert found["landmark_gain"] > 0.8
    assert min(found["mouth_r"], found["yaw_r"]) > 0.97
    for name in ("nme", "failures", "landmark_gain", "mouth_r", "yaw_r", "pose_yaw_error_deg"):
        assert found[name] == found[f"{name}_clear"]
        assert found[f"{name}_lo"] <= found[name] <= found[f"{name}_hi"]
        assert found[f"{name}_n"] == 30


def test_a_constant_is_good_for_nothing(tmp_path):
    found = Landmarks(BRIEF).run(spotted(Constant(), tmp_path), "landmarks")
    assert (found["nme"], found["failures"], found["landmark_gain"]) == (1, 1, 0)
    assert found["mouth_r"] == found["eyes_r"] == found["yaw_r"] == 0
    assert found["nme_clear"] < 0.03


def test_noise_is_good_for_nothing(tmp_path):
    found = Landmarks(BRIEF).run(spotted(Blank(), tmp_path), "landmarks")
    assert found["landmark_gain"] == 0
    for name in ("mouth_r", "yaw_r"):
        assert abs(found[name]) < 0.5  # 30 faces: 2.7 standard deviations


def test_what_loses_colours_keeps_places_and_loses_expression(tmp_path):
    found = Landmarks(BRIEF).run(spotted(Grey(), tmp_path), "landmarks")
    assert found["landmark_gain"] > 0.3
    assert found["mouth_r"] == 0 < found["mouth_r_clear_lo"]


def test_a_camera_is_read_by_its_own_network_and_both_are_named(tmp_path):
    class Wrong(SpotReader):
        def forward(self, light):
            return Read(super().forward(light).points + 40)

    camera = replace(defended(gaussian(0.3)), reader=SpotReader())
    found = Landmarks(BRIEF).run(spotted(camera, tmp_path, reader=Wrong()), "landmarks")
    assert found["nme"] == pytest.approx(found["nme_by_own"], rel=1e-6)
    assert found["nme_by_own"] < 0.2 < 2 < found["nme_by_clear"]
    assert isinstance(camera, CameraDefence)


@pytest.mark.slow
def test_without_a_reader_one_is_trained_the_same_every_time(tmp_path):
    one, two = (
        Landmarks(BRIEF, widths=(8, 8)).run(
            spotted(Clear(), tmp_path / str(i), reader=None), "landmarks"
        )
        for i in range(2)
    )
    assert one == two
    assert np.isfinite(one["nme"])


def test_a_defence_without_a_network_is_read_by_one_that_learned_on_what_it_shows(tmp_path):
    torch.manual_seed(0)
    clear = CompactRegressor(widths=(8, 8)).requires_grad_(False)
    where = spotted(Grey(), tmp_path, reader=clear)
    found = Landmarks(BRIEF, adapted=Schedule(4, 8, 1e-2)).run(where, "landmarks")
    assert found["nme"] == pytest.approx(found["nme_by_adapted"])
    assert found["nme_by_adapted"] < found["nme_by_clear"]
    assert not any(p.requires_grad for p in clear.parameters())
    own = replace(defended(gaussian(0.3)), reader=SpotReader())
    found = Landmarks(BRIEF, adapted=BRIEF).run(spotted(own, tmp_path), "landmarks")
    assert "nme_by_adapted" not in found


def test_openings_grow_with_the_lips_and_the_lids():
    still = torch.zeros(2)
    points = shape_of(torch.zeros(2, 2), torch.tensor([0.0, 1.0]), still)
    assert mouth_opening(points)[1] > mouth_opening(points)[0] + 0.1
    wide = points.clone()
    wide[:, [40, 41, 46, 47], 1] += 2
    assert (eye_opening(wide) > eye_opening(points)).all()
    torch.testing.assert_close(mouth_opening(wide), mouth_opening(points))


def test_correlation_is_pearsons_and_nothing_correlates_with_a_constant():
    draw = np.random.default_rng(0)
    x, rows = draw.normal(size=50), np.arange(50)
    y = 0.5 * x + draw.normal(size=50)
    assert correlation(x, y, rows) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert correlation(x, np.full(50, 0.3), rows) == 0


# detection


class SpotDetector:
    """Finds what is bright; `off` moves its boxes [px]."""

    def __init__(self, off=0.0):
        self.off = off

    def detect(self, images):
        return [self._boxes(image.astype(float).sum(-1)) for image in images]

    def _boxes(self, light):
        if np.ptp(light) < 200:
            return []
        rows, columns = np.nonzero(light > light.max() / 3)
        y, x = rows.mean() + self.off, columns.mean() + self.off
        return [Found(np.array([x - 55, y - 25, x + 55, y + 75]), 0.9, np.zeros((5, 2)))]


def test_faces_count_as_found_in_their_places_alone(tmp_path):
    for off, wanted in ((0, 1), (200, 0)):
        found = Detection(lambda off=off: SpotDetector(off), "spot").run(
            spotted(Clear(), tmp_path), "detection"
        )
        assert found["detection_spot"] == found["detection_spot_clear"] == wanted
        assert found["detection_spot_n"] == 30
    found = Detection(SpotDetector, "spot").run(spotted(Constant(), tmp_path), "detection")
    assert (found["detection_spot"], found["detection_spot_clear"]) == (0, 1)
    assert found["detection_spot_hi"] == pytest.approx(0.1157, abs=1e-3)  # Clopper-Pearson, 0 of 30


def test_a_detector_without_weights_is_said_so(tmp_path):
    def missing():
        raise WeightsError("pnet.pt is not here")

    found = Detection(missing).run(spotted(Clear(), tmp_path), "detection")
    assert found["detection_mtcnn"] is None
    assert found["detection_mtcnn_reason"] == "no detector: pnet.pt is not here"


# likeness


def test_likeness_is_highest_for_the_picture_itself_and_counts_what_is_lost(tmp_path):
    clear, grey, noise = (
        Likeness().run(spotted(d, tmp_path), "likeness") for d in (Clear(), Grey(), Blank())
    )
    assert clear["psnr"] > grey["psnr"] > noise["psnr"]
    assert clear["ssim"] == pytest.approx(1, abs=1e-5)
    assert grey["ssim"] > noise["ssim"]
    half = Likeness().run(spotted(Constant(), tmp_path), "likeness")
    assert half["psnr"] < half["psnr_blind"]


def test_sets_that_are_equal_have_no_distance_and_inception_says_what_is_missing(tmp_path):
    same = Distributions().run(spotted(Clear(), tmp_path), "distributions")
    other = Distributions().run(spotted(Blank(), tmp_path), "distributions")
    assert same["frechet_one"] == pytest.approx(0, abs=1e-6)
    assert other["frechet_one"] > same["frechet_one_hi"]
    assert same["fid"] is None
    assert "no Inception-v3 weights" in same["fid_reason"]


# recognition


def test_recognition_is_measured_where_it_is_meant(tmp_path):
    found = Recognition().run(trial(ProtectionDefence(Ignored(), 24, 1.35), tmp_path), "r")
    assert found["recognition_auc"] > 0.9
    assert found["recognition_auc_lo"] <= found["recognition_auc_enrolled_clear"]

    class Hidden(Ignored):
        capabilities = replace(Ignored.capabilities, recognisable=False)

    found = Recognition().run(trial(ProtectionDefence(Hidden(), 24, 1.35), tmp_path), "r")
    assert found["recognition_auc"] is None
    assert "does not mean people to be recognised" in found["recognition_auc_reason"]
    assert Recognition().run(trial(Clear(), tmp_path), "r")["recognition_auc"] is None


# downstream


@pytest.mark.parametrize("task", ["yaw", pytest.param("mouth", marks=pytest.mark.slow)])
def test_tasks_are_learned_from_what_shows_them_alone(task, tmp_path):
    measure = Downstream(task, TASK)
    key = f"downstream_{task}"
    clear = measure.run(spotted(Clear(), tmp_path), "task")
    assert clear[key] == clear[f"{key}_clear"] > 0.9
    for defence in (Constant(), Grey()):
        found = measure.run(spotted(defence, tmp_path), "task")
        assert found[f"{key}_lo"] <= 0.5 <= found[f"{key}_hi"]
        assert found[f"{key}_clear"] == clear[key]


def test_a_task_without_examples_is_left_out(tmp_path):
    found = Downstream("yaw", TASK).run(trial(Clear(), tmp_path), "task")
    assert found["downstream_yaw"] is None
    assert "fewer than 8 pictures" in found["downstream_yaw_reason"]
