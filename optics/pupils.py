"""From pupils that are more than one relief in one plane to intensities on the sensor."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from optics.grids import coordinates
from optics.masks.base import Mask
from optics.masks.radial import RadialSurface
from optics.propagation import cis_turns, to_sensor
from optics.propagation.free_space import FreeSpace
from optics.propagation.hankel import radial_nodes, radial_spots


@dataclass(frozen=True)
class Place:
    """Where light is wanted.

    Attributes
    ----------
    wavelength : Tensor
        Float64 (W,), vacuum wavelengths [m].
    distance : float
        Lens to sensor [m].
    points : tuple of int
        Points (P, Q), centred.
    pitch : float
        Distance of neighbouring points [m].
    """

    wavelength: Tensor
    distance: float
    points: tuple[int, int]
    pitch: float


def layered_phasor(layers: list[tuple[Tensor, Tensor]], amplitude: Tensor) -> Tensor:
    """Field (W, N, N) behind `amplitude` (N, N) and layers of height [m] and turns per metre."""
    turns = torch.stack(
        [rate.to(height.device)[:, None, None] * height for height, rate in layers]
    ).sum(0)
    return amplitude * cis_turns(turns, dtype=amplitude.dtype)


def mask_field(
    mask: Mask, layers: list[tuple[Tensor, Tensor]], amplitude: Tensor, *, always: bool
) -> Tensor | None:
    """Field (W, N, N) behind `amplitude` and `mask`.

    Where one height says it all, None unless `always`: there are faster ways on from a height.
    """
    mean = mask.mean_field(layers[0][1]) if len(layers) == 1 else None
    if mean is not None:
        return amplitude * mean.to(amplitude.dtype.to_complex())
    return layered_phasor(layers, amplitude) if always or len(layers) > 1 else None


def cross_gap(
    pupil: Tensor,
    *,
    spacing: float,
    wavelength: Tensor,
    gap: float,
    samples: int,
    vergence: float,
) -> Tensor:
    """Field that a mask sends to a lens `gap` behind it.

    Parameters
    ----------
    pupil : Tensor
        Complex (W, N, N) behind the mask, for a plane wave.
    spacing : float
        Sample spacing [m].
    wavelength : Tensor
        Float64 (W,) [m].
    gap : float
        Mask to lens [m].
    samples : int
        Samples wanted across the lens, N or more and of the same parity.
    vergence : float
        Curvature of the wave from the object, 1 over its distance [1/m].

    Returns
    -------
    Tensor
        Complex (W, samples, samples).

    Notes
    -----
    Band-limited angular spectrum (Matsushima and Shimobaba 2009), see
    `optics.propagation.FreeSpace`.
    """
    line = coordinates(pupil.shape[-1], spacing, device=pupil.device)
    radius2 = line[:, None] ** 2 + line**2
    turns = vergence / (2 * wavelength.to(line.device))[:, None, None] * radius2
    field = pupil * cis_turns(turns, dtype=pupil.real.dtype)
    margin = (samples - pupil.shape[-1]) // 2
    field = functional.pad(field, (margin,) * 4)
    space = FreeSpace(
        (samples, samples),
        spacing,
        wavelength,
        gap,
        extent=pupil.shape[-1] * spacing,
        dtype=pupil.dtype,
    )
    out: Tensor = space.to(pupil.device)(field)
    return out


def pupil_intensity(
    pupil: Tensor, lens: Tensor | None, spacing: float, place: Place, curvature: Tensor
) -> Tensor:
    """Intensity (D, W, P, Q) behind a field (W, N, N), the lens's own factor and curvatures."""
    field = to_sensor(
        pupil if lens is None else pupil * lens,
        spacing=spacing,
        wavelength=place.wavelength,
        distance=place.distance,
        points=place.points,
        pitch=place.pitch,
        curvature=curvature,
    )
    return field.real.square() + field.imag.square()


def symmetric_intensity(
    mask: Mask,
    aperture_diameter: float,
    place: Place,
    curvature: Tensor,
    *,
    dtype: torch.dtype,
) -> Tensor:
    """Intensity (D, W, P, Q) of a rotationally symmetric mask on the axis, in one dimension.

    `dtype` is the real precision.
    """
    if not isinstance(mask, RadialSurface):
        raise TypeError(f"{type(mask).__name__} says it is radial but is no RadialSurface")
    outer = math.hypot(*((n - 1) / 2 for n in place.points)) * place.pitch
    shortest, radius = float(place.wavelength.min()), aperture_diameter / 2
    # a node per third of the fastest half-turn: that of the outermost point, and the mask's own
    turns = 2 * radius * outer / (shortest * place.distance)
    turns += float(curvature.abs().max()) * radius**2 / shortest
    count = math.ceil(max(3 * turns, math.pi * radius / mask.cell)) + 16
    count = -(-count // 128) * 128  # in steps, so that the kernels of other distances serve again
    radii, weights = (t.to(mask.coefficients.device) for t in radial_nodes(radius, count))
    return radial_spots(
        mask.radial_phasor(radii, place.wavelength, dtype=dtype),
        radii=radii,
        weights=weights,
        wavelength=place.wavelength,
        distance=place.distance,
        points=place.points,
        pitch=place.pitch,
        curvature=curvature,
    )
