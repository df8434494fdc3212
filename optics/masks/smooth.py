"""What smooth surfaces have in common: limits of relief and slope that always hold."""

from abc import abstractmethod

import torch
from torch import Tensor

from optics.masks.base import Mask, cells_across
from optics.units import check_length, check_positive


class SmoothSurface(Mask):
    """Smooth surface that is scaled down as a whole where its process could not make it.

    Parameters
    ----------
    aperture_diameter : float
        Clear diameter to cover [m].
    cell : float
        Sample spacing of the surface [m].
    max_height : float
        Deepest relief of the process [m].
    max_slope : float
        Steepest slope of the process. The limit that is kept, `slope_limit`, is that or what the
        cells sample, 0.7 of a half-wave per cell at the design wavelength (a half-wave at
        0.4 um), whichever is less: beyond it the simulated PSF would hold aliases.
    material : str
        Mask material.
    design_wavelength : float
        Vacuum wavelength for which the mask is drawn [m].
    """

    def __init__(
        self,
        *,
        aperture_diameter: float,
        cell: float,
        max_height: float,
        max_slope: float,
        material: str,
        design_wavelength: float,
    ) -> None:
        super().__init__(
            cells_across(aperture_diameter, cell),
            cell,
            material_name=material,
            design_wavelength=design_wavelength,
        )
        self.max_height = check_length("max_height", max_height)
        self.max_slope = check_positive("max_slope", max_slope)
        self.slope_limit = min(self.max_slope, 0.7 * self.turn_height / (2 * cell))

    @abstractmethod
    def free(self) -> Tensor:
        """Heights or control values before the limits, which are checked on them [m]."""

    @abstractmethod
    def overshoot(self, free: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds of relief and slope over their limits; both at most 1 when it can be made."""

    def shrinkage(self, free: Tensor) -> Tensor:
        """Divisor that brings relief and slope within their limits, 1 or more."""
        return torch.stack(self.overshoot(free)).max().clamp(min=1)

    def excess(self) -> Tensor:
        """Squared relative overstep of the relief and slope limits; 0 within them."""
        return (torch.stack(self.overshoot(self.free())) - 1).clamp(min=0).square().sum()
