"""Values with their standard uncertainty, and the straight line that most of them come from."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Uncertain:
    """A value and its standard uncertainty (one standard deviation), both in the same unit."""

    value: float
    uncertainty: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"value = {self.value:g}: a finite number is needed")
        if not (math.isfinite(self.uncertainty) and self.uncertainty >= 0):
            raise ValueError(
                f"uncertainty = {self.uncertainty:g}: a finite number of at least zero is needed"
            )

    def __str__(self) -> str:
        return f"{self.value:.4g} ± {self.uncertainty:.2g}"

    def divided_by(self, other: "Uncertain") -> "Uncertain":
        """Return the quotient of two values whose errors are independent."""
        value = self.value / other.value
        return Uncertain(
            value, math.hypot(self.uncertainty, value * other.uncertainty) / abs(other.value)
        )


def square_root(variance: float, uncertainty: float) -> Uncertain:
    """Return the root of a variance that is uncertain, and zero where it came out negative.

    Near zero the root is no longer linear: there the uncertainty is that of a variance as large
    as its own uncertainty.
    """
    value = math.sqrt(max(variance, 0.0))
    if uncertainty == 0:
        return Uncertain(value, 0.0)
    return Uncertain(value, uncertainty / (2 * max(value, math.sqrt(uncertainty) / 2)))


@dataclass(frozen=True)
class Line:
    """A weighted straight line y = offset + slope x.

    Attributes
    ----------
    offset, slope : Uncertain
        With uncertainties that the scatter widens where it is more than the errors explain.
    chi_square : float
        Sum of the squared residuals in their expected deviations.
    degrees : int
        Points less two.
    """

    offset: Uncertain
    slope: Uncertain
    chi_square: float
    degrees: int


def weighted_line(
    x: NDArray[np.float64], y: NDArray[np.float64], variance: NDArray[np.float64]
) -> Line:
    """Fit a straight line to two or more points.

    Parameters
    ----------
    x, y : ndarray
        (n,) points; at least two different x.
    variance : ndarray
        (n,) of the y, above zero.
    """
    if len(x) < 2 or np.ptp(x) == 0:
        raise ValueError(f"x has {len(np.unique(x))} different values; a line needs two or more")
    weight = 1 / variance
    total = weight.sum()
    x0, y0 = (weight * x).sum() / total, (weight * y).sum() / total
    spread = (weight * (x - x0) ** 2).sum()
    slope = (weight * (x - x0) * (y - y0)).sum() / spread
    offset = y0 - slope * x0
    chi_square = float((weight * (y - offset - slope * x) ** 2).sum())
    degrees = len(x) - 2
    # Birge: what the errors do not explain is shared out over all of them
    widen = max(1.0, chi_square / degrees) if degrees else 1.0
    return Line(
        Uncertain(float(offset), math.sqrt(widen * (1 / total + x0**2 / spread))),
        Uncertain(float(slope), math.sqrt(widen / spread)),
        chi_square,
        degrees,
    )
