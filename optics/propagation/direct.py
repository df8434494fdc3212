r"""The first Rayleigh-Sommerfeld integral, summed as it stands: the reference of the other methods.

Conventions as in `optics.propagation.free_space`.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from optics.grids import coordinates
from optics.propagation.phasor import cis_turns
from optics.propagation.sampling import SamplingError, at_most
from optics.units import check_length

#: Memory for the kernel of the points in work [bytes].
AT_ONCE = 64 * 2**20


def rayleigh_sommerfeld(
    field: Tensor, points: Tensor, *, spacing: float, wavelength: float
) -> Tensor:
    r"""Field at arbitrary points behind a plane, by direct summation.

    .. math:: u(P) = \frac{1}{2 \pi} \sum u_0 \, \frac{z}{r} \left( \frac{1}{r} - i k \right)
              \frac{e^{i k (r - z)}}{r} \, \Delta^2

    Parameters
    ----------
    field : Tensor
        Complex (..., H, N) in the plane z = 0, centred on the axis.
    points : Tensor
        Float64 (..., 3), positions (y, x, z) with z > 0 [m]. Constant: they get no gradient.
    spacing : float
        Sample spacing of the field [m].
    wavelength : float
        Wavelength in the medium [m].

    Returns
    -------
    Tensor
        Complex, shape ``field.shape[:-2] + points.shape[:-1]``, without the carrier exp(ikz) of
        each point.

    Notes
    -----
    Scalar; first kind (the field is given, not its slope), no other approximation than the sum
    (midpoint rule). H N operations with a sine and a square root for every point: for tests and
    for a few points. Goodman, *Introduction to Fourier Optics*, eq. 3-40.

    Raises
    ------
    SamplingError
        Between neighbouring samples the distance to a point changes by more than half a
        wavelength.
    """
    check_length("spacing", spacing)
    check_length("wavelength", wavelength)
    if points.shape[-1] != 3:
        raise ValueError(f"points is {tuple(points.shape)}, expected (..., 3): y, x, z")
    where = points.detach().reshape(-1, 3).to(field.device, torch.float64)
    if not bool((where[:, 2] > 0).all()):
        raise ValueError(
            f"points: smallest z = {float(where[:, 2].min()):g} m, only points behind the plane "
            f"(z > 0) can be computed; to go back use FreeSpace with a negative distance"
        )
    shape = (field.shape[-2], field.shape[-1])
    for axis, name in ((0, "y"), (1, "x")):
        across = where[:, axis].abs() + shape[axis] * spacing / 2
        sine = float((across / (across**2 + where[:, 2] ** 2).sqrt()).max())
        if sine * spacing > wavelength / 2 * (1 + 1e-9):
            raise SamplingError(
                f"spacing = {spacing:g} m: towards a point the path changes by "
                f"{sine * spacing / wavelength:.2g} wavelengths per sample along {name}, at most "
                f"0.5 can be summed; use a spacing of at most "
                f"{at_most(wavelength / (2 * sine))} m, or points farther behind the plane"
            )
    planes = field.reshape(-1, shape[0] * shape[1])
    out = _apply(planes, where, shape, spacing, wavelength, False)
    return out.reshape((*field.shape[:-2], *points.shape[:-1]))


class _Sum(torch.autograd.Function):
    """(B, H N) -> (B, points), or its adjoint; the kernel is made again, never kept."""

    @staticmethod
    def forward(
        given: Tensor, where: Tensor, shape: tuple[int, int], spacing: float, wavelength: float,
        adjoint: bool,
    ) -> Tensor:  # fmt: skip
        width = shape[0] * shape[1] if adjoint else len(where)
        out = given.new_zeros(len(given), width)
        for some, kernel in _kernels(where, shape, spacing, wavelength, given.dtype):
            if adjoint:
                out += given[:, some] @ kernel.conj()
            else:
                out[:, some] = given @ kernel.mT
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, where, *ctx.rest = inputs
        ctx.save_for_backward(where)
        ctx.save_for_forward(where)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        shape, spacing, wavelength, adjoint = ctx.rest
        back = _apply(grads[0], ctx.saved_tensors[0], shape, spacing, wavelength, not adjoint)
        return back, None, None, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return _apply(tangents[0], ctx.saved_tensors[0], *ctx.rest)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], given: Tensor, *rest: Any) -> Any:
        given = given.movedim(in_dims[0], 0)
        out = _apply(given.flatten(0, 1), *rest)
        return out.reshape(*given.shape[:2], -1), 0


def _apply(
    given: Tensor, where: Tensor, shape: tuple[int, int], spacing: float, wavelength: float,
    adjoint: bool,
) -> Tensor:  # fmt: skip
    out: Tensor = _Sum.apply(  # type: ignore[no-untyped-call]
        given, where, shape, spacing, wavelength, adjoint
    )
    return out


def _kernels(
    where: Tensor, shape: tuple[int, int], spacing: float, wavelength: float, dtype: torch.dtype
) -> Iterator[tuple[slice, Tensor]]:
    """Kernels (points, H N) of as many points at a time as the memory allows."""
    k = 2 * math.pi / wavelength
    y, x = (coordinates(n, spacing, device=where.device) for n in shape)
    step = max(1, AT_ONCE // (shape[0] * shape[1] * 16))
    for start in range(0, len(where), step):
        some = slice(start, start + step)
        py, px, z = (where[some, i, None, None] for i in range(3))
        rho2 = (py - y[:, None]) ** 2 + (px - x) ** 2
        r = (rho2 + z**2).sqrt()
        turns = rho2 / (r + z) / wavelength  # (r - z) / wavelength without the difference
        size = z / r**2 * (spacing**2 / (2 * math.pi))
        kernel = cis_turns(turns) * torch.complex(size / r, -k * size)
        yield some, kernel.flatten(1).to(dtype)
