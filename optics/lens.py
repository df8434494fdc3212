"""Thin lens with dispersion."""

from dataclasses import dataclass

import torch
from torch import Tensor

from optics.materials import material
from optics.units import check_length


@dataclass(frozen=True)
class ThinLens:
    r"""Ideal thin lens whose power follows the dispersion of its glass.

    .. math:: \frac{1}{f(\lambda)} = \frac{1}{f_0} \, \frac{n(\lambda) - 1}{n(\lambda_0) - 1}

    Attributes
    ----------
    focal_length : float
        Focal length at the design wavelength [m].
    material : str
        Glass of a singlet, or "achromat" for a corrected objective (no dispersion).
    design_wavelength : float
        Vacuum wavelength at which `focal_length` holds [m].
    """

    focal_length: float
    material: str = "achromat"
    design_wavelength: float = 540e-9

    def __post_init__(self) -> None:
        check_length("focal_length", self.focal_length)
        check_length("design_wavelength", self.design_wavelength)
        if self.material != "achromat":
            material(self.material)

    def power(self, wavelength: Tensor) -> Tensor:
        """Refractive power at each vacuum `wavelength` [m], float64 [1/m]."""
        wave = wavelength.to(torch.float64)
        if self.material == "achromat":
            return torch.full_like(wave, 1 / self.focal_length)
        glass = material(self.material)
        step = float(glass.index(self.design_wavelength)) - 1
        return (glass.index(wave) - 1) / (step * self.focal_length)

    #: Whether `opd` depends on the distance of the object.
    changes_with_depth = False

    def opd(self, y: Tensor, x: Tensor, wavelength: Tensor, **where: object) -> None:
        """Return nothing: an ideal lens adds no wavefront."""

    def transmission(self, y: Tensor, x: Tensor, **where: object) -> None:
        """Return nothing: an ideal lens passes everything."""

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
