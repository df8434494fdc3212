"""Refractive index of mask and lens materials as a function of wavelength.

Indices are relative to air. Each material is one immutable object, so a configuration
names it by a word: ``material: fused_silica``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class Material:
    r"""A transparent solid.

    .. math::
        n^2 - 1 = \sum_k \frac{B_k \lambda^2}{\lambda^2 - C_k} \quad (\text{sellmeier}),
        \qquad n = A_0 + A_1 / \lambda^2 + A_2 / \lambda^4 \quad (\text{cauchy}),

    with the wavelength in micrometres, as the sources print it.

    Attributes
    ----------
    name : str
        Word used in configurations and files.
    formula : {"sellmeier", "cauchy"}
        Which equation the coefficients belong to.
    coefficients : sequence of float
        B1, C1, B2, C2, ... [-, um^2] or A0, A1, A2 [-, um^2, um^4].
    span : tuple of float
        Wavelengths over which the fit holds [m].
    source : str
        Where the coefficients were published.
    """

    name: str
    formula: Literal["sellmeier", "cauchy"]
    coefficients: Sequence[float]
    span: tuple[float, float]
    source: str

    def index(self, wavelength: float | Tensor) -> Tensor:
        """Refractive index at vacuum `wavelength` [m], float64, same shape."""
        wave = torch.as_tensor(wavelength, dtype=torch.float64)
        low, high = self.span
        if bool(((wave < low) | (wave > high)).any()):
            worst = wave.flatten()[((wave < low) | (wave > high)).flatten()][0].item()
            raise ValueError(
                f"wavelength = {worst:g} m is outside [{low:g}, {high:g}] m, where the index of "
                f"{self.name} is known"
            )
        square = (wave * 1e6) ** 2
        if self.formula == "cauchy":
            a = self.coefficients
            return a[0] + a[1] / square + a[2] / square**2
        pairs = zip(self.coefficients[::2], self.coefficients[1::2], strict=True)
        one = torch.ones_like(square)
        return sum((b * square / (square - c) for b, c in pairs), start=one).sqrt()


#: Materials by name.
MATERIALS = {
    material.name: material
    for material in (
        Material(
            "fused_silica",
            "sellmeier",
            (0.6961663, 0.0684043**2, 0.4079426, 0.1162414**2, 0.8974794, 9.896161**2),
            (2.1e-7, 3.7e-6),
            "I. H. Malitson, J. Opt. Soc. Am. 55, 1205 (1965)",
        ),
        Material(
            "pmma",
            "sellmeier",
            (1.1819, 0.011313),
            (4.0e-7, 1.1e-6),
            "N. Sultanova, S. Kasarova, I. Nikolov, Acta Phys. Pol. A 116, 585 (2009)",
        ),
        Material(
            "pdms",
            "sellmeier",
            (1.0093, 0.013185),
            (3.5e-7, 1.0e-6),
            "F. Schneider et al., Sens. Actuators A 151, 95 (2009)",
        ),
        Material(
            "noa61",
            "cauchy",
            (1.5375, 0.00829045, -0.000211046),
            (3.2e-7, 1.0e-6),
            "Norland Products, NOA 61 data sheet",
        ),
        Material(
            "ip_s",
            "cauchy",
            (1.4917, 0.00471, 0.000106),
            (4.0e-7, 1.1e-6),
            "T. Gissibl et al., Opt. Mater. Express 7, 2293 (2017): two-photon resin IP-S",
        ),
        Material(
            "n_bk7",
            "sellmeier",
            (1.03961212, 0.00600069867, 0.231792344, 0.0200179144, 1.01046945, 103.560653),
            (3.0e-7, 2.5e-6),
            "Schott, N-BK7 data sheet (2014)",
        ),
    )
}


def material(name: str) -> Material:
    """Material called `name`; the error lists the ones there are."""
    if name not in MATERIALS:
        raise ValueError(f"material = {name!r}, known are {', '.join(sorted(MATERIALS))}")
    return MATERIALS[name]
