"""Whether a recorded session can be calibrated: finished, whole, of one mode and temperature."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from calibration.bayer import planes
from calibration.compare import repeated
from calibration.errors import CalibrationError
from calibration.noise.model import NoiseModel
from calibration.psf.registration import filled
from calibration.psf.session import SessionDarks, spot_drift
from calibration.psf.stack import PsfStack
from experiments.runs import RUNS, find_run
from experiments.store import ArtifactError
from hardware.session import Session
from hardware.session.runner import SESSION

_LARGEST_SPREAD = 10.0  # K within a session: dark current changes by a factor of three
_WORTH_A_WORD = 3.0  # K
_TEMPERATURE = ("SensorTemperature", "sensor_temperature")
_MOVED = 0.5  # pixels of the mosaic within a step
_SECOND = 0.15  # of the first peak, beyond what the design has: a source of a seventh of the light
_ALIKE = 0.2  # that patterns are like themselves elsewhere by chance, where no design tells


def find_session(which: str, plan: str) -> Session:
    """Return a recorded session.

    Parameters
    ----------
    which : str
        Its folder, or "latest" for the newest finished capture by that plan.
    plan : str
        Name of the plan, such as "psf_stack".

    Raises
    ------
    ArtifactError
        There is none, or what describes it is damaged or of another version.
    """
    if which != "latest":
        folder = Path(which)
        return Session.open(folder if (folder / SESSION).exists() else find_run("capture", which))
    folders = sorted(
        (path.parent for path in (RUNS / "capture").glob(f"*/{SESSION}")), reverse=True
    )
    for folder in folders:
        if not folder.is_symlink():
            session = Session.open(folder)
            if session.plan.name == plan and not missing_steps(session):
                return session
    raise ArtifactError(
        f"latest: {RUNS / 'capture'} holds no finished session by plan {plan}; take one: ./lab "
        f"capture plan={plan}, or name its folder"
    )


def missing_steps(session: Session) -> list[str]:
    """Names of the steps that do not have all their frames."""
    return [step.name for step in session.plan.steps if not session.history.complete(step)]


def check_psf_session(session: Session) -> None:
    """Refuse a session that holds no PSFs, no darks, or not all of its frames.

    Raises
    ------
    CalibrationError
        With what to do.
    """
    name = session.folder.name
    kinds = {step.kind for step in session.plan.steps}
    if "psf" not in kinds:
        raise CalibrationError(
            f"{name} was taken by plan {session.plan.name} and shows no point source: give "
            f"session=<folder of a plan=psf_stack>; a photon transfer goes to transfer="
        )
    if missing := missing_steps(session):
        raise CalibrationError(
            f"{name} is unfinished, frames are missing in {', '.join(missing)}: ./lab capture "
            f"run={session.folder} resume=true"
        )
    if "dark" not in kinds:
        raise CalibrationError(
            f"{name} has no darks, so black level and read noise are unknown: capture with "
            f"dark_repeats of 2 or more (32 are advised), lamp off"
        )


def check_alike(session: Session, transfer: Session) -> None:
    """Refuse a photon transfer of another camera, mode or gain.

    Raises
    ------
    CalibrationError
        With what differs.
    """
    cameras = [one.identity["camera"] for one in (session, transfer)]
    for what, values in (
        ("camera", [f"{c['model']} {c['serial']}" for c in cameras]),
        ("mode", [c["mode"]["name"] for c in cameras]),
        ("gain", [sorted({step.gain for step in one.plan.steps}) for one in (session, transfer)]),
        ("format", [c["format"] for c in cameras]),
    ):
        if values[0] != values[1]:
            raise CalibrationError(
                f"{what}: {values[0]} in {session.folder.name}, {values[1]} in the photon transfer "
                f"{transfer.folder.name}: take both with one camera, mode and gain"
            )


def temperatures(session: Session) -> tuple[float, float] | None:
    """Lowest and highest temperature of the sensor [°C]; None where it does not tell.

    Raises
    ------
    CalibrationError
        They are too far apart for one dark level.
    """
    found: dict[int, float] = {}
    for record in session.frames():
        metadata: Mapping[str, Any] = session.about(record)["metadata"]
        for name in _TEMPERATURE:
            if isinstance(metadata.get(name), (int, float)):
                found[record.number] = float(metadata[name])
    if not found:
        return None
    low, high = min(found.values()), max(found.values())
    if high - low > _LARGEST_SPREAD:
        first, last = (next(n for n, t in found.items() if t == end) for end in (low, high))
        raise CalibrationError(
            f"{session.folder.name} mixes temperatures: the sensor was at {low:.1f} °C in frame "
            f"{first} and at {high:.1f} °C in frame {last}; let it warm up, and take the session "
            f"again within {_LARGEST_SPREAD:g} K"
        )
    return low, high


def warm_note(span: tuple[float, float] | None) -> list[str]:
    """Say where the temperature drifted by more than a little."""
    if span is None or span[1] - span[0] <= _WORTH_A_WORD:
        return []
    return [f"the sensor warmed from {span[0]:.1f} to {span[1]:.1f} °C within the session"]


def check_still(session: Session, step: str, darks: SessionDarks, noise: NoiseModel) -> float:
    """Return how far the spot wandered within a step [pixels]; refuse what blurs it.

    Raises
    ------
    CalibrationError
        The source or the camera moved.
    """
    try:
        log = spot_drift(session, step, darks, noise)
    except CalibrationError:
        return 0.0  # too faint, or too few frames, to tell
    moved = 2 * log.largest if session.identity["camera"]["mode"]["cfa"] else log.largest
    sure = max((s.row.uncertainty + s.column.uncertainty for s in log.shifts), default=0.0)
    if moved > _MOVED + 10 * sure:
        raise CalibrationError(
            f"step {step}: the spot moved by {moved:.2f} pixels between its frames, at most "
            f"{_MOVED} are allowed: fix source and camera, wait for the stage to settle "
            f"(plan.settle), and capture again"
        )
    return moved


def check_one_source(stack: PsfStack, expected: np.ndarray[Any, Any] | None) -> None:
    """Refuse a stack that shows the same pattern twice, unless the design does so itself.

    Parameters
    ----------
    stack : PsfStack
        What was measured.
    expected : ndarray or None
        (D, H, W) what the design shows there, NaN beyond its window.

    Raises
    ------
    CalibrationError
        There are two sources in view.
    """
    for depth in range(stack.depths):
        rate, valid = (planes(one[depth], stack.cfa) for one in (stack.rate, stack.valid))
        name = "Gr" if stack.cfa else "mono"
        image = filled(rate[name], valid[name])
        height, shift = repeated(image - np.median(image))
        own = _ALIKE
        if expected is not None:
            meant = np.nan_to_num(planes(expected[depth], stack.cfa)[name])
            own = repeated(meant)[0]
        if height > _SECOND + own:
            step = 2 if stack.cfa else 1
            raise CalibrationError(
                f"depth {depth + 1} shows the same pattern twice, {step * shift[0]} rows and "
                f"{step * shift[1]} columns apart ({height:.0%} of the pattern with itself): there "
                f"are two sources or a reflection in view; cover one and capture again"
            )
