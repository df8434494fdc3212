"""Turn captured frames into a noise model, PSFs, and the camera as it was really made.

The sensor comes first, then the PSFs at every distance, how they compare with the design, and the
errors of making and mounting that explain the difference. Each stage leaves its file: what is done
is kept where a later stage fails, and is not done again by resume=true.

    ./lab capture rig=bench                                  a session to begin with
    ./lab calibrate                                          the newest one, and its design
    ./lab calibrate transfer=latest                          with the newest photon transfer
    ./lab calibrate session=<folder> design=<codesign run>
    ./lab calibrate run=<folder> resume=true                 go on after a break
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from calibration.errors import CalibrationError
from calibration.psf.hdr import MergedRate
from calibration.psf.spot import MeasuredPsf, measure_psf
from experiments.calibrating import (
    design_of,
    inputs,
    load_stacks,
    numbered,
    save_stacks,
    sensor_stage,
    source_diameter,
    valid_range,
)
from experiments.calibration_results import Results, write_results
from experiments.capture import TRUTH
from experiments.comparing import check_thresholds, compare_laid
from experiments.launch import run_job
from experiments.merging import CHECKPOINTS, merge_steps, stacks_of
from experiments.session_checks import (
    check_alike,
    check_one_source,
    check_psf_session,
    find_session,
    temperatures,
    warm_note,
)
from experiments.settings import Settings, SettingsError
from experiments.store import ArtifactError, file_sha256, read_json, save_json
from experiments.twinning import Laid, lay_design, lay_twin, load_laid
from hardware.session import Session

log = logging.getLogger(__name__)

#: Correlation that a twin of the right design reaches; patterns of another mask share less.
SAME_DESIGN = 0.8


def main(settings: Settings, run: Path) -> None:
    """Calibrate from one session."""
    session, transfer = opened(settings)
    results = Results(inputs=inputs(session, transfer))
    results.truth = _truth(session)
    try:
        _calibrate(settings, session, transfer, run, results)
    except (CalibrationError, ArtifactError) as error:
        results.failed = str(error)
        log.warning("kept what was done before it failed: %s", ", ".join(results.done) or "nothing")
        raise
    finally:
        write_results(run, results, settings["thresholds"])


def _calibrate(
    settings: Settings, session: Session, transfer: Session | None, run: Path, results: Results
) -> None:
    span = temperatures(session)
    results.notes += warm_note(span)
    design = design_of(settings["design"], session)
    results.design = design
    results.valid = valid_range(session, span, design)
    frames = [*session.frames(kind="flat"), *session.frames(kind="psf")]
    total = len(frames) + (len(transfer.frames()) if transfer is not None else 0)
    with tqdm(total=total, unit="frame", disable=not settings["progress"]) as bar:
        _measure(settings, session, transfer, run, results, watch=bar.update)
    if design is None:
        results.notes.append("no design was given: there is nothing to compare the PSFs with")
        for stack in results.stacks:
            check_one_source(stack, None)
        return
    diameter = results.source_diameter = source_diameter(settings["source_diameter"], session)
    laid = []
    for number, stack in enumerate(results.stacks, start=1):
        path = numbered(run, "design", number)
        if not path.exists():
            found = lay_design(design.camera, stack, source_diameter=diameter)
            check_one_source(stack, found.expected)
            found.save(path)
        laid.append(load_laid(path, design.camera))
    results.laid, results.rows = laid, compare_laid(results.stacks, laid)
    results.done.append("design")
    _tell("design", laid[0])
    if not settings["twin"]:
        if laid[0].correlation < SAME_DESIGN:
            results.notes.append(
                f"the design by itself has a correlation of {laid[0].correlation:.3f} with what "
                f"was measured: errors of making, or another design; a twin tells which"
            )
        return
    nearest = min(
        range(len(results.stacks)), key=lambda k: sum(v**2 for v in results.stacks[k].across)
    )
    stack = results.stacks[nearest]
    with tqdm(desc="twin", unit="image", disable=not settings["progress"]) as bar:
        twin = lay_twin(
            design.camera, stack, source_diameter=diameter, scatter=settings["scatter"],
            directions=settings["directions"], watch=bar.update,
        )  # fmt: skip
    _refuse_another(twin)
    if twin.fit is not None:
        save_json(run / "twin.json", twin.fit.as_dict())
    twin.save(run / "twin.npz")
    results.twin, results.twin_field = twin, nearest
    results.twin_rows = compare_laid([stack], [twin])
    results.done.append("twin")
    _tell("twin", twin)


def _measure(
    settings: Settings,
    session: Session,
    transfer: Session | None,
    run: Path,
    results: Results,
    *,
    watch: Callable[..., object],
) -> None:
    """Sensor and PSFs: what needs the frames."""
    sensor = sensor_stage(session, transfer, run, watch=watch)
    results.noise = sensor.noise
    if (run / "transfer.json").exists():
        results.transfer = read_json(run / "transfer.json")
    results.notes += sensor.noise.warnings
    results.done.append("noise")
    key = file_sha256(run / "noise.json") + str(results.inputs["session"]["journal.jsonl"])
    steps = merge_steps(
        session, sensor.noise, sensor.darks, sensor.flats, run / CHECKPOINTS,
        key=key, light=settings["light"], watch=watch,
    )  # fmt: skip
    results.notes += [f"{step.name}: {note}" for step in steps for note in step.warnings]
    if not load_stacks(run):
        found = stacks_of(steps, session, axis=settings["axis"])
        about = {"inputs": results.inputs, "valid": results.valid}
        save_stacks([replace(s, notes={**s.notes, **about}) for s in found], run)
    results.stacks = load_stacks(run)
    for step in steps:
        results.measured[step.name] = _measured(step.merged, step.name, results)
    results.done.append("psf")


def _measured(merged: MergedRate, name: str, results: Results) -> MeasuredPsf | None:
    """Measure one PSF by itself; where it fills its region there is nothing to measure it by."""
    try:
        return measure_psf(merged)
    except CalibrationError as error:
        results.notes.append(f"{name}: {error}")
        return None


def _refuse_another(laid: Laid) -> None:
    if laid.correlation < SAME_DESIGN:
        raise CalibrationError(
            f"wrong design? Its twin has a correlation of {laid.correlation:.3f} with what "
            f"was measured, {SAME_DESIGN} or more is expected of the right one: give design=<the "
            f"run that was made>, and look whether the mask is mounted the right way round"
        )


def _tell(name: str, laid: Laid) -> None:
    log.info(
        "%-8s correlation %.4f, chi-square %.2f per pixel", name, laid.correlation,
        laid.chi_square,
    )  # fmt: skip


def _truth(session: Session) -> dict[str, object] | None:
    """Read what a bench hides, for the report alone."""
    path = session.folder / TRUTH
    return dict(read_json(path)) if path.exists() else None


def opened(settings: Settings) -> tuple[Session, Session | None]:
    """Return the sessions, checked as far as their journals tell.

    Raises
    ------
    CalibrationError
        They are unfinished, without darks, or of different modes.
    """
    session = find_session(settings["session"], "psf_stack")
    check_psf_session(session)
    transfer = None
    if settings["transfer"] is not None:
        transfer = find_session(settings["transfer"], "photon_transfer")
        check_alike(session, transfer)
    return session, transfer


def check(settings: Settings) -> None:
    """Refuse settings and sessions that cannot work, before anything is written."""
    if settings["what"] != "calibrate":
        raise SettingsError(f"what = {settings['what']!r}, expected calibrate")
    if settings["light"] not in ("steady", "followed"):
        raise SettingsError(f"light = {settings['light']!r}, expected steady or followed")
    if not settings["directions"] or not set(settings["directions"]) <= {1, -1}:
        raise SettingsError(f"directions = {settings['directions']}, expected [1], [-1] or both")
    if any(not value >= 0 for value in settings["scatter"].values()):
        raise SettingsError("scatter: standard deviations of 0 or more are needed")
    diameter = settings["source_diameter"]
    if diameter is not None and not 0 <= diameter < 0.1:
        raise SettingsError(f"source_diameter = {diameter:g} m: 0 or more, below 0.1 m is needed")
    check_thresholds(settings["thresholds"])
    session, _ = opened(settings)
    design_of(settings["design"], session)


if __name__ == "__main__":
    run_job("calibrate", main, check=check)
