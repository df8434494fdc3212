"""Faces of pictures as the anonymizer's camera would see them: found, cut at scale, recorded.

A crop is `context` face widths wide and centred on the face like those of the training; the face
counts as 140 mm wide, at the distance that is named, whatever size it has in the picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from anonymizer.alignment import CANONICAL68, fit_similarity, five_points
from anonymizer.detection import Mtcnn
from experiments.faces_in_pictures import Pixels, Square
from experiments.observer import Observer, Seen
from experiments.scene import Scenes, border_mean
from experiments.stages import Batch


@dataclass(frozen=True)
class CentredFaces:
    """All faces that a detector finds, in squares as the networks learned them.

    Attributes
    ----------
    detector : Mtcnn
        With weights.
    context : float
        Side of the squares in face widths.
    """

    detector: Mtcnn
    context: float

    def __call__(self, pixels: Pixels) -> list[Square]:
        found = self.detector.detect([pixels])[0]
        return [crop_square(torch.from_numpy(one.points), self.context) for one in found]


def crop_square(points: Tensor, context: float) -> Square:
    """Return the square around a face whose five points (5, 2) were found [px]."""
    matrix = fit_similarity(five_points(CANONICAL68).double(), points.double())
    linear = context * matrix[:, :2]
    middle = matrix.new_full((2, 1), 0.5)
    return Square(torch.cat((linear, matrix[:, 2:] - linear @ middle), dim=1))


def usual_landmarks(count: int, size: int, context: float) -> Tensor:
    """Return where the crop puts the landmarks of an average face, (count, 68, 2) [px]."""
    points = CANONICAL68 * (size / context) + (size - 1) / 2
    return points.expand(count, -1, -1)


def record(
    observer: Observer,
    light: Tensor,
    sources: Sequence[torch.Generator],
    *,
    context: float,
    distance: float,
    size: int,
) -> Seen:
    """Let the camera record clear crops (B, 3, n, n) with noise; nothing else of them is kept.

    Parameters
    ----------
    observer : Observer
        The camera.
    light : Tensor
        Linear light.
    sources : sequence of torch.Generator
        Of the noise, one for each.
    context : float
        Side of the crops in face widths.
    distance : float
        Distance of the faces, one that the camera knows [m].
    size : int
        Side of the networks' pictures [px].
    """
    points = usual_landmarks(len(light), light.shape[-1], context).to(light)
    scenes = Scenes(light, points, border_mean(light), context)
    rows = torch.arange(len(light), device=light.device)
    return observer.look(Batch(scenes, sources, rows), distance, size)
