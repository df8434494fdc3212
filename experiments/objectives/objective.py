"""The sum of the terms."""

from collections.abc import Iterator

from torch import Tensor, nn

from experiments.objectives.terms import MaskView, ScenePower, StepView, Term
from optics import Camera


class Objective(nn.Module):
    """Weighted sum of named terms.

    Parameters
    ----------
    terms : mapping of str to Term
        The terms; a term of weight 0 is reported but does not steer.
    """

    def __init__(self, *, terms: dict[str, Term]) -> None:
        super().__init__()
        if not terms:
            raise ValueError("an objective needs at least one term")
        self.terms = nn.ModuleDict(terms)

    def _each(self) -> Iterator[tuple[str, Term]]:
        for name, module in self.terms.items():
            if not isinstance(module, Term):
                raise TypeError(f"{name}: {type(module).__name__} is no term of an objective")
            yield name, module

    @property
    def needs_adversary(self) -> bool:
        """Whether any term wants the identity adversary."""
        return any(term.needs_adversary and term.weight > 0 for _, term in self._each())

    @property
    def shapes_mask_alone(self) -> bool:
        """Whether any term can shape the mask before pictures are looked at."""
        return any(term.of_mask_alone and term.weight > 0 for _, term in self._each())

    def prepare(self, camera: Camera, scene_power: ScenePower, reference: float) -> None:
        """Let every term build what depends on camera and data."""
        for _, term in self._each():
            term.prepare(camera, scene_power, reference)

    def of_mask(self, view: MaskView) -> dict[str, Tensor]:
        """Weighted values of the terms for which the mask alone is enough."""
        return {n: term.weight * term(view) for n, term in self._each() if term.of_mask_alone}

    def forward(self, view: StepView) -> dict[str, Tensor]:
        """Every term's weighted value by name."""
        return {name: term.weight * term(view) for name, term in self._each()}
