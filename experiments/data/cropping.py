"""Cut the standard crop out of a picture, in linear light.

The crop is a square of `context` face widths around the face, not rotated. Where it leaves the
picture, the border is continued and fades to the mean colour of the border.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from anonymizer.alignment import face_frame
from anonymizer.colour import decode_srgb, encode_srgb

_FADE = 0.15  # face widths over which the continued border falls to 1/e
_MARGIN = 4  # crop pixels around the crop that the resampling kernel may reach


@dataclass(frozen=True)
class Crop:
    """One standard crop.

    Attributes
    ----------
    image : ndarray of uint8, shape (S, S, 3)
        sRGB values.
    landmarks : ndarray of float32, shape (68, 2)
        As (x, y) in the crop [px].
    face_width : float
        Face width in the picture it was cut from [px].
    outside : float
        Share of the crop's area that lay outside the picture.
    """

    image: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    face_width: float
    outside: float


def face_place(landmarks: NDArray[np.floating]) -> tuple[float, float, float]:
    """Return the centre (x, y) and the width of a face from its landmarks (68, 2) [px]."""
    centre, width, _ = face_frame(torch.from_numpy(np.asarray(landmarks, np.float64)))
    return float(centre[0]), float(centre[1]), float(width)


def cut_crop(
    pixels: NDArray[np.uint8], landmarks: NDArray[np.floating], *, size: int, context: float
) -> Crop:
    """Cut the standard crop around a face.

    Cubic interpolation, averaged over area where the picture shrinks.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
        sRGB picture.
    landmarks : ndarray, shape (68, 2)
        iBUG points as (x, y), pixel centres at whole numbers [px].
    size : int
        Side of the crop [px].
    context : float
        Side of the crop in face widths.
    """
    x, y, width = face_place(landmarks)
    side = context * width
    left, top = x + 0.5 - side / 2, y + 0.5 - side / 2  # edges, the first pixel starts at 0
    height, length = pixels.shape[:2]
    margin = int(np.ceil(_MARGIN * max(side / size, 1)))
    columns = np.arange(int(np.floor(left)) - margin, int(np.ceil(left + side)) + margin)
    rows = np.arange(int(np.floor(top)) - margin, int(np.ceil(top + side)) + margin)
    inside = pixels[np.ix_(rows.clip(0, height - 1), columns.clip(0, length - 1))]
    linear = _linear_table()[inside]
    away = np.hypot(_beyond(rows, height)[:, None], _beyond(columns, length)[None])
    if away.any():
        weight = np.exp(-away / (_FADE * width)).astype(np.float32)[..., None]
        linear = weight * linear + (1 - weight) * _border_colour(pixels)
    box = (left - columns[0], top - rows[0], left - columns[0] + side, top - rows[0] + side)
    planes = [
        np.asarray(Image.fromarray(plane).resize((size, size), Image.Resampling.BICUBIC, box=box))
        for plane in np.ascontiguousarray(linear.transpose(2, 0, 1))
    ]
    encoded = encode_srgb(torch.from_numpy(np.stack(planes, axis=-1))).numpy()
    covered = _overlap(left, side, length) * _overlap(top, side, height)
    points = (np.asarray(landmarks, np.float64) + 0.5 - (left, top)) * (size / side) - 0.5
    return Crop(
        image=np.rint(encoded * 255).astype(np.uint8),
        landmarks=points.astype(np.float32),
        face_width=width,
        outside=1 - covered / side**2,
    )


def _beyond(index: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Return how far rows or columns lie outside a picture [px]."""
    return np.maximum(np.maximum(-index, index - (count - 1)), 0).astype(np.float64)


def _overlap(start: float, side: float, count: int) -> float:
    """Return the length of [start, start + side] that lies in [0, count]."""
    return max(0.0, min(start + side, count) - max(start, 0.0))


def _border_colour(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the mean linear colour (3,) of the outermost pixels."""
    border = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
    colour: NDArray[np.float32] = _linear_table()[np.concatenate(border)].mean(axis=0)
    return colour


@cache
def _linear_table() -> NDArray[np.float32]:
    """Return the linear light of the 256 sRGB values."""
    table: NDArray[np.float32] = decode_srgb(torch.arange(256) / 255).numpy()
    return table
