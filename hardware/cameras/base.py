"""Still cameras that return unprocessed sensor data.

A driver says what the sensor can do and delivers frames as they come; this class sees to what all
of them owe their user: settings that were confirmed by the sensor itself, frames that are whole,
new and begun after the call, and waits that end.
"""

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Self

from hardware.clock import Clock, SystemClock
from hardware.errors import DeviceTimeout, FrameError, HardwareError, SettingsNotApplied
from hardware.frames import RawFrame, Roi

#: Share by which a reported exposure may differ from the one asked for, beyond one step of it.
EXPOSURE_TOLERANCE = 0.01
#: The same for the gain, whose steps are the coarser the higher it is (2 % at 22 on an IMX477).
GAIN_TOLERANCE = 0.03


@dataclass(frozen=True)
class SensorMode:
    """One way to read the sensor.

    Attributes
    ----------
    name : str
        What a user chooses it by, e.g. "4056x3040-12".
    shape : tuple of int
        Pixels (H, W).
    bits : int
        Resolution of the values.
    cfa : str
        Colours of the 2 x 2 block at the top left; "" for a mono sensor.
    pixel_pitch : float
        Side of a pixel of this mode, larger than the sensor's where it bins [m].
    min_exposure, max_exposure : float
        Range of the exposure [s].
    max_gain : float
        Largest analogue gain.
    frame_rate : float
        Most frames per second.
    """

    name: str
    shape: tuple[int, int]
    bits: int
    cfa: str
    pixel_pitch: float
    min_exposure: float
    max_exposure: float
    max_gain: float
    frame_rate: float


@dataclass(frozen=True)
class CameraInfo:
    """What a camera is.

    Attributes
    ----------
    model : str
        Sensor, e.g. "imx477".
    serial : str
        What tells it from another of its kind; "" if nothing does.
    driver : str
        Software behind it, with its version.
    pixel_pitch : float
        Side of a sensor pixel [m].
    shape : tuple of int
        Pixels of the sensor (H, W).
    """

    model: str
    serial: str
    driver: str
    pixel_pitch: float
    shape: tuple[int, int]


@dataclass(frozen=True)
class CaptureSettings:
    """What is asked of a camera.

    Attributes
    ----------
    mode : str
        Name of a mode; "" takes the one with most pixels.
    roi : Roi or None
        Part of the frame to keep; None keeps all of it.
    max_exposure : float
        Longest exposure that will be asked for. It fixes the frame duration, so that no exposure
        of a bracket is cut short by a change of it [s].
    """

    mode: str = ""
    roi: Roi | None = None
    max_exposure: float = 0.1


@dataclass(frozen=True)
class GrantedSettings:
    """What the camera really does.

    Attributes
    ----------
    mode : SensorMode
        The mode.
    roi : Roi
        The part of its frame that is kept.
    format : str
        The camera's own name of the granted pixel format, e.g. "SRGGB16".
    stride : int
        Bytes per row of it, padding included; 0 if there are no such rows.
    frame_duration : float
        Time from frame to frame [s].
    exposure_step : float
        The exposure comes in steps no larger than this, the time of one row or so [s].
    defect_correction : str
        Whether the sensor replaces pixels it takes for defective: "on", "off" or "unknown".
    """

    mode: SensorMode
    roi: Roi
    format: str
    stride: int
    frame_duration: float
    exposure_step: float
    defect_correction: str = "unknown"


@dataclass
class CaptureCounts:
    """What happened to frames since the camera was opened.

    Attributes
    ----------
    kept, skipped, rejected : int
        Delivered; not yet with the settings asked for; damaged or repeated.
    reopened : int
        How often the camera was opened again after it fell silent.
    """

    kept: int = 0
    skipped: int = 0
    rejected: int = 0
    reopened: int = 0


@dataclass
class Camera(ABC):
    """Takes raw stills; use it in a ``with`` block so that the sensor is released.

    Parameters
    ----------
    patience : float
        How long a frame may take beyond three times its exposure [s].
    retakes : int
        How often what was missed or damaged is asked for again.
    clock : Clock
        Source of time.
    """

    patience: float = field(default=10.0, kw_only=True)
    retakes: int = field(default=2, kw_only=True)
    clock: Clock = field(default_factory=SystemClock, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        self.counts = CaptureCounts()
        self.granted: GrantedSettings | None = None
        self._last_timestamp = -1

    # What a driver provides

    @property
    @abstractmethod
    def info(self) -> CameraInfo:
        """What the camera is."""

    @property
    @abstractmethod
    def modes(self) -> Sequence[SensorMode]:
        """Ways to read the sensor, the one with most pixels first."""

    @abstractmethod
    def _configure(self, mode: SensorMode, roi: Roi, max_exposure: float) -> GrantedSettings:
        """Set the camera up, and return what was granted."""

    @abstractmethod
    def _expose(
        self, exposures: Sequence[float], gain: float, granted: GrantedSettings, timeout: float
    ) -> Generator[RawFrame, None, None]:
        """Yield frames begun after the call, with what the sensor reports about each.

        The driver asks the sensor for one exposure of the list per frame, and goes on for as many
        frames as its settings take to arrive. It may yield frames with other settings, in any
        order; their `asked_exposure` and `asked_gain` are filled in by the caller. It raises
        DeviceTimeout where no frame comes within `timeout` [s], FrameError for one that cannot be
        decoded, and stops when closed.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the sensor; safe to call twice."""

    def _reopen(self) -> bool:
        """Open the camera again after it fell silent, with its settings; tell whether it is."""
        return False

    def status(self) -> Mapping[str, Any]:
        """Return what is worth watching, such as ``temperature`` [degrees Celsius]."""
        return {}

    # What a user calls

    def configure(self, settings: CaptureSettings | None = None) -> GrantedSettings:
        """Choose mode, region and longest exposure; return what was granted.

        Raises
        ------
        ValueError
            There is no such mode, the region leaves its frame, or the exposure its range.
        HardwareError
            The camera refuses, or would deliver values that are no measurement.
        """
        settings = settings or CaptureSettings()
        mode = self._mode(settings.mode)
        roi = settings.roi or Roi(0, 0, *mode.shape)
        roi.check_inside(mode.shape)
        _check_exposure("max_exposure", settings.max_exposure, mode)
        self.granted = None
        self.granted = self._configure(mode, roi, settings.max_exposure)
        return self.granted

    def capture(self, exposure: float, gain: float = 1.0) -> RawFrame:
        """Take one frame, begun after this call, with exposure and gain confirmed by the sensor.

        Parameters
        ----------
        exposure : float
            Exposure time [s].
        gain : float, default 1.0
            Analogue gain.

        Raises
        ------
        SettingsNotApplied
            The sensor went on reporting another exposure or gain.
        DeviceTimeout
            No frame came, not even after the camera was opened again.
        FrameError
            Frames went on being damaged.
        """
        with closing(self.bracket([exposure], gain=gain)) as frames:
            return next(frames)

    def bracket(
        self, exposures: Sequence[float], *, repeats: int = 1, gain: float = 1.0
    ) -> Generator[RawFrame, None, None]:
        """Yield `repeats` frames of each exposure as they arrive, the settings pipelined.

        Parameters
        ----------
        exposures : sequence of float
            Exposure times, each two further apart than the sensor's report is exact [s].
        repeats : int
            Frames of each.
        gain : float
            Analogue gain of all of them.

        Raises
        ------
        ValueError
            An exposure or the gain is outside the range of the mode, or two exposures are as
            good as one.
        HardwareError
            As in `capture`.
        """
        if not exposures or repeats < 1:
            raise ValueError(f"{len(exposures)} exposures, repeats = {repeats}: expected 1 or more")
        granted = self.granted or self.configure(CaptureSettings(max_exposure=max(exposures)))
        for exposure in exposures:
            _check_exposure("exposure", exposure, granted.mode)
            if exposure > granted.frame_duration:
                raise ValueError(
                    f"exposure = {exposure:g} s is longer than the frame duration, "
                    f"{granted.frame_duration:g} s; configure with max_exposure={exposure:g}"
                )
        if not 1.0 <= gain <= granted.mode.max_gain:
            raise ValueError(f"gain = {gain:g}, expected 1 to {granted.mode.max_gain:g}")
        for shorter, longer in pairwise(sorted(exposures)):
            if longer - shorter <= _allowed(longer, granted):
                raise ValueError(
                    f"exposures {shorter:g} s and {longer:g} s: what the sensor reports cannot "
                    f"tell them apart; {_allowed(longer, granted):g} s or more must lie between"
                )
        return self._collect(Counter(dict.fromkeys(exposures, repeats)), gain, granted)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # How

    def _mode(self, name: str) -> SensorMode:
        for mode in self.modes:
            if name in ("", mode.name):
                return mode
        known = ", ".join(mode.name for mode in self.modes)
        raise ValueError(f"mode = {name!r}: the {self.info.model} has {known}")

    def _collect(
        self, missing: Counter[float], gain: float, granted: GrantedSettings
    ) -> Generator[RawFrame, None, None]:
        trouble: HardwareError = FrameError("no frame came that was begun after the call")
        tries, silent = self.retakes + 1, False
        while tries:
            tries -= 1
            wanted = list(missing.elements())
            timeout = 3 * max(wanted) + 2 * granted.frame_duration + self.patience
            try:
                with closing(self._expose(wanted, gain, granted, timeout)) as frames:
                    for frame in frames:
                        try:
                            self._check(frame, granted)
                            asked = _asked(frame, missing, gain, granted)
                        except FrameError as error:
                            self.counts.rejected += 1
                            trouble = error.with_traceback(None)  # else it keeps the frame
                            continue
                        except SettingsNotApplied as error:
                            self.counts.skipped += 1
                            trouble = error.with_traceback(None)
                            continue
                        missing[asked] -= 1
                        missing += Counter()  # drops what is complete
                        self.counts.kept += 1
                        yield replace(frame, asked_exposure=asked, asked_gain=gain)
                        if not missing:
                            return
            except FrameError as error:  # not even decoded
                self.counts.rejected += 1
                trouble = error.with_traceback(None)
            except DeviceTimeout:
                if silent or not self._reopen():
                    raise
                silent = True
                self.counts.reopened += 1
                tries += 1  # opening it again is no retake
        raise trouble

    def _check(self, frame: RawFrame, granted: GrantedSettings) -> None:
        """Raise FrameError for a frame that cannot be what the sensor saw just now."""
        expected = (granted.roi.height, granted.roi.width)
        if frame.shape != expected:
            raise FrameError(f"frame is {frame.shape}, expected {expected}")
        if frame.timestamp <= self._last_timestamp:
            raise FrameError(f"frame repeats the time {frame.timestamp} ns of an earlier one")
        highest = int(frame.mosaic.max())
        if highest == 0:  # no sensor is that dark; one that is saturated everywhere is in order
            raise FrameError("frame is empty: all values are 0")
        if highest >= 2**frame.bits:
            raise FrameError(f"frame holds values above {2**frame.bits - 1}, {frame.bits} bits")
        self._last_timestamp = frame.timestamp


def _check_exposure(name: str, exposure: float, mode: SensorMode) -> None:
    low, high = mode.min_exposure, mode.max_exposure
    if not (math.isfinite(exposure) and low <= exposure <= high):
        raise ValueError(
            f"{name} = {exposure:g} s is outside [{low:g}, {high:g}] s of mode {mode.name}"
        )


def _allowed(exposure: float, granted: GrantedSettings) -> float:
    """Return by how much a report may differ from `exposure` [s]."""
    return max(EXPOSURE_TOLERANCE * exposure, granted.exposure_step)


def _asked(
    frame: RawFrame, missing: Mapping[float, int], gain: float, granted: GrantedSettings
) -> float:
    """Return which missing exposure the frame has; SettingsNotApplied if none of them."""
    nearest = min(missing, key=lambda exposure: abs(exposure - frame.exposure))
    hint = "its frame duration or another program may limit it; try a shorter one"
    if abs(frame.exposure - nearest) > _allowed(nearest, granted):
        raise SettingsNotApplied("exposure", nearest, frame.exposure, "s", hint)
    if abs(frame.gain - gain) > GAIN_TOLERANCE * gain:
        raise SettingsNotApplied("gain", gain, frame.gain)
    return nearest
