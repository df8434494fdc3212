"""Which pixel sees what: of a plane (`plane`), and of all directions (`camera`, `stages`)."""

from calibration.geometry.camera import CameraGeometry
from calibration.geometry.plane import PlaneFit, PlaneMap, fit_plane
from calibration.geometry.stages import SourcePlace, StageGeometry, fit_stages, source_place

__all__ = [
    "CameraGeometry",
    "PlaneFit",
    "PlaneMap",
    "SourcePlace",
    "StageGeometry",
    "fit_plane",
    "fit_stages",
    "source_place",
]
