"""What a PSF does to a picture, in numbers.

spread.py      where the energy lies        transfer.py    MTF, MTF50
strehl.py      what is left of the peak     similarity.py  two PSFs, registered
information.py what an inversion recovers
"""

from optics.quality.information import (
    recoverable_bits,
    resolved_fraction,
    signal_to_noise,
    wiener,
)
from optics.quality.similarity import Registration, register
from optics.quality.spread import encircled_energy, encircled_radius, energy_inside, rms_radius
from optics.quality.strehl import pupil_strehl, strehl_ratio
from optics.quality.transfer import frequencies, line_mtf, mtf50, radial_mtf, transfer

__all__ = [
    "Registration",
    "encircled_energy",
    "encircled_radius",
    "energy_inside",
    "frequencies",
    "line_mtf",
    "mtf50",
    "pupil_strehl",
    "radial_mtf",
    "recoverable_bits",
    "register",
    "resolved_fraction",
    "rms_radius",
    "signal_to_noise",
    "strehl_ratio",
    "transfer",
    "wiener",
]
