"""Building blocks of the four networks: residual, styled and high-pass.

Modules are named as in the published weight files, so that those load without a table.

References
----------
Y. Choi, Y. Uh, J. Yoo, J.-W. Ha, "StarGAN v2: Diverse Image Synthesis for Multiple Domains",
CVPR 2020, appendix: network architecture.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2  # of the leaky rectifiers, below zero


def rectify(x: Tensor) -> Tensor:
    """Leaky rectifier of slope 0.2."""
    return F.leaky_relu(x, SLOPE)


def halve(x: Tensor) -> Tensor:
    """Average 2 x 2 pixels; twice as fast on a CPU as the pooling of torch."""
    x = x[..., ::2, :] + x[..., 1::2, :]
    return 0.25 * (x[..., ::2] + x[..., 1::2])


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut; the sum over sqrt 2 keeps the variance.

    Parameters
    ----------
    channels, out : int
        Channels that come in and go out.
    normalize : bool
        Instance norm with scale and shift before each rectifier.
    downsample : bool
        Halve the sides by averaging.
    """

    def __init__(self, channels: int, out: int, *, normalize: bool, downsample: bool) -> None:
        super().__init__()
        self.downsample = downsample
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, out, 3, padding=1)
        self.norm1, self.norm2 = (
            nn.InstanceNorm2d(channels, affine=True) if normalize else nn.Identity()
            for _ in range(2)
        )
        self.conv1x1 = nn.Conv2d(channels, out, 1, bias=False) if channels != out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, out, H, W), or half the sides."""
        beside = self.conv1x1(x)
        x = self.conv1(rectify(self.norm1(x)))
        if self.downsample:
            beside, x = halve(beside), halve(x)
        x = self.conv2(rectify(self.norm2(x)))
        out: Tensor = (x + beside) / math.sqrt(2)
        return out


class StyledNorm(nn.Module):
    """Instance norm whose scale and shift come from the style: (1 + gamma) x + beta."""

    def __init__(self, channels: int, style: int) -> None:
        super().__init__()
        self.fc = nn.Linear(style, 2 * channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Normalise (B, C, H, W) by the style (B, D)."""
        gamma, beta = self.fc(style)[:, :, None, None].chunk(2, 1)
        out: Tensor = (1 + gamma) * F.instance_norm(x) + beta
        return out


class StyledBlock(nn.Module):
    """Two convolutions, each after a norm that the style sets.

    Parameters
    ----------
    channels, out : int
        Channels that come in and go out.
    style : int
        Length of the style.
    upsample : bool
        Double the sides.
    shortcut : bool
        Add what came in; the published network with high-pass skips has none, so that its
        skips are the only way around the style.
    smooth : bool, default False
        Double bilinearly; the published networks take the nearest neighbour.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        style: int,
        *,
        upsample: bool,
        shortcut: bool,
        smooth: bool = False,
    ) -> None:
        super().__init__()
        self.upsample, self.shortcut = upsample, shortcut
        self.mode = "bilinear" if smooth else "nearest"
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.norm1, self.norm2 = StyledNorm(channels, style), StyledNorm(out, style)
        # the published file has this layer wherever widths differ, used or not
        self.conv1x1 = nn.Conv2d(channels, out, 1, bias=False) if channels != out else nn.Identity()

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Return (B, out, H, W), or twice the sides."""
        beside = x
        x = rectify(self.norm1(x, style))
        if self.upsample:
            x = F.interpolate(x, scale_factor=2.0, mode=self.mode)
        x = self.conv2(rectify(self.norm2(self.conv1(x), style)))
        if not self.shortcut:
            return x
        beside = self.conv1x1(beside)  # before the doubling, which it commutes with
        if self.upsample:
            beside = F.interpolate(beside, scale_factor=2.0, mode=self.mode)
        return (x + beside) / math.sqrt(2)


class HighPass(nn.Module):
    """Laplacian of every channel by itself, over `strength`."""

    filter: Tensor

    def __init__(self, strength: float) -> None:
        super().__init__()
        kernel = torch.full((3, 3), -1.0)
        kernel[1, 1] = 8.0
        self.register_buffer("filter", kernel / strength, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Filter (B, C, H, W); zero outside the map."""
        count = x.shape[1]
        return F.conv2d(x, self.filter.expand(count, 1, 3, 3), padding=1, groups=count)


def initialize(network: nn.Module) -> None:
    """He-normal weights over the fan-in, zero biases; norms stay as they are made."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
