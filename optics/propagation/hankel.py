r"""Pupil to sensor for rotationally symmetric pupils: one dimension instead of two.

For a pupil :math:`p(r)` of radius :math:`a` the two-dimensional Fourier transform is a Hankel
transform (Goodman, *Introduction to Fourier Optics*, sec. 2.1.5), so with the conventions of
`optics.propagation.to_sensor`

.. math:: u(\rho) = \frac{2 \pi}{\lambda z} \int_0^a p(r) \, e^{i \pi c r^2 / \lambda}
          J_0\!\left( \frac{2 \pi r \rho}{\lambda z} \right) r \, dr .

The integral is a Gauss-Legendre sum, the intensity is taken on a radial table finer than its own
band limit and carried to the points of the sensor by cubic interpolation.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from scipy.special import j0, roots_legendre
from torch import Tensor

from optics.propagation.phasor import cis_turns
from optics.units import check_count, check_positive


def radial_nodes(radius: float, count: int) -> tuple[Tensor, Tensor]:
    r"""Quadrature over a disc: :math:`\int_0^a f(r) \, 2 \pi r \, dr \approx \sum_k w_k f(r_k)`.

    Parameters
    ----------
    radius : float
        Radius a of the disc [m].
    count : int
        Nodes; exact for polynomials in r up to degree 2 `count` - 2.

    Returns
    -------
    radii : Tensor
        Float64 (count,), rising, all inside the disc [m].
    weights : Tensor
        Float64 (count,); they sum to the area of the disc [m^2].
    """
    check_positive("radius", radius, "m")
    node, weight = _legendre(check_count("count", count))
    radii = (node + 1) * (radius / 2)
    return radii, weight * (math.pi * radius) * radii


def radial_spots(
    transmission: Tensor,
    *,
    radii: Tensor,
    weights: Tensor,
    wavelength: Tensor,
    distance: float,
    points: tuple[int, int],
    pitch: float,
    curvature: Tensor | None = None,
    fineness: float = 12.0,
) -> Tensor:
    r"""Intensity on the sensor behind a rotationally symmetric pupil, centred on its axis.

    Parameters
    ----------
    transmission : Tensor
        Complex (W, R), pupil field on the nodes: mask, lens and stop.
    radii, weights : Tensor
        Float64 (R,), quadrature nodes [m] and weights [m^2] of `radial_nodes`.
    wavelength : Tensor
        Float64 (W,), vacuum wavelengths [m].
    distance : float
        Pupil to sensor [m].
    points : tuple of int
        Points (P, Q) on the sensor, centred on the axis.
    pitch : float
        Distance of neighbouring points [m].
    curvature : Tensor, optional
        Float64 (D, W) residual curvature 1/d + 1/z - 1/f of D object distances [1/m].
    fineness : float, default 12.0
        Entries of the radial table per shortest half-period of the intensity; the interpolation
        error falls with its fourth power.

    Returns
    -------
    Tensor
        Real (D, W, P, Q), D = 1 without `curvature`; times ``pitch ** 2`` summed over the whole
        plane it is the pupil energy, as of `relief_spots`.

    Notes
    -----
    Scalar, paraxial, on the axis: light from a field point does not see a symmetric pupil once
    the mask stands obliquely, though to first order it does. The Bessel kernels are kept between
    calls. Plain differentiable operations, so it works to any order and under `torch.func`.

    Raises
    ------
    ValueError
        The nodes do not sample the transform at the outermost point.
    """
    waves = wavelength.numel()
    if transmission.ndim != 2 or transmission.shape != (waves, len(radii)):
        raise ValueError(
            f"transmission is {tuple(transmission.shape)}, expected ({waves}, {len(radii)}): one "
            f"row per wavelength, one column per node"
        )
    wave = wavelength.detach().to("cpu", torch.float64)
    bend = _bend(curvature, wave)
    outer = math.hypot(*((n - 1) / 2 for n in points)) * pitch
    rim = float(radii.max())
    _check_nodes(rim, len(radii), float(wave.min()), distance, outer, float(bend.abs().max()))
    # the intensity holds frequencies up to 2 a / (lambda z)
    step = float(wave.min()) * distance / (4 * rim * check_positive("fineness", fineness))
    table = max(math.ceil(outer / step) + 3, 4)
    real = transmission.dtype.to_real()
    kernel = _bessel(
        tuple(radii.tolist()), tuple(wave.tolist()), distance, step, table, real,
        transmission.device,
    )  # fmt: skip
    turns = bend[:, :, None] * (radii.to("cpu", torch.float64) ** 2 / 2)  # (D, W, R)
    lens = cis_turns(turns) * weights.to("cpu", torch.float64)
    field = transmission * lens.to(transmission)
    # a real matrix times real and imaginary parts side by side: (W, T, R) @ (W, R, 2 D)
    columns = torch.view_as_real(field).permute(1, 2, 0, 3).flatten(2)
    spectrum = (kernel @ columns).reshape(waves, table, len(bend), 2)
    radial = spectrum.square().sum(-1).permute(2, 0, 1)  # (D, W, T)
    return radial_to_points(radial, step=step, points=points, pitch=pitch)


def radial_to_points(
    radial: Tensor, *, step: float, points: tuple[int, int], pitch: float
) -> Tensor:
    """Carry functions of the radius to a grid by cubic (four-point Lagrange) interpolation.

    Parameters
    ----------
    radial : Tensor
        Real (..., T), values at radii 0, `step`, 2 `step`, ...; even in the radius.
    step : float
        Distance of the table's entries [m].
    points : tuple of int
        Points (P, Q), centred on the axis.
    pitch : float
        Distance of neighbouring points [m].

    Returns
    -------
    Tensor
        Real (..., P, Q).
    """
    index, weights, place = _interpolation(points, pitch / step, radial.device)
    if int(index.max()) >= radial.shape[-1]:
        raise ValueError(
            f"radial has {radial.shape[-1]} entries, {int(index.max()) + 1} of step {step:g} m are "
            f"needed to reach the corner of {points[0]} x {points[1]} points of {pitch:g} m"
        )
    near = radial[..., index]  # (..., distinct, 4)
    distinct = (near * weights.to(near.dtype)).sum(-1)
    return distinct[..., place]


@lru_cache(maxsize=16)
def _legendre(count: int) -> tuple[Tensor, Tensor]:
    """Gauss-Legendre nodes and weights on -1 to 1."""
    node, weight = roots_legendre(count)  # numpy's takes a hundred times as long
    return torch.from_numpy(node), torch.from_numpy(weight)


@lru_cache(maxsize=16)
def _interpolation(
    points: tuple[int, int], scale: float, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Entries (K, 4) and weights (K, 4) of the K distinct radii, and which one a point has."""
    square = sum(  # twice the point number is whole, so equal radii are equal integers
        (torch.arange(n) * 2 - (n - 1)).reshape(shape) ** 2
        for n, shape in zip(points, ((-1, 1), (1, -1)), strict=True)
    )
    distinct, place = torch.unique(torch.as_tensor(square), return_inverse=True)
    position = distinct.to(torch.float64).sqrt() / 2 * scale
    first = position.floor()
    u = position - first
    weights = torch.stack(
        [
            -u * (u - 1) * (u - 2) / 6,
            (u + 1) * (u - 1) * (u - 2) / 2,
            -(u + 1) * u * (u - 2) / 2,
            (u + 1) * u * (u - 1) / 6,
        ],
        dim=-1,
    )
    index = (first.long()[:, None] + torch.arange(-1, 3)).abs()  # even about the axis
    return index.to(device), weights.to(device), place.to(device)


@lru_cache(maxsize=8)
def _bessel(
    radii: tuple[float, ...],
    waves: tuple[float, ...],
    distance: float,
    step: float,
    table: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """J0(2 pi r rho / (lambda z)) / (lambda z), real (W, T, R)."""
    reach = np.multiply.outer(np.arange(table) * step, np.array(radii))
    rows = [
        torch.from_numpy(j0(reach * (2 * math.pi / (w * distance))) / (w * distance)).to(dtype)
        for w in waves
    ]
    return torch.stack(rows).to(device)


def _bend(curvature: Tensor | None, wave: Tensor) -> Tensor:
    """Curvature over wavelength (D, W), zero without one [1/m^2]."""
    if curvature is None:
        return wave.new_zeros(1, len(wave))
    if curvature.ndim != 2 or curvature.shape[1] != len(wave):
        raise ValueError(
            f"curvature is {tuple(curvature.shape)}, expected (D, {len(wave)}): one row per "
            f"distance, one column per wavelength"
        )
    return curvature.detach().to("cpu", torch.float64) / wave


def _check_nodes(
    rim: float, count: int, wave: float, distance: float, outer: float, bend: float
) -> None:
    """Refuse nodes that lie farther apart than half a period of the integrand."""
    rate = outer / (wave * distance) + bend * rim  # periods per metre at the rim
    gap = math.pi * rim / (2 * count)  # widest gap of Gauss-Legendre nodes
    if rate * gap > 0.5:
        raise ValueError(
            f"radii: {count} nodes over {rim:g} m lie up to {gap:.3g} m apart, but at "
            f"{outer:.3g} m from the axis the phase turns once per {1 / rate:.3g} m; use at least "
            f"{math.ceil(math.pi * rim * rate)} nodes, or a smaller window"
        )
