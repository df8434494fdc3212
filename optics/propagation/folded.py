r"""From pupil to sensor by real matrices, folded about the axis at both ends.

Samples and points lie in pairs about the axis. A line of pupil samples is split into its even and
its odd part, which the cosines and the sines of one half of the points turn into the even and the
odd part of the field,

.. math:: U_{\pm m} = \sum_{n \ge 0} (e_n \cos 2 \pi r m n \mp i \, o_n \sin 2 \pi r m n),

in real arithmetic: a quarter of the work of the complex matrix Fourier transform (Soummer et al.,
Opt. Express 15, 15935 (2007)), by real matrix products, which are what a CPU does fastest. What
is quadratic in the pupil is even in it, so that several distances share the pupil and its two
parts. Rates, bends and centres as in `lines`.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from optics.propagation.lines import LineGeometry

#: Terms summed at a time in single precision. Longer sums round off more: the PSF of a pupil of
#: 512 samples is right to 1.8e-7 with 64 terms, to 4.5e-7 where all are summed at once.
TERMS = 64

# Bends of one distance along x and along y: real and imaginary part (2, K) for half a line.
Bends = tuple[Tensor, Tensor]
# Even and odd part (2, L, K) of lines, real and imaginary.
Halves = tuple[Tensor, Tensor]


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
        across = self.x.forward(_fold(pupil), w)
        return self.y.forward(_fold(across.mT), w).mT

    def adjoint(self, field: Tensor, w: int) -> Tensor:
        """Real and imaginary field (2, P, Q) -> the same of the pupil (2, H, N), not scaled."""
        return self.x.adjoint(self.y.adjoint(field.mT, w).mT, w)

    def spread(self, pupil: Tensor, w: int, bends: Sequence[Bends]) -> Iterator[Tensor]:
        """One pupil (2, H, N) -> its field (2, P, Q) at each distance, not scaled."""
        halves = _fold(pupil)
        for along_x, along_y in bends:
            across = self.x.forward(_bend(halves, along_x), w)
            yield self.y.forward(_bend(_fold(across.mT), along_y), w).mT

    def gather(self, fields: Iterable[Tensor], w: int, bends: Sequence[Bends]) -> Tensor:
        """Adjoint of `spread`: fields (2, P, Q) at each distance -> the pupil (2, H, N)."""
        total: Halves | None = None
        for field, (along_x, along_y) in zip(fields, bends, strict=True):
            back = _bend(self.y.halves(field.mT, w), along_y, back=True)
            across = _unfold(*back, self.y.samples)
            total = _bend(self.x.halves(across.mT, w), along_x, back=True, onto=total)
        if total is None:
            raise ValueError("no distances")
        return _unfold(*total, self.x.samples)


class _Lines:
    """One axis."""

    def __init__(self, line: LineGeometry, dtype: torch.dtype) -> None:
        self.samples, self.points = line.samples, line.points
        inward, outward = line.inputs()[line.samples // 2 :], line.outputs()[line.points // 2 :]
        self.waves, self.whole = [], []
        for rate in line.rates:
            turns = rate * inward[:, None] * outward
            angle = 2 * math.pi * (turns - turns.round())
            cos, sin = torch.cos(angle).to(dtype), torch.sin(angle).to(dtype)
            none = torch.zeros_like(cos.T)
            whole = (_unfold(cos.T, none, line.samples), _unfold(none, sin.T, line.samples))
            self.waves.append((cos, sin))
            self.whole.append(torch.cat(whole))

    def forward(self, halves: Halves, w: int) -> Tensor:
        """Even and odd part of (2, L, N) -> (2, L, P)."""
        along, across = map(_product, halves, self.waves[w])
        return _unfold(along, torch.stack([across[1], -across[0]]), self.points)

    def adjoint(self, lines: Tensor, w: int) -> Tensor:
        """(2, L, P) -> (2, L, N).

        By one product with whole lines: to put halves together costs more than they save.
        """
        out: Tensor = torch.cat(_turned(_fold(lines)), -1) @ self.whole[w]
        return out

    def halves(self, lines: Tensor, w: int) -> Halves:
        """(2, L, P) -> even and odd part of what `adjoint` gives."""
        even, odd = _turned(_fold(lines))
        return even @ self.waves[w][0].T, odd @ self.waves[w][1].T


@lru_cache(maxsize=16)
def folded_transform(
    rows: LineGeometry, columns: LineGeometry, dtype: torch.dtype
) -> FoldedTransform:
    """Transform of a geometry; kept, because its matrices take time to make."""
    return FoldedTransform(rows, columns, dtype)


def half_bend(line: LineGeometry, d: int, w: int, dtype: torch.dtype) -> Tensor:
    """Real and imaginary part (2, K) of what bends the outer half of a line."""
    turns = line.bends[d][w] * line.inputs()[line.samples // 2 :] ** 2
    angle = 2 * math.pi * (turns - turns.round())
    return torch.stack([torch.cos(angle), torch.sin(angle)]).to(dtype)


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


def _turned(halves: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Even part, and i times the odd part."""
    even, odd = halves
    return even, torch.stack([-odd[1], odd[0]])


def _bend(
    halves: Halves, bend: Tensor, *, back: bool = False, onto: Halves | None = None
) -> Halves:
    """Bend both parts, or undo it with `back`; add to `onto`, which is overwritten, if given."""
    real, imag = bend[0], -bend[1] if back else bend[1]
    if onto is None:
        onto = (torch.empty_like(halves[0]), torch.empty_like(halves[1]))
        for half, out in zip(halves, onto, strict=True):
            torch.mul(half, real, out=out)
    else:
        for half, out in zip(halves, onto, strict=True):
            out.addcmul_(half, real)
    for half, out in zip(halves, onto, strict=True):
        out[0].addcmul_(half[1], imag, value=-1)
        out[1].addcmul_(half[0], imag)
    return onto


def _product(parts: Tensor, waves: Tensor) -> Tensor:
    """(2, L, K) @ (K, M), in single precision a few terms at a time."""
    lines = parts.flatten(0, 1)  # one tall matrix
    step = TERMS if lines.dtype == torch.float32 else len(waves)
    total = lines[:, :step] @ waves[:step]
    for start in range(step, len(waves), step):
        total.addmm_(lines[:, start : start + step], waves[start : start + step])
    return total.view(*parts.shape[:2], -1)
