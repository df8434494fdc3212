"""PRO-Face C, both ends together: what is sent, and the recogniser that reads it.

A message is the obfuscated face, 8 bits for each value, and its feature maps as `feature_codec`
packs them. The server learns who is on the face: that is what it is asked. It is not given the
face, but whoever trains a network on pairs of faces and messages may draw a likeness from them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anonymizer.colour import decode_srgb, encode_srgb
from anonymizer.protection.compensation import FACE, INJECTIONS, TAPS, CompensationClient
from anonymizer.protection.feature_codec import FeatureCodec
from anonymizer.protection.method import Capabilities, Protection
from anonymizer.protection.obfuscators import Obfuscator
from anonymizer.recognition.staged import StagedRecognizer

PIXELS = 3 * FACE * FACE
"""Bytes of the obfuscated face in a message."""


class Compensation(Protection):
    """Obfuscate faces, and make for a server what it needs to recognise them nevertheless.

    Parameters
    ----------
    obfuscator : Obfuscator
        What hides the face.
    injections : sequence of (int, int)
        `stage_shapes` of the server's recogniser.
    bits : int, default 4
        Bits of one value of the feature maps.
    """

    capabilities = Capabilities(keyed=False, recoverable=False, decoy=False, recognisable=True)
    size = FACE

    def __init__(
        self,
        obfuscator: Obfuscator[Any],
        *,
        injections: Sequence[tuple[int, int]] = INJECTIONS,
        bits: int = 4,
    ) -> None:
        super().__init__()
        self.obfuscator = obfuscator
        self.ends = nn.ModuleDict(
            {"client": CompensationClient(injections), "codec": FeatureCodec(TAPS, bits=bits)}
        )

    @property
    def client(self) -> CompensationClient:
        """The client's network."""
        return cast(CompensationClient, self.ends["client"])

    @property
    def codec(self) -> FeatureCodec:
        """What makes its features small."""
        return cast(FeatureCodec, self.ends["codec"])

    @property
    def learned(self) -> nn.Module:
        """The client's network, and what the codec has observed; both ends need the same."""
        return self.ends

    def translate(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return tensors by our names; of a published file, without its fixed permutations.

        A published file has no ranges for the codec: let it observe some faces before use.
        """
        if not any(name.startswith("client_backbone.") for name in state):
            return state
        own = {f"client.{k}": v for k, v in state.items() if k != "channel_permutations"}
        return own | {f"codec.{k}": v for k, v in self.codec.state_dict().items()}

    @property
    def message_size(self) -> int:
        """Length of a message [bytes], the same for every face."""
        return PIXELS + self.codec.size

    def protect(self, images: Tensor, keys: Sequence[bytes] | None = None) -> Tensor:
        """Return the obfuscated faces, rounded to 8 bits as the server sees them."""
        self.check(images, keys)
        return self.cover(images)

    def cover(self, images: Tensor) -> Tensor:
        """Return the obfuscated faces."""
        return as_sent(self.obfuscator(images))

    def taps(self, images: Tensor, obfuscated: Tensor) -> list[Tensor]:
        """Return what the client's network makes of the difference of two faces, linear light."""
        residual = 2 * (encode_srgb(images) - encode_srgb(obfuscated))
        return self.client.taps(residual)

    @torch.no_grad()
    def encode(self, images: Tensor, key: bytes, purposes: Sequence[str]) -> list[bytes]:
        """Return the message of each face.

        Parameters
        ----------
        images : Tensor
            (B, 3, 112, 112), linear light.
        key : bytes
            32 bytes that the server has too; feature maps are shuffled by it.
        purposes : sequence of str
            One for each face, never the same twice under one key.
        """
        obfuscated = self.protect(images)
        pixels = _to_bytes(obfuscated)
        messages = []
        for i, purpose in enumerate(purposes):
            taps = self.taps(images[i : i + 1], obfuscated[i : i + 1])
            features = self.codec.encode(taps, key, purpose)[0]
            messages.append(pixels[i].cpu().numpy().tobytes() + features)
        return messages

    def decode(self, message: bytes, key: bytes, purpose: str) -> tuple[Tensor, list[Tensor]]:
        """Return the obfuscated face (1, 3, 112, 112) in linear light, and its feature maps.

        Raises
        ------
        ValueError
            If the message has another length than `message_size`.
        """
        if len(message) != self.message_size:
            raise ValueError(f"message of {len(message)} bytes, expected {self.message_size}")
        pixels = torch.frombuffer(bytearray(message[:PIXELS]), dtype=torch.uint8)
        taps = self.codec.decode(message[PIXELS:], key, purpose)
        return _from_bytes(pixels.reshape(1, 3, FACE, FACE)).to(taps[0]), taps


class CompensatedRecognizer(nn.Module):
    """The server's recogniser: an obfuscated face and its feature maps in, a unit vector out.

    After each stage, features x become x + sigmoid(x) * map * weight.

    Parameters
    ----------
    network : StagedRecognizer
        Recognises clear faces; it stays as it is.
    client : CompensationClient
        Has the last, linear step of the maps, and their weights.
    """

    def __init__(self, network: StagedRecognizer, client: CompensationClient) -> None:
        super().__init__()
        shapes = tuple(tuple(weight.shape[:2]) for weight in client.weights)
        if shapes != tuple(network.stage_shapes):
            raise ValueError(
                f"client makes maps of {shapes} (channels, side), {type(network).__name__} takes "
                f"{network.stage_shapes}; give the client these as injections"
            )
        self.network, self.client = network, client

    def forward(self, obfuscated: Tensor, taps: Sequence[Tensor]) -> Tensor:
        """Embed faces.

        Parameters
        ----------
        obfuscated : Tensor
            (B, 3, 112, 112), linear light [0, 1].
        taps : sequence of Tensor
            As `CompensationClient.taps` makes them.

        Returns
        -------
        Tensor
            (B, D) of unit length.
        """
        return F.normalize(self.features(obfuscated, self.client.enter(taps)), dim=1)

    def features(self, obfuscated: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Return features (B, D), not normalised, with `maps` as they enter each stage."""
        weights = self.client.weights

        def compensate(stage: int, x: Tensor) -> Tensor:
            return x + x.sigmoid() * maps[stage] * weights[stage]

        return self.network.embed_changed(encode_srgb(obfuscated), compensate)


def as_sent(images: Tensor) -> Tensor:
    """Return linear light rounded to the sRGB values of 8 bits that are sent."""
    return _from_bytes(_to_bytes(images))


def _to_bytes(images: Tensor) -> Tensor:
    """Return linear light as sRGB values of 8 bits."""
    return (255 * encode_srgb(images)).round().to(torch.uint8)


def _from_bytes(values: Tensor) -> Tensor:
    return decode_srgb(values.to(torch.float32) / 255)
