"""Lenses: ideal, aberrated over the field, of high aperture, or tabulated.

base.py       what a camera asks of a lens; a lens with a property added
thin.py       thin lens with dispersion
aberrated.py  Seidel and Zernike aberrations over the field, vignetting
objective.py  objective of high numerical aperture, exact axial phase
tabulated.py  measured or exported wavefronts: Zernike tables and maps
fields.py     interpolation between the field points of a table

Aberrations, vignetting and tables are added to another lens, so they stack: a vignetted Seidel
lens is `VignettedLens(SeidelLens(ThinLens(...), ...), ...)`.
"""

from optics.lenses.aberrated import SeidelLens, VignettedLens, ZernikeLens
from optics.lenses.base import Lens, LensWith
from optics.lenses.fields import FieldGrid, FieldLayout, FieldPoints, FieldRadius
from optics.lenses.objective import ObjectivePupil
from optics.lenses.tabulated import MappedLens, TabulatedLens
from optics.lenses.thin import ThinLens

__all__ = [
    "FieldGrid",
    "FieldLayout",
    "FieldPoints",
    "FieldRadius",
    "Lens",
    "LensWith",
    "MappedLens",
    "ObjectivePupil",
    "SeidelLens",
    "TabulatedLens",
    "ThinLens",
    "VignettedLens",
    "ZernikeLens",
]
