"""A co-design run that is killed at any moment and continued ends as if nothing had happened."""

import random
import shutil
import signal
import time

import pytest
import torch

from experiments.store import load_tensors, read_json, read_jsonl
from tests.experiments.processes import start
from tests.experiments.tiny_codesign import quick, run


@pytest.fixture(scope="module")
def place(finished_run):
    """Return the folder with the prepared faces and one run that nothing interrupted."""
    return finished_run.parent


def arguments(name, *changes):
    return [*quick(*changes), "cache=cache", f"hydra.run.dir={name}"]


def go_on(name):
    return [f"run={name}", "resume=true", f"hydra.run.dir={name}"]


def complete(folder, words):
    process = start(run, folder, words)
    process.join(100)
    assert process.exitcode == 0


def steps_done(folder):
    """Steps in the newest checkpoints of all stages."""
    newest: dict[str, int] = {}
    for path in folder.glob("checkpoints/*/step_*"):
        stage = path.parent.name
        newest[stage] = max(newest.get(stage, 0), int(path.name[5:]))
    return sum(newest.values())


def kill_and_complete(place, name, kills, seed, *changes):
    """Kill the run at random moments, wherever it is, then let it finish; count the kills."""
    chance, words, killed = random.Random(seed), arguments(name, *changes), 0
    while killed < kills:
        before, end = steps_done(place / name), time.monotonic() + 60
        process = start(run, place, words)
        while steps_done(place / name) <= before and process.is_alive():
            assert time.monotonic() < end
            time.sleep(0.002)
        process.join(chance.uniform(0.0, 0.3))  # a step with its checkpoint takes 0.02 to 0.1 s
        if not process.is_alive():
            break
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        killed, words = killed + 1, go_on(name)
    complete(place, words)
    return killed


def learned(folder):
    """Everything that the run learned, by file and tensor."""
    files = [folder / "mask.safetensors", folder / "regressor_clear.safetensors"]
    files += sorted((folder / "cameras").rglob("*.safetensors"))
    return {
        f"{path.relative_to(folder)}: {name}": value
        for path in files
        for name, value in load_tensors(path)[0].items()
    }


def assert_same_run(first, second):
    one, two = learned(first), learned(second)
    assert one.keys() == two.keys()
    assert len(one) > 100
    for name, value in one.items():
        assert torch.equal(value, two[name]), name
    assert read_json(first / "metrics.json") == read_json(second / "metrics.json")
    curves = [
        [{k: v for k, v in line.items() if k != "time"} for line in read_jsonl(f / "metrics.jsonl")]
        for f in (first, second)
    ]
    assert curves[0] == curves[1]
    assert read_json(second / "run.json")["state"] == "finished"


def test_killed_three_times_it_ends_the_same(place):
    assert kill_and_complete(place, "killed", 3, 1) == 3
    assert_same_run(place / "whole", place / "killed")


def test_continued_with_another_setting_it_is_refused(place):
    shutil.copytree(place / "whole", place / "changed")
    process = start(run, place, [*go_on("changed"), "mask.spread=9 mrad"])
    process.join(60)
    assert process.exitcode == 2


@pytest.mark.slow
def test_killed_twenty_times_it_ends_the_same(place):
    """`./lab test -m slow tests/faults/test_resume.py`, about two minutes."""
    longer = ["clear.steps=20", "shaping.steps=20", "joint.steps=40", "attack.steps=8"]
    complete(place, arguments("whole20", *longer))
    assert kill_and_complete(place, "killed20", 20, 2, *longer) == 20
    assert_same_run(place / "whole20", place / "killed20")
