"""Sessions that cannot be calibrated: one clear line each, what was done before is kept."""

import dataclasses
import hashlib

import numpy as np
import pytest
import tifffile

from calibration.errors import CalibrationError
from experiments import calibrate
from experiments.calibrating import described
from experiments.store import file_sha256, read_json, save_json
from hardware.session import Session
from tests.experiments.bench_session import (
    copy,
    edit,
    rejournal,
    rewrite,
    take,
    tiff,
    with_mosaic,
)
from tests.experiments.calling import caller


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda handle: None)
        yield take(tmp_path_factory.mktemp("bench") / "session", "plan.repeats=4")


@pytest.fixture
def session(sound, tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda handle: None)
    return copy(sound, tmp_path / "session")


@pytest.fixture
def lab(session, tmp_path, monkeypatch, capsys):
    words = [f"session={session}", "twin=false", "progress=false"]
    return caller("calibrate", calibrate, tmp_path, monkeypatch, capsys, *words)


def refused(lab, tmp_path, message, code):
    """It ends with one line and this code; return the run folder, None if there is none."""
    found, _, errors = lab()
    assert (found, len(errors.splitlines())) == (code, 1), errors
    assert message in errors
    runs = [path for path in tmp_path.glob("runs/calibrate/*") if path.is_dir()]
    return runs[0] if runs else None


def marked(run, stages, message):
    """What was done is kept, and is marked as not whole in record and page."""
    record = read_json(run / "calibration.json")
    assert (record["state"], record["stages"]) == ("failed", stages)
    assert message in record["failed"]
    assert read_json(run / "run.json")["state"] == "failed"
    page = (run / "report.html").read_text("utf-8")
    assert "Not whole" in page


def psf(record):
    return record.step.startswith("psf")


def test_a_session_that_was_not_finished(session, lab, tmp_path):
    rejournal(session, lambda entry: None if entry.get("number") == 40 else entry)
    assert refused(lab, tmp_path, "is unfinished, frames are missing in dark", 3) is None


def test_a_session_without_darks(session, lab, tmp_path):
    edit(session, lambda sheet: sheet["plan"]["steps"].pop())
    rejournal(session, lambda entry: None if entry.get("step") == "dark" else entry)
    assert refused(lab, tmp_path, "has no darks", 3) is None


def test_a_session_without_a_point_source(session, lab, tmp_path):
    def only_flats(sheet):
        sheet["plan"]["steps"] = [step for step in sheet["plan"]["steps"] if step["kind"] != "psf"]
        for step in sheet["plan"]["steps"]:
            step["region"] = "full"
            step["exposures"] = [0.1]

    edit(session, only_flats)
    rejournal(session, lambda e: None if str(e.get("step", "")).startswith("psf") else e)
    assert refused(lab, tmp_path, "shows no point source", 3) is None


def test_a_session_of_another_version(session, lab, tmp_path):
    edit(session, lambda sheet: sheet.update(format=2))
    assert refused(lab, tmp_path, "format 2, expected 1", 4) is None


def test_a_photon_transfer_of_another_mode(session, lab, tmp_path):
    other = copy(session, tmp_path / "other")
    edit(other, lambda sheet: sheet["identity"]["camera"]["mode"].update(name="42x40-10"))
    code, _, errors = lab(f"transfer={other}")
    assert code == 3
    assert "mode: 84x80-12 in session, 42x40-10 in the photon transfer" in errors


def test_temperatures_that_are_mixed(session, lab, tmp_path):
    def warmer(frame, record):
        return dataclasses.replace(frame, metadata={"sensor_temperature": 41.0})

    rewrite(session, warmer, where=lambda record: record.step == "psf-02")
    run = refused(lab, tmp_path, "mixes temperatures: the sensor was at 25.0", 3)
    marked(run, [], "mixes temperatures")


def test_a_picture_that_was_cut_short(session, lab, tmp_path):
    path = tiff(session, 14)
    path.write_bytes(path.read_bytes()[:3000])
    run = refused(lab, tmp_path, "000014.tif", 4)
    marked(run, ["noise"], "000014.tif")
    assert (run / "noise.json").exists()
    assert (run / "checkpoints" / "psf-01.npz").exists()
    assert "noise/gain_dn_per_e" in read_json(run / "metrics.json")


def test_a_picture_that_holds_no_numbers(session, lab, tmp_path):
    path = tiff(session, 14)
    tifffile.imwrite(path, np.full((64, 64), np.nan, np.float32))
    data = path.read_bytes()

    def known(entry):  # as a program would have written it that hashes what it has
        if entry.get("number") == 14:
            sidecar = path.with_suffix(".json").stat().st_size
            entry |= {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data) + sidecar}
        return entry

    rejournal(session, known)
    run = refused(lab, tmp_path, "is not a frame: mosaic is float32", 4)
    marked(run, ["noise"], "float32")


def test_frames_that_are_all_saturated(session, lab, tmp_path):
    def full(frame, record):
        return with_mosaic(frame, np.full(frame.shape, 4095.0))

    rewrite(session, full, where=psf)
    marked(refused(lab, tmp_path, "clipped", 3), ["noise"], "dim the source")


def test_two_sources_in_view(session, lab, tmp_path):
    recorded = Session.open(session)
    rng = np.random.default_rng(0)
    rates = {}  # of every step, by its shortest exposure, which clips nowhere
    for step in ("psf-01", "psf-02"):
        records = recorded.frames(step=step)
        shortest = min(record.exposure for record in records)
        frames = [recorded.load(r).mosaic for r in records if r.exposure == shortest]
        light = np.clip(np.mean(frames, axis=0) - 256.0, 0, None) / shortest
        rates[step] = (light + np.roll(light, (12, -16), (0, 1))) / 2

    def doubled(frame, record):
        light = rates[record.step] * record.exposure
        noise = np.sqrt(0.47 * light + 1.5**2) * rng.normal(size=light.shape)
        return with_mosaic(frame, 256 + light + noise)

    rewrite(session, doubled, where=psf)
    run = refused(lab, tmp_path, "shows the same pattern twice", 3)
    marked(run, ["noise", "psf"], "cover one")
    assert (run / "psf.npz").exists()


def test_a_source_that_moved_between_frames(session, lab, tmp_path):
    def moved(frame, record):
        return with_mosaic(frame, np.roll(frame.mosaic, 2 * (record.number % 2), 1))

    rewrite(session, moved, where=lambda record: record.step == "psf-02")
    run = refused(lab, tmp_path, "step psf-02: the spot moved by", 3)
    marked(run, ["noise"], "fix source")


def test_a_mask_that_is_not_the_one_that_was_measured(tmp_path):
    save_json(tmp_path / "run.json", {})
    (tmp_path / "mask.safetensors").write_bytes(b"another")
    record = {
        "name": "latest",
        "run": str(tmp_path),
        "mask_sha256": file_sha256(tmp_path / "run.json"),
    }
    with pytest.raises(CalibrationError, match="wrong design: the mask in"):
        described(record)
