"""The Haar transform of images: orthonormal, four bands at half the size.

Of each 2 x 2 block [[a, b], [c, d]] the bands are, in this order of channels,

    LL = (a + b + c + d) / 2     HL = (-a + b - c + d) / 2
    LH = (-a - b + c + d) / 2    HH = (a - b - c + d) / 2
"""

import torch
from torch import Tensor


def haar(images: Tensor) -> Tensor:
    """Transform images (B, C, H, W) of even sides to bands (B, 4 C, H / 2, W / 2).

    All channels of a band lie together: LL of each channel, then HL, LH and HH.
    """
    if images.ndim != 4 or images.shape[-2] % 2 or images.shape[-1] % 2:
        raise ValueError(f"images is {tuple(images.shape)}, expected (B, C, H, W) of even sides")
    a, b = images[..., ::2, ::2], images[..., ::2, 1::2]
    c, d = images[..., 1::2, ::2], images[..., 1::2, 1::2]
    return torch.cat((a + b + c + d, b - a + d - c, c - a + d - b, a - b - c + d), dim=1) / 2


def inverse_haar(bands: Tensor) -> Tensor:
    """Return the images (B, C, H, W) of bands (B, 4 C, H / 2, W / 2)."""
    if bands.ndim != 4 or bands.shape[1] % 4:
        raise ValueError(f"bands is {tuple(bands.shape)}, expected (B, 4 C, h, w)")
    ll, hl, lh, hh = bands.chunk(4, dim=1)
    rows = (
        torch.stack((ll - hl - lh + hh, ll + hl - lh - hh), dim=-1).flatten(-2),
        torch.stack((ll - hl + lh - hh, ll + hl + lh + hh), dim=-1).flatten(-2),
    )
    return torch.stack(rows, dim=-2).flatten(-3, -2) / 2
