"""Landmark teachers: find 68 points on sharp photographs to label training data.

Images are sRGB uint8 (H, W, 3); boxes and landmarks in pixels with the centre of the first pixel
at (0, 0).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from anonymizer.alignment import FLIP68, apply_similarity, face_frame, warp_area
from anonymizer.checkpoints import fill, find_weights, read_quantized
from anonymizer.detection import Detection, Image, Mtcnn, check_image, nearest_to_centre

_INPUT = 112  # side of the crop the network sees [px]
_MEAN = (122.782, 117.001, 104.298)  # subtracted from 8-bit R, G, B
_WIDTHS = {"full": (32, 64, 128, 256), "tiny": (32, 64, 128)}
_LAYERS = {"full": 4, "tiny": 3}  # convolutions in each dense block
_BATCH = 64


class LandmarkTeacher(nn.Module):
    """The 68-point network of face-api, run on upright crops and their mirror images.

    The network by itself shifts every point to one side by 3 % of the distance between the pupils;
    the mean with the mirror image removes that. Later looks use a crop about the points of the
    look before, turned upright.

    Parameters
    ----------
    variant : {"full", "tiny"}
        Published size.
    looks : int, default 2
        Number of looks; a third one gains nothing measurable.
    box_side : float, default 1.1
        Side of the first crop over the longer side of the detector's box.
    crop_side : float, default 1.2
        Side of the later crops over the longer side of the upright bounds of the points.
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
        super().__init__()
        if variant not in _WIDTHS:
            raise ValueError(f"variant = {variant!r}, expected one of {', '.join(_WIDTHS)}")
        if looks < 1:
            raise ValueError(f"looks = {looks}, expected at least 1")
        self.looks, self.box_side, self.crop_side = looks, box_side, crop_side
        widths = (3, *_WIDTHS[variant])
        self.blocks = nn.ModuleList(
            _DenseBlock(a, b, _LAYERS[variant], plain=i == 0)
            for i, (a, b) in enumerate(pairwise(widths))
        )
        self.fc = nn.Linear(widths[-1], 2 * 68)
        self.register_buffer("mean", torch.tensor(_MEAN).reshape(3, 1, 1), persistent=False)

    def forward(self, crops: Tensor) -> Tensor:
        """Return points (n, 68, 2) in crop sides, 0 to 1, of crops (n, 3, 112, 112), 0 to 255."""
        x = (crops - self.mean) / 255
        for block in self.blocks:
            x = block(x)
        points: Tensor = self.fc(x.mean(dim=(2, 3))).reshape(-1, 68, 2)
        return points

    @torch.no_grad()
    def landmarks(
        self, images: Sequence[Image], boxes: NDArray[np.floating] | Sequence[Sequence[float]]
    ) -> NDArray[np.float32]:
        """Place 68 points on one face of each image.

        Parameters
        ----------
        images : sequence of ndarray (H, W, 3)
            sRGB uint8, of any sizes.
        boxes : ndarray (n, 4)
            Left, top, right, bottom of the face in each image [px].

        Returns
        -------
        ndarray
            float32 (n, 68, 2) as (x, y) [px].
        """
        if len(images) != len(boxes):
            raise ValueError(f"boxes has {len(boxes)} rows for {len(images)} images")
        parts = [
            self._landmarks(images[i : i + _BATCH], boxes[i : i + _BATCH])
            for i in range(0, len(images), _BATCH)
        ]
        return np.concatenate([np.empty((0, 68, 2), np.float32), *parts])

    def _landmarks(
        self, images: Sequence[Image], boxes: NDArray[np.floating] | Sequence[Sequence[float]]
    ) -> NDArray[np.float32]:
        for image in images:
            check_image(image)
        box = torch.as_tensor(np.asarray(boxes, dtype=np.float32)).reshape(-1, 4)
        side = (box[:, 2:] - box[:, :2]).amax(dim=1)
        if not bool((side > 0).all()):
            raise ValueError("boxes has a box without area, expected left < right, top < bottom")
        centre, side = (box[:, :2] + box[:, 2:]) / 2, self.box_side * side
        points = self._look(images, centre, side, torch.zeros_like(side))
        for _ in range(1, self.looks):
            centre, extent, roll = _upright_bounds(points)
            points = self._look(images, centre, self.crop_side * extent, roll)
        found: NDArray[np.float32] = points.numpy()
        return found

    def _look(self, images: Sequence[Image], centre: Tensor, side: Tensor, roll: Tensor) -> Tensor:
        """Return points (n, 68, 2) found in one square crop of each image."""
        matrix = _square_to_image(centre, side, roll)
        crops = torch.cat([_cut(i, m[None]) for i, m in zip(images, matrix, strict=True)])
        crops = crops.to(self.mean.device)
        mirrored = self(crops.flip(-1))[:, list(FLIP68)]
        mirrored = torch.stack((1 - mirrored[..., 0], mirrored[..., 1]), dim=-1)
        in_crop = ((self(crops) + mirrored) / 2).cpu() * _INPUT - 0.5
        return apply_similarity(matrix, in_crop)


@dataclass(frozen=True)
class LocatedFace:
    """The one face of a photograph that is meant.

    Attributes
    ----------
    landmarks : ndarray of float32, shape (68, 2)
        As (x, y) [px].
    detection : Detection
        What the detector said about it.
    others : int
        Number of other faces of at least half its size.
    """

    landmarks: NDArray[np.float32]
    detection: Detection
    others: int


def locate_faces(
    images: Sequence[Image],
    detector: Mtcnn,
    teacher: LandmarkTeacher,
    *,
    smallest_width: float = 40.0,
) -> list[LocatedFace | str]:
    """Find the main face of each photograph, or say why there is none to use.

    Parameters
    ----------
    images : sequence of ndarray (H, W, 3)
        sRGB uint8, of any sizes.
    detector, teacher
        Networks with weights.
    smallest_width : float, default 40.0
        Faces narrower than this between points 0 and 16 are refused [px].

    Returns
    -------
    list
        For each image a `LocatedFace`, or the reason for its refusal, for people to read.
    """
    results: list[LocatedFace | str] = []
    for image, faces in zip(images, detector.detect(images), strict=True):
        if not faces:
            results.append("no face found")
            continue
        chosen = nearest_to_centre(faces, image.shape[:2])
        face = faces[chosen]
        rivals = sum(other.side >= face.side / 2 for other in faces) - 1
        points = teacher.landmarks([image], face.box[None])[0]
        width = float(face_frame(torch.from_numpy(points))[1])
        if not np.isfinite(points).all() or width <= 0:
            results.append("no landmarks found on the face")
        elif width < smallest_width:
            results.append(f"face {width:.0f} px wide, at least {smallest_width:g} px are needed")
        else:
            results.append(LocatedFace(points, face, rivals))
    return results


def load_teacher(
    teacher: LandmarkTeacher,
    *,
    file: str,
    sha256: str,
    manifest: str,
    manifest_sha256: str,
    search: Sequence[str | Path] = (),
) -> LandmarkTeacher:
    """Fill a teacher with the published quantised weights, frozen and in evaluation mode.

    Parameters
    ----------
    teacher : LandmarkTeacher
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


def _upright_bounds(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return centre (n, 2), longer side (n) and roll (n) of the points' box in the face's frame."""
    origin, _, roll = face_frame(points)
    cos, sin = roll.cos(), roll.sin()
    rotation = torch.stack((cos, -sin, sin, cos), dim=-1).reshape(-1, 2, 2)
    upright = (points - origin[:, None]) @ rotation  # points as rows: turns by -roll
    low, high = upright.amin(dim=1), upright.amax(dim=1)
    centre = origin + (rotation @ ((low + high) / 2).unsqueeze(-1)).squeeze(-1)
    return centre, (high - low).amax(dim=1), roll


def _square_to_image(centre: Tensor, side: Tensor, roll: Tensor) -> Tensor:
    """Return similarities (n, 2, 3) from pixels of the network's crop to pixels of the image."""
    scale = side / _INPUT
    cos, sin = scale * roll.cos(), scale * roll.sin()
    linear = torch.stack((cos, -sin, sin, cos), dim=-1).reshape(-1, 2, 2)
    middle = torch.full((2, 1), (_INPUT - 1) / 2)
    return torch.cat((linear, centre.unsqueeze(-1) - linear @ middle), dim=-1)


def _cut(image: Image, matrix: Tensor) -> Tensor:
    """Cut the network's crop (1, 3, 112, 112), 0 to 255, from the part of an image it covers."""
    corners = torch.tensor([(x, y) for x in (-1.0, _INPUT) for y in (-1.0, _INPUT)])
    reach = apply_similarity(matrix, corners[None])[0]
    low, high = reach.amin(dim=0).floor() - 2, reach.amax(dim=0).ceil() + 3
    limit = torch.tensor([image.shape[1], image.shape[0]])
    # a window of at least one row and column, wherever the crop lies
    x0, y0 = torch.minimum(low.clamp(min=0), limit - 1).long().tolist()
    x1, y1 = torch.minimum(high.clamp(min=1), limit).long().tolist()
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    window = torch.tensor(image[y0:y1, x0:x1]).permute(2, 0, 1)
    shifted = matrix.clone()
    shifted[..., 2] -= torch.tensor([x0, y0])
    return warp_area(window[None].float(), shifted, (_INPUT, _INPUT))
