"""A mask as it came out of a process: in a camera it stands in the place of the design."""

import torch
from torch import Tensor

from optics.fabrication.surface import carries_gradient
from optics.fabrication.tolerances import Errors, Fabrication, Thermal, thermal_of
from optics.masks.base import Mask
from optics.units import check_count


class Fabricated(Mask):
    r"""A designed mask with the errors of its making.

    `height` is the design's after `Fabrication.apply`, times the share of the temperature,

    .. math:: (1 + \alpha T) \left( 1 + \frac{T}{n_0 - 1} \frac{dn}{dT} \right)

    so gradients reach the design's parameters and the errors alike. Set `errors`, or `redraw`
    them for each step of a tolerance-aware training.

    Parameters
    ----------
    mask : Mask
        The design.
    fabrication : Fabrication
        The process.
    errors : Errors, optional
        This mask's errors; the process without scatter if left out.
    oversample : int
        Samples per cell and axis of a mask of flat cells. Blur, overlay and minimum feature are
        resolved to the cell over this number; memory and time grow with its square.
    thermal : Thermal, optional
        Answer of the material to temperature, where `THERMAL` does not know it.

    Notes
    -----
    The temperature's share is that at the design wavelength: over the visible n - 1 changes by
    some 2 %, of an effect of 2e-5 per kelvin. That the cells grow too is left out.
    """

    def __init__(
        self,
        mask: Mask,
        *,
        fabrication: Fabrication,
        errors: Errors | None = None,
        oversample: int = 1,
        thermal: Thermal | None = None,
    ) -> None:
        check_count("oversample", oversample)
        if oversample > 1 and not mask.pixelated:
            raise ValueError(
                f"oversample = {oversample}: only flat cells can be divided; give a smooth surface "
                f"a smaller cell instead"
            )
        super().__init__(
            mask.samples * oversample,
            mask.cell / oversample,
            material_name="fused_silica",  # replaced: a mirror is not in the list of materials
            design_wavelength=mask.design_wavelength,
        )
        self.material = mask.material
        self.mask, self.fabrication = mask, fabrication
        self.oversample, self.thermal = oversample, thermal
        self.pixelated = mask.pixelated
        self.errors = fabrication.nominal() if errors is None else errors

    @property
    def wrap_height(self) -> float:
        """Height over which the levels of the process are spread [m]."""
        return self.mask.wrap_height

    def redraw(self, generator: torch.Generator | None = None) -> Errors:
        """Draw, keep and return the errors of another mask."""
        self.errors = self.fabrication.draw(generator)
        return self.errors

    def _designed(self) -> Tensor:
        """Height of the design (samples, samples) [m]."""
        height = self.mask.height()
        if self.oversample > 1:
            for dim in (0, 1):
                height = height.repeat_interleave(self.oversample, dim)
        return height

    def height(self) -> Tensor:
        """Height as made (samples, samples), float64; it may overstep the design's limits [m]."""
        height = self._designed()
        made = self.fabrication.apply(
            height,
            self.errors,
            cell=self.cell,
            wrap_height=self.wrap_height,
            pixelated=self.pixelated,
        )
        return made * self._warmth().to(made.device)

    def mean_field(self, rate: Tensor) -> Tensor | None:
        """Mean field (W, N, N) of cells divided by blur or overlay; None where they are whole."""
        if not self.pixelated:
            return None
        height = self._designed()
        return self.fabrication.mean_field(
            height,
            self.errors,
            rate.to(height.device) * self._warmth().to(height.device),
            cell=self.cell,
            wrap_height=self.wrap_height,
        )

    def _warmth(self) -> Tensor:
        """Delay at the temperature of this mask relative to that of the design, a scalar."""
        warmer = self.errors.temperature
        if not (carries_gradient(warmer) or float(warmer.detach())):
            return torch.ones_like(warmer)
        known = thermal_of(self.material.name, self.thermal)
        return (1 + known.expansion * warmer) * (1 + known.index_rate / self.index_step * warmer)

    def turns_per_metre(self, wavelength: Tensor) -> Tensor:
        """Return the design's turns of phase per metre of height (W,) [1/m]."""
        return self.mask.turns_per_metre(wavelength)

    def obliquity(self, wavelength: Tensor, sine: float) -> Tensor:
        """Delay of the design under oblique light relative to that along the axis (W,)."""
        return self.mask.obliquity(wavelength, sine)

    def excess(self) -> Tensor:
        """Excess of the design."""
        return self.mask.excess()
