"""How a camera may differ from its design, one draw of it, and the camera with these errors."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from hardware.cameras import SensorNoise
from optics.camera import Camera
from optics.fabrication import Errors, Fabricated, Fabrication
from optics.lenses import ZernikeLens


@dataclass(frozen=True)
class BenchErrors:
    """How far the true camera strays from its design: standard deviations of normal draws.

    Attributes
    ----------
    etch_scale : float
        Relative error of all mask depths.
    blur : float
        Lateral blur of the mask, its mean and twice its scatter [m].
    tilt : float
        Wedge of the mask, per axis [rad].
    decentre : float
        Position of the mask against the stop, per axis [m].
    focus : float
        Distance from lens to sensor [m].
    wavefront : float
        Each Zernike coefficient of the lens, Noll 5 to 11 [m].
    boresight : float
        Where the axis meets the sensor, from its middle, per axis [m].
    stage_scale : float
        Relative error of the length scale of the rail.
    stage_offset : float
        Where the rail's zero lies, along the axis [m].
    veil, skirt : float
        Stray light, of twice this scatter about it and never below 0 (`StrayLight`).
    """

    etch_scale: float = 0.03
    blur: float = 0.3e-6
    tilt: float = 0.1e-3
    decentre: float = 20e-6
    focus: float = 15e-6
    wavefront: float = 20e-9
    boresight: float = 30e-6
    stage_scale: float = 2e-3
    stage_offset: float = 2e-3
    veil: float = 0.01
    skirt: float = 0.01

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} = {value:g}: a scatter is 0 or more")


@dataclass(frozen=True)
class BenchTruth:
    """What a bench was drawn with; pairs are (y, x), lengths [m], angles [rad].

    Attributes
    ----------
    seed : int
        Seed of the draw.
    etch_scale, blur, tilt, decentre
        Of the mask, as `optics.fabrication.Errors`.
    focus : float
        Sensor further behind the lens than designed by this.
    wavefront : tuple of float
        Zernike coefficients of the lens's `opd`, Noll 1, 2, ...
    boresight : tuple of float
        Where the axis meets the sensor, from its middle.
    stage_scale, stage_offset : float
        A source at the reading r of the rail is at ``stage_scale * r + stage_offset``.
    veil, skirt : float
        Stray light.
    noise : SensorNoise
        The sensor.
    """

    seed: int
    etch_scale: float
    blur: float
    tilt: tuple[float, float]
    decentre: tuple[float, float]
    focus: float
    wavefront: tuple[float, ...]
    boresight: tuple[float, float]
    stage_scale: float
    stage_offset: float
    veil: float
    skirt: float
    noise: SensorNoise

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for a file."""
        return asdict(self)


def draw_truth(errors: BenchErrors, noise: SensorNoise, seed: int) -> BenchTruth:
    """Draw a true camera: the same seed gives the same one."""
    rng = np.random.default_rng(seed)

    def normal(scale: float) -> float:
        return float(scale * rng.standard_normal())

    def pair(scale: float) -> tuple[float, float]:
        return normal(scale), normal(scale)

    def about(mean: float) -> float:
        return max(0.0, mean + normal(mean / 2))

    return BenchTruth(
        seed=seed,
        etch_scale=normal(errors.etch_scale),
        blur=about(errors.blur),
        tilt=pair(errors.tilt),
        decentre=pair(errors.decentre),
        focus=normal(errors.focus),
        wavefront=(0.0,) * 4 + tuple(normal(errors.wavefront) for _ in range(7)),
        boresight=pair(errors.boresight),
        stage_scale=1 + normal(errors.stage_scale),
        stage_offset=normal(errors.stage_offset),
        veil=about(errors.veil),
        skirt=about(errors.skirt),
        noise=replace(
            noise,
            system_gain=noise.system_gain * (1 + normal(0.03)),
            read_noise=noise.read_noise * (1 + normal(0.05)),
            full_well=noise.full_well * (1 + normal(0.02)),
        ),
    )


def true_camera(design: Camera, truth: BenchTruth) -> Camera:
    """Return the camera as it was made and mounted, with the pixels of the sensor unbinned.

    Parameters
    ----------
    design : Camera
        The design; its sensor may bin.
    truth : BenchTruth
        What went wrong.
    """
    made = Fabricated(
        design.mask,
        fabrication=Fabrication(),
        errors=Errors(
            etch_scale=torch.tensor(truth.etch_scale),
            blur=torch.tensor(truth.blur),
            tilt=torch.tensor(truth.tilt),
            decentre=torch.tensor(truth.decentre),
        ),
    )
    lens = ZernikeLens(
        design.lens,
        aperture_diameter=design.aperture_diameter,
        half_field=math.radians(15),
        fixed=truth.wavefront,
    )
    focal = design.lens.focal_length
    behind = design.sensor_distance + truth.focus
    if behind <= focal:
        raise ValueError(f"focus = {truth.focus:g} m puts the sensor before the focal plane")
    sensor = replace(design.sensor, binning=1)
    window = (design.window * design.sensor.binning) | 1
    return design.replace(
        mask=made,
        lens=lens,
        sensor=sensor,
        focus_distance=1 / (1 / focal - 1 / behind),
        window=window,
    ).eval()
