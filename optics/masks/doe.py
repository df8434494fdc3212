"""Multi-level relief: cells whose heights are the few a series of etches can make."""

import math
from typing import Literal

import torch
from torch import Tensor

from optics.masks.carrier import CarrierRelief, Profile
from optics.units import check_count

Rounding = Literal["straight_through", "annealed"]

#: Steepness of the annealed staircase at the start and at the end of the training.
STEEPNESS = (1.0, 60.0)


class MultilevelRelief(CarrierRelief):
    r"""Square cells on one of L equally spaced heights, wrapped.

    The learned surface is that of `CarrierRelief`, a smooth carrier and a free height per cell. Its
    height is rounded to the nearest multiple of :math:`h_w / L` and taken modulo the wrap
    :math:`h_w = p \lambda_0 / (n_0 - 1)`, so level L is level 0 and the relief is at most
    :math:`h_w (1 - 1 / L)`. A blaze of N levels sends sinc^2(1/N) of the light into its first order
    (G. J. Swanson, MIT Lincoln Laboratory Tech. Rep. 854 (1989)).

    Parameters
    ----------
    levels : int
        Heights over the wrap, a power of two: log2(levels) etches make them.
    rounding : {"straight_through", "annealed"}
        How the gradient passes the rounding. "straight_through": heights always on the levels,
        the gradient is that of the surface before. "annealed": in training the staircase is a
        smooth one that `anneal` makes steeper; heights lie on the levels in evaluation only.
    aperture_diameter, cell, max_height, max_aspect, material, design_wavelength
        As for `CarrierRelief`.
    profile, spread, cut, seed
        As for `CarrierRelief`.

    References
    ----------
    Y. Bengio, N. Leonard, A. Courville, arXiv:1308.3432 (2013): straight-through
    estimator.
    """

    steepness: Tensor

    def __init__(
        self,
        *,
        aperture_diameter: float,
        cell: float,
        levels: int = 8,
        rounding: Rounding = "straight_through",
        max_height: float = 1.2e-6,
        max_aspect: float = 2.0,
        material: str = "fused_silica",
        design_wavelength: float = 540e-9,
        profile: Profile = "gaussian",
        spread: float = 11e-3,
        cut: float = 3.0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            aperture_diameter=aperture_diameter,
            cell=cell,
            max_height=max_height,
            max_aspect=max_aspect,
            material=material,
            design_wavelength=design_wavelength,
            profile=profile,
            spread=spread,
            cut=cut,
            seed=seed,
        )
        self.levels = check_levels(levels)
        if rounding not in ("straight_through", "annealed"):
            raise ValueError(f"rounding = {rounding!r}, expected 'straight_through' or 'annealed'")
        self.rounding = rounding
        self.register_buffer("steepness", torch.tensor(STEEPNESS[0], dtype=torch.float64))

    @property
    def level_height(self) -> float:
        """Height of one level above the one below [m]."""
        return self.wrap_height / self.levels

    @torch.no_grad()
    def anneal(self, share: float) -> None:
        """Set the staircase's steepness, which grows geometrically; no effect straight through."""
        if not 0 <= share <= 1:
            raise ValueError(f"share = {share:g} is outside [0, 1]; it is the part of the training")
        first, last = STEEPNESS
        self.steepness.fill_(first * (last / first) ** share)

    def level(self) -> Tensor:
        """Level of every cell (samples, samples), int64, 0 to `levels` - 1."""
        steps = self.surface().detach() / self.level_height
        return steps.round().remainder(self.levels).long()

    def height(self) -> Tensor:
        """Height (samples, samples), float64, on the levels unless an annealed mask trains [m]."""
        steps = self.surface() / self.level_height
        if self.rounding == "annealed" and self.training:
            return soft_round(steps, self.steepness).remainder(self.levels) * self.level_height
        # exactly the level's number, with the gradient of the surface before
        return (self.level() + (steps - steps.detach())) * self.level_height


def check_levels(levels: int) -> int:
    """Return `levels`, or raise if it is not a power of two of at least 2."""
    count = check_count("levels", levels, 2)
    if count & (count - 1):
        below = 2 ** (count.bit_length() - 1)
        raise ValueError(f"levels = {levels}: n etches make 2^n levels; use {below} or {2 * below}")
    return count


def soft_round(steps: Tensor, steepness: Tensor) -> Tensor:
    r"""Smooth staircase through the half-way points and the whole numbers.

    .. math:: \lfloor x \rfloor + \frac12 + \frac{\tanh(b (x - \lfloor x \rfloor - \frac12))}
              {2 \tanh(b / 2)}

    with the steepness b: the straight line for b -> 0, rounding for b -> infinity (soft rounding:
    E. Agustsson, L. Theis, NeurIPS 2020).

    Parameters
    ----------
    steps : Tensor
        Real (...).
    steepness : Tensor
        Scalar b above zero.
    """
    below = steps.detach().floor()
    rise = torch.tanh(steepness * (steps - below - 0.5)) / torch.tanh(steepness / 2)
    return below + 0.5 + rise / 2


def split_levels(level: Tensor, levels: int) -> Tensor:
    """Binary etch masks (log2(levels), ...) float64, of weights 1, 2, 4, ..., of whole `level`."""
    count = round(math.log2(check_levels(levels)))
    weight = 2 ** torch.arange(count, device=level.device)
    bits = level[None] // weight.reshape(-1, *[1] * level.ndim) % 2
    return bits.to(torch.float64)
