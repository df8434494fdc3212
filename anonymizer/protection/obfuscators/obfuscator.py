"""What every obfuscator has in common: a strength, fixed for use and drawn for training."""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Strength = TypeVar("Strength")


class Obfuscator(nn.Module, ABC, Generic[Strength]):
    """Hide faces behind an image operation that nobody needs a key for.

    Images are (B, 3, H, W), R G B, linear light [0, 1], before and after. Called as a function it
    has its typical strength and returns the same for the same images; `sample` draws a strength,
    once for the whole batch, as training wants it.
    """

    @abstractmethod
    def typical(self) -> Strength:
        """Return the strength for use and for evaluation."""

    @abstractmethod
    def draw(self, generator: torch.Generator) -> Strength:
        """Draw a strength for training; `generator` is on the CPU."""

    @abstractmethod
    def apply_strength(self, images: Tensor, strength: Strength) -> Tensor:
        """Obfuscate linear-light images (B, 3, H, W) with one strength."""

    def forward(self, images: Tensor) -> Tensor:
        """Obfuscate with the typical strength."""
        _check(images)
        return self.apply_strength(images, self.typical())

    def sample(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Obfuscate with a strength drawn from `generator`."""
        _check(images)
        return self.apply_strength(images, self.draw(generator))


def draw_integer(low: int, high: int, generator: torch.Generator) -> int:
    """Draw a whole number from `low` to `high`, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def _check(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(
            f"images is {tuple(images.shape)}, expected (B, 3, H, W) linear light in [0, 1]"
        )
