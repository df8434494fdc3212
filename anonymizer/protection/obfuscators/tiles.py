"""Hybrid tiles: every tile of a face is hidden in another way."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anonymizer.protection.obfuscators.obfuscator import Obfuscator, draw_integer
from anonymizer.protection.obfuscators.sampling import AreaSampling, Sampling


@dataclass(frozen=True)
class Tiling:
    """One strength of hybrid tiles.

    Attributes
    ----------
    side : int
        Tiles along each side.
    order : Tensor of int64
        (side**2,): tiles, row by row, in the order in which they are dealt to the parts.
    strengths : tuple
        Strength of each part.
    """

    side: int
    order: Tensor
    strengths: tuple[Any, ...]


class HybridTiles(Obfuscator[Tiling]):
    """Deal the tiles of an image to several obfuscators at random, in equal shares.

    What does not divide evenly goes to the last one.

    Parameters
    ----------
    parts : sequence of Obfuscator
        Each works on the whole image, so no tile shows its own border.
    side : int
        Typical number of tiles along each side.
    sides : sequence of int
        Numbers from which training draws.
    seed : int
        Draws the one typical order of tiles.
    sampling : Sampling
        Whether sides are first stretched to a multiple of the tiles, in the legacy way.

    References
    ----------
    L. Yuan et al., "PRO-Face C: Privacy-preserving recognition of obfuscated face via feature
    compensation", IEEE Trans. Inf. Forensics Secur. 19 (2024).
    """

    def __init__(
        self,
        parts: Sequence[Obfuscator[Any]],
        *,
        side: int = 4,
        sides: Sequence[int] = (2, 3, 4, 5),
        seed: int = 56,
        sampling: Sampling | None = None,
    ) -> None:
        super().__init__()
        if len(parts) < 2:
            raise ValueError(f"parts: {len(parts)} given, expected two or more obfuscators")
        if min(side, *sides) ** 2 < len(parts):
            raise ValueError(
                f"side = {side}, sides = {tuple(sides)}: expected tiles enough for each of "
                f"{len(parts)} parts"
            )
        self._parts = tuple(parts)
        self.networks = nn.ModuleList(parts)  # so that they move to a device with this
        self.side, self.sides, self.seed = side, tuple(sides), seed
        self.sampling = sampling or AreaSampling()

    def typical(self) -> Tiling:
        order = torch.randperm(self.side**2, generator=torch.Generator().manual_seed(self.seed))
        return Tiling(self.side, order, tuple(part.typical() for part in self._parts))

    def draw(self, generator: torch.Generator) -> Tiling:
        strengths = tuple(part.draw(generator) for part in self._parts)
        side = self.sides[draw_integer(0, len(self.sides) - 1, generator)]
        return Tiling(side, torch.randperm(side**2, generator=generator), strengths)

    def apply_strength(self, images: Tensor, strength: Tiling) -> Tensor:
        shape = images.shape[-2:]
        if min(shape) < strength.side:
            raise ValueError(
                f"images is {tuple(images.shape)}, expected a pixel for each of "
                f"{strength.side} x {strength.side} tiles"
            )
        values = self.sampling.make_divisible(self.sampling.enter(images), strength.side)
        fitted = self.sampling.leave(values)
        owner = self._owners(strength, values)
        hidden = torch.zeros_like(values)
        for i, part in enumerate(self._parts):
            whole = self.sampling.enter(part.apply_strength(fitted, strength.strengths[i]))
            hidden = torch.where(owner == i, whole, hidden)
        if hidden.shape[-2:] != shape:
            hidden = F.interpolate(hidden, shape, mode="bilinear", align_corners=False)
        return self.sampling.leave(hidden)

    def _owners(self, strength: Tiling, values: Tensor) -> Tensor:
        """Return which part hides each pixel, int64 (H, W)."""
        count = strength.side**2
        share = count // len(self._parts)
        place = torch.empty(count, dtype=torch.int64)
        place[strength.order] = torch.arange(count)
        owner = (place // share).clamp(max=len(self._parts) - 1).reshape(strength.side, -1)
        rows, columns = (torch.arange(n) * strength.side // n for n in values.shape[-2:])
        return owner[rows][:, columns].to(values.device)
