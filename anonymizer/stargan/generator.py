"""The generator: a picture and a style become a face; masked high-pass skips keep its lines."""

import math
from itertools import pairwise
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from anonymizer.stargan.blocks import SLOPE, HighPass, ResidualBlock, StyledBlock, initialize
from anonymizer.stargan.widths import channels, check_size

_COARSE_SIDE = 32  # side of the maps that the coarse mask lets pass [px]
_FINE_SIDES = (64, 128)


class Masks(NamedTuple):
    """Where the high-pass skips may carry the source's lines.

    Attributes
    ----------
    coarse, fine : Tensor
        (B, 1, M, M) in [0, 1]: brows, eyes, nose and mouth; eyes and nose.
    """

    coarse: Tensor
    fine: Tensor


class Generator(nn.Module):
    """Encoder, bottleneck and styled decoder.

    Parameters
    ----------
    size : {64, 128, 256, 512}
        Side of the pictures [px].
    width : float
        Factor on the published widths, see `channels`.
    style : int
        Length of the style.
    high_pass : float
        Divides the high-pass skips, the published w_hpf; 0 for none of them. With skips the
        bottleneck has 8 x 8 px, without them 16 x 16.
    inputs : int
        Channels of the picture: 3, or more where it carries maps as well.
    smooth : bool
        Enlarge bilinearly in the decoder. The published networks take the nearest neighbour, and
        need long to unlearn the grid of squares that it leaves.

    Notes
    -----
    At 256 px with the published settings there are 43,467,395 parameters with skips and 33,892,995
    without. What a skip carries has its mean taken out for each picture by itself; the published
    program took that of the whole batch, which is the same for one picture.
    """

    def __init__(
        self,
        *,
        size: int,
        width: float = 1.0,
        style: int = 64,
        high_pass: float = 1.0,
        inputs: int = 3,
        smooth: bool = False,
    ) -> None:
        super().__init__()
        if not high_pass >= 0:
            raise ValueError(f"high_pass = {high_pass:g}, expected 0 (no skips) or more")
        self.size, self.style, self.inputs = check_size(size), style, inputs
        self.levels = int(math.log2(size)) - 4 + (high_pass > 0)
        wide = [channels(size >> level, width) for level in range(self.levels + 1)]
        steps = list(pairwise(wide))
        keep = high_pass == 0
        self.from_rgb = nn.Conv2d(inputs, wide[0], 3, padding=1)
        self.encode = nn.ModuleList(
            ResidualBlock(a, b, normalize=True, downsample=True) for a, b in steps
        )
        self.encode.extend(
            ResidualBlock(wide[-1], wide[-1], normalize=True, downsample=False) for _ in range(2)
        )
        self.decode = nn.ModuleList(
            StyledBlock(wide[-1], wide[-1], style, upsample=False, shortcut=keep) for _ in range(2)
        )
        self.decode.extend(
            StyledBlock(b, a, style, upsample=True, shortcut=keep, smooth=smooth)
            for a, b in reversed(steps)
        )
        self.to_rgb = nn.Sequential(
            nn.InstanceNorm2d(wide[0], affine=True),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(wide[0], 3, 1),
        )
        self.hpf = HighPass(high_pass) if high_pass > 0 else None
        initialize(self)

    def forward(self, picture: Tensor, style: Tensor, masks: Masks | None = None) -> Tensor:
        """Return faces (B, 3, S, S) in the network's range, with no limit on it.

        Parameters
        ----------
        picture : Tensor
            (B, inputs, S, S).
        style : Tensor
            (B, style).
        masks : Masks, optional
            For the skips; without them nothing passes there.
        """
        shape = (self.inputs, self.size, self.size)
        if tuple(picture.shape[1:]) != shape:
            raise ValueError(f"picture is {tuple(picture.shape)}, expected (B, {shape})")
        if masks is not None and self.hpf is None:
            raise ValueError("masks were given to a generator without skips; high_pass = 0")
        x, kept = self.from_rgb(picture), {}
        for block in self.encode:
            if masks is not None and x.shape[-1] in (_COARSE_SIDE, *_FINE_SIDES):
                kept[x.shape[-1]] = x - x.mean((1, 2, 3), keepdim=True)
            x = block(x)
        for block in self.decode:
            x = block(x, style)
            if masks is not None and self.hpf is not None and x.shape[-1] in kept:
                side = x.shape[-1]
                mask = masks.coarse if side == _COARSE_SIDE else masks.fine
                mask = F.interpolate(mask, size=(side, side), mode="bilinear")
                x = x + self.hpf(mask * kept[side])
        out: Tensor = self.to_rgb(x)
        return out
