"""Faces in the squares that methods take, and what recognisers make of them."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anonymizer.alignment import warp_area
from anonymizer.keystream import KEY_BYTES, stream
from anonymizer.recognition import FACE_SIZE, Recognizer
from experiments.data.crops import FaceCrops
from experiments.faces_in_pictures import Square, cut_squares

_BATCH = 16
_RULE = 30  # false accepts that a rate must rest on


def faces_of(crops: FaceCrops, frame: float, size: int) -> Tensor:
    """Return the face squares (N, 3, size, size) of crops, by their true landmarks."""
    faces = []
    for image, points in zip(np.asarray(crops.images), crops.landmarks, strict=True):
        square = Square.around(torch.from_numpy(points), frame=frame)
        faces.append(cut_squares(image, [square], size)[0])
    return torch.stack(faces)


def random_keys(count: int, purpose: str) -> list[bytes]:
    """Return keys that are the same in every run, for measurements alone."""
    drawn = stream(bytes(KEY_BYTES), KEY_BYTES * count, purpose)
    return [drawn[i : i + KEY_BYTES] for i in range(0, len(drawn), KEY_BYTES)]


def in_batches(
    how: Callable[[Tensor, Sequence[bytes]], Tensor], faces: Tensor, keys: Sequence[bytes]
) -> Tensor:
    """Apply `how` to a few faces and their keys at a time."""
    parts = [how(faces[i : i + _BATCH], keys[i : i + _BATCH]) for i in range(0, len(faces), _BATCH)]
    return torch.cat(parts)


def recogniser_view(faces: Tensor, frame: float) -> Tensor:
    """Return what recognisers expect (N, 3, 112, 112) of face squares of `frame` crops."""
    size = faces.shape[-1]
    scale = size / (frame * FACE_SIZE)
    offset = (size - size / frame) / 2 + 0.5 * scale - 0.5
    matrix = faces.new_tensor([[scale, 0, offset], [0, scale, offset]])
    return warp_area(faces, matrix.expand(len(faces), 2, 3), (FACE_SIZE, FACE_SIZE))


@torch.inference_mode()
def embed(recognizer: Recognizer, faces: Tensor, frame: float) -> NDArray[np.float64]:
    """Return unit embeddings (N, D) of face squares."""
    parts = [
        recognizer(recogniser_view(part, frame)).double() for part in torch.split(faces, _BATCH)
    ]
    return torch.cat(parts).numpy()


def impostor_scores(vectors: NDArray[np.float64], person: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the cosines of all pairs of unit embeddings (N, D) of different people."""
    differ = person[:, None] != person[None]
    scores: NDArray[np.float64] = (vectors @ vectors.T)[np.triu(differ, 1)]
    return scores


def threshold_at(impostor: NDArray[np.float64], rate: float) -> float:
    """Return the smallest score whose false accepts do not exceed `rate`.

    Raises
    ------
    ValueError
        If fewer than 30 false accepts would decide it.
    """
    if len(impostor) * rate < _RULE:
        raise ValueError(
            f"{len(impostor)} impostor pairs are too few for a false accept rate of {rate:g}; "
            f"at least {_RULE / rate:.0f} are needed"
        )
    ordered = np.sort(impostor)[::-1]
    allowed = int(len(impostor) * rate)
    return float(np.nextafter(ordered[allowed], np.inf))
