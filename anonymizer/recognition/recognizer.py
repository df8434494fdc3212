"""What every face recogniser here has in common: linear light in, unit vectors out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch.nn.functional as F
from torch import Tensor, nn

from anonymizer.checkpoints import fill, find_weights, read_state
from anonymizer.colour import encode_srgb

FACE_SIZE = 112
"""Side of the aligned faces that all recognisers take [px]."""


class Recognizer(nn.Module, ABC):
    """Map aligned faces to unit vectors whose scalar product measures likeness.

    Batch normalisation keeps its published statistics, in training mode too, so that fine-tuning
    on unusual images does not shift them.
    """

    dimension: int

    @abstractmethod
    def embed(self, faces: Tensor) -> Tensor:
        """Return raw features (B, D) of sRGB-encoded faces (B, 3, 112, 112) in [0, 1]."""

    def forward(self, faces: Tensor) -> Tensor:
        """Embed faces.

        Parameters
        ----------
        faces : Tensor
            Aligned faces (B, 3, 112, 112), R G B, linear light [0, 1]; see `align_faces`.

        Returns
        -------
        Tensor
            (B, D) of unit length; differentiable in `faces`.
        """
        if faces.ndim != 4 or tuple(faces.shape[1:]) != (3, FACE_SIZE, FACE_SIZE):
            raise ValueError(
                f"faces is {tuple(faces.shape)}, expected (B, 3, {FACE_SIZE}, {FACE_SIZE}) "
                f"linear light; align_faces makes them"
            )
        return F.normalize(self.embed(encode_srgb(faces)), dim=1)

    def train(self, mode: bool = True) -> Self:
        """Switch training mode, leaving batch normalisation in evaluation mode."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


def load_recognizer(
    network: Recognizer, *, file: str, sha256: str, search: Sequence[str | Path] = ()
) -> Recognizer:
    """Fill a recogniser with published weights, frozen and in evaluation mode.

    Parameters
    ----------
    network : Recognizer
        Network of the layout that the file has; changed in place.
    file, sha256, search
        As in `anonymizer.checkpoints.find_weights`.

    Raises
    ------
    WeightsError
        If the file is absent, altered or of another layout.
    """
    path = find_weights(file, sha256, search)
    fill(network, read_state(path), path)
    return network.requires_grad_(False).eval()
