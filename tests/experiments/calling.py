"""Jobs called in the tests' own process, as from the command line."""

import sys

import pytest

from experiments import launch


def caller(job, module, place, monkeypatch, capsys, *first):
    """Return a function that runs `job` in the folder `place`.

    It takes words of the command line, after those in `first`, and returns exit code, output and
    errors.
    """
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", [job])

    def call(*words):
        with pytest.raises(SystemExit) as end:
            launch.run_job(job, module.main, check=module.check, arguments=[*first, *words])
        return end.value.code or 0, *capsys.readouterr()

    return call
