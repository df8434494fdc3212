"""One obfuscator out of several, drawn anew for each batch."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from anonymizer.protection.obfuscators.obfuscator import Obfuscator, draw_integer


class Choice(Obfuscator[tuple[int, Any]]):
    """Train one protection for many obfuscations; the first of them is the typical one.

    Its strength is which of them, and that one's own strength.

    Parameters
    ----------
    among : sequence of Obfuscator
        At least one.
    """

    def __init__(self, among: Sequence[Obfuscator[Any]]) -> None:
        super().__init__()
        if not among:
            raise ValueError("among is empty, expected at least one obfuscator")
        self._among = tuple(among)
        self.networks = nn.ModuleList(among)  # so that they move to a device with this

    def typical(self) -> tuple[int, Any]:
        return 0, self._among[0].typical()

    def draw(self, generator: torch.Generator) -> tuple[int, Any]:
        which = draw_integer(0, len(self._among) - 1, generator)
        return which, self._among[which].draw(generator)

    def apply_strength(self, images: Tensor, strength: tuple[int, Any]) -> Tensor:
        which, own = strength
        return self._among[which].apply_strength(images, own)
