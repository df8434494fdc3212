"""What a calibration has found so far, its numbers, and its files for readers.

``calibration.json`` says what the results were made of (hashes), where they hold (mode,
temperature, distances, wavelengths), which stages are done, and why one failed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from calibration.noise.model import NoiseModel
from calibration.psf.hdr import decibels
from calibration.psf.spot import MeasuredPsf
from calibration.psf.stack import PsfStack
from calibration.uncertainty import Uncertain
from experiments.calibrating import Design, numbered
from experiments.comparing import Row, sheet, summary
from experiments.runs import find_run
from experiments.store import ArtifactError, read_json, save_json
from experiments.twinning import Laid
from optics.camera import Camera

SCHEMA_VERSION = 1
RESULTS = "calibration.json"

_UNITS = {
    "psf*.npz": "rate [e-/s], variance [e-^2/s^2], readings [m], pixel_pitch [m]",
    "design.npz, twin.npz": "expected, ambient [e-/s]",
    "noise.json": "system_gain [DN/e-], black_level [DN], noise, wells, dsnu [e-], "
    "dark_current [e-/s], prnu relative",
    "transfer.json": "signal above the dark [DN], variance [DN^2]",
    "twin.json": "by parameter, see units",
}


@dataclass
class Results:
    """What is known so far.

    Attributes
    ----------
    inputs : mapping
        Sessions by their hashes.
    valid : mapping
        Where the results hold.
    done : list of str
        Stages that are done.
    failed : str
        Why a stage failed, or "".
    notes : list of str
        What makes numbers doubtful.
    noise : NoiseModel or None
        Of the sensor.
    transfer : mapping or None
        Points of its photon transfer.
    stacks : list of PsfStack
        What was measured.
    measured : dict
        Step to what its PSF is by itself; None where it could not be measured.
    design : Design or None
        What the camera was meant to be.
    laid, rows : list
        The design on the stacks, and how it compares.
    twin, twin_rows
        The camera as it was made on one of them, and how it compares.
    twin_field : int
        Which stack that is.
    source_diameter : float
        Of the pinhole before the source [m].
    truth : mapping or None
        What a bench hides; nothing but the report and its numbers reads it.
    """

    inputs: Mapping[str, Any]
    valid: Mapping[str, Any] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    failed: str = ""
    notes: list[str] = field(default_factory=list)
    noise: NoiseModel | None = None
    transfer: Mapping[str, Any] | None = None
    stacks: list[PsfStack] = field(default_factory=list)
    measured: dict[str, MeasuredPsf | None] = field(default_factory=dict)
    design: Design | None = None
    laid: list[Laid] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    twin: Laid | None = None
    twin_rows: list[Row] = field(default_factory=list)
    twin_field: int = 0
    source_diameter: float = 0.0
    truth: Mapping[str, Any] | None = None


def write_results(
    run: Path, results: Results, thresholds: Mapping[str, Mapping[str, float]]
) -> None:
    """Write numbers and the page of what there is."""
    from experiments.report.calibration_sheet import calibration_sheet
    from experiments.report.sheet import write_sheet

    metrics = numbers(results)
    save_json(run / "metrics.json", _with_reasons(metrics, results))
    if results.rows:
        save_json(
            run / "comparison.json",
            {"design": sheet(results.rows), "twin": sheet(results.twin_rows)},
        )
    save_json(
        run / RESULTS,
        {
            "schema_version": SCHEMA_VERSION,
            "state": "failed" if results.failed else "whole",
            "failed": results.failed,
            "stages": list(results.done),
            "inputs": dict(results.inputs),
            "valid": dict(results.valid),
            "design": None if results.design is None else dict(results.design.record),
            "source_diameter_m": results.source_diameter,
            "twin_field": results.twin_field,
            "units": _UNITS,
            "notes": _unique(results.notes),
        },
    )
    write_sheet(run, calibration_sheet(results, metrics, thresholds))


def open_calibration(which: str) -> tuple[Path, dict[str, Any]]:
    """Return folder and record of a calibration that has PSFs.

    Parameters
    ----------
    which : str
        "latest", or the folder of a run of calibrate.

    Raises
    ------
    ArtifactError
        The calibration is missing, of another version, or without PSFs.
    """
    folder = find_run("calibrate", which)
    record = dict(read_json(folder / RESULTS))
    if record.get("schema_version") != SCHEMA_VERSION:
        raise ArtifactError(
            f"{folder / RESULTS}: schema_version = {record.get('schema_version')!r}, this program "
            f"reads {SCHEMA_VERSION}; calibrate again"
        )
    if not numbered(folder, "psf", 1).exists():
        raise ArtifactError(f"{folder} holds no PSFs ({record['failed'] or 'no stage was done'})")
    return folder, record


def numbers(results: Results) -> dict[str, float]:
    """Return the final numbers, flat."""
    out: dict[str, float] = {}
    if results.noise is not None:
        out |= _noise_numbers(results.noise)
    if results.stacks:
        out["psf/dynamic_range_db"] = min(
            dynamic_range(stack, depth) for stack in results.stacks for depth in range(stack.depths)
        )
    if results.rows:
        found = summary(results.rows)
        out["psf/ncc_to_design"] = found["ncc"]
        out["psf/relative_l2_to_design"] = found["relative_l2"]
        if "mtf50_cy_per_px" in found:
            out["mtf50_cy_per_px"] = found["mtf50_cy_per_px"]
    fit = None if results.twin is None else results.twin.fit
    if fit is not None:
        out |= {"twin/ncc": fit.correlation, "twin/chi2_per_pixel": fit.chi_square}
        for name, estimate in fit.estimates.items():
            out[f"twin/{name}"] = estimate.value
            out[f"twin/{name}_sigma"] = estimate.uncertainty
        for name, value in truths(results).items():
            if name in fit.estimates:
                out[f"twin/{name}_truth"] = value
    return out


def mean_of(noise: NoiseModel, name: str) -> Uncertain | None:
    """Mean of a number over the planes that have it; None where none was measured."""
    every = [getattr(plane, name) for plane in noise.planes.values()]
    values = [value for value in every if value is not None]
    if not values:
        return None
    count = len(values)
    return Uncertain(
        sum(v.value for v in values) / count,
        math.sqrt(sum(v.uncertainty**2 for v in values)) / count,
    )


def dynamic_range(stack: PsfStack, depth: int) -> float:
    """Brightest pixel over the noise of the dimmest tenth, background taken off [dB].

    The noise is that of the variance map, which the exposures have to bear out (their chi-square);
    the scatter of the pixels around the spot holds the wings of the spot besides.
    """
    valid = stack.valid[depth]
    rate, variance = stack.rate[depth][valid], stack.variance[depth][valid]
    limit = np.quantile(rate, 0.1)
    floor = math.sqrt(float(np.median(variance[rate <= limit])))
    return decibels(float(rate.max() - limit) / floor)


def truths(results: Results) -> dict[str, float]:
    """Return what a bench was drawn with by the names of a twin; empty for a real camera."""
    if results.truth is None or results.design is None:
        return {}
    truth, camera = results.truth, results.design.camera
    out = {
        name: float(truth[name])
        for name in ("etch_scale", "blur", "focus", "stage_scale", "stage_offset", "veil", "skirt")
    }
    for k, axis in enumerate("yx"):
        for name in ("tilt", "boresight"):
            out[f"{name}_{axis}"] = float(truth[name][k])
        out[f"decentre_{axis}"] = _decentre(camera, float(truth["decentre"][k]))
    modes: Sequence[float] = truth["wavefront"]
    return out | {f"noll_{j}": float(modes[j - 1]) for j in range(5, len(modes) + 1)}


def _decentre(camera: Camera, drawn: float) -> float:
    """Decentre that the bench could show: a relief of flat cells moves by whole ones."""
    if not camera.mask.pixelated:
        return drawn
    cells = torch.tensor(drawn / camera.mask.cell, dtype=torch.float64).round()
    return float(cells) * camera.mask.cell


def _noise_numbers(noise: NoiseModel) -> dict[str, float]:
    names = {"gain_dn_per_e": "system_gain", "read_e": "read_noise", "full_well_e": "full_well"}
    found = {f"noise/{key}": mean_of(noise, name) for key, name in names.items()}
    return {key: value.value for key, value in found.items() if value is not None}


def _with_reasons(metrics: dict[str, float], results: Results) -> dict[str, float | str | None]:
    """Numbers for the file: what this session cannot tell is null, with the reason beside it."""
    if results.noise is None or "noise/full_well_e" in metrics:
        return {**metrics}
    reason = "no flat reached saturation; capture plan=photon_transfer, calibrate transfer=latest"
    return metrics | {"noise/full_well_e": None, "noise/full_well_e_reason": reason}


def _unique(notes: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(notes))
