"""Inception-ResNet V1 on 160 px faces, in the layout of the weights trained on VGGFace2.

Module names are those of the published file, so that it loads without translation; its layer of
8,631 people comes along and plays no part in an embedding.

References
----------
C. Szegedy, S. Ioffe, V. Vanhoucke, A. Alemi, "Inception-v4, Inception-ResNet and the impact of
residual connections on learning", AAAI 2017, figures 10 to 14.
Q. Cao, L. Shen, W. Xie, O. M. Parkhi, A. Zisserman, "VGGFace2: a dataset for recognising faces
across pose and age", FG 2018.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anonymizer.recognition.recognizer import Recognizer

_INPUT = 160  # side that the network sees [px]
_PEOPLE = 8631
_EPS = 1e-3


class InceptionResNet(Recognizer):
    """Inception-ResNet V1; the aligned face is enlarged to 160 px by bicubic interpolation."""

    dimension = 512

    def __init__(self) -> None:
        super().__init__()
        self.conv2d_1a = _Conv(3, 32, 3, stride=2)
        self.conv2d_2a = _Conv(32, 32, 3)
        self.conv2d_2b = _Conv(32, 64, 3, padding=1)
        self.maxpool_3a = nn.MaxPool2d(3, 2)
        self.conv2d_3b = _Conv(64, 80, 1)
        self.conv2d_4a = _Conv(80, 192, 3)
        self.conv2d_4b = _Conv(192, 256, 3, stride=2)
        self.repeat_1 = nn.Sequential(*(_block35() for _ in range(5)))
        self.mixed_6a = _Branches(
            _Conv(256, 384, 3, stride=2),
            nn.Sequential(
                _Conv(256, 192, 1), _Conv(192, 192, 3, padding=1), _Conv(192, 256, 3, stride=2)
            ),
            nn.MaxPool2d(3, 2),
        )
        self.repeat_2 = nn.Sequential(*(_block17() for _ in range(10)))
        self.mixed_7a = _Branches(
            nn.Sequential(_Conv(896, 256, 1), _Conv(256, 384, 3, stride=2)),
            nn.Sequential(_Conv(896, 256, 1), _Conv(256, 256, 3, stride=2)),
            nn.Sequential(
                _Conv(896, 256, 1), _Conv(256, 256, 3, padding=1), _Conv(256, 256, 3, stride=2)
            ),
            nn.MaxPool2d(3, 2),
        )
        self.repeat_3 = nn.Sequential(*(_block8(scale=0.2) for _ in range(5)))
        self.block8 = _block8(scale=1.0, rectified=False)
        self.dropout = nn.Dropout(0.6)
        self.last_linear = nn.Linear(1792, self.dimension, bias=False)
        self.last_bn = nn.BatchNorm1d(self.dimension, eps=_EPS)
        self.logits = nn.Linear(self.dimension, _PEOPLE)

    def embed(self, faces: Tensor) -> Tensor:
        """Return raw features; the network's own range is [-1, 1] at 160 px."""
        large = F.interpolate(
            2 * faces - 1, size=(_INPUT, _INPUT), mode="bicubic", align_corners=False
        )
        x = self.maxpool_3a(self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(large))))
        x = self.repeat_1(self.conv2d_4b(self.conv2d_4a(self.conv2d_3b(x))))
        x = self.repeat_3(self.mixed_7a(self.repeat_2(self.mixed_6a(x))))
        x = self.dropout(self.block8(x).mean(dim=(2, 3)))
        features: Tensor = self.last_bn(self.last_linear(x))
        return features


class _Conv(nn.Module):
    """Convolution, batch normalisation and ReLU."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(channels_out, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _Branches(nn.Module):
    """Branches side by side, their channels one after another."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.count = len(branches)
        for i, branch in enumerate(branches):
            self.add_module(f"branch{i}", branch)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.get_submodule(f"branch{i}")(x) for i in range(self.count)], dim=1)


class _Residual(_Branches):
    """Branches, joined by a 1 x 1 convolution and added to the input in proportion `scale`."""

    def __init__(
        self, *branches: nn.Module, joined: int, channels: int, scale: float, rectified: bool = True
    ) -> None:
        super().__init__(*branches)
        self.scale, self.rectified = scale, rectified
        self.conv2d = nn.Conv2d(joined, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.scale * self.conv2d(super().forward(x))
        return F.relu(y) if self.rectified else y


def _block35() -> _Residual:
    return _Residual(
        _Conv(256, 32, 1),
        nn.Sequential(_Conv(256, 32, 1), _Conv(32, 32, 3, padding=1)),
        nn.Sequential(_Conv(256, 32, 1), _Conv(32, 32, 3, padding=1), _Conv(32, 32, 3, padding=1)),
        joined=96,
        channels=256,
        scale=0.17,
    )


def _block17() -> _Residual:
    return _Residual(
        _Conv(896, 128, 1),
        nn.Sequential(
            _Conv(896, 128, 1),
            _Conv(128, 128, (1, 7), padding=(0, 3)),
            _Conv(128, 128, (7, 1), padding=(3, 0)),
        ),
        joined=256,
        channels=896,
        scale=0.10,
    )


def _block8(*, scale: float, rectified: bool = True) -> _Residual:
    return _Residual(
        _Conv(1792, 192, 1),
        nn.Sequential(
            _Conv(1792, 192, 1),
            _Conv(192, 192, (1, 3), padding=(0, 1)),
            _Conv(192, 192, (3, 1), padding=(1, 0)),
        ),
        joined=384,
        channels=1792,
        scale=scale,
        rectified=rectified,
    )
