"""From random numbers to a style, one branch for each domain."""

import torch
from torch import Tensor, nn

from anonymizer.stargan.blocks import initialize

_LAYERS = 4  # of each half


def pick(branches: Tensor, domain: Tensor) -> Tensor:
    """Choose for each row the branch of its domain: (B, domains, ...) and (B,) -> (B, ...)."""
    return branches[torch.arange(len(domain), device=branches.device), domain]


class MappingNetwork(nn.Module):
    """Perceptron from a Gaussian latent to a style; 2,438,272 parameters as published.

    Parameters
    ----------
    latent : int
        Length of the latent.
    style : int
        Length of the style.
    hidden : int
        Width of the layers.
    domains : int
        How many domains there are; 1 needs no labels.
    """

    def __init__(
        self, *, latent: int = 16, style: int = 64, hidden: int = 512, domains: int = 2
    ) -> None:
        super().__init__()
        self.latent, self.domains = latent, domains
        self.shared = nn.Sequential()
        for layer in range(_LAYERS):
            self.shared.extend((nn.Linear(hidden if layer else latent, hidden), nn.ReLU()))
        self.unshared = nn.ModuleList(_branch(hidden, style) for _ in range(domains))
        initialize(self)

    def forward(self, latent: Tensor, domain: Tensor) -> Tensor:
        """Map latents (B, latent) of domains (B,), int64, to styles (B, style)."""
        x = self.shared(latent)
        return pick(torch.stack([branch(x) for branch in self.unshared], 1), domain)


def _branch(hidden: int, style: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(_LAYERS - 1):
        layers += [nn.Linear(hidden, hidden), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden, style))
