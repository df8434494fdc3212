"""PSF stacks of the bench as a merged exposure bracket gives them, and a small camera for it."""

import dataclasses

import numpy as np
import torch

from calibration.bench import BenchErrors, Source, open_bench
from calibration.psf.stack import PsfStack
from hardware.frames import Roi
from optics import GivenSurface, Sensor, ThinLens
from optics.sensor import Band
from tests.optics.cameras import small_camera, smooth_height

PITCH = 3e-6
FRAME = (90, 98)
BANDS = (Band(600e-9, 15e-9), Band(540e-9, 15e-9), Band(460e-9, 15e-9))
#: Errors of a size that a camera of 1 mm and 63 pixels can show.
ERRORS = BenchErrors(focus=60e-6, decentre=30e-6, boresight=12e-6, tilt=0.5e-3)
SOURCE = Source(peak_rate=4e5, reference=0.3, diameter=100e-6)
READINGS = (0.12, 0.17, 0.25, 0.4, 1.0)


def small_design(**changes):
    """f = 16 mm, D = 1 mm, a wrapped random relief of 64 cells, 3 um pixels of which 2 x 2 bin."""
    height = smooth_height(64, 15.625e-6, 0.6e-6, 150e-6, seed=2)
    turn = 540e-9 / 0.46
    mask = changes.pop("mask", None) or GivenSurface(height.remainder(turn), cell=15.625e-6)
    settings = {
        "sensor": Sensor(pixel_pitch=PITCH, binning=2, bands=BANDS),
        "lens": ThinLens(focal_length=16e-3),
        "mask": mask,
        "focus_distance": 0.25,
        "window": 31,
    }
    return small_camera(**(settings | changes)).eval()


def small_bench(seed, *, design=None, errors=ERRORS):
    rig = open_bench(design or small_design(), seed=seed, errors=errors, source=SOURCE, shape=FRAME)
    rig.home()
    return rig


def scene_rates(rig, readings, roi, *, across=(0.0, 0.0)):
    """Rates without noise (D, H, W), with the rail at `readings`."""
    scene, out = rig.camera.scene, []
    for reading in readings:
        scene._place = lambda z=reading: {"z": z, "y": across[0], "x": across[1]}
        scene._levels = lambda: {"point": 1.0, "panel": 0.0}
        out.append(scene(roi))
    return np.stack(out)


def merged(
    rates, readings, *, roi, frame, cfa="RGGB", pitch=PITCH, seed=0, across=(0.0, 0.0), frames=16
):
    """Stack of a bracket of seven exposures, a factor of four apart, of `frames` frames each.

    A pixel adds up the exposures that do not fill it to 0.9 of 8180 electrons, with 3 electrons
    of read noise a frame; its variance is what those numbers say of the rate that was measured.
    """
    rng = np.random.default_rng(seed)
    time, count = np.zeros(rates.shape), np.zeros(rates.shape)
    for exposure in 4e-3 * 4.0 ** np.arange(7):
        open_ = rates * exposure < 0.9 * 8180
        time += np.where(open_, frames * exposure, 0)
        count += np.where(open_, frames, 0)
    valid = time > 0
    time = np.where(valid, time, 1)
    electrons = rng.poisson(rates * time) + 3 * np.sqrt(count) * rng.normal(size=rates.shape)
    variance = (np.maximum(electrons, 0) + 9 * count + 1) / time**2
    return PsfStack(
        rate=electrons / time,
        variance=variance,
        valid=valid,
        readings=np.array(readings),
        cfa=cfa,
        origin=(roi.row, roi.column),
        frame=frame,
        pixel_pitch=pitch,
        across=across,
    )


def small_stack(rig, *, readings=READINGS, seed=0, frames=16):
    """Stack of all pixels of a small bench."""
    roi = Roi(0, 0, *FRAME)
    rates = scene_rates(rig, readings, roi)
    return merged(rates, readings, roi=roi, frame=FRAME, seed=seed, frames=frames)


def true_values(truth, design):
    """Hidden errors of a bench by the names of a twin.

    The bench decentres a relief of flat cells by whole cells.
    """
    cell = design.mask.cell
    out = {
        "etch_scale": truth.etch_scale,
        "blur": truth.blur,
        "focus": truth.focus,
        "stage_scale": truth.stage_scale,
        "stage_offset": truth.stage_offset,
        "veil": truth.veil,
        "skirt": truth.skirt,
    }
    for k, axis in enumerate("yx"):
        out[f"tilt_{axis}"] = truth.tilt[k]
        whole = float(torch.tensor(truth.decentre[k] / cell, dtype=torch.float64).round())
        out[f"decentre_{axis}"] = whole * cell if design.mask.pixelated else truth.decentre[k]
        out[f"boresight_{axis}"] = truth.boresight[k]
    return out | {f"noll_{j}": truth.wavefront[j - 1] for j in range(5, 12)}


def knowledge(errors):
    """Scatters of a bench by the names of a twin."""
    named = dataclasses.asdict(errors)
    wavefront = named.pop("wavefront")
    for name in ("blur", "veil", "skirt"):
        named[name] /= 2
    return named | {f"noll_{j}": wavefront for j in range(5, 12)}
