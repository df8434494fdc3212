"""Run the jobs of a whole study one after another, each in its own run folder.

A mask is learned, exported, and captured on the bench, which hides errors of making; the frames
are calibrated and compared with the design; the regressor learns the camera that was made; faces
are anonymized, protected and recovered; the camera is attacked. Every step can be continued, made
anew, or given other settings: `./lab pipeline codesign.mask=bspline calibrate.twin=false`.

    ./lab pipeline
    ./lab pipeline resume=true                        go on after a break
    ./lab pipeline start=calibrate calibrate.light=followed
    ./lab pipeline 'steps=[codesign,export]'
    ./lab pipeline rig=remote rig.host=raspberrypi    the captures of a real camera
"""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from experiments.launch import run_job
from experiments.report.pipeline_sheet import StepShown, pipeline_sheet
from experiments.report.sheet import write_sheet
from experiments.runs import newest_first, stored_overrides, unfinished
from experiments.settings import Settings
from experiments.step_runs import Pipeline, StepFailed
from experiments.steps import Step, check_steps, plain_jobs, read_steps, span, translated
from experiments.store import ArtifactError, read_json, save_json

JOB = "pipeline"

log = logging.getLogger(__name__)


def main(settings: Settings, run: Path) -> None:
    """Make the steps of a whole study."""
    make(settings, run, job=JOB)


def make(settings: Settings, run: Path, *, job: str) -> None:
    """Make the steps that are not done yet, and the page of all."""
    steps = read_steps(settings)
    begin, end = span(steps, settings)
    pipeline = Pipeline(job, run, settings)
    kept = [step.name for step in steps[:begin] if pipeline.kept(step)]
    pipeline.forget(steps[begin:])
    for number, step in enumerate(steps[:end], start=1):
        if step.name in kept and pipeline.current(step):
            log.info("step %d of %d, %s: is done", number, end, step.name)
            continue
        log.info("step %d of %d, %s: %s", number, end, step.name, step.job)
        try:
            pipeline.make(step)
        except (StepFailed, KeyboardInterrupt):
            try:
                _conclude(pipeline, steps)
            except Exception as error:  # what ended the step is what is to be told
                log.warning("the page could not be written: %s", error)
            raise
    _conclude(pipeline, steps)


def _conclude(pipeline: Pipeline, steps: Sequence[Step]) -> None:
    """Write numbers and page of what there is."""
    entries = pipeline.entries
    shown: list[StepShown] = []
    metrics: dict[str, float] = {}
    for step in steps:
        folder, entry = pipeline.run / step.name, entries.get(step.name)
        record = folder / "run.json"
        state = str(read_json(record)["state"]) if record.exists() else "not made"
        numbers = folder / "metrics.json"
        found = read_json(numbers) if numbers.exists() else {}
        times = {key: float((entry or {}).get(key, 0.0)) for key in ("seconds", "cpu_seconds")}
        shown.append(StepShown(step.name, step.job, folder, state, found, **times))
        numbers_alone = {k: v for k, v in found.items() if isinstance(v, (int, float))}
        metrics |= {f"{step.name}/{key}": value for key, value in numbers_alone.items()}
        metrics |= {f"{step.name}/{key}": value for key, value in times.items()}
    for key in ("seconds", "cpu_seconds"):
        metrics[key] = sum(getattr(one, key) for one in shown)
    log.info("%.0f s, of the processors %.0f s", metrics["seconds"], metrics["cpu_seconds"])
    save_json(pipeline.run / "metrics.json", metrics)
    write_sheet(pipeline.run, pipeline_sheet(pipeline.name, shown))


def check(settings: Settings, *, job: str = JOB) -> None:
    """Refuse settings that cannot work, before anything is written."""
    steps = read_steps(settings)
    span(steps, settings)
    there: list[str] = []
    if settings["resume"]:
        run = unfinished(job, str(settings["run"] or "latest"))
        there = [path.parent.name for path in run.glob("*/run.json")]
    check_steps(steps, settings, there)


def words(job: str, arguments: Sequence[str]) -> list[str]:
    """Return a command line as `run_job` takes it.

    `step.key=value` becomes a setting of the pipeline; `start=` goes on with the newest run.

    Raises
    ------
    ArtifactError
        There is no run to go on with.
    """
    given = list(arguments)
    named = {word.partition("=")[0]: word.partition("=")[2] for word in given}
    if {"-h", "--help"} & set(given):
        return given
    if "start" in named and "run" not in named:
        newest = newest_first(job)
        if not newest:
            raise ArtifactError(f"start = {named['start']}: there is no run of {job} to go on with")
        given.append(f"run={newest[0]}")
    if "start" in named and "resume" not in named:
        given.append("resume=true")
    before: list[str] = []
    if "resume=true" in given:
        which = next((w.partition("=")[2] for w in given if w.startswith("run=")), "latest")
        before = stored_overrides(unfinished(job, which))
    chosen = [word for word in given if word.startswith("experiment=")]
    return translated(given, plain_jobs(job, [*before, *chosen]))


if __name__ == "__main__":
    run_job(JOB, main, check=check, rewrite=partial(words, JOB))
