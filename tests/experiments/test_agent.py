"""The job that serves a rig: its address, its token, its end."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from hardware.agent import open_remote

ROOT = Path(__file__).parents[2]


@contextmanager
def started(folder, *words):
    """The job in a process of its own, which does not outlive the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.agent", *words, "port=0", "rig.clock=system"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def printed(process):
    """The address, which follows the line of the log."""
    assert process.stdout.readline().startswith("serving simulated on http://127.0.0.1:")
    return process.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal_and_leaves_the_rig_dark(tmp_path, number):
    with started(tmp_path) as process:
        url = printed(process)
        address, token = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/#token=(\S+)", url).groups()
        rig = open_remote(address, token)
        rig.light({"panel": 1.0})
        assert rig.camera.capture(0.001).confirmed
        process.send_signal(number)
        told, errors = process.communicate(timeout=10)
    assert process.returncode == 0, errors
    rig.close()  # nobody is there any more: no error
    run = tmp_path / told.split()[-1]
    assert json.loads((run / "metrics.json").read_text())["frames"] == 1
    for file in run.iterdir():  # the token was printed, and is nowhere else
        assert token.encode() not in file.read_bytes(), file
    assert token not in errors


def test_a_chosen_token_is_not_printed(tmp_path):
    key = tmp_path / "key"
    key.write_text("a-token-that-was-chosen")
    key.chmod(0o600)
    with started(tmp_path, f"key_file={key}") as process:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", printed(process))
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=10)
        assert "a-token-that-was-chosen" not in "".join(told)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["host=0.0.0.0"], "host = 0.0.0.0: whoever reaches this address"),
        (["silence='0.1 s'"], "silence = 0.1 s"),
        (["silence=5"], "silence = 5 has no unit"),
        (["token=x"], "'token' is not a setting"),
        (["key_file=nothing"], "key_file = nothing: cannot be read"),
        (["watch"], "an agent does nothing but serve"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, words, message):
    with started(tmp_path, *words) as process:
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 2, errors
    assert message in errors
    assert "Traceback" not in errors
