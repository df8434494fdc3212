"""A capture session that is killed at any moment and continued holds every frame once."""

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest

from hardware.session import Session, frames, run_session
from hardware.session.journal import Journal
from tests.hardware.session.small import assert_whole, small_plan, small_rig

LONG = small_plan(repeats=12, dark_repeats=12)
SHORT = small_plan()


def capture(folder, plan):
    """Run, or continue, a session in a process of its own."""
    run_session(folder, plan, small_rig())


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def killing(real, when):
    """Return `real`, which kills its process after the call for which `when(*arguments)` holds."""

    def call(*arguments, **keywords):
        result = real(*arguments, **keywords)
        if when(*arguments):
            die()
        return result

    return call


def capture_and_die(folder, plan, point, number):
    """Run a session until frame `number`, and kill the process at `point` of its writing."""
    name = f"{number:06d}"
    if point == "rename":
        real = Path.replace

        def replace(path, target):
            if target.name == f"{name}.tif":
                die()
            return real(path, target)

        Path.replace = replace
    elif point in ("tif", "json"):
        frames.atomic_write = killing(
            frames.atomic_write, lambda path, *_: path.name == f"{name}.{point}"
        )
    else:
        append = Journal.append

        def torn(journal, event, **details):
            if event == "frame" and details["number"] == number:
                if point == "line":
                    append(journal, event, **details)
                else:
                    with journal.path.open("ab") as file:
                        file.write(b'{"chain": "5f0' if point == "torn" else b"\0" * 512)
                die()
            return append(journal, event, **details)

        Journal.append = torn
    run_session(folder, plan, small_rig())


def start(target, *arguments):
    """Start `target(*arguments)`; one process has imported everything, the others are its forks."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.test_capture_kills"])
    process = context.Process(target=target, args=arguments)
    process.start()
    return process


def journal_size(folder):
    path = folder / "journal.jsonl"
    return path.stat().st_size if path.exists() else 0


def kill_and_complete(folder, plan, kills, seed):
    """Kill the session `kills` times at random moments, then let it finish."""
    chance = random.Random(seed)
    for _ in range(kills):
        before, end = journal_size(folder), time.monotonic() + 60
        process = start(capture, folder, plan)
        while journal_size(folder) <= before and process.is_alive():
            assert time.monotonic() < end
            time.sleep(0.001)
        process.join(chance.uniform(0.0, 0.05))  # a frame takes 5 to 20 ms
        assert process.is_alive(), "it was over before it was killed often enough"
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    process = start(capture, folder, plan)
    process.join(60)
    assert process.exitcode == 0


@pytest.mark.parametrize("point", ["rename", "tif", "json", "torn", "zeroed", "line"])
@pytest.mark.parametrize("number", [1, 9])
def test_killed_between_any_two_writes_it_goes_on(tmp_path, point, number):
    folder = tmp_path / "session"
    process = start(capture_and_die, folder, SHORT, point, number)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    kept = len(Session.open(folder).frames())
    assert kept == (number if point == "line" else number - 1)
    capture(folder, SHORT)
    assert_whole(Session.open(folder))


def test_killed_three_times_it_ends_whole(tmp_path):
    kill_and_complete(tmp_path / "session", LONG, 3, 1)
    assert_whole(Session.open(tmp_path / "session"))
    assert Session.open(tmp_path / "session").history.resumes == 3


def test_a_frame_that_a_power_cut_left_empty_is_taken_again(tmp_path):
    """Names may reach the disk before contents do where the frame did not count yet."""
    folder = tmp_path / "session"
    process = start(capture_and_die, folder, SHORT, "json", 5)
    process.join(60)
    for path in frames.frame_paths(folder, 5):
        path.write_bytes(b"")
    capture(folder, SHORT)
    assert_whole(Session.open(folder))


@pytest.mark.slow
def test_killed_fifty_times_it_ends_whole(tmp_path):
    """`./lab test -m slow tests/faults/test_capture_kills.py`, about two minutes."""
    plan = small_plan(depths=6, repeats=20, dark_repeats=20)
    kill_and_complete(tmp_path / "session", plan, 50, 2)
    session = Session.open(tmp_path / "session")
    assert_whole(session)
    assert session.history.resumes == 50
