r"""Heights on the few levels that etches make.

n aligned etches make 2^n levels: etch b takes :math:`2^b` steps of depth where bit b of the
*depth* number is set (Swanson, MIT Lincoln Laboratory TR-854, 1989). The step is

.. math:: s = \frac{m \lambda}{(n(\lambda) - 1) \, 2^n}

for a relief wrapped at m wavelengths.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardware.fabrication.design import HeightMap, MaskDesign

_MOST_MASKS = 8


@dataclass(frozen=True)
class Levels:
    """Levels of a multi-level relief.

    Attributes
    ----------
    count : int
        Number of levels, a power of two from 2 to 256.
    waves : int
        Wavelengths of delay at which the relief is wrapped; the levels divide them evenly.
    """

    count: int = 8
    waves: int = 1

    def __post_init__(self) -> None:
        masks = self.count.bit_length() - 1
        if self.count < 2 or self.count != 1 << masks or masks > _MOST_MASKS:
            powers = ", ".join(str(1 << n) for n in range(1, _MOST_MASKS + 1))
            raise ValueError(
                f"levels = {self.count}: n aligned etches make 2^n levels, so one of {powers} is "
                f"needed"
            )
        if self.waves < 1:
            raise ValueError(f"waves = {self.waves}: at least 1 wavelength is needed")

    @property
    def masks(self) -> int:
        """Number of masks, that is of etches."""
        return self.count.bit_length() - 1

    def step(self, design: MaskDesign) -> float:
        """Depth of the finest etch [m]."""
        return self.waves * design.turn_height / self.count

    def depths(self, design: MaskDesign) -> list[float]:
        """Depth of every etch, finest first [m]."""
        return [2**b * self.step(design) for b in range(self.masks)]

    def numbers(self, design: MaskDesign) -> NDArray[np.uint8]:
        """Level (H, W) of every cell, 0 the lowest; outside the clear diameter the highest.

        Cells outside carry no etch, so that they cost neither rectangles nor time.
        """
        steps = design.height / self.step(design)
        steps += 0.5
        np.floor(steps, out=steps)
        # A power of two: the remainder is the lowest bits, which costs a tenth of a division.
        level = (steps.astype(np.int64) & (self.count - 1)).astype(np.uint8)
        level[~design.clear] = self.count - 1
        return level

    def etched(self, design: MaskDesign) -> NDArray[np.bool_]:
        """Cells (masks, H, W) that each etch takes away, finest etch first."""
        depth = (self.count - 1) - self.numbers(design)
        return np.stack([(depth >> b) & 1 == 1 for b in range(self.masks)])

    def surface(self, design: MaskDesign) -> HeightMap:
        """Surface that the etches leave, its lowest level at 0."""
        height = self.numbers(design).astype(np.float64) * self.step(design)
        return HeightMap(height, design.spacing)

    def efficiency(self) -> float:
        """Light in the first order of a blazed grating: sinc^2(1/N), scalar (Swanson 1989)."""
        return float(np.sinc(1 / self.count) ** 2)
