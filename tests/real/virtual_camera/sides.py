"""The two cameras that the laws hold for: libcamera's virtual one, and the stand-in's.

``VEILENS_LIBCAMERA=real`` chooses the first; `run` sets it where it has installed libcamera.
"""

import os
from contextlib import contextmanager

REAL = os.environ.get("VEILENS_LIBCAMERA") == "real"
#: A processed format of the side, both 4:2:0, and a size that both grant as it is.
FORMAT = "NV12" if REAL else "YUV420"
SIZE = (1024, 768) if REAL else (320, 240)


@contextmanager
def plugged():
    """Have one camera; it must be entered before libcamera or picamera2 is imported."""
    if REAL:
        yield
        return
    from tests import standin
    from tests.standin.sessions import board

    with standin.plugged(board(lambda state: 5e4, startup_frames=0)):
        yield


def open_picamera():
    """Return the camera as an open Picamera2."""
    if REAL:
        from tests.real.virtual_camera.capture import open_camera

        return open_camera()
    from picamera2 import Picamera2

    return Picamera2()


def buffers(camera, stream, length):
    """Return frame buffers of `length` bytes for a configured stream, and who keeps them."""
    import libcamera

    if REAL:
        allocator = libcamera.FrameBufferAllocator(camera)
        allocator.allocate(stream)
        return allocator.buffers(stream), allocator
    made = []
    for _ in range(4):
        plane = libcamera.FrameBuffer.Plane()
        fd = os.memfd_create("frame")
        os.ftruncate(fd, length)
        plane.fd, plane.length = fd, length
        os.close(fd)  # libcamera has a duplicate
        made.append(libcamera.FrameBuffer([plane]))
    return made, None


def frames_are_paced():
    """Whether the camera has a frame rate; the virtual one of libcamera 0.4 answers at once."""
    import libcamera

    return not (REAL and libcamera.CameraManager.singleton().version.startswith("v0.4."))
