"""What the tests of the stand-in share: small boards, configurations, and decoders of raw bytes."""

import numpy as np

from tests.standin import IMX477, VC4, Board, small

SMALL = small(IMX477)
FULL = SMALL.modes[-1]
WIDTH, HEIGHT = SMALL.size


def board(scene, *, pipeline=VC4, speed=20.0, sensor=SMALL, **others):
    """Return a small, fast board."""
    return Board(sensor=sensor, pipeline=pipeline, scene=scene, speed=speed, **others)


def configured(camera, *, exposure, gain=1.0, frame=None, raw="SRGGB12", mode=FULL, **others):
    """Configure an open Picamera2 for raw frames; times in microseconds. Return what it granted."""
    limits = (frame or exposure + 5000,) * 2
    controls = {"ExposureTime": exposure, "AnalogueGain": gain, "FrameDurationLimits": limits}
    options = {"buffer_count": 4, "queue": False, **others}
    configuration = camera.create_still_configuration(
        main={"size": (64, 48)},
        raw={"format": raw, "size": mode.size},
        sensor={"output_size": mode.size, "bit_depth": mode.bits},
        controls=controls,
        **options,
    )
    camera.configure(configuration)
    return camera.camera_configuration()["raw"]


def decoded(rows, granted):
    """Return sensor values as they stand in the granted format, from uint8 (H, stride)."""
    name, (width, _) = granted["format"], granted["size"]
    if name.endswith("12_CSI2P"):
        a, b, low = (rows[:, i : width * 3 // 2 : 3].astype(int) for i in range(3))
        columns = [a << 4 | low & 15, b << 4 | low >> 4]
    elif name.endswith("10_CSI2P"):
        parts = [rows[:, i : width * 5 // 4 : 5].astype(int) for i in range(5)]
        columns = [parts[i] << 2 | parts[4] >> 2 * i & 3 for i in range(4)]
    else:
        return rows.view(np.uint16)[:, :width].astype(int)
    return np.stack(columns, axis=-1).reshape(len(rows), width)


def taken(camera, granted, **options):
    """Return one frame as (values, metadata)."""
    request = camera.capture_request(**options)
    try:
        return decoded(request.make_array("raw"), granted), request.get_metadata()
    finally:
        request.release()


def electrons(values, metadata, bits=12, sensor=SMALL):
    """Return the charge that sensor values (right-justified, `bits` bits) stand for [e-]."""
    scale = 2.0 ** (bits - 16)
    signal = values - metadata["SensorBlackLevels"][0] * scale
    return signal / (sensor.system_gain * scale * metadata["AnalogueGain"])
