"""Landmark teachers: find 68 points on sharp photographs to label training data.

Images are sRGB uint8 (H, W, 3); boxes and landmarks in pixels with the centre of the first pixel
at (0, 0). A teacher is a network on 112 px crops; what surrounds it is the same for all.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from anonymizer.alignment import FLIP68, apply_similarity, face_frame, warp_area
from anonymizer.detection import Detection, Image, Mtcnn, check_image, nearest_to_centre

CROP = 112
"""Side of the crop a teacher's network sees [px]."""

_BATCH = 64


class LandmarkTeacher(nn.Module, ABC):
    """A network that places 68 points, run on upright crops and on their mirror images.

    The face-api network by itself shifts every point to one side by 3 % of the distance between
    the pupils; the mean with the mirror image removes that. Later looks use a crop about the
    points of the look before, turned upright.

    Parameters
    ----------
    looks : int, default 2
        Number of looks; a third one gains nothing measurable.
    box_side : float, default 1.1
        Side of the first crop over the longer side of the detector's box.
    crop_side : float, default 1.2
        Side of the later crops over the longer side of the upright bounds of the points.
    """

    def __init__(self, *, looks: int = 2, box_side: float = 1.1, crop_side: float = 1.2) -> None:
        super().__init__()
        if looks < 1:
            raise ValueError(f"looks = {looks}, expected at least 1")
        self.looks, self.box_side, self.crop_side = looks, box_side, crop_side

    @abstractmethod
    def forward(self, crops: Tensor) -> Tensor:
        """Return points (n, 68, 2) in crop sides, 0 to 1, of crops (n, 3, 112, 112), 0 to 255.

        Crops are sRGB values in the order R G B; the result lies on the same device.
        """

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
        sides = box[:, 2:] - box[:, :2]
        if not bool((sides > 0).all()):
            raise ValueError("boxes has a box without area, expected left < right, top < bottom")
        centre, side = (box[:, :2] + box[:, 2:]) / 2, self.box_side * sides.amax(dim=1)
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
        mirrored = self(crops.flip(-1))[:, list(FLIP68)]
        mirrored = torch.stack((1 - mirrored[..., 0], mirrored[..., 1]), dim=-1)
        in_crop = ((self(crops) + mirrored) / 2).cpu() * CROP - 0.5
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
    scale = side / CROP
    cos, sin = scale * roll.cos(), scale * roll.sin()
    linear = torch.stack((cos, -sin, sin, cos), dim=-1).reshape(-1, 2, 2)
    middle = torch.full((2, 1), (CROP - 1) / 2)
    return torch.cat((linear, centre.unsqueeze(-1) - linear @ middle), dim=-1)


def _cut(image: Image, matrix: Tensor) -> Tensor:
    """Cut the network's crop (1, 3, 112, 112), 0 to 255, from the part of an image it covers."""
    corners = torch.tensor([(x, y) for x in (-1.0, CROP) for y in (-1.0, CROP)])
    reach = apply_similarity(matrix, corners[None])[0]
    low, high = reach.amin(dim=0).floor() - 2, reach.amax(dim=0).ceil() + 3
    limit = torch.tensor([image.shape[1], image.shape[0]])
    # a window of at least one row and column, wherever the crop lies
    x0, y0 = torch.minimum(low.clamp(min=0), limit - 1).long().tolist()
    x1, y1 = torch.minimum(high.clamp(min=1), limit).long().tolist()
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    window = torch.from_numpy(np.array(image[y0:y1, x0:x1], order="C")).permute(2, 0, 1)
    shifted = matrix.clone()
    shifted[..., 2] -= torch.tensor([x0, y0])
    return warp_area(window[None].float(), shifted, (CROP, CROP))
