"""Image sensor: colour response, electrons, noise, saturation, digital numbers.

bands.py    spectral response        sensor.py   binned measurement
noise.py    draws and moments        raw.py      raw mosaic, pixel by pixel
mosaic.py   colour mosaic and its interpolation
"""

from optics.sensor.bands import (
    IMX477_BANDS,
    Band,
    SpectralResponse,
    TableBand,
    imx477_table,
)
from optics.sensor.mosaic import (
    CFA_ORDERS,
    colour_filters,
    demosaic_bilinear,
    demosaic_malvar,
    sample_mosaic,
)
from optics.sensor.raw import expose_raw, raw_mean_and_variance
from optics.sensor.sensor import Sensor

__all__ = [
    "CFA_ORDERS",
    "IMX477_BANDS",
    "Band",
    "Sensor",
    "SpectralResponse",
    "TableBand",
    "colour_filters",
    "demosaic_bilinear",
    "demosaic_malvar",
    "expose_raw",
    "imx477_table",
    "raw_mean_and_variance",
    "sample_mosaic",
]
