"""Phase masks as the surfaces that are made.

base.py     the common law (height -> phase with dispersion) and the flat mask
relief.py   wrapped pixel relief, the default
zernike.py  smooth high-relief surface by Zernike modes
"""

from optics.masks.base import FlatMask, Mask
from optics.masks.relief import WrappedRelief
from optics.masks.zernike import ZernikeSurface

__all__ = ["FlatMask", "Mask", "WrappedRelief", "ZernikeSurface"]
