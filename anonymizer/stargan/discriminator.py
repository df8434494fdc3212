"""Tells pictures from outputs, with one score for each domain."""

from torch import Tensor, nn

from anonymizer.stargan.blocks import initialize
from anonymizer.stargan.mapping import pick
from anonymizer.stargan.style_encoder import trunk


class Discriminator(nn.Module):
    """Score of being a picture of its domain; 20,852,290 parameters at 256 px as published.

    Parameters
    ----------
    size, width
        As for the generator.
    domains : int
        How many domains there are.
    """

    def __init__(self, *, size: int, width: float = 1.0, domains: int = 2) -> None:
        super().__init__()
        layers, wide = trunk(size, width)
        self.main = nn.Sequential(*layers, nn.Conv2d(wide, domains, 1))
        initialize(self)

    def forward(self, faces: Tensor, domain: Tensor) -> Tensor:
        """Return scores (B,), before the logistic function, for faces in the network's range."""
        return pick(self.main(faces).flatten(1), domain)
