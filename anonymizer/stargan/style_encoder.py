"""The style of a clear face, and the trunk that style encoder and discriminator share."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from anonymizer.stargan.blocks import SLOPE, ResidualBlock, initialize
from anonymizer.stargan.mapping import pick
from anonymizer.stargan.widths import channels, check_size

_LAST_SIDE = 4  # side of the maps before the last convolution [px]


def trunk(size: int, width: float) -> tuple[list[nn.Module], int]:
    """Return layers from (B, 3, size, size) to (B, C, 1, 1), and C."""
    levels = int(math.log2(check_size(size) // _LAST_SIDE))
    wide = [channels(size >> level, width) for level in range(levels + 1)]
    layers: list[nn.Module] = [nn.Conv2d(3, wide[0], 3, padding=1)]
    layers += [ResidualBlock(a, b, normalize=False, downsample=True) for a, b in pairwise(wide)]
    layers += [nn.LeakyReLU(SLOPE), nn.Conv2d(wide[-1], wide[-1], _LAST_SIDE), nn.LeakyReLU(SLOPE)]
    return layers, wide[-1]


class StyleEncoder(nn.Module):
    """Reads the style off a face; 20,916,928 parameters at 256 px as published.

    Parameters
    ----------
    size, width
        As for the generator.
    style : int
        Length of the style.
    domains : int
        How many domains there are.
    """

    def __init__(self, *, size: int, width: float = 1.0, style: int = 64, domains: int = 2) -> None:
        super().__init__()
        layers, wide = trunk(size, width)
        self.shared = nn.Sequential(*layers)
        self.unshared = nn.ModuleList(nn.Linear(wide, style) for _ in range(domains))
        initialize(self)

    def forward(self, faces: Tensor, domain: Tensor) -> Tensor:
        """Map faces (B, 3, S, S), in the network's range, of domains (B,) to (B, style)."""
        x = self.shared(faces).flatten(1)
        return pick(torch.stack([branch(x) for branch in self.unshared], 1), domain)
