"""How much of each spatial frequency a PSF lets through; frequencies in cycles per pixel."""

import math
from typing import Literal

import torch
from torch import Tensor

from optics.grids import coordinates
from optics.propagation import cis


def transfer(psf: Tensor, size: int) -> Tensor:
    """Modulus squared of the transfer function on a `size` x (size // 2 + 1) half plane.

    (..., H, W) -> (..., size, size // 2 + 1), zero frequency first, in `torch.fft.rfft2` order.
    """
    if size < max(psf.shape[-2:]):
        raise ValueError(
            f"size = {size} is less than the sides of psf {tuple(psf.shape)}: the transform would "
            f"cut it; use at least {max(psf.shape[-2:])}"
        )
    spectrum = torch.fft.rfft2(psf, s=(size, size))
    power: Tensor = spectrum.real.square() + spectrum.imag.square()
    return power


def frequencies(size: int) -> Tensor:
    """Radial frequency of every entry of `transfer`, float64 [cycles per pixel]."""
    fy = torch.fft.fftfreq(size, dtype=torch.float64)
    fx = torch.fft.rfftfreq(size, dtype=torch.float64)
    return torch.hypot(fy[:, None], fx[None, :])


def radial_mtf(psf: Tensor, frequency: Tensor, *, size: int = 512) -> Tensor:
    """Root-mean-square MTF over thin rings, 1 at zero frequency.

    Parameters
    ----------
    psf : Tensor
        (..., H, W).
    frequency : Tensor
        (F,) ring radii in [0, 0.5] [cycles per pixel]; rings are as wide as two transform
        samples.
    size : int
        Transform size, at least the window.

    Returns
    -------
    Tensor
        (..., F).
    """
    _check_frequency(frequency)
    power = transfer(psf, size)
    radius = frequencies(size).to(psf)
    rings = []
    for f in frequency.tolist():
        ring = (radius - f).abs() <= (1 + 1e-6) / size  # never empty: samples are 1 / size apart
        rings.append(power[..., ring].mean(-1))
    zero = power[..., 0, 0]
    return (torch.stack(rings, -1) / zero[..., None]).sqrt()


def line_mtf(psf: Tensor, frequency: Tensor, *, axis: Literal["x", "y"]) -> Tensor:
    r"""MTF along one axis at any frequencies, 1 at zero frequency.

    .. math:: M(f) = \left| \sum_n l_n \, e^{-2 \pi i f n} \right| \Big/ \sum_n l_n

    with l the line spread function, the PSF summed over the other axis.

    Parameters
    ----------
    psf : Tensor
        (..., H, W).
    frequency : Tensor
        (F,) in [0, 0.5] [cycles per pixel].
    axis : {"x", "y"}
        Direction in which the pattern varies.

    Returns
    -------
    Tensor
        (..., F).
    """
    _check_frequency(frequency)
    if axis not in ("x", "y"):
        raise ValueError(f"axis = {axis!r}, expected 'x' or 'y'")
    line = psf.sum(-2 if axis == "x" else -1)
    position = coordinates(line.shape[-1], 1.0, device=psf.device)
    turns = frequency.to(position)[:, None] * position
    wave = cis((2 * math.pi * turns.remainder(1.0)).to(line))
    otf = torch.complex(line @ wave.real.T, -(line @ wave.imag.T))
    return otf.abs() / line.sum(-1, keepdim=True)


def mtf50(
    psf: Tensor, *, axis: Literal["x", "y", "radial"] = "radial", level: float = 0.5
) -> Tensor:
    """Lowest frequency at which the MTF falls to `level`.

    Parameters
    ----------
    psf : Tensor
        (..., H, W).
    axis : {"x", "y", "radial"}
        Along one axis, or the mean over directions (`radial_mtf`).
    level : float
        MTF looked for, in (0, 1).

    Returns
    -------
    Tensor
        (...) [cycles per pixel], infinite if the pixels sample nothing so blurred. Linear between
        the frequencies tried: 1024 along an axis, 256 or more over all directions.
        Differentiable.
    """
    if not 0 < level < 1:
        raise ValueError(f"level = {level:g} is outside (0, 1); 0.5 gives MTF50")
    if axis == "radial":
        frequency, mtf = _all_rings(psf, 2 * math.ceil(max(512, *psf.shape[-2:]) / 2))
    else:
        frequency = torch.linspace(0, 0.5, 1025, dtype=torch.float64)
        mtf = line_mtf(psf, frequency, axis=axis)
    below = mtf < level
    # the first one is 1 but for rounding, so the one before the first below exists
    after = below.to(torch.uint8).argmax(-1, keepdim=True).clamp(min=1)
    high, low = mtf.gather(-1, after - 1), mtf.gather(-1, after)
    step = (high - low).clamp(min=torch.finfo(mtf.dtype).tiny)
    width = 0.5 / (len(frequency) - 1)
    found = (frequency.to(mtf)[after - 1] + (high - level) / step * width).squeeze(-1)
    return torch.where(below.any(-1), found, torch.full_like(found, math.inf))


def _all_rings(psf: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Frequencies k / size up to 0.5 and `radial_mtf` there, all in one pass over the plane."""
    power = transfer(psf, size)
    bins = (frequencies(size).to(psf.device) * size).long().clamp(max=size).flatten()
    count = torch.bincount(bins, minlength=size + 1).to(power)
    empty = power.new_zeros((*power.shape[:-2], size + 1))
    total = empty.index_add(-1, bins, power.flatten(-2))
    # a ring reaches one sample to either side: two bins
    rings = (total[..., :-1] + total[..., 1:]) / (count[:-1] + count[1:])
    first = power[..., :1, 0]
    half = size // 2
    mtf = (torch.cat([first, rings[..., :half]], -1) / first).sqrt()
    return torch.arange(half + 1, dtype=torch.float64) / size, mtf


def _check_frequency(frequency: Tensor) -> None:
    if not bool(((frequency >= 0) & (frequency <= 0.5)).all()):
        raise ValueError(
            f"frequency = {float(frequency.min()):g} to {float(frequency.max()):g} cycles per "
            f"pixel is outside [0, 0.5]: pixels sample nothing finer than 0.5"
        )
