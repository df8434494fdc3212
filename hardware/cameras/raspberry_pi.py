"""Cameras of the Raspberry Pi, through picamera2: raw values, and nothing done to them.

The raw stream leaves before the image processor, so white balance, shading and noise reduction
(and the tuning file they come from) never touch it; they only work on the small second stream
that picamera2 wants. What does touch it is the sensor itself: defect correction, which is
recorded, and on a Raspberry Pi 5 a lossy packing, which is refused.

A frame shows a new exposure after the requests that were queued before it (`buffers`) and two or
three frames more, the sensor's own delay. A bracket therefore asks for one exposure per frame and
takes them as they come. Exposures above one second are not changed on the fly: the sensor is
stopped and started with them.
"""

import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from hardware.cameras.base import Camera, CameraInfo, GrantedSettings, SensorMode
from hardware.cameras.picamera import (
    black_level,
    driver_name,
    frames_lost,
    give_back,
    kept,
    open_camera,
    raw_bytes,
)
from hardware.cameras.raspberry_board import RaspberryBoard
from hardware.errors import DeviceDisconnected, DeviceTimeout, FrameError, HardwareError
from hardware.frames import RawFrame, Roi, shifted_cfa
from hardware.raw import RawFormat, decode, raw_format

_LONG = 1.0  # exposures above this are set at the start [s]
_DELAY = 6  # frames: 3 of the sensor, and as many lost or late ones
_MARGIN = 2e-3  # that a frame lasts longer than its exposure; 22 rows of an IMX477 are 0.6 ms [s]
_MAIN = (320, 240)  # smallest that is in common use: nobody looks at it
_NEEDED = {"SensorTimestamp", "ExposureTime", "AnalogueGain", "SensorBlackLevels"}
# Rows of the shortest exposure: the kernel's sensor drivers. One, where it is not known, makes the
# step no smaller than it is.
_MIN_ROWS = {"imx219": 4, "imx378": 4, "imx477": 4, "ov5647": 4}


@dataclass(frozen=True)
class _Setup:
    """What `configure` fixed; `_reopen` sets it again."""

    granted: GrantedSettings
    form: RawFormat
    max_exposure: float


@dataclass
class RaspberryPiCamera(Camera):
    """A camera on the ribbon cable of a Raspberry Pi.

    Parameters
    ----------
    index : int
        Which one, as ``rpicam-hello --list-cameras`` counts.
    buffers : int
        Raw frames in flight, 2 or more. With 2 a new exposure arrives soonest; each costs 25 MB at
        12 megapixels.
    board : RaspberryBoard
        The board it is connected to.

    Raises
    ------
    DeviceNotFound
        There is no such camera, or no picamera2.
    DeviceBusy
        Another program has it.
    """

    index: int = 0
    buffers: int = 3
    board: RaspberryBoard = field(default_factory=RaspberryBoard)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.buffers <= 16:
            raise ValueError(f"buffers = {self.buffers}, expected 2 to 16: one loses frames")
        self._setup: _Setup | None = None
        self._modes: list[SensorMode] = []
        self._unpacked: dict[str, str] = {}  # mode name: its raw format
        self._running = 0.0  # frame duration that the sensor was started with [s]
        self._jobs: deque[Any] = deque()  # captures that picamera2 was asked for
        self._temperature: float | None = None
        self._camera: Any = None
        self._camera = open_camera(self.index, self.board)
        self._info = self._read_info()

    @property
    def info(self) -> CameraInfo:
        """The sensor; `serial` is where it is connected, as sensors do not tell their number."""
        return self._info

    @property
    def modes(self) -> Sequence[SensorMode]:
        """Ways to read the sensor, the one with most pixels first."""
        if not self._modes:
            self._read_modes()
        return self._modes

    def status(self) -> Mapping[str, Any]:
        """Return the sensor's ``temperature`` at the last frame, and the health of the board."""
        known = {} if self._temperature is None else {"temperature": self._temperature}
        return known | self.board.health()

    def close(self) -> None:
        """Release the sensor; safe to call twice."""
        camera, self._camera = self._camera, None
        jobs, self._jobs = self._jobs, deque()
        if camera is not None:
            give_back(camera, jobs)
            camera.close()

    # Setting up

    def _opened(self) -> Any:
        if self._camera is None:
            raise HardwareError(f"the {self.info.model} is closed", hint="open it again")
        return self._camera

    @property
    def _controls(self) -> Mapping[str, tuple[Any, Any, Any]]:
        """Smallest, largest and usual value of everything that can be set."""
        controls: Mapping[str, tuple[Any, Any, Any]] = self._opened().camera_controls
        return controls

    def _read_info(self) -> CameraInfo:
        told = self._camera.camera_properties
        width, height = told["PixelArraySize"]
        place = self._camera.global_camera_info()[self.index]["Id"]
        pitch = told["UnitCellSize"][0] * 1e-9
        return CameraInfo(told["Model"], place, driver_name(), pitch, (height, width))

    def _read_modes(self) -> None:
        camera, found = self._opened(), {}
        for told in camera.sensor_modes:
            if "size" not in told:
                raise HardwareError(
                    f"the {self.info.model} delivers {told['format']}, no raw values",
                    hint="use a camera on the ribbon cable",
                )
            (width, height), bits = told["size"], told["bit_depth"]
            name = f"{width}x{height}-{bits}"
            binning = told["crop_limits"][2] / width
            limits = told["exposure_limits"]  # the usual value may be a third one
            found[name] = SensorMode(
                name,
                (height, width),
                bits,
                raw_format(str(told["unpacked"])).cfa,
                self.info.pixel_pitch * binning,
                min(limits) * 1e-6,
                max(limits) * 1e-6,
                self._controls["AnalogueGain"][1],
                told["fps"],
            )
            self._unpacked[name] = str(told["unpacked"])
        key = sorted(found.values(), key=lambda mode: (mode.shape[0] * mode.shape[1], mode.bits))
        self._modes = key[::-1]

    def _configure(self, mode: SensorMode, roi: Roi, max_exposure: float) -> GrantedSettings:
        camera = self._opened()
        self._stop()
        self._setup = None
        size = mode.shape[::-1]
        configuration = camera.create_still_configuration(
            main={"size": _MAIN},
            raw={"format": self._unpacked[mode.name], "size": size},
            sensor={"output_size": size, "bit_depth": mode.bits},
            buffer_count=self.buffers,
            queue=False,  # no frame is kept for whoever asks later
            controls=self._fixed_controls(),
        )
        try:
            camera.configure(configuration)
        except (RuntimeError, OSError) as error:
            raise HardwareError(f"mode {mode.name} was refused: {error}") from error
        granted = camera.camera_configuration()
        raw, sensor = granted["raw"], granted["sensor"]
        form = raw_format(raw["format"])
        if (raw["size"], sensor["bit_depth"]) != (size, mode.bits):
            raise HardwareError(
                f"mode {mode.name} was asked, {raw['size']} pixels of {sensor['bit_depth']} bits "
                "were granted",
                hint="choose one of `modes`",
            )
        form.check(mode.shape, raw["stride"], raw["framesize"])
        settings = GrantedSettings(
            replace(mode, cfa=form.cfa),
            roi,
            form.name,
            raw["stride"],
            self._duration(max_exposure),
            mode.min_exposure / _MIN_ROWS.get(self.info.model, 1),
            self.board.defect_correction(self.info.model),
        )
        self._setup = _Setup(settings, form, max_exposure)
        return settings

    def _duration(self, exposure: float) -> float:
        """Return the frame duration for exposures up to `exposure` [s]."""
        low, high, *_ = (1e-6 * float(n) for n in self._controls["FrameDurationLimits"])
        return min(max(exposure * 1.001 + _MARGIN, low), high)

    def _fixed_controls(self) -> dict[str, Any]:
        """Return the controls that never change; a mono sensor has no colours to balance."""
        fixed = {
            "AeEnable": False,
            "AwbEnable": False,
            "ColourGains": (1.0, 1.0),
            "NoiseReductionMode": 0,
        }
        return {name: fixed[name] for name in fixed if name in self._controls}

    def _exposure_controls(self, exposure: float, gain: float) -> dict[str, Any]:
        # Reports are cut to microseconds: one more gives a reported exposure its own rows again.
        longest = self._controls["ExposureTime"][1]
        asked = min(int(exposure * 1e6 + 0.01) + 1, longest)
        return {"ExposureTime": asked, "AnalogueGain": gain}

    def _start(self, exposure: float, gain: float, duration: float) -> None:
        camera = self._opened()
        self._stop()
        limit = round(duration * 1e6)
        camera.set_controls(
            self._fixed_controls()
            | self._exposure_controls(exposure, gain)
            | {"FrameDurationLimits": (limit, limit)}
        )
        try:
            camera.start()
        except (RuntimeError, OSError) as error:
            raise DeviceDisconnected(
                f"the {self.info.model} does not start: {error}", hint="check its ribbon cable"
            ) from error
        self._running = duration

    def _stop(self) -> None:
        """Stop the sensor, in this thread: picamera2's own may hang or be gone."""
        camera, self._running = self._opened(), 0.0
        self._end_jobs()
        with suppress(RuntimeError):  # there is no such thread before the first start
            camera.stop_preview()
        camera.stop()

    def _reopen(self) -> bool:
        setup = self._setup
        with suppress(RuntimeError, OSError):  # whatever it says, it is to be closed
            self.close()
        self._camera = open_camera(self.index, self.board)
        if setup is not None:
            self._configure(setup.granted.mode, setup.granted.roi, setup.max_exposure)
        return True

    # Taking frames

    def _expose(
        self, exposures: Sequence[float], gain: float, granted: GrantedSettings, timeout: float
    ) -> Generator[RawFrame, None, None]:
        setup = self._setup
        if setup is None or setup.granted != granted:
            raise HardwareError("the camera was configured anew", hint="begin the capture again")
        quick = [exposure for exposure in exposures if exposure <= _LONG]
        if quick:
            fixed = granted.frame_duration if setup.max_exposure <= _LONG else None
            duration = fixed or self._duration(max(quick))
            yield from self._take(quick, gain, duration, setup, timeout)
        for exposure, group in groupby(sorted(e for e in exposures if e > _LONG)):
            self._running = 0.0  # have it started anew
            yield from self._take(list(group), gain, self._duration(exposure), setup, timeout)

    def _take(
        self, exposures: list[float], gain: float, duration: float, setup: _Setup, timeout: float
    ) -> Generator[RawFrame, None, None]:
        """Yield frames while `exposures` are asked for, one with each request that goes back."""
        since = time.monotonic_ns()  # the clock of the sensor's timestamps
        coming = deque(exposures)
        if self._running != duration:
            self._start(coming.popleft(), gain, duration)
        camera, board, last = self._opened(), self.board.health(), 0
        self._end_jobs()  # of a bracket that was left unfinished
        # A job for every buffer: no frame goes back unseen, and each takes one exposure along.
        self._jobs = jobs = deque(camera.capture_request(wait=False) for _ in range(self.buffers))
        try:
            for _ in range(len(exposures) + self.buffers + _DELAY):
                request = self._next_request(jobs, timeout)
                try:
                    told, buffer = request.get_metadata(), raw_bytes(request, camera)
                finally:
                    jobs.append(camera.capture_request(wait=False))
                    if coming:
                        camera.set_controls(self._exposure_controls(coming.popleft(), gain))
                    request.release()
                if missing := _NEEDED - told.keys():
                    raise FrameError(f"frame without {', '.join(missing)}")
                lost, last = frames_lost(last, told), told["SensorTimestamp"]
                if last - 1000 * told["ExposureTime"] < since:
                    self.counts.skipped += 1
                    continue
                yield self._frame(buffer, told, setup, board | {"frames_lost": lost})
        finally:
            if self._jobs is jobs:
                self._end_jobs()

    def _next_request(self, jobs: deque[Any], timeout: float) -> Any:
        camera = self._opened()
        if self._jobs is not jobs:
            raise HardwareError("another capture began meanwhile", hint="finish one at a time")
        try:
            request = camera.wait(jobs[0], timeout=timeout)
            jobs.popleft()
            return request
        except TimeoutError as error:
            running = f"running, frames of {self._running:.3g} s"
            hint = "check the ribbon cable, the power supply and `dmesg`"
            raise DeviceTimeout(
                f"frame of the {self.info.model}", timeout, running, hint=hint
            ) from error
        except (CancelledError, IndexError) as error:  # by another thread
            raise HardwareError("the camera was closed or configured meanwhile") from error

    def _end_jobs(self) -> None:
        jobs, self._jobs = self._jobs, deque()
        give_back(self._opened(), jobs)

    def _frame(
        self, buffer: Any, told: Mapping[str, Any], setup: _Setup, more: Mapping[str, Any]
    ) -> RawFrame:
        granted, form = setup.granted, setup.form
        mode, roi = granted.mode, granted.roi
        form.check(mode.shape, granted.stride, buffer.size)
        rows, columns = roi.slices
        part = buffer[rows.start * granted.stride :]
        mosaic = decode(part, form, (roi.height, mode.shape[1]), granted.stride, mode.bits)
        self._temperature = told.get("SensorTemperature")
        exposure, gain = told["ExposureTime"] * 1e-6, told["AnalogueGain"]
        return RawFrame(
            mosaic[:, columns].copy() if roi.width < mode.shape[1] else mosaic,
            shifted_cfa(form.cfa, roi.row, roi.column),
            mode.bits,
            black_level(told, form.cfa, mode.bits, roi),
            2.0**mode.bits - 1,
            exposure,
            gain,
            told["SensorTimestamp"],
            asked_exposure=exposure,
            asked_gain=gain,
            origin=(roi.row, roi.column),
            taken=self.clock.utc(),
            metadata={
                "model": self.info.model,
                "format": form.name,
                "defect_correction": granted.defect_correction,
                **kept(told),
                **more,
            },
        )
