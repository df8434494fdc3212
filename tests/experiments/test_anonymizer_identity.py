"""What recognisers see of outputs: everything, nothing, the wrong person."""

import numpy as np
import pytest
import torch

from anonymizer.recognition import Recognizer
from experiments.anonymizer_identity import Identity, missing, open_judges, shapes
from tests.experiments.tiny_anonymizer import outputs
from tests.experiments.tiny_codesign import CPU, TinyRecognizer


class Tint(Recognizer):
    """Knows people by the mean colour that each of the tiny people has."""

    def __init__(self):
        super().__init__()
        self.where = torch.nn.Parameter(torch.zeros(1))  # a recogniser is somewhere

    def embed(self, faces):
        mean = faces[..., 8:-8, 8:-8].mean((2, 3))
        return mean / mean.sum(1, keepdim=True) - 1 / 3


def judge(made=None, judges=None, guard="tint"):
    return Identity(judges or {"tint": Tint()}, guard, outputs(made), seed=0)


def noise(clear):
    return torch.rand(clear.shape, generator=torch.Generator().manual_seed(0))


def test_outputs_that_are_the_sources_hide_nothing():
    found = judge().numbers()
    assert found["reid_source_auc"] == found["reid_clear_auc"] > 0.8
    assert found["linkage_auc"] > 0.8
    assert found["linkage_dsys"] > found["linkage_dsys_null_hi"]
    assert found["diversity_identity"] == pytest.approx(0, abs=1e-5)


def test_outputs_that_are_noise_say_nothing():
    found = judge(noise).numbers()
    for name in ("reid_source_auc", "reid_reference_auc"):
        assert found[f"{name}_lo"] < 0.5 < found[f"{name}_hi"]
    assert found["linkage_dsys_lo"] <= found["linkage_dsys"] <= found["linkage_dsys_hi"]


def test_outputs_that_are_the_references_give_those_away():
    """Each output shows another picture of whoever lent its style."""
    found = judge(lambda clear: clear.roll(-9, 0)).numbers()
    assert found["reid_reference_auc"] > 0.8
    assert found["reid_source_auc"] < 0.5


def test_the_recogniser_that_sees_most_counts_and_the_guard_is_named():
    found = judge(judges={"blind": TinyRecognizer(), "tint": Tint()}, guard="blind").numbers()
    by = {name: found[f"reid_source_auc_by_{name}"] for name in ("blind", "tint")}
    assert found["reid_source_auc"] == max(by.values())
    assert (found["guard"], found["held_out"]) == ("blind", ["tint"])
    assert found["reid_source_auc_n"] == 6 * 3 * 2


def test_landmarks_alone_are_told_apart_by_shape_not_by_place():
    points = outputs().landmarks
    turn = torch.tensor([[0.9, -0.3], [0.3, 0.9]])
    moved = 1.3 * points @ (turn / turn.norm(dim=0)).T + torch.tensor([5.0, -2.0])
    torch.testing.assert_close(shapes(moved), shapes(points), atol=1e-5, rtol=0)
    stretched = points * torch.tensor([1.0, 1.2])
    assert (shapes(stretched) - shapes(points)).abs().max() > 0.01
    found = judge().landmarks()
    assert found["reid_landmarks_auc_lo"] < 0.5 < found["reid_landmarks_auc_hi"]


def test_judges_without_weights_are_left_out(caplog):
    node = {
        "_target_": "anonymizer.recognition.load_recognizer",
        "network": {"_target_": "anonymizer.recognition.CompactRecognizer"},
        "file": "nowhere.safetensors",
        "sha256": "0" * 64,
        "search": [],
    }
    found = open_judges({"judges": {"absent": node}}, {"tiny": TinyRecognizer()}, CPU)
    assert list(found) == ["tiny"]
    assert "judge absent is left out" in caplog.text


def test_a_number_that_is_missing_says_why():
    found = missing("fid", "no weights")
    assert found == {
        "fid": None, "fid_lo": None, "fid_hi": None, "fid_n": None, "fid_reason": "no weights",
    }  # fmt: skip


def test_intervals_hold_the_number():
    found = judge().numbers()
    names = [name for name in found if f"{name}_lo" in found]
    assert len(names) >= 6
    for name in names:
        assert np.isfinite(found[name])
        assert found[f"{name}_lo"] <= found[name] <= found[f"{name}_hi"], name
