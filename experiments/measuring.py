"""A measured mask on its design: what was made, on the design's cells and on the scan's own points.

Heights are seen along the light, like those of `hardware.fabrication.design`. Shift, turn, size,
piston and tilt belong to the sample under the instrument and are taken off; the depth is not.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from calibration.errors import CalibrationError
from calibration.relief.placement import levelled, sample
from calibration.relief.precompensation import Correction, Precompensation
from calibration.relief.surface import Registration, register
from hardware.fabrication.design import Faces, HeightMap, Map, MaskDesign, check_faces
from hardware.fabrication.levels import Levels
from hardware.fabrication.measured import Measured
from optics import Camera, GivenSurface

MOST_SAMPLES = 4096  # on a side of the surface that goes into the camera
_LEAST_AREA = 0.5  # of the clear diameter's area that the scan has to be able to cover
_MOST_RATIO = 50.0  # of the heights of scan and design; one wrong prefix is a thousand
_SEEN = 0.5  # share of a cell that has to be measured


@dataclass(frozen=True)
class Comparison:
    """A made mask beside what was meant.

    Attributes
    ----------
    design : MaskDesign
        What was meant, on the levels of the files where it has any.
    scan : Measured
        The measured map as it was registered: mirrored and turned upright.
    found : Registration
        Where the design lies in it, and the residual.
    residual : ndarray
        (H, W) mean of every cell less the design; NaN where less than half was measured [m].
    fine : HeightMap
        What was made on a grid about as fine as the scan.
    parts : int
        Its samples per cell and axis.
    fine_unmeasured : ndarray
        bool, samples of it that were filled with the design.
    """

    design: MaskDesign
    scan: Measured
    found: Registration
    residual: Map
    fine: HeightMap
    parts: int
    fine_unmeasured: NDArray[np.bool_]

    @property
    def as_made(self) -> Map:
        """Mean height (H, W) of every cell; that of the design where it was not measured [m]."""
        return self.design.height + np.nan_to_num(self.residual)

    @property
    def unmeasured_cells(self) -> int:
        """Cells within the clear diameter that were filled with the design."""
        return int(np.count_nonzero(np.isnan(self.residual[self.design.clear])))

    @property
    def rms(self) -> float:
        """Of the residual over the measured cells within the clear diameter [m]."""
        return float(np.sqrt(np.nanmean(self.residual[self.design.clear] ** 2)))

    @property
    def residual_95(self) -> float:
        """Size of the residual that 95 % of the measured cells stay below [m]."""
        return float(np.nanquantile(np.abs(self.residual[self.design.clear]), 0.95))


def on_levels(design: MaskDesign, *, levels: int, waves: int) -> MaskDesign:
    """Return the design as `levels` etched levels make it; 0 levels leave it continuous."""
    if levels == 0:
        return design
    return replace(design, height=Levels(levels, waves).surface(design).height)


def along_light(scan: Measured, faces: Faces) -> Measured:
    """Return a scan as seen along the light.

    Parameters
    ----------
    scan : Measured
        As the instrument saw it that looked at the relief.
    faces : {"object", "sensor"}
        Which way the relief faces in the camera; facing the sensor it was seen from behind.
    """
    check_faces(faces)
    return scan.oriented(mirrored=faces == "sensor", quarter_turns=0)


def check_scan(scan: Measured, design: MaskDesign) -> None:
    """Refuse a scan whose size or depth is out of all proportion to the design.

    Raises
    ------
    CalibrationError
        The scan cannot cover half of the clear diameter, or its heights are in another unit.
    """
    rows, columns = scan.height.shape
    wide, high = columns * scan.spacing_x, rows * scan.spacing_y
    covered = min(wide, design.diameter) * min(high, design.diameter)
    if covered < _LEAST_AREA * math.pi / 4 * design.diameter**2:
        raise CalibrationError(
            f"{scan.source}: the scan is {wide * 1e3:.4g} x {high * 1e3:.4g} mm, the clear "
            f"diameter of the mask {design.diameter * 1e3:.4g} mm; at least half of its area has "
            f"to be measured: stitch more fields, or check the lateral calibration and its unit"
        )
    if design.relief == 0:
        raise CalibrationError("the design is flat: there is nothing to lay the scan on")
    height = levelled(scan.height)[scan.valid]
    ratio = float(height.std() / design.height[design.clear].std())
    if not 1 / _MOST_RATIO <= ratio <= _MOST_RATIO:
        raise CalibrationError(
            f"{scan.source}: the scan varies by {height.std() * 1e6:.3g} um rms less its plane, "
            f"{ratio:.3g} times as much as the design: check the unit of the heights, and that it "
            f"is a scan of this mask"
        )


def compare(
    scan: Measured,
    design: MaskDesign,
    *,
    max_turn: float,
    orientations: Literal["given", "all"],
) -> Comparison:
    """Lay a scan, seen along the light, on its design.

    Parameters
    ----------
    scan : Measured
        The made surface.
    design : MaskDesign
        What was meant.
    max_turn : float
        Largest turn that is tried [rad].
    orientations : {"given", "all"}
        Whether mirror images and quarter turns are tried too.

    Raises
    ------
    CalibrationError
        The scan is too small, is of something else, or its heights are in another unit.
    """
    check_scan(scan, design)
    found = register(scan, design, max_turn=max_turn, orientations=orientations)
    upright = scan.oriented(mirrored=found.mirrored, quarter_turns=found.quarter_turns)
    parts = samples_per_cell(upright, design)
    fine, holes = _resampled(upright, design, found, parts)
    residual = _residual(design, found, fine, holes, parts)
    return Comparison(design, upright, found, residual, fine, parts, holes)


def samples_per_cell(scan: Measured, design: MaskDesign) -> int:
    """Return how many samples across a cell keep what the scan resolves; 1 if it is no finer.

    Two for every point of the scan, as far as the camera can carry them: the nearest point then
    moves a wall by no more than a quarter of the scan's spacing.
    """
    points = round(design.spacing / max(scan.spacing_x, scan.spacing_y))
    return max(1, min(2 * points, MOST_SAMPLES // max(design.shape))) if points > 1 else 1


def _resampled(
    scan: Measured, design: MaskDesign, found: Registration, parts: int
) -> tuple[HeightMap, NDArray[np.bool_]]:
    """Return the made surface on cells divided by `parts`, and where it was not measured.

    Every sample is the nearest point of the scan: heights between two points would soften steps
    and walls further, and with them the diffraction orders of the cells.
    """
    meant = np.repeat(np.repeat(design.height, parts, 0), parts, 1)
    grid = HeightMap(meant, design.spacing / parts)
    if parts == 1:  # the mean over every cell is all there is
        made = design.height + found.residual
    else:
        surface = found.surface
        x, y = np.meshgrid(*scan.axes())
        flat = scan.height - surface.piston - surface.tilt_x * x - surface.tilt_y * y
        steps = (scan.spacing_x, scan.spacing_y)
        u, v = surface.placement.to_measured(*np.meshgrid(*grid.axes()))
        made = sample(flat, steps, u, v, 0)
        rows, columns = scan.height.shape
        made[(np.abs(u) > columns / 2 * steps[0]) | (np.abs(v) > rows / 2 * steps[1])] = np.nan
        inside = np.repeat(np.repeat(design.clear, parts, 0), parts, 1) & np.isfinite(made)
        made -= float((made - meant)[inside].mean())
    holes = ~np.isfinite(made)
    return replace(grid, height=np.where(holes, meant, made)), holes


def _residual(
    design: MaskDesign, found: Registration, fine: HeightMap, holes: NDArray[np.bool_], parts: int
) -> Map:
    """Return the residual (H, W), also of cells that miss no more than half of their samples."""
    rows, columns = design.shape
    tiles = (rows, parts, columns, parts)
    seen = (~holes).reshape(tiles).sum(axis=(1, 3))
    total = np.where(holes, 0.0, fine.height).reshape(tiles).sum(axis=(1, 3))
    mean = np.divide(total, seen, out=np.full(design.shape, np.nan), where=seen >= _SEEN * parts**2)
    good = np.isfinite(found.residual)
    return np.where(good, found.residual, mean - design.height)


def next_heights(
    comparison: Comparison, ordered: MaskDesign, *, max_height: float, gain: float, low_pass: float
) -> Correction:
    """Return the heights to order next.

    Parameters
    ----------
    comparison : Comparison
        What was made of `ordered`, beside what was meant.
    ordered : MaskDesign
        Heights that were ordered: the design, or those of an earlier correction.
    max_height : float
        Highest that the process makes; the lowest is 0, or the lowest of the design below it [m].
    gain : float
        Share of the residual that is corrected.
    low_pass : float
        Standard deviation of the low-pass on the residual [m].
    """
    inside = ordered.height[ordered.clear]
    if max_height < inside.max() * (1 - 1e-9):
        raise ValueError(
            f"max_height = {max_height * 1e6:.4g} um is below the highest of the mask that was "
            f"ordered, {inside.max() * 1e6:.4g} um: give the range of the process"
        )
    lowest = min(0.0, float(inside.min()))
    rule = Precompensation(lowest, max_height, gain=gain, blur=low_pass)
    return rule.next(ordered, comparison.residual)


def made_camera(camera: Camera, comparison: Comparison) -> Camera:
    """Return the camera with the surface that was made in the place of its mask.

    It is that of the scan's own points where they are finer than the design's cells: a cell that
    a soft wall divides acts by its mean field, which its mean height does not know. For a relief
    of six wavelengths in cells of 8 um, blurred by 1 um and scanned every 2.5 um, the PSF is
    then within 1.2 % of the true one (sum of absolute differences), with mean heights within 16 %.
    """
    mask = camera.mask
    given = GivenSurface(
        torch.from_numpy(comparison.fine.height),
        cell=comparison.fine.spacing,
        material=mask.material.name,
        design_wavelength=mask.design_wavelength,
        pixelated=mask.pixelated,
        wrap_height=mask.wrap_height,
    )
    return camera.replace(mask=given.to(camera.aperture.device))


def numbers(comparison: Comparison, correction: Correction) -> dict[str, float]:
    """Return all numbers of a comparison, their units in their names."""
    found, spread = comparison.found, comparison.found.uncertainty
    at, at_spread = found.surface.placement, found.uncertainty.placement
    pairs = {
        "shift_x_m": (at.shift_x, at_spread.shift_x),
        "shift_y_m": (at.shift_y, at_spread.shift_y),
        "turn_rad": (at.turn, at_spread.turn),
        "scale_x": (at.scale_x, at_spread.scale_x),
        "scale_y": (at.scale_y, at_spread.scale_y),
        "depth_scale": (found.surface.etch_scale, spread.etch_scale),
        "piston_m": (found.surface.piston, spread.piston),
        "tilt_x_rad": (found.surface.tilt_x, spread.tilt_x),
        "tilt_y_rad": (found.surface.tilt_y, spread.tilt_y),
    }
    out: dict[str, float] = {}
    for key, (value, uncertainty) in pairs.items():
        out |= {key: value, f"uncertainty/{key}": uncertainty}
    return out | {
        "mirrored": float(found.mirrored),
        "quarter_turns": float(found.quarter_turns),
        "blur_m": found.blur,
        "noise_m": found.noise,
        "explained": found.explained,
        "residual_rms_m": comparison.rms,
        "residual_95_m": comparison.residual_95,
        "cells": float(comparison.design.clear.sum()),
        "unmeasured_cells": float(comparison.unmeasured_cells),
        "samples_per_cell": float(comparison.parts),
        "next/change_rms_m": correction.change,
        "next/limited_cells": float(correction.limited),
    }
