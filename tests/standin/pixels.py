"""From photo-electrons per second to the numbers a sensor sends."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FrameState:
    """What a scene may depend on.

    Attributes
    ----------
    number : int
        Frames that the sensor exposed since it was started, this one excluded.
    shutter_ns : int
        Begin of the exposure on the clock of `time.monotonic_ns` [ns].
    exposure : float
        True exposure [s].
    gain : float
        True analogue gain.
    """

    number: int
    shutter_ns: int
    exposure: float
    gain: float


Scene = Callable[[FrameState], np.ndarray | float]


def grey(flux: float) -> Scene:
    """Return a scene of the same `flux` in every pixel [e-/s]."""
    return lambda state: flux


def read_window(flux, mode, mono: bool) -> np.ndarray:
    """Return the mean photo-electrons per second of each pixel that leaves the sensor.

    Parameters
    ----------
    flux : ndarray of float, shape (H, W)
        Photo-electrons per second in each pixel of the array [e-/s].
    mode : Mode
        Its window is cut out; where it bins, pixels of the same colour are averaged.
    mono : bool
        No colour filters, so that neighbours are averaged.
    """
    x, y, width, height = mode.crop
    window, n = flux[y : y + height, x : x + width], mode.binning
    if n == 1:
        return window
    period = 1 if mono else 2
    blocks = window.reshape(
        height // (n * period), n, period, width // (n * period), n, period
    )  # (block, repeat, colour) along each axis
    mean = blocks.mean(axis=(1, 4), dtype=np.float32)
    return mean.reshape(height // n, width // n)


def digitised(electrons, sensor, mode, gain: float, rng: np.random.Generator) -> np.ndarray:
    """Return what the converter makes of the charge: noise, full well, black level, rounding.

    Parameters
    ----------
    electrons : ndarray of float32, shape (h, w)
        Mean charge [e-].
    sensor, mode : Sensor, Mode
        Constants.
    gain : float
        Analogue gain.
    rng : Generator
        Source of the shot and read noise. Shot noise is Gaussian, so below about ten electrons
        its variance is right and its skewness is not.

    Returns
    -------
    ndarray of uint16, shape (h, w)
        Right-justified values [DN].
    """
    scale = 2.0 ** (mode.bits - 16)
    read_variance = np.float32(sensor.read_noise(gain) ** 2)
    dn_per_electron = np.float32(sensor.system_gain * gain * scale)
    out = np.empty(electrons.shape, np.uint16)
    for top in range(0, len(electrons), 32):  # bands that stay in the processor's cache
        mean = electrons[top : top + 32]
        value = rng.standard_normal(mean.shape, dtype=np.float32)
        value *= np.sqrt(mean + read_variance) / np.float32(mode.binning)
        value += mean
        np.minimum(value, np.float32(sensor.full_well), out=value)
        value *= dn_per_electron
        value += np.float32(sensor.black * scale + 0.5)  # the cast below cuts
        out[top : top + 32] = np.clip(value, 0, 2**mode.bits - 1, out=value)
    return out
