"""Stand-in for libcamera's Python bindings: what picamera2 0.3.38 uses of them."""

from libcamera import _libcamera, controls, properties
from tests.standin.buffers import FrameBuffer, FrameMetadata, Request
from tests.standin.camera import Camera
from tests.standin.configuration import (
    CameraConfiguration,
    SensorConfiguration,
    StreamConfiguration,
    StreamFormats,
    StreamRole,
)
from tests.standin.controls import ControlId, ControlInfo, ControlType
from tests.standin.geometry import (
    ColorSpace,
    Orientation,
    PixelFormat,
    Rectangle,
    Size,
    Transform,
)
from tests.standin.manager import CameraManager

__all__ = [
    "Camera",
    "CameraConfiguration",
    "CameraManager",
    "ColorSpace",
    "ControlId",
    "ControlInfo",
    "ControlType",
    "FrameBuffer",
    "FrameMetadata",
    "Orientation",
    "PixelFormat",
    "Rectangle",
    "Request",
    "SensorConfiguration",
    "Size",
    "StreamConfiguration",
    "StreamFormats",
    "StreamRole",
    "Transform",
    "_libcamera",
    "controls",
    "properties",
]
