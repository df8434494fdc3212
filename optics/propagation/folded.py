r"""From pupil to sensor by real matrices, folded about the axis at both ends.

Samples and points lie in pairs about the axis. A line of pupil samples is split into its even and
its odd part, which the cosines and the sines of one half of the points turn into the even and the
odd part of the field,

.. math:: U_{\pm m} = \sum_{n \ge 0} (e_n \cos 2 \pi r m n \mp i \, o_n \sin 2 \pi r m n),

in real arithmetic: a quarter of the work of the complex matrix Fourier transform (Soummer et al.,
Opt. Express 15, 15935 (2007)), by real matrix products, which are what a CPU does fastest. Rates
and centres as in `lines`. Several distances are better served by chirps, which share their work.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

from optics.propagation.lines import LineGeometry

#: Terms summed at a time in single precision. Longer sums round off more: the PSF of a pupil of
#: 512 samples is right to 1.8e-7 with 64 terms, to 4.5e-7 where all are summed at once.
TERMS = 64


class FoldedTransform:
    """Two axes of one geometry; `w` chooses the wavelength.

    Parameters
    ----------
    rows, columns : LineGeometry
        Along x and y, centred on the axis (no shift); their bends are not regarded.
    dtype : torch.dtype
        Real precision.
    """

    def __init__(self, rows: LineGeometry, columns: LineGeometry, dtype: torch.dtype) -> None:
        self.x, self.y = _Lines(rows, dtype), _Lines(columns, dtype)

    def forward(self, pupil: Tensor, w: int) -> Tensor:
        """Real and imaginary pupil (2, H, N) -> the same of the field (2, P, Q), not scaled."""
        return self.y.forward(self.x.forward(pupil, w).mT, w).mT

    def adjoint(self, field: Tensor, w: int) -> Tensor:
        """Real and imaginary field (2, P, Q) -> the same of the pupil (2, H, N), not scaled."""
        return self.x.adjoint(self.y.adjoint(field.mT, w).mT, w)


class _Lines:
    """One axis."""

    def __init__(self, line: LineGeometry, dtype: torch.dtype) -> None:
        self.samples, self.points = line.samples, line.points
        inward, outward = line.inputs()[line.samples // 2 :], line.outputs()[line.points // 2 :]
        self.waves = []
        for rate in line.rates:
            turns = rate * inward[:, None] * outward
            angle = 2 * math.pi * (turns - turns.round())
            self.waves.append((torch.cos(angle).to(dtype), torch.sin(angle).to(dtype)))

    def forward(self, lines: Tensor, w: int) -> Tensor:
        """(2, L, N) -> (2, L, P)."""
        (even, odd), (cos, sin) = _fold(lines), self.waves[w]
        along, across = _product(even, cos), _product(odd, sin)
        return _unfold(along, torch.stack([across[1], -across[0]]), self.points)

    def adjoint(self, lines: Tensor, w: int) -> Tensor:
        """(2, L, P) -> (2, L, N)."""
        (even, odd), (cos, sin) = _fold(lines), self.waves[w]
        across = odd @ sin.T
        return _unfold(even @ cos.T, torch.stack([-across[1], across[0]]), self.samples)


@lru_cache(maxsize=16)
def folded_transform(
    rows: LineGeometry, columns: LineGeometry, dtype: torch.dtype
) -> FoldedTransform:
    """Transform of a geometry; kept, because its matrices take time to make."""
    return FoldedTransform(rows, columns, dtype)


def _fold(values: Tensor) -> tuple[Tensor, Tensor]:
    """Split (..., N) into its even and its odd part about the middle, from there outwards."""
    count = values.shape[-1]
    half = count - count // 2
    plus, minus = values[..., count - half :], values[..., :half].flip(-1)
    even, odd = plus + minus, plus - minus
    if count % 2:
        even[..., 0] *= 0.5  # the middle was added to itself
    return even, odd


def _unfold(even: Tensor, odd: Tensor, count: int) -> Tensor:
    """Put (..., N) together from its even and its odd part about the middle."""
    minus = (even - odd)[..., count % 2 :].flip(-1)
    return torch.cat([minus, even + odd], -1)


def _product(parts: Tensor, waves: Tensor) -> Tensor:
    """(2, L, K) @ (K, M), in single precision a few terms at a time."""
    lines = parts.flatten(0, 1)  # one tall matrix
    step = TERMS if lines.dtype == torch.float32 else len(waves)
    total = lines[:, :step] @ waves[:step]
    for start in range(step, len(waves), step):
        total.addmm_(lines[:, start : start + step], waves[start : start + step])
    return total.view(*parts.shape[:2], -1)
