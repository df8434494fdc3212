r"""Smooth surface by a uniform cubic B-spline, and the spline itself for other masks.

On a uniform grid of step :math:`d` the spline :math:`s(x) = \sum_k c_k \, \beta(x / d - k)` of
control values :math:`c_k` has two continuous derivatives, reproduces cubic polynomials exactly, and
lies between the smallest and the largest of the four control values around :math:`x`; its slope
lies between those of :math:`(c_{k+1} - c_k) / d` (C. de Boor, *A Practical Guide to Splines*,
chs. IX to XI). Limits on the control values are therefore limits on the surface everywhere, not
only at its samples.
"""

import torch
from torch import Tensor, nn

from optics.grids import coordinates
from optics.masks.smooth import SmoothSurface
from optics.units import check_count, check_positive


class BSplineSurface(SmoothSurface):
    r"""Free-form surface :math:`h(y, x) = \sum_{jk} c_{jk} \, \beta_j(y) \, \beta_k(x)`.

    Twice continuously differentiable, for processes that make smooth surfaces (two-photon printing,
    diamond turning). Relief and slope always keep the limits of the process: beyond them the
    whole surface is scaled down, differentiably. The limits are taken on the control values, which
    bound the surface; so it may stay a little under them.

    Parameters
    ----------
    aperture_diameter : float
        Clear diameter to cover [m].
    cell : float
        Sample spacing of the surface [m].
    controls : int
        Control values along each side, 4 or more; at most the samples.
    max_height, max_slope, material, design_wavelength
        As for `SmoothSurface`.
    start_rms : float
        RMS of the random initial control values [m].
    seed : int
        Seed of the initial control values.

    Notes
    -----
    The surface is two products with an (N, controls) matrix, and its gradient two products with
    the transposes: no two-dimensional basis is stored.
    """

    basis: Tensor

    def __init__(
        self,
        *,
        aperture_diameter: float,
        cell: float,
        controls: int = 32,
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
        self.controls = check_count("controls", controls, 4)
        if controls > self.samples:
            raise ValueError(
                f"controls = {controls}: {self.samples} samples tell at most as many apart; use "
                f"fewer, or a smaller cell than {cell:g} m"
            )
        check_positive("start_rms", start_rms, "m")
        side = self.samples * cell
        self.step = side / (controls - 3)  # control values two steps beyond the edges count too
        place = coordinates(self.samples, cell) + side / 2
        self.register_buffer("basis", spline_matrix(place / self.step, controls), persistent=False)
        draw = torch.randn(controls, controls, generator=torch.Generator().manual_seed(seed))
        start = draw.to(torch.float64) * (start_rms / self.turn_height)
        self.coefficients = nn.Parameter(start)  # [turns]

    def surface(self) -> Tensor:
        """Height before the limits are applied (samples, samples), float64 [m]."""
        turns = self.basis @ self.coefficients.to(torch.float64) @ self.basis.mT
        return turns * self.turn_height

    def free(self) -> Tensor:
        """Control values (controls, controls), which bound the surface, before the limits [m]."""
        return self.coefficients.to(torch.float64) * self.turn_height

    def overshoot(self, free: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds of relief and slope over their limits; both at most 1 when it can be made."""
        relief = (free.max() - free.min()) / self.max_height
        # squared slopes along y and x, at their largest over each span of the spline; the root
        # comes last and is kept off zero, where it has no gradient
        down = _largest(torch.diff(free, dim=0).square(), (3, 4))
        right = _largest(torch.diff(free, dim=1).square(), (4, 3))
        steepest = (down + right).max().clamp(min=1e-40).sqrt() / self.step
        return relief, steepest / self.slope_limit

    def height(self) -> Tensor:
        """Height (samples, samples), within 0 and `max_height`, float64 [m]."""
        control = self.free()
        return (self.surface() - control.min()) / self.shrinkage(control)

    @torch.no_grad()
    def fit(self, surface: Tensor) -> None:
        """Set the control values to the least-squares fit of `surface`, (samples, samples) [m].

        The limits then apply as ever: a surface beyond them comes out of `height` scaled down.
        """
        if surface.shape != (self.samples, self.samples):
            raise ValueError(
                f"surface is {tuple(surface.shape)}, expected ({self.samples}, {self.samples})"
            )
        turns = surface.to(self.basis) / self.turn_height
        half: Tensor = torch.linalg.lstsq(self.basis, turns).solution
        full: Tensor = torch.linalg.lstsq(self.basis, half.mT).solution
        self.coefficients.copy_(full.mT)


def spline_weights(place: Tensor, controls: int) -> tuple[Tensor, Tensor]:
    r"""Uniform cubic B-spline: which control values count at `place`, and how much.

    Parameters
    ----------
    place : Tensor
        Real (...), positions in steps, from 0 to `controls` - 3; outside, the polynomial of the
        last span is continued.
    controls : int
        Number of control values; those at 1, ..., controls - 2 lie over positions 0, ...,
        controls - 3, with one more beyond each end.

    Returns
    -------
    index : Tensor
        Int64 (..., 4), the control values.
    weights : Tensor
        Float64 (..., 4); they sum to 1.

    References
    ----------
    M. Unser, IEEE Signal Process. Mag. 16(6), 22 (1999): the cubic B-spline.
    """
    check_count("controls", controls, 4)
    place = place.to(torch.float64)
    first = place.floor().clamp(0, controls - 4)
    u = (place - first)[..., None]
    v = 1 - u
    inner = [2 / 3 - w.square() * (1 - w / 2) for w in (u, v)]
    weights = torch.cat([v**3 / 6, *inner, u**3 / 6], dim=-1)
    index = first.long()[..., None] + torch.arange(4, device=place.device)
    return index, weights


def spline_matrix(place: Tensor, controls: int) -> Tensor:
    """Matrix (P, controls) from control values to the spline at `place` (P,), float64."""
    index, weights = spline_weights(place, controls)
    matrix = weights.new_zeros(len(place), controls)
    return matrix.scatter_(1, index, weights)


def _largest(values: Tensor, window: tuple[int, int]) -> Tensor:
    """Largest of `values` (H, W) in every window of that many rows and columns."""
    out: Tensor = nn.functional.max_pool2d(values[None, None], window, stride=1)[0, 0]
    return out
