"""Image formation: scene times PSF, incoherent, always as a linear convolution.

uniform.py      one PSF                          varying.py  a PSF for every place in the field
layers.py       one per depth, with occlusion    eigen.py    the same by a few modes
convolution.py  the windowed sum behind them     stray.py    veiling glare and scatter
"""

from optics.imaging.eigen import EigenPsfs, blur_eigen, eigen_psfs
from optics.imaging.layers import blur_layers, layer_coverage, layer_distances
from optics.imaging.stray import StrayLight
from optics.imaging.uniform import blur, resize
from optics.imaging.varying import blur_varying, field_grid

__all__ = [
    "EigenPsfs",
    "StrayLight",
    "blur",
    "blur_eigen",
    "blur_layers",
    "blur_varying",
    "eigen_psfs",
    "field_grid",
    "layer_coverage",
    "layer_distances",
    "resize",
]
