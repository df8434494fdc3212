"""Modulators: devices that show a phase, and say when they do."""

from abc import ABC, abstractmethod
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hardware.clock import Clock, SystemClock


class PhaseModulator(ABC):
    """Shows a phase map on pixels; use it in a ``with`` block.

    Parameters
    ----------
    shape : tuple of int
        Pixels (H, W).
    pixel_pitch : float
        Side of a pixel [m].
    settle : float
        Time from the confirmation of a pattern until it stands still [s].
    clock : Clock
        Source of time.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        pixel_pitch: float,
        settle: float,
        *,
        clock: Clock | None = None,
    ) -> None:
        if min(shape) < 1 or not pixel_pitch > 0 or not 0 <= settle < 60:
            raise ValueError(
                f"shape = {shape}, pixel_pitch = {pixel_pitch:g} m, settle = {settle:g} s: "
                "pixels, a positive pitch, and 0 to 60 s are needed"
            )
        self.shape, self.pixel_pitch, self.settle = shape, pixel_pitch, settle
        self.clock = clock or SystemClock()
        self.shown = ""  #: digest of the pattern the device confirmed last, "" for none

    @abstractmethod
    def _display(self, phase: NDArray[np.float64], wavelength: float) -> str:
        """Show a phase, wait for the device to confirm it, and return the digest it confirmed."""

    @abstractmethod
    def blank(self) -> None:
        """Show a flat phase."""

    @abstractmethod
    def close(self) -> None:
        """Blank, and release the device; safe to call twice."""

    def show(self, phase: NDArray[np.floating], wavelength: float) -> str:
        """Show a phase, and return when it stands.

        Parameters
        ----------
        phase : ndarray of float, shape (H, W)
            Delay at `wavelength`; whole turns make no difference [rad].
        wavelength : float
            Vacuum wavelength it is meant for [m].

        Returns
        -------
        str
            Digest of what the device confirmed, for the record of a capture.

        Raises
        ------
        ValueError
            Shape or values are not what the device can show.
        HardwareError
            The device did not confirm it.
        """
        wanted = np.asarray(phase, dtype=np.float64)
        if wanted.shape != self.shape:
            raise ValueError(f"phase is {wanted.shape}, expected {self.shape}")
        if not np.isfinite(wanted).all():
            raise ValueError("phase holds values that are not numbers")
        if not 1e-7 <= wavelength <= 2e-5:
            raise ValueError(
                f"wavelength = {wavelength:g} m is outside [1e-07, 2e-05] m; 550 nm is 550e-9"
            )
        self.shown = ""
        self.shown = self._display(wanted, wavelength)
        self.clock.sleep(self.settle)
        return self.shown

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
