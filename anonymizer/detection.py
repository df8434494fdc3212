"""Face detection with MTCNN, the three-stage cascade.

Images are sRGB uint8 (H, W, 3). Boxes are (left, top, right, bottom) and points (x, y), in pixels
with the centre of the first pixel at (0, 0). Module names are those of the published files.

References
----------
K. Zhang, Z. Zhang, Z. Li, Y. Qiao, "Joint face detection and alignment using multitask cascaded
convolutional networks", IEEE Signal Process. Lett. 23, 1499 (2016).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from anonymizer.checkpoints import fill, find_weights, read_state

Image = NDArray[np.uint8]

_CELL = 12  # side of the window that the first network judges [px]
_STRIDE = 2  # between neighbouring windows [px]
_PYRAMID = 0.709  # ratio of successive scales, about 1/sqrt(2) as published
_BATCH = 512  # windows judged at once


@dataclass(frozen=True)
class Detection:
    """One face.

    Attributes
    ----------
    box : ndarray of float32, shape (4,)
        Left, top, right, bottom [px]; may reach outside the image.
    score : float
        Confidence of the last stage, 0 to 1.
    points : ndarray of float32, shape (5, 2)
        Eyes, nose tip, mouth corners as (x, y) [px].
    """

    box: NDArray[np.float32]
    score: float
    points: NDArray[np.float32]

    @property
    def centre(self) -> NDArray[np.float32]:
        """Centre of the box (x, y) [px]."""
        return (self.box[:2] + self.box[2:]) * np.float32(0.5)

    @property
    def side(self) -> float:
        """Longer side of the box [px]."""
        return float((self.box[2:] - self.box[:2]).max())


class Mtcnn(nn.Module):
    """Detector of faces of any size above a limit.

    Parameters
    ----------
    smallest : float, default 0.08
        Side of the smallest face to look for as a fraction of the image's shorter side.
    smallest_px : float, default 20.0
        The same in pixels, whichever is larger; the first network cannot see faces below 12 px.
    largest_image : int, default 800
        Images with a longer side than this are reduced to it first [px].
    thresholds : tuple of float
        Scores that a window must reach in the three stages.
    """

    def __init__(
        self,
        *,
        smallest: float = 0.08,
        smallest_px: float = 20.0,
        largest_image: int = 800,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7),
    ) -> None:
        super().__init__()
        if not 0 < smallest <= 1:
            raise ValueError(f"smallest = {smallest:g}, expected a fraction in (0, 1]")
        if smallest_px < _CELL:
            raise ValueError(f"smallest_px = {smallest_px:g} px, expected at least {_CELL}")
        self.smallest, self.smallest_px = smallest, smallest_px
        self.largest_image, self.thresholds = largest_image, thresholds
        self.pnet, self.rnet, self.onet = _ProposalNet(), _RefinementNet(), _OutputNet()

    @torch.no_grad()
    def detect(self, images: Image | Sequence[Image]) -> list[list[Detection]]:
        """Find the faces of each image, the most confident first.

        Parameters
        ----------
        images : ndarray (N, H, W, 3) or sequence of ndarray (H, W, 3)
            sRGB uint8; the images of a sequence may differ in size.
        """
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: Image) -> list[Detection]:
        check_image(image)
        pixels = torch.from_numpy(np.array(image, order="C")).permute(2, 0, 1)[None].float()
        pixels = (pixels.to(self.pnet.conv1.weight.device) - 127.5) / 128
        reduction = min(1.0, self.largest_image / max(image.shape[:2]))
        if reduction < 1:
            pixels = _resize(pixels, [max(1, round(n * reduction)) for n in image.shape[:2]])
        factor = image.shape[1] / pixels.shape[-1], image.shape[0] / pixels.shape[-2]

        boxes = self._propose(pixels)
        for net, size, threshold in (
            (self.rnet, 24, self.thresholds[1]),
            (self.onet, 48, self.thresholds[2]),
        ):
            boxes = _square(boxes)
            out = [net(_crops(pixels, part, size)) for part in torch.split(boxes, _BATCH)]
            if not out:
                return []
            score, shift = torch.cat([o[0] for o in out]), torch.cat([o[1] for o in out])
            sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
            points = torch.cat([o[2] for o in out])
            points = boxes[:, None, :2] + points * sides[:, None, :2]
            refined = boxes + shift * sides
            good = score >= threshold
            boxes, score, points = refined[good], score[good], points[good]
            keep = suppress(boxes, score, 0.7, relative_to_smaller=net is self.onet)
            boxes, score, points = boxes[keep], score[keep], points[keep]
        # edges of pixels to centres of pixels, and back to the size of the image
        scale = torch.tensor(factor, device=boxes.device)
        boxes = boxes * scale.repeat(2) - 0.5
        points = points * scale - 0.5
        return [
            Detection(b, float(s), p)
            for b, s, p in zip(
                boxes.cpu().numpy(), score.tolist(), points.cpu().numpy(), strict=True
            )
        ]

    def _propose(self, pixels: Tensor) -> Tensor:
        """Return candidate boxes (n, 4) from all windows of all scales, in pixel edges."""
        shorter = min(pixels.shape[-2:])
        scale = _CELL / max(self.smallest_px, self.smallest * shorter)
        all_boxes, all_scores = [pixels.new_empty(0, 4)], [pixels.new_empty(0)]
        while shorter * scale >= _CELL:
            size = [math.ceil(n * scale) for n in pixels.shape[-2:]]
            probability, shift = self.pnet(_resize(pixels, size))
            row, column = (probability[0] >= self.thresholds[0]).nonzero(as_tuple=True)
            corner = torch.stack((column, row), dim=1) * _STRIDE / scale
            score, side = probability[0, row, column], _CELL / scale
            boxes = torch.cat((corner, corner + side), dim=1)
            keep = suppress(boxes, score, 0.5)
            moved = boxes[keep] + shift[0][:, row[keep], column[keep]].T * side
            all_boxes.append(moved)
            all_scores.append(score[keep])
            scale *= _PYRAMID
        boxes, score = torch.cat(all_boxes), torch.cat(all_scores)
        return boxes[suppress(boxes, score, 0.7)]


def nearest_to_centre(faces: Sequence[Detection], shape: tuple[int, int]) -> int:
    """Return the index of the face most likely meant: large, and near the centre of the image.

    Parameters
    ----------
    faces : sequence of Detection
        At least one.
    shape : tuple of int
        Rows and columns of the image [px].
    """
    if not faces:
        raise ValueError("faces is empty, expected at least one detection")
    middle = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    # distance from the centre counted in the face's own size: a small face must be very central
    distance = [np.linalg.norm(face.centre - middle) / face.side for face in faces]
    return int(np.argmin(distance))


def load_mtcnn(
    detector: Mtcnn, *, files: Mapping[str, Mapping[str, str]], search: Sequence[str | Path] = ()
) -> Mtcnn:
    """Fill a detector with published weights, frozen and in evaluation mode.

    Parameters
    ----------
    detector : Mtcnn
        Changed in place.
    files : mapping
        For each of "pnet", "rnet" and "onet" a mapping with "file" and "sha256".
    search : sequence of path
        As in `anonymizer.checkpoints.find_weights`.
    """
    for name in ("pnet", "rnet", "onet"):
        path = find_weights(files[name]["file"], files[name]["sha256"], search)
        fill(getattr(detector, name), read_state(path), path)
    return detector.requires_grad_(False).eval()


def check_image(image: Image) -> None:
    """Raise unless `image` is an sRGB image (H, W, 3) of uint8."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"image is {image.dtype} {image.shape}, expected uint8 (H, W, 3) in R G B order"
        )


def suppress(
    boxes: Tensor, score: Tensor, overlap: float, *, relative_to_smaller: bool = False
) -> Tensor:
    """Return the indices of boxes that no better box overlaps, the best first.

    Parameters
    ----------
    boxes : Tensor
        (n, 4) as left, top, right, bottom [px].
    score : Tensor
        (n,).
    overlap : float
        Largest overlap allowed: intersection over union, or over the smaller box.
    relative_to_smaller : bool, default False
        Which of the two.
    """
    order = score.argsort(descending=True, stable=True)
    b = boxes[order]
    area = (b[:, 2:] - b[:, :2]).clamp(min=0).prod(dim=1)
    low = torch.maximum(b[:, None, :2], b[None, :, :2])
    high = torch.minimum(b[:, None, 2:], b[None, :, 2:])
    common = (high - low).clamp(min=0).prod(dim=2)
    if relative_to_smaller:
        whole = torch.minimum(area[:, None], area[None])
    else:
        whole = area[:, None] + area[None] - common
    clash = (common > overlap * whole).cpu().numpy()
    kept: list[int] = []
    free = np.ones(len(b), dtype=bool)
    for i in range(len(b)):
        if free[i]:
            kept.append(i)
            free &= ~clash[i]
    return order[torch.tensor(kept, dtype=torch.long, device=order.device)]


def _resize(pixels: Tensor, size: Sequence[int]) -> Tensor:
    """Resize (B, C, H, W) by averaging over area, as the networks were trained."""
    return F.interpolate(pixels, size=tuple(size), mode="area")


def _square(boxes: Tensor) -> Tensor:
    """Extend boxes (n, 4) to squares about their centres."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1, keepdim=True) / 2
    return torch.cat((centre - half, centre + half), dim=1)


def _crops(pixels: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Cut (n, 3, size, size) out of one image, grey where a box leaves it."""
    height, width = pixels.shape[-2:]
    out = pixels.new_zeros(len(boxes), 3, size, size)
    for i, (x0, y0, x1, y1) in enumerate(boxes.round().long().tolist()):
        x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
        inside = pixels[:, :, max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
        if inside.numel() == 0:
            continue
        pad = max(-x0, 0), max(x1 - width, 0), max(-y0, 0), max(y1 - height, 0)
        out[i] = _resize(F.pad(inside, pad), (size, size))[0]
    return out


class _ProposalNet(nn.Module):
    """First stage: fully convolutional, judges windows of 12 px."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 10, 3), nn.PReLU(10)
        self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), nn.PReLU(16)
        self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
        self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return probability (B, h, w) and box shifts in box sides (B, 4, h, w)."""
        x = F.max_pool2d(self.prelu1(self.conv1(x)), 2, 2, ceil_mode=True)
        x = self.prelu3(self.conv3(self.prelu2(self.conv2(x))))
        return self.conv4_1(x).softmax(dim=1)[:, 1], self.conv4_2(x)


class _RefinementNet(nn.Module):
    """Second stage: judges crops of 24 px; gives no points."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 28, 3), nn.PReLU(28)
        self.conv2, self.prelu2 = nn.Conv2d(28, 48, 3), nn.PReLU(48)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), nn.PReLU(64)
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1, self.dense5_2 = nn.Linear(128, 2), nn.Linear(128, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return probability (n,), box shifts in box sides (n, 4), and five points at zero."""
        x = F.max_pool2d(self.prelu1(self.conv1(x)), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.prelu2(self.conv2(x)), 3, 2, ceil_mode=True)
        x = _flatten_by_columns(self.prelu3(self.conv3(x)))
        x = self.prelu4(self.dense4(x))
        points = x.new_zeros(len(x), 5, 2)
        return self.dense5_1(x).softmax(dim=1)[:, 1], self.dense5_2(x), points


class _OutputNet(nn.Module):
    """Third stage: judges crops of 48 px and places five points."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 32, 3), nn.PReLU(32)
        self.conv2, self.prelu2 = nn.Conv2d(32, 64, 3), nn.PReLU(64)
        self.conv3, self.prelu3 = nn.Conv2d(64, 64, 3), nn.PReLU(64)
        self.conv4, self.prelu4 = nn.Conv2d(64, 128, 2), nn.PReLU(128)
        self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.dense6_1, self.dense6_2 = nn.Linear(256, 2), nn.Linear(256, 4)
        self.dense6_3 = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return probability (n,), box shifts (n, 4) and points (n, 5, 2), in box sides."""
        x = F.max_pool2d(self.prelu1(self.conv1(x)), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.prelu2(self.conv2(x)), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.prelu3(self.conv3(x)), 2, 2, ceil_mode=True)
        x = _flatten_by_columns(self.prelu4(self.conv4(x)))
        x = self.prelu5(self.dense5(x))
        points = self.dense6_3(x).reshape(-1, 2, 5).transpose(1, 2)
        return self.dense6_1(x).softmax(dim=1)[:, 1], self.dense6_2(x), points


def _flatten_by_columns(x: Tensor) -> Tensor:
    """Flatten (n, C, H, W) in the order column, row, channel of the original weights."""
    return x.permute(0, 3, 2, 1).flatten(1)
