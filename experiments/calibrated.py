"""The camera of a finished run as a calibration found it: opened, checked, kept with a run."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from calibration.errors import CalibrationError
from calibration.measured_camera import CalibratedCamera, measured_sensor
from calibration.noise.model import NoiseModel
from calibration.psf.stack import PsfStack
from experiments.calibrating import load_stacks, numbered
from experiments.calibration_results import open_calibration
from experiments.comparing import compare_laid, summary, worse
from experiments.measured_psf import binned_psf
from experiments.settings import Settings, SettingsError, build
from experiments.store import ArtifactError, file_sha256, load_arrays, read_json, save_arrays
from experiments.twinning import Laid, load_laid
from optics import Camera

#: The calibrated camera of a run whose mask was frozen.
CALIBRATED = "calibrated.npz"
_SENSOR = (
    "system_gain", "black_level", "read_noise", "row_noise", "dark_current", "full_well", "prnu",
    "dsnu", "cfa",
)  # fmt: skip


def is_calibrated(settings: Mapping[str, Any]) -> bool:
    """Return whether `camera=calibrated` was chosen."""
    return "calibration" in settings["camera"]


def calibrated_camera(
    settings: Mapping[str, Any], design: Camera, mask_file: Path
) -> CalibratedCamera:
    """Return the camera that `settings["camera"]`, of `camera=calibrated`, describes."""
    camera: CalibratedCamera = build(settings["camera"], design=design, mask_file=mask_file)
    return camera


def open_calibrated(
    calibration: str | None, *, design: Camera, mask_file: Path
) -> CalibratedCamera:
    """Return a design as it was made and measured.

    Parameters
    ----------
    calibration : str
        "latest", or the folder of a run of calibrate.
    design : Camera
        Finished camera of the run.
    mask_file : Path
        Its mask, which has to be the one that was calibrated.

    Raises
    ------
    ArtifactError
        The calibration is missing, of another version, or without PSFs.
    CalibrationError
        It is of another mask, mode or colours, or its twin is worse than the bare design.
    """
    if calibration is None:
        raise SettingsError(
            "camera = calibrated needs a calibration: calibration=latest or a folder"
        )
    folder, record = open_calibration(calibration)
    _check_design(folder, record, design, mask_file)
    stacks = load_stacks(folder)
    field = min(range(len(stacks)), key=lambda k: math.hypot(*stacks[k].across))
    stack = stacks[field]
    laid = load_laid(_existing(numbered(folder, "design", field + 1)), design)
    if (folder / "twin.npz").exists() and int(record["twin_field"]) == field:
        laid = _no_worse(laid, load_laid(folder / "twin.npz", design), stack)
    noise = NoiseModel.from_dict(read_json(folder / "noise.json"))
    made = design.replace(sensor=measured_sensor(design.sensor, noise))
    readings = [float(value) for value in stack.readings]
    order = sorted(range(len(readings)), key=readings.__getitem__)
    with torch.no_grad():
        energy = made.psf(readings).sum((-2, -1)).to("cpu", torch.float64)
    psfs = [binned_psf(stack, laid, k, made, energy=energy[k]) for k in order]
    return CalibratedCamera(made, [readings[k] for k in order], torch.stack(psfs))


def _check_design(folder: Path, record: Mapping[str, Any], design: Camera, mask_file: Path) -> None:
    """Refuse a calibration of another mask, or of other colours."""
    calibrated = record["design"] or {}
    if calibrated.get("mask_sha256") != file_sha256(mask_file):
        name = calibrated.get("run") or calibrated.get("name") or "no design"
        raise CalibrationError(
            f"{folder.name} is a calibration of another mask ({name}) than {mask_file}: give the "
            f"calibration of that run, or run=<the run that was calibrated>"
        )
    waves = record["valid"]["wavelength_m"] or []
    own = [band.centre for band in design.sensor.bands]
    if len(waves) != len(own) or not np.allclose(waves, own, rtol=1e-6, atol=0):
        raise CalibrationError(
            f"{folder.name} holds for colours around {_nanometres(waves)}, the camera of the run "
            f"has {_nanometres(own)}: calibrate with its sensor"
        )


def _no_worse(laid: Laid, twin: Laid, stack: PsfStack) -> Laid:
    """Return the twin, which has to explain the stack no worse than the design as it was laid."""
    before, after = (summary(compare_laid([stack], [one])) for one in (laid, twin))
    if found := worse(before, after):
        raise CalibrationError(
            f"calibration refused: it is worse than the bare design ({'; '.join(found)}); use "
            f"the design as it is, or calibrate again"
        )
    return twin


def _nanometres(waves: list[float]) -> str:
    return ", ".join(f"{wave * 1e9:.4g}" for wave in waves) + " nm"


def _existing(path: Path) -> Path:
    if not path.exists():
        raise ArtifactError(
            f"{path.parent} laid no design on its PSFs, so nobody knows where their middle is: "
            f"calibrate again with design=<codesign run>"
        )
    return path


def save_calibrated(path: Path, camera: CalibratedCamera) -> None:
    """Keep what was measured; the design is kept by its run."""
    sheet = {name: getattr(camera.sensor, name) for name in _SENSOR}
    save_arrays(
        path,
        {
            "psfs": camera.psfs.cpu().numpy(),
            "distances_m": camera.distances.cpu().numpy(),
            "sensor": np.frombuffer(json.dumps(sheet).encode(), np.uint8),
        },
    )


def load_calibrated(path: Path, design: Camera) -> CalibratedCamera:
    """Read what `save_calibrated` kept of the camera with this design.

    Raises
    ------
    ArtifactError
        The file is missing or damaged.
    """
    arrays = load_arrays(path)
    try:
        sheet = {name: json.loads(arrays["sensor"].tobytes())[name] for name in _SENSOR}
        made = design.replace(sensor=replace(design.sensor, **sheet))
        return CalibratedCamera(
            made, arrays["distances_m"].tolist(), torch.from_numpy(arrays["psfs"])
        )
    except (KeyError, ValueError, TypeError) as error:
        raise ArtifactError(f"{path} holds no calibrated camera: {error}") from error


def within_reach(settings: Settings, camera: CalibratedCamera) -> Settings:
    """Return the settings with only distances at which the camera was measured.

    Raises
    ------
    CalibrationError
        The reference distance is beyond them.
    """
    near, far = camera.near, camera.far
    reference = settings["reference_distance"]
    camera.check_distance(reference)
    evaluation = Settings(settings["evaluation"], "evaluation")
    evaluation["distances"] = [d for d in evaluation["distances"] if camera.reaches(d)]
    out = Settings(settings, settings.path)
    out["evaluation"] = evaluation
    out["nearest"] = min(max(settings["nearest"], near), reference)
    out["farthest"] = max(min(settings["farthest"], far), reference)
    return out
