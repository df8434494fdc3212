"""Lay the measured surface of a mask on its design: what was made, what to order next.

The scan is registered to the design. Written are the surface as made, its residual and the
pre-compensated heights for the next print; with a run, the camera is looked through with the mask
as it was made.

    ./lab measured run=latest scan=profile.csv                 the newest co-design run
    ./lab measured run=latest scan=profile.npz levels=8 y=up
    ./lab measured run=latest scan=profile.dat faces=sensor orientations=all max_height='2 um'
    ./lab measured surface=design.npz scan=second.npz ordered=runs/measured/latest/next.npz
"""

import logging
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from calibration.relief.precompensation import Precompensation
from experiments.cameras import LEARNED
from experiments.design import Codesign
from experiments.export import source_of
from experiments.launch import run_job
from experiments.measuring import (
    Comparison,
    along_light,
    check_scan,
    compare,
    made_camera,
    next_heights,
    numbers,
    on_levels,
)
from experiments.preview import SHOWN, Preview, Seen, check_preview
from experiments.report.measured_sheet import measured_sheet
from experiments.report.sheet import write_sheet
from experiments.settings import Settings, SettingsError
from experiments.store import save_arrays, save_json
from hardware.fabrication.design import MaskDesign
from hardware.fabrication.levels import Levels
from hardware.fabrication.measured import Measured, read_measured
from optics import Camera

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """What a job works on.

    Attributes
    ----------
    work : Codesign or None
        The run of the mask, None where the design came as a file.
    camera : Camera or None
        Its camera.
    design : MaskDesign
        What was meant.
    ordered : MaskDesign
        What was ordered.
    max_height : float
        Highest that the process makes [m].
    """

    work: Codesign | None
    camera: Camera | None
    design: MaskDesign
    ordered: MaskDesign
    max_height: float


def main(settings: Settings, run: Path) -> None:
    """Compare one scan with its design."""
    task = opened(settings)
    scan = along_light(_scan(settings["scan"], settings["y"]), settings["faces"])
    log.info(
        "%s: %d x %d points of %.3g x %.3g um, %.1f %% measured", scan.source,
        *scan.height.shape[::-1], scan.spacing_x * 1e6, scan.spacing_y * 1e6,
        100 * scan.valid.mean(),
    )  # fmt: skip
    comparison = compare(
        scan, task.design, max_turn=settings["max_turn"], orientations=settings["orientations"]
    )
    correction = next_heights(
        comparison, task.ordered, max_height=task.max_height, gain=settings["gain"],
        low_pass=settings["low_pass"],
    )  # fmt: skip
    metrics = numbers(comparison, correction)
    _tell(metrics)
    seen: dict[str, Seen] = {}
    if task.work is not None and task.camera is not None and settings["preview"]:
        seen = look(task.work, task.camera, comparison, settings)
    for name, one in seen.items():
        metrics |= {f"{name}/{key}": one.metrics[key] for key in SHOWN if key in one.metrics}
    spacing = np.array(task.design.spacing)
    for name, height in (
        ("as_made", comparison.as_made),
        ("residual", comparison.residual),
        ("next", correction.design.height),
    ):
        save_arrays(run / f"{name}.npz", {"height_m": height, "spacing_m": spacing})
    save_json(run / "metrics.json", metrics)
    write_sheet(run, measured_sheet(comparison, task.ordered, correction, metrics, seen))


def look(
    work: Codesign, camera: Camera, comparison: Comparison, settings: Settings
) -> dict[str, Seen]:
    """Look through the design and through the mask as it was made."""
    bench = Preview(work, pictures=settings["pictures"], nodes=settings["nodes"])
    found = {}
    for name, one in (("design", camera), ("as_made", made_camera(camera, comparison))):
        found[name] = bench.look(one, label=name, progress=settings["progress"])
        log.info("%-8s %s", name, found[name].line())
    return found


def opened(settings: Settings) -> Task:
    """Return the design, what was ordered, and the range of the process.

    Raises
    ------
    SettingsError
        The run or the files of the design do not fit together.
    """
    highest = settings["max_height"]
    work, drawn = source_of(settings)
    camera = None if work is None else work.camera(LEARNED)
    if work is not None and highest is None:
        highest = work.settings["mask"].get("max_height")
    design = on_levels(drawn, levels=settings["levels"], waves=settings["waves"])
    ordered = design
    if settings["ordered"] is not None:
        ordered = _ordered(Path(settings["ordered"]), design)
    top = float(ordered.height[ordered.clear].max())
    if highest is None:
        highest = top
    elif highest < top * (1 - 1e-9):
        raise SettingsError(
            f"max_height = {highest * 1e6:.4g} um is below the highest of the mask that was "
            f"ordered, {top * 1e6:.4g} um: give the range of the process"
        )
    return Task(work, camera, design, ordered, highest)


def _ordered(path: Path, design: MaskDesign) -> MaskDesign:
    found = read_measured(path)
    same = np.allclose([found.spacing_x, found.spacing_y], design.spacing, rtol=1e-6, atol=0)
    if found.height.shape != design.shape or not same or not found.valid.all():
        raise SettingsError(
            f"ordered = {path.name}: {found.height.shape[0]} x {found.height.shape[1]} cells of "
            f"{found.spacing_x * 1e6:g} um, {int((~found.valid).sum())} without a height; the "
            f"design has {design.shape[0]} x {design.shape[1]} of {design.spacing * 1e6:g} um: "
            f"give the next.npz of this design"
        )
    return replace(design, height=found.height)


@lru_cache(maxsize=1)  # the check has read it: a large table takes a minute
def _scan(path: str, y: Literal["down", "up"]) -> Measured:
    return read_measured(Path(path), y=y)


def _tell(metrics: dict[str, float]) -> None:
    """Say where the design lies and how well it was made."""

    def pair(key: str, factor: float) -> str:
        return f"{metrics[key] * factor:.4g} +- {metrics[f'uncertainty/{key}'] * factor:.2g}"

    log.info(
        "shift %s, %s um; turn %s mrad; size %s, %s", pair("shift_x_m", 1e6),
        pair("shift_y_m", 1e6), pair("turn_rad", 1e3), pair("scale_x", 1), pair("scale_y", 1),
    )  # fmt: skip
    log.info(
        "taken off: tilt %s, %s mrad; mirrored %d, quarter turns %d", pair("tilt_x_rad", 1e3),
        pair("tilt_y_rad", 1e3), metrics["mirrored"], metrics["quarter_turns"],
    )  # fmt: skip
    log.info(
        "depth scale %s; blur %.3g um; residual %.1f nm rms, 95 %% below %.1f nm",
        pair("depth_scale", 1), metrics["blur_m"] * 1e6, metrics["residual_rms_m"] * 1e9,
        metrics["residual_95_m"] * 1e9,
    )  # fmt: skip
    log.info(
        "%d of %d cells were not measured and are those of the design; next: %.1f nm rms change, "
        "%d cells at the limit of the process", metrics["unmeasured_cells"], metrics["cells"],
        metrics["next/change_rms_m"] * 1e9, metrics["next/limited_cells"],
    )  # fmt: skip


_CHOICES = {
    "y": ("down", "up"),
    "faces": ("object", "sensor"),
    "orientations": ("given", "all"),
}


def check(settings: Settings) -> None:
    """Refuse settings that cannot work, before anything is written."""
    if settings["scan"] is None:
        raise SettingsError(
            "scan has no default; give the measured surface: scan=<npz, csv or dat>"
        )
    if (settings["run"] is None) == (settings["surface"] is None):
        raise SettingsError(
            "measured needs the design: run=latest, the folder of a run, or surface=<npz or csv>; "
            "one of them"
        )
    for key, allowed in _CHOICES.items():
        if settings[key] not in allowed:
            raise SettingsError(f"{key} = {settings[key]!r}, expected {' or '.join(allowed)}")
    if settings["levels"]:
        Levels(settings["levels"], settings["waves"])
    if not 0 <= settings["max_turn"] <= np.pi:
        raise SettingsError(
            f"max_turn = {np.degrees(settings['max_turn']):g} deg: 0 to 180 deg are allowed"
        )
    Precompensation(0.0, 1.0, gain=settings["gain"], blur=settings["low_pass"])
    check_preview(settings)
    scan = _scan(settings["scan"], settings["y"])
    check_scan(scan, opened(settings).design)


if __name__ == "__main__":
    run_job("measured", main, check=check)
