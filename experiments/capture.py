"""Take raw frames by a plan: PSF stacks, darks, flats, photon transfer, single frames.

Each frame is on the disk before the next one counts, so that a break of any kind (Ctrl-C, a power
cut, a full disk, a stage that lost its position) costs one frame at most.

    ./lab capture plan=psf_stack rig=bench
    ./lab capture plan=psf_stack rig=raspberry_pi dry=true     frames, time and disk
    ./lab capture run=runs/capture/<time> resume=true          go on after a break
    ./lab capture run=<folder> resume=true clear=true          the same, after an emergency stop
    ./lab capture dng session=latest frame=17                  one frame for other programs
"""

import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from experiments.contact_sheet import write_contact_sheet
from experiments.launch import run_job
from experiments.rigs import open_rig
from experiments.runs import find_run
from experiments.settings import Settings, SettingsError, build
from experiments.store import ArtifactError, ResourceError, save_json
from hardware.errors import EmergencyStopped, HardwareError
from hardware.rig import Rig
from hardware.session import Plan, Recorded, Session, check_plan, chosen_mode, estimate, run_session
from hardware.session.runner import SESSION

#: File of what a simulated rig hides.
TRUTH = "truth.json"

log = logging.getLogger(__name__)


def main(settings: Settings, run: Path) -> None:
    """Take what the session in `run` does not hold yet."""
    plan: Plan = build(settings["plan"])
    begun = Session.open(run).history if (run / SESSION).exists() else None
    with open_rig(settings["rig"]) as rig:
        left = estimate(plan, chosen_mode(plan, rig), rig.axes, begun)
        _keep_truth(rig, plan, run)
        log.info("%s on %s: %d frames in %d steps", plan.name, rig.name, left.frames, left.steps)
        if settings["clear"]:
            rig.safety.clear()
        with tqdm(total=left.frames, unit="frame", disable=not settings["progress"]) as bar:
            try:
                run_session(
                    run, plan, rig, about=rig.about(), watch=_counter(bar, plan, rig, run),
                    compress=settings["compress"],
                )  # fmt: skip
            except (HardwareError, ResourceError) as error:
                if (run / SESSION).exists():
                    clear = " clear=true" if isinstance(error, EmergencyStopped) else ""
                    log.warning("paused; to go on: ./lab capture run=%s resume=true%s", run, clear)
                raise
            except KeyboardInterrupt:
                log.warning("what holds the stop by itself (an agent, a controller): clear=true")
                raise
    session = Session.open(run)
    metrics = numbers(session)
    save_json(run / "metrics.json", metrics)
    write_contact_sheet(session, metrics)
    log.info(
        "%d frames, %.1f MB, %.0f s of work; lost and taken again: %d; settings not confirmed: %d",
        metrics["frames"], metrics["bytes"] / 1e6, metrics["seconds"], metrics["frames_lost"],
        metrics["settings_unconfirmed"],
    )  # fmt: skip


def _keep_truth(rig: Rig, plan: Plan, run: Path) -> None:
    """Lay down what a simulated rig hides, for the report of a calibration and for nothing else."""
    check_plan(plan, rig)  # a plan that cannot be taken leaves no files
    truth = rig.known_truth()
    if truth is not None and not (run / TRUTH).exists():
        save_json(run / TRUTH, truth)


def _counter(bar: Any, plan: Plan, rig: Rig, run: Path) -> Callable[[Recorded], None]:
    """Return what moves the bar on; its end moves where a step needs other frames than supposed."""
    mode, reached = chosen_mode(plan, rig), set()

    def count(frame: Recorded) -> None:
        bar.update()
        if frame.step not in reached:
            reached.add(frame.step)
            left = estimate(plan, mode, rig.axes, Session.open(run).history)
            bar.total = bar.n + left.frames

    return count


def numbers(session: Session) -> dict[str, float]:
    """Return the final numbers of a session."""
    history, frames = session.history, list(session.history.frames.values())
    return {
        "steps_planned": len(session.plan.steps),
        "steps_done": sum(map(history.complete, session.plan.steps)),
        "frames": len(frames),
        "frames_lost": history.losses,
        "resumes": history.resumes,
        "seconds": history.seconds,
        "bytes": sum(frame.stored.size for frame in frames),
        "settings_unconfirmed": sum(not frame.confirmed for frame in frames),
    }


# What needs no run


def forecast(plan: Plan, rig: Rig) -> str:
    """Return what a plan would take on a rig; ValueError where the rig cannot do it."""
    check_plan(plan, rig)
    whole = estimate(plan, chosen_mode(plan, rig), rig.axes)
    free = shutil.disk_usage(Path()).free
    searched = any(not isinstance(step.exposures, (tuple, str)) for step in plan.steps)
    return (
        f"{plan.name} on {rig.name}: {whole.frames} frames in {whole.steps} steps, about "
        f"{whole.seconds / 60:.1f} min and {whole.size / 1e6:.0f} MB, of which "
        f"{free / 1e6:.0f} MB are free here"
        + ("; more darks if the steps need different exposures" if searched else "")
    )


def export_dng(settings: Settings) -> Path:
    """Write one frame of a session as DNG, and return where."""
    from hardware.dng import write_dng

    session = Session.open(find_run("capture", settings["session"]))
    frame = session.load(settings["frame"])
    default = session.folder / "dng" / f"{settings['frame']:06d}.dng"
    path = Path(settings["output"]) if settings["output"] else default
    if path.exists():
        raise ArtifactError(f"{path} is there already; name another one with output=")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_dng(path, frame)
    return path


def check(settings: Settings) -> None:
    """Refuse settings that cannot work; a dry run and an export end here, as they leave no run."""
    if settings["what"] not in ("capture", "dng"):
        raise SettingsError(f"what = {settings['what']!r}, expected capture or dng")
    if settings["what"] == "dng":
        sys.stdout.write(f"{export_dng(settings)}\n")
        sys.exit(0)
    plan: Plan = build(settings["plan"])
    if settings["dry"]:
        with open_rig(settings["rig"]) as rig:
            sys.stdout.write(f"{forecast(plan, rig)}\n")
        sys.exit(0)


if __name__ == "__main__":
    run_job("capture", main, check=check)
