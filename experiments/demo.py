"""The whole story, small, on the bundled faces: a mask learned, made, measured, used, attacked.

A pipeline of small steps, of minutes altogether (the first time faces are rendered, and kept).

    ./lab demo
    ./lab demo codesign.joint.steps=500
    ./lab demo resume=true
"""

from functools import partial
from pathlib import Path

from experiments.launch import run_job
from experiments.pipeline import check, make, words
from experiments.settings import Settings

JOB = "demo"


def main(settings: Settings, run: Path) -> None:
    """Make the steps of the demonstration."""
    make(settings, run, job=JOB)


if __name__ == "__main__":
    run_job(JOB, main, check=partial(check, job=JOB), rewrite=partial(words, JOB))
