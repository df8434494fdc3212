"""The sum of the terms, and the memory it needs over wavelengths."""

import torch
from torch import Tensor, nn

from experiments.objectives.terms import ScenePower, StepView, Term
from optics import Camera


class Objective(nn.Module):
    """Weighted sum of named terms.

    Parameters
    ----------
    terms : mapping of str to Term
        The terms; a term of weight 0 is reported but does not steer.
    memory : float
        Weight of the past in the running mean of the PSF, in [0, 1). A step sees one wavelength
        per channel, whose PSF is full of speckle; what an attacker inverts is the mean over the
        sensor's response. The running mean has its value and each step its unbiased gradient.
    """

    def __init__(self, *, terms: dict[str, Term], memory: float = 0.85) -> None:
        super().__init__()
        if not terms:
            raise ValueError("an objective needs at least one term")
        if not 0 <= memory < 1:
            raise ValueError(f"memory = {memory:g} is outside [0, 1)")
        self.terms = nn.ModuleDict(terms)
        self.memory = memory
        self.register_buffer("past_psf", torch.zeros(0))

    @property
    def needs_adversary(self) -> bool:
        """Whether any term wants the identity adversary."""
        return any(isinstance(t, Term) and t.needs_adversary for t in self.terms.values())

    def prepare(self, camera: Camera, scene_power: ScenePower, reference: float) -> None:
        """Let every term build what depends on camera and data; starts the running mean."""
        for term in self.terms.values():
            assert_term(term).prepare(camera, scene_power, reference)
        with torch.no_grad():
            self.past_psf = camera.psf([reference])[0].to(torch.float32)

    def mean_psf(self, psf: Tensor) -> Tensor:
        """Return the running mean in value, `psf` in gradient, and remember it."""
        past: Tensor = self.past_psf
        mean = self.memory * past.to(psf.device) + (1 - self.memory) * psf.detach().to(past.dtype)
        if self.training:
            self.past_psf = mean
        return mean + (psf - psf.detach())

    def forward(self, view: StepView) -> dict[str, Tensor]:
        """Every term's weighted value by name."""
        return {name: assert_term(t).weight * t(view) for name, t in self.terms.items()}


def assert_term(module: nn.Module) -> Term:
    """Return `module` as a Term, or raise TypeError."""
    if not isinstance(module, Term):
        raise TypeError(f"{type(module).__name__} is no term of an objective")
    return module
