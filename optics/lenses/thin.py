"""Thin lens with dispersion."""

from dataclasses import dataclass

import torch
from torch import Tensor

from optics.lenses.base import Lens
from optics.materials import material
from optics.units import check_length


@dataclass(frozen=True)
class ThinLens(Lens):
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
