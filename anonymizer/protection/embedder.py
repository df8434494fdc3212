"""The network of PRO-Face: an original's identity embedded in its obfuscated picture.

Two dense U-nets of one layout, one for the original and one for the obfuscation, whose features
are summed at every depth. Module names are those of the published files, so that they load
without translation. Values are sRGB in the range the weights were trained on.

References
----------
L. Yuan et al., "PRO-Face: A generic framework for privacy-preserving recognizable obfuscation of
face images", ACM Multimedia 2022.
"""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FIRST, _GROWTH, _BOTTLENECK, _DEPTH, _LAYERS = 16, 4, 4, 3, 3
MULTIPLE = 2**_DEPTH
"""Sides of images must be multiples of it [px]."""


class ProFaceEmbedder(nn.Module):
    """Map an original and its obfuscation, (B, 3, H, W) each, to the protected image, unbounded.

    Parameters
    ----------
    dropout : float
        Share of new features that each dense layer drops in training. The published program
        dropped 0.25 twice in a row, which is 0.4375 once.
    """

    def __init__(self, *, dropout: float = 0.25) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout = {dropout:g}, expected 0 to below 1")
        self.oImgNet = _Branch(dropout)
        self.tImgNet = _Branch(dropout)

    def forward(self, original: Tensor, obfuscated: Tensor) -> Tensor:
        """Return the protected image (B, 3, H, W)."""
        shape = tuple(original.shape)
        if len(shape) != 4 or shape[1] != 3 or any(n % MULTIPLE for n in shape[2:]):
            raise ValueError(
                f"original is {shape}, expected (B, 3, H, W) with sides that are multiples of "
                f"{MULTIPLE} px"
            )
        if obfuscated.shape != original.shape:
            raise ValueError(f"obfuscated is {tuple(obfuscated.shape)}, expected {shape}")
        # colours last: the same numbers in half the time on a processor
        values = (x.contiguous(memory_format=torch.channels_last) for x in (original, obfuscated))
        branches = tuple(zip((self.oImgNet, self.tImgNet), values, strict=True))
        encoded = [branch.encode(values) for branch, values in branches]
        shared = encoded[0][0] + encoded[1][0]
        protected = torch.zeros_like(original)
        for level in range(_DEPTH):
            decoded = []
            for (branch, _), (_, skips) in zip(branches, encoded, strict=True):
                features, picture = branch.decode(level, shared, skips[-1 - level])
                decoded.append(features)
                protected = protected + picture
            shared = decoded[0] + decoded[1]
        return protected


class _Branch(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.initial = _named(
            conv0=nn.Conv2d(3, _FIRST, 3, padding=1, bias=False),
            norm0=nn.BatchNorm2d(_FIRST),
            relu0=nn.LeakyReLU(),
        )
        width, skips = _FIRST, []
        for i in range(_DEPTH):
            self.add_module(f"encode_block{i}", _dense_block(width, dropout))
            width += _LAYERS * _GROWTH
            skips.append(width)
            self.add_module(f"encode_trans{i}", _transition_down(width))
        self.bottom_block = _named(
            conv0=nn.Conv2d(width, width, 3, padding=1, bias=False),
            norm0=nn.BatchNorm2d(width),
            relu0=nn.LeakyReLU(),
        )
        for i in range(_DEPTH):
            self.add_module(f"decode_trans{i}", _transition_up(width))
            width = width // 2 + skips[-1 - i]
            self.add_module(f"decode_block{i}", _dense_block(width, dropout))
            width += _LAYERS * _GROWTH
            self.add_module(f"unpool{i}", _to_picture(width, 2 ** (_DEPTH - 1 - i)))
        # in every published file, and never called
        self.final_conv_1x1 = _named(conv0=nn.ConvTranspose2d(6, 3, 3)).requires_grad_(False)

    def encode(self, values: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the features at the bottom, and those to skip across, finest first."""
        x, skips = self.initial(values), []
        for i in range(_DEPTH):
            skips.append(self.get_submodule(f"encode_block{i}")(x))
            x = self.get_submodule(f"encode_trans{i}")(skips[-1])
        return self.bottom_block(x), skips

    def decode(self, level: int, shared: Tensor, skip: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of one level, coarsest first, and its share of the picture."""
        up = self.get_submodule(f"decode_trans{level}")(shared)
        features = self.get_submodule(f"decode_block{level}")(torch.cat((up, skip), dim=1))
        return features, self.get_submodule(f"unpool{level}")(features)


class _DenseLayer(nn.Module):
    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        inner = _BOTTLENECK * _GROWTH
        self.norm1 = nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(width, inner, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, _GROWTH, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        new = self.conv1(F.leaky_relu(self.norm1(x)))
        new = self.dropout(self.conv2(F.leaky_relu(self.norm2(new))))
        return torch.cat((x, new), dim=1)


def _dense_block(width: int, dropout: float) -> nn.Sequential:
    layers = range(_LAYERS)
    return _named(
        **{f"denselayer{i + 1}": _DenseLayer(width + i * _GROWTH, dropout) for i in layers}
    )


def _transition_down(width: int) -> nn.Sequential:
    return _named(
        norm=nn.BatchNorm2d(width),
        relu=nn.LeakyReLU(),
        conv=nn.Conv2d(width, width, 1, bias=False),
        pool=nn.MaxPool2d(2),
    )


def _transition_up(width: int) -> nn.Sequential:
    return _named(
        norm=nn.BatchNorm2d(width),
        relu=nn.LeakyReLU(),
        deconv=nn.ConvTranspose2d(width, width // 2, 2, stride=2),
    )


def _to_picture(width: int, scale: int) -> nn.Sequential:
    return _named(
        conv0=nn.Conv2d(width, 3, 3, padding=1, bias=False),
        relu0=nn.LeakyReLU(),
        pool0=nn.ConvTranspose2d(3, 3, scale, stride=scale),
    )


def _named(**modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(modules))
