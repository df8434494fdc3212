"""Smooth surface described by Zernike modes over the pupil."""

import torch
from torch import Tensor, nn

from optics.masks.smooth import SmoothSurface
from optics.units import check_count, check_positive
from optics.zernike import noll_to_nm, zernike_surface


class ZernikeSurface(SmoothSurface):
    """Free-form surface by Noll modes 4, 5, ..., for high-relief processes.

    Two-photon printing and diamond turning make smooth surfaces of tens of micrometres. The
    saved surface always keeps the relief and slope limits of the process: beyond them the whole
    surface is scaled down, differentiably.

    Parameters
    ----------
    aperture_diameter : float
        Pupil diameter, on which the modes have unit RMS [m].
    cell : float
        Sample spacing of the surface [m].
    modes : int
        Number of modes, from Noll 4 (defocus) on; piston and tilts hide nothing.
    max_height, max_slope, material, design_wavelength
        As for `SmoothSurface`.
    start_rms : float
        RMS height of the random initial surface [m].
    seed : int
        Seed of the initial coefficients.
    """

    def __init__(
        self,
        *,
        aperture_diameter: float,
        cell: float,
        modes: int = 300,
        max_height: float = 60e-6,
        max_slope: float = 0.3,
        material: str = "ip_s",
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
        check_count("modes", modes)
        check_positive("start_rms", start_rms, "m")
        self.extent = 2 * self.samples * cell / aperture_diameter
        radial = torch.tensor([noll_to_nm(j + 4)[0] for j in range(modes)], dtype=torch.float64)
        draw = torch.randn(modes, generator=torch.Generator().manual_seed(seed)).to(torch.float64)
        draw = draw / radial**2  # gentle high orders: equal slopes rather than equal heights
        start = draw / draw.norm() * (start_rms / self.turn_height)
        self.coefficients = nn.Parameter(start)  # [turns RMS]

    def free(self) -> Tensor:
        """Height before the limits are applied (samples, samples), zero mean [m]."""
        turns = zernike_surface(
            self.coefficients.to(torch.float64), self.samples, first=4, extent=self.extent
        )
        return turns * self.turn_height

    def overshoot(self, free: Tensor) -> tuple[Tensor, Tensor]:
        """Relief and slope over their limits; both at most 1 when the process can make it."""
        relief = (free.max() - free.min()) / self.max_height
        disc = zernike_surface(
            free.new_ones(1), self.samples, first=1, extent=self.extent
        )  # piston: 1 inside
        whole = disc[:-1, :-1] * disc[1:, :-1] * disc[:-1, 1:]  # no step across the rim
        down = torch.diff(free, dim=0)[:, :-1] * whole
        right = torch.diff(free, dim=1)[:-1] * whole
        # the largest square first: the root of a zero step has no gradient
        steepest = (down.square() + right.square()).max().clamp(min=1e-40).sqrt()
        return relief, steepest / (self.cell * self.slope_limit)

    def height(self) -> Tensor:
        """Height (samples, samples), from 0 up to at most `max_height`, float64 [m]."""
        surface = self.free()
        return (surface - surface.min()) / self.shrinkage(surface)
