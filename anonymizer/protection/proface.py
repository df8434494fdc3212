"""PRO-Face: faces that look obfuscated to people and stay recognisable to one recogniser.

No key and no way back: the network hides in the obfuscated picture what the recogniser looks for.
Strong edges of the original show through, and a network trained to invert it recovers faces, so
it is a protection from onlookers alone.

References
----------
L. Yuan et al., "PRO-Face: A generic framework for privacy-preserving recognizable
obfuscation of face images", ACM Multimedia 2022.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anonymizer.colour import decode_srgb, encode_srgb
from anonymizer.perceptual import PerceptualDistance
from anonymizer.protection.embedder import MULTIPLE, ProFaceEmbedder
from anonymizer.protection.method import Capabilities, Protection
from anonymizer.protection.obfuscators import Obfuscator
from anonymizer.protection.training import FaceBatch, Trainable, unit_embeddings
from anonymizer.protection.triplets import draw_triplets
from anonymizer.recognition.recognizer import Recognizer


class ProFace(Protection):
    """PRO-Face with one obfuscator.

    Parameters
    ----------
    obfuscator : Obfuscator
        What the protected faces look like.
    dropout : float
        Share of features dropped in training; see `ProFaceEmbedder`.
    black : float
        What the weights know as sRGB black; white is 1. The published weights for SimSwap were
        trained with 0, all others with -1.
    """

    capabilities = Capabilities(keyed=False, recoverable=False, decoy=False, recognisable=True)
    multiple = MULTIPLE

    def __init__(
        self, obfuscator: Obfuscator[Any], *, dropout: float = 0.25, black: float = -1.0
    ) -> None:
        super().__init__()
        if not black < 1:
            raise ValueError(f"black = {black:g}, expected -1 or 0, below white, which is 1")
        self.obfuscator, self.black = obfuscator, black
        self.network = ProFaceEmbedder(dropout=dropout)

    @property
    def learned(self) -> nn.Module:
        """The embedder; the obfuscator stays as it is."""
        return self.network

    def protect(self, images: Tensor, keys: Sequence[bytes] | None = None) -> Tensor:
        self.check(images, keys)
        return decode_srgb(self.embed(images, self.obfuscator(images)))

    def cover(self, images: Tensor) -> Tensor:
        """Return the obfuscated images."""
        covered: Tensor = self.obfuscator(images)
        return covered

    def embed(self, images: Tensor, obfuscated: Tensor) -> Tensor:
        """Return the protected images, sRGB and not yet clipped to [0, 1], of linear light."""
        span = 1 - self.black
        values = [self.black + span * encode_srgb(light) for light in (images, obfuscated)]
        protected: Tensor = (self.network(*values) - self.black) / span
        return protected


class ProFaceTraining(Trainable):
    """Training of PRO-Face with triplets, against one frozen recogniser.

    With anchor a, positive p and negative n, their obfuscations y, protected faces q and
    embeddings f of unit length, the terms are

    - "appearance": perceptual distance of q_a and y_a
    - "pixels": mean absolute difference of the same, in sRGB from -1 to 1
    - "protected": triplet of f(q_a), f(q_p), f(q_n), so that protected faces match each other
    - "original": triplet of f(q_a), f(a), f(q_n), so that they match the original

    Parameters
    ----------
    protection : ProFace
    recognizer : Recognizer
        Whose eyes the protected faces are made for; frozen.
    distance : PerceptualDistance
        The published weights were trained with LPIPS.
    triplet_margin : float
        Of both triplets, in Euclidean distance of unit vectors. The published program used the
        same 1.0 for embeddings of any length.
    appearance, pixels, protected, original : float
        Weights of the terms.
    """

    pictures = 3

    def __init__(
        self,
        protection: ProFace,
        recognizer: Recognizer,
        distance: PerceptualDistance,
        *,
        triplet_margin: float = 1.0,
        appearance: float = 2.0,
        pixels: float = 1.0,
        protected: float = 0.5,
        original: float = 0.1,
    ) -> None:
        super().__init__()
        if not 0 < triplet_margin < 2:
            raise ValueError(f"triplet_margin = {triplet_margin:g}, expected above 0 and below 2")
        self.protection: ProFace = protection
        self.recognizer = recognizer.requires_grad_(False).eval()
        self.distance = distance.requires_grad_(False).eval()
        self.margin = triplet_margin
        self.weights = {
            "appearance": appearance,
            "pixels": pixels,
            "protected": protected,
            "original": original,
        }

    def draw(self, person: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Draw anchors, positives and negatives."""
        return draw_triplets(person, count, generator)

    def losses(
        self, batch: FaceBatch, generator: torch.Generator, *, player: str = "protection"
    ) -> dict[str, Tensor]:
        originals = batch.faces.unbind(dim=1)
        with torch.no_grad():  # the obfuscator is given; nothing is learned through it
            covers = [self.protection.obfuscator.sample(x, generator) for x in originals]
        protected = [self.protection.embed(x, y) for x, y in zip(originals, covers, strict=True)]
        anchor, positive, negative = (
            unit_embeddings(self.recognizer, decode_srgb(q)) for q in protected
        )
        original = unit_embeddings(self.recognizer, originals[0])
        cover = encode_srgb(covers[0])
        terms = {
            "appearance": self.distance(protected[0], cover).mean(),
            "pixels": 2 * (protected[0] - cover).abs().mean(),
            "protected": F.triplet_margin_loss(anchor, positive, negative, self.margin),
            "original": F.triplet_margin_loss(anchor, original, negative, self.margin),
        }
        return {name: self.weights[name] * term for name, term in terms.items()}
