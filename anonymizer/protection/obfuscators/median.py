"""Median filter."""

import torch
from torch import Tensor

from anonymizer.protection.obfuscators.obfuscator import Obfuscator, draw_integer
from anonymizer.protection.obfuscators.sampling import AreaSampling, Sampling


class MedianBlur(Obfuscator[int]):
    """Median over a square, each colour for itself; the strength is its odd side [px].

    Parameters
    ----------
    kernel : int
        Typical side [px].
    spread : int
        Training draws uniformly from the odd sides within `spread` of it [px].
    sampling : Sampling
        What lies beyond the border.
    """

    def __init__(
        self, kernel: int = 13, *, spread: int = 6, sampling: Sampling | None = None
    ) -> None:
        super().__init__()
        if kernel % 2 == 0 or spread < 0 or spread % 2 or kernel - spread < 1:
            raise ValueError(
                f"kernel = {kernel}, spread = {spread} px: expected an odd kernel, and an even "
                f"spread below it"
            )
        self.kernel, self.spread = kernel, spread
        self.sampling = sampling or AreaSampling()

    def typical(self) -> int:
        return self.kernel

    def draw(self, generator: torch.Generator) -> int:
        return self.kernel + 2 * draw_integer(-self.spread // 2, self.spread // 2, generator)

    def apply_strength(self, images: Tensor, strength: int) -> Tensor:
        margin = strength // 2
        if min(images.shape[-2:]) <= margin:
            raise ValueError(
                f"images is {tuple(images.shape)}, expected sides above {margin} px for a median "
                f"over {strength} px"
            )
        padded = self.sampling.pad(self.sampling.enter(images), margin)
        # image by image: each holds strength**2 copies of itself while it is sorted
        rows = [image.unfold(1, strength, 1).unfold(2, strength, 1) for image in padded]
        values = torch.stack([row.flatten(-2).median(dim=-1).values for row in rows])
        return self.sampling.leave(values)
