"""The published swap networks behind one interface, with readers of their files."""

from collections.abc import Sequence
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from anonymizer.checkpoints import fill, find_weights, read_state
from anonymizer.colour import decode_srgb, encode_srgb
from anonymizer.module_files import read_module_state
from anonymizer.protection.obfuscators.swap import Swapper
from anonymizer.protection.swapping import aei_net, simswap
from anonymizer.protection.swapping.identities import ArcFaceResNet, IrSe50, units_in
from anonymizer.recognition.recognizer import FACE_SIZE, Recognizer


class PublishedSwapper(Swapper):
    """A network that swaps faces, and whose identities it knows.

    Parameters
    ----------
    network : Module
        Maps faces and identities (B, 512) to swapped faces.
    identities : Recognizer
        Whose unit vectors of 512 dimensions the network was trained with.
    """

    def __init__(self, network: nn.Module, identities: Recognizer) -> None:
        super().__init__()
        self.network, self.identities = network, identities


class FaceShifter(PublishedSwapper):
    """FaceShifter's first stage, an `AeiNet`; it works on sRGB in [-1, 1] at 256 px."""

    def forward(self, faces: Tensor, sources: Tensor) -> Tensor:
        shape = (faces.shape[-2], faces.shape[-1])
        small = _resize(encode_srgb(sources), FACE_SIZE, "bilinear", corners=True)
        identity = F.normalize(self.identities.embed(small), dim=1)
        values = _resize(2 * encode_srgb(faces) - 1, aei_net.SIZE, "bilinear")
        swapped = self.network(values, identity)
        swapped = F.interpolate(swapped, shape, mode="bilinear", align_corners=False)
        return decode_srgb((swapped + 1) / 2)


class SimSwap(PublishedSwapper):
    """SimSwap's generator for 224 px, a `SimSwapGenerator`; it works on sRGB in [0, 1]."""

    def forward(self, faces: Tensor, sources: Tensor) -> Tensor:
        shape = (faces.shape[-2], faces.shape[-1])
        small = _resize(encode_srgb(sources), FACE_SIZE, "bilinear")
        identity = F.normalize(self.identities.embed(small), dim=1)
        values = _resize(encode_srgb(faces), simswap.SIZE, "bicubic")
        swapped = self.network(values, identity)
        return decode_srgb(F.interpolate(swapped, shape, mode="bicubic", align_corners=False))


def load_faceshifter(
    *,
    generator: str,
    generator_sha256: str,
    identities: str,
    identities_sha256: str,
    search: Sequence[str | Path] = (),
) -> FaceShifter:
    """Return FaceShifter with published weights, frozen.

    Parameters
    ----------
    generator, generator_sha256 : str
        "G_latest.pth" as published.
    identities, identities_sha256 : str
        "model_ir_se50.pth" as published.
    search
        As in `anonymizer.checkpoints.find_weights`.

    Raises
    ------
    WeightsError
        If a file is absent, altered or of another layout.
    """
    network, recogniser = aei_net.AeiNet(), IrSe50()
    _load(network, find_weights(generator, generator_sha256, search))
    _load(recogniser, find_weights(identities, identities_sha256, search))
    return FaceShifter(network, recogniser).requires_grad_(False).eval()


def load_simswap(
    *,
    generator: str,
    generator_sha256: str,
    identities: str,
    identities_sha256: str,
    search: Sequence[str | Path] = (),
) -> SimSwap:
    """Return SimSwap with published weights, frozen.

    Parameters
    ----------
    generator, generator_sha256 : str
        "latest_net_G.pth" as published.
    identities, identities_sha256 : str
        "arcface_checkpoint.tar" as published: a whole pickled module, whose tensors are read
        without running it.
    search
        As in `anonymizer.checkpoints.find_weights`.

    Raises
    ------
    WeightsError
        If a file is absent, altered or of another layout.
    """
    network = simswap.SimSwapGenerator()
    _load(network, find_weights(generator, generator_sha256, search))
    path = find_weights(identities, identities_sha256, search)
    state = read_module_state(path)
    recogniser = ArcFaceResNet(units_in(state))
    fill(recogniser, state, path)
    return SimSwap(network, recogniser).requires_grad_(False).eval()


def _load(network: nn.Module, path: Path) -> None:
    fill(network, read_state(path), path)


def _resize(values: Tensor, side: int, mode: str, *, corners: bool = False) -> Tensor:
    """Resize without smoothing, as the published programs did."""
    if values.shape[-2:] == (side, side):
        return values
    return F.interpolate(values, (side, side), mode=mode, align_corners=corners)
