"""Least squares of named parameters, and the names of those that the data leave open."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from calibration.errors import CalibrationError
from calibration.uncertainty import Uncertain

Array = NDArray[np.float64]

_TAKES_PART = 0.1  # share of a direction's length above which a parameter is named


@dataclass(frozen=True)
class Parameter:
    """A number to be found.

    Attributes
    ----------
    name : str
        What it is called in messages.
    start : float
        First guess.
    span : float
        How far it could be from that; data that leave it more open than this say nothing of it.
    """

    name: str
    start: float
    span: float


@dataclass(frozen=True, eq=False)
class Solution:
    """Values of the parameters and how well they are known.

    Attributes
    ----------
    values : ndarray
        (n,) in the order of the parameters.
    covariance : ndarray
        (n, n), widened where the residuals are larger than their errors.
    chi_square : float
        Sum of squares of the residuals.
    degrees : int
        Residuals, those of what was known included, less parameters.
    names : tuple of str
        Of the parameters.
    """

    values: Array
    covariance: Array
    chi_square: float
    degrees: int
    names: tuple[str, ...]

    def __getitem__(self, name: str) -> Uncertain:
        place = self.names.index(name)
        return Uncertain(
            float(self.values[place]), float(np.sqrt(max(self.covariance[place, place], 0.0)))
        )


def solved(
    residuals: Callable[[Array], Array],
    parameters: Sequence[Parameter],
    known: Mapping[str, Uncertain],
    advice: str,
) -> Solution:
    """Find the parameters that make residuals small.

    Parameters
    ----------
    residuals : callable
        Takes the values (n,) and returns residuals in units of their standard deviations.
    parameters : sequence of Parameter
        What is to be found.
    known : mapping
        What is known of some of them from elsewhere, by name.
    advice : str
        What helps when the data do not tell parameters apart; ends the message.

    Raises
    ------
    CalibrationError
        Some parameters, which it names, are left open, or there are too few residuals.
    """
    names = tuple(p.name for p in parameters)
    for name, value in known.items():
        if name not in names:
            raise ValueError(f"known[{name!r}]: the parameters are {', '.join(names)}")
        if value.uncertainty == 0:
            raise ValueError(
                f"known[{name!r}] = {value.value:g} with no uncertainty: give its standard one"
            )
    places = [names.index(name) for name in known]
    means = np.array([known[name].value for name in known])
    errors = np.array([known[name].uncertainty for name in known])
    start = np.array([p.start for p in parameters])
    start[places] = means
    span = np.array([p.span for p in parameters])

    def all_residuals(scaled: Array) -> Array:
        values = start + scaled * span
        return np.concatenate([residuals(values), (values[places] - means) / errors])

    found = optimize.least_squares(
        all_residuals, np.zeros(len(names)), x_scale="jac", jac="3-point"
    )
    jacobian = np.asarray(found.jac)
    lengths, directions = _directions(jacobian)
    open_ = lengths < 1
    if open_.any():
        parts = np.abs(directions[open_]).max(axis=0) > _TAKES_PART
        which = ", ".join(name for name, part in zip(names, parts, strict=True) if part)
        raise CalibrationError(
            f"the data do not fix {which}{' apart' if parts.sum() > 1 else ''}: {advice}"
        )
    chi_square = 2 * float(found.cost)
    degrees = len(found.fun) - len(names)
    widen = max(1.0, chi_square / degrees) if degrees > 0 else 1.0
    scaled = (directions.T / lengths**2) @ directions * widen
    return Solution(
        start + found.x * span, scaled * np.outer(span, span), chi_square, degrees, names
    )


def _directions(jacobian: Array) -> tuple[Array, Array]:
    """Return the singular values (n,), zeros where rows are missing, and directions (n, n)."""
    _, lengths, directions = np.linalg.svd(jacobian, full_matrices=True)
    return np.pad(lengths, (0, len(directions) - len(lengths))), directions
