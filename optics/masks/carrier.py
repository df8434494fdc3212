"""Pixel reliefs: a smooth carrier that shapes the spot, and a free height per cell."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from optics.grids import squared_radius
from optics.masks.base import Mask, cells_across
from optics.units import check_length, check_positive

Profile = Literal["gaussian", "disc", "flat", "random"]


class CarrierRelief(Mask):
    r"""Square cells of free height on a smooth carrier, before they are wrapped.

    .. math:: h = \frac{s \, g(r)}{n_0 - 1} + \frac{\lambda_0}{n_0 - 1} t

    with the spread :math:`s` [rad] and :math:`t` the cell's free height in turns. The carrier
    :math:`g` sends equal parts of the pupil to equal parts of the wanted spot, so the spot has
    no speckle to begin with and its transfer function really vanishes. What becomes of the
    surface modulo a whole number of wavelengths is up to the masks that are made of it.

    Parameters
    ----------
    aperture_diameter : float
        Clear diameter to cover [m].
    cell : float
        Cell side [m].
    max_height : float
        Deepest relief of the process [m].
    max_aspect : float
        Largest ratio of relief to cell side the process can hold.
    material : str
        Mask material.
    design_wavelength : float
        Wavelength whose multiple the wrap is [m].
    profile : {"gaussian", "disc", "flat", "random"}
        Carrier: a Gaussian spot, a uniform disc (a wrapped defocus), none, or independent
        random heights (the speckle mask, a baseline).
    spread : float
        Standard deviation per axis of the spot, as an angle [rad]; of the Gaussian before it is
        cut, so what is left has 0.94 of it at a cut of 2.6.
    cut : float
        Radius at which the Gaussian spot ends, in standard deviations.
    seed : int
        Seed of the random profile.

    References
    ----------
    D. L. Shealy, J. A. Hoffnagle, *Laser Beam Shaping* (2000), ch. 4 (radial energy balance).
    """

    pixelated = True
    carrier: Tensor

    def __init__(
        self,
        *,
        aperture_diameter: float,
        cell: float,
        max_height: float,
        max_aspect: float,
        material: str,
        design_wavelength: float,
        profile: Profile,
        spread: float,
        cut: float,
        seed: int,
    ) -> None:
        super().__init__(
            cells_across(aperture_diameter, cell),
            cell,
            material_name=material,
            design_wavelength=design_wavelength,
        )
        self.max_height = check_length("max_height", max_height)
        self.profile, self.cut = profile, check_positive("cut", cut)
        check_positive("spread", spread, "rad")
        orders = math.floor(
            min(max_height, check_positive("max_aspect", max_aspect) * cell) / self.turn_height
            + 1e-9
        )
        if orders < 1:
            raise ValueError(
                f"max_height = {max_height:g} m (at most {max_aspect:g} cells of {cell:g} m): one "
                f"wavelength of delay needs {self.turn_height:g} m; allow a deeper relief, larger "
                f"cells or a material of higher index"
            )
        self.orders = orders
        carrier, turns = self._start(aperture_diameter, seed)
        self._check_steepness(spread)
        self.register_buffer("carrier", carrier, persistent=False)
        self.log_spread = nn.Parameter(torch.tensor(math.log(spread), dtype=torch.float64))
        self.turns = nn.Parameter(turns)

    def _start(self, diameter: float, seed: int) -> tuple[Tensor, Tensor]:
        """Carrier path per radian of spread [m] and the free heights [turns]."""
        shape = (self.samples, self.samples)
        none = torch.zeros(shape, dtype=torch.float64)
        if self.profile == "random":
            draw = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
            return none, (draw * self.orders).to(torch.float32)
        if self.profile == "flat":
            return none, none.to(torch.float32)
        if self.profile not in ("gaussian", "disc"):
            raise ValueError(
                f"profile = {self.profile!r}, expected 'gaussian', 'disc', 'flat' or 'random'"
            )
        radius = squared_radius(shape, self.cell).sqrt()
        table = torch.linspace(0, float(radius.max()), 1 << 16, dtype=torch.float64)
        share = (table * 2 / diameter).clamp(max=1) ** 2  # of the light inside this radius
        if self.profile == "disc":
            slope = 2 * share.sqrt()  # radius 2 sigma has the variance of the Gaussian
        else:
            slope = (-2 * torch.log1p(-share * (1 - math.exp(-(self.cut**2) / 2)))).sqrt()
        path = torch.cat([slope.new_zeros(1), torch.cumulative_trapezoid(slope, table)])
        place = radius / table[1]
        low = place.long().clamp(max=len(table) - 2)
        carrier = torch.lerp(path[low], path[low + 1], place - low)
        return carrier, none.to(torch.float32)

    @property
    def wrap_height(self) -> float:
        """Height after which the relief starts again [m]."""
        return self.orders * self.turn_height

    @property
    def max_spread(self) -> float:
        """Widest spot that cells of this size still reach [rad]; beyond it light goes astray."""
        if self.profile not in ("gaussian", "disc"):
            return math.inf
        steepest = self.cut if self.profile == "gaussian" else 2.0
        return self.design_wavelength / (2 * self.cell * steepest)

    def _check_steepness(self, spread: float) -> None:
        """Refuse a carrier that deflects beyond what cells of this size can."""
        if self.profile in ("gaussian", "disc") and spread > self.max_spread:
            rim = self.design_wavelength / (2 * self.cell) * spread / self.max_spread
            raise ValueError(
                f"spread = {spread:g} rad: the rim of the mask would deflect by {rim:g} rad, "
                f"cells of {self.cell:g} m reach {self.design_wavelength / (2 * self.cell):g} rad; "
                f"use spread <= {self.max_spread:.3g} rad or cells <= "
                f"{self.cell * self.max_spread / spread:.3g} m"
            )

    @property
    def spread(self) -> float:
        """Present standard deviation of the carrier's spot [rad]."""
        return float(self.log_spread.detach().exp())

    def surface(self) -> Tensor:
        """Height before wrapping (samples, samples), float64 [m]."""
        smooth = self.log_spread.exp() * self.carrier / self.index_step
        return smooth + self.turns.to(torch.float64) * self.turn_height

    def excess(self) -> Tensor:
        r"""Mean squared rate of change of the free heights, and overstep of the spread.

        In turns^2 per cell, plus the square of the spread's relative overstep. Noise in the free
        heights scatters light at large angles and cannot be told from a fabrication error. Relief
        and wrap need no penalty: they hold by construction.
        """
        step = [torch.diff(self.turns, dim=d).square().mean() for d in (0, 1)]
        beyond = (self.log_spread.exp() / self.max_spread - 1).clamp(min=0).square()
        return (step[0] + step[1]).to(torch.float64) + beyond
