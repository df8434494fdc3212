"""Stored vectors of the original programs, as tensors."""

import numpy as np
import torch

from anonymizer.colour import decode_srgb
from tests.shared_data import shared


def vectors(name):
    """Return the arrays of one reference file; the test is skipped where it is absent."""
    with np.load(shared(f"reference/{name}.npz"), allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def light(pixels):
    """Return sRGB pixels, uint8 (H, W, 3), as linear light (1, 3, H, W)."""
    return decode_srgb(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255)


def faces(n=2, height=48, width=64, seed=0):
    """Return smooth random images (n, 3, height, width), linear light [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, height // 8, width // 8, generator=generator)
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
