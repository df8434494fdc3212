"""Panels of liquid crystal: a phase becomes greys, and how far off they are."""

import math
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hardware.clock import Clock
from hardware.modulators.base import PhaseModulator
from hardware.modulators.response import TURN, Response, proportional, read_response

if TYPE_CHECKING:
    from hardware.modulators.correction import Correction


class LiquidCrystal(PhaseModulator):
    """A panel that delays light by its greys.

    A phase is corrected, wrapped at the wavelength of the light, and shown by the nearest grey of
    the first turn that the panel makes there.

    Parameters
    ----------
    shape, pixel_pitch, settle, clock
        As `PhaseModulator`.
    wavelength : float
        Vacuum wavelength of the calibration [m].
    bits : int
        Bits of a grey, 1 to 16.
    turn_grey : int, optional
        Grey of one turn at that wavelength, for a response in proportion; by default 2^bits.
    lut : path, optional
        Measured response in its place, see `read_response`.
    correction : path, optional
        Wavefront correction, see `read_correction`, measured at `correction_wavelength`.
    correction_wavelength : float, optional
        By default `wavelength` [m].
    correction_turn_grey : int, optional
        Grey of one turn in it.

    Raises
    ------
    ValueError
        The values mean nothing.
    HardwareError
        A file is not what it should be.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        pixel_pitch: float,
        settle: float,
        *,
        wavelength: float,
        bits: int = 8,
        turn_grey: int | None = None,
        lut: Path | str | None = None,
        correction: Path | str | None = None,
        correction_wavelength: float | None = None,
        correction_turn_grey: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(shape, pixel_pitch, settle, clock=clock)
        if not 1e-7 <= wavelength <= 2e-5:
            raise ValueError(f"wavelength = {wavelength:g} m: 1e-7 to 2e-5 m; 550 nm is 550e-9")
        if lut is not None and turn_grey is not None:
            raise ValueError("turn_grey and lut are both given: the table has its own turn")
        self.wavelength, self.bits = wavelength, bits
        self._whole = proportional(bits, turn_grey) if lut is None else read_response(lut, bits)
        self._correction: Correction | None = None
        if correction is not None:
            # needs imaging libraries, which a panel without a correction does not
            from hardware.modulators.correction import read_correction

            self._correction = read_correction(
                correction, self.shape, correction_wavelength or wavelength, correction_turn_grey
            )

    @abstractmethod
    def _show_greys(self, greys: NDArray[np.int64]) -> str:
        """Show greys (H, W), wait for the confirmation, and return its digest."""

    def response(self, wavelength: float) -> Response:
        """Return the first turn of the panel at a wavelength.

        Raises
        ------
        ValueError
            The panel makes less than one turn there.
        """
        scaled = self._whole.scaled(self.wavelength / wavelength)
        if not scaled.makes_a_turn:
            longest = self._longest_wavelength()
            raise ValueError(
                f"wavelength = {wavelength * 1e9:.4g} nm: the panel makes {scaled.range:.3g} rad "
                f"there, less than one turn ({TURN:.3g} rad); use {longest * 1e9:.4g} nm or less, "
                "or a video setting with more phase"
            )
        return scaled.first_turn()

    def quantisation_error(self, wavelength: float) -> float:
        """Return the largest error of a phase by the steps of the panel [rad]."""
        return self.response(wavelength).gap / 2

    def greys(self, phase: NDArray[np.floating], wavelength: float) -> NDArray[np.int64]:
        """Return the greys (H, W) that show a phase, correction included.

        Raises
        ------
        ValueError
            The panel makes less than one turn at the wavelength.
        """
        response = self.response(wavelength)
        wanted = np.asarray(phase, np.float64)
        if self._correction is not None:
            wanted = wanted + self._correction.at(wavelength)
        return response.greys[response.nearest(wanted)]

    def blank(self) -> None:
        """Show the grey of phase 0 everywhere; no correction, as no wavelength is given."""
        self.shown = ""
        self._show_greys(np.full(self.shape, self._whole.greys[0]))
        self.clock.sleep(self.settle)

    def _display(self, phase: NDArray[np.float64], wavelength: float) -> str:
        return self._show_greys(self.greys(phase, wavelength))

    def _longest_wavelength(self) -> float:
        """Return the longest wavelength of a whole turn, rounded down to 0.1 nm [m]."""
        step = float(np.diff(self._whole.phases).max(initial=0.0))
        longest = self.wavelength * (self._whole.range + step) / TURN
        return math.floor(longest * 1e10 + 1e-6) * 1e-10
