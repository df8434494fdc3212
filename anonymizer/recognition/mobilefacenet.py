"""MobileFaceNet in the three layouts in which public weights exist.

Module names are those of the published files, so that they load without translation.

References
----------
S. Chen, Y. Liu, X. Gao, Z. Han, "MobileFaceNets: Efficient CNNs for accurate real-time face
verification on mobile devices", CCBR 2018, arXiv:1804.07573, table 1.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from anonymizer.recognition.recognizer import ChannelOrder, Recognizer, in_order

_BOTTLENECKS = (  # expansion, channels, repeats, stride of the first
    (2, 64, 5, 2),
    (4, 128, 1, 2),
    (2, 128, 6, 1),
    (4, 128, 1, 2),
    (2, 128, 2, 1),
)


class MobileFaceNet(Recognizer):
    """MobileFaceNet with PReLU, as in the InsightFace y1 and the Xiaoccer weights.

    Parameters
    ----------
    width : {112, 96}
        Columns the network sees; 96 takes the middle of the aligned face [px].
    """

    dimension = 128

    def __init__(self, *, width: int = 112) -> None:
        super().__init__()
        if width not in (112, 96):
            raise ValueError(f"width = {width} px, expected 112 or 96")
        self.width = width
        self.conv1 = _ConvUnit(3, 64, 3, stride=2, padding=1)
        self.dw_conv1 = _ConvUnit(64, 64, 3, padding=1, groups=64)
        self.blocks = nn.Sequential(*(_Bottleneck(*args) for args in _bottlenecks()))
        self.conv2 = _ConvUnit(128, 512, 1)
        self.linear7 = _ConvUnit(512, 512, (7, width // 16), groups=512, active=False)
        self.linear1 = _ConvUnit(512, self.dimension, 1, active=False)

    def embed(self, faces: Tensor) -> Tensor:
        """Return raw features; the network's own range is (x - 127.5) / 128 of 8-bit values."""
        margin = (faces.shape[-1] - self.width) // 2
        x = (255 * faces[..., margin : margin + self.width] - 127.5) / 128
        x = self.conv2(self.blocks(self.dw_conv1(self.conv1(x))))
        features: Tensor = self.linear1(self.linear7(x)).flatten(1)
        return features


class MobileFaceNetProFace(Recognizer):
    """MobileFaceNet as PRO-Face's programs use it: the same layers under other names.

    Parameters
    ----------
    channels : {"RGB", "BGR"}
        PRO-Face feeds R G B.
    """

    dimension = 128

    def __init__(self, *, channels: ChannelOrder = "RGB") -> None:
        super().__init__()
        self.channels = channels
        self.conv3 = _ConvUnit(3, 64, 3, stride=2, padding=1)
        self.dw_conv3 = _ConvUnit(64, 64, 3, padding=1, groups=64)
        self.bottlenecks = nn.Sequential(*(_Bottleneck(*args) for args in _bottlenecks()))
        self.conv1 = _ConvUnit(128, 512, 1)
        self.linear_GDConv7 = _ConvUnit(512, 512, 7, groups=512, active=False)
        self.linear_conv1 = _ConvUnit(512, self.dimension, 1, active=False)

    def embed(self, faces: Tensor) -> Tensor:
        """Return raw features; the network's own range is [-1, 1]."""
        x = self.dw_conv3(self.conv3(2 * in_order(faces, self.channels) - 1))
        x = self.linear_GDConv7(self.conv1(self.bottlenecks(x)))
        features: Tensor = self.linear_conv1(x).flatten(1)
        return features


class MobileFaceNetRelu6(Recognizer):
    """MobileFaceNet with ReLU6 and a biased last layer, as in the foamliu weights."""

    dimension = 128

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _unit(3, 64, 3, stride=2)
        self.dw_conv = _Separable(64)
        self.features = nn.Sequential(*(_BottleneckRelu6(*args) for args in _bottlenecks()))
        self.conv2 = _unit(128, 512, 1)
        self.gdconv = nn.ModuleDict(
            {
                "depthwise": nn.Conv2d(512, 512, 7, groups=512, bias=False),
                "bn": nn.BatchNorm2d(512),
            }
        )
        self.conv3 = nn.Conv2d(512, self.dimension, 1)
        self.bn = nn.BatchNorm2d(self.dimension)
        for name, value in (("mean", (0.485, 0.456, 0.406)), ("std", (0.229, 0.224, 0.225))):
            self.register_buffer(name, torch.tensor(value).reshape(3, 1, 1), persistent=False)

    def embed(self, faces: Tensor) -> Tensor:
        """Return raw features; the network's own range is that of ImageNet statistics."""
        x = self.conv2(self.features(self.dw_conv(self.conv1((faces - self.mean) / self.std))))
        x = self.gdconv["bn"](self.gdconv["depthwise"](x))
        features: Tensor = self.bn(self.conv3(x)).flatten(1)
        return features


def _bottlenecks() -> Iterator[tuple[int, int, int, int]]:
    """Yield (channels in, expanded, out, stride) of the fifteen bottlenecks."""
    channels = 64
    for expansion, out, repeats, first_stride in _BOTTLENECKS:
        for i in range(repeats):
            yield channels, expansion * channels, out, first_stride if i == 0 else 1
            channels = out


class _ConvUnit(nn.Module):
    """Convolution and batch normalisation, then PReLU if `active`."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        active: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels_in, channels_out, kernel, stride, padding, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(channels_out)
        if active:
            self.prelu = nn.PReLU(channels_out)
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        return self.prelu(x) if self.active else x


class _Bottleneck(nn.Module):
    """Inverted residual with PReLU."""

    def __init__(self, channels_in: int, expanded: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.residual = stride == 1 and channels_in == channels_out
        self.conv = nn.Sequential(
            nn.Conv2d(channels_in, expanded, 1, bias=False),
            nn.BatchNorm2d(expanded),
            nn.PReLU(expanded),
            nn.Conv2d(expanded, expanded, 3, stride, 1, groups=expanded, bias=False),
            nn.BatchNorm2d(expanded),
            nn.PReLU(expanded),
            nn.Conv2d(expanded, channels_out, 1, bias=False),
            nn.BatchNorm2d(channels_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.residual else y


class _BottleneckRelu6(nn.Module):
    """Inverted residual with ReLU6."""

    def __init__(self, channels_in: int, expanded: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.residual = stride == 1 and channels_in == channels_out
        self.conv = nn.Sequential(
            _unit(channels_in, expanded, 1),
            _unit(expanded, expanded, 3, stride=stride, groups=expanded),
            nn.Conv2d(expanded, channels_out, 1, bias=False),
            nn.BatchNorm2d(channels_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.residual else y


class _Separable(nn.Module):
    """Depthwise then pointwise convolution, each normalised and rectified."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu: Callable[[Tensor], Tensor] = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.depthwise(x)))
        return self.relu(self.bn2(self.pointwise(x)))


def _unit(
    channels_in: int, channels_out: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Build a convolution that keeps the size at stride 1, batch normalisation and ReLU6."""
    return nn.Sequential(
        nn.Conv2d(
            channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False
        ),
        nn.BatchNorm2d(channels_out),
        nn.ReLU6(),
    )
