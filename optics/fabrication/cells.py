r"""Mean field of flat cells whose edges came out soft or shifted.

At the angles a mask is made for, a cell acts by the mean of its transmission, not by that of its
height: where a relief is wrapped, the mean height of a soft wall is a height that no part of the
cell has. Both effects here are therefore averaged as fields.

**Soft edges.** A Gaussian blur of standard deviation :math:`\sigma` turns the step to a neighbour
into an error function. While it is narrow, edges are apart, and with the difference
:math:`\delta` of the neighbour's phase to the cell's own, each side of a cell of side :math:`c`
changes its mean field by the factor

.. math:: 1 + \frac{\sigma}{c} \, K(\delta), \qquad
          K(\delta) = \int_0^\infty \left( e^{i \delta \, \Phi(-u)} - 1 \right) du

with the normal distribution :math:`\Phi`; exact for a lone edge, the corners of a cell come in by
the product over both axes, and what is neglected is of the order of :math:`(\sigma / c)^2`. A
wider blur is averaged point by point.

**Shifted etches.** Binary etches shifted by parts of a cell divide it into rectangles, each with
its own level; the mean over them is exact.
"""

import itertools
import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from optics.fabrication.surface import mirrored, moved
from optics.masks.doe import split_levels
from optics.propagation import cis_turns

#: Largest blur, in cells, for which the edges of a cell count as apart; 7 % of the field at most.
SOFTEST = 0.2
_PER_TURN = 128  # entries of the table: interpolation is off by less than 3e-4 of the edge's share
_REACH = 8.0  # standard deviations of an edge that count


def blurred_cells(height: Tensor, rate: Tensor, *, sigma: Tensor, cell: float) -> Tensor:
    """Mean field (W, H, N) of every cell of a blurred relief, complex128.

    Parameters
    ----------
    height : Tensor
        Float64 (H, N) of the cells before the blur [m].
    rate : Tensor
        Float64 (W,), turns of phase per metre of height [1/m].
    sigma : Tensor
        Scalar standard deviation of the blur, 0 or more [m].
    cell : float
        Cell side [m].
    """
    share = sigma / cell
    if float(share.detach()) < 0:
        raise ValueError(f"blur = {float(sigma.detach()):g} m: a standard deviation is 0 or more")
    if float(share.detach()) > SOFTEST:
        return _point_by_point(height, rate, share)
    field = cis_turns(rate[:, None, None] * height)
    for dim in (0, 1):
        # a wall seen from its other side is the conjugate; the outermost cells have one wall only
        wall = edge_share(rate[:, None, None] * height.diff(dim=dim))
        none = torch.zeros_like(field.narrow(1 + dim, 0, 1))
        edges = torch.cat([wall, none], 1 + dim) + torch.cat([none, wall.conj()], 1 + dim)
        field = field * (1 + share * edges)
    return field


def _point_by_point(height: Tensor, rate: Tensor, share: Tensor) -> Tensor:
    """Mean field (W, H, N) over many points of every cell, a row of cells at a time."""
    held = height.detach()
    step = max(float(held.diff(dim=d).abs().max()) for d in (0, 1)) * float(rate.detach().max())
    # the field turns by at most half a turn from point to point on the steepest wall
    points = min(64, max(8, math.ceil(0.8 * step / float(share.detach()))))
    down, across = (_blur_matrix(n, points, share) for n in height.shape)
    wide = height @ across.mT

    def strip(rows: Tensor) -> Tensor:
        field = cis_turns(rate[:, None, None] * (rows @ wide))
        mean: Tensor = field.reshape(len(rate), points, -1, points).mean((1, 3))
        return mean

    strips = [
        checkpoint(strip, rows, use_reentrant=False) if torch.is_grad_enabled() else strip(rows)
        for rows in down.reshape(-1, points, down.shape[1])
    ]
    return torch.stack(strips, dim=1)


def _blur_matrix(cells: int, points: int, share: Tensor) -> Tensor:
    """Matrix (cells * points, cells) from flat cells to their blur, mirrored at the ends."""
    place = (torch.arange(cells * points, dtype=torch.float64, device=share.device) + 0.5) / points
    reach = min(cells, math.ceil(6 * float(share.detach())) + 1)
    index = torch.arange(-reach, cells + reach, device=share.device)
    below = torch.special.ndtr((place[:, None] - index) / share)
    weight = below - torch.special.ndtr((place[:, None] - index - 1) / share)
    source = mirrored(index, cells)
    matrix: Tensor = weight.new_zeros(len(place), cells).index_add(1, source, weight)
    return matrix


def edge_share(turns: Tensor) -> Tensor:
    r"""K of a phase step of `turns` (...) to the neighbour, complex128 (...).

    Interpolated linearly in a table; differentiable with respect to `turns`.
    """
    most = float(turns.detach().abs().max()) if turns.numel() else 0.0
    table = _edge_table(1 << max(0, math.ceil(math.log2(most + 1)))).to(turns.device)
    place = turns.abs() * _PER_TURN
    low = place.detach().floor().clamp(max=len(table) - 2)
    index, part = low.long(), place - low
    real, imaginary = (
        torch.lerp(side[index], side[index + 1], part) for side in (table.real, table.imag)
    )
    return torch.complex(real, torch.where(turns < 0, -imaginary, imaginary))


@lru_cache(maxsize=8)
def _edge_table(turns: int) -> Tensor:
    """K at 0, 1, ... `turns` times `_PER_TURN` parts of a turn, complex128."""
    steps = torch.arange(turns * _PER_TURN + 2, dtype=torch.float64) / _PER_TURN
    # the phase runs through `turns` / 2 turns over the edge: several nodes for each
    count = 256 + 16 * turns
    edges = torch.linspace(0, _REACH, count + 1, dtype=torch.float64)
    middle, width = (edges[1:] + edges[:-1]) / 2, _REACH / count
    offset = width / (2 * math.sqrt(3))  # two Gauss points in every interval
    tail = torch.cat([torch.special.ndtr(-(middle + s * offset)) for s in (-1, 1)])
    out = torch.empty(len(steps), dtype=torch.complex128)
    for start in range(0, len(steps), 1024):
        part = steps[start : start + 1024, None] * tail
        out[start : start + 1024] = (cis_turns(part) - 1).sum(-1) * (width / 2)
    return out


def shifted_levels(
    level: Tensor, *, levels: int, shifts: Tensor, cell: float
) -> list[tuple[Tensor, Tensor]]:
    """Parts of a cell under shifted binary etches: pairs of area share and level (H, W).

    Parameters
    ----------
    level : Tensor
        Int64 (H, W), 0 to `levels` - 1, as designed.
    levels : int
        A power of two.
    shifts : Tensor
        (log2(levels), 2), shift (y, x) of each etch, the weakest first [m].
    cell : float
        Cell side [m].

    Returns
    -------
    list of tuple
        Scalar shares, which sum to 1 and are differentiable with respect to `shifts`, and float64
        levels.
    """
    bits = split_levels(level, levels)
    if shifts.shape != (len(bits), 2):
        raise ValueError(
            f"overlay is {tuple(shifts.shape)}, expected ({len(bits)}, 2): one shift (y, x) for "
            f"each of the masks that make {levels} levels"
        )
    whole = (shifts.detach() / cell).floor()
    part = shifts / cell - whole
    (rows, down), (columns, across) = (_intervals(part[:, axis]) for axis in (0, 1))
    out = []
    for height, first in zip(rows, down, strict=True):
        for width, second in zip(columns, across, strict=True):
            total = torch.zeros_like(bits[0])
            for k, bit in enumerate(bits):
                y = int(whole[k, 0]) + int(first[k])
                x = int(whole[k, 1]) + int(second[k])
                total = total + 2**k * moved(moved(bit, y, 0), x, 1)
            out.append((height * width, total))
    return out


def _intervals(part: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Parts of a cell between the edges at `part` (M,): their lengths, and who lies beyond.

    Up to its edge at `part` a shifted etch still shows the cell before.
    """
    order = part.detach().argsort()
    ends = torch.cat([part.new_zeros(1), part[order], part.new_ones(1)])
    lengths, beyond = [], []
    for a, b in itertools.pairwise(ends):
        if float((b - a).detach()) > 0:
            lengths.append(b - a)
            beyond.append(part.detach() > float(a.detach()))
    return lengths, beyond
