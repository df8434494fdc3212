"""The calibrated camera in co-design: fine-tuned behind a frozen mask, judged, and refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from calibration.noise.model import NoiseModel, PlaneNoise
from calibration.psf.stack import PsfStack, load_stack
from calibration.uncertainty import Uncertain
from experiments import codesign
from experiments.bench_rig import MASK, design_of_run
from experiments.calibrated import load_calibrated, open_calibrated, save_calibrated
from experiments.calibrating import design_record
from experiments.design import Codesign
from experiments.store import ArtifactError, file_sha256, load_tensors, read_json, save_json
from experiments.twinning import Laid
from tests.experiments.bench_session import copy
from tests.experiments.calling import caller
from tests.experiments.tiny_codesign import ROOT

READINGS = (0.75, 1.5, 3.0)
QUICK = [
    "baseline.steps=3", "baseline.batch=4", "attack.steps=2", "attack.batch=4",
    "attack_rates=[1.0]", "evaluation.distances=['1.5 m']", "evaluation.frames=[1]",
    "evaluation.exposures=[]", "evaluation.regularisation=[1.0]", "evaluation.nodes=3",
    "progress=false", "log_every=1", "device=cpu",
    f"weights_path=['{ROOT / 'anonymizer/weights'}']",
]  # fmt: skip


#: Others than those that the run learned from.
PEOPLE = [f"data.{key}" for key in ("people=8", "images_per_person=3", "workers=1", "seed=5")]


@pytest.fixture(scope="module")
def calibration(finished_run, tmp_path_factory):
    """Calibration of the camera exactly as it was designed, sensor included."""
    folder = tmp_path_factory.mktemp("calibration")
    design = design_of_run(finished_run)
    stack, laid = as_designed(design)
    stack.save(folder / "psf.npz")
    laid.save(folder / "design.npz")
    save_json(folder / "noise.json", noise_of(design.sensor).to_dict())
    save_json(folder / "run.json", {"job": "calibrate", "state": "finished"})
    save_json(
        folder / "calibration.json",
        {
            "schema_version": 1,
            "failed": "",
            "design": design_record(str(finished_run)),
            "twin_field": 0,
            "valid": {"wavelength_m": [band.centre for band in design.sensor.bands]},
        },
    )
    return folder


def as_designed(design):
    """Stack of raw pixels that share the light of their binned pixel evenly."""
    with torch.no_grad():
        binned = design.psf(READINGS).numpy().astype(np.float64)
    parts = design.sensor.binning
    colours = np.tile([[0, 1], [1, 2]], [design.window * parts // 2] * 2)
    raw = binned.repeat(parts, -2).repeat(parts, -1) / parts**2
    power, distance = 1e6, np.array(READINGS)[:, None, None]
    rate = np.take_along_axis(raw, colours[None, None], 1)[:, 0] * power / distance**2
    side = rate.shape[-1]
    stack = PsfStack(
        rate, np.full(rate.shape, 1e-6), np.ones(rate.shape, bool), np.array(READINGS), "RGGB",
        (0, 0), (side, side), design.sensor.pixel_pitch,
    )  # fmt: skip
    names = ("boresight_y", "boresight_x", "focus", "red", "blue", "ambient")
    return stack, Laid(design, rate, dict.fromkeys(names, 0.0), power, 1.0, 0.0)


def noise_of(sensor):
    plane = PlaneNoise(
        system_gain=Uncertain(sensor.system_gain, 1e-3),
        black_level=Uncertain(sensor.black_level, 0.1),
        read_noise=Uncertain(sensor.read_noise, 0.1),
        row_noise=Uncertain(0.0, 0.1),
    )
    planes = dict.fromkeys(("R", "Gr", "Gb", "B"), plane)
    return NoiseModel("672x672-12", "RGGB", sensor.bits, 1.0, 25.0, planes)


@pytest.fixture
def lab(tmp_path, monkeypatch, capsys, finished_run):
    monkeypatch.setattr("os.fsync", lambda handle: None)
    monkeypatch.setattr(codesign, "write_report", lambda folder: None)
    torch.set_num_threads(1)
    cache = f"cache={finished_run.parent / 'cache'}"
    return caller("codesign", codesign, tmp_path, monkeypatch, capsys, *QUICK, cache)


def frozen(calibration):
    return ["freeze=mask", "camera=calibrated", f"calibration={calibration}"]


def test_a_camera_that_was_made_as_designed_has_the_psfs_of_its_design(calibration, finished_run):
    """To a hundred thousandth of the brightest pixel, between the measured distances too."""
    design = design_of_run(finished_run)
    camera = open_calibrated(str(calibration), design=design, mask_file=finished_run / MASK)
    with torch.no_grad():
        meant = design.psf([1.1, 3.0])
    torch.testing.assert_close(
        camera.psf([1.1, 3.0]), meant, rtol=0, atol=1e-5 * float(meant.max())
    )
    assert camera.sensor == design.sensor


def test_a_run_keeps_its_calibrated_camera(calibration, finished_run, tmp_path):
    design = design_of_run(finished_run)
    camera = open_calibrated(str(calibration), design=design, mask_file=finished_run / MASK)
    loud = type(camera)(
        camera.design.replace(sensor=replace(camera.sensor, read_noise=5.5)), [0.75, 1.5, 3.0],
        camera.psfs.flip(-1),
    )  # fmt: skip
    save_calibrated(tmp_path / "calibrated.npz", loud)
    again = load_calibrated(tmp_path / "calibrated.npz", design)
    assert again.sensor == loud.sensor
    torch.testing.assert_close(again.psf([1.1]), loud.psf([1.1]), rtol=0, atol=0)
    (tmp_path / "calibrated.npz").write_bytes(b"PK")
    with pytest.raises(ArtifactError, match="calibrated"):
        load_calibrated(tmp_path / "calibrated.npz", design)


def test_fine_tuning_changes_the_regressor_and_nothing_else(
    calibration, finished_run, lab, tmp_path
):
    before = {path.name: file_sha256(path) for path in finished_run.iterdir() if path.is_file()}
    code, output, _ = lab(*frozen(calibration))  # the calibration knows its run
    assert code == 0
    run = tmp_path / output.splitlines()[-1]
    after = {path.name: file_sha256(path) for path in finished_run.iterdir() if path.is_file()}
    assert after == before
    for name in (MASK, "regressor_clear.safetensors", "scene_power.npz"):
        assert file_sha256(run / name) == before[name]
    old, new = (
        load_tensors(r / "cameras/learned/regressor.safetensors")[0] for r in (finished_run, run)
    )
    assert old.keys() == new.keys()
    assert any(not torch.equal(old[name], new[name]) for name in old)
    assert (run / "cameras/learned/attacker_compact.safetensors").exists()
    metrics = read_json(run / "metrics.json")
    for key in ("landmark_nme", "reid_auc_retrained", "reid_auc_inverted_1"):
        # made as designed, the camera serves the networks as it did
        assert metrics[f"as_made/{key}"] == pytest.approx(metrics[f"as_designed/{key}"], abs=0.02)
    assert metrics["landmark_nme"] != metrics["as_made/landmark_nme"]
    # the new run is judged like any other, without the calibration
    code, _, errors = lab(f"run={run}", "evaluate=true", *PEOPLE)
    assert (code, errors) == (0, "")


def test_a_fine_tuning_that_was_interrupted_goes_on_without_its_calibration(
    calibration, lab, tmp_path, monkeypatch
):
    spare = copy(calibration, tmp_path / "spare")

    def stop(*args, **options):
        raise KeyboardInterrupt("enough")

    with monkeypatch.context() as patch:
        patch.setattr(Codesign, "attack", stop)
        code, output, _ = lab(*frozen(spare))
    assert code == 130
    assert "resume=true" in output
    (spare / "psf.npz").unlink()
    code, output, _ = lab("resume=true")
    assert code == 0
    assert read_json(tmp_path / output.splitlines()[-1] / "run.json")["state"] == "finished"


def test_a_finished_run_is_judged_behind_the_camera_that_was_made(
    calibration, finished_run, lab, tmp_path
):
    words = ["camera=calibrated", f"calibration={calibration}", "evaluate=true"]

    code, output, _ = lab(f"run={finished_run}", *words, *PEOPLE)
    assert code == 0
    metrics = read_json(tmp_path / output.splitlines()[-1] / "metrics.json")
    assert np.isfinite(metrics["landmark_nme"])
    assert metrics["in_focus/landmark_nme"] != metrics["landmark_nme"]


def spoiled(calibration, place, kind):
    folder = copy(calibration, place)
    record = read_json(folder / "calibration.json")
    if kind == "empty":
        (folder / "psf.npz").unlink()
    elif kind == "described":
        save_json(folder / "calibration.json", record | {"design": {"name": "default"}})
    elif kind == "mode":
        noise = read_json(folder / "noise.json")
        save_json(folder / "noise.json", noise | {"bits": 10, "mode": "672x672-10"})
    elif kind == "colours":
        valid = {"wavelength_m": [0.65e-6, 0.54e-6, 0.46e-6]}
        save_json(folder / "calibration.json", record | {"valid": valid})
    elif kind == "near":
        load_stack(folder / "psf.npz").at(slice(0, 1)).save(folder / "psf.npz")
    elif kind == "twin":
        load_stack(folder / "psf.npz").at(slice(1, 2)).save(folder / "psf.npz")  # one is enough
        laid = dict(np.load(folder / "design.npz"))
        laid["expected"] = laid["expected"][1:2]
        np.savez(folder / "design.npz", **laid)
        laid["expected"] = np.roll(laid["expected"], 40, axis=1)
        np.savez(folder / "twin.npz", **laid)
    return folder


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("empty", "holds no PSFs"),
        ("described", "a calibration of another mask (default)"),
        ("mode", "was measured in mode 672x672-10 (10 bit"),
        ("colours", "holds for colours around 650, 540, 460 nm"),
        ("near", "distance = 1.5 m: PSFs were measured from 0.75 m to 0.75 m"),
        ("twin", "calibration refused: it is worse than the bare design (NCC"),
    ],
)
def test_a_calibration_that_does_not_fit_is_one_line_and_leaves_no_run(
    calibration, finished_run, lab, tmp_path, kind, message
):
    folder = spoiled(calibration, tmp_path / "spoiled", kind)
    code, _, errors = lab(*frozen(folder), f"run={finished_run}")
    assert code in (2, 3, 4)
    assert message in errors
    assert len(errors.splitlines()) == 1
    assert not list(tmp_path.glob("runs/codesign/*"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["freeze=lens"], "expected mask, or null"),
        (["freeze=mask"], "needs the run whose mask it is"),
        (["camera=calibrated", "calibration=x"], "no mask can be learned"),
        (["freeze=mask", "camera=calibrated", "run=nowhere"], "nowhere"),
        (["freeze=mask", "camera=calibrated"], "needs the run whose mask it is"),
        (["calibration=latest"], "read with camera=calibrated"),
    ],
)
def test_settings_that_do_not_belong_together_are_one_line(lab, tmp_path, words, message):
    code, _, errors = lab(*words)
    assert code in (2, 4)
    assert message in errors
    assert len(errors.splitlines()) == 1
