"""Residual networks of 50 to 101 layers for faces, in the three layouts that published files have.

All keep the full 112 px in the stem, halve the picture at the start of each of four stages, and
normalise before each convolution and after the last one of a unit, without activation after the
sum. They differ in the names of their layers, and in how a unit that halves the picture carries
its input past. Module names are those of the published files.

References
----------
J. Deng, J. Guo, N. Xue, S. Zafeiriou, "ArcFace: additive angular margin loss for deep face
recognition", CVPR 2019, section 3.1 (the units).
J. Hu, L. Shen, G. Sun, "Squeeze-and-excitation networks", CVPR 2018.
M. Kim, A. K. Jain, X. Liu, "AdaFace: quality adaptive margin for face recognition", CVPR 2022.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from anonymizer.recognition.recognizer import ChannelOrder, Recognizer, in_order
from anonymizer.recognition.staged import StagedRecognizer

_WIDTHS = (64, 128, 256, 512)
_UNITS = {50: (3, 4, 14, 3), 100: (3, 13, 30, 3)}
_FLAT = 512 * 7 * 7
_REDUCTION = 16  # of the channels, where they are weighted


class IResNet50(Recognizer):
    """The 50-layer network of PRO-Face, without or with weighted channels.

    Parameters
    ----------
    variant : {"ir", "se"}
        Plain units (IResNet-50) or squeeze-and-excitation in each (SEResNet-50).
    channels : {"RGB", "BGR"}
        PRO-Face feeds R G B; the program its weights seem to come from reads B G R.
    """

    dimension = 512

    def __init__(
        self, *, variant: Literal["ir", "se"] = "ir", channels: ChannelOrder = "RGB"
    ) -> None:
        super().__init__()
        if variant not in ("ir", "se"):
            raise ValueError(f"variant = {variant!r}, expected 'ir' or 'se'")
        self.channels = channels
        self.input_layer = stem()
        stages: list[list[nn.Module]] = [[], [], [], []]
        for stage, channels_in, channels_out, stride in _layout(_UNITS[50]):
            unit = _Unit(channels_in, channels_out, stride, projects=stride == 2)
            if variant == "se":
                unit.res_layer.append(ChannelWeights(channels_out))
            stages[stage].append(unit)
        self.layer1, self.layer2, self.layer3, self.layer4 = (nn.Sequential(*s) for s in stages)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512),
            nn.Dropout(0.4),
            nn.Flatten(),
            nn.Linear(_FLAT, self.dimension),
            nn.BatchNorm1d(self.dimension),
        )

    def embed(self, faces: Tensor) -> Tensor:
        """Return raw features; the network's own range is [-1, 1]."""
        x = self.input_layer(2 * in_order(faces, self.channels) - 1)
        features: Tensor = self.output_layer(self.layer4(self.layer3(self.layer2(self.layer1(x)))))
        return features


class IResNet100(Recognizer):
    """The 100-layer network in InsightFace's layout.

    Parameters
    ----------
    channels : {"RGB", "BGR"}
        Both PRO-Face and InsightFace feed R G B.
    """

    dimension = 512

    def __init__(self, *, channels: ChannelOrder = "RGB") -> None:
        super().__init__()
        self.channels = channels
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU(64)
        stages: list[list[nn.Module]] = [[], [], [], []]
        for stage, channels_in, channels_out, stride in _layout(_UNITS[100]):
            stages[stage].append(_NamedUnit(channels_in, channels_out, stride))
        self.layer1, self.layer2, self.layer3, self.layer4 = (nn.Sequential(*s) for s in stages)
        self.bn2 = nn.BatchNorm2d(512)
        self.fc = nn.Linear(_FLAT, self.dimension)
        self.features = nn.BatchNorm1d(self.dimension)

    def embed(self, faces: Tensor) -> Tensor:
        """Return raw features; the network's own range is [-1, 1]."""
        x = self.prelu(self.bn1(self.conv1(2 * in_order(faces, self.channels) - 1)))
        x = self.bn2(self.layer4(self.layer3(self.layer2(self.layer1(x)))))
        features: Tensor = self.features(self.fc(x.flatten(1)))
        return features


class AdaFace(StagedRecognizer):
    """AdaFace's IR-50 and IR-101: a unit that keeps its width passes its input on unprojected.

    Parameters
    ----------
    depth : {50, 101}
        Layers, as the files are named.
    channels : {"BGR", "RGB"}
        Its authors train and test on B G R; PRO-Face S and C feed R G B.
    """

    dimension = 512

    def __init__(self, *, depth: Literal[50, 101], channels: ChannelOrder = "BGR") -> None:
        super().__init__()
        if depth not in (50, 101):
            raise ValueError(f"depth = {depth}, expected 50 or 101")
        units = _UNITS[50 if depth == 50 else 100]
        self.channels = channels
        self.stage_ends = tuple(accumulate(units))
        self.stage_shapes = tuple(zip(_WIDTHS, (56, 28, 14, 7), strict=True))
        self.input_layer = stem()
        self.body = nn.Sequential(
            *(
                _Unit(channels_in, channels_out, stride, projects=channels_in != channels_out)
                for _, channels_in, channels_out, stride in _layout(units)
            )
        )
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512),
            nn.Dropout(0.4),
            nn.Flatten(),
            nn.Linear(_FLAT, self.dimension),
            nn.BatchNorm1d(self.dimension, affine=False),
        )

    def begin(self, faces: Tensor) -> Tensor:
        """Return what the stem makes of the network's own range, [-1, 1]."""
        x: Tensor = self.input_layer(2 * in_order(faces, self.channels) - 1)
        return x

    def end(self, x: Tensor) -> Tensor:
        features: Tensor = self.output_layer(x)
        return features


def _layout(units: Sequence[int]) -> Iterator[tuple[int, int, int, int]]:
    """Yield (stage, channels in, channels out, stride) of every unit."""
    channels = _WIDTHS[0]
    for stage, (width, count) in enumerate(zip(_WIDTHS, units, strict=True)):
        for i in range(count):
            yield stage, channels, width, 2 if i == 0 else 1
            channels = width


def stem() -> nn.Sequential:
    """Return the first layers, at the full size of the picture."""
    return nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))


def projection(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    """Return what carries the input of a unit past it where shapes change."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
    )


class _Unit(nn.Module):
    """Residual unit with numbered layers; past them the input is projected, or thinned out."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, *, projects: bool) -> None:
        super().__init__()
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(channels_in),
            nn.Conv2d(channels_in, channels_out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.PReLU(channels_out),
            nn.Conv2d(channels_out, channels_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels_out),
        )
        self.shortcut_layer = (
            projection(channels_in, channels_out, stride) if projects else nn.MaxPool2d(1, stride)
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.res_layer(x) + self.shortcut_layer(x)
        return y


class _NamedUnit(nn.Module):
    """The same residual unit with InsightFace's names."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.prelu = nn.PReLU(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.downsample = projection(channels_in, channels_out, stride) if stride == 2 else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        y = self.bn3(self.conv2(y))
        out: Tensor = y + (x if self.downsample is None else self.downsample(x))
        return out


class ChannelWeights(nn.Module):
    """Squeeze and excitation: each channel is multiplied by a factor drawn from all means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // _REDUCTION, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // _REDUCTION, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` (B, C, H, W) with its channels weighted."""
        weights: Tensor = self.fc2(F.relu(self.fc1(x.mean(dim=(2, 3), keepdim=True))))
        return x * weights.sigmoid()
