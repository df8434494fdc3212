"""What every face recogniser here has in common: linear light in, unit vectors out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from anonymizer.checkpoints import fill, find_weights, read_state
from anonymizer.colour import encode_srgb

ChannelOrder = Literal["RGB", "BGR"]
"""Order of the planes that a network was trained on."""

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
        return F.normalize(self.unnormalised(faces), dim=1)

    def unnormalised(self, faces: Tensor) -> Tensor:
        """Return what `forward` normalises: the length tells how clear a face is (heads use it)."""
        if faces.ndim != 4 or tuple(faces.shape[1:]) != (3, FACE_SIZE, FACE_SIZE):
            raise ValueError(
                f"faces is {tuple(faces.shape)}, expected (B, 3, {FACE_SIZE}, {FACE_SIZE}) "
                f"linear light; align_faces makes them"
            )
        return self.embed(encode_srgb(faces))

    def train(self, mode: bool = True) -> Self:
        """Switch training mode, leaving batch normalisation in evaluation mode."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                module.eval()
        return self


def flip_fused(network: Recognizer, faces: Tensor) -> Tensor:
    """Embed faces together with their mirror images: the unit vector of both features' sum.

    Parameters
    ----------
    network : Recognizer
        Any recogniser.
    faces : Tensor
        As in `Recognizer.forward`.

    Returns
    -------
    Tensor
        (B, D) of unit length, the same for a face and its mirror image.
    """
    return F.normalize(network.unnormalised(faces) + network.unnormalised(faces.flip(-1)), dim=1)


def in_order(faces: Tensor, channels: ChannelOrder) -> Tensor:
    """Return R G B planes (B, 3, H, W) in the order in which a network was trained to see them."""
    if channels not in get_args(ChannelOrder):
        raise ValueError(f"channels = {channels!r}, expected one of {get_args(ChannelOrder)}")
    return faces if channels == "RGB" else faces.flip(1)


def load_recognizer(
    network: Recognizer,
    *,
    file: str,
    sha256: str,
    search: Sequence[str | Path] = (),
    prefix: str = "",
) -> Recognizer:
    """Fill a recogniser with published weights, frozen and in evaluation mode.

    Parameters
    ----------
    network : Recognizer
        Network of the layout that the file has; changed in place.
    file, sha256, search
        As in `anonymizer.checkpoints.find_weights`.
    prefix : str
        Where the network's tensors stand in the file: "model." takes those whose names begin so,
        without it, and leaves the others (a head, say).

    Raises
    ------
    WeightsError
        If the file is absent, altered or of another layout.
    """
    path = find_weights(file, sha256, search)
    state = read_state(path)
    own = {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
    fill(network, own, path)
    return network.requires_grad_(False).eval()
