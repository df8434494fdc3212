"""The jobs calibrate and compare, on a session of a small bench."""

import re
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from calibration.psf.stack import load_stack
from experiments import calibrate, compare
from experiments.composing import compose
from experiments.settings import to_si
from experiments.store import file_sha256, read_json, save_json
from tests.experiments.bench_session import copy, take
from tests.experiments.calling import caller

QUICK = ["twin=false", "progress=false"]


def run_of(folder, job, module, *words):
    """Run a job in `folder` as the launcher does, and return the folder."""
    folder.mkdir(parents=True)
    config = compose(job, words)
    save_json(folder / "config.json", OmegaConf.to_container(config, resolve=True))
    save_json(folder / "run.json", {"job": job, "state": "finished"})
    settings = to_si(config)
    module.check(settings)
    module.main(settings, folder)
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda handle: None)
        yield tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def session(place):
    return take(place / "session")


@pytest.fixture(scope="module")
def calibrated(session, place):
    return run_of(place / "calibrated", "calibrate", calibrate, f"session={session}", *QUICK)


@pytest.fixture
def lab(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("os.fsync", lambda handle: None)
    return caller("calibrate", calibrate, tmp_path, monkeypatch, capsys)


NOISE = (
    "noise/gain_dn_per_e", "noise/read_e", "noise/full_well_e", "noise/full_well_e_reason",
)  # fmt: skip


def test_numbers_have_the_keys_that_are_promised(calibrated):
    found = read_json(calibrated / "metrics.json")
    assert found["noise/full_well_e"] is None
    assert "photon_transfer" in found["noise/full_well_e_reason"]
    assert set(found) == {
        *NOISE, "psf/dynamic_range_db", "psf/ncc_to_design", "psf/relative_l2_to_design",
        "mtf50_cy_per_px",
    }  # fmt: skip


def test_gain_and_read_noise_are_those_the_bench_was_drawn_with(calibrated, session):
    truth, found = read_json(session / "truth.json")["noise"], read_json(calibrated / "noise.json")
    for plane in found["planes"].values():
        for mine, theirs in (("system_gain", "system_gain"), ("read_noise", "read_noise")):
            pull = (plane[mine]["value"] - truth[theirs]) / plane[mine]["uncertainty"]
            assert abs(pull) < 4
        assert plane["full_well"] is None  # flats of one level cannot tell


def test_results_say_what_they_were_made_of_and_where_they_hold(calibrated, session):
    record = read_json(calibrated / "calibration.json")
    assert record["state"] == "whole"
    assert record["stages"] == ["noise", "psf", "design"]
    assert record["inputs"]["session"]["journal.jsonl"] == file_sha256(session / "journal.jsonl")
    assert record["valid"]["mode"] == "84x80-12"
    assert record["valid"]["distance_m"] == [0.75, 3.0]
    assert record["valid"]["temperature_c"] == [25.0, 25.0]
    assert len(record["valid"]["wavelength_m"]) == 3
    stack = load_stack(calibrated / "psf.npz")
    assert stack.readings.tolist() == [0.75, 3.0]
    assert stack.notes["inputs"] == record["inputs"]


def test_the_design_is_compared_where_it_was_laid(calibrated):
    rows = read_json(calibrated / "comparison.json")["design"]
    assert {(row["distance_m"], row["plane"]) for row in rows} == {
        (distance, plane) for distance in (0.75, 3.0) for plane in ("R", "Gr", "Gb", "B")
    }
    drifts = [row["drift_px"] for row in rows if row["plane"] == "Gr"]
    mean = np.mean([[one["value"] for one in drift] for drift in drifts], axis=0)
    assert np.hypot(*mean) < 0.05  # the mean over the depths is what was moved


def test_the_page_shows_psfs_curves_and_lights(calibrated):
    page = (calibrated / "report.html").read_text("utf-8")
    for name in ("psfs", "mtf", "energy", "transfer"):
        assert f'id="figure-{name}"' in page
    assert "✖ red" in page  # a bench strays further from its design than the profile allows
    assert "truth" in page


def test_a_second_start_reads_what_is_there(session, lab, monkeypatch, tmp_path):
    def stop(*args, **options):
        raise KeyboardInterrupt("enough")

    with monkeypatch.context() as patch:
        patch.setattr(calibrate, "lay_design", stop)
        code, output, _ = lab(f"session={session}", *QUICK)
    assert code == 130
    assert "resume=true" in output
    monkeypatch.setattr("experiments.merging.merge_step", stop)
    monkeypatch.setattr("experiments.calibrating.two_points", stop)
    code, output, _ = lab("resume=true", "progress=false")
    assert code == 0
    folder = tmp_path / output.splitlines()[-1]
    assert read_json(folder / "calibration.json")["stages"] == ["noise", "psf", "design"]


def test_the_truth_changes_no_number_that_was_found(session, place, calibrated, tmp_path):
    blind = copy(session, tmp_path / "blind")
    (blind / "truth.json").unlink()
    run = run_of(tmp_path / "run", "calibrate", calibrate, f"session={blind}", *QUICK)
    assert read_json(run / "metrics.json") == read_json(calibrated / "metrics.json")
    assert "truth" not in (run / "report.html").read_text("utf-8")


def test_without_a_design_there_are_noise_and_psfs(session, tmp_path):
    run = run_of(
        tmp_path / "run", "calibrate", calibrate, f"session={session}", "design=none", *QUICK
    )
    assert set(read_json(run / "metrics.json")) == {*NOISE, "psf/dynamic_range_db"}
    assert "no design was given" in (run / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["design=nowhere"], "nowhere"),
        (["light=bright"], "steady or followed"),
        (["directions=[2]"], "expected [1], [-1] or both"),
        (["source_diameter=1"], "has no unit"),
        (["thresholds.ncc.green=0.5"], "run the wrong way"),
        (["thresholds.colour={green: 1, yellow: 2}"], "thresholds.colour"),
        (["scatter.focus=-1 um"], "0 or more"),
        (["session=nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_run(session, lab, tmp_path, words, message):
    code, _, errors = lab(f"session={session}", *QUICK, *words)
    assert code in (2, 4)
    assert message in errors
    assert len(errors.splitlines()) == 1
    assert not list(tmp_path.glob("runs/calibrate/*/*"))


def compared(calibrated, folder, *words):
    given = ("what=hardware", f"calibration={calibrated}", "progress=false")
    return run_of(folder, "compare", compare, *given, *words)


def test_a_comparison_has_the_numbers_of_the_calibration(calibrated, tmp_path):
    run = compared(calibrated, tmp_path / "run")
    metrics, before = read_json(run / "metrics.json"), read_json(calibrated / "metrics.json")
    assert metrics["design/ncc"] == pytest.approx(before["psf/ncc_to_design"])
    assert metrics["refused"] == 0
    page = (run / "report.html").read_text("utf-8")
    assert "was described, not learned" in page  # why no face was looked at


def test_a_twin_that_is_worse_than_the_design_is_refused_with_both_numbers(
    calibrated, tmp_path, monkeypatch, capsys
):
    spoiled = copy(calibrated, tmp_path / "calibrated")
    arrays = dict(np.load(spoiled / "design.npz"))
    arrays["expected"] = np.roll(arrays["expected"], 7, axis=1)
    np.savez(spoiled / "twin.npz", **arrays)
    lab = caller("compare", compare, tmp_path, monkeypatch, capsys)
    code, _, errors = lab("hardware", f"calibration={spoiled}", "progress=false")
    assert code == 3
    found = re.search(r"refused.*NCC (\S+) after, (\S+) before", errors)
    assert float(found[1]) < float(found[2])
    (run,) = (path for path in Path("runs/compare").iterdir())
    metrics = read_json(run / "metrics.json")
    assert metrics["refused"] == 1
    assert metrics["twin/ncc"] < metrics["design/ncc"]
    assert "Refused" in (run / "report.html").read_text("utf-8")


def test_a_calibration_of_another_version_is_refused(calibrated, tmp_path, monkeypatch, capsys):
    other = copy(calibrated, tmp_path / "calibrated")
    save_json(
        other / "calibration.json", read_json(other / "calibration.json") | {"schema_version": 9}
    )
    lab = caller("compare", compare, tmp_path, monkeypatch, capsys)
    code, _, errors = lab("hardware", f"calibration={other}")
    assert code == 4
    assert "schema_version = 9, this program reads 1" in errors


@pytest.mark.slow  # half a minute
def test_the_twin_finds_what_the_bench_was_drawn_with(session, tmp_path):
    run = run_of(
        tmp_path / "run", "calibrate", calibrate, f"session={session}", "progress=false",
        "directions=[1]",
    )  # fmt: skip
    metrics = read_json(run / "metrics.json")
    assert metrics["twin/ncc"] > 0.99
    assert 0.8 < metrics["twin/chi2_per_pixel"] < 1.2
    names = [key.removesuffix("_truth") for key in metrics if key.endswith("_truth")]
    pulls = [(metrics[n] - metrics[f"{n}_truth"]) / metrics[f"{n}_sigma"] for n in names]
    assert len(names) > 10
    assert np.mean(np.abs(pulls) < 3) >= 0.9
    after = compared(run, tmp_path / "compared")
    found = read_json(after / "metrics.json")
    assert found["twin/ncc"] > found["design/ncc"]
