"""Field-varying blur as it is usually written: patches with hard edges, one FFT each.

What `optics.blur_varying` is measured against. Every cell of the scene is blurred by its own PSF
and added to the picture; PSFs jump at the borders, so a gradient of the PSF shows as a seam.
"""

from itertools import pairwise

import torch
from torch import Tensor


def blur_patches(scene: Tensor, psfs: Tensor) -> Tensor:
    """Blur each cell of a grid by its own PSF.

    Parameters
    ----------
    scene : Tensor
        (B, C, H, W), linear light, black outside.
    psfs : Tensor
        (gy, gx, C, h, w), odd sides.

    Returns
    -------
    Tensor
        (B, C, H, W).
    """
    (height, width), (kernel_y, kernel_x) = scene.shape[-2:], psfs.shape[-2:]
    rows, columns = (
        [round(n * cell / cells) for cell in range(cells + 1)]
        for n, cells in zip((height, width), psfs.shape[:2], strict=True)
    )
    full = scene.new_zeros(*scene.shape[:2], height + kernel_y - 1, width + kernel_x - 1)
    for y, (top, bottom) in enumerate(pairwise(rows)):
        for x, (left, right) in enumerate(pairwise(columns)):
            size = (bottom - top + kernel_y - 1, right - left + kernel_x - 1)
            spectrum = torch.fft.rfft2(scene[..., top:bottom, left:right], s=size)
            spectrum = spectrum * torch.fft.rfft2(psfs[y, x], s=size)
            patch = torch.fft.irfft2(spectrum, s=size)
            full[..., top : top + size[0], left : left + size[1]] += patch
    above, before = kernel_y // 2, kernel_x // 2
    return full[..., above : above + height, before : before + width]
