"""The recogniser job: training with any head, and verification on a list of pairs."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from anonymizer.recognition import CompactRecognizer, Recognizer
from experiments import recognize
from experiments.data.pairs.base import FacePairs
from experiments.store import load_arrays, load_tensors
from experiments.verifying import embed_all
from tests.experiments.calling import caller
from tests.experiments.data.test_pairs import listed, packed, picture

SMALL = ("data=synthetic_small", "data.people=10", "data.images_per_person=3", "data.workers=1",
         "training.batch=6", "device=cpu", "progress=false")  # fmt: skip
POOL = ("verify", "recognizers@pool=synthetic", "device=cpu", "progress=false")


@pytest.fixture
def lab(tmp_path, monkeypatch, capsys):
    return caller("recognize", recognize, tmp_path, monkeypatch, capsys)


@pytest.fixture
def pack(tmp_path):
    """Overrides that name a small list of pairs."""
    folder = tmp_path / "pack"
    folder.mkdir()
    listed(folder)
    return (f"pairs.root={folder}", "pairs.pairs=pairs.csv", "pairs.index=index.csv")


def test_verification_writes_numbers_scores_and_a_page(lab, pack, tmp_path):
    code, _, errors = lab(*POOL, *pack, "hydra.run.dir=run")
    assert code == 0, errors
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert {"compact/accuracy", "compact/auc_lo", "compact/n_people"} <= metrics.keys()
    assert (metrics["compact/n_genuine"], metrics["compact/n_impostor"]) == (8, 8)
    kept = load_arrays(tmp_path / "run/scores.npz")
    assert kept["same"].tolist() == [True, False] * 8
    assert (np.abs(kept["compact"]) <= 1 + 1e-5).all()  # embeddings are float32
    page = (tmp_path / "run/report.html").read_text()
    assert f"{metrics['compact/accuracy']:.2%}" in page
    assert "over 8 people drawn with replacement" in page
    assert "mirror image" not in page
    assert {p.name for p in (tmp_path / "run/figures").iterdir()} >= {"roc.png", "scores.png"}


class LeftHalf(Recognizer):
    """Sees the mean colours of the left half alone."""

    dimension = 3

    def embed(self, faces):
        return faces[..., :56].mean(dim=(2, 3))


def test_flip_fusion_lets_a_network_see_the_mirror_image_too(tmp_path):
    """Pictures whose halves are of different colours, by a network that sees one half."""
    pixels = np.zeros((112, 112, 3), np.uint8)
    pixels[:, :56, 0], pixels[:, 56:, 1] = 255, 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    rows = np.zeros((1, 2), np.int64)
    faces = FacePairs(
        ["a", "b", "c"], lambda row: file.getvalue(), rows, rows[0] == 0, rows[0], rows
    )
    settings = {"device": "cpu", "verify_batch": 2, "progress": False}
    plain, fused = (
        embed_all(LeftHalf(), faces, {**settings, "flip_fusion": fusion}, label="")
        for fusion in (False, True)
    )
    np.testing.assert_allclose(plain, np.tile([1, 0, 0], (3, 1)), atol=1e-6)
    np.testing.assert_allclose(fused, np.tile([0.5**0.5, 0.5**0.5, 0], (3, 1)), atol=1e-6)


def test_the_page_says_what_the_numbers_rest_on(lab, tmp_path):
    content = ([picture(4 * k) for k in range(48)], [k % 2 == 0 for k in range(24)])
    bundle = packed(tmp_path, content).root
    words = ("pairs=packed", f"pairs.root={bundle}", "flip_fusion=true", "hydra.run.dir=run")
    code, _, errors = lab(*POOL, *words)
    assert code == 0, errors
    page = (tmp_path / "run/report.html").read_text()
    assert "The list names nobody" in page
    assert "each summed with that of the mirror image" in page


def test_a_recogniser_is_trained_with_the_head_that_was_chosen(lab, tmp_path):
    code, _, errors = lab(*SMALL, "head=arcface", "training.steps=2", "hydra.run.dir=run")
    assert code == 0, errors
    state, _ = load_tensors(tmp_path / "run/recognizer.safetensors")
    CompactRecognizer().load_state_dict(state)
    assert 0 <= json.loads((tmp_path / "run/metrics.json").read_text())["auc"] <= 1


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("head", ["cosface", "arcface", "adaface", "angular"])
def test_every_head_learns_to_name_people(lab, tmp_path, head):
    words = ("training.steps=60", "training.batch=24", "log_every=1", "hydra.run.dir=run")
    code, _, errors = lab(*SMALL, f"head={head}", *words)
    assert code == 0, errors
    history = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").open()]
    loss = [row["identity"] for row in history if "identity" in row]
    assert np.mean(loss[-10:]) < 0.8 * np.mean(loss[:10])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("teach",), "what = 'teach'"),
        (("verify", "pairs.root=nowhere"), "nowhere"),
        (("verify", "verify_batch=0"), "verify_batch = 0"),
        (("head=cosface", "head.cosine_margin=1.5"), "cosine_margin = 1.5"),
        (("head=arcface", "head.angular_margin=0.3"), "has no unit"),
    ],
)
def test_a_mistake_is_one_line(lab, words, message):
    code, _, errors = lab(*words, "hydra.run.dir=run")
    assert code in (2, 3)
    assert message in errors
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
