"""Differentiable wave optics for cameras with phase masks: SI units, torch, no files.

units.py        range checks           grids.py        sample positions, grey stop
materials.py    dispersion             zernike.py      Noll modes without a stored basis
propagation.py  pupil -> sensor        masks/          height maps
lenses/         thin, aberrated        sensor/         electrons, noise, DN
camera.py       PSF on sensor pixels   imaging/        scene x PSF
fabrication/    what the making does to a mask
reconstruction.py  scenes from measurements, the PSF known
quality/        Strehl, MTF, registration, spread, what an inversion recovers

Conventions: arrays (..., H, W), y down the rows; colours R, G, B; sample centres at
(n - (N - 1) / 2); time dependence exp(-i omega t), so a converging lens is exp(-i k r^2 / 2f)
and a mask that tilts towards +x moves the spot to larger columns; `psf` sums to the transmitted
energy fraction; phases are formed in float64 and reduced before they are rounded.
"""

from optics.camera import Camera
from optics.fabrication import Errors, Fabricated, Fabrication
from optics.imaging import (
    StrayLight,
    blur,
    blur_eigen,
    blur_layers,
    blur_varying,
    eigen_psfs,
    field_grid,
    layer_coverage,
    layer_distances,
    resize,
)
from optics.lenses import (
    Lens,
    MappedLens,
    ObjectivePupil,
    SeidelLens,
    TabulatedLens,
    ThinLens,
    VignettedLens,
    ZernikeLens,
)
from optics.masks import (
    BSplineSurface,
    DeformableMirror,
    FlatMask,
    GivenSurface,
    Mask,
    MaskStack,
    MultilevelRelief,
    RadialSurface,
    WrappedRelief,
    ZernikeSurface,
)
from optics.materials import MATERIALS, Material, material
from optics.sensor import IMX477_BANDS, Band, Sensor, TableBand

__all__ = [
    "IMX477_BANDS",
    "MATERIALS",
    "BSplineSurface",
    "Band",
    "Camera",
    "DeformableMirror",
    "Errors",
    "Fabricated",
    "Fabrication",
    "FlatMask",
    "GivenSurface",
    "Lens",
    "MappedLens",
    "Mask",
    "MaskStack",
    "Material",
    "MultilevelRelief",
    "ObjectivePupil",
    "RadialSurface",
    "SeidelLens",
    "Sensor",
    "StrayLight",
    "TableBand",
    "TabulatedLens",
    "ThinLens",
    "VignettedLens",
    "WrappedRelief",
    "ZernikeLens",
    "ZernikeSurface",
    "blur",
    "blur_eigen",
    "blur_layers",
    "blur_varying",
    "eigen_psfs",
    "field_grid",
    "layer_coverage",
    "layer_distances",
    "material",
    "resize",
]
