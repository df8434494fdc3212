"""Deformable mirror: a surface pushed into shape by a few actuators."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor, nn

from optics.grids import coordinates, disc_coverage
from optics.masks.base import Mask, cells_across
from optics.materials import Material
from optics.units import check_count, check_positive
from optics.zernike import noll_to_nm, zernike_surface

#: A mirror delays by twice its height, as a medium of index 3 does: (n - 1) h = 2 h.
MIRROR = Material("mirror", "cauchy", (3.0, 0.0, 0.0), (1e-7, 2e-5), "law of reflection")


class Influence(Protocol):
    """How the surface answers to the commands: linear, one shape per actuator.

    Attributes
    ----------
    count : int
        Actuators, or modes.
    """

    @property
    def count(self) -> int:
        """Actuators, or modes."""

    def surface(self, commands: Tensor, samples: int, extent: float) -> Tensor:
        """Sum of the shapes.

        Parameters
        ----------
        commands : Tensor
            Real (count,), in any unit.
        samples : int
            Grid samples along each side.
        extent : float
            Side of the grid in pupil radii.

        Returns
        -------
        Tensor
            (samples, samples) float64, in the unit of `commands`.
        """


@dataclass(frozen=True)
class GaussianActuators:
    r"""Square array of actuators, each lifting a Gaussian hill.

    .. math:: I(d) = \kappa^{(d / p)^2}

    with the actuator pitch p: one at the actuator, the coupling at its neighbour (F. Roddier,
    *Adaptive Optics in Astronomy* (1999), sec. 4.1). Separable, so nothing two-dimensional is
    stored per actuator. Commands are in row-major order.

    Attributes
    ----------
    across : int
        Actuators along each side of the array; `across` squared in all.
    coupling : float
        Height at the neighbouring actuator over that at its own.
    span : float
        Side of the array, from first to last actuator, in pupil diameters. At 1 the outer
        actuators stand on the rim; a little more lets the surface be steep there.
    """

    across: int = 12
    coupling: float = 0.15
    span: float = 1.0

    def __post_init__(self) -> None:
        check_count("across", self.across, 2)
        check_positive("span", self.span)
        if not 0 < self.coupling < 1:
            raise ValueError(
                f"coupling = {self.coupling:g} is outside (0, 1); membrane mirrors have 0.1 to 0.5"
            )

    @property
    def count(self) -> int:
        """Actuators."""
        return self.across**2

    def surface(self, commands: Tensor, samples: int, extent: float) -> Tensor:
        """Sum of the hills (samples, samples), see `Influence.surface`."""
        hills = _hills(samples, extent, self).to(commands.device)
        grid = commands.to(torch.float64).reshape(self.across, self.across)
        return hills @ grid @ hills.mT


@dataclass(frozen=True)
class ZernikeModes:
    """Modal mirror: every command lifts one Zernike mode, 1 at its highest point.

    The defaults are tip, tilt and Noll 4 to 15: 14 modes.

    Attributes
    ----------
    first : int
        Noll index of the first mode; 2 is the tilt along x.
    modes : int
        Number of modes.
    """

    first: int = 2
    modes: int = 14

    def __post_init__(self) -> None:
        check_count("first", self.first)
        check_count("modes", self.modes)

    @property
    def count(self) -> int:
        """Modes."""
        return self.modes

    def surface(self, commands: Tensor, samples: int, extent: float) -> Tensor:
        """Sum of the modes (samples, samples), zero outside the pupil, see `Influence.surface`."""
        orders = [noll_to_nm(self.first + j) for j in range(self.modes)]
        # unit RMS modes reach sqrt(n + 1), or sqrt(2 (n + 1)) with an azimuth, at the rim
        peak = [math.sqrt((n + 1) * (2 if m else 1)) for n, m in orders]
        weights = commands.to(torch.float64) / commands.new_tensor(peak, dtype=torch.float64)
        return zernike_surface(weights, samples, first=self.first, extent=extent)


class GivenInfluence:
    """Influence matrix from a measurement or from the maker.

    Parameters
    ----------
    shapes : Tensor
        Real (A, N, N), surface per unit of command, sampled as the mask: `samples` = N.
    """

    def __init__(self, shapes: Tensor) -> None:
        if shapes.ndim != 3 or shapes.shape[1] != shapes.shape[2]:
            raise ValueError(
                f"shapes is {tuple(shapes.shape)}, expected (A, N, N): one square map per actuator"
            )
        self.shapes = shapes

    @property
    def count(self) -> int:
        """Actuators."""
        return len(self.shapes)

    def surface(self, commands: Tensor, samples: int, extent: float) -> Tensor:
        """Sum of the shapes (samples, samples), see `Influence.surface`."""
        if self.shapes.shape[-1] != samples:
            raise ValueError(
                f"shapes is {tuple(self.shapes.shape)}, the mirror has {samples} x {samples} "
                f"samples: give the influence on those"
            )
        shapes = self.shapes.to(commands.device, torch.float64)
        return torch.einsum("a,ahw->hw", commands.to(torch.float64), shapes)


class DeformableMirror(Mask):
    r"""Continuous mirror in the pupil, or in its image, folded out: light passes it once.

    .. math:: \varphi(\lambda) = \frac{2 \pi}{\lambda} \, 2 h, \qquad
              h = \frac{s}{2} \sum_a \tanh(q_a) \, I_a

    with the free parameters q, the stroke s and the influence shapes I. Positive heights lie
    along the incoming light and lengthen its path, so that more height is more delay as for every
    mask; a mirror pushed towards the light has negative height.

    Parameters
    ----------
    aperture_diameter : float
        Pupil diameter on the mirror [m].
    cell : float
        Sample spacing of the surface [m].
    influence : Influence, optional
        `GaussianActuators` (12 x 12 if left out), `ZernikeModes` or `GivenInfluence`.
    max_stroke : float
        Travel of one actuator from end to end, of the surface [m]. Commands keep it by
        construction; that the whole surface keeps it is asked for by `excess`.
    design_wavelength : float
        Vacuum wavelength for which the mirror is set [m].
    start : float
        Standard deviation of the random initial commands, of their range -1 to 1.
    seed : int
        Seed of the initial commands.

    Notes
    -----
    Phase only: reflectance is left out. Under an angle of incidence with the sine s the delay
    falls to 2 h sqrt(1 - s^2) and the foreshortening of the mirror is not modelled.
    """

    def __init__(
        self,
        *,
        aperture_diameter: float,
        cell: float,
        influence: Influence | None = None,
        max_stroke: float = 3.5e-6,
        design_wavelength: float = 540e-9,
        start: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__(
            cells_across(aperture_diameter, cell),
            cell,
            material_name="fused_silica",  # any, see below
            design_wavelength=design_wavelength,
        )
        self.material = MIRROR
        self.max_stroke = check_positive("max_stroke", max_stroke, "m")
        self.influence: Influence = GaussianActuators() if influence is None else influence
        self.clear_diameter = aperture_diameter
        self.extent = 2 * self.samples * cell / aperture_diameter
        draw = torch.randn(self.influence.count, generator=torch.Generator().manual_seed(seed))
        self.drive = nn.Parameter(draw.to(torch.float64) * check_positive("start", start))

    def commands(self) -> Tensor:
        """Commands (count,), float64, within -1 and 1: share of half the stroke."""
        return torch.tanh(self.drive.to(torch.float64))

    @torch.no_grad()
    def command(self, commands: Tensor) -> None:
        """Set the `commands` (count,); those beyond -1 and 1 are refused.

        Exactly -1 and 1 are brought inside by 1e-12, where the parameters are finite.
        """
        if commands.shape != self.drive.shape:
            raise ValueError(f"commands is {tuple(commands.shape)}, expected ({len(self.drive)},)")
        largest = float(commands.abs().max())
        if not largest <= 1:
            raise ValueError(
                f"commands reach {largest:g}, allowed is -1 to 1 (half the stroke of "
                f"{self.max_stroke:g} m either way); scale them, or clamp them knowingly"
            )
        inside = commands.to(self.drive).clamp(-1 + 1e-12, 1 - 1e-12)
        self.drive.copy_(torch.atanh(inside))

    def surface_of(self, commands: Tensor) -> Tensor:
        """Surface that `commands` (count,) make (samples, samples), float64 [m]."""
        shape = self.influence.surface(commands, self.samples, self.extent)
        return shape * (self.max_stroke / 2)

    def height(self) -> Tensor:
        """Surface along the incoming light (samples, samples), float64, of either sign [m]."""
        return self.surface_of(self.commands())

    def turns_per_metre(self, wavelength: Tensor) -> Tensor:
        """Return 2 / wavelength, float64 (W,), at each vacuum `wavelength` (W,) [m]."""
        return 2 / wavelength.detach().to("cpu", torch.float64)

    def obliquity(self, wavelength: Tensor, sine: float) -> Tensor:
        """Delay at an angle of incidence relative to that along the axis: its cosine, (W,)."""
        return torch.full_like(wavelength.detach().to("cpu", torch.float64), math.sqrt(1 - sine**2))

    def excess(self) -> Tensor:
        """Squared relative overstep of the stroke by the whole surface; 0 within it."""
        height = self.height()
        relief = (height.max() - height.min()) / self.max_stroke
        return (relief - 1).clamp(min=0).square()

    def best_commands(self, surface: Tensor) -> Tensor:
        r"""Commands whose surface is nearest to `surface` over the pupil, up to a piston.

        Least squares, by the normal equations, over the samples that lie wholly in the pupil.
        Commands are not clamped: beyond -1 and 1 the mirror cannot follow, and `command` says so.

        Parameters
        ----------
        surface : Tensor
            Real (samples, samples), wanted surface [m].

        Returns
        -------
        Tensor
            Float64 (count,).
        """
        shape = (self.samples, self.samples)
        if surface.shape != shape:
            raise ValueError(f"surface is {tuple(surface.shape)}, expected {shape}")
        device, count = self.drive.device, self.influence.count
        cover = disc_coverage((self.samples, self.samples), self.cell, self.clear_diameter)
        weight = (cover > 1 - 1e-9).to(device, torch.float64)
        rest = torch.zeros(count, dtype=torch.float64, device=device, requires_grad=True)
        with torch.enable_grad():
            response = self.surface_of(rest)

        def onto_shapes(height: Tensor) -> Tensor:
            """Inner products with every shape over the pupil, without the piston."""
            mean = (weight * height).sum() / weight.sum()
            (products,) = torch.autograd.grad(
                response, rest, weight * (height - mean), retain_graph=True
            )
            return products

        with torch.no_grad():
            unit = torch.eye(count, dtype=torch.float64, device=device)
            shapes = (self.surface_of(row) for row in unit)  # one at a time
            normal = torch.stack([onto_shapes(shape) for shape in shapes])
            wanted = onto_shapes(surface.to(device, torch.float64))
            scale = normal.diagonal().max()
            # actuators that do not reach the pupil stay at rest: least norm
            best: Tensor = torch.linalg.pinv(normal / scale, hermitian=True) @ (wanted / scale)
        return best


@lru_cache(maxsize=8)
def _hills(samples: int, extent: float, actuators: GaussianActuators) -> Tensor:
    """One-dimensional hills (samples, across) on a grid of `extent` pupil radii, float64."""
    pitch = 2 * actuators.span / (actuators.across - 1)
    own = coordinates(actuators.across, pitch)
    place = coordinates(samples, extent / samples)[:, None] - own
    return torch.exp(math.log(actuators.coupling) * (place / pitch).square())
