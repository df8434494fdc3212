"""What protected pictures may still tell: attributes read off an embedding by a small head.

The published program could keep identity, gender or the presence of a face in its protected
pictures, with the weights 5, 2 and 20, and had all three switched off.
"""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anonymizer.colour import decode_srgb
from anonymizer.protection.training import unit_embeddings
from anonymizer.recognition.recognizer import Recognizer


class Utility(nn.Module, ABC):
    """A weighted term that a protected picture lessens by staying useful."""

    @abstractmethod
    def forward(self, protected: Tensor, original: Tensor) -> Tensor:
        """Return the weighted term of pictures (B, 3, H, W), sRGB in [0, 1]."""


class AttributeHead(nn.Module):
    """Read an attribute off embeddings (B, 512): logits (B, 2) by way of 64 and 8 features.

    Layers have the places of the published files' "head.0", "head.3" and "head.6".

    Parameters
    ----------
    dropout : float
        Share of features dropped in training.
    """

    def __init__(self, *, dropout: float = 0.5) -> None:
        super().__init__()
        self.head = nn.Sequential(
            nn.Linear(512, 64),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(64, 8),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(8, 2),
        )

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return the logits (B, 2)."""
        logits: Tensor = self.head(embeddings)
        return logits


class IdentityUtility(Utility):
    """Keep who it is: 1 - cosine of the recogniser's embeddings before and after.

    Parameters
    ----------
    recognizer : Recognizer
        Frozen.
    weight : float
    """

    def __init__(self, recognizer: Recognizer, *, weight: float = 5.0) -> None:
        super().__init__()
        self.recognizer, self.weight = recognizer.requires_grad_(False).eval(), weight

    def forward(self, protected: Tensor, original: Tensor) -> Tensor:
        after, before = (
            unit_embeddings(self.recognizer, decode_srgb(p)) for p in (protected, original)
        )
        return self.weight * (1 - (after * before).sum(dim=1)).mean()


class AttributeUtility(Utility):
    """Keep an attribute: cross entropy of what the head says after against what it said before.

    Parameters
    ----------
    recognizer : Recognizer
        Of 512 dimensions; frozen.
    head : AttributeHead
        Trained on embeddings of that recogniser; frozen.
    weight : float
    """

    def __init__(self, recognizer: Recognizer, head: AttributeHead, *, weight: float = 2.0) -> None:
        super().__init__()
        if recognizer.dimension != 512:
            raise ValueError(f"recognizer has {recognizer.dimension} dimensions, expected 512")
        self.recognizer = recognizer.requires_grad_(False).eval()
        self.head, self.weight = head.requires_grad_(False).eval(), weight

    def forward(self, protected: Tensor, original: Tensor) -> Tensor:
        with torch.no_grad():
            said = self.head(unit_embeddings(self.recognizer, decode_srgb(original))).softmax(dim=1)
        says = self.head(unit_embeddings(self.recognizer, decode_srgb(protected)))
        return self.weight * F.cross_entropy(says, said)
