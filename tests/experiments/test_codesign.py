"""The co-design job as a whole: what a run leaves, and judging it on other people."""

import shutil

import numpy as np
import pytest
import torch

from experiments.adversary import paired_rows
from experiments.composing import compose
from experiments.data.crops import FaceCrops
from experiments.described import build_objective, load_scene_power
from experiments.design import Codesign
from experiments.judging import open_parts
from experiments.mask_file import load_mask, save_mask
from experiments.objectives import HeatmapTerm
from experiments.settings import to_si
from experiments.stages import attack_loss
from experiments.store import load_arrays, load_tensors, read_json, read_jsonl, verify
from tests.experiments.processes import start
from tests.experiments.tiny_codesign import quick, rough, run, tiny_camera

CAMERAS = ("learned", "in_focus", "defocused", "low_resolution", "random_mask")


def settings_of(run_folder):
    settings = to_si(compose("codesign", quick()))
    settings["cache"] = str(run_folder.parent / "cache")
    return settings


def test_a_run_leaves_networks_of_every_camera(finished_run):
    for name in CAMERAS:
        folder = finished_run / "cameras" / name
        for file in ("regressor.safetensors", "attacker_compact.safetensors", "psfs.npz"):
            assert (folder / file).exists(), (name, file)
    assert read_json(finished_run / "run.json")["state"] == "finished"
    verify(finished_run)


def test_numbers_are_there_for_every_camera(finished_run):
    metrics = read_json(finished_run / "metrics.json")
    for name in CAMERAS:
        prefix = "" if name == "learned" else f"{name}/"
        for key in (
            "landmark_nme",
            "reid_auc_offtheshelf",
            "reid_auc_retrained",
            "reid_auc_inverted_1",
            "reid_auc_inverted_100_1ke",
            "1.5m/landmark_nme",
        ):
            assert np.isfinite(metrics[prefix + key])
    assert metrics["n_images_test"] == 6
    assert metrics["n_people_test"] == 2
    assert metrics["n_genuine"] == 2 * 3 * 2
    assert metrics["n_impostor"] == 2 * 3 * 3


def test_every_stage_has_its_curve(finished_run):
    lines = read_jsonl(finished_run / "metrics.jsonl")
    steps: dict[str, list[int]] = {}
    for line in lines:
        steps.setdefault(line["stage"], []).append(line["step"])
    assert steps["clear"] == [1, 2, 3, 4]
    assert steps["joint"] == [1, 2, 3, 4, 5, 6]
    names = {"clear", "joint_mask", "joint"}
    names |= {f"baseline_{n}" for n in CAMERAS[1:]}
    names |= {f"attacker_{n}_compact{rate}" for n in CAMERAS for rate in ("", "_2")}
    assert set(steps) == names


def test_evidence_has_one_entry_for_each_camera(finished_run):
    evidence = load_arrays(finished_run / "evidence.npz")
    assert tuple(evidence["camera_names"]) == CAMERAS
    people = len(evidence["scenes"])
    assert people == 6  # two people are too few for one picture each
    for key in ("measurements", "inversions_1", "inversions_100"):
        assert evidence[key].shape == (5, people, 3, 64, 64)
    assert evidence["landmarks_predicted"].shape == (5, people, 68, 2)
    assert evidence["psf"].shape == (1, 3, 21, 21)
    assert evidence["mask_height"].shape == (64, 64)
    assert np.all(evidence["noise_floor_100"] < evidence["noise_floor_1"])


def test_the_mask_is_learned_and_can_be_loaded(finished_run):
    settings = settings_of(finished_run)
    work = Codesign(settings, finished_run)
    mask = work.camera("learned").mask
    tensors, metadata = load_tensors(finished_run / "mask.safetensors")
    torch.testing.assert_close(mask.height().detach(), tensors["height"])
    assert metadata["cell"] == "8e-06 m"
    assert mask.turns.abs().max() > 0  # it was flat
    assert tensors["height"].min() >= 0
    assert tensors["height"].max() <= 8e-6


def test_masks_survive_saving(tmp_path):
    saved, loaded = rough(tiny_camera()), tiny_camera()
    save_mask(tmp_path / "mask.safetensors", saved, config_sha256="0" * 64)
    load_mask(tmp_path / "mask.safetensors", loaded)
    assert torch.equal(saved.mask.height(), loaded.mask.height())
    with torch.no_grad():
        assert torch.equal(saved.psf([1.5]), loaded.psf([1.5]))


def test_parts_have_nobody_in_common(finished_run):
    parts = open_parts(settings_of(finished_run))
    people: dict[str, set[str]] = {}
    for name in ("train", "attack", "tuning", "test"):
        crops: FaceCrops = getattr(parts, name)
        people[name] = {crops.names[i] for i in crops.person}
    assert people["attack"] == people["train"] | people["tuning"]
    assert not people["test"] & people["attack"]
    assert not people["train"] & people["tuning"]
    learned = set(read_json(finished_run / "people.json")["learned_from"])
    assert learned == people["attack"]


def test_an_attacker_is_never_worse_than_the_recogniser_it_started_from(finished_run):
    settings = settings_of(finished_run)
    work = Codesign(settings, finished_run)
    crops = open_parts(settings).attack
    crops = crops.subset(paired_rows(crops.person))
    for name in ("learned", "in_focus"):
        for label, recognizer in work.pool.items():
            _, notes = load_tensors(work.folder(name) / f"attacker_{label}.safetensors")
            start = attack_loss(
                work.enrolled(recognizer, crops), work.static(name), crops, work.setting
            )
            assert float(notes["loss"]) <= start + 1e-4
            assert notes["rate"] in ("0", "1", "0.1")


def test_expected_spectrum_is_that_of_training_faces(finished_run):
    power = load_scene_power(finished_run / "scene_power.npz")
    assert power.context == 1.7
    assert torch.all(power.power > 0)
    assert torch.all(power.power[:, 0] > power.power[:, 10])  # faces are smooth


def test_privacy_scales_every_term_but_the_landmarks():
    settings = to_si(compose("codesign", quick()))
    one, three = (build_objective(settings, privacy).terms for privacy in (1.0, 3.0))
    for name, term in one.items():
        factor = 1 if isinstance(term, HeatmapTerm) else 3
        assert three[name].weight == factor * term.weight


def test_a_finished_run_is_judged_on_other_people(finished_run, tmp_path):
    """Six of ten names are those of people the run learned from."""
    place = finished_run.parent
    words = ["evaluate=true", f"run={finished_run}", "hydra.run.dir=judged"]
    words += [w for w in quick("data.people=10") if w.startswith(("weights", "data", "evaluation"))]
    words += ["seed=1", "size=64", "cache=cache", "device=cpu", "progress=false"]
    shutil.rmtree(place / "judged", ignore_errors=True)
    process = start(run, place, words)
    process.join(60)
    assert process.exitcode == 0
    metrics = read_json(place / "judged/metrics.json")
    before = read_json(finished_run / "metrics.json")
    assert metrics["n_people_test"] == 4
    assert metrics["landmark_nme"] != before["landmark_nme"]
    strengths = read_json(place / "judged/inversion_strengths.json")
    assert strengths == read_json(finished_run / "inversion_strengths.json")
    assert not (place / "judged/checkpoints").exists()


@pytest.mark.slow
def test_the_trade_off_and_the_report_are_made(tmp_path):
    """`./lab test -m slow tests/experiments/test_codesign.py`, half a minute."""
    from tests.experiments import tiny_codesign

    words = quick("baselines.in_focus.window=15")
    words += ["trade_off=[0.5]", "trade_off_steps=2", "cache=cache", "hydra.run.dir=whole"]
    process = start(tiny_codesign.run_with_report, tmp_path, words)
    process.join(100)
    assert process.exitcode == 0
    (point,) = read_json(tmp_path / "whole/trade_off.json")
    assert point["weight"] == 0.5
    assert 0 <= point["reid_auc_offtheshelf"] <= 1
    assert (tmp_path / "whole/report.html").stat().st_size > 100_000


@pytest.mark.slow
def test_the_tolerances_of_a_finished_run_are_analysed(finished_run):
    """`./lab test -m slow tests/experiments/test_codesign.py`, half a minute."""
    from tests.experiments import tiny_codesign

    words = [f"run={finished_run}", "draws=4", "draws_alone=2", "draws_per_scale=2", "pictures=2"]
    words += ["scales=[1.0]", "cache=cache", "device=cpu", "hydra.run.dir=tolerance"]
    place = finished_run.parent
    shutil.rmtree(place / "tolerance", ignore_errors=True)
    process = start(tiny_codesign.run_tolerance, place, words)
    process.join(100)
    assert process.exitcode == 0
    metrics = read_json(place / "tolerance/metrics.json")
    for name in ("bits", "landmark_mtf", "energy_inside", "spread", "departure", "landmark_nme"):
        assert 0 <= metrics[f"{name}/yield_1"] <= 1
        assert metrics[f"{name}/std"] > 0
        assert metrics[f"{name}/etch_scale/alone"] > 0
    assert (place / "tolerance/report.html").stat().st_size > 50_000
