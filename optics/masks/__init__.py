"""Phase masks as the surfaces that are made.

base.py       the common law (height -> phase with dispersion) and the flat mask

carrier.py    pixel reliefs: a smooth carrier and a free height per cell
relief.py     wrapped, the default
doe.py        wrapped, on the few levels that etches make

smooth.py     smooth surfaces: limits of relief and slope that always hold
zernike.py    by Zernike modes
bspline.py    by a cubic B-spline
radial.py     rotationally symmetric, computed in one dimension

given.py      a surface from outside: measured, or read back from a file
mirror.py     deformable mirror with actuators
composite.py  masks in contact, a mask on a curved lens surface
"""

from optics.masks.base import FlatMask, Mask
from optics.masks.bspline import BSplineSurface
from optics.masks.composite import ConicDeparture, CurvedMask, MaskStack
from optics.masks.doe import MultilevelRelief
from optics.masks.given import GivenSurface
from optics.masks.mirror import DeformableMirror, GaussianActuators, GivenInfluence, ZernikeModes
from optics.masks.radial import RadialSurface
from optics.masks.relief import WrappedRelief
from optics.masks.zernike import ZernikeSurface

__all__ = [
    "BSplineSurface",
    "ConicDeparture",
    "CurvedMask",
    "DeformableMirror",
    "FlatMask",
    "GaussianActuators",
    "GivenInfluence",
    "GivenSurface",
    "Mask",
    "MaskStack",
    "MultilevelRelief",
    "RadialSurface",
    "WrappedRelief",
    "ZernikeModes",
    "ZernikeSurface",
]
