"""Image sensors: modes, timing, gain law, noise, and the quantisation of what is asked of them.

Constants come from the public Linux drivers (line length, frame length, exposure range), from
libcamera's sensor helpers (gain law, black level, delays) and, for the IMX477, from published
photon-transfer measurements (system gain, read noise, full well).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Mode:
    """One readout mode of a sensor.

    Attributes
    ----------
    size : tuple of int
        Pixels (width, height) that leave the sensor.
    bits : int
        Bits per pixel on the wire.
    crop : tuple of int
        Window (x, y, width, height) of the pixel array that is read.
    line_time : float
        Time per row [s].
    frame_lines : int
        Shortest frame [lines].
    """

    size: tuple[int, int]
    bits: int
    crop: tuple[int, int, int, int]
    line_time: float
    frame_lines: int

    @property
    def binning(self):
        """Pixels of one colour averaged along each axis."""
        return self.crop[2] // self.size[0]


@dataclass(frozen=True)
class Sensor:
    """Constants of one sensor.

    Attributes
    ----------
    model : str
        Name in libcamera's property ``Model``.
    size : tuple of int
        Active pixels (width, height).
    pitch : float
        Pixel pitch [m].
    cfa : str
        Colour filters of the top-left 2 x 2 block; "" for a monochrome sensor.
    black : int
        Black level on the 16-bit scale [DN].
    system_gain : float
        Gain at analogue gain 1, on the 16-bit scale [DN/e-].
    full_well : float
        Largest charge of a pixel [e-].
    noise_before, noise_after : float
        Read noise before and after the analogue amplifier, at the input and gain 1 [e- rms].
    gain_of, code_of : callable
        Analogue gain of a register code, and the code (a float) of a gain.
    max_code : int
        Largest gain code.
    delays : dict of str to int
        Frames from a register write to its effect, for "lines", "code" and "frame".
    min_lines, margin : int
        Shortest exposure, and how much shorter than the frame it has to be [lines].
    max_frame : int
        Longest frame that the register holds [lines].
    max_shift : int
        Times a frame beyond that can be doubled (exposure steps grow alike).
    exposure_offset : float
        Exposure of zero lines [s].
    """

    model: str
    size: tuple[int, int]
    pitch: float
    cfa: str
    black: int
    system_gain: float
    full_well: float
    noise_before: float
    noise_after: float
    gain_of: Callable[[int], float]
    code_of: Callable[[float], float]
    max_code: int
    delays: dict[str, int]
    min_lines: int
    margin: int
    max_frame: int
    max_shift: int
    exposure_offset: float
    modes: tuple[Mode, ...]

    def exposure(self, mode, lines):
        """Return the exposure of `lines` lines [s]."""
        return lines * mode.line_time + self.exposure_offset

    def read_noise(self, gain):
        """Return the read noise at analogue gain `gain`, at the input [e- rms]."""
        return (self.noise_before**2 + (self.noise_after / gain) ** 2) ** 0.5


@dataclass(frozen=True)
class Registers:
    """What is written to the sensor: exposure [lines], gain code, frame length [lines]."""

    lines: int
    code: int
    frame: int


def quantised(sensor: Sensor, mode: Mode, exposure, gain, frame_limits) -> Registers:
    """Return the registers for a wish: exposures are cut to whole lines, gains rounded.

    Parameters
    ----------
    sensor, mode : Sensor, Mode
        Where it is written.
    exposure : float
        Exposure time asked for [s].
    gain : float
        Analogue gain asked for.
    frame_limits : tuple of float
        Shortest and longest frame duration asked for [s]; the exposure yields to the longest.
    """
    whole = sensor.max_frame << sensor.max_shift
    shortest, longest = (
        min(max(int(limit / mode.line_time), mode.frame_lines), whole) for limit in frame_limits
    )
    # Cut to whole lines like the real one; a picosecond keeps exact multiples what they are.
    lines = int((exposure + 1e-12 - sensor.exposure_offset) / mode.line_time)
    lines = min(max(lines, sensor.min_lines), longest - sensor.margin)
    frame = min(max(lines + sensor.margin, shortest), longest)
    shift = 0
    while frame >> shift > sensor.max_frame:
        shift += 1
    code = min(max(round(sensor.code_of(gain)), 0), sensor.max_code)
    return Registers(lines >> shift << shift, code, frame >> shift << shift)


PIXEL_CLOCK = 840e6  # of the IMX477 [Hz]

IMX477 = Sensor(
    model="imx477",
    size=(4056, 3040),
    pitch=1.55e-6,
    cfa="RGGB",
    black=4096,
    system_gain=0.47 * 16,
    full_well=8180.0,
    noise_before=1.49,
    noise_after=2.60,
    gain_of=lambda code: 1024 / (1024 - code),
    code_of=lambda gain: 1024 - 1024 / gain,
    max_code=978,
    delays={"lines": 2, "code": 2, "frame": 3},
    min_lines=4,
    margin=22,
    max_frame=65500,
    max_shift=7,
    exposure_offset=0.0,
    modes=(
        Mode((1332, 990), 10, (696, 528, 2664, 1980), 6664 / PIXEL_CLOCK, 1050),
        Mode((2028, 1080), 12, (0, 440, 4056, 2160), 12740 / PIXEL_CLOCK, 1318),
        Mode((2028, 1520), 12, (0, 0, 4056, 3040), 12740 / PIXEL_CLOCK, 1648),
        Mode((4056, 3040), 12, (0, 0, 4056, 3040), 24000 / PIXEL_CLOCK, 3500),
    ),
)

IMX296 = Sensor(
    model="imx296",
    size=(1456, 1088),
    pitch=3.45e-6,
    cfa="RGGB",
    black=3840,
    system_gain=0.0925 * 64,  # so that full well and white level meet
    full_well=10400.0,
    noise_before=2.0,
    noise_after=1.0,
    gain_of=lambda code: 10 ** (code / 200),
    code_of=lambda gain: 200 * math.log10(gain),
    max_code=239,
    delays={"lines": 2, "code": 2, "frame": 2},
    min_lines=1,
    margin=4,
    max_frame=1048575,
    max_shift=0,
    exposure_offset=14.26e-6,
    modes=(Mode((1456, 1088), 10, (0, 0, 1456, 1088), 1100 / 74.25e6, 1118),),
)

IMX296_MONO = replace(IMX296, cfa="")


def small(sensor: Sensor, divisor: int = 16) -> Sensor:
    """Return `sensor` with an array `divisor` times smaller, for tests that need many frames.

    Sizes are rounded to 8 pixels, windows are centred, and a frame takes as many lines fewer as
    it has rows fewer. All else, line times included, stays.
    """

    def shrunk(pixels):
        return max(round(pixels / divisor / 8), 1) * 8

    binnings = max(mode.binning for mode in sensor.modes)
    width, height = (shrunk(n / binnings) * binnings for n in sensor.size)
    modes = []
    for mode in sensor.modes:
        w, h = (shrunk(n / binnings * mode.binning) * binnings // mode.binning for n in mode.size)
        window = (w * mode.binning, h * mode.binning)
        x, y = ((n - m) // 4 * 2 for n, m in zip((width, height), window, strict=True))
        lines = mode.frame_lines - mode.size[1] + h
        modes.append(Mode((w, h), mode.bits, (x, y, *window), mode.line_time, lines))
    return replace(sensor, size=(width, height), modes=tuple(modes))
