"""What a PSF does to a picture, in numbers."""

import math

import torch
from torch import Tensor

from optics.grids import coordinates


def energy_inside(psf: Tensor) -> Tensor:
    """Energy fraction inside the window (..., H, W) -> (...)."""
    return psf.sum((-2, -1))


def rms_radius(psf: Tensor) -> Tensor:
    """Root-mean-square distance from the centroid (..., H, W) -> (...), in pixels."""
    y = coordinates(psf.shape[-2], 1.0).to(psf)
    x = coordinates(psf.shape[-1], 1.0).to(psf)
    total = psf.sum((-2, -1))
    mean_y = (psf.sum(-1) * y).sum(-1) / total
    mean_x = (psf.sum(-2) * x).sum(-1) / total
    square = (psf.sum(-1) * y**2).sum(-1) + (psf.sum(-2) * x**2).sum(-1)
    return (square / total - mean_y**2 - mean_x**2).clamp(min=0).sqrt()


def encircled_energy(psf: Tensor, radius: float) -> Tensor:
    """Share of the window's energy within `radius` pixels of its centre, (..., H, W) -> (...)."""
    y = coordinates(psf.shape[-2], 1.0).to(psf)
    x = coordinates(psf.shape[-1], 1.0).to(psf)
    inside = (y[:, None] ** 2 + x[None, :] ** 2 <= radius**2).to(psf)
    return (psf * inside).sum((-2, -1)) / psf.sum((-2, -1))


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
    if not bool(((frequency >= 0) & (frequency <= 0.5)).all()):
        raise ValueError(
            f"frequency = {float(frequency.min()):g} to {float(frequency.max()):g} cycles per "
            f"pixel is outside [0, 0.5]: pixels sample nothing finer than 0.5"
        )
    power = transfer(psf, size)
    radius = frequencies(size).to(psf)
    rings = []
    for f in frequency.tolist():
        ring = (radius - f).abs() <= (1 + 1e-6) / size  # never empty: samples are 1 / size apart
        rings.append(power[..., ring].mean(-1))
    zero = power[..., 0, 0]
    return (torch.stack(rings, -1) / zero[..., None]).sqrt()


def recoverable_bits(
    psf: Tensor,
    *,
    scene_power: Tensor,
    noise_variance: Tensor,
    frames: int,
    size: int,
) -> Tensor:
    r"""Information that survives per spatial frequency after the best linear inversion.

    With the PSF known exactly, the Wiener filter is the best linear inversion of a stationary
    scene, and each frequency is a Gaussian channel (Shannon 1949, eq. 32) of

    .. math:: I(f) = \tfrac12 \log_2 \left( 1 + \sum_c
              \frac{N \, |H_c(f)|^2 \, S_c(f)}{\sigma_c^2} \right) \text{ bit}

    Parameters
    ----------
    psf : Tensor
        (3, h, w), energy fraction per pixel.
    scene_power : Tensor
        (3, size, size // 2 + 1) expected ``abs(rfft2(scene)) ** 2 / size ** 2``.
    noise_variance : Tensor
        (3,) variance of one frame's pixel, same unit squared.
    frames : int
        Frames averaged.
    size : int
        Side of the transform.

    Returns
    -------
    Tensor
        (size, size // 2 + 1) bits. Colours are summed as independent looks at one scene, which
        favours the attacker.
    """
    ratio = transfer(psf, size) * (scene_power / noise_variance[:, None, None]).to(psf) * frames
    return torch.log1p(ratio.sum(0)) / (2 * math.log(2))


def wiener(measurement: Tensor, psf: Tensor, *, scene_power: Tensor, noise_power: Tensor) -> Tensor:
    r"""Linear inversion with the exact PSF.

    .. math:: \hat x = \mathcal F^{-1} \left\{ \frac{H^* S}{|H|^2 S + \sigma^2} \,
              \mathcal F \{ y \} \right\}

    Parameters
    ----------
    measurement : Tensor
        (B, 3, P, Q): everything the scene's light reached ("full" extent), zero outside.
    psf : Tensor
        (3, h, w) that made it.
    scene_power : Tensor
        (3, P, Q // 2 + 1) expected ``abs(rfft2(scene)) ** 2 / (P Q)``.
    noise_power : Tensor
        (3,) assumed noise variance per pixel; larger values regularise more.

    Returns
    -------
    Tensor
        (B, 3, P, Q); the scene's first pixel is the first pixel.

    References
    ----------
    N. Wiener, *Extrapolation, Interpolation, and Smoothing of Stationary Time Series* (1949).
    """
    size = measurement.shape[-2:]
    otf = torch.fft.rfft2(psf.to(measurement), s=size)
    power = scene_power.to(measurement)
    gain = otf.conj() * power / (otf.abs().square() * power + noise_power[:, None, None])
    spectrum = torch.fft.rfft2(measurement) * gain / (size[0] * size[1])
    out: Tensor = torch.fft.irfft2(spectrum, s=size, norm="forward")
    return out
