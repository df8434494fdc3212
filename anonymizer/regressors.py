"""Networks that read facial landmarks off a measurement.

Both take a measurement (B, 3, S, S) in linear light and standardise each picture at their own
door, so neither exposure nor the loss of contrast in the lens matters to them. Both return
`Heatmaps`. Group norm by default: equal on one process and on many.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from anonymizer.heatmaps import from_map, soft_argmax


@dataclass(frozen=True)
class Heatmaps:
    """What a regressor saw.

    Attributes
    ----------
    logits : Tensor
        (B, K, M, M) landmark scores; their softmax over the map is a probability.
    boundary : Tensor
        (B, 1, M, M) score of the facial curves, before the logistic function.
    size : int
        Side of the input in pixels.
    """

    logits: Tensor
    boundary: Tensor
    size: int

    def log_probability(self) -> Tensor:
        """Logarithm of the landmark maps, each summing to 1 (B, K, M, M)."""
        return self.logits.flatten(2).log_softmax(-1).reshape(self.logits.shape)

    def landmarks(self) -> Tensor:
        """Return the mean landmark positions (B, K, 2) in input pixels."""
        maps = self.log_probability().exp()
        return from_map(soft_argmax(maps), self.size, maps.shape[-1])

    def peaks(self) -> Tensor:
        """Landmark maps scaled to peak 1 (B, K, M, M), for masks and pictures."""
        maps = self.log_probability()
        return (maps - maps.amax((-2, -1), keepdim=True)).exp()


def standardise(measurement: Tensor) -> Tensor:
    """Zero mean and unit variance per picture, over colours and pixels together."""
    mean = measurement.mean((1, 2, 3), keepdim=True)
    spread = measurement.var((1, 2, 3), keepdim=True, unbiased=False)
    return (measurement - mean) / (spread + 1e-6).sqrt()


def _norm(kind: str, channels: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    groups = max(g for g in (16, 8, 4, 2, 1) if channels % g == 0)
    return nn.GroupNorm(groups, channels)


class _Residual(nn.Module):
    """Two 3 x 3 convolutions around a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norms = nn.ModuleList([_norm("group", channels) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.norms[0](self.first(x)))
        return functional.relu(x + self.norms[1](self.second(out)))


class CompactRegressor(nn.Module):
    """U-Net of about 2 million parameters; maps at a quarter of the input's side.

    Parameters
    ----------
    landmarks : int
        Landmarks K.
    widths : tuple of int
        Channels at 1/4, 1/8, 1/16 and 1/32 of the input's side.
    """

    def __init__(
        self, *, landmarks: int = 68, widths: tuple[int, ...] = (48, 96, 144, 192)
    ) -> None:
        super().__init__()
        widths = tuple(widths)
        if len(widths) < 2 or min(widths) < 1:
            raise ValueError(f"widths = {widths}: two or more positive channel counts are needed")
        self.stride = 4 * 2 ** (len(widths) - 1)
        self.landmarks = landmarks
        first = widths[0]
        self.stem = nn.Sequential(
            nn.Conv2d(3, first // 2, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(first // 2, first, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList([nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairs])
        self.up = nn.ModuleList([nn.Conv2d(b, a, 1) for a, b in pairs])
        self.encode = nn.ModuleList([_Residual(w) for w in widths])
        self.decode = nn.ModuleList([_Residual(w) for w in widths[:-1]])
        self.head = nn.Conv2d(first, landmarks + 1, 1)

    def forward(self, measurement: Tensor) -> Heatmaps:
        """Read (B, 3, S, S); S a multiple of `stride`."""
        size = measurement.shape[-1]
        if measurement.shape[-2] != size or size % self.stride:
            raise ValueError(
                f"measurement is {tuple(measurement.shape)}, expected a square whose side is a "
                f"multiple of {self.stride}"
            )
        x = self.encode[0](self.stem(standardise(measurement)))
        kept = [x]
        for shrink, block in zip(self.down, self.encode[1:], strict=True):
            x = block(functional.relu(shrink(x)))
            kept.append(x)
        for level in reversed(range(len(self.up))):
            x = functional.interpolate(self.up[level](x), scale_factor=2.0, mode="bilinear")
            x = self.decode[level](x + kept[level])
        out = self.head(x)
        return Heatmaps(out[:, : self.landmarks], out[:, self.landmarks :], size)


class _ConvBlock(nn.Module):
    """Pre-activation chain of three 3 x 3 convolutions, concatenated, plus shortcut."""

    def __init__(self, channels: int, out: int, norm: str) -> None:
        super().__init__()
        widths = (channels, out // 2, out // 4, out // 4)
        pairs = list(pairwise(widths))
        self.norms = nn.ModuleList([_norm(norm, a) for a, _ in pairs])
        self.convs = nn.ModuleList([nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in pairs])
        self.shortcut = (
            nn.Identity()
            if channels == out
            else nn.Sequential(
                _norm(norm, channels), nn.ReLU(), nn.Conv2d(channels, out, 1, bias=False)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        parts, last = [], x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            last = conv(functional.relu(norm(last)))
            parts.append(last)
        out: Tensor = torch.cat(parts, 1) + self.shortcut(x)
        return out


class _Hourglass(nn.Module):
    """One level of the hourglass and, inside it, the next."""

    def __init__(self, depth: int, channels: int, norm: str) -> None:
        super().__init__()
        self.skip = _ConvBlock(channels, channels, norm)
        self.before = _ConvBlock(channels, channels, norm)
        self.inner: nn.Module = (
            _Hourglass(depth - 1, channels, norm)
            if depth > 1
            else _ConvBlock(channels, channels, norm)
        )
        self.after = _ConvBlock(channels, channels, norm)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.after(self.inner(self.before(functional.avg_pool2d(x, 2))))
        out: Tensor = self.skip(x) + functional.interpolate(inner, scale_factor=2.0)
        return out


def _append_coordinates(x: Tensor) -> Tensor:
    """Append maps of x, y in [-1, 1] and of the radius over its maximum."""
    rows, columns = x.shape[-2:]
    y = torch.linspace(-1, 1, rows, dtype=x.dtype, device=x.device)[:, None].expand(rows, columns)
    c = torch.linspace(-1, 1, columns, dtype=x.dtype, device=x.device).expand(rows, columns)
    radius = (y.square() + c.square()).sqrt()
    maps = torch.stack((c, y, radius / radius.max())).expand(len(x), 3, rows, columns)
    return torch.cat((x, maps), 1)


class FanRegressor(nn.Module):
    """One-stack face alignment network with coordinate channels; maps at a quarter of the side.

    Parameters
    ----------
    landmarks : int
        Landmarks K; one more channel holds the boundary map.
    norm : {"group", "batch"}
        Group norm for training here; batch norm is the published network (6,333,603 parameters
        with 98 landmarks either way).

    References
    ----------
    A. Bulat, G. Tzimiropoulos, ICCV 2017 (block and hourglass); X. Wang, L. Bo, L. Fuxin, ICCV
    2019 (coordinate channels, boundary map).
    """

    stride = 64

    def __init__(self, *, landmarks: int = 68, norm: Literal["group", "batch"] = "group") -> None:
        super().__init__()
        self.landmarks = landmarks
        self.stem = nn.Conv2d(6, 64, 7, stride=2, padding=3)
        self.stem_norm = _norm(norm, 64)
        self.blocks = nn.ModuleList(
            [_ConvBlock(64, 128, norm), _ConvBlock(128, 128, norm), _ConvBlock(128, 256, norm)]
        )
        self.mix = nn.Conv2d(259, 256, 1)
        self.hourglass = _Hourglass(4, 256, norm)
        self.top = _ConvBlock(256, 256, norm)
        self.last = nn.Conv2d(256, 256, 1)
        self.last_norm = _norm(norm, 256)
        self.head = nn.Conv2d(256, landmarks + 1, 1)

    def forward(self, measurement: Tensor) -> Heatmaps:
        """Read (B, 3, S, S); S a multiple of 64."""
        size = measurement.shape[-1]
        if measurement.shape[-2] != size or size % self.stride:
            raise ValueError(
                f"measurement is {tuple(measurement.shape)}, expected a square whose side is a "
                f"multiple of {self.stride}"
            )
        return self.read(standardise(measurement))

    def read(self, pictures: Tensor) -> Heatmaps:
        """Read pictures (B, 3, S, S) in whatever range the weights were trained on."""
        size = pictures.shape[-1]
        x = self.stem(_append_coordinates(pictures))
        x = self.blocks[0](functional.relu(self.stem_norm(x)))
        x = self.blocks[2](self.blocks[1](functional.avg_pool2d(x, 2)))
        x = self.top(self.hourglass(self.mix(_append_coordinates(x))))
        out = self.head(functional.relu(self.last_norm(self.last(x))))
        return Heatmaps(out[:, : self.landmarks], out[:, self.landmarks :], size)
