r"""What a panel of liquid crystal makes of a grey: a phase.

At a wavelength other than that of the calibration the same path is another phase,

.. math:: \varphi(\lambda) = \varphi(\lambda_0) \, \lambda_0 / \lambda

where the dispersion of the birefringence is left out: in common mixtures it falls by some 15 %
from 450 to 650 nm. Further away than a few per cent of the wavelength, calibrate there.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardware.errors import HardwareError
from hardware.fabrication.columns import check_monotone, read_columns
from hardware.fabrication.design import Map

#: Phase of one turn [rad].
TURN = 2 * math.pi


@dataclass(frozen=True)
class Response:
    """Greys of a panel and their phases.

    Attributes
    ----------
    greys : ndarray of int, shape (G,)
        Greys that may be sent, in the order of their phases.
    phases : ndarray of float, shape (G,)
        Delay of each, rising [rad].
    """

    greys: NDArray[np.int64]
    phases: Map

    @property
    def range(self) -> float:
        """Phase from the first grey to the last [rad]."""
        return float(self.phases[-1] - self.phases[0])

    @property
    def gap(self) -> float:
        """Largest distance of neighbouring phases around the circle, within one turn [rad]."""
        around = TURN - self.range
        return float(max(np.diff(self.phases).max(initial=0.0), around))

    @property
    def makes_a_turn(self) -> bool:
        """Whether one step more than the last would come round to the first grey."""
        step = float(np.diff(self.phases).max(initial=0.0))
        return self.range + step >= TURN * (1 - 1e-9)

    def scaled(self, ratio: float) -> "Response":
        """Return the response where every phase is `ratio` times as large."""
        return replace(self, phases=self.phases * ratio)

    def first_turn(self) -> "Response":
        """Return the part within one turn from the first grey."""
        within = self.phases < self.phases[0] + TURN * (1 - 1e-12)
        return Response(self.greys[within], self.phases[within])

    def nearest(self, phase: Map) -> NDArray[np.int64]:
        """Return places in the table of the phases nearest to `phase`, around the circle.

        The response lies within one turn. They are off by at most half the `gap`.
        """
        wrapped = np.mod(phase - self.phases[0], TURN) + self.phases[0]
        following = np.append(self.phases[1:], self.phases[0] + TURN)
        place = np.searchsorted((self.phases + following) / 2, wrapped) % len(self.phases)
        return np.asarray(place, np.int64)


def proportional(bits: int, turn_grey: int | None = None) -> Response:
    """Return the response of a panel whose phase is in proportion to the grey.

    Parameters
    ----------
    bits : int
        Bits of a grey, 1 to 16.
    turn_grey : int, optional
        Grey of a phase of one turn, 2 to 2^bits; by default 2^bits.
    """
    if not 1 <= bits <= 16:
        raise ValueError(f"bits = {bits}: 1 to 16 are allowed")
    turn = 2**bits if turn_grey is None else turn_grey
    if not 2 <= turn <= 2**bits:
        raise ValueError(f"turn_grey = {turn}: 2 to {2**bits} are allowed")
    greys = np.arange(2**bits, dtype=np.int64)
    return Response(greys, greys * (TURN / turn))


def read_response(path: Path | str, bits: int) -> Response:
    """Return the response from a CSV with columns ``grey`` and ``phase_rad``, rising or falling.

    Between its rows straight lines are drawn.

    Raises
    ------
    HardwareError
        The file cannot be read, a column turns back, or a grey does not fit the bits.
    """
    grey, phase = read_columns(path, ("grey", "phase_rad"))
    check_monotone(path, "grey", grey, rising=True)
    check_monotone(path, "phase_rad", phase)
    if grey[0] < 0 or grey[-1] > 2**bits - 1:
        raise HardwareError(
            f"{path}: greys of {grey[0]:g} to {grey[-1]:g}; {bits} bits hold 0 to {2**bits - 1}"
        )
    greys = np.arange(math.ceil(grey[0]), math.floor(grey[-1]) + 1, dtype=np.int64)
    phases = np.interp(greys, grey, phase)
    if phases[-1] < phases[0]:
        greys, phases = greys[::-1], phases[::-1]
    return Response(greys, phases)
