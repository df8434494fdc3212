"""A mask on its way out: what is to be made, its files, and what came back from them."""

import logging
import math
import resource
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from experiments.store import ArtifactError, ResourceError, atomic_write, require_space, sync_folder
from hardware.fabrication.design import Faces, HeightMap, MaskDesign
from hardware.fabrication.findings import Report
from hardware.fabrication.levels import Levels
from hardware.fabrication.rules import Process
from hardware.fabrication.sidecar import build_sidecar, sidecar_text
from hardware.fabrication.target import Plain, RoundTrip, Target, Written
from optics import Camera, GivenSurface, Mask

log = logging.getLogger(__name__)

SIDECAR = "mask.json"
#: A lens turns the picture over; the map is in the orientation of the upright picture.
MOUNTING = (
    "seen along the light, with the scene upright, the map stands turned by 180 degrees: its first "
    "row at the bottom, its first column on the right"
)
#: Libraries whose versions go into the sidecar, where they are installed.
_TOOLS = ("veilens", "numpy", "gdstk", "ezdxf", "trimesh", "tifffile", "pillow", "h5py")


@dataclass(frozen=True)
class Exported:
    """Files that were written and read again.

    Attributes
    ----------
    folder : Path
        Where they are.
    written : Written
        Their names and notes.
    found : HeightMap
        Surface read back, seen along the light.
    trip : RoundTrip
        Its difference to the surface that was meant.
    seconds : float
        Time to write and read [s].
    size : int
        All files [bytes].
    """

    folder: Path
    written: Written
    found: HeightMap
    trip: RoundTrip
    seconds: float
    size: int


def design_of(camera: Camera, *, name: str) -> MaskDesign:
    """Mask of a camera as a design for a maker.

    Raises
    ------
    ValueError
        The mask is no single relief of one material.
    """
    mask: Mask = camera.mask
    layers = mask.layers(torch.tensor([mask.design_wavelength], dtype=torch.float64))
    if len(layers) != 1:
        raise ValueError(
            f"{type(mask).__name__} is made of {len(layers)} materials: export its parts one by one"
        )
    with torch.no_grad():
        height = mask.height().cpu().numpy().astype(np.float64)
    side = min(height.shape) * mask.cell
    return MaskDesign(
        height,
        mask.cell,
        wavelength=mask.design_wavelength,
        index=float(mask.material.index(mask.design_wavelength)),
        material=mask.material.name,
        index_source=mask.material.source,
        diameter=min(camera.aperture_diameter, side),
        pixelated=mask.pixelated,
        name=name,
    )


def as_meant(design: MaskDesign, target: Target) -> MaskDesign:
    """Return the design with the heights that the files will hold, where they have its cells.

    The rules of a process are about what is made: a relief that is wrapped or rounded on its way
    into the files is judged after that.
    """
    if not target.holds_relief:
        return design
    meant = target.meant(design)
    alike = math.isclose(meant.spacing, design.spacing, rel_tol=1e-6)
    if meant.shape != design.shape or not alike:
        return design
    return replace(design, height=meant.height)


def write_files(
    target: Target,
    design: MaskDesign,
    report: Report,
    folder: Path,
    *,
    faces: Faces,
    force: bool,
) -> Exported:
    """Write, read back, compare and describe; the folder appears whole or not at all.

    Parameters
    ----------
    target : Target
        The format.
    design : MaskDesign
        The mask, seen along the light.
    report : Report
        Outcome of the design rules.
    folder : Path
        Folder to make; it must not be there yet.
    faces : {"object", "sensor"}
        Which way the relief faces in the camera.
    force : bool
        Mark the files as failed where a rule is broken or cells come back wrong, instead of
        refusing to write them.

    Raises
    ------
    DesignRuleError
        A rule is broken and `force` is not set; nothing is written.
    ArtifactError
        What was read back is not what was meant and `force` is not set; nothing is left behind.
    ResourceError
        `folder` is there already, or the disk is full or refuses to be written on; nothing is left
        behind.
    ValueError
        `faces` is unknown, or the target has a `faces` of its own that contradicts it.
    """
    check_faces(target, faces)
    if not force:
        report.require()
    if folder.exists():
        raise ResourceError(
            f"{folder} is there already; choose another place with hydra.run.dir=, or move it away"
        )
    turned = faces == "sensor" and not target.seen_along_light
    seen = design.as_seen("sensor" if turned else "object")
    estimate = target.estimate(seen)
    require_space(folder.parent, estimate.size)
    begun = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(begun, ignore_errors=True)  # of an export that was killed
    try:
        begun.mkdir(parents=True)
        start = time.monotonic()
        written = target.write(seen, begun)
        found = target.read(begun, written)
        trip = target.compare(seen, found)
        seconds = time.monotonic() - start
        wrong = [finding.line() for finding in report.failed]
        if not trip.exact:
            wrong.append(
                f"{trip.area_error} cells came back wrong, by {trip.max_height_error:.3g} m at most"
            )
            if not force:
                raise ArtifactError(
                    f"{target.name}: {wrong[-1]}; nothing is left of the files. Take another "
                    f"target, or force=true, which marks them as failed"
                )
        notes: dict[str, Plain] = {"relief_faces": faces, "mirrored": turned, "mounting": MOUNTING}
        if wrong:
            notes["failed"] = list(wrong)
        sheet = build_sidecar(
            seen,
            target.name,
            options=options_of(target),
            notes=notes | dict(written.notes),
            findings=report.findings,
            round_trip=trip,
            files=written.files,
            tools=_versions(),
            levels=target.relief_levels(),
        )
        sheet["failed"] = bool(wrong)
        atomic_write(begun / SIDECAR, sidecar_text(sheet).encode())
        size = sum(file.stat().st_size for file in begun.iterdir())
        sync_folder(begun)
        begun.rename(folder)
    except OSError as error:
        raise ResourceError(
            f"{folder} could not be written: {error.strerror or error}; nothing is left of it. "
            f"Make room, or choose another place with hydra.run.dir="
        ) from error
    finally:
        shutil.rmtree(begun, ignore_errors=True)
    with suppress(OSError):  # the files are whole and read back; only their name is not yet safe
        sync_folder(folder.parent)
    files = [folder / file.name for file in written.files]
    along = replace(found, height=found.height[:, ::-1].copy()) if turned else found
    return Exported(folder, replace(written, files=files), along, trip, seconds, size)


def check_faces(target: Target, faces: str) -> None:
    """Raise ValueError unless `faces` is known and is what the target has in its own options."""
    own = getattr(target, "faces", faces)
    if faces not in ("object", "sensor") or own != faces:
        raise ValueError(
            f"faces = {faces!r}, target.faces = {own!r}: object or sensor, the same for both; "
            f"leave target.faces alone and set faces"
        )


def options_of(target: Target) -> dict[str, Plain]:
    """Options of a target as plain values; a length stands under a key with its unit."""
    out: dict[str, Plain] = {}
    for item in fields(target):  # type: ignore[arg-type]
        value = getattr(target, item.name)
        if isinstance(value, float):
            out[f"{item.name}_{target.units.get(item.name, 'm')}"] = value
        elif isinstance(value, Path):
            out[item.name] = value.name
        elif isinstance(value, Sequence) and not isinstance(value, str):
            lengths = any(isinstance(entry, float) for entry in value)
            out[f"{item.name}_m" if lengths else item.name] = list(value)
        else:
            out[item.name] = value
    return out


def as_mask(
    found: HeightMap, camera: Camera, *, levels: Levels | None, flat: bool | None = None
) -> GivenSurface:
    """Surface from outside in the place of a camera's mask: same material, same wavelength.

    Samples as wide as whole cells of the design are flat cells as they were; others stand for a
    smooth surface, and are made as fine as the camera's window asks for. Of a surface that is not
    square, the square in the middle is taken.

    Parameters
    ----------
    found : HeightMap
        Surface, seen along the light.
    camera : Camera
        With the design as its mask.
    levels : Levels, optional
        Levels of the files, which say where the relief is wrapped now.
    flat : bool, optional
        Whether samples are flat cells, where the device decides that and not the design.
    """
    mask = camera.mask
    ratio = found.spacing / mask.cell
    whole = round(ratio) > 0 and abs(ratio - round(ratio)) < 1e-6
    pixelated = mask.pixelated and whole if flat is None else flat
    height, spacing = found.height, found.spacing
    odd = (height.shape[1] - height.shape[0]) % 2  # then the middle lies half a sample off
    if pixelated:
        if odd:
            height, spacing = np.repeat(np.repeat(height, 2, 0), 2, 1), spacing / 2
    else:
        shortest = min(band.shortest for band in camera.sensor.bands)
        finest = shortest * camera.sensor_distance / (camera.window * camera.sensor.pitch)
        sampled = abs(ratio - 1) < 1e-6 and not mask.pixelated  # as the design itself is
        parts = 1 if sampled else math.ceil(spacing / (0.98 * finest))
        parts += parts * odd % 2
        if parts > 1:
            height = ndimage.zoom(height, parts, order=3, mode="nearest", grid_mode=True)
        spacing /= parts
    rows, columns = height.shape
    side = min(rows, columns)
    top, left = (rows - side) // 2, (columns - side) // 2
    square = np.ascontiguousarray(height[top : top + side, left : left + side])
    return GivenSurface(
        torch.from_numpy(square),
        cell=spacing,
        material=mask.material.name,
        design_wavelength=mask.design_wavelength,
        pixelated=pixelated,
        wrap_height=levels.waves * mask.turn_height if levels else mask.wrap_height,
    )


def peak_memory() -> float:
    """Most memory the process has held [MiB]."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def log_report(process: Process, report: Report) -> None:
    """Say the outcome of the design rules."""
    kept = len(report.findings) - len(report.failed)
    log.info("design rules: %d of %d kept", kept, len(report.findings))
    for line in report.summary():
        log.info("  %s", line)


def _versions() -> Mapping[str, str]:
    out = {}
    for name in _TOOLS:
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            continue
    return out
