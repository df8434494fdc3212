"""Finding the spot and the exposure, before a step of a session begins."""

import math

import numpy as np

from hardware.cameras.base import Camera, CaptureSettings, SensorMode
from hardware.errors import HardwareError
from hardware.frames import RawFrame, Roi
from hardware.session.plan import AutoExposure, Spot

#: The brightest pixels beyond this share of a channel do not count: some are defective.
BRIGHTEST = 1e-4
#: But no more than so many of them, as a spot in focus has no more pixels than that.
FEWEST = 3
#: Pixels above this share of the range may be full.
NEARLY_FULL = 0.9
#: Frames of a search for the exposure.
MOST_TRIES = 30
#: Frames of a search come this fast where their exposures allow it [s].
QUICK = 0.1
#: What will do for finding the spot.
ANY_LEVEL = AutoExposure(low=0.1, high=0.9)
#: Side of the blocks in which the spot is looked for, so that single pixels do not count.
BLOCK = 8
#: Blocks above this share of the brightest belong to the spot.
SPOT_SHARE = 0.2


def level(frame: RawFrame) -> float:
    """Return the level of the brightest colour channel as a share of white minus black.

    It is the value that 99.99 % of the pixels at one position of the colour mosaic stay below, in
    large frames the fourth brightest.
    """
    found = []
    for number, black in enumerate(frame.black_level):
        plane = frame.mosaic[number // 2 :: 2, number % 2 :: 2].ravel()
        if plane.size:
            rank = 1 + min(FEWEST, int(BRIGHTEST * plane.size))
            value = float(np.partition(plane, -rank)[-rank])
            found.append((value - black) / (frame.white_level - black))
    return max(found)


def saturated(frame: RawFrame) -> float:
    """Return the share of pixels above 90 % of the range, at or near saturation.

    Not all sensors fill their range: pixels may be full below the white level.
    """
    black = min(frame.black_level)
    return float(np.mean(frame.mosaic > black + NEARLY_FULL * (frame.white_level - black)))


def find_exposure(
    camera: Camera,
    rule: AutoExposure,
    *,
    mode: SensorMode,
    region: Roi | None = None,
    gain: float = 1.0,
    start: float = 1e-3,
) -> float:
    """Return the exposure [s] that puts the brightest channel where `rule` wants it.

    Parameters
    ----------
    camera : Camera
        The camera; it is left configured for the search.
    rule : AutoExposure
        Where the level may end, and the longest exposure.
    mode : SensorMode
        Mode of the camera.
    region : Roi, optional
        Part of the frame that counts, by default all of it.
    gain : float
        Analogue gain.
    start : float
        Exposure to begin with [s].

    Raises
    ------
    HardwareError
        The light is too bright, too dark or unsteady.
    """
    bottom, top = mode.min_exposure, min(rule.longest, mode.max_exposure)
    shortest, longest, target = bottom, top, math.sqrt(rule.low * rule.high)
    exposure, duration = min(max(start, bottom), top), 0.0
    for _ in range(MOST_TRIES):
        if exposure > duration:
            quick = min(max(QUICK, exposure), mode.max_exposure)
            duration = camera.configure(CaptureSettings(mode.name, region, quick)).frame_duration
        seen = level(camera.capture(exposure, gain))
        if rule.low <= seen <= rule.high:
            return exposure
        if seen > rule.high and exposure == bottom:
            raise HardwareError(
                f"light: {seen:.0%} of the range at the shortest exposure, {exposure:g} s",
                hint="lower the level of the light",
            )
        if seen < rule.low and exposure == top:
            raise HardwareError(
                f"light: {seen:.1%} of the range at the longest exposure, {exposure:g} s",
                hint="raise the level of the light, or the longest exposure; is the source on?",
            )
        shortest, longest = (shortest, exposure) if seen > rule.high else (exposure, longest)
        middle = math.sqrt(shortest * longest)
        guess = exposure * target / seen if 0.05 < seen < 0.95 else middle
        if longest < 1.02 * shortest:
            guess = shortest if seen > rule.high else longest
        if guess <= shortest:
            guess = bottom if shortest == bottom else middle
        elif guess >= longest:
            guess = top if longest == top else middle
        exposure = guess
    raise HardwareError(
        f"exposure: no level between {rule.low:.0%} and {rule.high:.0%} in {MOST_TRIES} frames, "
        f"{seen:.0%} in the last at {exposure:g} s",
        hint="is the light steady (no flicker, no daylight)?",
    )


def find_spot(frame: RawFrame, size: Spot) -> Roi:
    """Return the region of `size` around the spot in a full frame, on even rows and columns.

    The spot is the centroid of what is brighter than a fifth of the brightest 8 x 8 pixels above
    the median of the frame.

    Raises
    ------
    ValueError
        The frame is smaller than `size`.
    HardwareError
        Nothing stands out from the frame.
    """
    height, width = frame.shape
    if size.height > height or size.width > width:
        raise ValueError(
            f"spot = {size.height} x {size.width} pixels: the frame has {height} x {width}"
        )
    rows, columns = height // BLOCK, width // BLOCK
    blocks = frame.mosaic[: rows * BLOCK, : columns * BLOCK]
    mean = blocks.reshape(rows, BLOCK, columns, BLOCK).mean(axis=(1, 3))
    mean -= np.median(mean)
    scatter = 1.4826 * float(np.median(np.abs(mean)))
    if not mean.max() > max(8 * scatter, 0.25):
        raise HardwareError(
            "spot: nothing stands out from the frame",
            hint="is the source on, and in the field of view?",
        )
    weight = np.where(mean > SPOT_SHARE * mean.max(), mean, 0.0)
    row = float((weight.sum(1) @ np.arange(rows)) / weight.sum() + 0.5) * BLOCK
    column = float((weight.sum(0) @ np.arange(columns)) / weight.sum() + 0.5) * BLOCK
    top = min(max(round((row - size.height / 2) / 2) * 2, 0), (height - size.height) // 2 * 2)
    left = min(max(round((column - size.width / 2) / 2) * 2, 0), (width - size.width) // 2 * 2)
    return Roi(top, left, size.height, size.width)
