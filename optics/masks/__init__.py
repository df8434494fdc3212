"""Phase masks as the surfaces that are made.

base.py       the common law (height -> phase with dispersion) and the flat mask
relief.py     wrapped pixel relief, the default
doe.py        the same on the few levels that etches make
zernike.py    smooth high-relief surface by Zernike modes
bspline.py    smooth surface by a cubic B-spline
radial.py     rotationally symmetric surface, computed in one dimension
mirror.py     deformable mirror with actuators
composite.py  masks in contact, a mask on a curved lens surface
"""

from optics.masks.base import FlatMask, Mask
from optics.masks.bspline import BSplineSurface
from optics.masks.composite import ConicDeparture, CurvedMask, MaskStack
from optics.masks.doe import MultilevelRelief
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
    "Mask",
    "MaskStack",
    "MultilevelRelief",
    "RadialSurface",
    "WrappedRelief",
    "ZernikeModes",
    "ZernikeSurface",
]
