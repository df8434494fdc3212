"""Faces of strangers, to be put on others by a swap network."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from anonymizer.colour import decode_srgb
from experiments.data.errors import DataError
from experiments.data.pictures import PictureLimits
from experiments.picture_sources import read_picture

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})


def read_strangers(folder: str, *, size: int = 256, limit: int = 64) -> Tensor:
    """Read frontal, aligned faces from a folder.

    Parameters
    ----------
    folder : str
        With one picture for each person, who consented or does not exist.
    size : int
        Side of the squares to which the pictures are cut and resized [px].
    limit : int
        At most so many are read, by name.

    Returns
    -------
    Tensor
        (N, 3, size, size), linear light [0, 1].

    Raises
    ------
    DataError
        If there is no picture, or one cannot be read.
    """
    if size < 16 or limit < 1:
        raise ValueError(f"size = {size} px, limit = {limit}, expected at least 16 and 1")
    place = Path(folder)
    paths = sorted(p for p in place.glob("*") if p.suffix.lower() in _SUFFIXES)[:limit]
    if not paths:
        raise DataError(f"folder = {folder} holds no pictures; put one face of each stranger there")
    return decode_srgb(torch.stack([_square(path, size) for path in paths]))


def _square(path: Path, size: int) -> Tensor:
    """Return the middle square of a picture (3, size, size), sRGB in [0, 1]."""
    pixels = read_picture(path, PictureLimits())
    height, width = pixels.shape[:2]
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    square = Image.fromarray(pixels[top : top + side, left : left + side])
    small = np.array(square.resize((size, size), Image.Resampling.BICUBIC))
    return torch.from_numpy(small).permute(2, 0, 1) / 255
