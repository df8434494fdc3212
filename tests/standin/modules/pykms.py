"""Enough of pykms for picamera2's preview modules to be imported; no display behind it."""

from enum import Enum


class PixelFormat(Enum):
    """Formats that a display could show."""

    RGB888 = "RGB888"
    BGR888 = "BGR888"
    XRGB8888 = "XRGB8888"
    XBGR8888 = "XBGR8888"
    ABGR8888 = "ABGR8888"
    YUV420 = "YUV420"
    YVU420 = "YVU420"
    NV12 = "NV12"
