"""Rotationally symmetric surface: a profile over the radius."""

import math

import torch
from torch import Tensor, nn

from optics.masks.bspline import spline_weights
from optics.masks.smooth import SmoothSurface
from optics.propagation import cis_turns
from optics.propagation.hankel import radial_nodes
from optics.units import check_count, check_positive


class RadialSurface(SmoothSurface):
    r"""Smooth surface :math:`h(r)` by a cubic B-spline over the radius, as a lathe makes it.

    The spline is even in the radius, so the surface has two continuous derivatives on the axis
    too. Beyond the clear radius it stays at its rim height. Relief and slope keep the limits of the
    process by scaling the whole profile, differentiably; they are taken on the control values,
    which bound the profile everywhere.

    A symmetric pupil needs one dimension only: `radial_nodes` and `radial_phasor` feed
    `optics.propagation.hankel.radial_spots`. `height` is the same surface on the grid, for
    everything else and for the file that is made.

    Parameters
    ----------
    aperture_diameter : float
        Clear diameter to cover [m].
    cell : float
        Sample spacing of the surface on the grid [m].
    controls : int
        Control values from the axis to the rim, 3 or more.
    max_height, max_slope, material, design_wavelength
        As for `SmoothSurface`.
    start_rms : float
        RMS of the random initial control values [m].
    seed : int
        Seed of the initial control values.

    Attributes
    ----------
    radial : bool
        Says that the one-dimensional path may be taken.
    """

    radial = True

    def __init__(
        self,
        *,
        aperture_diameter: float,
        cell: float,
        controls: int = 64,
        max_height: float = 60e-6,
        max_slope: float = 0.3,
        material: str = "pmma",
        design_wavelength: float = 540e-9,
        start_rms: float = 5e-6,
        seed: int = 0,
    ) -> None:
        super().__init__(
            aperture_diameter=aperture_diameter,
            cell=cell,
            max_height=max_height,
            max_slope=max_slope,
            material=material,
            design_wavelength=design_wavelength,
        )
        self.controls = check_count("controls", controls, 3)
        check_positive("start_rms", start_rms, "m")
        self.clear_radius = aperture_diameter / 2
        self.step = self.clear_radius / (controls - 2)  # the last control value lies beyond
        draw = torch.randn(controls, generator=torch.Generator().manual_seed(seed))
        start = draw.to(torch.float64) * (start_rms / self.turn_height)
        self.coefficients = nn.Parameter(start)  # [turns]

    def _control(self) -> Tensor:
        """Control values within the limits of the process, the lowest at zero [m]."""
        control = self.free()
        return (control - control.min()) / self.shrinkage(control)

    def free(self) -> Tensor:
        """Control values (controls,), which bound the profile, before the limits [m]."""
        return self.coefficients.to(torch.float64) * self.turn_height

    def overshoot(self, free: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds of relief and slope over their limits; both at most 1 when it can be made."""
        relief = (free.max() - free.min()) / self.max_height
        steepest = torch.diff(free).abs().max() / self.step
        return relief, steepest / self.slope_limit

    def profile(self, radius: Tensor) -> Tensor:
        """Height at each `radius` (...) [m], float64, within 0 and `max_height` [m]."""
        place = radius.abs().clamp(max=self.clear_radius) / self.step
        index, weights = spline_weights(place + 1, self.controls + 2)
        # control value k lies at radius (k - 1) steps of the mirrored profile: value -1 is value 1
        mirrored = (index - 2).abs()
        return (self._control()[mirrored] * weights).sum(-1)

    def height(self) -> Tensor:
        """Height on the grid (samples, samples), float64, within 0 and `max_height` [m]."""
        whole = torch.arange(self.samples, device=self.coefficients.device) * 2 - self.samples + 1
        square = whole[:, None] ** 2 + whole[None, :] ** 2
        distinct, place = torch.unique(square, return_inverse=True)
        return self.profile(distinct.to(torch.float64).sqrt() * (self.cell / 2))[place]

    def radial_nodes(self, count: int | None = None) -> tuple[Tensor, Tensor]:
        """Nodes [m] and weights [m^2] over the clear aperture, at most a cell apart by default."""
        if count is None:  # Gauss-Legendre nodes lie up to pi radius / 2 count apart
            count = math.ceil(math.pi * self.clear_radius / (2 * self.cell))
        device = self.coefficients.device
        radii, weights = radial_nodes(self.clear_radius, count)
        return radii.to(device), weights.to(device)

    def radial_phasor(
        self, radius: Tensor, wavelength: Tensor, *, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Complex transmission (W, R) at each `radius` (R,) [m] and `wavelength` (W,) [m]."""
        rate = self.turns_per_metre(wavelength).to(radius.device)
        turns = rate[:, None] * self.profile(radius)
        # one dimension is cheap: rounded only after the sine, not before
        return cis_turns(turns).to(dtype.to_complex())
