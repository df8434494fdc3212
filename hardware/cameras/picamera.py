"""picamera2 and its ways: opening it, ending its requests, reading what it says about a frame."""

import os
import re
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.cameras.raspberry_board import RaspberryBoard
from hardware.errors import DeviceBusy, DeviceNotFound, HardwareError
from hardware.frames import Roi

OLDEST = (0, 3, 25)
#: What is kept of the metadata of a frame, where the camera tells it. Lux hangs on the tuning file
#: and is never radiometry.
KEPT = (
    "SensorTimestamp",
    "FrameWallClock",
    "ExposureTime",
    "AnalogueGain",
    "DigitalGain",
    "FrameDuration",
    "SensorBlackLevels",
    "ColourGains",
    "ColourTemperature",
    "Lux",
    "SensorTemperature",
    "ScalerCrop",
    "LensPosition",
    "AeState",
)


def open_camera(index: int, board: RaspberryBoard) -> Any:
    """Return the ``Picamera2`` of camera `index`.

    Raises
    ------
    DeviceNotFound
        There is no picamera2, an old one, or no such camera.
    DeviceBusy
        Another program has the camera.
    HardwareError
        It does not open for another reason.
    """
    try:
        # With picamera2 installed or not, mypy knows nothing of it.
        from picamera2 import Picamera2  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError as error:
        raise DeviceNotFound(
            f"picamera2 cannot be imported ({error})",
            hint="on a Raspberry Pi run 'sudo apt install python3-picamera2' and use a virtual "
            "environment made with --system-site-packages; elsewhere use the simulated camera",
        ) from error
    installed = version()
    if installed and installed < OLDEST:
        raise DeviceNotFound(
            f"picamera2 {_dotted(installed)} is older than {_dotted(OLDEST)}",
            hint="run 'sudo apt update && sudo apt full-upgrade'",
        )
    cameras = Picamera2.global_camera_info()
    if not 0 <= index < len(cameras):
        found = ", ".join(camera["Model"] for camera in cameras) or "none"
        raise DeviceNotFound(
            f"there is no camera {index}; found: {found}",
            hint="check its ribbon cable and 'rpicam-hello --list-cameras', then restart",
        )
    camera = Picamera2.__new__(Picamera2)
    try:
        camera.__init__(index)
        return camera
    except (RuntimeError, OSError) as error:
        if not camera.is_open:  # it leaves the pipe of its thread open
            camera.notifymeread.close()
            os.close(camera.notifyme_w)
        reasons = "; ".join(str(cause) for cause in _causes(error))
        if "busy" not in reasons.lower():
            raise HardwareError(f"camera {index} does not open: {reasons}") from error
        owner = board.camera_owner() or "another program"
        raise DeviceBusy(f"camera {index} is in use by {owner}", hint="end it first") from error


def version() -> tuple[int, ...]:
    """Return the version of picamera2 that is installed, or () where it is not told."""
    try:
        text = metadata.version("picamera2")
    except metadata.PackageNotFoundError:
        return ()
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def driver_name() -> str:
    """Return "picamera2" and its version."""
    return f"picamera2 {_dotted(version()) or '(unknown version)'}"


def raw_bytes(request: Any, camera: Any) -> NDArray[np.uint8]:
    """Return a copy of what the receiver wrote into the raw buffer of `request`."""
    buffer: NDArray[np.uint8] = request.make_buffer("raw")
    planes = request.request.buffers[camera.stream_map["raw"]].metadata.planes
    written = sum(plane.bytes_used for plane in planes)
    return buffer[: written or buffer.size]  # 0: it does not tell


def give_back(camera: Any, jobs: deque[Any]) -> None:
    """Cancel `jobs`, captures that nobody waits for any more; release what they took already."""
    camera.cancel_all_and_flush()
    while jobs:
        # One that was being done just now ends at once, with a request.
        try:
            camera.wait(jobs.popleft(), timeout=1.0).release()
        except (CancelledError, TimeoutError) as error:
            # Job and error hold each other; with it they would hold our frames and buffers.
            error.__traceback__ = None


def frames_lost(last: int, told: Mapping[str, Any]) -> int:
    """Return how many frames there were between the one of time `last` [ns] and this one."""
    if not last or not told.get("FrameDuration"):
        return 0
    frames: float = (told["SensorTimestamp"] - last) / (1000 * told["FrameDuration"])
    return max(round(frames) - 1, 0)


def black_level(
    told: Mapping[str, Any], cfa: str, bits: int, roi: Roi
) -> tuple[float, float, float, float]:
    """Return the black level [DN] at the first 2 x 2 pixels of `roi`.

    picamera2 tells those of red, green beside red, green beside blue and blue, on 16 bits.
    """
    levels: list[float] = [level / 2.0 ** (16 - bits) for level in told["SensorBlackLevels"]]
    if not cfa:
        return (levels[0],) * 4
    row_has_red = ("R" in cfa[:2], "R" in cfa[2:])

    def at(row: int, column: int) -> float:
        colour = cfa[2 * (row % 2) + column % 2]
        if colour == "G":
            return levels[1] if row_has_red[row % 2] else levels[2]
        return levels[0] if colour == "R" else levels[3]

    top, left = roi.row, roi.column
    return at(top, left), at(top, left + 1), at(top + 1, left), at(top + 1, left + 1)


def kept(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of `told`, its names as in the rest of the laboratory's files."""
    return {_snake(name): _plain(told[name]) for name in KEPT if name in told}


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float | str) else str(value)


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
