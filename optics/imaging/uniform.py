"""One PSF for the whole scene (isoplanatic, one depth), always as a linear convolution.

Incoherent light. What lies outside the given scene is a uniform surround, so a blurred picture
has no dark frame and nothing wraps around.
"""

import torch
from torch import Tensor
from torch.nn import functional

from optics.imaging.convolution import Extent, convolve, tiling


def blur(
    scene: Tensor,
    psf: Tensor,
    *,
    surround: Tensor | None = None,
    extent: Extent = "same",
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

    Notes
    -----
    Pictures are transformed in pairs. The rounding of a picture is that of the brighter one of
    its pair.
    """
    if scene.ndim != 4 or psf.ndim != 3 or scene.shape[1] != psf.shape[0]:
        raise ValueError(
            f"scene is {tuple(scene.shape)} and psf {tuple(psf.shape)}, expected (B, C, H, W) and "
            f"(C, h, w)"
        )
    check_sides("psf", psf, extent)
    base = surround_light(scene, surround)
    size, kernel = (scene.shape[-2], scene.shape[-1]), (psf.shape[-2], psf.shape[-1])
    light = scene if surround is None else scene - base
    out = convolve(light, psf[None, None], tiling(size, (1, 1), kernel, extent))
    return out if surround is None else out + base * psf.sum((-2, -1))[:, None, None]


def check_sides(name: str, psf: Tensor, extent: Extent) -> None:
    """Refuse an unknown extent, and PSFs (..., h, w) that have no middle pixel for "same"."""
    if extent not in ("same", "full"):
        raise ValueError(f"extent = {extent!r}, expected 'same' or 'full'")
    if extent == "same" and not (psf.shape[-2] % 2 and psf.shape[-1] % 2):
        raise ValueError(
            f"{name} is {tuple(psf.shape)}: extent='same' needs odd sides, so that its centre is a "
            f"pixel; use an odd window or extent='full'"
        )


def surround_light(scene: Tensor, surround: Tensor | None) -> Tensor:
    """Surround (B, C) as (B, C, 1, 1) beside a scene (B, C, H, W); black if None."""
    if surround is None:
        return torch.zeros((), dtype=scene.dtype, device=scene.device)
    if surround.shape != scene.shape[:2]:
        raise ValueError(
            f"surround is {tuple(surround.shape)}, expected (B, C) = {tuple(scene.shape[:2])}: one "
            f"level per picture and colour"
        )
    return surround[:, :, None, None]


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
