"""The camera: a sensor that runs in a thread of its own, and the requests it fills.

One frame goes: shutter (the scene is asked), end of exposure (its timestamp), hand-over of the
oldest queued request; the controls of that request are written to the sensor at the begin of the
next frame, and take effect after the delays of the sensor.
"""

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from tests.standin.advertised import controls_of, metadata_of, properties_of
from tests.standin.buffers import FrameMetadata, Request
from tests.standin.configuration import Stream, generate
from tests.standin.controls import checked
from tests.standin.exposure import DelayLine, Wishes
from tests.standin.faults import Faults
from tests.standin.main_stream import encode_processed, rgb_of
from tests.standin.pipelines import VC4, Pipeline, encode_raw
from tests.standin.pixels import FrameState, Scene, digitised, grey, read_window
from tests.standin.sensors import IMX477, Sensor

GREY = grey(40e3)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Board:
    """What is plugged in.

    Attributes
    ----------
    sensor : Sensor
        Its constants.
    pipeline : Pipeline
        `VC4` (Pi 4) or `PISP` (Pi 5).
    scene : callable
        ``scene(state) -> (H, W)`` photo-electrons per second in each pixel of the sensor's whole
        array [e-/s], colour filters included; called at the begin of each exposure, in the
        thread of the camera. A number is a uniform scene.
    speed : float
        How many times faster than real the frames come. Timestamps are of the real clock, so
        frames are FrameDuration / speed apart; whoever takes ExposureTime off a timestamp (as
        picamera2 does to flush) lands before the true shutter and waits for some frames more.
    rotation : {0, 180}
        How the board is mounted; at 180 (what the overlay of the HQ camera says) an unflipped
        picture is read out flipped both ways.
    startup_frames : int
        Frames after a start that are marked as not to be used; their pixels are zero.
    seed : int
        Seed of the noise.
    """

    sensor: Sensor = IMX477
    pipeline: Pipeline = VC4
    scene: Scene = GREY
    speed: float = 1.0
    rotation: int = 0
    startup_frames: int = 1
    seed: int = 0

    def __post_init__(self):
        if not self.speed > 0:
            raise ValueError(f"speed = {self.speed}, expected above 0")
        if self.rotation not in (0, 180):
            raise ValueError(f"rotation = {self.rotation}, expected 0 or 180 degrees")


@dataclass(frozen=True)
class FrameRecord:
    """The truth about one delivered frame.

    Attributes
    ----------
    number : int
        Frames that the sensor exposed since the start, this one excluded.
    timestamp_ns : int
        End of the exposure [ns], as in the metadata (unless a fault repeated it there).
    exposure, frame_duration : float
        Exact values, not cut to microseconds [s].
    gain : float
        Analogue gain.
    """

    number: int
    timestamp_ns: int
    exposure: float
    frame_duration: float
    gain: float


class Camera:
    """One camera, with libcamera's methods, and for tests `faults` and `records`."""

    def __init__(self, board: Board, manager, port: int = 0):
        self.board = board
        self.id = f"{board.pipeline.bus}/{board.sensor.model}@{0x1A + port:x}"
        self.faults = Faults()
        self.records: deque[FrameRecord] = deque(maxlen=1000)
        self.error: Exception | None = None  # what the scene raised
        self._manager = manager
        self._acquired = False
        self._configuration = None
        self._mode = max(board.sensor.modes, key=lambda mode: mode.size[0] * mode.size[1])
        self._told_ns = 0
        self._rng = np.random.default_rng(board.seed)
        self._queue: deque[Request] = deque()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def __str__(self):
        return self.id

    @property
    def controls(self):
        return controls_of(self.board.sensor, self._mode)

    @property
    def properties(self):
        return properties_of(self.board.sensor, self.board.rotation)

    def acquire(self):
        if self._acquired or self.faults.held_elsewhere:
            raise RuntimeError("Failed to acquire camera: Device or resource busy")
        self._acquired = True
        self._manager.rest()

    def release(self):
        if self._thread is not None:
            raise RuntimeError("Failed to release camera: Device or resource busy")
        self._acquired = False
        self._configuration = None
        self._manager.wake()

    def generate_configuration(self, roles):
        return generate(self.board, roles)

    def configure(self, configuration):
        if not self._acquired or self._thread is not None:
            raise RuntimeError("Failed to configure camera: Permission denied")
        self._configuration = configuration
        self._mode = configuration.mode
        for stream in configuration:
            stream.stream = Stream(stream)

    def create_request(self, cookie=0):
        if self._configuration is None:
            raise RuntimeError("Failed to create request: Cannot allocate memory")
        return Request(cookie)

    def queue_request(self, request):
        if self._thread is None:
            raise RuntimeError("Failed to queue request: Permission denied")
        self._queue.append(request)

    def start(self, controls=None):
        if self._configuration is None or self._thread is not None:
            raise RuntimeError("Failed to start camera: Permission denied")
        wishes = Wishes()
        wishes.update({key: checked(key, value) for key, value in (controls or {}).items()})
        self._stopping.clear()
        self._thread = threading.Thread(
            target=self._run, args=(wishes,), name=f"standin {self.id}", daemon=True
        )
        self._thread.start()

    def stop(self):
        """Stop the sensor; requests that are still queued come back cancelled."""
        if self._thread is None:
            return
        self._stopping.set()
        self._thread.join()
        self._thread = None
        while self._queue:
            request = self._queue.popleft()
            request.status = Request.Status.Cancelled
            for buffer in request.buffers.values():
                buffer.metadata.status = FrameMetadata.Status.Cancelled
            self._manager.completed(request)

    def _run(self, wishes):
        board, mode = self.board, self._mode
        line = DelayLine(board.sensor.delays, wishes.registers(board.sensor, mode))
        number, begin = 0, time.monotonic()
        try:
            while not self._stopping.is_set():
                begin = self._frame(number, begin, line, wishes)
                number += 1
        except Exception as error:  # of the scene; raised when the board is unplugged
            _log.exception("no more frames from %s", self.id)
            self.error = error

    def _frame(self, number, begin, line, wishes):
        """Expose frame `number`, not before `begin`; return when it ended, both in seconds."""
        board, sensor, mode = self.board, self.board.sensor, self._mode
        registers = line.at(number)
        lines = min(registers.lines, registers.frame - sensor.margin)
        exposure, gain = sensor.exposure(mode, lines), sensor.gain_of(registers.code)
        duration = registers.frame * mode.line_time

        shutter = max(begin + max(duration - exposure, 0.0) / board.speed, time.monotonic())
        if self._stopping.wait(shutter - time.monotonic()):
            return begin
        state = FrameState(number, int(shutter * 1e9), exposure, gain)
        flux = np.broadcast_to(board.scene(state), sensor.size[::-1])
        end = shutter + exposure / board.speed
        record = FrameRecord(number, int(end * 1e9), exposure, duration, gain)
        mean = read_window(flux, mode, not sensor.cfa)
        hflip, vflip = self._configuration.flips
        charge = mean[:: -1 if vflip else 1, :: -1 if hflip else 1].astype(np.float32)
        level = float(charge[::16, ::16].mean())
        charge *= np.float32(exposure)
        mosaic = digitised(charge, sensor, mode, gain, self._rng)
        if self._stopping.wait(max(end - time.monotonic(), 0.0)):
            return end

        lost = self.faults.cable_out or self.faults.loses_this_frame()
        # The application is not `speed` times faster: it has the time of a true frame to bring a
        # request before the frame is lost.
        if not lost and self._wait_for_request(end + duration * (1 - 1 / board.speed)):
            request = self._queue.popleft()
            wishes.update(request.controls)
            line.write(number + 1, wishes.registers(sensor, mode))
            self._deliver(request, record, mosaic, wishes, level)
        return end

    def _wait_for_request(self, deadline):
        while not self._queue and time.monotonic() < deadline and not self._stopping.is_set():
            time.sleep(0.2e-3)
        return bool(self._queue) and not self._stopping.is_set()

    def _deliver(self, request, record, mosaic, wishes, level):
        board, sensor, mode = self.board, self.board.sensor, self._mode
        startup = record.number < board.startup_frames
        spoiled = None if startup else self.faults.spoils_this_frame()
        told = record
        if spoiled == "repeat":
            told = replace(record, timestamp_ns=self._told_ns)
        self._told_ns = told.timestamp_ns
        scale = 2.0 ** (mode.bits - 16)
        for stream, buffer in request.buffers.items():
            asked = stream.configuration
            name = str(asked.pixel_format)
            if asked.is_raw:
                data = encode_raw(mosaic, name, mode.bits, asked.stride)
                if spoiled == "short":
                    data = data[: len(data) // 2]
            else:
                size = (asked.size.width, asked.size.height)
                cfa, black = self._configuration.cfa, sensor.black * scale
                white = 2.0**mode.bits - 1
                rgb = rgb_of(mosaic, cfa, size, black, white, wishes.colour_gains)
                data = encode_processed(rgb, name, asked.stride)
            if startup or spoiled == "zero":
                data = np.zeros_like(data)
            buffer.fill(data.ravel())
            status = FrameMetadata.Status
            buffer.metadata.status = status.Startup if startup else status.Success
            buffer.metadata.sequence = record.number
            buffer.metadata.timestamp = told.timestamp_ns
            buffer.metadata.planes[0].bytes_used = data.size
        wall_clock = time.time_ns() - time.monotonic_ns() + told.timestamp_ns
        request.metadata = metadata_of(told, sensor, mode, wishes, wall_clock, level)
        request.status = Request.Status.Complete
        if not startup:
            self.records.append(record)
        self._manager.completed(request)
