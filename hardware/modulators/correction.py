"""The wavefront correction of a panel: the picture that makes its reflection flat.

Makers deliver it as a grey image of the phase, wrapped, for one wavelength.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hardware.errors import HardwareError
from hardware.fabrication.design import Map
from hardware.modulators.response import TURN


@dataclass(frozen=True)
class Correction:
    """Phase that is added to every picture.

    Attributes
    ----------
    phase : ndarray of float, shape (H, W)
        The phase, wrapped or not [rad].
    wavelength : float
        Vacuum wavelength at which it was measured [m].
    """

    phase: Map
    wavelength: float

    def at(self, wavelength: float) -> Map:
        """Return the phase at another wavelength: the same path.

        A wrapped phase has no ratio to another one, so it is unwrapped first.

        Raises
        ------
        ValueError
            It cannot be unwrapped without doubt.
        """
        if abs(wavelength / self.wavelength - 1) < 1e-6:
            return self.phase
        return _unwrapped(self.phase) * (self.wavelength / wavelength)


def read_correction(
    path: Path | str, shape: tuple[int, int], wavelength: float, turn_grey: int | None = None
) -> Correction:
    """Return the correction of a grey image.

    Parameters
    ----------
    path : Path
        Image of 8 or 16 bits.
    shape : tuple of int
        Pixels (H, W) of the panel.
    wavelength : float
        Vacuum wavelength at which it was measured [m].
    turn_grey : int, optional
        Grey of one turn; by default 256, or 65536 if it has 16 bits.

    Raises
    ------
    HardwareError
        The file is no grey image of the panel's size.
    """
    from hardware.fabrication.raster import read_image  # needs Pillow, which a Pi may lack

    try:
        grey, bits = read_image(Path(path), 8)[0], 8
    except HardwareError:
        grey, bits = read_image(Path(path), 16)[0], 16
    if grey.shape != shape:
        raise HardwareError(f"{path}: {grey.shape} pixels (rows, columns), the panel has {shape}")
    return Correction(np.asarray(grey * (TURN / (turn_grey or 2**bits)), np.float64), wavelength)


def _unwrapped(phase: Map) -> Map:
    """Return the phase without jumps, by whole turns from pixel to pixel (K. Itoh, 1982)."""
    first = np.unwrap(phase[:, :1], axis=0)
    whole = np.unwrap(np.concatenate([first, phase[:, 1:]], axis=1), axis=1)
    if any(np.abs(np.diff(whole, axis=axis)).max(initial=0.0) > TURN / 2 for axis in (0, 1)):
        raise ValueError(
            "the wavefront correction jumps by half a turn from pixel to pixel, so that it cannot "
            "be unwrapped; take the correction that was measured at the wavelength in use"
        )
    return np.asarray(whole, np.float64)
