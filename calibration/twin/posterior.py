r"""What a fit knows: covariance, what it cannot tell, and a check of its own uncertainties.

With the Gauss-Newton Hessian :math:`H` of the data, in units of what was known beforehand, the
covariance is :math:`(H + 1)^{-1}` (Laplace's approximation). A parameter of which the data alone
say less than was known before counts as unidentifiable: its variance has shrunk by less than
half. It gets no number; what is not known of it is part of the uncertainty of the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from calibration.twin.rates import RateModel
from calibration.twin.solve import Solution, huber_weight

_LEAST_GAIN = 0.5  # share to which the variance has to shrink
_TIED = 0.95  # correlation from which on a pair is named
_TILES = 8  # blocks of the bootstrap along each side of the window


@dataclass(frozen=True)
class Posterior:
    """What is known of the free parameters after a fit, in units of what was known before.

    Attributes
    ----------
    names : tuple of str
        The free parameters.
    covariance : ndarray
        (P, P).
    unidentifiable : dict of str to str
        Parameters without a number, and why.
    correlated : tuple of (str, str, float)
        Pairs whose errors go together, and their correlation.
    condition : float
        Largest over smallest eigenvalue of H + 1.
    """

    names: tuple[str, ...]
    covariance: NDArray[np.float64]
    unidentifiable: dict[str, str]
    correlated: tuple[tuple[str, str, float], ...]
    condition: float

    @property
    def deviations(self) -> NDArray[np.float64]:
        """Standard deviations (P,)."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))


def posterior(names: Sequence[str], hessian: NDArray[np.float64]) -> Posterior:
    """Judge the Hessian (P, P) of the data.

    Parameters
    ----------
    names : sequence of str
        The free parameters.
    hessian : ndarray
        (P, P), in units of what was known before.
    """
    full = hessian + np.eye(len(names))
    values = np.linalg.eigvalsh(full)
    covariance = np.linalg.inv(full)
    covariance = (covariance + covariance.T) / 2
    deviation = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(deviation, deviation)
    unclear = {
        name: _reason(names, k, hessian, correlation, deviation)
        for k, name in enumerate(names)
        if covariance[k, k] > _LEAST_GAIN
    }
    tied = tuple(
        (names[j], names[k], float(correlation[j, k]))
        for j in range(len(names))
        for k in range(j + 1, len(names))
        if abs(correlation[j, k]) > _TIED
    )
    return Posterior(tuple(names), covariance, unclear, tied, float(values[-1] / values[0]))


def _reason(
    names: Sequence[str],
    index: int,
    hessian: NDArray[np.float64],
    correlation: NDArray[np.float64],
    deviation: NDArray[np.float64],
) -> str:
    """Why a parameter is not identifiable."""
    if hessian[index, index] < 1e-6:
        return "nothing that was measured depends on it"
    alone = 1 / np.sqrt(1 + hessian[index, index])
    if alone**2 > _LEAST_GAIN:
        return f"the data say little of it: {deviation[index]:.2f} of what was known is left"
    others = np.abs(correlation[index])
    others[index] = 0
    partner = int(np.argmax(others))
    return (
        f"other parameters do the same, {names[partner]} above all (correlation "
        f"{correlation[index, partner]:.3f}): {deviation[index]:.2f} of what was known is left"
    )


def bootstrap_ratios(
    model: RateModel,
    solution: Solution,
    covariance: NDArray[np.float64],
    valid: Sequence[torch.Tensor],
    *,
    draws: int = 400,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Deviations (P,) from resampled tiles of pixels, over those that the covariance gives.

    About 1 if the noise is as large as the variances say and independent from pixel to pixel;
    more where errors of the model or of the merge are common to neighbours. The fit is not
    repeated: every draw is one Gauss-Newton step. What was known beforehand is not resampled, so
    a parameter that is held by it comes out below 1.

    Parameters
    ----------
    model : RateModel
        Of the fit.
    solution : Solution
        The minimum.
    covariance : ndarray
        (P, P) of `Posterior`.
    valid : sequence of Tensor
        Pixels (h, w) of every depth that were fitted.
    draws : int
        Resampled stacks.
    seed : int
        Seed of the draws.
    """
    sums = []
    for depth, view in enumerate(model.views):
        residual, slopes = solution.linear.residual[depth], solution.linear.slopes[depth]
        rows, columns = np.indices(view.colours.shape) // max(1, model.window // _TILES)
        tiles = rows * (columns.max() + 1) + columns
        index = torch.from_numpy(tiles)[valid[depth]]
        pull = slopes.double() * (huber_weight(residual, solution.straight) * residual)
        total = torch.zeros(len(slopes), int(tiles.max()) + 1, dtype=torch.float64)
        sums.append(total.index_add(1, index, pull))
    pulls = torch.cat(sums, 1).numpy()
    counts = np.random.default_rng(seed).multinomial(
        pulls.shape[1], np.full(pulls.shape[1], 1 / pulls.shape[1]), size=draws
    )
    moved = covariance @ pulls @ (counts - 1.0).T
    return np.asarray(moved.std(1) / np.sqrt(np.diag(covariance)))
