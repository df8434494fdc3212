"""Merging the steps of a session one after the other, each kept on the disk as soon as it is done.

What was merged before a break is read back, unless the noise model or the session changed since.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from calibration.noise.model import NoiseModel
from calibration.noise.session import Flats
from calibration.psf.bracket import FrameLight, LightLog
from calibration.psf.hdr import ExposureUse, MergedRate
from calibration.psf.session import MergedStep, SessionDarks, merge_step, psf_stacks
from calibration.psf.stack import PsfStack
from calibration.uncertainty import Uncertain
from experiments.session_checks import check_still
from experiments.store import ArtifactError, load_arrays, save_arrays
from hardware.session import Session

#: Folder of merged steps in a run; it may be removed once the run is finished.
CHECKPOINTS = "checkpoints"


def merge_steps(
    session: Session,
    noise: NoiseModel,
    darks: SessionDarks,
    flats: Flats | None,
    folder: Path,
    *,
    key: str,
    light: Literal["steady", "followed"],
    watch: Callable[[int], object],
) -> list[MergedStep]:
    """Merge every step that shows the point source.

    Parameters
    ----------
    session : Session
        The session.
    noise, darks, flats
        What is known of the sensor.
    folder : Path
        Where merged steps are kept.
    key : str
        What they depend on; steps kept under another one are merged again.
    light : {"steady", "followed"}
        As for `merge_step`.
    watch : callable
        Called with the number of frames of every step that is done.

    Raises
    ------
    CalibrationError
        The frames of a step do not allow it, or the source moved between them.
    """
    done = []
    for step in (step for step in session.plan.steps if step.kind == "psf"):
        path = folder / f"{step.name}.npz"
        merged = _kept(path, key)
        if merged is None:
            check_still(session, step.name, darks, noise)
            found = session.found(step.name)
            flat = flats.of(found.region) if flats is not None and found is not None else None
            merged = merge_step(session, step.name, noise, darks, light=light, flat=flat)
            folder.mkdir(parents=True, exist_ok=True)
            _keep(path, merged, key)
        watch(len(session.frames(step=step.name)))
        done.append(merged)
    return done


def stacks_of(steps: Sequence[MergedStep], session: Session, *, axis: str) -> list[PsfStack]:
    """Return the stacks of a session, one for each place across the axis, read as distances.

    Where the plan says at which distance every step shows the source, readings of the rail become
    these distances, so that neither its zero nor its direction is left to be found.
    """
    distances = {step.name: step.distance for step in session.plan.steps}
    stacks = []
    for stack in psf_stacks(steps, session, axis=axis):
        told = [distances[name] for name in stack.notes["steps"]]
        said = [distance for distance in told if distance is not None]
        if len(said) == stack.depths:
            order = np.argsort(said)
            stack = replace(
                stack, **{n: getattr(stack, n)[order] for n in ("rate", "variance", "valid")},
                readings=np.array(said, np.float64)[order],
                notes={**stack.notes, "readings": "distances by the plan",
                       "steps": [stack.notes["steps"][k] for k in order]},
            )  # fmt: skip
        stacks.append(stack)
    return stacks


def _keep(path: Path, step: MergedStep, key: str) -> None:
    merged = step.merged
    sheet = {
        "key": key,
        "name": step.name,
        "position": dict(step.position),
        "warnings": list(step.warnings),
        "log": asdict(step.log),
        "merged": {
            "cfa": merged.cfa,
            "origin": [int(v) for v in merged.origin],
            "scale": dict(merged.scale),
            "chi_square": dict(merged.chi_square),
            "exposures": [asdict(use) for use in merged.exposures],
            "warnings": list(merged.warnings),
        },
    }
    text = np.frombuffer(json.dumps(sheet).encode(), np.uint8)
    arrays = {name: getattr(merged, name) for name in ("rate", "variance", "valid")}
    save_arrays(path, {"sheet": text, **arrays})


def _kept(path: Path, key: str) -> MergedStep | None:
    """Return a merged step that was kept under the same key; None if there is none."""
    if not path.exists():
        return None
    try:
        arrays = load_arrays(path)
        sheet = json.loads(arrays.pop("sheet").tobytes())
        if sheet["key"] != key:
            return None
        return MergedStep(
            name=sheet["name"],
            position=sheet["position"],
            merged=_merged(sheet["merged"], arrays),
            log=_log(sheet["log"]),
            warnings=tuple(sheet["warnings"]),
        )
    except (ArtifactError, KeyError, TypeError, ValueError):
        return None  # cut short: merged again


def _merged(sheet: dict[str, Any], arrays: dict[str, Any]) -> MergedRate:
    uses = tuple(
        ExposureUse(
            **{**use, "light": Uncertain(**use["light"]), "offset": Uncertain(**use["offset"])}
        )
        for use in sheet["exposures"]
    )
    return MergedRate(
        rate=arrays["rate"],
        variance=arrays["variance"],
        valid=arrays["valid"],
        cfa=sheet["cfa"],
        origin=(sheet["origin"][0], sheet["origin"][1]),
        scale=sheet["scale"],
        chi_square=sheet["chi_square"],
        exposures=uses,
        warnings=tuple(sheet["warnings"]),
    )


def _log(sheet: dict[str, Any]) -> LightLog:
    frames = tuple(
        FrameLight(**{**frame, "light": Uncertain(**frame["light"])}) for frame in sheet["frames"]
    )
    return LightLog(frames, sheet["flicker"], Uncertain(**sheet["drift"]))
