"""The generator of FaceShifter: attributes of one face, identity of another.

Module names are those of the published file, so that it loads without translation. Values are
sRGB in [-1, 1], at 256 px.

References
----------
L. Li, J. Bao, H. Yang, D. Chen, F. Wen, "Advancing high fidelity identity swapping for forgery
detection", CVPR 2020, section 3.1.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZE = 256
"""Side of the faces [px]."""

_IDENTITY = 512
_DOWN = (32, 64, 128, 256, 512, 1024, 1024)  # channels, each at half the size of the one before
_UP = (1024, 512, 256, 128, 64, 32)
_ATTRIBUTES = (1024, 2048, 1024, 512, 256, 128, 64, 64)
_BLOCKS = (1024, 1024, 1024, 1024, 512, 256, 128, 64, 3)


class AeiNet(nn.Module):
    """Map faces (B, 3, 256, 256) and unit identities (B, 512) to swapped faces in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = _AttributeEncoder()
        self.generator = _Generator()

    def forward(self, faces: Tensor, identity: Tensor) -> Tensor:
        """Return the faces with another identity."""
        swapped: Tensor = self.generator(self.encoder(faces), identity)
        return swapped


class _AttributeEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        before = 3
        for i, width in enumerate(_DOWN):
            self.add_module(
                f"conv{i + 1}",
                nn.Sequential(
                    nn.Conv2d(before, width, 4, 2, 1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.LeakyReLU(0.1),
                ),
            )
            before = width
        for i, width in enumerate(_UP):
            self.add_module(f"deconv{i + 1}", _Up(before, width))
            before = width + _DOWN[-2 - i]

    def forward(self, faces: Tensor) -> list[Tensor]:
        """Return the attributes from 2 px up to the size of the faces."""
        features = [faces]
        for i in range(len(_DOWN)):
            features.append(self.get_submodule(f"conv{i + 1}")(features[-1]))
        attributes = [features[-1]]
        for i in range(len(_UP)):
            up = self.get_submodule(f"deconv{i + 1}")
            attributes.append(up(attributes[-1], features[-2 - i]))
        return [*attributes, _double(attributes[-1])]


class _Up(nn.Module):
    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.deconv = nn.ConvTranspose2d(before, width, 4, 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor, beside: Tensor) -> Tensor:
        return torch.cat((F.leaky_relu(self.bn(self.deconv(x)), 0.1), beside), dim=1)


class _Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up1 = nn.ConvTranspose2d(_IDENTITY, _BLOCKS[0], 2)
        for i, attributes in enumerate(_ATTRIBUTES):
            self.add_module(f"AADBlk{i + 1}", _Block(_BLOCKS[i], _BLOCKS[i + 1], attributes))

    def forward(self, attributes: list[Tensor], identity: Tensor) -> Tensor:
        x = self.up1(identity[:, :, None, None])
        for i, attribute in enumerate(attributes):
            x = self.get_submodule(f"AADBlk{i + 1}")(
                x if i == 0 else _double(x), attribute, identity
            )
        return torch.tanh(x)


class _Block(nn.Module):
    """Two layers with what to blend before each, and a third past them where the width changes."""

    def __init__(self, before: int, width: int, attributes: int) -> None:
        super().__init__()
        self.AAD1, self.AAD2 = (_Blend(before, attributes) for _ in range(2))
        self.conv1 = nn.Conv2d(before, before, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(before, width, 3, padding=1, bias=False)
        self.changes = before != width
        if self.changes:
            self.AAD3 = _Blend(before, attributes)
            self.conv3 = nn.Conv2d(before, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor, attribute: Tensor, identity: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.AAD1(x, attribute, identity)))
        y = self.conv2(F.relu(self.AAD2(y, attribute, identity)))
        if self.changes:
            x = self.conv3(F.relu(self.AAD3(x, attribute, identity)))
        out: Tensor = x + y
        return out


class _Blend(nn.Module):
    """Adaptive attentional denormalisation: attributes or identity, place by place."""

    def __init__(self, width: int, attributes: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(attributes, width, 1) for _ in range(2))
        self.fc1, self.fc2 = (nn.Linear(_IDENTITY, width) for _ in range(2))
        self.conv_h = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor, attribute: Tensor, identity: Tensor) -> Tensor:
        h = F.instance_norm(x)
        by_attribute = self.conv1(attribute) * h + self.conv2(attribute)
        by_identity = (
            self.fc1(identity)[:, :, None, None] * h + self.fc2(identity)[:, :, None, None]
        )
        share = torch.sigmoid(self.conv_h(h))
        out: Tensor = by_attribute + share * (by_identity - by_attribute)
        return out


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)
