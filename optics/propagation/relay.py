r"""Small systems made of free space and ideal lenses: 4f relay, lensless camera.

Conventions as in `optics.propagation.free_space`. A deformable mirror in a 4f relay is its field
through `Relay.image` and on into a camera; a mask some way before the lens is `optics.Camera`
with a gap.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from optics.grids import disc_coverage
from optics.propagation.convolution import convolve
from optics.propagation.free_space import (
    Waves,
    check_planes,
    propagate_to_points,
    wave_list,
)
from optics.propagation.sampling import SamplingError, at_least
from optics.units import check_length


@dataclass(frozen=True)
class Relay:
    """Two ideal lenses a focal length from their planes: object, Fourier plane with stop, image.

    Attributes
    ----------
    first_focal_length, second_focal_length : float
        Focal lengths in the order of the light [m].
    stop_diameter : float, optional
        Clear diameter in the Fourier plane; without it all light passes [m].

    Notes
    -----
    Scalar, paraxial, lenses without aberration or rims (Goodman, *Introduction to Fourier Optics*,
    sec. 8.2). The image is upside down: that is done by `image`, which turns the field over.
    """

    first_focal_length: float
    second_focal_length: float
    stop_diameter: float | None = None

    def __post_init__(self) -> None:
        for value in (self.first_focal_length, self.second_focal_length):
            check_length("focal_length", value)
        if self.stop_diameter is not None:
            check_length("aperture_diameter", self.stop_diameter)

    @property
    def magnification(self) -> float:
        """Image over object size, negative because the image is upside down."""
        return -self.second_focal_length / self.first_focal_length

    def image_spacing(self, spacing: float) -> float:
        """Sample spacing of the image of a field sampled `spacing` apart [m]."""
        return abs(self.magnification) * spacing

    def cutoff(self, wavelength: float) -> float:
        """Highest object frequency that passes the stop [1/m]."""
        if self.stop_diameter is None:
            return float("inf")
        return self.stop_diameter / (2 * wavelength * self.first_focal_length)

    def image(self, field: Tensor, *, spacing: float, wavelength: Waves) -> Tensor:
        """Field in the image plane, sampled `image_spacing` apart.

        Parameters
        ----------
        field : Tensor
            Complex (..., H, N) for a single wavelength, (..., W or 1, H, N) for W of them.
        spacing : float
            Sample spacing of the field [m].
        wavelength : float, sequence of float or Tensor
            Vacuum wavelengths [m].

        Returns
        -------
        Tensor
            Complex, the shape of `field` with W planes; carries the energy that passes the stop.

        Raises
        ------
        SamplingError
            The stop is so small that it spreads a point over more than the padded grid.
        """
        check_length("spacing", spacing)
        shape = (field.shape[-2], field.shape[-1])
        waves, single = wave_list(wavelength)
        planes = check_planes(field, shape, waves, single)
        if self.stop_diameter is not None:
            # twice the grid: light that the stop spreads over the edge must not come in again
            side = 2 * max(shape)
            kernel = torch.stack([self._stop(side, spacing, w) for w in waves])
            planes = convolve(planes, kernel.to(planes))
        else:
            planes = planes.expand(*planes.shape[:-3], len(waves), *shape)
        out = planes.flip(-2, -1) / abs(self.magnification)
        return out.squeeze(-3) if single else out

    def _stop(self, side: int, spacing: float, wavelength: float) -> Tensor:
        """Share of every frequency that the stop passes, over the samples, in `torch.fft` order."""
        step = wavelength * self.first_focal_length / (side * spacing)
        diameter = self.stop_diameter or float("inf")
        if diameter < 2 * step:
            raise SamplingError(
                f"stop_diameter = {diameter:g} m spreads a point over "
                f"{2 * wavelength * self.first_focal_length / diameter:.3g} m, the padded field "
                f"has {side * spacing:.3g} m; use a stop of at least {at_least(2 * step)} m or a "
                f"larger field"
            )
        # an odd grid has zero frequency in its middle; an even one is that less one edge
        cover = disc_coverage((side + 1, side + 1), step, diameter)[:side, :side]
        spectrum: Tensor = torch.fft.ifftshift(cover) / side**2
        return spectrum


def lensless_psf(
    transmission: Tensor,
    *,
    spacing: float,
    wavelength: Waves,
    distance: float,
    source_distance: float,
    points: tuple[int, int],
    pitch: float,
    offset: tuple[float, float] = (0.0, 0.0),
) -> Tensor:
    r"""Intensity on a sensor behind a mask without a lens, for a point source on the axis.

    The diverging wave magnifies the pattern of a plane wave at the reduced distance,

    .. math:: I_{d, z}(x) = M^{-2} \, I_{\infty, z / M}(x / M), \quad M = 1 + z / d

    so the spherical wave is never sampled (paraxial; it follows from the Fresnel integral by
    completing the square).

    Parameters
    ----------
    transmission : Tensor
        Complex (..., H, N) for a single wavelength, (..., W or 1, H, N) for W of them; modulus at
        most one; mask and stop.
    spacing : float
        Sample spacing of the mask [m].
    wavelength : float, sequence of float or Tensor
        Vacuum wavelengths [m].
    distance : float
        Mask to sensor [m].
    source_distance : float
        Point source to mask; infinite for a plane wave [m].
    points : tuple of int
        Points (P, Q) on the sensor.
    pitch : float
        Distance of neighbouring points [m].
    offset : tuple of float
        Centre (y, x) of the points [m].

    Returns
    -------
    Tensor
        Real, sums over the whole plane to the share of the light falling on the H x N samples
        that the mask transmits.

    Notes
    -----
    Scalar; the source is paraxial, mask to sensor is not. Intensity at the points, not averaged
    over pixels.
    """
    check_length("distance", distance)
    if source_distance != float("inf"):
        check_length("object_distance", source_distance)
    magnification = 1 + distance / source_distance
    field = propagate_to_points(
        transmission, spacing=spacing, wavelength=wavelength, distance=distance / magnification,
        points=points, pitch=pitch / magnification,
        offset=(offset[0] / magnification, offset[1] / magnification),
    )  # fmt: skip
    intensity = field.real.square() + field.imag.square()
    incident = transmission.shape[-2] * transmission.shape[-1] * spacing**2
    return intensity * ((pitch / magnification) ** 2 / incident)
