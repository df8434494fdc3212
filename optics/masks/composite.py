"""Masks put together: two in contact, and a mask on the curved surface of a lens.

All of it is thin-element optics: phases add, and no light is bent between the parts.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from optics.grids import squared_radius
from optics.masks.base import Mask, cells_across
from optics.propagation import cis_turns
from optics.units import check_length


class MaskStack(Mask):
    r"""Masks in contact, of one or of several materials.

    .. math:: \varphi(\lambda) = \sum_i t_i(\lambda) \, 2 \pi h_i

    with the turns per metre t of each. Where all parts are of one material the stack is one mask
    whose height is the sum, and it goes wherever a mask goes. Of several materials there is no
    such height: `height` and `turns_per_metre` refuse, `phasor` and `layers` serve.

    Parameters
    ----------
    masks : sequence of Mask
        Parts, first the one the light meets first, on the same grid.

    Attributes
    ----------
    pixelated : bool
        True if any part is: between the flat cells of one part and a smooth one, the sinc of the
        cell is that of the flat part alone, which holds while the smooth one turns the phase
        little within a cell.

    Notes
    -----
    Each part faces air: a relief filled by the other material delays by the difference of the
    indices, which is not this.
    """

    def __init__(self, masks: Sequence[Mask]) -> None:
        if not masks:
            raise ValueError("masks is empty: a stack needs at least one mask")
        first = masks[0]
        for place, mask in enumerate(masks):
            if mask.samples != first.samples or abs(mask.cell / first.cell - 1) > 1e-9:
                raise ValueError(
                    f"masks[{place}] has {mask.samples} cells of {mask.cell:g} m, masks[0] has "
                    f"{first.samples} of {first.cell:g} m: give all the same aperture and cell"
                )
        _adopt(self, first)
        self.masks = nn.ModuleList(masks)
        self.pixelated = any(mask.pixelated for mask in masks)

    @property
    def parts(self) -> list[Mask]:
        """The masks, in the order of the light."""
        return [part for part in self.masks if isinstance(part, Mask)]

    def heights(self) -> list[Tensor]:
        """Height of every part (samples, samples), float64: what is made [m]."""
        return [part.height() for part in self.parts]

    def layers(self, wavelength: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Pairs of height (samples, samples) [m] and turns per metre (W,), one per material."""
        merged: list[tuple[Tensor, Tensor]] = []
        for part in self.parts:
            height, rate = part.height(), part.turns_per_metre(wavelength)
            for place, (other, known) in enumerate(merged):
                if torch.equal(known, rate):
                    merged[place] = (other + height, known)
                    break
            else:
                merged.append((height, rate))
        return merged

    def height(self) -> Tensor:
        """Sum of the heights (samples, samples), float64, of parts of one material [m]."""
        names = {part.material.name for part in self.parts}
        if len(names) > 1:
            raise ValueError(_several(sorted(names), "height"))
        return torch.stack(self.heights()).sum(0)

    def turns_per_metre(self, wavelength: Tensor) -> Tensor:
        """Return the turns of phase per metre of summed height (W,), of parts of one material."""
        rates = [part.turns_per_metre(wavelength) for part in self.parts]
        if any(not torch.equal(rate, rates[0]) for rate in rates):
            names = sorted({part.material.name for part in self.parts})
            raise ValueError(_several(names, "turns_per_metre"))
        return rates[0]

    def obliquity(self, wavelength: Tensor, sine: float) -> Tensor:
        """Delay under oblique light relative to that along the axis, of parts of one material."""
        self.turns_per_metre(wavelength)
        return self.parts[0].obliquity(wavelength, sine)

    def mean_field(self, rate: Tensor) -> Tensor | None:
        """Product of the parts' mean fields (W, N, N); None where no part has one.

        Of parts of one material, as `height` is.
        """
        means = [part.mean_field(rate) for part in self.parts]
        if all(mean is None for mean in means):
            return None
        total: Tensor | None = None
        for part, mean in zip(self.parts, means, strict=True):
            field = mean
            if field is None:
                height = part.height()
                field = cis_turns(rate.to(height.device)[:, None, None] * height)
            total = field if total is None else total * field
        return total

    def phasor(self, wavelength: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """Product of the parts' transmissions at each `wavelength` (W,) [m]: complex (W, N, N)."""
        product, *others = [part.phasor(wavelength, dtype=dtype) for part in self.parts]
        for other in others:
            product = product * other
        return product

    def excess(self) -> Tensor:
        """Sum of the parts' excesses."""
        return torch.stack([part.excess() for part in self.parts]).sum()


class CurvedMask(Mask):
    r"""A mask made on a curved lens surface, its relief measured along the local normal.

    Light along the axis meets the surface under the angle whose sine s is that of the slope, so a
    relief h delays by :math:`h (\sqrt{n^2 - s^2} - \sqrt{1 - s^2})` (Born and Wolf, sec. 7.6): the
    height seen along the axis is

    .. math:: h \, \frac{\sqrt{n^2 - s^2} - \sqrt{1 - s^2}}{n - 1}

    with n at the design wavelength; over the visible the factor changes by less than 5e-4 for
    slopes up to 0.5.

    Parameters
    ----------
    mask : Mask
        The relief; its cells are measured in the plane of the aperture.
    radius : float
        Radius of curvature at the vertex, of either sign [m].
    conic : float
        Conic constant: 0 is a sphere, -1 a paraboloid.

    Notes
    -----
    The relief only. What the lens surface itself does is the lens's power, and its departure from
    a paraboloid `ConicDeparture`; stack the two with `MaskStack`.
    """

    factor: Tensor

    def __init__(self, mask: Mask, *, radius: float, conic: float = 0.0) -> None:
        _adopt(self, mask)
        self.mask = mask
        self.pixelated = mask.pixelated
        half = mask.samples * mask.cell / 2
        square = squared_radius((mask.samples, mask.samples), mask.cell).clamp(max=half**2)
        root = _conic_root(square, radius, conic)
        slope_square = square / (radius * root) ** 2
        sine_square = slope_square / (1 + slope_square)
        index = mask.index_step + 1
        delay = (index**2 - sine_square).sqrt() - (1 - sine_square).sqrt()
        self.register_buffer("factor", delay / (index - 1), persistent=False)

    def relief(self) -> Tensor:
        """Height along the local normal (samples, samples), float64: what is made [m]."""
        return self.mask.height()

    def height(self) -> Tensor:
        """Height that delays as much along the axis (samples, samples), float64 [m]."""
        return self.mask.height() * self.factor

    def turns_per_metre(self, wavelength: Tensor) -> Tensor:
        """Return the turns of phase per metre of height (W,), of the relief's material."""
        return self.mask.turns_per_metre(wavelength)

    def obliquity(self, wavelength: Tensor, sine: float) -> Tensor:
        """As the flat mask: the mean over the surface, on which the angles add and subtract."""
        return self.mask.obliquity(wavelength, sine)

    def excess(self) -> Tensor:
        """Excess of the relief."""
        return self.mask.excess()


class ConicDeparture(Mask):
    r"""What a conic lens surface adds to its paraxial power: a fixed, smooth height.

    .. math:: h = -\left( \frac{r^2}{R (1 + q)} - \frac{r^2}{2 R} \right)
              = -\frac{r^2}{2 R} \, \frac{1 - q}{1 + q}, \qquad
              q = \sqrt{1 - (1 + \kappa) \, r^2 / R^2}

    The paraboloid :math:`r^2 / 2 R` is the power of the lens and is left to it. Glass on the far
    side of the vertex: R is positive where the surface bulges towards the light.

    Parameters
    ----------
    aperture_diameter : float
        Clear diameter to cover [m]; beyond it the height of the rim goes on.
    cell : float
        Sample spacing [m].
    radius : float
        Radius of curvature at the vertex, of either sign [m].
    conic : float
        Conic constant: 0 is a sphere, -1 a paraboloid, which has no departure.
    material : str
        Material of the lens.
    design_wavelength : float
        Vacuum wavelength for which the sampling is checked [m].
    """

    departure: Tensor

    def __init__(
        self,
        *,
        aperture_diameter: float,
        cell: float,
        radius: float,
        conic: float = 0.0,
        material: str = "n_bk7",
        design_wavelength: float = 540e-9,
    ) -> None:
        super().__init__(
            cells_across(aperture_diameter, cell),
            cell,
            material_name=material,
            design_wavelength=design_wavelength,
        )
        shape = (self.samples, self.samples)
        square = squared_radius(shape, cell).clamp(max=aperture_diameter**2 / 4)
        root = _conic_root(square, radius, conic)
        departure = -square / (2 * radius) * (1 - root) / (1 + root)
        step = float(torch.diff(departure, dim=1).abs().max()) / self.turn_height
        if step > 0.5:
            raise ValueError(
                f"radius = {radius:g} m with conic = {conic:g} departs from its paraboloid by "
                f"{step:.2f} turns per cell at the rim, at most 0.5 is sampled: use cells < "
                f"{0.5 / step * cell:.2g} m, or a weaker surface"
            )
        self.register_buffer("departure", departure, persistent=False)

    def height(self) -> Tensor:
        """Height over the paraboloid (samples, samples), float64, of either sign [m]."""
        return self.departure


def _adopt(stack: Mask, first: Mask) -> None:
    """Initialise `stack` with the grid and the material of `first`, which may be no glass."""
    Mask.__init__(
        stack,
        first.samples,
        check_length("cell", first.cell),
        material_name="fused_silica",  # replaced: a mirror is not in the list of materials
        design_wavelength=first.design_wavelength,
    )
    stack.material = first.material


def _conic_root(square: Tensor, radius: float, conic: float) -> Tensor:
    """Root in the sag of a conic, at squared radii [m^2]; refuses radii it does not reach."""
    if not (math.isfinite(radius) and radius != 0 and math.isfinite(conic)):
        raise ValueError(
            f"radius = {radius:g} m, conic = {conic:g}: finite numbers and a radius other than 0 "
            f"are needed; a flat surface needs no curvature"
        )
    inside = 1 - (1 + conic) * square / radius**2
    if float(inside.min()) <= 0.01:  # 84 degrees
        reach = abs(radius) * math.sqrt(0.99 / (1 + conic))
        raise ValueError(
            f"radius = {radius:g} m with conic = {conic:g} reaches {reach:.3g} m from the axis, "
            f"the mask {math.sqrt(float(square.max())):.3g} m; use a weaker curvature or a "
            f"smaller mask"
        )
    return inside.sqrt()


def _several(names: Sequence[str], what: str) -> str:
    return (
        f"{what} of a stack of {', '.join(names)}: parts of different materials have no common "
        f"height; use phasor(wavelength), or layers(wavelength) and heights() for every part"
    )
