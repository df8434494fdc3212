"""The loop that trains protections: it learns, goes on where it stopped, keeps what it learned."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from anonymizer.protection import Capabilities, Protection
from anonymizer.protection.obfuscation import Obfuscation
from anonymizer.protection.obfuscators import GaussianBlur
from anonymizer.protection.training import Trainable
from experiments import protection_training as training
from experiments.composing import compose
from experiments.settings import Settings, SettingsError, to_si
from experiments.store import load_tensors, read_jsonl
from tests.experiments.test_protection_evaluation import crops


class Tint(Protection):
    """Multiplies each colour by a learned factor."""

    capabilities = Capabilities(keyed=False, recoverable=False, decoy=False, recognisable=False)

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(3))

    def protect(self, images, keys=None):
        self.check(images, keys)
        return (images * self.factor[:, None, None]).clamp(0, 1)


class TintTraining(Trainable):
    """Wants half the light; a second player wants its own number to be the mean light."""

    def __init__(self, protection: Tint):
        super().__init__()
        self.protection, self.guess = protection, nn.Linear(1, 1)

    def players(self):
        return {"adversary": self.guess, "protection": self.protection}

    def losses(self, batch, generator, *, player="protection"):
        faces = batch.faces[:, 0]
        if player == "adversary":
            return {"mean": (self.guess.bias - faces.mean()).square().sum()}
        noise = torch.rand((), generator=generator)
        return {"tint": (self.protection.protect(faces) - 0.5 * faces).square().mean() + noise}


@pytest.fixture
def settings(monkeypatch):
    class Fake:
        def split(self):
            return {"train": crops(6), "attacker": crops(2)}

    monkeypatch.setattr(training, "open_crops", lambda *_: Fake())
    monkeypatch.setattr(training, "build_trainable", lambda _, network: TintTraining(network))
    schedule = {"_target_": "experiments.stages.Schedule", "steps": 12, "batch": 4}
    return Settings(
        {
            "data": {}, "seed": 0, "device": "cpu", "average": 0.5, "checkpoint_every": 5,
            "log_every": 1, "progress": False,
            "training": Settings({**schedule, "learning_rate": 0.05}, "training"),
        }
    )  # fmt: skip


def run(settings, folder, steps):
    changed = copy.deepcopy(settings)
    changed["training"]["steps"] = steps
    network = Tint()
    numbers = training.train(changed, network, 32, 1.3, folder)
    return network, numbers


def test_every_player_learns_and_the_average_is_kept(settings, tmp_path):
    network, numbers = run(settings, tmp_path, 12)
    assert network.factor.max() < 0.95
    lines = read_jsonl(tmp_path / "metrics.jsonl")
    assert len(lines) == 12
    assert lines[-1]["adversary/mean"] < lines[0]["adversary/mean"]
    tensors, metadata = load_tensors(tmp_path / training.WEIGHTS)
    assert metadata == {"method": "Tint", "size": "32"}
    # an average lags behind: between the start, 1, and what was reached
    assert (tensors["factor"] > network.factor.detach()).all()
    assert (tensors["factor"] < 1).all()
    assert (numbers["n_images"], numbers["n_people"]) == (24, 6)


def test_a_continued_training_is_the_same_to_the_last_bit(settings, tmp_path):
    run(settings, tmp_path / "whole", 10)
    # the pace depends on the number of steps, so the same plan is cut short by a signal
    broken = copy.deepcopy(settings)
    broken["training"]["steps"] = 10
    stop, calls = training.load_batch, []

    def once(*words):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return stop(*words)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "load_batch", once)
        with pytest.raises(KeyboardInterrupt):
            training.train(broken, Tint(), 32, 1.3, tmp_path / "parts")
    training.train(broken, Tint(), 32, 1.3, tmp_path / "parts")
    files = [tmp_path / part / training.WEIGHTS for part in ("whole", "parts")]
    one, other = (load_tensors(file)[0] for file in files)
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_batches_are_the_squares_of_their_rows():
    data = crops(3)
    person = torch.from_numpy(data.person)
    rows = torch.tensor([[0, 4], [8, 8]])
    batch = training.load_batch(data, person, rows, 24, 1.3)
    assert batch.faces.shape == (2, 2, 3, 24, 24)
    assert batch.person.tolist() == [[0, 1], [2, 2]]
    torch.testing.assert_close(batch.faces[1, 0], batch.faces[1, 1])
    assert (batch.faces[0, 0] - batch.faces[0, 1]).abs().mean() > 0.05


def test_a_method_and_another_methods_training_are_refused():
    config = to_si(compose("protect", ["trainable=proface_s"]))
    with pytest.raises(SettingsError, match="trains a ProFaceS, but method is a Obfuscation"):
        training.build_trainable(config, Obfuscation(GaussianBlur()))


def test_trained_weights_are_those_the_method_takes(settings, tmp_path, monkeypatch):
    run(settings, tmp_path, 3)
    monkeypatch.setattr(training, "find_run", lambda job, which: tmp_path)
    network = Tint()
    training.load_trained(network, "latest")
    tensors, _ = load_tensors(tmp_path / training.WEIGHTS)
    np.testing.assert_array_equal(network.factor.detach(), tensors["factor"])


def test_a_method_that_has_learned_nothing_is_refused():
    network = Tint()
    with pytest.raises(SettingsError, match="no weights of this Tint"):
        training.require_weights(network)
    training.require_weights(network.requires_grad_(False))
    training.require_weights(Obfuscation(GaussianBlur()))


def test_a_method_without_a_training_says_so():
    config = to_si(compose("protect", ["method=blur"]))
    with pytest.raises(SettingsError, match="configs/trainable"):
        training.build_trainable(config, Obfuscation(GaussianBlur()))


def test_training_begins_without_the_weights_that_come_with_the_package():
    node = to_si(compose("protect", ["method=proface_c"]))["method"]
    network = training.untrained({**node, "sha256": "0" * 64})  # no file could be loaded
    assert all(weight.requires_grad for weight in network.learned.parameters())


@pytest.mark.parametrize("name", ["proface_s", "proface_s_decoy", "proface_c"])
def test_a_method_is_trained_by_what_has_its_name(name):
    config = to_si(compose("protect", [f"method={name}"]))
    training.build_trainable(config, training.untrained(config["method"]))
