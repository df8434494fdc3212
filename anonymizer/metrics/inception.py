"""Inception-v3 up to its last pooling, for the Frechet and kernel distances, from a local file.

Two variants, whose numbers must never stand in one table:

- ``clean``: weights of the original TensorFlow graph in torchvision's layout, antialiased cubic
  resizing; border pixels left out of average pools, a maximum pool in the last block.
- ``cvpr2024``: torchvision's weights, bilinear resizing without antialiasing and ImageNet's
  standardisation, as the scripts beside J. Lopez et al., CVPR 2024, feed it.

References
----------
C. Szegedy et al., "Rethinking the inception architecture for computer vision", CVPR 2016.
G. Parmar, R. Zhang, J.-Y. Zhu, "On aliased resizing and surprising subtleties in GAN evaluation",
CVPR 2022.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anonymizer.checkpoints import fill, find_weights, read_state

Variant = Literal["clean", "cvpr2024"]

FEATURES = 2048

_SIDE = 299
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_UNUSED = ("fc.", "AuxLogits.")  # the classifiers


class _Conv(nn.Module):
    """Convolution, frozen batch norm, rectifier."""

    def __init__(self, before: int, after: int, size: int | tuple[int, int], stride: int = 1,
                 pad: int | tuple[int, int] = 0) -> None:  # fmt: skip
        super().__init__()
        self.conv = nn.Conv2d(before, after, size, stride, pad, bias=False)
        self.bn = nn.BatchNorm2d(after, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


_Step = tuple[str, int, int | tuple[int, int], int, int | tuple[int, int]]


class _Block(nn.Module):
    """Branches side by side; each is a chain, and the last parts of a chain may fork.

    Parameters
    ----------
    before : int
        Channels that enter.
    branches : sequence
        Chains of (name, channels, size, stride, padding); a nested list forks.
    pool : {"mean", "maximum", "stride"}
        What stands before the branch "branch_pool", or for it where the map shrinks.
    border : bool
        Whether the zeros around the map count in the mean.
    """

    def __init__(self, before: int, branches: Sequence[Sequence[_Step | list[_Step]]],
                 pool: str, *, border: bool) -> None:  # fmt: skip
        super().__init__()
        self.pool, self.border = pool, border
        self.chains: list[list[str | list[str]]] = []
        for branch in branches:
            channels, chain = before, list[str | list[str]]()
            for step in branch:
                several = step if isinstance(step, list) else [step]
                for name, after, size, stride, pad in several:
                    self.add_module(name, _Conv(channels, after, size, stride, pad))
                names = [name for name, *_ in several]
                chain.append(names if isinstance(step, list) else names[0])
                channels = several[0][1]
            self.chains.append(chain)

    def forward(self, x: Tensor) -> Tensor:
        out = []
        for chain in self.chains:
            y = self._pooled(x) if chain[0] == "branch_pool" else x
            for part in chain:
                if isinstance(part, list):
                    y = torch.cat([self.get_submodule(name)(y) for name in part], 1)
                else:
                    y = self.get_submodule(part)(y)
            out.append(y)
        if self.pool == "stride":
            out.append(F.max_pool2d(x, 3, 2))
        return torch.cat(out, 1)

    def _pooled(self, x: Tensor) -> Tensor:
        if self.pool == "maximum":
            return F.max_pool2d(x, 3, 1, 1)
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=self.border)


def _narrow(before: int, pooled: int, border: bool) -> _Block:
    """Return a block on maps of 35 px."""
    return _Block(
        before,
        [
            [("branch1x1", 64, 1, 1, 0)],
            [("branch5x5_1", 48, 1, 1, 0), ("branch5x5_2", 64, 5, 1, 2)],
            [("branch3x3dbl_1", 64, 1, 1, 0), ("branch3x3dbl_2", 96, 3, 1, 1),
             ("branch3x3dbl_3", 96, 3, 1, 1)],
            [("branch_pool", pooled, 1, 1, 0)],
        ],
        "mean",
        border=border,
    )  # fmt: skip


def _middle(wide: int, border: bool) -> _Block:
    """Return a block on maps of 17 px, with `wide` channels in its long convolutions."""
    row, column = ((1, 7), (0, 3)), ((7, 1), (3, 0))
    return _Block(
        768,
        [
            [("branch1x1", 192, 1, 1, 0)],
            [("branch7x7_1", wide, 1, 1, 0), ("branch7x7_2", wide, row[0], 1, row[1]),
             ("branch7x7_3", 192, column[0], 1, column[1])],
            [("branch7x7dbl_1", wide, 1, 1, 0), ("branch7x7dbl_2", wide, column[0], 1, column[1]),
             ("branch7x7dbl_3", wide, row[0], 1, row[1]),
             ("branch7x7dbl_4", wide, column[0], 1, column[1]),
             ("branch7x7dbl_5", 192, row[0], 1, row[1])],
            [("branch_pool", 192, 1, 1, 0)],
        ],
        "mean",
        border=border,
    )  # fmt: skip


def _wide(before: int, pool: str, border: bool) -> _Block:
    """Return a block on maps of 8 px."""
    across, down = ((1, 3), (0, 1)), ((3, 1), (1, 0))
    return _Block(
        before,
        [
            [("branch1x1", 320, 1, 1, 0)],
            [("branch3x3_1", 384, 1, 1, 0),
             [("branch3x3_2a", 384, across[0], 1, across[1]),
              ("branch3x3_2b", 384, down[0], 1, down[1])]],
            [("branch3x3dbl_1", 448, 1, 1, 0), ("branch3x3dbl_2", 384, 3, 1, 1),
             [("branch3x3dbl_3a", 384, across[0], 1, across[1]),
              ("branch3x3dbl_3b", 384, down[0], 1, down[1])]],
            [("branch_pool", 192, 1, 1, 0)],
        ],
        pool,
        border=border,
    )  # fmt: skip


class Inception(nn.Module):
    """The network; names of its parameters are those of torchvision's files.

    Parameters
    ----------
    variant : {"clean", "cvpr2024"}
        Which pools, and which view of the pictures.
    """

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        if variant not in ("clean", "cvpr2024"):
            raise ValueError(f"variant = {variant!r}, expected clean or cvpr2024")
        self.variant: Variant = variant
        border = variant == "cvpr2024"
        self.Conv2d_1a_3x3 = _Conv(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = _Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = _Conv(32, 64, 3, pad=1)
        self.Conv2d_3b_1x1 = _Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = _Conv(80, 192, 3)
        self.Mixed_5b = _narrow(192, 32, border)
        self.Mixed_5c = _narrow(256, 64, border)
        self.Mixed_5d = _narrow(288, 64, border)
        self.Mixed_6a = _Block(
            288,
            [
                [("branch3x3", 384, 3, 2, 0)],
                [("branch3x3dbl_1", 64, 1, 1, 0), ("branch3x3dbl_2", 96, 3, 1, 1),
                 ("branch3x3dbl_3", 96, 3, 2, 0)],
            ],
            "stride",
            border=border,
        )  # fmt: skip
        self.Mixed_6b = _middle(128, border)
        self.Mixed_6c = _middle(160, border)
        self.Mixed_6d = _middle(160, border)
        self.Mixed_6e = _middle(192, border)
        self.Mixed_7a = _Block(
            768,
            [
                [("branch3x3_1", 192, 1, 1, 0), ("branch3x3_2", 320, 3, 2, 0)],
                [("branch7x7x3_1", 192, 1, 1, 0), ("branch7x7x3_2", 192, (1, 7), 1, (0, 3)),
                 ("branch7x7x3_3", 192, (7, 1), 1, (3, 0)), ("branch7x7x3_4", 192, 3, 2, 0)],
            ],
            "stride",
            border=border,
        )  # fmt: skip
        self.Mixed_7b = _wide(1280, "mean", border)
        self.Mixed_7c = _wide(2048, "mean" if border else "maximum", border)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return features (B, 2048) of sRGB pictures (B, 3, S, S) in [0, 1]."""
        x = self.view(pictures)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = F.max_pool2d(x, 3, 2)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                x = block(x)
        out: Tensor = x.mean((2, 3))
        return out

    def view(self, pictures: Tensor) -> Tensor:
        """Return pictures as the variant wants them, (B, 3, 299, 299)."""
        clean = self.variant == "clean"
        mode = "bicubic" if clean else "bilinear"
        x = F.interpolate(pictures, (_SIDE, _SIDE), mode=mode, antialias=clean)
        if clean:
            return 2 * x.clamp(0, 1) - 1
        mean, std = (x.new_tensor(v)[:, None, None] for v in (_MEAN, _STD))
        return (x - mean) / std


def load_inception(
    variant: Variant, *, file: str, sha256: str, search: Sequence[str | Path] = ()
) -> Inception:
    """Return the network with the weights of a local file, frozen.

    Parameters
    ----------
    variant : {"clean", "cvpr2024"}
        The file has to belong to it.
    file, sha256, search
        As for `anonymizer.checkpoints.find_weights`.
    """
    network = Inception(variant)
    path = find_weights(file, sha256, search)
    state = {n: t for n, t in read_state(path).items() if not n.startswith(_UNUSED)}
    fill(network, state, path)
    return network.requires_grad_(False).eval()
