"""Cameras: one protocol, its drivers, and their simulated sibling.

A further camera (USB, GigE, Camera Link) is one module with a subclass of `Camera` that says what
the sensor can do (`info`, `modes`), sets it up (`_configure`) and delivers frames (`_expose`), and
one file in `configs/camera` of a rig that names it.
"""

from hardware.cameras.base import (
    Camera,
    CameraInfo,
    CaptureCounts,
    CaptureSettings,
    GrantedSettings,
    SensorMode,
)
from hardware.cameras.raspberry_board import RaspberryBoard
from hardware.cameras.raspberry_pi import RaspberryPiCamera
from hardware.cameras.replay import ReplayCamera
from hardware.cameras.simulated import Scene, SensorNoise, SimulatedCamera
from hardware.cameras.spot import SpotScene

__all__ = [
    "Camera",
    "CameraInfo",
    "CaptureCounts",
    "CaptureSettings",
    "GrantedSettings",
    "RaspberryBoard",
    "RaspberryPiCamera",
    "ReplayCamera",
    "Scene",
    "SensorMode",
    "SensorNoise",
    "SimulatedCamera",
    "SpotScene",
]
