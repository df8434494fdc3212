"""Inversions that know what faces look like: they bring back what a lens alone does not."""

import pytest
import torch
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from experiments.attacks import CameraDefence, GenerativePrior, PlugAndPlay, Wiener, report
from experiments.attacks.denoising import Denoiser
from experiments.attacks.prior import FaceModel
from experiments.stages import Schedule
from tests.experiments.attacks.planted import CLEAR, people, trial
from tests.experiments.attacks.test_attacks import defended, gaussian

BRIEF = Schedule(steps=2, batch=8, learning_rate=1e-3)
LONG = Schedule(steps=400, batch=16, learning_rate=3e-3)


def denoising(training=BRIEF, **changes):
    options = {"strengths": (1.0,), "frames": (1,), "width": 16, "depth": 3} | changes
    return PlugAndPlay(training, **options)


def test_a_denoiser_is_told_how_strong_the_noise_is_and_takes_any_size():
    torch.manual_seed(0)
    network = Denoiser(8, 3)
    noisy = torch.rand(2, 3, 13, 10)
    found = network(noisy, torch.tensor([0.0, 0.0]))
    assert found.shape == noisy.shape
    assert not torch.equal(found, network(noisy, torch.tensor([0.3, 0.3])))


@pytest.mark.slow
def test_training_teaches_the_denoiser_what_is_noise(tmp_path):
    where = trial(CLEAR, tmp_path)
    trained = denoising(LONG).denoiser(where, "attack")
    faces = where.faces(where.held, where.held.batches(24)[0], 1)
    clear = faces.scenes.light
    noisy = clear + 0.15 * torch.randn(clear.shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        calm = trained(noisy, torch.full((24,), 0.15))
    assert (calm - clear).square().mean() < 0.6 * (noisy - clear).square().mean()


class KnowsPatterns(PlugAndPlay):
    """With a denoiser that knows how people look here: 4 x 4 even squares."""

    def denoiser(self, trial, name):
        return Squares()


class Squares(torch.nn.Module):
    def forward(self, noisy, level):
        return interpolate(adaptive_avg_pool2d(noisy, 4), noisy.shape[-2:])


def test_a_denoiser_that_knows_faces_restores_more_than_the_lens_alone(tmp_path):
    where = trial(defended(gaussian(1.5)), tmp_path, test=people(40, 4))
    light = {"strengths": (1.0,), "frames": (1,), "exposures": (1e3, 1e5)}
    plain = Wiener(**light).run(where, "plain").conditions
    known = KnowsPatterns(BRIEF, **light).run(where, "attack").conditions
    for condition in plain:
        assert known[condition]["psnr"] > plain[condition]["psnr"] + 2
    assert known["exact_frames_1_100ke"]["psnr"] > known["exact_frames_1_1ke"]["psnr"]


def test_a_model_of_faces_finds_them_behind_a_lens_that_inversion_cannot_undo(tmp_path):
    """Faces here have 48 numbers, which the model learns exactly; the lens keeps a trace."""
    where = trial(defended(gaussian(7.0, 41)), tmp_path)
    attack = GenerativePrior((47,), (1.0,), (1, 100))
    outcome = attack.run(where, "attack")
    found, pictures = report(attack, outcome, where, "attack"), outcome.pictures
    clear = where.faces(where.held, where.shown, 1).scenes.light

    def error(picture):
        return float((picture - clear).square().mean())

    plain = Wiener((1.0,), (100,)).run(where, "plain").pictures["exact_frames_100"]
    assert error(pictures["frames_100"]) < 0.5 * error(plain)
    assert error(pictures["frames_100"]) < error(pictures["frames_1"])
    assert found["identifies"]
    assert found["chosen"]["frames_100_components"] == 47
    assert (found["actor"], found["budget"]["inversions_tried"]) == ("A3", 1)


def test_the_model_is_the_principal_components_of_the_pictures():
    draw = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(48, 2, generator=draw)).Q
    weights = torch.randn(400, 2, generator=draw) * torch.tensor([3.0, 0.5])
    pictures = (weights @ basis.T + 0.7).reshape(400, 3, 4, 4)
    model = FaceModel.learn(pictures, 2)
    overlap = (model.components.flatten(1) @ basis).abs()
    torch.testing.assert_close(overlap, torch.eye(2), atol=0.05, rtol=0)
    torch.testing.assert_close(model.variances, torch.tensor([9.0, 0.25]), rtol=0.2, atol=0)
    assert model.first(1).components.shape == (1, 3, 4, 4)


@pytest.mark.parametrize("attack", [denoising(), GenerativePrior((8,), (1.0,), (1,))])
def test_what_has_no_lens_is_said_so(attack, tmp_path):
    where = trial(CLEAR, tmp_path)
    found = report(attack, attack.run(where, "attack"), where, "attack")
    assert found["result"] is None
    assert "no" in found["reason"]
    assert not isinstance(where.defence, CameraDefence)


def test_people_dealt_anew_are_not_found(tmp_path):
    where = trial(defended(gaussian(1.0)), tmp_path, shuffle=True)
    for attack in (denoising(), GenerativePrior((20,), (1.0,), (1,))):
        found = report(attack, attack.run(where, "attack"), where, "attack")["result"]
        assert found["auc_lo"] <= 0.5 <= found["auc_hi"]


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match="steps = 1, expected at least 2"):
        denoising(steps=1)
    with pytest.raises(ValueError, match=r"components = \[0\]"):
        GenerativePrior((0,))
    with pytest.raises(ValueError, match="pictures = 3, expected at least 8"):
        GenerativePrior(pictures=3)
    with pytest.raises(ValueError, match="width = 0, depth = 5"):
        Denoiser(0)
