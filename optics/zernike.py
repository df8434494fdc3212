r"""Zernike surfaces in Noll order, summed without ever storing the basis.

.. math::
    Z_j = \sqrt{n + 1} \, R_n^{|m|}(\rho) \cdot
    \begin{cases} 1 & m = 0 \\ \sqrt 2 \cos m\theta & m > 0 \\ \sqrt 2 \sin |m|\theta & m < 0
    \end{cases}

has unit RMS over the unit disc (R. J. Noll, J. Opt. Soc. Am. 66, 207 (1976), eqs. 1 to 3);
m > 0 for even j. The angle runs from +x (columns) towards +y (down the rows).

The radial part is rho^m times a polynomial in rho^2, equal for all samples of one radius, and
rho^m exp(i m theta) = (x + i y)^m needs no trigonometry; so a sum over hundreds of modes costs
one polynomial per azimuthal order on the distinct radii of the grid.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from optics.grids import coordinates
from optics.units import check_count


def noll_to_nm(j: int) -> tuple[int, int]:
    """Radial order n and signed azimuthal order m of Noll index `j` (1 is piston)."""
    check_count("j", j)
    n = (math.isqrt(8 * j - 7) - 1) // 2
    rest = j - n * (n + 1) // 2 - 1
    m = (rest + 1) // 2 * 2 if n % 2 == 0 else rest // 2 * 2 + 1
    return n, (m if j % 2 == 0 else -m)


@lru_cache(maxsize=8)
def _disc(samples: int, extent: float) -> tuple[Tensor, Tensor, Tensor]:
    """Complex position, radius index of every sample and the distinct squared radii."""
    x = coordinates(samples, extent / samples)
    shape = (samples, samples)
    position = torch.complex(x[None, :].expand(shape), x[:, None].expand(shape))
    # twice the sample number is an odd or even integer, so equal radii are equal integers
    whole = torch.arange(samples) * 2 - (samples - 1)
    square = whole[:, None] ** 2 + whole[None, :] ** 2
    distinct, index = torch.unique(square, return_inverse=True)
    radii = distinct.to(torch.float64) * (extent / samples / 2) ** 2
    inside = radii <= 1 + 1e-12
    index = torch.where(inside[index], index, -1)
    return position, index, radii[inside]


def _orders(first: int, count: int) -> dict[int, list[tuple[int, int, int]]]:
    """Group modes by |m|: entries (position in the coefficients, n, m)."""
    groups: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for place in range(count):
        n, m = noll_to_nm(first + place)
        groups[abs(m)].append((place, n, m))
    return groups


def _radial(m: int, degree: int, square: Tensor) -> list[Tensor]:
    """R_n^m / rho^m for n = m, m + 2, ... up to `degree`, by the Jacobi recurrence."""
    x = 2 * square - 1  # R_n^m = rho^m P_k^(0, m)(2 rho^2 - 1), k = (n - m) / 2
    out = [torch.ones_like(x)]
    if degree > m:
        out.append(1 + (m + 2) * (x - 1) / 2)
    for k in range(2, (degree - m) // 2 + 1):
        a = 2 * k * (k + m) * (2 * k + m - 2)
        b = (2 * k + m - 1) * ((2 * k + m) * (2 * k + m - 2) * x - m * m)
        c = 2 * (k - 1) * (k + m - 1) * (2 * k + m)
        out.append((b * out[-1] - c * out[-2]) / a)
    return out


def _each_order(
    first: int, count: int, samples: int, extent: float
) -> Iterator[tuple[Tensor, list[Tensor], list[tuple[int, int, int]], int]]:
    """Yield, per |m|: (x + i y)^m on the grid, the radial rows, the modes and their norms."""
    position, _, square = _disc(samples, extent)
    groups = _orders(first, count)
    power, reached = torch.ones_like(position), 0
    for m in sorted(groups):
        for _ in range(m - reached):
            power = power * position
        reached = m
        rows = _radial(m, max(n for _, n, _ in groups[m]), square)
        yield power, rows, groups[m], m


class _Sum(torch.autograd.Function):
    """Coefficients (J,) -> surface (N, N); linear, so its backward is its adjoint."""

    @staticmethod
    def forward(ctx: Any, coefficients: Tensor, first: int, samples: int, extent: float) -> Tensor:
        ctx.geometry = (first, coefficients.numel(), samples, extent)
        _, index, square = _disc(samples, extent)
        weight = coefficients.detach().to("cpu", torch.float64)
        out = torch.zeros(samples, samples, dtype=torch.float64)
        for power, rows, modes, m in _each_order(first, weight.numel(), samples, extent):
            for sign, part in ((1, power.real), (-1, power.imag)):
                chosen = [(p, n) for p, n, mm in modes if (mm >= 0) == (sign > 0)]
                if not chosen or (m == 0 and sign < 0):
                    continue
                radial = torch.zeros(len(square) + 1, dtype=torch.float64)  # last: outside
                for place, n in chosen:
                    norm = math.sqrt((n + 1) * (2 if m else 1))
                    radial[:-1] += weight[place] * norm * rows[(n - m) // 2]
                out += radial[index] * part
        return out.to(coefficients)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _apply(_Project, grad, *ctx.geometry), None, None, None


class _Project(torch.autograd.Function):
    """Surface (N, N) -> inner products with every mode (J,); the adjoint of `_Sum`."""

    @staticmethod
    def forward(
        ctx: Any, surface: Tensor, first: int, count: int, samples: int, extent: float
    ) -> Tensor:
        ctx.geometry = (first, samples, extent)
        _, index, square = _disc(samples, extent)
        values = surface.detach().to("cpu", torch.float64)
        flat = torch.where(index < 0, len(square), index).flatten()
        out = torch.zeros(count, dtype=torch.float64)
        for power, rows, modes, m in _each_order(first, count, samples, extent):
            for sign, part in ((1, power.real), (-1, power.imag)):
                chosen = [(p, n) for p, n, mm in modes if (mm >= 0) == (sign > 0)]
                if not chosen or (m == 0 and sign < 0):
                    continue
                sums = torch.zeros(len(square) + 1, dtype=torch.float64)
                sums.index_add_(0, flat, (values * part).flatten())
                for place, n in chosen:
                    norm = math.sqrt((n + 1) * (2 if m else 1))
                    out[place] = norm * torch.dot(sums[:-1], rows[(n - m) // 2])
        return out.to(surface)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _apply(_Sum, grad, *ctx.geometry), None, None, None, None


def _apply(function: type[torch.autograd.Function], *arguments: Any) -> Tensor:
    out: Tensor = function.apply(*arguments)  # type: ignore[no-untyped-call]
    return out


def zernike_surface(
    coefficients: Tensor, samples: int, *, first: int = 1, extent: float = 2.0
) -> Tensor:
    r"""Sum of Zernike modes on a square grid, zero outside the unit disc.

    Parameters
    ----------
    coefficients : Tensor
        Real (J,), RMS contribution of Noll modes `first`, `first` + 1, ... in any unit.
    samples : int
        Grid samples along each side.
    first : int, default 1
        Noll index of the first coefficient; 4 leaves out piston and tilts.
    extent : float, default 2.0
        Side of the grid in pupil radii, sample edges included; 2 fits the disc exactly.

    Returns
    -------
    Tensor
        (samples, samples), dtype and device of `coefficients`, in their unit. Differentiable to
        any order.

    References
    ----------
    R. J. Noll, J. Opt. Soc. Am. 66, 207 (1976), eqs. 1 to 3; Jacobi form: M. Born, E. Wolf,
    *Principles of Optics*, sec. 9.2, and DLMF 18.9.2 for the recurrence.
    """
    if coefficients.ndim != 1:
        raise ValueError(f"coefficients are {tuple(coefficients.shape)}, expected (J,)")
    check_count("first", first)
    check_count("samples", samples, 2)
    return _apply(_Sum, coefficients, first, samples, extent)
