"""Gaussian blur."""

import torch
import torch.nn.functional as F
from torch import Tensor

from anonymizer.protection.obfuscators.obfuscator import Obfuscator
from anonymizer.protection.obfuscators.sampling import AreaSampling, Sampling


class GaussianBlur(Obfuscator[float]):
    """Blur whose strength is the standard deviation of the Gaussian [px]; the border mirrors.

    Parameters
    ----------
    kernel : int
        Odd side of the square over which the Gaussian is cut off [px].
    low, high : float
        Range from which training draws uniformly [px]; the typical strength is its middle.
    sampling : Sampling
        Which values are averaged; see `sampling`.
    """

    def __init__(
        self,
        kernel: int = 31,
        low: float = 2.0,
        high: float = 8.0,
        sampling: Sampling | None = None,
    ) -> None:
        super().__init__()
        if kernel < 3 or kernel % 2 == 0:
            raise ValueError(f"kernel = {kernel} px, expected an odd number from 3")
        if not 0 < low <= high:
            raise ValueError(f"low = {low:g}, high = {high:g} px, expected 0 < low <= high")
        self.kernel, self.low, self.high = kernel, low, high
        self.sampling = sampling or AreaSampling()

    def typical(self) -> float:
        return (self.low + self.high) / 2

    def draw(self, generator: torch.Generator) -> float:
        share = float(torch.rand((), generator=generator))
        return self.low + share * (self.high - self.low)

    def apply_strength(self, images: Tensor, strength: float) -> Tensor:
        margin = self.kernel // 2
        if min(images.shape[-2:]) <= margin:
            raise ValueError(
                f"images is {tuple(images.shape)}, expected sides above {margin} px for "
                f"kernel = {self.kernel}"
            )
        values = self.sampling.enter(images)
        x = torch.arange(-margin, margin + 1, dtype=values.dtype, device=values.device)
        weights = torch.exp(-(x**2) / (2 * strength**2))
        weights = (weights / weights.sum()).expand(3, 1, 1, -1)
        padded = F.pad(values, [margin] * 4, mode="reflect")
        across = F.conv2d(padded, weights, groups=3)
        return self.sampling.leave(F.conv2d(across, weights.transpose(-1, -2), groups=3))
