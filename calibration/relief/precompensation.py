r"""The next height to order, so that what is made comes closer to what was meant.

.. math:: h_{k+1} = h_k - \gamma \, G_\sigma * r_k, \qquad r_k = \text{made}_k - \text{design}

limited to what the process can make. For a linear process of depth scale a and Gaussian blur
:math:`\sigma_p`, a wave of frequency f in the error shrinks each round by

.. math:: |1 - \gamma a \, e^{-2 \pi^2 (\sigma^2 + \sigma_p^2) f^2}|

so it converges for :math:`\gamma a < 2`, and slowly where the blur has taken everything; the
low-pass keeps the noise of the measurement there out of the mask.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from calibration.errors import CalibrationError
from calibration.relief.placement import smoothed
from hardware.fabrication.design import Map, MaskDesign


@dataclass(frozen=True)
class Correction:
    """The next mask to make.

    Attributes
    ----------
    design : MaskDesign
        Heights to order. They are no longer what the optics needs, but what the process wants.
    limited : int
        Cells within the clear diameter that the process range holds back.
    change : float
        rms of the change within the clear diameter [m].
    """

    design: MaskDesign
    limited: int
    change: float


@dataclass(frozen=True)
class Precompensation:
    """Correction of a mask by its measured error.

    Attributes
    ----------
    lowest, highest : float
        Range of heights that the process makes [m].
    gain : float
        Share of the error that is corrected in one round, above 0 and below 2.
    blur : float
        Standard deviation of the low-pass on the error [m].
    """

    lowest: float
    highest: float
    gain: float = 0.8
    blur: float = 4e-6

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lowest) and self.lowest < self.highest < math.inf):
            raise ValueError(
                f"lowest = {self.lowest:g} m, highest = {self.highest:g} m: the lowest height has "
                f"to be below the highest"
            )
        if not 0 < self.gain < 2:
            raise ValueError(
                f"gain = {self.gain:g}: above 0 and below 2 are allowed; others diverge"
            )
        if not (math.isfinite(self.blur) and 0 <= self.blur < 1e-2):
            raise ValueError(f"blur = {self.blur:g} m: 0 to 10 mm are allowed")

    def factor(self, frequency: float, *, scale: float = 1.0, process_blur: float = 0.0) -> float:
        """Return by what a wave in the error is multiplied in a round of a linear process.

        Parameters
        ----------
        frequency : float
            Of the wave [1/m].
        scale : float
            Depth scale of the process.
        process_blur : float
            Standard deviation of its blur [m].
        """
        total = self.blur**2 + process_blur**2
        return 1 - self.gain * scale * math.exp(-2 * (math.pi * frequency) ** 2 * total)

    def next(self, ordered: MaskDesign, residual: Map) -> Correction:
        """Return the next mask to order.

        Parameters
        ----------
        ordered : MaskDesign
            What was ordered, and measured.
        residual : ndarray
            (H, W) made less designed height, as `calibration.relief.surface.register` gives it for
            the original design; NaN where nothing was measured [m].
        """
        residual = np.asarray(residual, np.float64)
        if residual.shape != ordered.shape:
            raise ValueError(
                f"residual has shape {residual.shape}, the mask {ordered.shape}: register the "
                f"measurement to this design"
            )
        known = np.isfinite(residual) & ordered.clear
        if known.sum() < 0.5 * ordered.clear.sum():
            raise CalibrationError(
                f"{known.sum()} of {ordered.clear.sum()} cells were measured; at least half are "
                f"needed: measure the rest too"
            )
        cells = self.blur / ordered.spacing
        # Cells far from any measured one keep their height.
        error = np.nan_to_num(smoothed(residual, known, (cells, cells)))
        wanted = np.where(ordered.clear, ordered.height - self.gain * error, ordered.height)
        height = np.where(ordered.clear, np.clip(wanted, self.lowest, self.highest), ordered.height)
        change = (height - ordered.height)[ordered.clear]
        return Correction(
            replace(ordered, height=height),
            int(np.count_nonzero(height != wanted)),
            float(np.sqrt(np.mean(change**2))),
        )
