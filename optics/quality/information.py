"""What an inversion with the exact PSF can recover from noise."""

import math

import torch
from torch import Tensor

from optics.quality.transfer import frequencies, transfer


def signal_to_noise(
    psf: Tensor,
    *,
    scene_power: Tensor,
    noise_variance: Tensor,
    frames: int,
    size: int,
) -> Tensor:
    r"""Power of the scene over that of the noise per spatial frequency, all colours together.

    .. math:: R(f) = \sum_c \frac{N \, |H_c(f)|^2 \, S_c(f)}{\sigma_c^2}

    Parameters
    ----------
    psf, scene_power, noise_variance, frames, size
        As for `recoverable_bits`.

    Returns
    -------
    Tensor
        (size, size // 2 + 1), zero frequency first.
    """
    ratio = transfer(psf, size) * (scene_power / noise_variance[:, None, None]).to(psf) * frames
    return ratio.sum(0)


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
    ratio = signal_to_noise(
        psf, scene_power=scene_power, noise_variance=noise_variance, frames=frames, size=size
    )
    return torch.log1p(ratio) / (2 * math.log(2))


def resolved_fraction(
    psf: Tensor,
    *,
    scene_power: Tensor,
    noise_variance: Tensor,
    frames: int,
    size: int,
) -> Tensor:
    """Return the share of the frequencies up to 0.5 cycles per pixel that stand above the noise.

    The noise-limited band: where `signal_to_noise` of `frames` averaged frames exceeds one, half
    a bit per frequency. Counted over the disc of frequencies that pixels sample in every
    direction; a count, so its gradient is zero.

    Parameters
    ----------
    psf, scene_power, noise_variance, frames, size
        As for `recoverable_bits`.

    Returns
    -------
    Tensor
        () in [0, 1].
    """
    ratio = signal_to_noise(
        psf, scene_power=scene_power, noise_variance=noise_variance, frames=frames, size=size
    )
    # the half plane holds every column once that the whole plane holds twice
    times = torch.full((size // 2 + 1,), 2.0)
    times[0] = 1.0
    if size % 2 == 0:
        times[-1] = 1.0
    weight = ((frequencies(size) <= 0.5) * times).to(ratio)
    return ((ratio > 1) * weight).sum() / weight.sum()


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
