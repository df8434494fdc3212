"""Wrapped pixel relief: cells of free height, taken modulo a whole number of wavelengths."""

from torch import Tensor

from optics.masks.carrier import CarrierRelief, Profile


class WrappedRelief(CarrierRelief):
    r"""Square cells of free height :math:`h \in [0, h_w)`, flat within a cell.

    The learned surface is a smooth carrier plus a free height per cell, wrapped at
    :math:`h_w = p \lambda_0 / (n_0 - 1)`, the largest multiple of one wavelength that the
    process depth holds:

    .. math:: h = \left( \frac{s \, g(r)}{n_0 - 1} + \frac{\lambda_0}{n_0 - 1} t \right)
              \bmod h_w

    with the spread :math:`s` [rad], the carrier :math:`g` of `CarrierRelief` and :math:`t` the
    cell's free height in turns. Wrapping at :math:`p > 1` wavelengths is what keeps the other
    wavelengths out of the zeroth order: at :math:`\lambda` the cell zones act as a blaze of
    order :math:`p \lambda_0 / \lambda`, and the share of light that stays undeflected is
    :math:`\mathrm{sinc}^2(p \lambda_0 / \lambda)`; p = 1 leaves 2 to 4 % in blue, which is a
    sharp image on top of the blurred one.

    Parameters
    ----------
    aperture_diameter : float
        Clear diameter to cover [m].
    cell, max_height, max_aspect, material, design_wavelength, profile, spread, cut, seed
        As for `CarrierRelief`.

    References
    ----------
    D. W. Sweeney, G. E. Sommargren, Appl. Opt. 34, 2469 (1995), eqs. 6 and 7 (harmonic
    diffractive lens); D. L. Shealy, J. A. Hoffnagle, *Laser Beam Shaping* (2000), ch. 4
    (radial energy balance).
    """

    def __init__(
        self,
        *,
        aperture_diameter: float,
        cell: float,
        max_height: float = 8e-6,
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

    def height(self) -> Tensor:
        """Return the wrapped height (samples, samples), in [0, orders * turn_height) [m]."""
        return self.surface().remainder(self.wrap_height)
