"""The camera of a run and the cameras it is compared with, one class, from one description."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from experiments.scene import FACE_WIDTH
from experiments.settings import Settings, SettingsError, build
from optics import Camera, FlatMask, Mask, Sensor, ThinLens, WrappedRelief

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
    """

    mask: str = "flat"
    focus_distance: float | None = None
    crop_pixels: int | None = None

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
    lens: ThinLens = build(settings["lens"])
    sensor: Sensor = changes.pop("sensor", None) or build(settings["sensor"])
    mask: Mask = changes.pop("mask", None) or build_mask(settings)
    for key, value in changes.items():
        if value is not None:
            described[key] = value
    camera: Camera = build(described, lens=lens, mask=mask, sensor=sensor)
    return camera


def build_mask(settings: Mapping[str, Any]) -> Mask:
    """Learnable mask of the run, over the camera's aperture."""
    mask: Mask = build(
        settings["mask"], aperture_diameter=settings["camera"]["aperture_diameter"]
    )
    return mask


def build_baseline(
    baseline: Baseline, settings: Mapping[str, Any], *, context: float, reference: float
) -> Camera:
    """Comparison camera with the aperture, lens and sensor of the run."""
    diameter = settings["camera"]["aperture_diameter"]
    sensor: Sensor = build(settings["sensor"])
    window = None
    if baseline.crop_pixels is not None:
        sensor, window = _coarser(sensor, settings, baseline.crop_pixels, context, reference)
    if baseline.mask == "random":
        learned = build_mask(settings)
        if not isinstance(learned, WrappedRelief):
            learned = WrappedRelief(aperture_diameter=diameter, cell=8e-6)
        mask: Mask = WrappedRelief(
            aperture_diameter=diameter,
            cell=learned.cell,
            max_height=learned.max_height,
            material=learned.material.name,
            design_wavelength=learned.design_wavelength,
            profile="random",
            seed=1,
        )
    else:
        mask = FlatMask(aperture_diameter=diameter, cell=4e-6)
    return build_camera(
        settings,
        mask=mask,
        sensor=sensor,
        focus_distance=baseline.focus_distance,
        window=window,
    )


def _coarser(
    sensor: Sensor, settings: Mapping[str, Any], pixels: int, context: float, reference: float
) -> tuple[Sensor, int]:
    """Sensor binned until a crop at the reference distance is `pixels` wide, and its window."""
    lens: ThinLens = build(settings["lens"])
    behind = lens.image_distance(settings["camera"]["focus_distance"])
    crop = context * FACE_WIDTH * behind / reference
    binning = max(2, 2 * round(crop / pixels / sensor.pixel_pitch / 2))
    if binning < sensor.binning:
        raise SettingsError(
            f"baselines: {pixels} pixels across a crop are more than the camera has "
            f"({crop / sensor.pitch:.0f}); use fewer"
        )
    return replace(sensor, binning=binning), 5
