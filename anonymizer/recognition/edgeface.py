"""EdgeFace: the EdgeNeXt network with a face embedding as its last layer.

Module names are those of the timm library, in which the weights were published.

References
----------
A. George, C. Ecabert, H. O. Shahreza, K. Kotwal, S. Marcel, "EdgeFace: efficient face recognition
model for edge devices", IEEE Trans. Biometrics, Behavior, and Identity Science 6, 158 (2024).
M. Maaz et al., "EdgeNeXt: efficiently amalgamated CNN-transformer architecture for mobile vision
applications", ECCV Workshops 2022, arXiv:2206.10589.
A. El-Nouby et al., "XCiT: cross-covariance image transformers", NeurIPS 2021, eq. 3.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anonymizer.recognition.recognizer import Recognizer

_KERNELS = (3, 5, 7, 9)  # of the convolutional blocks, by stage
_SCALES = (2, 2, 3, 4)  # channel groups of the attention block, by stage
_EPS = 1e-6
_FREQUENCIES = 32  # of the positional code, per axis


@dataclass(frozen=True)
class _Variant:
    widths: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]


_VARIANTS = {
    "xxs": _Variant(widths=(24, 48, 88, 168), depths=(2, 2, 6, 2)),
    "xs": _Variant(widths=(32, 64, 100, 192), depths=(3, 3, 9, 3)),
}


class EdgeFace(Recognizer):
    """Convolution and cross-covariance attention in four stages.

    Parameters
    ----------
    variant : {"xxs", "xs"}
        Published size.
    """

    dimension = 512

    def __init__(self, *, variant: Literal["xxs", "xs"]) -> None:
        super().__init__()
        if variant not in _VARIANTS:
            raise ValueError(f"variant = {variant!r}, expected one of {', '.join(_VARIANTS)}")
        widths, depths = _VARIANTS[variant].widths, _VARIANTS[variant].depths
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 4, 4), _ChannelNorm(widths[0]))
        self.stages = nn.Sequential(
            *(
                _Stage(widths[max(i - 1, 0)], widths[i], depths[i], index=i)
                for i in range(len(widths))
            )
        )
        self.head = nn.ModuleDict(
            {
                "norm": nn.LayerNorm(widths[-1], eps=_EPS),
                "fc": nn.Linear(widths[-1], self.dimension),
            }
        )

    def embed(self, faces: Tensor) -> Tensor:
        """Return raw features; the network's own range is [-1, 1]."""
        x = self.stages(self.stem(2 * faces - 1)).mean(dim=(2, 3))
        features: Tensor = self.head["fc"](self.head["norm"](x))
        return features


class _ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Stage(nn.Module):
    """Halve the map (except in the first stage), then blocks; the last one attends globally."""

    def __init__(self, channels_in: int, channels: int, depth: int, *, index: int) -> None:
        super().__init__()
        attends = index > 0
        self.downsample = (
            nn.Sequential(_ChannelNorm(channels_in), nn.Conv2d(channels_in, channels, 2, 2))
            if index > 0
            else nn.Identity()
        )
        local = depth - 1 if attends else depth
        blocks: list[nn.Module] = [_LocalBlock(channels, _KERNELS[index]) for _ in range(local)]
        if attends:
            blocks.append(_GlobalBlock(channels, _SCALES[index], positional=index == 1))
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.blocks(self.downsample(x))
        return y


class _Mlp(nn.Module):
    """Two linear layers over the last dimension, four times wider between them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return y


class _LocalBlock(nn.Module):
    """Depthwise convolution and an inverted bottleneck."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=_EPS)
        self.mlp = _Mlp(channels)
        self.gamma = nn.Parameter(torch.full((channels,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.gamma * self.mlp(self.norm(self.conv_dw(x).permute(0, 2, 3, 1)))
        return x + y.permute(0, 3, 1, 2)


class _GlobalBlock(nn.Module):
    """Split depthwise convolutions, attention between channels, an inverted bottleneck."""

    def __init__(self, channels: int, scales: int, *, positional: bool) -> None:
        super().__init__()
        width = math.ceil(channels / scales)
        self.convs = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=1, groups=width) for _ in range(scales - 1)
        )
        self.pos_embd = _FourierPosition(channels) if positional else None
        self.norm_xca = nn.LayerNorm(channels, eps=_EPS)
        self.xca = _CrossCovariance(channels)
        self.gamma_xca = nn.Parameter(torch.full((channels,), 1e-6))
        self.norm = nn.LayerNorm(channels, eps=_EPS)
        self.mlp = _Mlp(channels)
        self.gamma = nn.Parameter(torch.full((channels,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        groups = x.chunk(len(self.convs) + 1, dim=1)
        parts: list[Tensor] = []
        for i, conv in enumerate(self.convs):
            parts.append(conv(groups[i] + parts[-1] if parts else groups[i]))
        y = torch.cat((*parts, groups[-1]), dim=1)
        if self.pos_embd is not None:
            y = y + self.pos_embd(height, width)
        y = y.flatten(2).transpose(1, 2)
        y = y + self.gamma_xca * self.xca(self.norm_xca(y))
        y = self.gamma * self.mlp(self.norm(y))
        out: Tensor = x + y.transpose(1, 2).reshape(batch, channels, height, width)
        return out


class _CrossCovariance(nn.Module):
    """Attention among channels: their covariance over the positions weights the values."""

    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        batch, positions, channels = x.shape
        qkv = self.qkv(x).reshape(batch, positions, 3, self.heads, channels // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 4, 1)  # each (B, heads, channels per head, positions)
        likeness = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-1, -2)
        y = (likeness * self.temperature).softmax(dim=-1) @ v
        out: Tensor = self.proj(y.permute(0, 3, 1, 2).reshape(batch, positions, channels))
        return out


class _FourierPosition(nn.Module):
    """Learned projection of sines and cosines of the position."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.token_projection = nn.Conv2d(2 * _FREQUENCIES, channels, 1)

    def forward(self, height: int, width: int) -> Tensor:
        like = self.token_projection.weight
        code = torch.cat(
            (
                _position_code(height, like)[:, :, None].expand(-1, -1, width),
                _position_code(width, like)[:, None, :].expand(-1, height, -1),
            )
        )
        out: Tensor = self.token_projection(code[None])
        return out


def _position_code(length: int, like: Tensor) -> Tensor:
    """Return sine and cosine features (frequencies, length), interleaved."""
    position = torch.arange(1, length + 1, device=like.device, dtype=like.dtype)
    position = position / (length + _EPS) * 2 * math.pi
    pair = torch.arange(_FREQUENCIES // 2, device=like.device, dtype=like.dtype)
    angle = position / (10_000 ** (2 * pair / _FREQUENCIES))[:, None]
    functions: tuple[Callable[[Tensor], Tensor], ...] = (torch.sin, torch.cos)
    return torch.stack([f(angle) for f in functions], dim=1).flatten(0, 1)
