r"""From the exit pupil to chosen sensor points, without a detour over a padded grid.

Conventions: time dependence exp(-i omega t); metres; fields complex (..., H, W), y down the
rows; sample centres at (n - (N - 1) / 2) * spacing in both planes. The lens phase and the
quadratic phase of free space cancel when the sensor is conjugate to the object, so only a
Fourier transform is left (Goodman, *Introduction to Fourier Optics*, eq. 5-22; scalar,
paraxial); what is left of them is a curvature, which separates into the two axes. Constant and
quadratic phases over the sensor do not matter to an intensity and are left out.

`to_sensor` takes any pupil field. `relief_spots` goes from a height map to intensities in one
step, with its gradient worked out by hand: it keeps the fields on the sensor and nothing else.
"""

import torch
from torch import Tensor

from optics.propagation.lines import LineGeometry
from optics.propagation.planes import Transform, send
from optics.propagation.spots import spots


def relief_spots(
    height: Tensor,
    *,
    turns_per_metre: Tensor,
    amplitude: Tensor,
    spacing: float,
    wavelength: Tensor,
    distance: float,
    points: tuple[int, int],
    pitch: float,
    curvature: Tensor | None = None,
    method: str = "auto",
) -> Tensor:
    r"""Intensity on the sensor behind a surface relief, at exactly the points asked for.

    .. math:: I = \left| \frac{\Delta\xi^2}{\lambda z} \sum_\xi a(\xi)\,
              e^{2 \pi i (t h(\xi) + c \xi^2 / 2 \lambda)} \, e^{-2\pi i x \xi / (\lambda z)}
              \right|^2

    Parameters
    ----------
    height : Tensor
        Real (H, N) surface height [m].
    turns_per_metre : Tensor
        Float64 (W,) turns of phase per metre of height, see `optics.Mask.turns_per_metre`.
    amplitude : Tensor
        Real or complex (H, N) or (W, H, N): stop, transmission and any fixed wavefront. Its
        precision is that of the computation.
    spacing : float
        Sample spacing in the pupil [m].
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
    method : {"auto", "chirp", "matrix"}
        As for `to_sensor`; for one distance on a CPU "matrix" means real
        matrices, folded about the axis.

    Returns
    -------
    Tensor
        Real (D, W, P, Q), D = 1 without `curvature`; times ``pitch ** 2`` summed over the whole
        plane it is the pupil energy. Its gradient (to `height` and `amplitude`) can be taken
        once; for higher derivatives use `to_sensor`.

    Notes
    -----
    Scalar, paraxial. Memory of the backward pass: the D W P Q complex fields on the sensor. The
    pupil fields are made again, which costs less than to write and read them.
    """
    if height.ndim != 2 or amplitude.shape[-2:] != height.shape or amplitude.ndim not in (2, 3):
        raise ValueError(
            f"height is {tuple(height.shape)} and amplitude {tuple(amplitude.shape)}, expected "
            f"(H, N) and (H, N) or (W, H, N)"
        )
    transform = _geometry(
        height.shape, spacing, wavelength, distance, points, pitch, curvature, (0.0, 0.0), method
    )
    planes = amplitude if amplitude.ndim == 3 else amplitude[None]
    if len(planes) not in (1, wavelength.numel()) or turns_per_metre.shape != wavelength.shape:
        raise ValueError(
            f"amplitude is {tuple(amplitude.shape)} and turns_per_metre "
            f"{tuple(turns_per_metre.shape)}: one entry per wavelength ({wavelength.numel()}) is "
            f"needed"
        )
    rates = turns_per_metre.detach().to(height.device, torch.float64)
    return spots(height, planes, rates, transform)


def to_sensor(
    pupil: Tensor,
    *,
    spacing: float,
    wavelength: Tensor,
    distance: float,
    points: tuple[int, int],
    pitch: float,
    curvature: Tensor | None = None,
    offset: tuple[float, float] = (0.0, 0.0),
    method: str = "auto",
) -> Tensor:
    r"""Field on a sensor in the far field of the pupil, at exactly the points asked for.

    .. math:: u(x) = \frac{\Delta\xi^2}{\lambda z} \sum_\xi p(\xi)\,
              e^{i \pi c \xi^2 / \lambda} \, e^{-i 2\pi x \xi / (\lambda z)}

    Parameters
    ----------
    pupil : Tensor
        Complex (..., W, H, N), one plane per wavelength.
    spacing : float
        Sample spacing in the pupil [m].
    wavelength : Tensor
        Float64 (W,), vacuum wavelengths [m].
    distance : float
        Pupil to sensor [m].
    points : tuple of int
        Points (P, Q) on the sensor.
    pitch : float
        Distance of neighbouring points [m].
    curvature : Tensor, optional
        Float64 (D, W) residual curvature 1/d + 1/z - 1/f of D object distances [1/m]; costs a
        vector per axis, not a plane.
    offset : tuple of float
        Centre (y, x) of the points on the sensor [m].
    method : {"auto", "chirp", "matrix"}
        Chirp-z transform (Bluestein 1970) or matrix Fourier transform (Soummer et al.,
        Opt. Express 15, 15935 (2007)), equal to rounding; "auto" takes the faster one per axis.

    Returns
    -------
    Tensor
        Complex (..., W, P, Q), or (..., D, W, P, Q) with `curvature`; ``abs() ** 2 * pitch ** 2``
        summed over the whole plane is the pupil energy ``sum(abs(pupil) ** 2) * spacing ** 2``.

    Notes
    -----
    Exact for the sampled pupil. The sampled pupil repeats on the sensor with the period
    wavelength * distance / spacing: whether points beyond half of it mean anything is the
    caller's question (`optics.Camera` refuses them). The gradient is the adjoint transform, not
    a recording; it works under `torch.func` and to any order.
    """
    if pupil.ndim < 3 or pupil.shape[-3] != wavelength.numel():
        raise ValueError(
            f"pupil is {tuple(pupil.shape)}, expected (..., {wavelength.numel()}, H, N): one plane "
            f"per wavelength"
        )
    shape = (pupil.shape[-2], pupil.shape[-1])
    transform = _geometry(
        shape, spacing, wavelength, distance, points, pitch, curvature, offset, method
    )
    field = send(pupil, transform)
    return field if curvature is not None else field.squeeze(-4)


def _geometry(
    shape: tuple[int, int] | torch.Size,
    spacing: float,
    wavelength: Tensor,
    distance: float,
    points: tuple[int, int],
    pitch: float,
    curvature: Tensor | None,
    offset: tuple[float, float],
    method: str,
) -> Transform:
    wave = wavelength.detach().to("cpu", torch.float64)
    rates = tuple((pitch * spacing / distance / wave).tolist())
    if curvature is None:
        bends: tuple[tuple[float, ...], ...] = ((0.0,) * len(wave),)
    else:
        if curvature.ndim != 2 or curvature.shape[1] != len(wave):
            raise ValueError(
                f"curvature is {tuple(curvature.shape)}, expected (D, {len(wave)}): one row per "
                f"distance, one column per wavelength"
            )
        bend = curvature.detach().to("cpu", torch.float64) * spacing**2 / (2 * wave)
        bends = tuple(tuple(row) for row in bend.tolist())
    if method not in ("auto", "chirp", "matrix"):
        raise ValueError(f"method = {method!r}, expected 'auto', 'chirp' or 'matrix'")
    axes = [
        LineGeometry(n, p, rates, bends, o / pitch)
        for n, p, o in zip(shape, points, offset, strict=True)
    ]
    scale = tuple((spacing**2 / (distance * wave)).tolist())
    return Transform(rows=axes[1], columns=axes[0], method=method, scale=scale)
