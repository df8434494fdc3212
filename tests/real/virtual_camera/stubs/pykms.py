"""The one name of pykms that picamera2's preview modules need to be imported; no display."""


class PixelFormat:
    """Formats of displays; picamera2 looks them up by attribute."""

    RGB888 = BGR888 = XRGB8888 = XBGR8888 = ABGR8888 = YUV420 = YVU420 = NV12 = None
