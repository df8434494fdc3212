"""The recognisers from which the two published swap networks take identities.

Module names are those of the published files.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anonymizer.recognition.iresnet import ChannelWeights, projection, stem
from anonymizer.recognition.recognizer import Recognizer

_STAGES = ((64, 3), (128, 4), (256, 14), (512, 3))  # channels, units
_FLAT = 512 * 7 * 7
_REDUCTION = 16


class IrSe50(Recognizer):
    """FaceShifter's: 50 layers with weighted channels, one normalisation less in each unit.

    Input R G B in [-1, 1].
    """

    dimension = 512

    def __init__(self) -> None:
        super().__init__()
        self.input_layer = stem()
        self.body = nn.Sequential(*(_Unit(*unit) for unit in _units()))
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512),
            nn.Dropout(),
            nn.Flatten(),
            nn.Linear(_FLAT, self.dimension),
            nn.BatchNorm1d(self.dimension),
        )

    def embed(self, faces: Tensor) -> Tensor:
        features: Tensor = self.output_layer(self.body(self.input_layer(2 * faces - 1)))
        return features


class ArcFaceResNet(Recognizer):
    """SimSwap's: residual units with weighted channels, activated after the sum.

    Input R G B with ImageNet's mean and deviation.

    Parameters
    ----------
    units : tuple of int
        Units of each of the four stages; `units_in` reads them off a file.
    """

    dimension = 512

    mean: Tensor
    std: Tensor

    def __init__(self, units: tuple[int, int, int, int] = (3, 4, 23, 3)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU()
        before = 64
        for i, ((width, _), count) in enumerate(zip(_STAGES, units, strict=True)):
            stage = [_ArcUnit(before, width, 2 if i else 1)]
            stage += [_ArcUnit(width, width, 1) for _ in range(count - 1)]
            self.add_module(f"layer{i + 1}", nn.Sequential(*stage))
            before = width
        self.bn2 = nn.BatchNorm2d(512)
        self.fc = nn.Linear(_FLAT, self.dimension)
        self.bn3 = nn.BatchNorm1d(self.dimension)
        for name, value in (("mean", (0.485, 0.456, 0.406)), ("std", (0.229, 0.224, 0.225))):
            self.register_buffer(name, torch.tensor(value).reshape(3, 1, 1), persistent=False)

    def embed(self, faces: Tensor) -> Tensor:
        x = self.prelu(self.bn1(self.conv1((faces - self.mean) / self.std)))
        x = F.max_pool2d(x, 2)
        for i in range(len(_STAGES)):
            x = self.get_submodule(f"layer{i + 1}")(x)
        features: Tensor = self.bn3(self.fc(self.bn2(x).flatten(1)))
        return features


def units_in(state: dict[str, Tensor]) -> tuple[int, int, int, int]:
    """Return how many units each stage of an `ArcFaceResNet` file has, 1 or more."""
    stages = ({n.split(".")[1] for n in state if n.startswith(f"layer{i}.")} for i in (1, 2, 3, 4))
    a, b, c, d = (max(1, len(found)) for found in stages)
    return a, b, c, d


def _units() -> Iterator[tuple[int, int, int]]:
    before = 64
    for width, count in _STAGES:
        for i in range(count):
            yield before, width, 2 if i == 0 else 1
            before = width


class _Unit(nn.Module):
    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(before),
            nn.Conv2d(before, width, 3, 1, 1, bias=False),
            nn.PReLU(width),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            ChannelWeights(width),
        )
        self.shortcut_layer = (
            nn.MaxPool2d(1, stride) if before == width else projection(before, width, stride)
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.res_layer(x) + self.shortcut_layer(x)
        return out


class _ArcUnit(nn.Module):
    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(before)
        self.conv1 = nn.Conv2d(before, before, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(before)
        self.prelu = nn.PReLU()
        self.conv2 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = projection(before, width, stride) if before != width else None
        self.se = _ArcChannelWeights(width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.prelu(self.bn1(self.conv1(self.bn0(x))))
        y = self.se(self.bn2(self.conv2(y)))
        out: Tensor = self.prelu(y + (x if self.downsample is None else self.downsample(x)))
        return out


class _ArcChannelWeights(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        inner = width // _REDUCTION
        self.fc = nn.Sequential(
            nn.Linear(width, inner), nn.PReLU(), nn.Linear(inner, width), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        weights: Tensor = self.fc(x.mean(dim=(2, 3)))
        return x * weights[:, :, None, None]
