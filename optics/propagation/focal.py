r"""From the exit pupil to chosen sensor points, without a detour over a padded grid.

Conventions: time dependence exp(-i omega t); metres; fields complex (..., H, W), y down the
rows; sample centres at (n - (N - 1) / 2) * spacing in both planes. The lens phase and the
quadratic phase of free space cancel when the sensor is conjugate to the object, so only a
Fourier transform is left (Goodman, *Introduction to Fourier Optics*, eq. 5-22; scalar,
paraxial); any defocus is part of the pupil field. Constant and quadratic phases over the
sensor do not matter to an intensity and are left out.
"""

import math
from functools import lru_cache

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from optics.propagation.phasor import cis


@lru_cache(maxsize=64)
def _chirps(
    samples: int, points: int, rate: float, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Input chirp (samples,), kernel spectrum (L,) and output chirp (points,) of one axis."""
    length = next_fast_len(samples + points - 1)
    n = torch.arange(samples, dtype=torch.float64) - (samples - 1) / 2
    m = torch.arange(points, dtype=torch.float64) - (points - 1) / 2
    # m - n for every pair that occurs, laid out so that the circular sum is the linear one
    lag = torch.arange(length, dtype=torch.float64)
    lag = torch.where(lag < points, lag, lag - length) + m[0] - n[0]

    def chirp(position: Tensor, sign: float) -> Tensor:
        turns = (0.5 * rate * position**2).remainder(1.0)
        return cis(sign * 2 * math.pi * turns)

    kernel = torch.fft.fft(chirp(lag, 1.0)) / length
    out = (chirp(n, -1.0), kernel, chirp(m, -1.0))
    a, k, b = (t.to(device=device, dtype=dtype) for t in out)
    return a, k, b


def _chirp_axis(field: Tensor, points: int, rate: Tensor, dtype: torch.dtype) -> Tensor:
    """Chirp-z transform of the last axis of (W, H, N) at one rate per leading entry."""
    per_rate = [_chirps(field.shape[-1], points, r, field.device, dtype) for r in rate.tolist()]
    first, kernel, last = (torch.stack(t)[:, None, :] for t in zip(*per_rate, strict=True))
    # unscaled transforms only: a scaled one of 2048 x 2048 is wrong in some builds of torch
    spectrum = torch.fft.fft(field * first, n=kernel.shape[-1])
    out: Tensor = torch.fft.ifft(spectrum * kernel, norm="forward")
    return out[..., :points] * last


def _matrix_axis(field: Tensor, points: int, rate: Tensor, dtype: torch.dtype) -> Tensor:
    """Matrix Fourier transform of the last axis of (W, H, N) at one rate per leading entry."""
    samples = field.shape[-1]
    n = torch.arange(samples, dtype=torch.float64, device=field.device) - (samples - 1) / 2
    m = torch.arange(points, dtype=torch.float64, device=field.device) - (points - 1) / 2
    turns = (rate.to(field.device)[:, None, None] * (n[:, None] * m)).remainder(1.0)
    return field @ cis(-2 * math.pi * turns).to(dtype)


def to_sensor(
    pupil: Tensor,
    *,
    spacing: float,
    wavelength: Tensor,
    distance: float,
    points: tuple[int, int],
    pitch: float,
    method: str = "chirp",
) -> Tensor:
    r"""Field on a sensor in the far field of the pupil, at exactly the points asked for.

    .. math:: u(x) = \frac{\Delta\xi^2}{\lambda z} \sum_\xi p(\xi)\, e^{-i 2\pi x \xi / (\lambda z)}

    Parameters
    ----------
    pupil : Tensor
        Complex (W, N, N'), one plane per wavelength.
    spacing : float
        Sample spacing in the pupil [m].
    wavelength : Tensor
        Float64 (W,), vacuum wavelengths [m].
    distance : float
        Pupil to sensor [m].
    points : tuple of int
        Points (H, W) on the sensor, centred on the axis.
    pitch : float
        Distance of neighbouring points [m].
    method : {"chirp", "matrix"}
        Chirp-z transform (Bluestein 1970; fast) or matrix Fourier transform (Soummer et al.,
        Opt. Express 15, 15935 (2007); the plain reference). Equal to rounding.

    Returns
    -------
    Tensor
        Complex (W, H, W'); ``abs() ** 2 * pitch ** 2`` summed over the whole plane is the pupil
        energy ``sum(abs(pupil) ** 2) * spacing ** 2``.

    Notes
    -----
    Exact for the sampled pupil. The sampled pupil repeats on the sensor with the period
    wavelength * distance / spacing: whether points beyond half of it mean anything is the
    caller's question (`optics.camera.check_window`).
    """
    axis = {"chirp": _chirp_axis, "matrix": _matrix_axis}.get(method)
    if axis is None:
        raise ValueError(f"method = {method!r}, expected 'chirp' or 'matrix'")
    if pupil.ndim != 3 or pupil.shape[0] != wavelength.numel():
        raise ValueError(
            f"pupil is {tuple(pupil.shape)}, expected ({wavelength.numel()}, N, N): one plane per "
            f"wavelength"
        )
    rate = (pitch * spacing / distance) / wavelength.detach().to("cpu", torch.float64)
    field = axis(pupil, points[1], rate, pupil.dtype)
    field = axis(field.transpose(-1, -2), points[0], rate, pupil.dtype).transpose(-1, -2)
    scale = spacing**2 / (distance * wavelength)
    return field * scale.to(field.device, field.real.dtype)[:, None, None]
