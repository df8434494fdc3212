"""The camera of a run and the cameras it is compared with, one class, from one description."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from experiments.scene import FACE_WIDTH
from experiments.settings import Settings, SettingsError, build
from optics import Camera, FlatMask, Lens, Mask, Sensor, WrappedRelief
from optics.fabrication import Fabricated, Fabrication

LEARNED = "learned"


@dataclass(frozen=True)
class Baseline:
    """How a comparison camera differs from the learned one.

    Attributes
    ----------
    mask : {"flat", "random"}
        Bare lens, or independent random heights of the same relief, cells and material.
    focus_distance : float or None
        Object distance at which it is sharp [m]; None keeps the camera's.
    crop_pixels : int or None
        Pixels across a face crop at the reference distance, reached by binning; None keeps the
        camera's binning.
    window : int or None
        Side of the PSF in binned pixels; None keeps the camera's. A bare lens needs few, and
        the pupil is then sampled as coarsely as that window allows.
    """

    mask: str = "flat"
    focus_distance: float | None = None
    crop_pixels: int | None = None
    window: int | None = None

    def __post_init__(self) -> None:
        if self.mask not in ("flat", "random"):
            raise ValueError(f"mask = {self.mask!r}, expected 'flat' or 'random'")
        if self.crop_pixels is not None and self.crop_pixels < 4:
            raise ValueError(f"crop_pixels = {self.crop_pixels}: at least 4 are needed")


def build_camera(settings: Mapping[str, Any], **changes: Any) -> Camera:
    """Camera described by the groups `camera`, `lens`, `sensor` and `mask`.

    Parameters
    ----------
    settings : mapping
        Settings of the job in SI units.
    **changes
        `mask`, `sensor`, `focus_distance` or `window` instead of the described ones.
    """
    described = Settings(settings["camera"], getattr(settings["camera"], "path", "camera"))
    lens: Lens = build(settings["lens"])
    sensor: Sensor = changes.pop("sensor", None) or build(settings["sensor"])
    mask: Mask = changes.pop("mask", None) or build_mask(settings)
    for key, value in changes.items():
        if value is not None:
            described[key] = value
    camera: Camera = build(described, lens=lens, mask=mask, sensor=sensor)
    return camera


@dataclass(frozen=True)
class Maker:
    """Makes cameras of one design as a process would: another draw of its errors each time.

    Attributes
    ----------
    design : Camera
        The camera whose mask is designed.
    made : Camera
        The same with the mask as made; the design itself where no process is chosen.
    """

    design: Camera
    made: Camera

    def draw(self, generator: torch.Generator) -> Camera:
        """Return the camera with fresh errors; gradients reach the design's parameters."""
        if isinstance(self.made.mask, Fabricated):
            self.made.mask.redraw(generator)
        return self.made


def build_maker(design: Camera, settings: Mapping[str, Any]) -> Maker:
    """Maker of `design` with the process of the group `fabrication`."""
    fabrication: Fabrication = build(settings["fabrication"])
    if fabrication == Fabrication():  # nothing ever strays
        return Maker(design, design)
    return Maker(design, design.replace(mask=Fabricated(design.mask, fabrication=fabrication)))


def build_mask(settings: Mapping[str, Any]) -> Mask:
    """Learnable mask of the run, over the camera's aperture."""
    mask: Mask = build(settings["mask"], aperture_diameter=settings["camera"]["aperture_diameter"])
    return mask


def build_baseline(
    baseline: Baseline, settings: Mapping[str, Any], *, context: float, reference: float
) -> Camera:
    """Comparison camera with the aperture, lens and sensor of the run."""
    diameter = settings["camera"]["aperture_diameter"]
    sensor: Sensor = build(settings["sensor"])
    window = baseline.window or settings["camera"]["window"]
    lens: Lens = build(settings["lens"])
    behind = lens.image_distance(baseline.focus_distance or settings["camera"]["focus_distance"])
    if baseline.crop_pixels is not None:
        crop = context * FACE_WIDTH * behind / reference
        sensor = _coarser(sensor, crop, baseline.crop_pixels)
    if baseline.mask == "random":
        mask: Mask = _random_mask(settings, diameter)
    else:
        shortest = min(band.shortest for band in sensor.bands)
        cell = min(0.98 * shortest * behind / (window * sensor.pitch), diameter / 64)
        mask = FlatMask(aperture_diameter=diameter, cell=cell)
    return build_camera(
        settings,
        mask=mask,
        sensor=sensor,
        focus_distance=baseline.focus_distance,
        window=window,
    )


def _random_mask(settings: Mapping[str, Any], diameter: float) -> WrappedRelief:
    """Independent random heights with the process, cells and material of the learned mask."""
    learned = build_mask(settings)
    relief = learned.max_height if isinstance(learned, WrappedRelief) else 8e-6
    return WrappedRelief(
        aperture_diameter=diameter,
        cell=learned.cell if learned.pixelated else 8e-6,
        max_height=relief,
        material=learned.material.name,
        design_wavelength=learned.design_wavelength,
        profile="random",
        seed=1,
    )


def _coarser(sensor: Sensor, crop: float, pixels: int) -> Sensor:
    """Sensor binned until `crop` [m] on it is `pixels` wide."""
    binning = max(2, 2 * round(crop / pixels / sensor.pixel_pitch / 2))
    if binning < sensor.binning:
        raise SettingsError(
            f"baselines: {pixels} pixels across a crop are more than the camera has "
            f"({crop / sensor.pitch:.0f}); use fewer"
        )
    return replace(sensor, binning=binning)
