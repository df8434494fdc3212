"""Pixelation."""

import torch
from torch import Tensor

from anonymizer.protection.obfuscators.obfuscator import Obfuscator, draw_integer
from anonymizer.protection.obfuscators.sampling import AreaSampling, Sampling


class Pixelate(Obfuscator[int]):
    """Coarser pixels; the strength is their side [px].

    A side that does not divide the image is rounded up, so that whole cells fill the image.

    Parameters
    ----------
    block : int
        Typical side [px].
    steps, step : int
        Training draws uniformly from the sides block - steps * step, ..., block + steps * step.
    sampling : Sampling
        The mean over each cell, or in the legacy way one point of it.
    """

    def __init__(
        self, block: int = 7, *, steps: int = 3, step: int = 1, sampling: Sampling | None = None
    ) -> None:
        super().__init__()
        if steps < 0 or step < 1 or block - steps * step < 1:
            raise ValueError(
                f"block = {block}, steps = {steps}, step = {step}: expected sides of 1 px and more"
            )
        self.block, self.steps, self.step = block, steps, step
        self.sampling = sampling or AreaSampling()

    def typical(self) -> int:
        return self.block

    def draw(self, generator: torch.Generator) -> int:
        return self.block + self.step * draw_integer(-self.steps, self.steps, generator)

    def apply_strength(self, images: Tensor, strength: int) -> Tensor:
        height, width = images.shape[-2:]
        coarse = (height // strength, width // strength)
        if min(coarse) < 1:
            raise ValueError(
                f"images is {tuple(images.shape)}, expected sides of {strength} px and more, "
                f"one block"
            )
        values = self.sampling.shrink(self.sampling.enter(images), coarse)
        return self.sampling.leave(self.sampling.repeat(values, (height, width)))
