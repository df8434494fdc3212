r"""Aberrations that change over the field, and vignetting.

Wave aberrations :math:`W` follow Hopkins and Welford: positive where the wavefront is ahead of
the ideal one, so that `opd` is :math:`-W`. With :math:`\rho` and :math:`h` the pupil and field
radius over their edges and :math:`\phi` the angle between pupil point and image point.
"""

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from optics.lenses.base import Lens, LensWith, inside_circle
from optics.units import check_length, check_positive
from optics.zernike import noll_to_nm, rotate_zernike, zernike_at


class SeidelLens(LensWith):
    r"""The five third-order aberrations of a rotationally symmetric lens.

    .. math:: W = W_{040} \rho^4 + W_{131} h \rho^3 \cos\phi + W_{222} h^2 \rho^2 \cos^2\phi
              + W_{220} h^2 \rho^2 + W_{311} h^3 \rho \cos\phi

    Parameters
    ----------
    base : Lens
        The lens without aberrations.
    aperture_diameter : float
        Pupil diameter at whose edge :math:`\rho = 1` [m].
    half_field : float
        Angle of the chief ray at which :math:`h = 1` [rad].
    spherical : float
        :math:`W_{040}`; positive is undercorrected, marginal rays focus nearer the lens [m].
    coma : float
        :math:`W_{131}`; the tail of the spot points towards the axis if positive [m].
    astigmatism : float
        :math:`W_{222}`; the tangential focus lies nearer the lens if positive [m].
    field_curvature : float
        :math:`W_{220}` of the sagittal focus, which lies nearer the lens if positive [m].
    distortion : float
        :math:`W_{311}`; barrel if positive, the image moves towards the axis [m].
    learnable : bool, default False
        Whether the five are parameters of the module.

    Notes
    -----
    Third order: beyond the edge of the field it goes on as the polynomial, and higher orders are
    left out. All wavelengths share the wavefront [m].

    References
    ----------
    W. T. Welford, *Aberrations of Optical Systems* (1986), chs. 7 and 8; H. H. Hopkins, *Wave
    Theory of Aberrations* (1950), for the coefficients :math:`W_{lmn}`.
    """

    coefficients: Tensor

    def __init__(
        self,
        base: Lens,
        *,
        aperture_diameter: float,
        half_field: float,
        spherical: float = 0.0,
        coma: float = 0.0,
        astigmatism: float = 0.0,
        field_curvature: float = 0.0,
        distortion: float = 0.0,
        learnable: bool = False,
    ) -> None:
        super().__init__(base)
        self.aperture_diameter = check_length("aperture_diameter", aperture_diameter)
        self.field_edge = math.tan(_check_half_field(half_field))
        values = torch.tensor(
            [spherical, coma, astigmatism, field_curvature, distortion], dtype=torch.float64
        )
        _hold(self, "coefficients", _check_wavefront("coefficients", values), learnable)

    @classmethod
    def from_sums(
        cls,
        base: Lens,
        sums: Sequence[float],
        *,
        aperture_diameter: float,
        half_field: float,
        learnable: bool = False,
    ) -> Self:
        r"""Lens with the Seidel sums :math:`S_I` to :math:`S_V` [m] of a lens design program.

        .. math:: W_{040} = S_I / 8, \; W_{131} = S_{II} / 2, \; W_{222} = S_{III} / 2, \;
                  W_{220} = (S_{III} + S_{IV}) / 4, \; W_{311} = S_V / 2
        """
        if len(sums) != 5:
            raise ValueError(f"sums has {len(sums)} entries, expected the five S_I to S_V [m]")
        one, two, three, four, five = sums
        return cls(
            base,
            aperture_diameter=aperture_diameter,
            half_field=half_field,
            spherical=one / 8,
            coma=two / 2,
            astigmatism=three / 2,
            field_curvature=(three + four) / 4,
            distortion=five / 2,
            learnable=learnable,
        )

    def added_opd(
        self, y: Tensor, x: Tensor, wavelength: Tensor, field: tuple[float, float]
    ) -> Tensor:
        edge = self.aperture_diameter / 2
        h = math.hypot(*field) / self.field_edge
        angle = math.atan2(field[0], field[1])
        along = (x * math.cos(angle) + y * math.sin(angle)) / edge
        square = (x.square() + y.square()) / edge**2
        w040, w131, w222, w220, w311 = self.coefficients.to(y)
        ahead: Tensor = square * (w040 * square + w131 * h * along + w220 * h**2)
        ahead = ahead + along * (w222 * h**2 * along + w311 * h**3)
        return -ahead[None]


class ZernikeLens(LensWith):
    r"""Zernike aberrations as polynomials of the field.

    .. math:: c_j(h) = c_j^{\mathrm{fixed}} +
              R_\alpha \Big[ \sum_p c_{pj}^{\mathrm{turning}} h^p \Big]_j

    The fixed part is one wavefront for all field points, as misaligned or warped elements make
    it. The turning part is that of a lens with rotational symmetry: it is given for a field point
    towards +x, and turns with the azimuth :math:`\alpha` of the field point.

    Parameters
    ----------
    base : Lens
        The lens without aberrations.
    aperture_diameter : float
        Pupil diameter, over which the modes have unit RMS [m].
    half_field : float
        Angle of the chief ray at which :math:`h = 1` [rad].
    fixed : sequence of float
        Coefficients of `opd` for Noll modes 1, 2, ... (positive delays) [m].
    turning : sequence of sequence of float
        Row p holds those that multiply :math:`h^p`. Only rotationally symmetric modes may stand
        in row 0: the others would jump on the axis.
    learnable : bool, default False
        Whether the coefficients are parameters of the module.
    """

    fixed: Tensor
    turning: Tensor
    continuous: Tensor

    def __init__(
        self,
        base: Lens,
        *,
        aperture_diameter: float,
        half_field: float,
        fixed: Sequence[float] = (0.0,),
        turning: Sequence[Sequence[float]] = ((0.0,),),
        learnable: bool = False,
    ) -> None:
        super().__init__(base)
        self.aperture_diameter = check_length("aperture_diameter", aperture_diameter)
        self.field_edge = math.tan(_check_half_field(half_field))
        constant = torch.tensor(list(fixed), dtype=torch.float64)
        rows = torch.tensor([list(row) for row in turning], dtype=torch.float64)
        orders = [noll_to_nm(j + 1)[1] for j in range(rows.shape[1])]
        allowed = torch.ones_like(rows)
        allowed[0] = torch.tensor([float(m == 0) for m in orders])
        if bool((rows != 0)[allowed == 0].any()):
            first = next(j + 1 for j, m in enumerate(orders) if m and rows[0, j] != 0)
            raise ValueError(
                f"turning[0] has a Noll mode {first}, which is not rotationally symmetric: it "
                f"would jump on the axis; put it into fixed, or into a row of a higher power"
            )
        self.register_buffer("continuous", allowed, persistent=False)
        _hold(self, "fixed", _check_wavefront("fixed", constant), learnable)
        _hold(self, "turning", _check_wavefront("turning", rows), learnable)

    def added_opd(
        self, y: Tensor, x: Tensor, wavelength: Tensor, field: tuple[float, float]
    ) -> Tensor:
        h = math.hypot(*field) / self.field_edge
        rows = (self.turning * self.continuous).to(y)
        powers = rows.new_tensor([h**p for p in range(len(rows))])
        turned = rotate_zernike(powers @ rows, math.atan2(field[0], field[1]))
        edge = self.aperture_diameter / 2
        total = zernike_at(turned, y / edge, x / edge)
        return (total + zernike_at(self.fixed.to(y), y / edge, x / edge))[None]


class VignettedLens(LensWith):
    """Round rims in front of and behind the stop cut the oblique bundles.

    A bundle of field tangent t is displaced by t times the distance at a rim that far behind the
    stop, which cuts it as a circle displaced the other way in the pupil.

    Parameters
    ----------
    base : Lens
        The lens between the rims.
    rim_diameters : sequence of float
        Clear diameters of the rims, as seen in the space of the pupil [m].
    rim_distances : sequence of float
        Their places along the axis, from the stop; negative in front of it [m].

    Notes
    -----
    The bundle is taken as parallel, right while the rims are much nearer to the stop than object
    and image; rims behind other elements enter by their images through these.
    """

    def __init__(
        self, base: Lens, *, rim_diameters: Sequence[float], rim_distances: Sequence[float]
    ) -> None:
        super().__init__(base)
        if len(rim_diameters) != len(rim_distances):
            raise ValueError(
                f"{len(rim_diameters)} rim_diameters and {len(rim_distances)} rim_distances: "
                f"give one of each per rim"
            )
        self.rims = tuple(
            (check_positive("rim_diameters", diameter, "m"), float(distance))
            for diameter, distance in zip(rim_diameters, rim_distances, strict=True)
        )

    def added_transmission(self, y: Tensor, x: Tensor, field: tuple[float, float]) -> Tensor:
        passed = torch.ones_like(y + x)
        for diameter, distance in self.rims:
            centre = (-distance * field[0], -distance * field[1])
            passed = passed * inside_circle(y, x, diameter / 2, centre=centre)
        if not bool(passed.any()):
            raise ValueError(
                f"field = ({field[0]:g}, {field[1]:g}): the rims pass no light at all for this "
                f"chief ray; use larger rim_diameters, smaller rim_distances or a smaller field"
            )
        return passed


def _check_half_field(angle: float) -> float:
    if not 0 < angle < math.pi / 2:
        raise ValueError(
            f"half_field = {angle:g} rad is outside (0, pi/2): it is the angle between the axis "
            f"and the chief ray at the edge of the field, so 15 degrees is 0.262"
        )
    return angle


def _check_wavefront(name: str, values: Tensor) -> Tensor:
    worst = float(values.abs().max()) if values.numel() else 0.0
    if not worst < 1e-2:
        raise ValueError(
            f"{name} reaches {worst:g} m: a wavefront is given in metres and stays under 1 cm; a "
            f"quarter wave of green light is 135e-9"
        )
    return values


def _hold(module: nn.Module, name: str, values: Tensor, learnable: bool) -> None:
    """Keep `values` as a parameter or as a buffer of `module`."""
    if learnable:
        module.register_parameter(name, nn.Parameter(values))
    else:
        module.register_buffer(name, values)
