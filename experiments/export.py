"""Write a learned mask as files for its maker, check them, and read them back.

The mask is checked against the rules of the process, written, parsed again and compared, and the
mask that the files describe is put back into the camera, as it is and with errors of the making.

    ./lab export run=latest target=gds                        the newest co-design run
    ./lab export run=latest target=greyscale process=greyscale_laser
    ./lab export run=latest target=stl process=two_photon faces=sensor
    ./lab export surface=relief.npz surface_material=fused_silica target=oasis target.levels=16
"""

import logging
from pathlib import Path

import numpy as np

from experiments.cameras import LEARNED
from experiments.described import stored_settings
from experiments.design import Codesign
from experiments.exporting import (
    Exported,
    as_mask,
    as_meant,
    check_faces,
    design_of,
    log_report,
    peak_memory,
    write_files,
)
from experiments.launch import find_run, run_job
from experiments.preview import SHOWN, Preview, Seen, as_made, check_preview, corners
from experiments.report.export_sheet import export_sheet
from experiments.report.sheet import write_sheet
from experiments.settings import Settings, SettingsError, build
from experiments.store import save_json
from hardware.fabrication.design import MaskDesign
from hardware.fabrication.measured import read_measured
from hardware.fabrication.rules import Process
from hardware.fabrication.target import Target
from optics import material

log = logging.getLogger(__name__)


def main(settings: Settings, run: Path) -> None:
    """Export one mask."""
    logging.getLogger("ezdxf").setLevel(logging.ERROR)  # it tells about its own defaults
    target: Target = build(settings["target"])
    process: Process = build(settings["process"])
    work, design = source_of(settings)
    estimate = target.estimate(design)
    log.info(
        "%s: %d x %d cells, about %.1f MB%s", target.name, *design.shape[::-1],
        estimate.size / 1e6, f"; {estimate.remark}" if estimate.remark else "",
    )  # fmt: skip
    report = process.check(as_meant(design, target), target.relief_levels(), estimate=estimate)
    log_report(process, report)
    metrics: dict[str, float] = {"rules/failed": float(len(report.failed))}
    if report.failed and not settings["force"]:  # the page shows where
        save_json(run / "metrics.json", metrics)
        sheet = export_sheet(design, target, process, report, None, {})
        write_sheet(run, sheet)
        report.require()
    exported = write_files(
        target, design, report, run / "mask", faces=settings["faces"], force=settings["force"]
    )
    trip = exported.trip
    log.info(
        "%.1f s, %.1f MB; read back: %d cells off, %.3g m at most",
        exported.seconds, exported.size / 1e6, trip.area_error, trip.max_height_error,
    )  # fmt: skip
    seen: dict[str, Seen] = {}
    if work is not None and settings["preview"] and target.holds_relief:
        seen = preview(settings, work, target, exported)
    metrics |= {
        "seconds": exported.seconds,
        "peak_mib": peak_memory(),
        "bytes": float(exported.size),
        "readback/max_height_error_m": trip.max_height_error,
        "readback/area_error_cells": float(trip.area_error),
        "readback/volume_error": trip.volume_error,
    }
    for name, one in seen.items():
        metrics |= {f"{name}/{key}": one.metrics[key] for key in SHOWN if key in one.metrics}
    save_json(run / "metrics.json", metrics)
    write_sheet(run, export_sheet(design, target, process, report, exported, seen))


def source_of(settings: Settings) -> tuple[Codesign | None, MaskDesign]:
    """Return the run, if it is one, and the mask that is to be made."""
    if settings["surface"] is not None:
        return None, design_from_file(settings)
    source = find_run("codesign", str(settings["run"]))
    work = Codesign(stored_settings(source, settings), source)
    return work, design_of(work.camera(LEARNED), name=settings["name"])


def design_from_file(settings: Settings) -> MaskDesign:
    """Design from a height map that comes from elsewhere."""
    path = Path(settings["surface"])
    found = read_measured(path)
    if not np.isclose(found.spacing_x, found.spacing_y, rtol=1e-6, atol=0):
        raise SettingsError(
            f"surface = {path.name}: samples {found.spacing_x:g} m apart in x and "
            f"{found.spacing_y:g} m in y; a mask has square cells, resample it"
        )
    made_of = material(settings["surface_material"])
    wavelength = settings["surface_wavelength"]
    return MaskDesign(
        found.height,
        found.spacing_x,
        wavelength=wavelength,
        index=float(made_of.index(wavelength)),
        material=made_of.name,
        index_source=made_of.source,
        diameter=min(found.height.shape) * found.spacing_x,
        name=settings["name"],
    )


def preview(
    settings: Settings, work: Codesign, target: Target, exported: Exported
) -> dict[str, Seen]:
    """Look through the design and through the mask of the files, with errors of the making."""
    levels = target.relief_levels()
    camera = work.camera(LEARNED)
    mask = as_mask(exported.found, camera, levels=levels, flat=target.flat_cells)
    bench = Preview(work, pictures=settings["pictures"], nodes=settings["nodes"])
    count = levels.count if levels else 0
    shown = {"design": bench.look(camera, label="design", progress=settings["progress"])}
    for name, errors in corners(levels=count, **settings["corners"]).items():
        made = as_made(camera, mask, errors, levels=count)
        shown[name] = bench.look(made, label=name, progress=settings["progress"])
        log.info("%-18s %s", name, shown[name].line())
    return shown


def check(settings: Settings) -> None:
    """Refuse settings that cannot work, before anything is written."""
    if (settings["run"] is None) == (settings["surface"] is None):
        raise SettingsError(
            "export needs the mask: run=latest, the folder of a run, or surface=<npz or csv>; "
            "one of them"
        )
    check_preview(settings)
    for value in settings["corners"]["etch_scale"]:
        if not -1 < value < 1:
            raise SettingsError(f"corners.etch_scale = {value:g}: above -1 and below 1 is needed")
    for value in settings["corners"]["blur"]:
        if value < 0:
            raise SettingsError(f"corners.blur = {value:g} m: zero or more is needed")
    target: Target = build(settings["target"])
    corners(levels=2 if target.relief_levels() else 0, **settings["corners"])
    build(settings["process"])
    check_faces(target, settings["faces"])
    _, design = source_of(settings)
    try:  # what a format refuses depends on the mask
        target.estimate(design)
        target.meant(design)
    except ValueError as error:
        raise SettingsError(f"target = {target.name}: {error}") from error


if __name__ == "__main__":
    run_job("export", main, check=check)
