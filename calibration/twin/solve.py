r"""Variance-weighted least squares over the pixels of a stack, with what is known beforehand.

Parameters are counted in units of what is known of them, :math:`u = (\theta - \mu) / s`; with
the residuals :math:`r` in their standard deviations the cost is

.. math:: \sum \rho(r) + \sum u^2

with Huber's :math:`\rho`, square up to a few deviations and straight beyond, so that hot pixels
and dust do not pull. While the model is far off, residuals are its own errors and not noise: the
first sum is then divided by their mean square, so that what is known beforehand keeps its weight.
Steps are Gauss-Newton's within a trusted distance. Slopes are dear and light is cheap: near the
minimum, slopes are computed again only where they no longer foretell how the cost falls; where
residuals have become smaller, old slopes are weighed anew.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calibration.twin.parameters import Parameter

_STRAIGHT = 4.0  # standard deviations, widened with the residuals while the model is far off
_NEVER = 1e30
_FEW = 0.02  # share of the pixels that can be outliers; more of them are an error of the model
_CONVERGED = 0.01  # cost that is left to gain: a tenth of a standard deviation of all parameters
_REACH = 10.0  # deviations from what is known beforehand that are still believed
_TRUST = 3.0  # length of the first step
_STUCK = 1e-6  # length of a step that is no step
_TRUSTED = 0.75  # share of the foretold gain above which old slopes are kept
_SAME = 0.9  # ratio of mean squares from which on the residuals are as before
_REUSED = 6  # steps with the same slopes at most


@dataclass(frozen=True)
class Linear:
    """Residuals and slopes at some values, depth by depth, on the pixels that count.

    Attributes
    ----------
    residual : list of Tensor
        Float64 (n,), measured less expected rates [standard deviations].
    slopes : list of Tensor
        Float32 (P, n) of the expected rates with respect to u.
    """

    residual: list[Tensor]
    slopes: list[Tensor]


@dataclass(frozen=True)
class Solution:
    """Where the descent ended.

    Attributes
    ----------
    values : dict
        All parameters.
    linear : Linear
        Residuals there; slopes there or near by.
    straight : float
        Residual from which on pixels count as outliers, Huber's bound.
    cost : float
        Least cost.
    slopes_computed : int
        How many times.
    """

    values: dict[str, float]
    linear: Linear
    straight: float
    cost: float
    slopes_computed: int

    def normal(self) -> NDArray[np.float64]:
        """Gauss-Newton Hessian (P, P) of the data alone, with respect to u."""
        return normal_equations(self.linear, self.straight)[0]


class Problem(ABC):
    """Measurements to be explained by some free parameters.

    Parameters
    ----------
    free : sequence of Parameter
        The free parameters.
    robust : bool
        Whether large residuals count as outliers; not while the model is far off, when they are
        where the light is.
    """

    def __init__(self, free: Sequence[Parameter], *, robust: bool = True) -> None:
        self.free, self.robust = list(free), robust

    @abstractmethod
    def residual(self, values: Mapping[str, float]) -> list[Tensor]:
        """Residuals at `values`, as of `Linear`."""

    @abstractmethod
    def linearise(self, values: Mapping[str, float]) -> Linear:
        """Residuals and slopes at `values`."""

    def units(self, values: Mapping[str, float]) -> NDArray[np.float64]:
        """Free parameters in units of what is known of them."""
        return np.array([(values[p.name] - p.expected) / p.scatter for p in self.free])

    def held(self, values: Mapping[str, float], down: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Free parameters (P,) at a limit that the cost would push them beyond."""
        ends = [_limits(p) for p in self.free]
        return np.array(
            [
                (values[p.name] <= low and d < 0) or (values[p.name] >= high and d > 0)
                for p, (low, high), d in zip(self.free, ends, down, strict=True)
            ]
        )

    def moved(self, values: Mapping[str, float], step: NDArray[np.float64]) -> dict[str, float]:
        """Values after a step in those units, kept within their limits."""
        out = dict(values)
        for entry, by in zip(self.free, step, strict=True):
            low, high = _limits(entry)
            out[entry.name] = min(max(values[entry.name] + float(by) * entry.scatter, low), high)
        return out


def _limits(entry: Parameter) -> tuple[float, float]:
    reach = _REACH * entry.scatter
    return max(entry.low, entry.expected - reach), entry.expected + reach


def minimise(problem: Problem, start: Mapping[str, float], *, most: int = 20) -> Solution:
    """Descend from `start` to the nearest minimum of the cost.

    Parameters
    ----------
    problem : Problem
        What is to be explained.
    start : mapping
        All parameters.
    most : int
        Times that slopes may be computed.
    """
    values, trust = dict(start), _TRUST
    for count in range(1, most + 1):
        linear = problem.linearise(values)
        straight, temper, hessian, cost = _weighed(problem, linear, values)
        for _ in range(_REUSED):
            units = problem.units(values)
            down = temper * normal_equations(linear, straight)[1] - units
            step = _step(hessian, down, trust, problem.held(values, down))
            trial = problem.moved(values, step)
            taken = problem.units(trial) - units
            foretold = float(2 * down @ taken - taken @ hessian @ taken)
            limited = np.linalg.norm(step) > 0.99 * trust  # a short step promises little
            if 2 * down @ step < _CONVERGED and not limited:
                if _as_before(linear.residual, straight, temper):
                    return Solution(values, linear, straight, cost / temper, count)
                straight, temper, hessian, cost = _weighed(problem, linear, values)
                continue
            residual = problem.residual(trial)
            lower = _cost(residual, straight, temper, problem.units(trial))
            share = (cost - lower) / foretold if foretold > 0 else -1.0
            if share < 0.25:
                trust = float(np.linalg.norm(taken)) / 4
            elif share > 0.75:
                trust = max(trust, 2 * float(np.linalg.norm(taken)))
            if share > 0.01:
                values, cost = trial, lower
                linear = Linear(residual, linear.slopes)
                if share < _TRUSTED:
                    break
            elif trust < _STUCK:
                return Solution(values, linear, straight, cost / temper, count)
    return Solution(values, linear, straight, cost / temper, most)


def _weighed(
    problem: Problem, linear: Linear, values: Mapping[str, float]
) -> tuple[float, float, NDArray[np.float64], float]:
    """Huber's bound and the data's weight by the size of the residuals; Hessian and cost."""
    straight = _straight(linear.residual) if problem.robust else _NEVER
    temper = 1 / max(1.0, _mean_square(linear.residual, straight))
    hessian = temper * normal_equations(linear, straight)[0] + np.eye(len(problem.free))
    return (
        straight,
        temper,
        hessian,
        _cost(linear.residual, straight, temper, problem.units(values)),
    )


def _step(
    hessian: NDArray[np.float64],
    down: NDArray[np.float64],
    trust: float,
    held: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Gauss-Newton step of the parameters that are not held, damped to length `trust`."""
    values, vectors = np.linalg.eigh(hessian[np.ix_(~held, ~held)])
    along = vectors.T @ down[~held]
    low, high = 0.0, float(np.linalg.norm(along)) / trust
    if np.linalg.norm(along / values) > trust:
        for _ in range(60):
            middle = (low + high) / 2
            longer = np.linalg.norm(along / (values + middle)) > trust
            low, high = (middle, high) if longer else (low, middle)
    else:
        high = 0.0
    step = np.zeros(len(down))
    step[~held] = vectors @ (along / (values + high))
    return step


def normal_equations(
    linear: Linear, straight: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Hessian (P, P) and slope (P,) of half the data's cost, with Huber's weights."""
    count = len(linear.slopes[0])
    hessian = torch.zeros(count, count, dtype=torch.float64)
    gradient = torch.zeros(count, dtype=torch.float64)
    for residual, slopes in zip(linear.residual, linear.slopes, strict=True):
        weight = huber_weight(residual, straight)
        weighted = slopes * weight.float()
        hessian += (weighted @ slopes.mT).double()
        gradient += slopes.double() @ (weight * residual)
    return hessian.numpy(), gradient.numpy()


def huber_weight(residual: Tensor, straight: float) -> Tensor:
    """Weights in (0, 1] of residuals."""
    return straight / residual.abs().clamp(min=straight)


def _cost(
    residual: list[Tensor], straight: float, temper: float, units: NDArray[np.float64]
) -> float:
    total = 0.0
    for part in residual:
        size = part.abs()
        far = (size - straight).clamp(min=0)
        total += float((size.square() - far.square()).sum())
    return temper * total + float(units @ units)


def _mean_square(residual: list[Tensor], straight: float) -> float:
    return float(torch.cat(residual).abs().clamp(max=straight).square().mean())


def _as_before(residual: list[Tensor], straight: float, temper: float) -> bool:
    """Whether residuals still have the size for which weights were chosen."""
    same = temper * max(1.0, _mean_square(residual, straight)) > _SAME
    return same and (straight == _NEVER or _straight(residual) > _SAME * straight)


def _straight(residual: list[Tensor]) -> float:
    """Huber's bound: some deviations by the median, if few pixels are beyond, else none at all."""
    size = torch.cat(residual).abs()
    bound = _STRAIGHT * max(1.0, 1.4826 * float(size.median()))
    return bound if float((size > bound).double().mean()) < _FEW else _NEVER
