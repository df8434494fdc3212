"""Steps in their order, each a run of its own; breaks, faults and mistakes; an agent's rig."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments import launch, pipeline, step_runs
from experiments.composing import compose
from experiments.runs import find_run
from experiments.settings import Settings, SettingsError, to_si
from experiments.step_runs import Pipeline, StepFailed
from experiments.steps import Step, quoted, read_steps, translated
from experiments.store import ArtifactError, read_json, save_json, verify, write_manifest
from tests.experiments.test_agent import printed, started

ROOT = Path(__file__).parents[2]
#: A capture of three frames by a simulated camera: the quickest job there is.
CAPTURE = ["rig=simulated", "plan=darks", "plan.exposure_times=[1 ms]", "plan.repeats=3"]


def settings(jobs, **changes):
    plain = {"start": None, "stop": None, "resume": False, "run": None, "progress": False}
    return Settings(plain | {"steps": list(jobs), "jobs": jobs} | changes)


def captures(*names):
    """Captures, each of which uses the one before it, by a setting that does nothing."""
    before = [None, *names]
    return {
        name: {
            "job": "capture",
            "overrides": [*CAPTURE, *([f"output={{{last}}}/x"] if last else [])],
        }
        for name, last in zip(names, before, strict=False)
    }


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


@pytest.fixture
def ran(monkeypatch):
    """The jobs that were started; they finish at once, in folders with a page and a manifest."""
    started = []

    def run(arguments):
        started.append(arguments)
        given = dict(word.partition("=")[::2] for word in arguments)
        folder = Path(given.get("hydra.run.dir", given.get("run", "")))
        save_json(folder / "run.json", {"state": "finished", "number": len(started)})
        save_json(folder / "config.json", given)
        save_json(folder / "metrics.json", {"frames": 3})
        (folder / "report.html").write_text("a page")
        write_manifest(folder)
        return 0

    monkeypatch.setattr(step_runs, "_run", run)
    return started


@pytest.fixture
def really_ran(monkeypatch):
    """The jobs that were started, as they are."""
    started, real = [], step_runs._run
    monkeypatch.setattr(step_runs, "_run", lambda words: started.append(words) or real(words))
    return started


def make(jobs, run=Path("study"), **changes):
    run.mkdir(exist_ok=True)
    pipeline.make(settings(jobs, **changes), run, job="pipeline")


def names(started):
    words = [w for arguments in started for w in arguments]
    places = [w.partition("=")[2] for w in words if w.startswith(("hydra.run.dir=", "run="))]
    return [Path(place).name for place in places]


def test_every_step_is_a_run_and_is_not_made_again(place, ran):
    jobs = captures("first", "second")
    make(jobs)
    assert names(ran) == ["first", "second"]
    # {first} has become the folder of the first step
    assert read_json(Path("study/second/config.json"))["output"] == "study/first/x"
    metrics = read_json(Path("study/metrics.json"))
    assert metrics["second/frames"] == 3
    page = Path("study/report.html").read_text("utf-8")
    assert '<a href="first/report.html">first</a>' in page
    make(jobs)
    assert len(ran) == 2
    # the first anew: the second, which used it, follows; by itself it would have been kept
    Path("study/first/run.json").unlink()
    make(jobs)
    assert names(ran)[2:] == ["first", "second"]
    make(jobs, start="second")
    assert names(ran)[4:] == ["second"]


def test_stop_ends_early_and_the_rest_follows(place, ran):
    jobs = captures("first", "second")
    make(jobs, stop="first")
    assert (names(ran), Path("study/second").exists()) == (["first"], False)
    assert "not made" in Path("study/report.html").read_text("utf-8")
    make(jobs)
    assert names(ran) == ["first", "second"]


def test_other_settings_or_damage_are_told_and_nothing_is_thrown_away(place, ran):
    make(captures("first"))
    jobs = captures("first")
    jobs["first"]["overrides"].append("compress=true")
    with pytest.raises(SettingsError, match=r"first was made with other settings.*start=first"):
        make(jobs)
    Path("study/first/metrics.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"damaged.*start=first"):
        make(captures("first"))
    assert len(ran) == 1


def test_a_failing_step_ends_with_its_code_and_what_to_do(place, really_ran, capfd):
    jobs = captures("first", "second", "third")
    jobs["second"]["overrides"] = [*CAPTURE, "plan.repeats=0", "output={first}/x"]
    with pytest.raises(StepFailed, match=r"second failed.*pipeline run=study resume=true") as end:
        make(jobs)
    assert end.value.exit_code == 2
    assert "error: " in capfd.readouterr().err  # the job's own message
    assert launch._report(end.value) == 2
    assert "Traceback" not in capfd.readouterr().err
    assert names(really_ran) == ["first", "second"]
    assert "third" in Path("study/report.html").read_text("utf-8")
    jobs["second"]["overrides"] = [*CAPTURE, "output={first}/x"]
    jobs.pop("third")
    make(jobs)
    assert names(really_ran) == ["first", "second", "second"]
    for name in jobs:
        verify(Path("study") / name)
        assert find_run("capture", f"study/{name}") == Path("study") / name
    metrics = read_json(Path("study/metrics.json"))
    assert metrics["second/frames"] == 3
    assert metrics["seconds"] > metrics["first/seconds"] > 0


def test_a_killed_step_goes_on_where_it_was(place, monkeypatch):
    journal = Path("study/first/journal.jsonl")

    def killed(arguments):
        process = subprocess.Popen(arguments)
        while not journal.exists() or len(journal.read_bytes().splitlines()) < 4:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        return process.wait()

    jobs = captures("first")
    jobs["first"]["overrides"] += ["plan.repeats=60"]
    with monkeypatch.context() as patch:
        patch.setattr(step_runs, "_run", killed)
        with pytest.raises(StepFailed) as end:
            make(jobs)
    assert end.value.exit_code == 128 + signal.SIGKILL
    before = {p: p.stat().st_mtime_ns for p in Path("study/first/frames").glob("*.json")}
    make(jobs)
    verify(Path("study/first"))
    assert read_json(Path("study/first/metrics.json"))["resumes"] == 1
    assert {p: p.stat().st_mtime_ns for p in before} == before  # frames are not taken again
    entry = Pipeline("pipeline", Path("study"), settings(jobs)).entries["first"]
    assert entry["seconds"] > 0


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_reaches_the_step_and_the_pipeline_goes_on_later(place):
    words = ["steps=[codesign,export]", "jobs.codesign.job=capture", "jobs.export.job=capture"]
    own = ",".join(quoted(line) for line in [*CAPTURE, "rig.clock=system", "plan.repeats=40"])
    words += [f"jobs.codesign.overrides=[{own}]", f"jobs.export.overrides=[{own}]"]
    program = [sys.executable, "-m", "experiments.pipeline", "progress=false"]
    process = subprocess.Popen(
        [*program, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    runs = Path("runs/pipeline")
    while not list(runs.glob("*/codesign/journal.jsonl")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    told, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    (run,) = runs.iterdir()
    assert f"./lab pipeline run={run} resume=true" in told
    assert read_json(run / "run.json")["state"] == "interrupted"
    assert read_json(run / "codesign/run.json")["state"] in ("interrupted", "failed")
    assert not (run / "export").exists()
    done = subprocess.run(
        [*program, "resume=true", "stop=codesign"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    verify(run / "codesign")


@pytest.mark.slow
def test_the_captures_come_from_the_agent_of_a_real_rig(place, tmp_path):
    """`rig=remote` takes the place of the bench, and nothing else of the pipeline changes."""
    key = tmp_path / "token"
    key.write_text("a-token-that-was-chosen")
    key.chmod(0o600)
    with started(tmp_path, f"key_file={key}") as agent:
        port = printed(agent).rpartition(":")[2]
        bench = {"capture": {"job": "capture", "overrides": [
            "rig=bench", "rig.seed=1", "plan=darks", "plan.exposure_times=[1 ms]", "plan.repeats=2",
        ]}}  # fmt: skip
        words = ["stop=capture", "rig=remote", f"rig.port={port}", f"rig.key_file={key}"]
        others, line = translated(words, bench)[:1], translated(words, bench)[1]
        assert others == ["stop=capture"]
        overrides = json.loads(line.partition("=")[2])
        kept = ["plan=darks", "plan.exposure_times=[1 ms]", "plan.repeats=2"]
        assert overrides == [*kept, "rig=remote", f"rig.port={port}", f"rig.key_file={key}"]
        make({"capture": {"job": "capture", "overrides": overrides}})
    assert read_json(Path("study/capture/metrics.json"))["frames"] == 2
    assert not Path("study/capture/truth.json").exists()


# Mistakes


@pytest.mark.parametrize(
    ("jobs", "changes", "message"),
    [
        ({}, {}, r"steps = \[\]"),
        (captures("first"), {"steps": ["frist"]}, "no step 'frist'; did you mean 'first'"),
        (captures("first"), {"steps": ["first", "first"]}, "stands there twice"),
        (captures("first"), {"start": "last"}, "start = 'last', expected one of first"),
        (captures("a", "b"), {"start": "b", "stop": "a"}, "start = b comes after stop = a"),
        ({"a": {"job": "captrue"}}, {}, "jobs.a.job = 'captrue': there is no such job"),
        ({"a": {"job": "pipeline"}}, {}, "no such job for a step"),
        ({"a": {"job": "os.path"}}, {}, "no such job"),
        ({"a": {"job": "settings"}}, {}, "no such job"),  # a module, but no job
        ({"a": {"overrides": []}}, {}, "expected job and overrides"),
        ({"a": {"job": "capture", "overrides": [1]}}, {}, "a list of key=value"),
        ({"A b": {"job": "capture"}}, {}, "small letters"),
        ({"a": {"job": "capture", "overrides": ["riig=bench"]}}, {}, "did you mean 'rig'"),
        ({"a": {"job": "capture", "overrides": ["plan.settle=3"]}}, {}, "has no unit"),
        ({"a": {"job": "capture", "overrides": ["resume=true"]}}, {}, "jobs.a: resume=true"),
        ({"a": {"job": "capture", "overrides": ["hydra.run.dir=x"]}}, {}, "jobs.a: hydra"),
        ({"a": {"job": "capture", "overrides": ["session={b}"]}}, {}, r"uses \{b\}, and no such"),
        (
            {
                "a": {"job": "capture", "overrides": ["session={b}"]},
                "b": {"job": "capture", "overrides": ["session={a}"]},
            },
            {},
            r"a uses \{b\}, which comes later.*put it first",
        ),
        (captures("a", "b"), {"steps": ["b"]}, r"uses \{a\}, and no such step is made before"),
    ],
)
def test_what_cannot_work_is_refused_beforehand(jobs, changes, message):
    with pytest.raises(SettingsError, match=message):
        pipeline.check(settings(jobs, **changes))


def test_a_step_may_use_its_own_folder_and_earlier_ones():
    step = Step("key", "protect", ("key_file={key}/a.key", "source={faces}/{faces}"))
    assert step.uses == ("faces",)
    assert step.arguments(Path("run")) == ["key_file=run/key/a.key", "source=run/faces/run/faces"]


@pytest.fixture
def lab(place, monkeypatch, capsys):
    """Run a pipeline's command line; return exit code, output and errors."""

    def call(*arguments, job="pipeline"):
        monkeypatch.setattr(sys, "argv", [job, *arguments])
        with pytest.raises(SystemExit) as end:
            launch.run_job(
                job, pipeline.main, check=pipeline.check,
                rewrite=lambda given: pipeline.words(job, given),
            )  # fmt: skip
        return end.value.code or 0, *capsys.readouterr()

    return call


def test_words_of_a_step_change_its_settings(lab):
    code, shown, errors = lab(
        "--cfg", "job", "codesign.mask.cell=6 um", "export.target=stl", 'export.name=a "b" c'
    )
    assert (code, errors) == (0, "")
    assert "    - mask.cell=6 um\n" in shown
    assert '    - process=greyscale_laser\n    - target=stl\n    - name=a "b" c\n' in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["codesign.joint.stpes=3"], "jobs.codesign: 'joint.stpes' is not a setting"),
        (["capture.rig=bnech"], "jobs.capture: rig = bnech"),
        (["start=calibrate"], "there is no run of pipeline to go on with"),
        (["nonsense=1"], "'nonsense' is not a setting"),
        (["resume=true"], "no run of pipeline"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(lab, place, words, message):
    code, told, errors = lab(*words)
    assert code in (2, 4)
    assert told == ""
    assert errors.startswith("error: ")
    assert message in errors
    assert len(errors.splitlines()) == 1
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("job", ["pipeline", "demo"])
def test_the_pipelines_that_come_with_the_package_can_be_made(job):
    """Every step's settings fit its job, and use only what is made before it."""
    found = to_si(compose(job))
    pipeline.check(found)
    assert len(read_steps(found)) > 5
