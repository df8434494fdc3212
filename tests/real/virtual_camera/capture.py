"""Take frames from libcamera's virtual camera through picamera2, and compare them with the scene.

``python capture.py PICTURE`` exits with 1 where a pixel is wrong. Also the home of what
picamera2 has to be told about a camera that is none: `open_camera`.
"""

import argparse
import sys
import time
from pathlib import Path

import libcamera
import numpy as np
from picamera2 import Picamera2
from picamera2.allocators import LibcameraAllocator
from picamera2.request import CompletedRequest

from tests.real.virtual_camera.scene import PEAK, SIZE, shown

#: How far a pixel may be off [DN]: the pipeline decodes by libjpeg's fast transform, of 8 bits.
DECODING = 4


class VirtualPicamera2(Picamera2):
    """Picamera2 on a camera without a raw stream."""

    def _get_raw_modes(self):
        return [{"format": "SRGGB8", "size": SIZE}]


def open_camera(number=0):
    """Return the virtual camera as an open Picamera2, to be closed by its ``with``.

    Its frames have no ExposureTime, which picamera2 takes off a timestamp to flush; it is taken
    for 0. libcamera allocates the frames: it wants one plane for each of NV12, and picamera2's
    own allocator makes one for both.
    """
    if not hasattr(CompletedRequest.get_metadata, "exposed"):
        CompletedRequest.get_metadata = _exposed(CompletedRequest.get_metadata)
    camera = VirtualPicamera2(number)
    camera.allocator = LibcameraAllocator(camera.camera)
    return camera


def _exposed(get_metadata):
    def told(request):
        return {"ExposureTime": 0} | get_metadata(request)

    told.exposed = True
    return told


def luma(request):
    """Return the first plane of an NV12 frame, int (H, W)."""
    main = request.config["main"]
    width, height = main["size"]
    rows = request.make_buffer("main")[: main["stride"] * height].reshape(height, main["stride"])
    return rows[:, :width].astype(int)


def main():
    """Take seven frames, and compare each with the picture."""
    parser = argparse.ArgumentParser()
    parser.add_argument("picture", type=Path)
    expected = shown(parser.parse_args().picture)
    began = time.monotonic()
    faults = 0
    with open_camera() as camera:
        camera.configure(
            camera.create_still_configuration(
                main={"size": SIZE, "format": "NV12"}, buffer_count=4, queue=False
            )
        )
        camera.start()
        for _ in range(7):
            request = camera.capture_request()
            try:
                frame = luma(request)
            finally:
                request.release()
            peak = tuple(int(i) for i in np.unravel_index(frame.argmax(), frame.shape))
            worst = int(abs(frame - expected).max())
            faults += peak != PEAK or worst > DECODING
            print(f"peak {frame.max()} DN at {peak}, expected {PEAK}; worst pixel {worst} DN off")  # noqa: T201
    version = libcamera.CameraManager.singleton().version
    print(f"libcamera {version}: 7 frames, {faults} wrong, {time.monotonic() - began:.2f} s")  # noqa: T201
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
