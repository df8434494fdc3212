"""The command line: checked before a folder is made, one message, one exit code, no half runs."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import composing, launch, runs, settings
from experiments.settings import SettingsError
from experiments.store import ArtifactError, lock, read_json, save_json, verify
from tests.experiments.example import __main__ as shine

EXAMPLE = "tests.experiments.example"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def lab(tmp_path, monkeypatch, capsys):
    """Run the example job in an empty folder; return exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["shine"])
    for module in (settings, composing):
        monkeypatch.setattr(module, "OWN_PACKAGES", (*settings.OWN_PACKAGES, "tests"))

    def call(*words, main=shine.main, **more):
        more |= {"check": shine.check, "config_module": EXAMPLE}
        with pytest.raises(SystemExit) as end:
            launch.run_job("shine", main, arguments=words, **more)
        return end.value.code or 0, *capsys.readouterr()

    return call


def folders():
    return sorted(p.name for p in Path("runs/shine").glob("*") if p.name != "latest")


def test_a_run_ends_with_its_folder_and_moves_latest(lab):
    code, output, errors = lab("steps=7")
    folder = Path(output.splitlines()[-1])
    assert (code, errors) == (0, "")
    assert re.fullmatch(r"runs/shine/\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d", str(folder))
    assert Path("runs/shine/latest").resolve() == folder.resolve()
    assert read_json(folder / "metrics.json") == {"steps": 7}
    record = read_json(folder / "run.json")
    assert (record["state"], record["overrides"]) == ("finished", ["steps=7"])
    assert read_json(folder / "config.json")["mask"]["cell"] == "4 um"
    verify(folder)


def test_a_leading_bare_word_says_what(lab):
    _, output, _ = lab("shadow")
    assert read_json(Path(output.splitlines()[-1]) / "config.json")["what"] == "shadow"


@pytest.mark.parametrize(
    ("word", "steps", "mask"),
    [("steps=relief", 3, "Relief"), ("steps=pinhole", 3, "Pinhole"), ("steps=7", 7, "Relief")],
)
def test_a_number_given_by_name_chooses_from_its_group(lab, word, steps, mask):
    _, output, _ = lab(word, named={"steps": "mask"})
    config = read_json(Path(output.splitlines()[-1]) / "config.json")
    assert config["steps"] == steps
    assert config["mask"]["_target_"].endswith(mask)


@pytest.mark.parametrize(("word", "size"), [("size=small", 64), ("size=48", 48)])
def test_the_anonymizer_has_sizes_by_name(word, size, tmp_path, monkeypatch):
    found, real = [], launch.run_job

    def run_job(job, main, *, named, check):
        words = [word, "hydra.run.dir=run"]
        real(job, lambda s, _: found.append(s["size"]), named=named, arguments=words)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["anonymize"])
    monkeypatch.delitem(sys.modules, "experiments.anonymize", raising=False)
    monkeypatch.setattr("experiments.launch.run_job", run_job)
    with pytest.raises(SystemExit):
        runpy.run_module("experiments.anonymize", run_name="__main__")
    assert found == [size]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["stpes=3"], "did you mean 'steps'"),
        (["steps=200"], "steps = 200, expected 100 or fewer"),  # the job's own check
        (["mask.cell=4"], "has no unit"),
        (["--frobnicate"], "--frobnicate is not an option"),
        (["--config-dir=/tmp"], "--config-dir=/tmp is not an option"),
        (["steps=1,-1", "--multirun"], "steps = -1, expected 0 to"),
        (["resume=true", "steps=1,2", "-m"], "cannot be combined with --multirun"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(lab, tmp_path, words, message):
    code, output, errors = lab(*words)
    assert (code, output) == (2, "")
    assert errors.startswith("error: ")
    assert message in errors
    assert len(errors.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("what", "code", "message"),
    [
        ("value", 2, "error: distance = 0.3 m is too near\n"),
        ("missing", 3, "error: faces.zip: No such file or directory\n"),
        ("artifact", 4, "error: mask.safetensors is damaged\n"),
        ("resource", 6, "error: no room\n"),
    ],
)
def test_an_error_in_the_job_has_its_code_and_leaves_no_folder(lab, what, code, message):
    assert lab(what) == (code, "", message)
    assert folders() == []


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("DataError", 3),
        ("WeightsError", 4),
        ("HardwareError", 5),
        ("OutOfMemoryError", 6),
        ("TrainingDiverged", 7),
    ],
)
def test_every_family_of_errors_has_its_code(lab, name, code):
    def main(*_):
        raise type("Special", (type(name, (RuntimeError,), {}),), {})("it says why")

    assert lab(main=main) == (code, "", "error: it says why\n")


def test_a_full_disk_is_a_lack_of_resources(lab):
    def main(*_):
        raise OSError(28, "No space left on device", "metrics.jsonl")

    assert lab(main=main) == (6, "", "error: metrics.jsonl: No space left on device\n")


def test_a_defect_shows_where_it_is(lab):
    code, _, errors = lab("bug")
    assert code == 1
    assert "Traceback" in errors
    assert "KeyError: 'oops' (this is a defect of the program)" in errors


def test_a_traceback_is_shown_to_who_asks(lab, monkeypatch):
    monkeypatch.setenv("VEILENS_TRACEBACK", "1")
    code, _, errors = lab("value")
    assert code == 2
    assert "Traceback" in errors


def test_a_run_that_failed_late_stays_and_is_not_the_latest(lab):
    code, _, _ = lab("late")
    (name,) = folders()
    assert code == 2
    assert read_json(Path("runs/shine", name, "run.json"))["state"] == "failed"
    assert not Path("runs/shine/latest").exists()
    assert "Traceback" in Path("runs/shine", name, "shine.log").read_text()


def test_two_runs_in_one_second_have_folders_of_their_own(lab):
    for _ in range(3):
        lab()
    assert len(folders()) == 3


def test_a_sweep_has_a_folder_for_each_run(lab):
    code, output, _ = lab("steps=1,2", "--multirun")
    assert code == 0
    steps = [read_json(Path(line) / "metrics.json")["steps"] for line in output.splitlines()]
    assert steps == [1, 2]


def test_the_folder_can_be_chosen(lab, tmp_path):
    code, output, _ = lab("hydra.run.dir=elsewhere/here")
    assert (code, output) == (0, "elsewhere/here\n")
    assert Path("runs/shine/latest").resolve() == tmp_path / "elsewhere/here"


def test_a_folder_in_use_is_refused(lab, tmp_path):
    (tmp_path / "busy").mkdir()
    with lock(tmp_path / "busy"):
        code, output, errors = lab("hydra.run.dir=busy")
    assert (code, output) == (4, "")
    assert f"busy is in use by process {os.getpid()}" in errors


# Going on


def interrupted(settings, folder):
    (folder / "checkpoints").mkdir(exist_ok=True)
    save_json(folder / "checkpoints" / "count.json", settings["steps"])
    raise KeyboardInterrupt


def test_an_interrupted_run_says_how_to_go_on_and_does(lab):
    code, output, _ = lab("steps=5", "mask=pinhole", main=interrupted)
    (name,) = folders()
    assert code == 130
    assert f"./lab shine run=runs/shine/{name} resume=true" in output
    assert read_json(Path("runs/shine", name, "run.json"))["state"] == "interrupted"
    code, output, _ = lab("resume=true")
    assert (code, output) == (0, f"runs/shine/{name}\n")
    assert read_json(Path("runs/shine", name, "metrics.json")) == {"steps": 5}
    assert read_json(Path("runs/shine", name, "run.json"))["overrides"] == [
        "steps=5",
        "mask=pinhole",
    ]


def test_going_on_with_other_settings_is_refused_with_the_difference(lab):
    lab("seed=1", main=interrupted)
    code, _, errors = lab("resume=true", "seed=2")
    assert code == 2
    assert "seed: 1 -> 2" in errors
    assert lab("resume=true", "steps=9")[0] == 0  # more steps are the same run


def test_nothing_to_go_on_with_is_an_error(lab):
    lab()
    code, _, errors = lab("resume=true")
    assert code == 4
    assert "no run of shine in runs/shine is unfinished" in errors


def test_a_scheduler_that_ends_the_job_gets_code_zero(lab):
    def main(settings, folder):
        (folder / "checkpoints").mkdir()
        stopped = KeyboardInterrupt("stopped after step 3")
        stopped.terminated = True
        raise stopped

    code, output, _ = lab(main=main)
    assert code == 0
    assert "stopped after step 3; to go on: ./lab shine run=" in output
    assert not Path("runs/shine/latest").exists()


def test_an_interrupt_before_anything_was_made_leaves_nothing(lab):
    code, output, _ = lab("interrupt")
    assert (code, output) == (130, "interrupted\n")
    assert folders() == []


def test_runs_are_found_by_name(lab):
    _, output, _ = lab()
    folder = Path(output.strip())
    assert runs.find_run("shine", str(folder)) == folder
    assert runs.find_run("shine", "latest").resolve() == folder.resolve()
    with pytest.raises(ArtifactError, match=rf"run = nowhere: .* \(there are: {folder}\)"):
        runs.find_run("shine", "nowhere")


def test_a_stored_config_is_data_and_never_run(lab):
    lab("seed=1", main=interrupted)
    (name,) = folders()
    path = Path("runs/shine", name, "run.json")
    save_json(path, read_json(path) | {"overrides": ["mask._target_=os.system"]})
    code, _, errors = lab("resume=true")
    assert code == 2
    assert "only names in optics" in errors


# Help and process


def test_help_tells_purpose_examples_choices_and_settings(lab, tmp_path):
    code, output, _ = lab("--help")
    assert code == 0
    for text in (
        "Shine light through a mask.",
        "./lab shine steps=5",
        "mask = pinhole [relief]",
        "learning_rate = 0.001",
    ):
        assert text in output
    assert list(tmp_path.iterdir()) == []


def test_show_prints_the_config_and_makes_no_folder(lab, tmp_path):
    code, output, _ = lab("mask=pinhole", "--cfg", "job")
    assert code == 0
    assert "aperture_diameter: 1 mm" in output
    assert list(tmp_path.iterdir()) == []


def test_settings_that_contradict_each_other_can_be_looked_at(lab):
    assert lab("steps=101")[0] == 2
    code, output, errors = lab("steps=101", "--cfg", "job")
    assert (code, errors) == (0, "")
    assert "steps: 101" in output


def test_a_sweep_is_expanded_to_all_combinations():
    expected = [["a=1", "b=x"], ["a=1", "b=y"], ["a=2", "b=x"], ["a=2", "b=y"]]
    assert launch._combinations(["a=1,2", "b=x,y"]) == expected
    with pytest.raises(SettingsError, match="is not a setting"):
        launch._combinations(["a=[1"])


def test_the_job_is_a_program(tmp_path):
    """Through the real command line: exit code, last line, no traceback."""
    environment = {**os.environ, "SHINE_FOLDER": str(tmp_path)}
    done = [
        subprocess.run(
            [sys.executable, "-W", "error", "-m", EXAMPLE, word],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        for word in ("steps=2", "steps=two")
    ]
    assert [d.returncode for d in done] == [0, 2]
    assert (tmp_path / done[0].stdout.splitlines()[-1] / "metrics.json").exists()
    assert done[1].stderr.count("\n") == 1
