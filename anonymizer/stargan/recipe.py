"""How an anonymizer is trained: kinds of styles, terms, and the constants of the optimisers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from anonymizer.stargan.anonymizer import Anonymizer
from anonymizer.stargan.terms import Judges, Term, View


@dataclass(frozen=True)
class StyleKind:
    """Where the styles of one pass come from.

    Attributes
    ----------
    source : {"latent", "references", "own"}
        The mapping network; clear pictures of other people; another clear picture of the person.
    references : int
        How many other people are mixed.
    twin : bool
        Make outputs with a second style of this kind as well, without gradient.
    trains : bool
        Whether mapping network or style encoder learn through this pass.
    """

    source: Literal["latent", "references", "own"]
    references: int = 1
    twin: bool = False
    trains: bool = True

    def __post_init__(self) -> None:
        if self.source not in ("latent", "references", "own"):
            raise ValueError(f"source = {self.source!r}, expected latent, references or own")
        if self.references < 1:
            raise ValueError(f"references = {self.references}, expected 1 or more")


@dataclass(frozen=True)
class Recipe:
    """Everything but the networks, the data and the length of the training.

    Attributes
    ----------
    passes : mapping of str to StyleKind
        Outputs made in each step.
    terms : mapping of str to Term
        What the generator minimises.
    real : {"references", "sources"}
        What the discriminator is shown as pictures.
    mapping_rate : float
        Learning rate of the mapping network, relative to that of the other networks.
    betas : tuple of float
        Of Adam.
    weight_decay : float
        Of Adam.
    penalty : float
        Weight of the gradient penalty R1.
    penalty_every : int
        Steps between two penalties, each then so many times as heavy.
    average : float
        Decay of the moving average per step.
    steps : int
        Of the training, which the ramps divide.
    ramps : mapping of str to sequence of float
        Terms that come in late: the shares of the training at which the weight begins to rise and
        at which it is whole. A generator that cannot draw a face yet meets a guard of identity by
        patterns that only the recogniser sees.
    """

    passes: Mapping[str, StyleKind]
    terms: Mapping[str, Term]
    real: Literal["references", "sources"] = "sources"
    mapping_rate: float = 0.01
    betas: tuple[float, float] = (0.0, 0.99)
    weight_decay: float = 1e-4
    penalty: float = 1.0
    penalty_every: int = 1
    average: float = 0.999
    steps: int = 1
    ramps: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, term in self.terms.items():
            if unknown := [p for p in term.passes if p not in self.passes]:
                raise ValueError(
                    f"terms.{name}.passes names {', '.join(unknown)}, expected some of "
                    f"{', '.join(self.passes)}"
                )
        if self.real == "references" and not self.with_references:
            raise ValueError("real = references, but no pass has any; take sources")
        if unknown := [name for name in self.ramps if name not in self.terms]:
            raise ValueError(
                f"ramps names {', '.join(unknown)}, expected some of {', '.join(self.terms)}"
            )
        for name, ramp in self.ramps.items():
            if len(ramp) != 2 or not 0 <= ramp[0] <= ramp[1] <= 1:
                raise ValueError(
                    f"ramps.{name} = {list(ramp)}: two shares of the training, 0 to 1, in order"
                )
        if self.steps < 1:
            raise ValueError(f"steps = {self.steps}, expected 1 or more")
        if self.penalty_every < 1 or self.penalty < 0:
            raise ValueError(
                f"penalty = {self.penalty:g}, penalty_every = {self.penalty_every}: expected a "
                f"penalty of 0 or more, every step or more rarely"
            )

    @property
    def with_references(self) -> list[str]:
        """Names of the passes whose styles come from other people."""
        return [name for name, kind in self.passes.items() if kind.source == "references"]

    def off(self, judges: Judges) -> dict[str, str]:
        """Terms that cannot be computed, each with the judge that is missing."""
        return {
            name: term.needs
            for name, term in self.terms.items()
            if term.needs and getattr(judges, term.needs) is None
        }

    def generator_terms(self, view: View) -> dict[str, Tensor]:
        """Weighted terms of one step by name, without those that have no weight or no judge."""
        off = self.off(view.judges)
        weights = {n: self.weight(n, view.step) for n in self.terms if n not in off}
        return {n: weight * self.terms[n](view) for n, weight in weights.items() if weight}

    def weight(self, name: str, step: int) -> float:
        """Weight of the term `name` after `step` steps."""
        begin, whole = self.ramps.get(name, (0.0, 0.0))
        share = step / self.steps
        risen = 1.0 if share >= whole else max(0.0, share - begin) / (whole - begin)
        return risen * self.terms[name].weight

    def groups(self, anonymizer: Anonymizer, rate: float) -> list[dict[str, Any]]:
        """Optimiser groups of the three networks at a learning rate of `rate`."""
        fast: list[nn.Module] = [anonymizer.generator, anonymizer.style_encoder]
        return [
            {"params": [p for m in fast for p in m.parameters()], "lr": rate},
            {
                "params": list(anonymizer.mapping_network.parameters()),
                "lr": self.mapping_rate * rate,
            },
        ]
