"""Backgrounds: gradients, out-of-focus shapes and lights."""

from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter

from experiments.data.synthetic.raster import Floats
from experiments.data.synthetic.shot import Shot

_COARSE = 32


def draw_backdrop(shot: Shot, size: int) -> Floats:
    """Draw a blurred background (3, size, size) in linear light from the shot's own numbers."""
    rng = shot.rng
    ramp = np.linspace(0, 1, _COARSE)
    direction = rng.uniform(-1, 1, 2)
    mix = 0.5 + 0.5 * (direction[0] * (ramp[:, None] - 0.5) + direction[1] * (ramp - 0.5))
    level = float(np.exp(rng.normal(-1.7, 0.8)))
    first, second = (level * rng.dirichlet([14, 14, 14], 2) * 3).clip(0, 1.2)
    image = first + mix[..., None] * (second - first)
    for _ in range(int(rng.integers(0, 9))):
        y, x = rng.uniform(-4, _COARSE + 4, 2)
        h, w = rng.uniform(2, 14, 2)
        colour = rng.dirichlet([9, 9, 9]) * 3 * level * float(np.exp(rng.normal(0, 0.7)))
        rows, columns = np.mgrid[:_COARSE, :_COARSE]
        if rng.uniform() < 0.5:
            inside = (np.abs(rows - y) < h) & (np.abs(columns - x) < w)
        else:
            inside = ((rows - y) / h) ** 2 + ((columns - x) / w) ** 2 < 1
        image = np.where(inside[..., None], colour, image)
    sigma = float(rng.uniform(0.4, 3.0))
    image = gaussian_filter(image, (sigma, sigma, 0), mode="nearest")
    weights = _stretch(size)
    return np.asarray(weights @ image.transpose(2, 0, 1).astype(np.float32) @ weights.T).clip(0, 2)


@cache
def _stretch(size: int) -> Floats:
    """Linear interpolation of _COARSE cells to `size` pixels, as a matrix."""
    at = ((np.arange(size) + 0.5) * _COARSE / size - 0.5).clip(0, _COARSE - 1)
    weights = np.maximum(1 - np.abs(at[:, None] - np.arange(_COARSE)), 0)
    return np.asarray(weights, np.float32)
