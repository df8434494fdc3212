"""What every phase mask is: a height map in the aperture plane, made of one material."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from optics.materials import Material, material
from optics.propagation import cis_turns
from optics.units import check_count, check_length


class Mask(nn.Module, ABC):
    r"""Thin transmissive phase mask, held as the surface that will be made.

    A point of height :math:`h` delays light by

    .. math:: \varphi(\lambda) = \frac{2 \pi}{\lambda} \, (n(\lambda) - 1) \, h

    Parameters
    ----------
    samples : int
        Cells along each side of the square map.
    cell : float
        Cell side [m].
    material : str
        Name of the mask material, see `optics.materials`.
    design_wavelength : float
        Vacuum wavelength for which the mask is drawn [m].

    Attributes
    ----------
    pixelated : bool
        True if the surface is flat within each cell, so that its spectrum carries the sinc of
        the cell and orders beyond the first are real; False if samples stand for a smooth
        surface and anything beyond half the sampling frequency would be an alias.
    radial : bool
        True if the surface is rotationally symmetric and has the methods of
        `optics.RadialSurface`, so that its light on the axis is computed in one dimension.
    """

    pixelated: bool = False
    radial: bool = False

    def __init__(
        self, samples: int, cell: float, *, material_name: str, design_wavelength: float
    ) -> None:
        super().__init__()
        self.samples = check_count("samples", samples, 2)
        self.cell = check_length("cell", cell)
        self.material: Material = material(material_name)
        self.design_wavelength = check_length("design_wavelength", design_wavelength)

    @property
    def index_step(self) -> float:
        """Refractive index minus one at the design wavelength."""
        return float(self.material.index(self.design_wavelength)) - 1.0

    @property
    def turn_height(self) -> float:
        """Height that delays the design wavelength by one wavelength [m]."""
        return self.design_wavelength / self.index_step

    @property
    def wrap_height(self) -> float:
        """Height after which the relief starts again, over which levels are spread [m]."""
        return self.turn_height

    @abstractmethod
    def height(self) -> Tensor:
        """Surface height (samples, samples), float64, within the limits of the process [m]."""

    def turns_per_metre(self, wavelength: Tensor) -> Tensor:
        """Return the turns of phase per metre of height at each `wavelength` (W,), float64 (W,)."""
        wave = wavelength.detach().to("cpu", torch.float64)
        return (self.material.index(wave) - 1) / wave

    def layers(self, wavelength: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Pairs of height (samples, samples) [m] and turns per metre (W,), one per material."""
        return [(self.height(), self.turns_per_metre(wavelength))]

    def obliquity(self, wavelength: Tensor, sine: float) -> Tensor:
        r"""Delay under oblique light relative to that along the axis, float64 (W,).

        .. math:: \frac{\sqrt{n^2 - s^2} - \sqrt{1 - s^2}}{n - 1}

        for light whose direction in air has the sine s (thin element; Born and Wolf, sec. 7.6).
        """
        index = self.material.index(wavelength.detach().to("cpu", torch.float64))
        delay = (index**2 - sine**2).sqrt() - math.sqrt(1 - sine**2)
        return delay / (index - 1)

    def mean_field(self, rate: Tensor) -> Tensor | None:
        """Mean field (W, N, N) of the cells at `rate` (W,) turns per metre of height.

        None, as for most masks, where a cell is uniform and its height says it all.
        """
        return None

    def phasor(self, wavelength: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """Complex transmission at each vacuum `wavelength` (W,) [m]: complex (W, N, N).

        The phase is formed and reduced to one turn in float64 and only then rounded to the real
        `dtype`, whose complex twin is returned.
        """
        rate = self.turns_per_metre(wavelength)
        mean = self.mean_field(rate)
        if mean is not None:
            return mean.to(dtype.to_complex())
        height = self.height()
        return cis_turns(rate.to(height.device)[:, None, None] * height, dtype=dtype)

    def anneal(self, share: float) -> None:
        """Hear that a `share` (0 to 1) of the training is done; most masks do not care."""

    def excess(self) -> Tensor:
        """Differentiable amount by which the free parameters overstep the process; 0 if none."""
        return torch.zeros((), dtype=torch.float64)

    def extra_repr(self) -> str:
        """Show the geometry when the module is printed."""
        return f"samples={self.samples}, cell={self.cell:g}, material={self.material.name}"


class FlatMask(Mask):
    """No relief: the bare lens."""

    flat: Tensor

    def __init__(
        self,
        *,
        aperture_diameter: float,
        cell: float,
        material: str = "fused_silica",
        design_wavelength: float = 540e-9,
    ) -> None:
        super().__init__(
            cells_across(aperture_diameter, cell),
            cell,
            material_name=material,
            design_wavelength=design_wavelength,
        )
        self.register_buffer("flat", torch.zeros(self.samples, self.samples, dtype=torch.float64))

    def height(self) -> Tensor:
        """Return zeros (samples, samples) [m]."""
        return self.flat


def cells_across(aperture_diameter: float, cell: float) -> int:
    """Cells along one side of the smallest map that covers the aperture, made even."""
    check_length("aperture_diameter", aperture_diameter)
    check_length("cell", cell)
    return 2 * math.ceil(aperture_diameter / cell / 2 * (1 - 1e-12))  # 50.00000000000001 is 50
