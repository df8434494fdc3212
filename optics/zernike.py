r"""Zernike surfaces in Noll order, summed without ever storing the basis.

.. math::
    Z_j = \sqrt{n + 1} \, R_n^{|m|}(\rho) \cdot
    \begin{cases} 1 & m = 0 \\ \sqrt 2 \cos m\theta & m > 0 \\ \sqrt 2 \sin |m|\theta & m < 0
    \end{cases}

has unit RMS over the unit disc (R. J. Noll, J. Opt. Soc. Am. 66, 207 (1976), eqs. 1 to 3);
m > 0 for even j. The angle runs from +x (columns) towards +y (down the rows). Coefficients in
ANSI or Fringe order become Noll's by `to_noll`.

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


def nm_to_noll(n: int, m: int) -> int:
    """Noll index of radial order `n` and signed azimuthal order `m`."""
    check_count("n", n, 0)
    if abs(m) > n or (n - m) % 2:
        raise ValueError(f"m = {m}: with n = {n}, m runs from {-n} to {n} in steps of 2")
    row = range(n * (n + 1) // 2 + 1, (n + 1) * (n + 2) // 2 + 1)
    return next(j for j in row if noll_to_nm(j) == (n, m))


def ansi_to_nm(j: int) -> tuple[int, int]:
    """Radial and azimuthal order of ANSI (OSA) index `j`, which starts at 0 (ANSI Z80.28)."""
    check_count("j", j, 0)
    n = (math.isqrt(8 * j + 1) - 1) // 2
    return n, 2 * j - n * (n + 2)


def fringe_to_nm(j: int) -> tuple[int, int]:
    """Radial and azimuthal order of Fringe (University of Arizona) index `j`, 1 to 37.

    The 37th polynomial of this set is the spherical one of order 12, out of the series.
    """
    check_count("j", j)
    if j > 37:
        raise ValueError(f"j = {j}: the Fringe set has 37 polynomials")
    if j == 37:
        return 12, 0
    half = math.isqrt(j - 1)  # (n + |m|) / 2
    place = j - half**2 - 1
    m = half - place // 2
    return 2 * half - m, (m if place % 2 == 0 else -m)


def to_noll(coefficients: Tensor, order: str) -> Tensor:
    """Noll coefficients of a surface given in another set.

    Parameters
    ----------
    coefficients : Tensor
        Real (..., J), in any unit: RMS contributions for "noll" and "ansi", values at the rim
        (every radial polynomial is 1 there) for "fringe".
    order : {"noll", "ansi", "fringe"}
        Set they belong to; the first is always piston.

    Returns
    -------
    Tensor
        (..., K) RMS contributions of Noll modes 1 to K, in the same unit.

    References
    ----------
    Fringe: J. C. Wyant, K. Creath, *Applied Optics and Optical Engineering* XI, ch. 1 (1992);
    ANSI: L. N. Thibos et al., J. Refract. Surg. 18, S652 (2002).
    """
    count = coefficients.shape[-1]
    if order == "noll":
        return coefficients
    if order == "ansi":
        pairs = [ansi_to_nm(j) for j in range(count)]
    elif order == "fringe":
        pairs = [fringe_to_nm(j + 1) for j in range(count)]
    else:
        raise ValueError(f"order = {order!r}: use 'noll', 'ansi' or 'fringe'")
    places = [nm_to_noll(n, m) - 1 for n, m in pairs]
    scale = [_norm(n, m) if order == "fringe" else 1.0 for n, m in pairs]
    out = coefficients.new_zeros((*coefficients.shape[:-1], max(places, default=-1) + 1))
    index = torch.tensor(places, dtype=torch.long, device=out.device)
    return out.index_add(-1, index, coefficients / coefficients.new_tensor(scale))


def _norm(n: int, m: int) -> float:
    """Ratio of a mode of unit RMS to the one whose radial polynomial is 1 at the rim."""
    return math.sqrt((n + 1) * (2 if m else 1))


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
                    norm = _norm(n, m)
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
                    norm = _norm(n, m)
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


def zernike_at(coefficients: Tensor, y: Tensor, x: Tensor) -> Tensor:
    r"""Sum of Zernike modes at any points, also slightly outside the unit disc.

    Unlike `zernike_surface` it goes on as a polynomial beyond the rim, where samples that the
    rim cuts have their centres, and works under `torch.func`. On a grid, y a column and x a row,
    the polynomial is evaluated at as many Chebyshev nodes as its degree needs and interpolated
    along both axes, which is exact and costs two thin matrix products.

    Parameters
    ----------
    coefficients : Tensor
        Real (..., J), RMS contributions of Noll modes 1 to J in any unit.
    y, x : Tensor
        Positions in pupil radii, of shapes that broadcast to (P, Q).

    Returns
    -------
    Tensor
        (..., P, Q), in the unit of `coefficients`.
    """
    coefficients = coefficients.to(torch.promote_types(coefficients.dtype, y.dtype))
    degree = noll_to_nm(max(1, coefficients.shape[-1]))[0]
    on_a_grid = y.ndim == x.ndim == 2 and y.shape[1] == x.shape[0] == 1
    if not on_a_grid or min(y.numel(), x.numel()) <= 2 * (degree + 1):
        return _sum_at(coefficients, y, x)
    down, nodes_y = _chebyshev(y[:, 0], degree)
    across, nodes_x = _chebyshev(x[0], degree)
    few = _sum_at(coefficients, nodes_y[:, None], nodes_x[None, :])
    return down.to(few) @ few @ across.to(few).mT


def _chebyshev(points: Tensor, degree: int) -> tuple[Tensor, Tensor]:
    """Matrix that interpolates polynomials to `points` (P,), (P, K), and their K nodes."""
    count = degree + 1
    low, high = points.detach().min(), points.detach().max()
    angle = (torch.arange(count, dtype=points.dtype, device=points.device) + 0.5) * math.pi / count
    middle, half = (low + high) / 2, (high - low) / 2
    at = (points - middle) / half
    rows = [torch.ones_like(at), at]
    for _ in range(2, count):
        rows.append(2 * at * rows[-1] - rows[-2])
    order = torch.arange(count, dtype=points.dtype, device=points.device)
    transform = torch.cos(order[:, None] * angle) * (2 / count)  # Chebyshev series from the nodes
    transform[0] /= 2
    return torch.stack(rows[:count], dim=1) @ transform, middle + half * angle.cos()


def _sum_at(coefficients: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Sum of modes at points (P, Q), mode by mode."""
    square = y.square() + x.square()
    position = torch.complex(x.expand_as(square), y.expand_as(square))
    power, reached = torch.ones_like(position), 0
    out = coefficients.new_zeros((*coefficients.shape[:-1], *square.shape))
    groups = _orders(1, coefficients.shape[-1])
    for m in sorted(groups):
        for _ in range(m - reached):
            power = power * position
        reached = m
        rows = _radial(m, max(n for _, n, _ in groups[m]), square)
        for part, wanted in ((power.real, m), (power.imag, -m))[: 2 if m else 1]:
            chosen = [(place, n) for place, n, signed in groups[m] if signed == wanted]
            if chosen:
                basis = torch.stack([_norm(n, m) * rows[(n - m) // 2] for _, n in chosen])
                weights = coefficients[..., [place for place, _ in chosen]]
                out = out + torch.tensordot(weights, basis, dims=1) * part
    return out


def rotate_zernike(coefficients: Tensor, angle: float) -> Tensor:
    r"""Noll coefficients of the same surface turned by `angle` from +x towards +y [rad].

    .. math:: \cos m(\theta - \alpha) = \cos m\alpha \cos m\theta + \sin m\alpha \sin m\theta

    Parameters
    ----------
    coefficients : Tensor
        Real (..., J) of Noll modes 1 to J.
    angle : float
        Turn [rad].

    Returns
    -------
    Tensor
        (..., J), or (..., J + 1) where the last mode had no partner.
    """
    orders = [noll_to_nm(j + 1) for j in range(coefficients.shape[-1] + 1)]
    last = len(orders) - 1
    if last and orders[last - 1][1] and orders[last] == (orders[last - 1][0], -orders[last - 1][1]):
        coefficients = torch.cat([coefficients, torch.zeros_like(coefficients[..., :1])], dim=-1)
    else:
        orders = orders[:last]
    partner = [nm_to_noll(n, -m) - 1 for n, m in orders]
    cosine = coefficients.new_tensor([math.cos(m * angle) for _, m in orders])
    sine = coefficients.new_tensor([-math.sin(m * angle) for _, m in orders])
    return coefficients * cosine + coefficients[..., partner] * sine
