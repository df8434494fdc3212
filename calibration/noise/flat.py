"""Flat fields: how much more or less than its neighbours each pixel makes of the same light."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import NDArray

from calibration.bayer import places
from calibration.errors import CalibrationError
from calibration.noise.dark import MasterDark
from calibration.noise.stacks import FrameStatistics, TemporalNoise
from calibration.uncertainty import Uncertain, square_root

_ADVISED = 32  # frames
_UNSTEADY = 0.01  # deviation of the light over its mean
_BLOCKS = 24  # along a side, whose means the smooth light is fitted to
_ORDER = 4  # of the polynomial in rows and in columns
_TERMS = (_ORDER + 1) ** 2
_SMALLEST = 16  # rows and columns of a plane


@dataclass(frozen=True)
class PlaneFlat:
    """What a flat field says about one colour plane, hot pixels left out.

    Attributes
    ----------
    signal : float
        Mean above the dark [DN].
    prnu : Uncertain
        Photo-response non-uniformity: deviation of the response, relative rms, noise taken off.
    noise : float
        Deviation of the response map by noise alone; dividing by the map pays where it is well
        below `prnu`.
    unevenness : float
        Largest less smallest smooth light over its mean: lamp, lens and mask together.
    """

    signal: float
    prnu: Uncertain
    noise: float
    unevenness: float


@dataclass(frozen=True, eq=False)
class FlatField:
    """Response of each pixel relative to its neighbours.

    Attributes
    ----------
    frames : int
        How many frames were averaged.
    response : ndarray of float32
        (H, W), about 1; hot pixels have 1. Smooth light, such as vignetting, is divided out.
    planes : mapping
        Plane name to its numbers.
    warnings : tuple of str
        What makes them doubtful.
    """

    frames: int
    response: NDArray[np.float32]
    planes: Mapping[str, PlaneFlat]
    warnings: tuple[str, ...]


def flat_field(flat: FrameStatistics, dark: MasterDark) -> FlatField:
    """Find the response of the pixels to even light.

    Parameters
    ----------
    flat : FrameStatistics
        Frames of a diffuse source at about half of saturation: two or more, 32 are advised.
    dark : MasterDark
        Of the same exposure time and gain.

    Raises
    ------
    CalibrationError
        No light, or the frames do not differ: saturated, or copies.
    """
    if flat.shape != dark.mean.shape:
        raise ValueError(f"flat is {flat.shape}, the dark {dark.mean.shape}: take both in a mode")
    if min(flat.shape) < _SMALLEST * (2 if flat.cfa else 1):
        raise ValueError(
            f"flat is {flat.shape}: {_SMALLEST} rows and columns or more of each plane are needed "
            f"to tell the pixels from smooth light"
        )
    signal = flat.mean() - dark.mean
    response = np.ones(signal.shape, np.float32)
    noise = flat.temporal(~dark.hot)
    planes, notes = {}, []
    if flat.count < _ADVISED:
        notes.append(f"{flat.count} flat frames; {_ADVISED} or more are advised")
    for name, place in places(signal, flat.cfa):
        own, of_dark, good = noise[name], dark.planes[name], ~dark.hot[place]
        level = float(signal[place][good].mean())
        if level < 5 * math.sqrt(of_dark.noise.pixel):
            raise CalibrationError(
                f"{name}: the flat is {level:.3g} DN above the dark: turn the lamp up"
            )
        if own.pixel <= of_dark.noise.pixel:
            raise CalibrationError(
                f"{name}: the flat at {level:.4g} DN has no more noise than the dark: it is "
                f"saturated, or its frames are copies; take about half of saturation"
            )
        light = _smooth(signal[place], good)
        relative = np.where(good, signal[place] / light, 1.0)
        response[place] = relative
        planes[name] = _plane(relative[good], light, own, flat.count, of_dark.noise, dark.frames)
        if own.frame > (_UNSTEADY * level) ** 2:
            notes.append(
                f"{name}: the light changes by {math.sqrt(own.frame) / level:.1%} from frame to "
                f"frame; below {_UNSTEADY:.0%} is advised: let the lamp warm up"
            )
    return FlatField(flat.count, response, planes, tuple(notes))


def _plane(
    relative: NDArray[np.float64],
    light: NDArray[np.float64],
    flat: TemporalNoise,
    flats: int,
    dark: TemporalNoise,
    darks: int,
) -> PlaneFlat:
    level = float(light.mean())
    # what is left of the noise in the two means, in parts of the light
    scale = float(np.mean(1 / light**2))
    left = scale * (
        (flat.pixel + max(flat.row, 0.0)) / flats + (dark.pixel + max(dark.row, 0.0)) / darks
    )
    # the smooth light was fitted to these very pixels
    spread = float(relative.var(ddof=_TERMS))
    rows = max(flat.row, 0.0) / flats * math.sqrt(2 / light.shape[0])
    error = math.hypot(
        spread * math.sqrt(2 / relative.size),
        scale * flat.pixel_uncertainty / flats,
        scale * dark.pixel_uncertainty / darks,
        scale * rows,
    )
    return PlaneFlat(
        signal=level,
        prnu=square_root(spread - left, error),
        noise=math.sqrt(left),
        unevenness=float(np.ptp(light)) / level,
    )


def _smooth(signal: NDArray[np.float64], good: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Fit a polynomial in rows and columns to the means of blocks, and draw it on all pixels."""
    height, width = signal.shape
    axes = [np.linspace(-1, 1, size) for size in (height, width)]
    edges = [
        np.linspace(0, size, min(_BLOCKS, size) + 1).astype(np.intp) for size in (height, width)
    ]

    def block_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
        rows = np.add.reduceat(values, edges[0][:-1], axis=0)
        out: NDArray[np.float64] = np.add.reduceat(rows, edges[1][:-1], axis=1)
        return out

    count = block_sums(good.astype(np.float64))
    total = block_sums(np.where(good, signal, 0.0))
    middles = [
        np.add.reduceat(axis, edge[:-1]) / np.diff(edge)
        for axis, edge in zip(axes, edges, strict=True)
    ]
    y, x = np.meshgrid(*middles, indexing="ij")
    design = polynomial.polyvander2d(y.ravel(), x.ravel(), [_ORDER, _ORDER])
    weight = np.sqrt(count.ravel())
    mean = (total / np.maximum(count, 1)).ravel()
    terms, *_ = np.linalg.lstsq(design * weight[:, None], mean * weight, rcond=None)
    down, across = (polynomial.polyvander(axis, _ORDER) for axis in axes)
    light: NDArray[np.float64] = down @ terms.reshape(_ORDER + 1, _ORDER + 1) @ across.T
    if light.min() <= 0:
        raise CalibrationError(
            "the light falls to nothing within the flat: it is no flat field; use a diffuser"
        )
    return light
