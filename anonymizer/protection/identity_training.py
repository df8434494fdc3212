"""How the identity transformer learns: against discriminators and a recogniser that learns too.

For each face I with code z: A = T(I, z) is anonymised, R = T(A, -z) recovered, W = T(A, w) wrongly
recovered with another code w. All weights of terms are the published ones. Not taken over are the
pools of old fakes that the discriminators saw.

References
----------
X. Gu, W. Luo, M. S. Ryoo, Y. J. Lee, "Password-conditioned Anonymization and Deanonymization with
Face Identity Transformers", ECCV 2020, arXiv:1911.11759, section 3.
X. Mao et al., "Least Squares Generative Adversarial Networks", ICCV 2017, eq. 9.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anonymizer.colour import encode_srgb
from anonymizer.protection.identity_networks import (
    ROLES,
    Discriminators,
    Norm,
    PasswordClassifier,
    group_norm,
)
from anonymizer.protection.identity_transformer import IdentityTransformer, draw_codes, nibbles
from anonymizer.protection.training import FaceBatch, Trainable, to_face_size
from anonymizer.recognition import Recognizer
from anonymizer.recognition.heads import Head


@dataclass(frozen=True)
class Weights:
    """Weights of the terms.

    Attributes
    ----------
    gan, password, identity : float
        Patches look real; the classifier reads the code; who is on the face.
    anonymised_pair, wrong_pair, mixed_pair : float
        Unlikeness of two anonymised faces of different codes, of two wrong recoveries, of one of
        each.
    anonymised, wrong, recovered : float
        Mean absolute difference from the original, sRGB in [-1, 1].
    """

    gan: float = 1.0
    password: float = 1.0
    identity: float = 2.0
    anonymised_pair: float = 2.0
    wrong_pair: float = 1.0
    mixed_pair: float = 1.0
    anonymised: float = 10.0
    wrong: float = 10.0
    recovered: float = 100.0


@dataclass(frozen=True)
class _Faces:
    """One step's faces, sRGB in [-1, 1], and the codes that made them."""

    original: Tensor
    anonymised: Tensor
    anonymised_2: Tensor
    recovered: Tensor
    wrong: Tensor
    wrong_2: Tensor
    code: Tensor
    wrong_code: Tensor

    def of(self, role: str) -> Tensor:
        return {"M": self.anonymised, "R": self.recovered, "WR": self.wrong}[role]


class IdentityTraining(Trainable):
    """Generator and password classifier against discriminators and a recogniser.

    Parameters
    ----------
    protection : IdentityTransformer
        What is trained.
    recognizer : Recognizer
        Learns against it; trained on clear faces before. SphereFace-20 in the publication.
    head : Head
        With a direction for each person of the training pictures, by number; more do no harm.
    norm : callable, default group_norm
        Normalisation of the discriminators and the password classifier; as of `Generator`.
    width : int, default 64
        Channels of their first layers.
    weights : Weights, optional
        The published ones by default.
    """

    protection: IdentityTransformer

    def __init__(
        self,
        protection: IdentityTransformer,
        *,
        recognizer: Recognizer,
        head: Head,
        norm: Norm = group_norm,
        width: int = 64,
        weights: Weights | None = None,
    ) -> None:
        super().__init__()
        self.protection = protection
        self.classifier = PasswordClassifier(protection.key_bits, norm=norm, width=width)
        self.discriminators = Discriminators(norm=norm, width=width)
        self.recognizer, self.head = recognizer.requires_grad_(True), head
        self.weights = weights or Weights()

    def players(self) -> dict[str, nn.Module]:
        """Return the adversary, then the protection with its classifier."""
        adversary = nn.ModuleList([self.discriminators, self.recognizer, self.head])
        return {
            "adversary": adversary,
            "protection": nn.ModuleList([self.protection.learned, self.classifier]),
        }

    def losses(
        self, batch: FaceBatch, generator: torch.Generator, *, player: str = "protection"
    ) -> dict[str, Tensor]:
        """Return the weighted terms of one player."""
        people = batch.person[:, 0]
        if int(people.min()) < 0 or int(people.max()) >= self.head.people:
            raise ValueError(
                f"person is {int(people.min())} to {int(people.max())}, expected 0 to "
                f"{self.head.people - 1}; give the head more people, or leave out the nameless"
            )
        original = 2 * encode_srgb(batch.faces[:, 0]) - 1
        if player == "adversary":
            with torch.no_grad():
                faces = self._transform(original, generator)
            return self._adversary(faces, people)
        if player != "protection":
            raise ValueError(f"player = {player!r}, expected 'adversary' or 'protection'")
        return self._generator(self._transform(original, generator), people)

    def _transform(self, original: Tensor, generator: torch.Generator) -> _Faces:
        view, bits, count = self.protection.view, self.protection.key_bits, len(original)
        code = draw_codes(count, bits, generator)
        code_2 = draw_codes(count, bits, generator, [code, -code])
        wrong_code = draw_codes(count, bits, generator, [code, -code, code_2])
        wrong_code_2 = draw_codes(count, bits, generator, [code, -code, code_2, wrong_code])
        anonymised = view(original, code)
        return _Faces(
            original=original,
            anonymised=anonymised,
            anonymised_2=view(original, code_2),
            recovered=view(anonymised, -code),
            wrong=view(anonymised, wrong_code),
            wrong_2=view(anonymised, wrong_code_2),
            code=code.to(original),
            wrong_code=wrong_code.to(original),
        )

    def _adversary(self, faces: _Faces, people: Tensor) -> dict[str, Tensor]:
        entropy = {
            name: self.head(self._features(pictures), people)
            for name, pictures in (("I", faces.original), *((r, faces.of(r)) for r in ROLES))
        }
        identity = entropy["I"] + (entropy["M"] - entropy["R"] + entropy["WR"]) / len(ROLES)
        fakes = {
            "M": torch.cat([faces.anonymised, faces.anonymised_2]),
            "R": faces.recovered,
            "WR": torch.cat([faces.wrong, faces.wrong_2]),
        }
        look = self.discriminators
        fake = _mean(least_squares(look(fakes[role], role), 0.0) for role in ROLES)
        real = _mean(least_squares(look(faces.original, role), 1.0) for role in ROLES)
        weights = self.weights
        return {
            "identity": 0.5 * weights.identity * identity,
            "gan": 0.5 * weights.gan * (fake + real),
        }

    def _generator(self, faces: _Faces, people: Tensor) -> dict[str, Tensor]:
        weights, original = self.weights, faces.original
        features = {role: self._features(faces.of(role)) for role in ROLES}
        second, wrong = self._features(faces.anonymised_2), self._features(faces.wrong_2)
        entropy = {role: self.head(features[role], people) for role in ROLES}
        looks = (least_squares(self.discriminators(faces.of(role), role), 1.0) for role in ROLES)
        return {
            "gan": weights.gan * _mean(looks),
            "password": weights.password * self._password(faces),
            "identity": weights.identity
            * (entropy["R"] - entropy["M"] - entropy["WR"])
            / len(ROLES),
            "anonymised_pair": weights.anonymised_pair * _likeness(features["M"], second),
            "wrong_pair": weights.wrong_pair * _likeness(features["WR"], wrong),
            "mixed_pair": weights.mixed_pair * _likeness(features["M"], features["WR"]),
            "anonymised": weights.anonymised * F.l1_loss(faces.anonymised, original),
            "wrong": weights.wrong * F.l1_loss(faces.wrong, original),
            "recovered": weights.recovered * F.l1_loss(faces.recovered, original),
        }

    def _password(self, faces: _Faces) -> Tensor:
        """Cross entropy of all four bits, summed over them and over three pairs of pictures."""
        pairs = (
            (faces.original, faces.anonymised, faces.code),
            (faces.anonymised, faces.recovered, -faces.code),
            (faces.anonymised, faces.wrong, faces.wrong_code),
        )
        terms = []
        for before, after, code in pairs:
            logits, target = self.classifier(before, after), nibbles(code)
            mean = F.cross_entropy(logits.flatten(0, 1), target.flatten())
            terms.append(mean * target.shape[1])
        return torch.stack(terms).sum()

    def _features(self, faces: Tensor) -> Tensor:
        """Return the recogniser's features of faces in [-1, 1], at the size that it takes."""
        return self.recognizer.embed(to_face_size((faces + 1) / 2))


def least_squares(scores: Iterable[Tensor], target: float) -> Tensor:
    """Return the mean squared distance of patch scores from `target`, summed over scales."""
    return torch.stack([(score - target).square().mean() for score in scores]).sum()


def _likeness(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean cosine of features, where it is positive."""
    return F.cosine_similarity(a, b).clamp(min=0).mean()


def _mean(terms: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(terms)).mean()
