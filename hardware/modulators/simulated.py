"""A panel and a mirror that are not there: they quantise, take their time, and remember."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardware.clock import Clock
from hardware.fabrication.design import Map
from hardware.fabrication.influence import Influence
from hardware.modulators.mirror import DeformableMirror
from hardware.modulators.panel import LiquidCrystal

#: Half widths of the loops that make up the hysteresis, in half ranges of an actuator.
_LOOPS = np.arange(1, 8) / 8


class SimulatedSlm(LiquidCrystal):
    """Panel whose phase can be looked at; arguments as `LiquidCrystal`.

    Without its correction the panel is as far from flat as the correction says.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        pixel_pitch: float,
        settle: float = 0.05,
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
        super().__init__(
            shape,
            pixel_pitch,
            settle,
            wavelength=wavelength,
            bits=bits,
            turn_grey=turn_grey,
            lut=lut,
            correction=correction,
            correction_wavelength=correction_wavelength,
            correction_turn_grey=correction_turn_grey,
            clock=clock,
        )
        rest = np.full(self.shape, self._whole.greys[0])
        self._before, self._after, self._changed = rest, rest, self.clock.now() - settle

    def phase(self, wavelength: float) -> Map:
        """Return the phase (H, W) that light of a wavelength is given now [rad].

        Between two pictures it turns at an even rate, and stands after `settle`.
        """
        span = self.clock.now() - self._changed
        settled = span >= self.settle * (1 - 1e-9)  # clocks add up times with rounding
        before, after = (self._made(greys, wavelength) for greys in (self._before, self._after))
        return after if settled else before + span / self.settle * (after - before)

    def close(self) -> None:
        """Blank."""
        self.shown = ""
        self._show_greys(np.full(self.shape, self._whole.greys[0]))

    def _show_greys(self, greys: NDArray[np.int64]) -> str:
        self._before, self._after, self._changed = self._after, greys, self.clock.now()
        return hashlib.sha256(np.ascontiguousarray(greys, "<u2").tobytes()).hexdigest()

    def _made(self, greys: NDArray[np.int64], wavelength: float) -> Map:
        known = np.full(2**self.bits, np.nan)
        known[self._whole.greys] = self._whole.phases * (self.wavelength / wavelength)
        made = known[greys]
        return made if self._correction is None else made - self._correction.at(wavelength)


class SimulatedMirror(DeformableMirror):
    r"""Mirror with the hysteresis of piezos, as a sum of plays of different widths.

    .. math:: y = w_0 \, c + w \sum_i p_i, \quad p_i \leftarrow
              \min(\max(p_i, c - r_i), c + r_i)

    which is the model of Prandtl and Ishlinskii (M. Brokate, J. Sprekels, *Hysteresis and Phase
    Transitions* (1996), sec. 2.3). In the middle of its loops it obeys the influence.

    Parameters
    ----------
    influence, diameter, settle, damping, clip, swings, samples, clock
        As `DeformableMirror`.
    hysteresis : float
        Opening of the loop over the full range, relative to the stroke, 0 to 0.4; a piezo mirror
        of 40 segments has 0.14 to 0.25.
    """

    def __init__(
        self,
        influence: Influence | Path | str,
        diameter: float,
        settle: float = 0.005,
        *,
        hysteresis: float = 0.14,
        damping: float = 0.01,
        clip: bool = False,
        swings: int = 20,
        samples: int = 64,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(
            influence,
            diameter,
            settle,
            damping=damping,
            clip=clip,
            swings=swings,
            samples=samples,
            clock=clock,
        )
        if not 0 <= hysteresis <= 0.4:
            raise ValueError(f"hysteresis = {hysteresis:g}: 0 to 0.4 is allowed")
        # w such that w0 + sum(w) = 1 and the loop opens by `hysteresis` of the stroke
        opening = np.minimum(_LOOPS, 1 - _LOOPS).sum()
        self._weight = hysteresis / (opening + hysteresis * _LOOPS.sum())
        self._part = np.zeros(len(self.influence.lowest))
        self._plays = np.zeros((len(_LOOPS), len(self._part)))

    def surface(self) -> Map:
        """Return the surface (S, S) that stands, without piston, 0 outside the pupil [m]."""
        made = (1 - self._weight * len(_LOOPS)) * self._part
        made = made + self._weight * self._plays.sum(axis=0)
        half = (self.influence.highest - self.influence.lowest) / 2
        return self.influence.shape_of(self.influence.middle() + made * half)

    def _apply(self, commands: Map) -> Map:
        half = (self.influence.highest - self.influence.lowest) / 2
        self._part = (commands - self.influence.middle()) / half
        widths = _LOOPS[:, None]
        self._plays = np.clip(self._plays, self._part - widths, self._part + widths)
        return commands

    def _rest(self) -> None:
        self._apply(self.influence.middle())

    def _release(self) -> None:
        return
