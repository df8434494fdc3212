"""Image formation: scene times PSF, always as a linear convolution.

Incoherent light, one PSF for the whole scene (isoplanatic, one depth). What lies outside the
given scene is a uniform surround, so a blurred picture has no dark frame and nothing wraps
around.
"""

from typing import Literal

import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn import functional


def blur(
    scene: Tensor,
    psf: Tensor,
    *,
    surround: Tensor | None = None,
    extent: Literal["same", "full"] = "same",
) -> Tensor:
    r"""Irradiance of `scene` seen through `psf`.

    .. math:: y = s \sum h + (x - s) * h

    with the surround :math:`s` and a linear convolution.

    Parameters
    ----------
    scene : Tensor
        (B, C, H, W), linear light.
    psf : Tensor
        (C, h, w), energy fraction per pixel, centred on ((h - 1) / 2, (w - 1) / 2); odd sides
        keep "same" centred, even ones are refused there.
    surround : Tensor, optional
        (B, C) linear light outside the scene; black if left out.
    extent : {"same", "full"}
        Return the scene's own pixels, or every pixel that scene light reaches.

    Returns
    -------
    Tensor
        (B, C, H, W), or (B, C, H + h - 1, W + w - 1).
    """
    if scene.ndim != 4 or psf.ndim != 3 or scene.shape[1] != psf.shape[0]:
        raise ValueError(
            f"scene is {tuple(scene.shape)} and psf {tuple(psf.shape)}, expected (B, C, H, W) and "
            f"(C, h, w)"
        )
    size, kernel = scene.shape[-2:], psf.shape[-2:]
    if extent == "same" and not (kernel[0] % 2 and kernel[1] % 2):
        raise ValueError(
            f"psf is {tuple(psf.shape)}: extent='same' needs odd sides, so that its centre is a "
            f"pixel; use an odd window or extent='full'"
        )
    base = 0.0 if surround is None else surround[:, :, None, None]
    full = [n + k - 1 for n, k in zip(size, kernel, strict=True)]
    fast = [next_fast_len(n, real=True) for n in full]
    # unscaled transforms; the 1 / (H W) goes into the small one
    spectrum = torch.fft.rfft2(psf / (fast[0] * fast[1]), s=fast)
    light = torch.fft.rfft2(scene - base, s=fast) * spectrum
    out: Tensor = torch.fft.irfft2(light, s=fast, norm="forward")[..., : full[0], : full[1]]
    if extent == "same":
        top, left = (k // 2 for k in kernel)
        out = out[..., top : top + size[0], left : left + size[1]]
    return out + base * psf.sum((-2, -1))[:, None, None]


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample to `size` (H, W): bilinear, area-filtered when shrinking; corners kept.

    Pixel n of N maps to (n + 0.5) M / N - 0.5 of M, so both grids cover the same square.
    """
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    out: Tensor = functional.interpolate(
        image, size=size, mode="bilinear", align_corners=False, antialias=True
    )
    return out
