"""The 68-point network of face-api, in its two sizes.

Weights are those of justadudewhohacks/face-api.js (MIT): densely connected blocks of separable
convolutions, an average over the last map and one linear layer.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anonymizer.checkpoints import fill, find_weights, read_quantized
from anonymizer.teachers import LandmarkTeacher

_MEAN = (122.782, 117.001, 104.298)  # subtracted from 8-bit R, G, B
_WIDTHS = {"full": (32, 64, 128, 256), "tiny": (32, 64, 128)}
_LAYERS = {"full": 4, "tiny": 3}  # convolutions in each dense block


class FaceApiTeacher(LandmarkTeacher):
    """Small convolutional regressor of 68 points.

    Parameters
    ----------
    variant : {"full", "tiny"}
        Published size.
    looks, box_side, crop_side
        As in `LandmarkTeacher`.
    """

    mean: Tensor

    def __init__(
        self,
        *,
        variant: Literal["full", "tiny"] = "full",
        looks: int = 2,
        box_side: float = 1.1,
        crop_side: float = 1.2,
    ) -> None:
        super().__init__(looks=looks, box_side=box_side, crop_side=crop_side)
        if variant not in _WIDTHS:
            raise ValueError(f"variant = {variant!r}, expected one of {', '.join(_WIDTHS)}")
        widths = (3, *_WIDTHS[variant])
        self.blocks = nn.ModuleList(
            _DenseBlock(a, b, _LAYERS[variant], plain=i == 0)
            for i, (a, b) in enumerate(pairwise(widths))
        )
        self.fc = nn.Linear(widths[-1], 2 * 68)
        self.register_buffer("mean", torch.tensor(_MEAN).reshape(3, 1, 1), persistent=False)

    def forward(self, crops: Tensor) -> Tensor:
        """Return points (n, 68, 2) in crop sides of crops (n, 3, 112, 112), 0 to 255."""
        x = (crops.to(self.mean) - self.mean) / 255
        for block in self.blocks:
            x = block(x)
        points: Tensor = self.fc(x.mean(dim=(2, 3))).reshape(-1, 68, 2)
        return points.to(crops)


def load_faceapi(
    teacher: FaceApiTeacher,
    *,
    file: str,
    sha256: str,
    manifest: str,
    manifest_sha256: str,
    search: Sequence[str | Path] = (),
) -> FaceApiTeacher:
    """Fill a teacher with the published quantised weights, frozen and in evaluation mode.

    Parameters
    ----------
    teacher : FaceApiTeacher
        Changed in place.
    file, sha256
        Values, one byte each, and the hash of that file.
    manifest, manifest_sha256
        JSON with names, shapes, scales and offsets, and its hash.
    search : sequence of path
        As in `anonymizer.checkpoints.find_weights`.
    """
    path = find_weights(file, sha256, search)
    tensors = read_quantized(path, find_weights(manifest, manifest_sha256, search))
    fill(teacher, {_own_name(n): _own_layout(n, t) for n, t in tensors.items()}, path)
    return teacher.requires_grad_(False).eval()


def _own_name(published: str) -> str:
    """Translate "dense1/conv0/depthwise_filter" to "blocks.1.layers.0.depthwise.weight"."""
    where = published.split("/")
    if where[0] == "fc":
        return {"weights": "fc.weight", "bias": "fc.bias"}.get(where[1], published)
    kinds = {
        "filters": "pointwise.weight",
        "depthwise_filter": "depthwise.weight",
        "pointwise_filter": "pointwise.weight",
        "bias": "pointwise.bias",
    }
    block, layer = where[0].removeprefix("dense"), where[1].removeprefix("conv")
    return f"blocks.{block}.layers.{layer}.{kinds.get(where[-1], where[-1])}"


def _own_layout(published: str, tensor: Tensor) -> Tensor:
    """Bring TensorFlow's order of dimensions (rows, columns, in, out) to that of torch."""
    if published.endswith("depthwise_filter"):
        return tensor.permute(2, 3, 0, 1).contiguous()
    if tensor.ndim == 4:
        return tensor.permute(3, 2, 0, 1).contiguous()
    return tensor.T.contiguous() if tensor.ndim == 2 else tensor


class _Layer(nn.Module):
    """Separable (or, if `plain`, ordinary) 3 x 3 convolution with TensorFlow's padding."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, *, plain: bool) -> None:
        super().__init__()
        # an even map at stride 2 is padded at the far side only
        self.margins = (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1)
        if plain:
            self.pointwise = nn.Conv2d(channels_in, channels_out, 3, stride)
        else:
            self.depthwise = nn.Conv2d(
                channels_in, channels_in, 3, stride, groups=channels_in, bias=False
            )
            self.pointwise = nn.Conv2d(channels_in, channels_out, 1)
        self.plain = plain

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, self.margins)
        out: Tensor = self.pointwise(x if self.plain else self.depthwise(x))
        return out


class _DenseBlock(nn.Module):
    """Layers that each see the rectified sum of those before; the first halves the map."""

    def __init__(self, channels_in: int, channels: int, layers: int, *, plain: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            _Layer(channels if i else channels_in, channels, 1 if i else 2, plain=plain and i == 0)
            for i in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        total = F.relu(self.layers[0](x))
        x = total
        for layer in self.layers[1:]:
            total = total + layer(x)
            x = F.relu(total)
        return x
