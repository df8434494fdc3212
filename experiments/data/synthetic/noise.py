"""Periodic noise tables that give skin, hair and cloth their irregularity."""

from functools import cache

import numpy as np

from experiments.data.synthetic.raster import Floats

_SIDE = 256


@cache
def _table(name: str) -> Floats:
    """Return a periodic (256, 256) table of zero mean and unit deviation."""
    seeds = {"cloud": 11, "grain": 12, "strand": 13}
    white = np.random.default_rng(seeds[name]).standard_normal((_SIDE, _SIDE))
    fy = np.fft.fftfreq(_SIDE)[:, None] * _SIDE
    fx = np.fft.rfftfreq(_SIDE)[None, :] * _SIDE
    if name == "cloud":  # falls with frequency
        weight = 1 / (3.0 + np.hypot(fx, fy)) ** 1.6
    elif name == "grain":  # fine only
        weight = np.exp(-(((np.hypot(fx, fy) - 60) / 30) ** 2))
    else:  # long along the rows' direction, fine across
        weight = np.exp(-((fy / 4.0) ** 2)) / (6.0 + fx) ** 0.7
    weight = weight * (np.hypot(fx, fy) > 0)
    noise = np.fft.irfft2(np.fft.rfft2(white) * weight, s=(_SIDE, _SIDE))
    return np.asarray(noise / noise.std(), np.float32)


def sample(name: str, u: Floats, v: Floats) -> Floats:
    """Look up the table `name` at (u, v), both of period 1.

    Parameters
    ----------
    name : {"cloud", "grain", "strand"}
        Smooth patches, fine grain, or streaks along v.
    u, v : ndarray of float32
        Column and row coordinate.
    """
    table = _table(name)
    column = (u * np.float32(_SIDE)).astype(np.int32) & (_SIDE - 1)
    row = (v * np.float32(_SIDE)).astype(np.int32) & (_SIDE - 1)
    return np.asarray(table.reshape(-1)[row * _SIDE + column])
