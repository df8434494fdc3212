"""Objective of high numerical aperture: exact axial phase and apodisation, scalar."""

from dataclasses import dataclass

import torch
from torch import Tensor

from optics.lenses.base import Lens, inside_circle
from optics.units import check_length, check_positive


@dataclass(frozen=True)
class ObjectivePupil(Lens):
    r"""Aplanatic objective, corrected for one object plane, with the exact phase beside it.

    Abbe's sine condition maps the ray of angle :math:`\theta` in the medium of index :math:`n` to
    the pupil radius :math:`r = n f \sin\theta`. A point displaced by :math:`\delta` away from the
    plane in focus gives the pupil phase

    .. math:: k n \delta \left( \cos\theta - 1 \right), \qquad
              \cos\theta = \sqrt{1 - (r / n f)^2},

    of which the camera applies the paraxial part :math:`-k \delta r^2 / 2 n f^2`; `opd` is the
    rest, :math:`\delta = -n f^2 (1/d + 1/z - 1/f)` having the same paraxial part.

    Attributes
    ----------
    focal_length : float
        Focal length on the side of air [m].
    numerical_aperture : float
        :math:`n \sin\theta` of the marginal ray.
    index : float
        Refractive index of the medium of the object: 1 dry, 1.515 oil.
    apodisation : float
        Power of :math:`\cos\theta` in the amplitude: -0.5 for a point source that the objective
        collects, 0.5 for focusing a plane wave, 0 for none. Scaled so that its largest value is 1.

    Notes
    -----
    Scalar: polarisation is left out, which a focus of 0.7 and more begins to show. Object
    distances are those in air that have the same paraxial vergence, :math:`d / n`.

    References
    ----------
    M. Gu, *Advanced Optical Imaging Theory* (2000), ch. 6; E. Wolf, Proc. R. Soc. A 253, 349
    (1959), for the sine condition and its apodisation.
    """

    focal_length: float
    numerical_aperture: float
    index: float = 1.0
    apodisation: float = -0.5

    changes_with_depth = True

    def __post_init__(self) -> None:
        check_length("focal_length", self.focal_length)
        check_positive("numerical_aperture", self.numerical_aperture)
        if not 1 <= self.index <= 4:
            raise ValueError(f"index = {self.index:g} is outside [1, 4]; 1 is dry, 1.515 oil")
        if self.numerical_aperture >= self.index:
            raise ValueError(
                f"numerical_aperture = {self.numerical_aperture:g} is not below the index "
                f"{self.index:g} of the medium: it is index * sin(angle), and no ray is steeper "
                f"than 90 degrees; lower it or use an immersion with a higher index"
            )
        if self.apodisation not in (-0.5, 0.0, 0.5):
            raise ValueError(
                f"apodisation = {self.apodisation:g}: use -0.5 (collecting), 0.5 (focusing) or 0"
            )

    @property
    def pupil_diameter(self) -> float:
        """Diameter of the pupil that the aperture fills, 2 f NA [m]."""
        return 2 * self.focal_length * self.numerical_aperture

    def power(self, wavelength: Tensor) -> Tensor:
        return torch.full_like(wavelength.to(torch.float64), 1 / self.focal_length)

    def _sine(self, y: Tensor, x: Tensor) -> Tensor:
        """Squared sine of the ray angle in the medium, held at the marginal ray beyond it."""
        square = (y.square() + x.square()) / (self.index * self.focal_length) ** 2
        # samples that the rim cuts have their centres up to a sample beyond it
        return square.clamp(max=0.5 + (self.numerical_aperture / self.index) ** 2 / 2)

    def opd(
        self,
        y: Tensor,
        x: Tensor,
        wavelength: Tensor,
        *,
        field: tuple[float, float],
        object_distance: float,
        sensor_distance: float,
    ) -> Tensor:
        vergence = 1 / object_distance + 1 / sensor_distance - 1 / self.focal_length
        square = self._sine(y, x)
        cosine = (1 - square).sqrt()
        # cos - 1 + sin^2 / 2 without the difference of nearly equal numbers
        rest = -square.square() / (2 * (1 + cosine).square())
        displacement = -self.index * self.focal_length**2 * vergence
        return (self.index * displacement * rest)[None]

    def transmission(self, y: Tensor, x: Tensor, *, field: tuple[float, float]) -> Tensor:
        cosine = (1 - self._sine(y, x)).sqrt()
        marginal = (1 - (self.numerical_aperture / self.index) ** 2) ** 0.5
        largest = marginal**self.apodisation if self.apodisation < 0 else 1.0
        shape = (cosine**self.apodisation / largest).clamp(max=1)
        return shape * inside_circle(y, x, self.pupil_diameter / 2)
