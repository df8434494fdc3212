"""The generator of SimSwap: identity injected into the features of a face.

Module names are those of the published file, so that it loads without translation. Values are
sRGB in [0, 1], at 224 px.

References
----------
R. Chen, X. Chen, B. Ni, Y. Ge, "SimSwap: An efficient framework for high fidelity face swapping",
ACM Multimedia 2020, section 3.1.
"""

import torch
from torch import Tensor, nn

SIZE = 224
"""Side of the faces [px]."""

_IDENTITY, _WIDTHS, _BLOCKS = 512, (64, 128, 256, 512), 9


class SimSwapGenerator(nn.Module):
    """Map faces (B, 3, 224, 224) and unit identities (B, 512) to swapped faces in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        first, *_, last = _WIDTHS
        self.first_layer = nn.Sequential(nn.ReflectionPad2d(3), *_unit(3, first, 7))
        for i in range(1, len(_WIDTHS)):
            self.add_module(f"down{i}", nn.Sequential(*_unit(_WIDTHS[i - 1], _WIDTHS[i], 3, 2, 1)))
        self.BottleNeck = nn.ModuleList(_Block(last) for _ in range(_BLOCKS))
        for i in range(len(_WIDTHS) - 1, 0, -1):
            grow = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
            self.add_module(
                f"up{i}", nn.Sequential(grow, *_unit(_WIDTHS[i], _WIDTHS[i - 1], 3, 1, 1))
            )
        self.last_layer = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(first, 3, 7), nn.Tanh())

    def forward(self, faces: Tensor, identity: Tensor) -> Tensor:
        """Return the faces with another identity."""
        x = self.first_layer(faces)
        for i in range(1, len(_WIDTHS)):
            x = self.get_submodule(f"down{i}")(x)
        for block in self.BottleNeck:
            x = block(x, identity)
        for i in range(len(_WIDTHS) - 1, 0, -1):
            x = self.get_submodule(f"up{i}")(x)
        swapped: Tensor = (self.last_layer(x) + 1) / 2
        return swapped


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (
            nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), _InstanceNorm())
            for _ in range(2)
        )
        self.style1, self.style2 = (_Style(width) for _ in range(2))

    def forward(self, x: Tensor, identity: Tensor) -> Tensor:
        y = torch.relu(self.style1(self.conv1(x), identity))
        out: Tensor = x + self.style2(self.conv2(y), identity)
        return out


class _InstanceNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = x - x.mean(dim=(2, 3), keepdim=True)
        return x * torch.rsqrt(x.square().mean(dim=(2, 3), keepdim=True) + 1e-8)


class _Style(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(_IDENTITY, 2 * width)

    def forward(self, x: Tensor, identity: Tensor) -> Tensor:
        gain, offset = self.linear(identity)[:, :, None, None].chunk(2, dim=1)
        out: Tensor = x * (gain + 1) + offset
        return out


def _unit(before: int, width: int, side: int, stride: int = 1, margin: int = 0) -> list[nn.Module]:
    return [
        nn.Conv2d(before, width, side, stride, margin),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]
