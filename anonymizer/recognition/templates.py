"""Revocable templates: embeddings turned by a secret rotation, and the gallery that holds them.

A template is compared without being undone. A new key makes a template that matches neither the
old one nor what was stolen with it; and templates under different keys cannot be linked, which
`anonymizer.recognition.linkability` measures. Whoever holds a template *and* its key holds the
embedding, so the key belongs elsewhere than the gallery.

References
----------
ISO/IEC 24745:2022, clause 6 (renewability, unlinkability, irreversibility).
F. X. Yu et al., "Orthogonal random features", NeurIPS 2016, section 4 (three rounds of random
signs and Hadamard transforms stand for a random rotation).
M. S. Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002, section 3
(signs of random projections differ in proportion to the angle).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from anonymizer.keystream import KEY_BYTES, key_bits, stream

_ROUNDS = 3


class Template(ABC):
    """How embeddings become templates, and how two templates are compared."""

    @abstractmethod
    def protect(self, embeddings: Tensor, key: bytes) -> Tensor:
        """Return templates (n, D) of unit embeddings (n, D) under a key of 32 bytes."""

    @abstractmethod
    def compare(self, a: Tensor, b: Tensor) -> Tensor:
        """Return likeness (n, m) of templates (n, D) and (m, D), on the scale of cosines."""


class RotatedTemplate(Template):
    """The rotated embedding, as float32: every comparison comes out as it did before."""

    def protect(self, embeddings: Tensor, key: bytes) -> Tensor:
        return rotate(embeddings, key)

    def compare(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b.T


class SignTemplate(Template):
    """The signs of the rotated embedding: one bit for each dimension.

    What is lost is lost to the thief as well: with the key he has a direction within about
    37 degrees of the embedding, not the embedding.
    """

    def protect(self, embeddings: Tensor, key: bytes) -> Tensor:
        return rotate(embeddings, key) >= 0

    def compare(self, a: Tensor, b: Tensor) -> Tensor:
        differ = (a[:, None] != b[None]).double().mean(dim=2)
        return (math.pi * differ).cos()  # the share of signs that differ is the angle over pi


@dataclass(frozen=True)
class Found:
    """A person a search has found, and the score."""

    person: str
    score: float


class Gallery:
    """People known by their templates, each under a key of their own.

    Parameters
    ----------
    template : Template
        How templates are made.
    key : bytes
        32 bytes from which the key of each person and version is derived; not held by whoever
        holds the templates.

    Notes
    -----
    Enrolling a person again counts their version up, so that the old template is void.
    """

    def __init__(self, template: Template, key: bytes) -> None:
        self.template, self._key = template, key
        self._known: dict[str, tuple[int, Tensor]] = {}
        self._versions: dict[str, int] = {}

    @property
    def people(self) -> tuple[str, ...]:
        """Who is enrolled, in order of enrolment."""
        return tuple(self._known)

    def enrol(self, person: str, embeddings: Tensor) -> Tensor:
        """Enrol or renew a person from unit embeddings (n, D) of one picture or more.

        Returns
        -------
        Tensor
            The template (D,), for a store outside this process.
        """
        if embeddings.ndim != 2 or len(embeddings) == 0:
            raise ValueError(f"embeddings is {tuple(embeddings.shape)}, expected (n > 0, D)")
        version = self._versions.get(person, 0) + 1
        centre = F.normalize(embeddings.mean(dim=0), dim=0)
        template = self.template.protect(centre[None], self._person_key(person, version))[0]
        self._known[person], self._versions[person] = (version, template), version
        return template

    def revoke(self, person: str) -> None:
        """Forget a person; raises ValueError for somebody unknown."""
        self._entry(person)
        del self._known[person]

    def score(self, person: str, embedding: Tensor) -> float:
        """Return the likeness of one unit embedding (D,) and a person's template."""
        version, template = self._entry(person)
        probe = self.template.protect(embedding[None], self._person_key(person, version))
        return float(self.template.compare(template[None], probe))

    def search(self, embedding: Tensor, *, threshold: float, most: int = 1) -> Sequence[Found]:
        """Return at most so many people whose score reaches `threshold`, the best first."""
        found = [Found(person, self.score(person, embedding)) for person in self._known]
        reached = sorted((f for f in found if f.score >= threshold), key=lambda f: -f.score)
        return reached[:most]

    def _entry(self, person: str) -> tuple[int, Tensor]:
        if person not in self._known:
            raise ValueError(f"person = {person!r} is not enrolled")
        return self._known[person]

    def _person_key(self, person: str, version: int) -> bytes:
        return stream(self._key, KEY_BYTES, f"face template {version} {person}")


def rotate(vectors: Tensor, key: bytes) -> Tensor:
    """Turn vectors (n, D) by a rotation that the key chooses; lengths and angles stay.

    Parameters
    ----------
    vectors : Tensor
        (n, D), D a power of two.
    key : bytes
        32 bytes.

    Notes
    -----
    Only signs change and numbers are added, so every machine finds the same rotation.
    """
    dimension = vectors.shape[-1]
    if vectors.ndim != 2 or dimension < 2 or dimension & (dimension - 1):
        raise ValueError(f"vectors is {tuple(vectors.shape)}, expected (n, a power of two)")
    bits = key_bits(key, _ROUNDS * dimension, "rotation of templates")
    signs = 1 - 2 * torch.from_numpy(bits).to(vectors).reshape(_ROUNDS, dimension)
    for row in signs:
        vectors = _hadamard(vectors * row)
    return vectors


def _hadamard(vectors: Tensor) -> Tensor:
    """Return the orthonormal Walsh-Hadamard transform of the last dimension."""
    shape, half = vectors.shape, 1
    while half < shape[-1]:
        pairs = vectors.reshape(*shape[:-1], -1, 2, half)
        a, b = pairs.unbind(dim=-2)
        vectors = torch.stack((a + b, a - b), dim=-2).reshape(shape)
        half *= 2
    return vectors / math.sqrt(shape[-1])
