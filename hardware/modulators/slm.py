"""Spatial light modulators that are a second screen, as those on HDMI and DisplayPort are."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardware.modulators.panel import LiquidCrystal
from hardware.modulators.screen import Screen


class ScreenSlm(LiquidCrystal):
    """Modulator on a video output: the greys are the picture of a screen.

    Parameters
    ----------
    screen : Screen
        The panel as a screen; it is closed with the modulator, and its `settle` counts.
    pixel_pitch : float
        Side of a pixel [m].
    wavelength, bits, turn_grey, lut, correction, correction_wavelength, correction_turn_grey
        As `LiquidCrystal`; a screen shows 8 bits at most.
    """

    def __init__(
        self,
        screen: Screen,
        pixel_pitch: float,
        *,
        wavelength: float,
        bits: int = 8,
        turn_grey: int | None = None,
        lut: Path | str | None = None,
        correction: Path | str | None = None,
        correction_wavelength: float | None = None,
        correction_turn_grey: int | None = None,
    ) -> None:
        if bits > 8:
            raise ValueError(f"bits = {bits}: a screen shows 1 to 8")
        super().__init__(
            screen.shape,
            pixel_pitch,
            screen.settle,
            wavelength=wavelength,
            bits=bits,
            turn_grey=turn_grey,
            lut=lut,
            correction=correction,
            correction_wavelength=correction_wavelength,
            correction_turn_grey=correction_turn_grey,
            clock=screen.clock,
        )
        self.screen = screen

    def close(self) -> None:
        """Show black, and end the page; safe to call twice."""
        self.shown = ""
        self.screen.close()

    def _show_greys(self, greys: NDArray[np.int64]) -> str:
        return self.screen.present(greys.astype(np.uint8))
