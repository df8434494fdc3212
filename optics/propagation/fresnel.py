r"""Paraxial propagation between parallel planes.

Conventions as in `optics.propagation.free_space`. All three forms replace the square root of the
angular spectrum by its parabola. The phase that is left out, k z s^2 / 8 for light of sine
sqrt(s), is below a tenth of a radian for z < 0.1 wavelength / s^2; where it is not, use
`FreeSpace`, which costs the same.
"""

import math

import torch
from torch import Tensor

from optics.grids import coordinates
from optics.propagation.convolution import convolve
from optics.propagation.focal import to_sensor
from optics.propagation.free_space import Waves, _band, check_planes, wave_list
from optics.propagation.phasor import cis_turns
from optics.propagation.sampling import (
    Decision,
    SamplingError,
    at_most,
    check_spacing_paraxial,
    plan_fresnel,
    plan_impulse,
    plan_propagation,
)


def fresnel(
    field: Tensor,
    *,
    spacing: float,
    wavelength: Waves,
    distance: float,
    padding: float | str = "auto",
    extent: float | tuple[float, float] | None = None,
) -> Tensor:
    """Propagate with whichever of the two Fresnel kernels the grid samples (`plan_fresnel`).

    Parameters
    ----------
    field : Tensor
        Complex (..., H, N) for a single wavelength, (..., W or 1, H, N) for W of them.
    spacing : float
        Sample spacing [m].
    wavelength : float, sequence of float or Tensor
        Vacuum wavelengths [m].
    distance : float
        Along the axis; negative propagates back [m].
    padding, extent
        As for `plan_propagation`.

    Returns
    -------
    Tensor
        Complex, the shape of `field` with W planes, without the carrier exp(ikz).
    """
    shape, waves, _ = _geometry(field, wavelength)
    plan = plan_fresnel(
        shape, spacing, waves, distance, padding=padding, extent=extent, dtype=_complex(field)
    )
    return _carry(field, plan, spacing, wavelength, distance)


def fresnel_transfer(
    field: Tensor,
    *,
    spacing: float,
    wavelength: Waves,
    distance: float,
    padding: float | str = "auto",
    extent: float | tuple[float, float] | None = None,
) -> Tensor:
    r"""Propagate by the Fresnel transfer function, cut to the band that the grid samples.

    .. math:: H = e^{-i \pi \lambda z (f_x^2 + f_y^2)}

    an outer product of two vectors (Goodman, *Introduction to Fourier Optics*, eq. 4-21).
    Parameters and result as for `fresnel`.

    Notes
    -----
    Scalar, paraxial. At its best near the field; far away it needs more and more padding, and
    `fresnel_impulse` and `fresnel_to_points` need less.
    """
    shape, waves, _ = _geometry(field, wavelength)
    check_spacing_paraxial(spacing, max(waves), distance)
    plan = plan_propagation(
        shape, spacing, waves, distance, padding=padding, extent=extent, dtype=_complex(field)
    )
    return _carry(field, plan, spacing, wavelength, distance)


def fresnel_impulse(
    field: Tensor,
    *,
    spacing: float,
    wavelength: Waves,
    distance: float,
    extent: float | tuple[float, float] | None = None,
) -> Tensor:
    r"""Propagate by convolution with the sampled Fresnel impulse response.

    .. math:: h = \frac{1}{i \lambda z} e^{i \pi (x^2 + y^2) / \lambda z}

    (Goodman, eq. 4-16). Parameters and result as for `fresnel`.

    Notes
    -----
    Scalar, paraxial. The right one far away, where its chirp is slow.

    Raises
    ------
    SamplingError
        The chirp turns by more than half a turn between samples somewhere in the window.
    """
    shape, waves, _ = _geometry(field, wavelength)
    check_spacing_paraxial(spacing, max(waves), distance)
    plan = plan_impulse(shape, spacing, waves, distance, extent=extent, dtype=_complex(field))
    return _carry(field, plan, spacing, wavelength, distance)


def fresnel_to_points(
    field: Tensor,
    *,
    spacing: float,
    wavelength: Waves,
    distance: float,
    points: tuple[int, int],
    pitch: float,
    offset: tuple[float, float] = (0.0, 0.0),
    curvature: float = 0.0,
) -> Tensor:
    r"""Propagate to points of any pitch by a single transform (scaled Fresnel).

    .. math:: u(x) = \frac{e^{i \pi x^2 / \lambda z}}{i \lambda z} \sum_\xi u(\xi)\,
              e^{i \pi (1/z + c) \xi^2 / \lambda} \, e^{-2 \pi i x \xi / \lambda z} \Delta\xi^2

    Parameters
    ----------
    field : Tensor
        Complex (..., H, N) for a single wavelength, (..., W or 1, H, N) for W of them.
    spacing : float
        Sample spacing of the field [m].
    wavelength : float, sequence of float or Tensor
        Vacuum wavelengths [m].
    distance : float
        Along the axis, not zero [m].
    points : tuple of int
        Points (P, Q).
    pitch : float
        Distance of neighbouring points [m].
    offset : tuple of float
        Centre (y, x) of the points [m].
    curvature : float
        Curvature c of a spherical wave that multiplies the field: -1/f behind a lens, 1/d from a
        point at distance d; it is better given here than sampled in `field` [1/m].

    Returns
    -------
    Tensor
        Complex (..., P, Q) or (..., W, P, Q), without the carrier exp(ikz).

    Notes
    -----
    Scalar, paraxial; no padding, no wrap-around. The sampled field repeats with the period
    wavelength * distance / spacing.

    Raises
    ------
    SamplingError
        The summand turns by more than half a turn between samples.
    """
    shape, waves, single = _geometry(field, wavelength)
    check_spacing_paraxial(spacing, max(waves), distance)
    if distance == 0:
        raise SamplingError("distance = 0 m: one transform cannot stay where it is; use FreeSpace")
    for n, p, o in zip(shape, points, offset, strict=True):
        half, far = n * spacing / 2, abs(o) + p * pitch / 2
        rate = (abs(1 / distance + curvature) * half + far / abs(distance)) / min(waves)
        if rate * spacing > 0.5:
            raise SamplingError(
                f"spacing = {spacing:g} m: at the rim of the field, seen from points "
                f"{far:.3g} m off the axis, the phase turns {rate * spacing:.3g} times per sample; "
                f"use a spacing of at most {at_most(0.5 / rate)} m, or FreeSpace, which asks "
                f"for less so near to the field"
            )
    planes = check_planes(field, shape, waves, single)
    planes = planes.expand(*planes.shape[:-3], len(waves), *shape)
    wave = torch.tensor(waves, dtype=torch.float64)
    bend = torch.full((1, len(waves)), 1 / distance + curvature, dtype=torch.float64)
    out = to_sensor(
        planes, spacing=spacing, wavelength=wave, distance=distance, points=points, pitch=pitch,
        curvature=bend, offset=offset,
    ).squeeze(-4)  # fmt: skip
    y, x = (coordinates(p, pitch) + o for p, o in zip(points, offset, strict=True))
    column, row = (cis_turns(a[None, :] ** 2 / (2 * wave[:, None] * distance)) for a in (y, x))
    turn = (-1j * column[:, :, None] * row[:, None, :]).to(out)
    return (out * turn).squeeze(-3) if single else out * turn


def _carry(
    field: Tensor, plan: Decision, spacing: float, wavelength: Waves, distance: float
) -> Tensor:
    shape, waves, single = _geometry(field, wavelength)
    planes = check_planes(field, shape, waves, single)
    if plan.method == "identity":
        out = planes.expand(*planes.shape[:-3], len(waves), *shape)
        return out.squeeze(-3) if single else out
    make = _impulse_line if plan.method == "fresnel_impulse" else _transfer_line
    kernel = torch.empty(len(waves), *plan.padded, dtype=planes.dtype, device=planes.device)
    for plane, wave in zip(kernel, waves, strict=True):
        column, row = (
            (make(n, spacing, wave, distance, reach, within) / n).to(planes)
            for n, reach, within in zip(plan.padded, plan.reach, plan.within, strict=True)
        )
        torch.mul(column[:, None], row, out=plane)
    out = convolve(planes, kernel)
    return out.squeeze(-3) if single else out


def _transfer_line(
    samples: int, spacing: float, wave: float, distance: float, reach: float, within: float
) -> Tensor:
    """Transfer function along one axis, complex128 (samples,)."""
    f = torch.fft.fftfreq(samples, spacing, dtype=torch.float64)
    line = cis_turns(-wave * distance / 2 * f**2)
    if math.isinf(reach):
        return line
    return line * _band((wave * distance * f).abs(), reach, within)


def _impulse_line(
    samples: int, spacing: float, wave: float, distance: float, reach: float, within: float
) -> Tensor:
    """Spectrum of the impulse response along one axis, complex128 (samples,)."""
    index = torch.arange(samples, dtype=torch.float64)
    lag = torch.minimum(index, samples - index) * spacing
    line = cis_turns(lag**2 / (2 * wave * distance) - math.copysign(0.125, distance))
    spectrum: Tensor = torch.fft.fft(line * (spacing / math.sqrt(wave * abs(distance))))
    return spectrum


def _geometry(field: Tensor, wavelength: Waves) -> tuple[tuple[int, int], tuple[float, ...], bool]:
    if field.ndim < 2:
        raise ValueError(f"field is {tuple(field.shape)}, expected (..., H, N)")
    return (field.shape[-2], field.shape[-1]), *wave_list(wavelength)


def _complex(field: Tensor) -> torch.dtype:
    return field.dtype if field.dtype.is_complex else field.dtype.to_complex()
