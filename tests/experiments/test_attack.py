"""The attack job: from the command line to reports, on protections and on cameras."""

import json

import pytest

from experiments import attack
from experiments.store import load_arrays
from tests.experiments.calling import caller
from tests.experiments.tiny_codesign import ROOT

FEW = (
    "data=synthetic_small", "data.people=24", "data.images_per_person=3", "data.workers=1",
    "size=64", "attacks.parrot.shuffles=20", "attacks.fine_tuned.training.steps=2",
    "attacks.fine_tuned.training.batch=4", "attacks.fine_tuned.points=1", "device=cpu",
    "progress=false", f"weights_path=[{ROOT / 'anonymizer/weights'}]",
)  # fmt: skip


@pytest.fixture
def lab(tmp_path, monkeypatch, capsys):
    return caller("attack", attack, tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("what=glasses", "what = 'glasses', expected camera or protection"),
        ("pictures=3", "pictures = 3, tuning_pictures = 120, batch = 32: at least 8"),
        ("attacks.fine_tuned.rates=[]", "attacks.fine_tuned: rates = []"),
        ("attacks.wiener.strengths=[-1.0]", "attacks.wiener: strengths = [-1.0]"),
        ("attacks.off_the_shelf.frames=[0]", "frames = [0], expected one count or more"),
        ("attacks.wrong_key.tries=0", "tries = 0, expected at least 1"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_written(
    lab, tmp_path, word, message
):
    code, _, errors = lab("hydra.run.dir=run", word)
    assert code == 2
    assert message in errors
    assert not (tmp_path / "run").exists()


def test_a_camera_needs_a_run(lab):
    code, _, errors = lab("camera", "design=nowhere", "hydra.run.dir=run")
    assert code == 4
    assert "nowhere holds no run of codesign" in errors


def test_the_worst_attack_is_named_and_those_that_do_not_apply_are_left_out():
    def one(auc):
        numbers = {"auc": auc, "auc_lo": auc - 0.1}
        bounds = {"floor": {"auc": 0.5}, "ceiling": {"auc": 0.9}}
        return {"result": numbers, "conditions": {"frames_1": numbers}, **bounds}

    found = {"a": one(0.6), "b": one(0.8), "c": one(0) | {"result": None}}
    flat = attack.flat(found)
    assert (flat["worst/auc"], flat["worst/auc_lo"]) == (0.8, pytest.approx(0.7))
    assert flat["a/frames_1/auc"] == 0.6
    assert (flat["floor/auc"], flat["ceiling/auc"]) == (0.5, 0.9)
    assert not any(key.startswith("c/") for key in flat)


@pytest.mark.slow
def test_a_protection_is_attacked_with_the_same_numbers_every_time(lab, tmp_path):
    code, _, errors = lab(*FEW, "method=pixelate", "hydra.run.dir=run")
    assert code == 0, errors
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    worst = max(v for k, v in metrics.items() if k.endswith("/auc") and k[0] in "opfw")
    assert metrics["worst/auc"] == worst
    found = json.loads((tmp_path / "run/fine_tuned/attack.json").read_text())
    assert found["actor"] == "A1"
    assert found["budget"] == {"steps": 2, "pictures_shown": 8, "rates": [1.0, 0.1]}
    assert len(found["data_sha256"]) == 64
    assert {"auc", "auc_lo", "auc_hi", "auc_n"} <= found["result"].keys()
    assert {"auc", "auc_lo", "auc_hi", "auc_n"} <= found["floor"].keys() & found["ceiling"].keys()
    wiener = json.loads((tmp_path / "run/wiener/attack.json").read_text())
    assert wiener["result"] is None
    page = (tmp_path / "run/report.html").read_text()
    assert "not run" in page
    assert f"{metrics['worst/auc']:.3f}" in page
    again = lab(*FEW, "method=pixelate", "hydra.run.dir=again")
    assert again[0] == 0
    assert json.loads((tmp_path / "again/metrics.json").read_text()) == metrics


@pytest.mark.slow
def test_a_camera_of_a_run_is_attacked_with_its_psf(lab, tmp_path, finished_run):
    small = ("attacks.wiener.strengths=[1.0]", "attacks.off_the_shelf.frames=[1,16]")
    code, _, errors = lab("camera", *FEW, *small, f"design={finished_run}", "hydra.run.dir=run")
    assert code == 0, errors
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert {"off_the_shelf/frames_16/auc", "wiener/exact_frames_100/psnr"} <= metrics.keys()
    shown = load_arrays(tmp_path / "run/wiener/reconstructions.npz")
    assert shown["exact_frames_1"].shape[1:] == (3, 64, 64)
    code, _, errors = lab("camera", *FEW, f"design={finished_run}", "camera_name=best")
    assert code == 2
    assert "camera_name = 'best': the run has learned, in_focus" in errors
