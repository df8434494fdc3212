"""What a person who focuses and exposes wants to know of a raw frame, from its values alone.

Planes are those of the 2 x 2 block: "R", "G" (both greens), "B", or "Y" for a mono sensor.
Positions are pixels (x, y) of the full frame, the centre of its first pixel at (0, 0).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardware.frames import RawFrame, Roi

#: Bins of a histogram, from 0 to the highest value of the sensor.
BINS = 64


@dataclass(frozen=True)
class ChannelLevel:
    """How far one colour is exposed.

    Attributes
    ----------
    peak, mean : float
        Highest and mean value, black level 0, white level 1.
    clipped : float
        Share of its pixels at the white level or above.
    histogram : list of int
        Pixels by value, in `BINS` equal bins over all values of the sensor.
    """

    peak: float
    mean: float
    clipped: float
    histogram: list[int]


@dataclass(frozen=True)
class Measures:
    """What a region of a frame shows.

    Attributes
    ----------
    roi : Roi
        The region, in the full frame.
    channels : dict of str to ChannelLevel
        By colour.
    sharpness : float or None
        See `sharpness`.
    centroid : tuple of float or None
        Centre (x, y) of the light above the background; None where there is none [pixels].
    """

    roi: Roi
    channels: dict[str, ChannelLevel]
    sharpness: float | None
    centroid: tuple[float, float] | None


def measure(frame: RawFrame, roi: Roi | None = None) -> Measures:
    """Return the measures of a region, given in the full frame; its part outside is left out."""
    part = frame.crop(within(frame, roi)) if roi is not None else frame
    row, column = part.origin
    height, width = part.shape
    first, second = _interleaved(part)
    centroid = _centroid(first, second)
    if centroid is not None:
        centroid = (column + centroid[0], row + centroid[1])
    return Measures(
        Roi(row, column, height, width), _levels(part), sharpness(first, second), centroid
    )


def within(frame: RawFrame, roi: Roi) -> Roi:
    """Return the part of `roi` (of the full frame) that `frame` shows, counted in `frame`.

    It keeps 8 x 8 pixels, or what the frame has.
    """
    height, width = frame.shape
    row, rows = _span(roi.row - frame.origin[0], roi.height, height)
    column, columns = _span(roi.column - frame.origin[1], roi.width, width)
    return Roi(row, column, rows, columns)


def _span(first: int, length: int, size: int) -> tuple[int, int]:
    last = min(size, max(first + length, 8))
    first = max(0, min(first, last - 8))
    return first, last - first


def sharpness(first: NDArray[np.floating], second: NDArray[np.floating]) -> float | None:
    r"""Return the rms spatial frequency of the contrast, free of a bias by noise [cycles/pixel].

    .. math:: \nu = \frac{1}{2\pi}
              \sqrt{\frac{\langle \nabla a \cdot \nabla b \rangle}{\langle a\, b \rangle}}

    with `a` and `b` the two interleaved planes (the greens), each less its mean. They see the same
    scene with independent noise, which therefore leaves both means. By Parseval's theorem it is
    the rms frequency of the spectrum: light, exposure and offset leave it as it is, focus raises
    it.

    Parameters
    ----------
    first, second : ndarray of float, shape (H, W)
        Planes whose samples are two sensor pixels apart.

    Returns
    -------
    float or None
        None where there is no contrast above the noise.

    Notes
    -----
    Central differences over four pixels underestimate frequencies above 0.1 cycles/pixel, and the
    two planes lie one pixel apart on the diagonal, which lowers it alike: a measure to compare by.
    """
    a, b = first - first.mean(), second - second.mean()
    if min(a.shape) < 3:
        return None
    along_x = np.mean((a[:, 2:] - a[:, :-2]) * (b[:, 2:] - b[:, :-2]))
    along_y = np.mean((a[2:] - a[:-2]) * (b[2:] - b[:-2]))
    contrast, slope = float(np.mean(a * b)), float(along_x + along_y) / 16  # 4 pixels, squared
    noise = float(a.std() * b.std()) / math.sqrt(a.size)
    if contrast <= 3 * noise or slope <= 0:
        return None
    return math.sqrt(slope / contrast) / (2 * math.pi)


def step_of(frame: RawFrame, longest: int) -> int:
    """Return how many sensor pixels a pixel of the `overview` is wide."""
    return 2 * max(1, math.ceil(max(frame.shape) // 2 / longest))


def overview(frame: RawFrame, longest: int) -> NDArray[np.uint8]:
    """Return a small picture for a screen, sRGB-coded, shape (H, W, 3).

    Of all pixels that fall on one of the picture the brightest is shown, so that a point source is
    never lost between them.

    Parameters
    ----------
    frame : RawFrame
        What to show.
    longest : int
        Most pixels along a side.
    """
    step = step_of(frame, longest) // 2
    black, top = min(frame.black_level), max(1.0, frame.white_level - min(frame.black_level))
    linear = ((np.arange(2**frame.bits) - black) / top).clip(0, 1)
    coded = np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    table = np.rint(255 * coded).astype(np.uint8)
    shown = [table[part.clip(0, 2**frame.bits - 1)] for part in _brightest(frame, step)]
    if not frame.cfa:
        return np.repeat(np.maximum.reduce(shown)[..., None], 3, axis=2)
    picture = np.zeros((*shown[0].shape, 3), np.uint8)
    for values, colour in zip(shown, frame.cfa, strict=True):
        layer = picture[..., "RGB".index(colour)]
        np.maximum(layer, values, out=layer)
    return picture


def _brightest(frame: RawFrame, step: int) -> list[NDArray[np.uint16]]:
    """Return of each plane the highest value in blocks of `step` x `step`, cut ones too."""
    mosaic, found = _even(frame), []
    rows, columns = (np.arange(0, size // 2, step) for size in mosaic.shape)
    for i in (0, 1):  # whole rows first: they lie together in memory
        tall = np.maximum.reduceat(mosaic[i::2], rows, axis=0)
        found += [np.maximum.reduceat(tall[:, j::2], columns, axis=1) for j in (0, 1)]
    return found


def _even(frame: RawFrame) -> NDArray[np.uint16]:
    """Return the mosaic without an odd last row or column."""
    height, width = frame.shape
    return frame.mosaic[: max(2, height - height % 2), : max(2, width - width % 2)]


def _planes(frame: RawFrame) -> list[tuple[NDArray[np.uint16], str]]:
    """Return the four planes of the 2 x 2 block, of one shape, with their colours."""
    even, cfa = _even(frame), frame.cfa or "YYYY"
    return [(even[i::2, j::2], cfa[2 * i + j]) for i in (0, 1) for j in (0, 1)]


def _levels(frame: RawFrame) -> dict[str, ChannelLevel]:
    values = 2**frame.bits
    counts: dict[str, NDArray[np.int64]] = {}
    for plane, colour in _planes(frame):
        found = np.bincount(plane.ravel(), minlength=values)[:values]
        counts[colour] = counts.get(colour, np.zeros(values, np.int64)) + found
    black = float(np.mean(frame.black_level))
    top = max(1.0, frame.white_level - black)
    white = min(values, math.ceil(frame.white_level))
    result = {}
    for colour in sorted(counts, key="RGBY".index):
        count = counts[colour]
        mean = float(count @ np.arange(values)) / int(count.sum())
        result[colour] = ChannelLevel(
            peak=(float(np.flatnonzero(count)[-1]) - black) / top,
            mean=(mean - black) / top,
            clipped=int(count[white:].sum()) / int(count.sum()),
            histogram=count.reshape(min(BINS, values), -1).sum(axis=1).tolist(),
        )
    return result


def _interleaved(frame: RawFrame) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return two planes on one diagonal: the greens, or every second pixel of a mono sensor."""
    planes = _planes(frame)
    chosen = [i for i, (_, colour) in enumerate(planes) if colour == "G"] or [0, 3]
    first, second = (planes[i][0] - np.float32(frame.black_level[i]) for i in chosen)
    return first.astype(np.float32), second.astype(np.float32)


def _centroid(
    first: NDArray[np.float32], second: NDArray[np.float32]
) -> tuple[float, float] | None:
    """Return the centre of the light above the background, (x, y) in pixels of the region."""
    light = first + second  # their mean position is the centre of the 2 x 2 block
    background = float(np.median(light))
    # Values are whole numbers: the median of their deviations is known to half of one.
    spread = 1.4826 * (float(np.median(np.abs(light - background))) + 0.5)
    # The highest of N normal deviates lies near sqrt(2 ln N); one more keeps noise out.
    significant = 1 + math.sqrt(2 * math.log(max(2, light.size)))
    weight = (light - (background + significant * spread)).clip(0)
    total = float(weight.sum(dtype=np.float64))
    if total <= 0:
        return None
    y = float(weight.sum(axis=1, dtype=np.float64) @ np.arange(weight.shape[0])) / total
    x = float(weight.sum(axis=0, dtype=np.float64) @ np.arange(weight.shape[1])) / total
    return 2 * x + 0.5, 2 * y + 0.5
