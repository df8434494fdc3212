"""What a camera asks of a lens: its power, and the wavefront and transmission it adds.

A lens is an ideal thin one of power 1/f(wavelength), whose quadratic phase the camera applies
itself, times what `opd` and `transmission` add in the plane of the pupil. A field point is the
pair (y, x) of tangents of its chief ray, in the orientation of the image; pupil coordinates have
the same orientation, so that an `opd` that grows towards +x moves the spot to larger columns.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from optics.units import check_length


class Lens(ABC):
    """A lens in the plane of the stop.

    Attributes
    ----------
    focal_length : float
        Focal length at the design wavelength [m].
    changes_with_depth : bool
        Whether `opd` depends on the distance of the object.
    """

    focal_length: float
    changes_with_depth: bool = False

    @abstractmethod
    def power(self, wavelength: Tensor) -> Tensor:
        """Refractive power at each vacuum `wavelength` [m], float64 (W,) [1/m]."""

    def opd(
        self,
        y: Tensor,
        x: Tensor,
        wavelength: Tensor,
        *,
        field: tuple[float, float],
        object_distance: float,
        sensor_distance: float,
    ) -> Tensor | None:
        """Optical path added to that of the ideal paraxial thin lens; positive delays.

        Parameters
        ----------
        y, x : Tensor
            Pupil coordinates (N, 1) and (1, M), float64 [m].
        wavelength : Tensor
            (W,) vacuum wavelengths, float64 [m].
        field : tuple of float
            Tangents (y, x) of the chief ray.
        object_distance, sensor_distance : float
            Distances from the pupil along the axis [m].

        Returns
        -------
        Tensor or None
            Float64 (W, N, M), or (1, N, M) if all wavelengths share it [m]; None is nothing.
        """
        return None

    def transmission(self, y: Tensor, x: Tensor, *, field: tuple[float, float]) -> Tensor | None:
        """Amplitude transmission, float64 (N, M) in [0, 1]; None passes everything.

        Parameters
        ----------
        y, x : Tensor
            Pupil coordinates (N, 1) and (1, M), float64 [m].
        field : tuple of float
            Tangents (y, x) of the chief ray.
        """
        return None

    def image_distance(self, object_distance: float) -> float:
        """Distance behind the lens at which an object is sharp, at the design wavelength [m].

        Raises
        ------
        ValueError
            The object is at or inside the focal length, so that the image is virtual.
        """
        check_length("object_distance", object_distance)
        if object_distance <= self.focal_length:
            raise ValueError(
                f"object_distance = {object_distance:g} m is inside the focal length "
                f"{self.focal_length:g} m: the image is virtual; move the object further away"
            )
        return 1 / (1 / self.focal_length - 1 / object_distance)


class LensWith(nn.Module, Lens):
    """Another lens plus one property; the properties of a lens are stacked like this.

    Wavefronts add and transmissions multiply; power and image distance are those of the lens
    below.

    Parameters
    ----------
    base : Lens
        The lens that gets the property.
    """

    base: Lens

    def __init__(self, base: Lens) -> None:
        super().__init__()
        self.base = base
        self.focal_length = base.focal_length
        self.changes_with_depth = base.changes_with_depth

    def power(self, wavelength: Tensor) -> Tensor:
        return self.base.power(wavelength)

    def image_distance(self, object_distance: float) -> float:
        return self.base.image_distance(object_distance)

    def added_opd(
        self, y: Tensor, x: Tensor, wavelength: Tensor, field: tuple[float, float]
    ) -> Tensor | None:
        """Own part of `opd`, (W or 1, N, M) [m]."""
        return None

    def added_transmission(self, y: Tensor, x: Tensor, field: tuple[float, float]) -> Tensor | None:
        """Own factor of `transmission`, (N, M)."""
        return None

    def opd(
        self,
        y: Tensor,
        x: Tensor,
        wavelength: Tensor,
        *,
        field: tuple[float, float],
        object_distance: float,
        sensor_distance: float,
    ) -> Tensor | None:
        below = self.base.opd(
            y,
            x,
            wavelength,
            field=field,
            object_distance=object_distance,
            sensor_distance=sensor_distance,
        )
        own = self.added_opd(y, x, wavelength, field)
        if below is None or own is None:
            return own if below is None else below
        return below + own

    def transmission(self, y: Tensor, x: Tensor, *, field: tuple[float, float]) -> Tensor | None:
        below = self.base.transmission(y, x, field=field)
        own = self.added_transmission(y, x, field)
        if below is None or own is None:
            return own if below is None else below
        return below * own


def inside_circle(
    y: Tensor, x: Tensor, radius: float, *, centre: tuple[float, float] = (0.0, 0.0)
) -> Tensor:
    """Share of every sample inside a circle, with a rim that falls over one sample.

    The fall is straight along the radius: its area is right to the second order of the sample
    over the radius.

    Parameters
    ----------
    y, x : Tensor
        Sample centres (N, 1) and (1, M), evenly spaced [m].
    radius : float
        Radius of the circle [m].
    centre : tuple of float
        Its centre (y, x) [m].

    Returns
    -------
    Tensor
        (N, M) in [0, 1].
    """
    spacing = float(x[0, 1] - x[0, 0]) if x.shape[1] > 1 else float(y[1, 0] - y[0, 0])
    distance = torch.hypot(y - centre[0], x - centre[1])
    return ((radius - distance) / spacing + 0.5).clamp(0, 1)
