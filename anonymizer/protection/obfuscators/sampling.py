"""How pixels are averaged: physically right, or as the published programs did it.

Published embedders saw obfuscations made in one particular way, so that way is kept; everything
else should average light over the area of a pixel.
"""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from anonymizer.colour import decode_srgb, encode_srgb


class Sampling(ABC):
    """The values that are averaged, how images shrink and grow, and what lies beyond the border."""

    @abstractmethod
    def enter(self, images: Tensor) -> Tensor:
        """Return the values to average of linear light in [0, 1]."""

    @abstractmethod
    def leave(self, values: Tensor) -> Tensor:
        """Return linear light in [0, 1]; the inverse of `enter`."""

    @abstractmethod
    def shrink(self, values: Tensor, shape: tuple[int, int]) -> Tensor:
        """Return values (B, C, h, w) of a coarser grid over the same area."""

    @abstractmethod
    def repeat(self, values: Tensor, shape: tuple[int, int]) -> Tensor:
        """Return values (B, C, H, W) of a finer grid, each copied from one coarse cell."""

    @abstractmethod
    def pad(self, values: Tensor, margin: int) -> Tensor:
        """Return values with `margin` pixels more on each side, for rank filters."""

    @abstractmethod
    def make_divisible(self, values: Tensor, parts: int) -> Tensor:
        """Return values ready to be cut into `parts` x `parts` tiles."""


class AreaSampling(Sampling):
    """Average linear light over area; the border mirrors the image."""

    def enter(self, images: Tensor) -> Tensor:
        return images

    def leave(self, values: Tensor) -> Tensor:
        return values.clamp(0, 1)

    def shrink(self, values: Tensor, shape: tuple[int, int]) -> Tensor:
        rows, columns = (
            _cover(n, m, values) for n, m in zip(values.shape[-2:], shape, strict=True)
        )
        return rows @ values @ columns.T

    def repeat(self, values: Tensor, shape: tuple[int, int]) -> Tensor:
        return F.interpolate(values, shape, mode="nearest-exact")

    def pad(self, values: Tensor, margin: int) -> Tensor:
        return F.pad(values, [margin] * 4, mode="reflect")

    def make_divisible(self, values: Tensor, parts: int) -> Tensor:
        return values  # tiles may differ by a pixel


class LegacySampling(Sampling):
    """Average sRGB values in [-1, 1], shrink by point sampling, border zero for rank filters.

    So did torchvision up to 0.16, which never smoothed a tensor before shrinking it, and kornia
    up to 0.7, whose median filter took zeros, here mid-grey, beyond the border.
    """

    def enter(self, images: Tensor) -> Tensor:
        return 2 * encode_srgb(images) - 1

    def leave(self, values: Tensor) -> Tensor:
        return decode_srgb((values + 1) / 2)

    def shrink(self, values: Tensor, shape: tuple[int, int]) -> Tensor:
        return F.interpolate(values, shape, mode="bilinear", align_corners=False)

    def repeat(self, values: Tensor, shape: tuple[int, int]) -> Tensor:
        return F.interpolate(values, shape, mode="nearest")

    def pad(self, values: Tensor, margin: int) -> Tensor:
        return F.pad(values, [margin] * 4)

    def make_divisible(self, values: Tensor, parts: int) -> Tensor:
        height, width = (parts * -(-n // parts) for n in values.shape[-2:])
        return self.shrink(values, (height, width))


def _cover(fine: int, coarse: int, like: Tensor) -> Tensor:
    """Return the share (coarse, fine) of each coarse cell that each fine pixel covers."""
    edges = torch.arange(coarse + 1, dtype=torch.float64) * (fine / coarse)
    pixels = torch.arange(fine, dtype=torch.float64)
    low = torch.maximum(edges[:-1, None], pixels)
    high = torch.minimum(edges[1:, None], pixels + 1)
    return ((high - low).clamp(min=0) * (coarse / fine)).to(like)
