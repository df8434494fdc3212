"""What every term of a recipe is, what it may see, and the terms that all recipes share.

A term takes a `View` of one step and returns a scalar that falls when things get better. Its
weight stands in ``configs/recipe``, its curve is ``loss/<name>`` in the run. Terms average over
pictures, so that several processes on parts of a batch equal one on the whole.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from anonymizer.recognition import Recognizer
from anonymizer.regressors import Heatmaps
from anonymizer.stargan.anonymizer import Anonymizer
from anonymizer.stargan.discriminator import Discriminator
from anonymizer.stargan.doors import Input
from anonymizer.stargan.losses import fixed, score_loss


@dataclass(frozen=True)
class Sources:
    """The people in front of the camera in one step.

    Attributes
    ----------
    light : Tensor
        (B, 3, S, S) clear pictures, linear light; for training alone.
    landmarks : Tensor
        (B, 68, 2) their true landmarks [px].
    measurement : Tensor
        (B, 3, S, S) what the camera recorded, linear light.
    heatmaps : Heatmaps
        What its regressor read.
    input : Input
        What the generator gets.
    domain : Tensor
        (B,) int64.
    """

    light: Tensor
    landmarks: Tensor
    measurement: Tensor
    heatmaps: Heatmaps
    input: Input
    domain: Tensor


@dataclass(frozen=True)
class Pass:
    """Outputs for all sources with one kind of style.

    Attributes
    ----------
    output : Tensor
        (B, 3, S, S) in the networks' range, with gradient.
    style : Tensor
        (B, D).
    domain : Tensor
        (B,) domain of the style.
    twin : Tensor or None
        Outputs with another style of the same kind, without gradient.
    references : Tensor or None
        (B, k, 3, S, S) clear faces that the style was made of, linear light.
    reference_landmarks : Tensor or None
        (B, k, 68, 2) [px].
    """

    output: Tensor
    style: Tensor
    domain: Tensor
    twin: Tensor | None = None
    references: Tensor | None = None
    reference_landmarks: Tensor | None = None


@dataclass(frozen=True)
class Judges:
    """Frozen networks that terms ask; None where there is no file of one.

    Attributes
    ----------
    recognizer : Recognizer or None
        Identity.
    landmarks : nn.Module or None
        Heatmaps of clear faces, linear light.
    flow : nn.Module or None
        Motion (B, 2, S, S) between two pictures of sRGB in [0, 1] [px].
    perceptual : nn.Module or None
        Distance (B,) of two pictures of sRGB in [0, 1].
    """

    recognizer: Recognizer | None = None
    landmarks: nn.Module | None = None
    flow: nn.Module | None = None
    perceptual: nn.Module | None = None


@dataclass(frozen=True)
class View:
    """All that one step lets a term see.

    Attributes
    ----------
    step : int
        Steps done.
    sources : Sources
    passes : mapping of str to Pass
        Outputs by kind of style.
    anonymizer : Anonymizer
        The networks in training.
    discriminator : Discriminator
    judges : Judges
    see_again : callable or None
        Pictures (B, 3, S, S) of linear light -> what the step's camera would record of them,
        without noise; None where the camera is not simulated.
    draws : Tensor
        (B, 3, S, S) of the step's own uniform random numbers.
    """

    step: int
    sources: Sources
    passes: Mapping[str, Pass]
    anonymizer: Anonymizer
    discriminator: Discriminator
    judges: Judges
    see_again: Callable[[Tensor], Tensor] | None
    draws: Tensor
    _light: dict[str, Tensor] = field(default_factory=dict)

    def light(self, name: str) -> Tensor:
        """Return the outputs of the pass `name` as linear light, decoded once."""
        if name not in self._light:
            self._light[name] = self.anonymizer.door.decode(self.passes[name].output)
        return self._light[name]

    def together(self, names: tuple[str, ...]) -> Tensor:
        """Return the outputs of several passes as linear light (P B, 3, S, S)."""
        return torch.cat([self.light(name) for name in names])


class Term(nn.Module, ABC):
    """One weighted term.

    Parameters
    ----------
    weight : float
        Factor in the total; 0 or more.
    passes : tuple of str
        Passes it looks at.
    """

    #: Name of the judge it cannot do without, "" for none.
    needs = ""

    def __init__(self, *, weight: float, passes: tuple[str, ...]) -> None:
        super().__init__()
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"weight = {weight:g}: zero or a positive number is needed")
        if not passes:
            raise ValueError("passes is empty: name at least one pass of the recipe")
        self.weight, self.passes = weight, tuple(passes)

    @abstractmethod
    def forward(self, view: View) -> Tensor:
        """Value of the term, a scalar."""


class AdversarialTerm(Term):
    """Outputs should pass for pictures of their domain."""

    def forward(self, view: View) -> Tensor:
        """Cross entropy of the discriminator calling them real [nat]."""
        chosen = [view.passes[name] for name in self.passes]
        pictures = torch.cat([p.output for p in chosen])
        scores = fixed(view.discriminator, pictures, torch.cat([p.domain for p in chosen]))
        return score_loss(scores, real=True)


class StyleTerm(Term):
    """The style encoder should find the style in the output again.

    Parameters
    ----------
    weight, passes
        As for every term.
    trains_encoder : bool
        Whether the style encoder learns from it, or the generator alone.
    """

    def __init__(
        self, *, weight: float, passes: tuple[str, ...], trains_encoder: bool = True
    ) -> None:
        super().__init__(weight=weight, passes=passes)
        self.trains_encoder = trains_encoder

    def forward(self, view: View) -> Tensor:
        """Mean absolute difference of the styles."""
        chosen = [view.passes[name] for name in self.passes]
        pictures = torch.cat([p.output for p in chosen])
        domain = torch.cat([p.domain for p in chosen])
        encoder = view.anonymizer.style_encoder
        found = (
            encoder(pictures, domain) if self.trains_encoder else fixed(encoder, pictures, domain)
        )
        loss: Tensor = (found - torch.cat([p.style for p in chosen])).abs().mean()
        return loss
