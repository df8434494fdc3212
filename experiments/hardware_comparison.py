"""What `./lab compare hardware` compares: designs, exported masks, twins, and their use."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import OmegaConf

from calibration.errors import CalibrationError
from calibration.psf.stack import PsfStack
from experiments.calibrating import Design, described, design_record, numbered
from experiments.cameras import LEARNED
from experiments.described import stored_settings
from experiments.design import Codesign
from experiments.exporting import as_mask
from experiments.measured_psf import binned_psf
from experiments.preview import Preview, Seen, as_made
from experiments.runs import CONFIG, find_run
from experiments.settings import Settings, build, to_si
from experiments.store import ArtifactError, read_json
from experiments.twinning import Laid, load_laid
from hardware.fabrication.sidecar import read_sidecar
from hardware.fabrication.target import Target, Written
from optics import Camera, Errors

_FOLDER, _SIDECAR = "mask", "mask.json"


@dataclass(frozen=True, eq=False)
class Candidates:
    """What is compared with what was measured.

    Attributes
    ----------
    folder : Path
        The calibration.
    record : mapping
        What it says of itself.
    stacks : list of PsfStack
        What was measured.
    twin_field : int
        Which of them is compared.
    design : Design
        What was meant.
    cameras : dict of str to Camera
        "design", and "as exported" if an export was given.
    laid : dict of str to Laid
        Those that the calibration has laid already: its own design and its twin.
    source_diameter : float
        Of the pinhole [m].
    why_no_preview : str
        Why nothing can look through the measured PSF, or "".
    """

    folder: Path
    record: Mapping[str, Any]
    stacks: list[PsfStack]
    twin_field: int
    design: Design
    cameras: dict[str, Camera]
    laid: dict[str, Laid]
    source_diameter: float
    why_no_preview: str


def candidates(
    settings: Settings, folder: Path, record: Mapping[str, Any], stacks: list[PsfStack]
) -> Candidates:
    """Return what a calibration and the settings name.

    Raises
    ------
    CalibrationError
        The calibration knows no design and none was given.
    """
    own = settings["design"] == "calibration"
    if own and record["design"] is None:
        raise CalibrationError(
            f"{folder.name} was made without a design: give design=latest or the folder of a run"
        )
    design = described(record["design"] if own else design_record(settings["design"]))
    cameras = {"design": design.camera}
    if settings["export"] is not None:
        cameras["as exported"] = exported_camera(settings["export"], design.camera)
    field = int(record["twin_field"])
    laid = {}
    if own:
        for name, path in (
            ("design", numbered(folder, "design", field + 1)),
            ("twin", folder / "twin.npz"),
        ):
            if path.exists():
                laid[name] = load_laid(path, design.camera)
    given = settings["source_diameter"]
    return Candidates(
        folder=folder,
        record=record,
        stacks=stacks,
        twin_field=field,
        design=design,
        cameras=cameras,
        laid=laid,
        source_diameter=float(record["source_diameter_m"]) if given is None else given,
        why_no_preview=_why_not(design),
    )


def _why_not(design: Design) -> str:
    if design.run is not None:
        return ""
    return (
        f"The design ({design.record['name']}) was described, not learned: it has no landmark "
        f"network and no attackers of its own to look through the measured PSF. With "
        f"rig.design=<co-design run> on the bench it has."
    )


def exported_camera(which: str, design: Camera) -> Camera:
    """Return the design with the mask that exported files describe.

    Parameters
    ----------
    which : str
        Folder of a run of export, or "latest".
    design : Camera
        The design.

    Raises
    ------
    ArtifactError
        The files are missing, were changed, or hold no surface.
    """
    run = find_run("export", which)
    target: Target = build(to_si(OmegaConf.create(read_json(run / CONFIG)))["target"])
    folder = run / _FOLDER
    if not target.holds_relief:
        raise ArtifactError(f"{run}: target {target.name} holds no surface to look through")
    sheet = cast(dict[str, Any], read_sidecar(folder / _SIDECAR))
    files = [folder / entry["name"] for entry in sheet["files"]]
    notes = sheet["target"]["notes"]
    found = target.read(folder, Written(files, notes))
    if notes["mirrored"]:
        found = type(found)(**{**vars(found), "height": found.height[:, ::-1].copy()})
    levels = target.relief_levels()
    mask = as_mask(found, design, levels=levels, flat=target.flat_cells)
    return as_made(design, mask, Errors(), levels=levels.count if levels else 0)


def look_through(
    settings: Settings, found: Candidates, stack: PsfStack, laid: Mapping[str, Laid]
) -> tuple[dict[str, Seen], str]:
    """Let the design's own network and attackers look: through design and measured PSF.

    Returns
    -------
    tuple
        What was seen by "design" and "as measured", and why nothing was, or "".
    """
    if found.design.run is None:
        return {}, found.why_no_preview
    work = Codesign(stored_settings(found.design.run, settings), found.design.run)
    reference = work.protocol.reference
    readings = [float(value) for value in stack.readings]
    depth = min(range(stack.depths), key=lambda k: abs(1 / readings[k] - 1 / reference))
    camera = work.camera(LEARNED)
    bench = Preview(
        work, pictures=settings["pictures"], nodes=settings["nodes"], distance=readings[depth]
    )
    progress = settings["progress"]
    seen = {"design": bench.look(camera, label="design", progress=progress)}
    best = laid.get("twin", laid["design"])
    energy = seen["design"].psf.sum((-2, -1))
    try:
        measured = binned_psf(stack, best, depth, camera, energy=energy)
    except CalibrationError as error:
        return seen, f"The measured PSF could not be looked through: {error}."
    on_device = measured.to(next(camera.parameters(), torch.zeros(1)).device)
    seen["as measured"] = bench.look(
        camera, label="as measured", progress=progress, psf=on_device.to(seen["design"].psf.dtype)
    )
    for name, own in laid.items():
        if name not in ("design", "twin"):
            seen[name] = bench.look(own.design, label=name, progress=progress)
    return seen, ""
