"""Face swapping: another person's identity on this face's pose, light and expression."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from anonymizer.protection.obfuscators.obfuscator import Obfuscator, draw_integer


class Swapper(nn.Module, ABC):
    """Put the identity of one face on another."""

    @abstractmethod
    def forward(self, faces: Tensor, sources: Tensor) -> Tensor:
        """Swap identities.

        Parameters
        ----------
        faces : Tensor
            (B, 3, H, W), linear light [0, 1]: who shall no longer be seen.
        sources : Tensor
            (B, 3, h, w), linear light [0, 1]: whose identity is put on.

        Returns
        -------
        Tensor
            (B, 3, H, W), linear light [0, 1].
        """


class FaceSwap(Obfuscator[int]):
    """Swap every face of a batch for one stranger; the strength is which stranger.

    Parameters
    ----------
    swapper : Swapper
        The network; frozen here, and no gradient passes into it.
    strangers : Tensor
        (N, 3, h, w), linear light [0, 1], frontal faces of consenting or synthetic people.
    """

    strangers: Tensor

    def __init__(self, swapper: Swapper, strangers: Tensor) -> None:
        super().__init__()
        shape = tuple(strangers.shape)
        if len(shape) != 4 or shape[0] < 1 or shape[1] != 3:
            raise ValueError(f"strangers is {shape}, expected (N, 3, h, w) with N >= 1")
        self.swapper = swapper.requires_grad_(False).eval()
        self.register_buffer("strangers", strangers, persistent=False)

    def typical(self) -> int:
        return 0

    def draw(self, generator: torch.Generator) -> int:
        return draw_integer(0, len(self.strangers) - 1, generator)

    @torch.no_grad()
    def apply_strength(self, images: Tensor, strength: int) -> Tensor:
        source = self.strangers[strength].to(images).expand(len(images), -1, -1, -1)
        swapped: Tensor = self.swapper(images, source)
        return swapped.clamp(0, 1)

    def train(self, mode: bool = True) -> "FaceSwap":
        """Switch training mode, which leaves the swapper as it was published."""
        super().train(mode)
        self.swapper.eval()
        return self
