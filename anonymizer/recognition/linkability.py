r"""Whether protected templates or faces of one person, made with different keys, can be linked.

.. math:: D_{sys} = \int p(s|m)\,D(s)\,ds,\qquad
    D(s) = \frac{2\,\omega\,LR(s)}{1 + \omega\,LR(s)} - 1 \text{ where } \omega LR > 1,
    \text{ else } 0,

with :math:`LR = p(s|m) / p(s|n)` of mated (same person) and non-mated scores: 0 means that a score
tells nothing, 1 that it tells all. Both estimators are biased upwards when scores are few, so a
value means something only beside its null: the same scores with their labels shuffled.

References
----------
M. Gomez-Barrero, J. Galbally, C. Rathgeb, C. Busch, "General framework to evaluate unlinkability
in biometric template protection systems", IEEE Trans. Inf. Forensics Secur. 13, 1406 (2018).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d

from anonymizer.recognition.curves import Floats

_BINS = 100  # of the histogram, as the framework's authors use
_FINE = 1000  # of the smooth densities
_FEWEST = 20_000  # mated scores below which the bias exceeds a hundredth


@dataclass(frozen=True)
class Linkability:
    """D_sys of two sets of scores.

    Attributes
    ----------
    histogram, smooth : float
        Estimated with a hundred bins, and with Gaussian kernels.
    null, null_high : float
        Mean and 95th percentile of the histogram's value when labels are shuffled.
    smooth_null, smooth_null_high : float
        The same for the smooth one.
    n_mated, n_nonmated : int
        Scores.
    """

    histogram: float
    smooth: float
    null: float
    null_high: float
    smooth_null: float
    smooth_null_high: float
    n_mated: int
    n_nonmated: int

    @property
    def excess(self) -> float:
        """Histogram's value above its null."""
        return self.histogram - self.null

    @property
    def linkable(self) -> bool:
        """Whether either estimate exceeds what shuffled labels reach in 95 of 100 cases."""
        return self.histogram > self.null_high or self.smooth > self.smooth_null_high

    @property
    def enough(self) -> bool:
        """Whether there are enough scores for the value itself to be quoted."""
        return self.n_mated >= _FEWEST

    def flat(self) -> dict[str, float]:
        """Return the numbers under flat names."""
        return {
            "d_sys": self.histogram,
            "d_sys_null": self.null,
            "d_sys_null_hi": self.null_high,
            "d_sys_smooth": self.smooth,
            "d_sys_smooth_null": self.smooth_null,
            "d_sys_smooth_null_hi": self.smooth_null_high,
            "n_mated": self.n_mated,
            "n_nonmated": self.n_nonmated,
        }


def linkability(
    mated: ArrayLike,
    nonmated: ArrayLike,
    *,
    prior_ratio: float = 1.0,
    shuffles: int = 200,
    seed: int = 0,
) -> Linkability:
    """Estimate D_sys twice, with its permutation null.

    Parameters
    ----------
    mated : array_like
        Scores of one person's templates under different keys.
    nonmated : array_like
        Scores of different people's, likewise.
    prior_ratio : float
        omega, how much more often an attacker meets mated than non-mated pairs; 1 is the worst
        case of the framework.
    shuffles : int
        Permutations of the labels.
    seed : int
        Seed of the permutations.

    Raises
    ------
    ValueError
        If there are too few scores, they are not finite, or a setting is out of range.
    """
    m, n = (np.asarray(x, np.float64).ravel() for x in (mated, nonmated))
    if m.size < 2 or n.size < 2 or not (np.isfinite(m).all() and np.isfinite(n).all()):
        raise ValueError(f"{m.size} mated and {n.size} non-mated scores, expected finite ones")
    if not prior_ratio > 0 or shuffles < 1:
        raise ValueError(f"prior_ratio = {prior_ratio:g}, shuffles = {shuffles}: positive numbers")
    found = []
    for bins, width in ((_BINS, 0.0), (_FINE, _bandwidth(m, n) * _FINE)):
        edges = _edges(m, n, bins, margin=3 * width / bins)
        counts = np.array([np.histogram(x, edges)[0] for x in (m, n)])
        # labels dealt at random leave in each bin what an urn gives
        dealt = np.random.default_rng(seed).multivariate_hypergeometric(
            counts.sum(axis=0), m.size, size=shuffles, method="marginals"
        )
        by_chance = [_linkability(x, counts.sum(axis=0) - x, prior_ratio, width) for x in dealt]
        found.append((_linkability(counts[0], counts[1], prior_ratio, width), np.array(by_chance)))
    (histogram, null), (smooth, smooth_null) = found
    return Linkability(
        histogram=histogram,
        smooth=smooth,
        null=float(null.mean()),
        null_high=float(np.quantile(null, 0.95)),
        smooth_null=float(smooth_null.mean()),
        smooth_null_high=float(np.quantile(smooth_null, 0.95)),
        n_mated=m.size,
        n_nonmated=n.size,
    )


def _edges(m: Floats, n: Floats, bins: int, *, margin: float) -> Floats:
    low, high = min(m.min(), n.min()), max(m.max(), n.max())
    span = (high - low) or 1.0
    return np.linspace(low - margin * span, high + margin * span, bins + 1)


def _bandwidth(m: Floats, n: Floats) -> float:
    """Return Scott's width of the kernels for the smaller set, as a fraction of the span."""
    span = (max(m.max(), n.max()) - min(m.min(), n.min())) or 1.0
    smaller = min(m, n, key=len)
    return float(max(smaller.std(), 1e-3 * span) * len(smaller) ** -0.2 / span)


def _linkability(
    mated: NDArray[np.int64], nonmated: NDArray[np.int64], prior_ratio: float, width: float
) -> float:
    """Return D_sys of counts, smoothed by Gaussians `width` bins wide if that is not 0."""
    p, q = mated / mated.sum(), nonmated / nonmated.sum()
    if width > 0:
        p, q = (gaussian_filter1d(x, width, mode="constant") for x in (p, q))
        p, q = p / p.sum(), q / q.sum()
    weighed = prior_ratio * p
    # 2 LR w / (1 + LR w) - 1 without dividing by a density that may be zero
    local = np.divide(weighed - q, weighed + q, out=np.zeros_like(p), where=weighed > q)
    return min(float((p * local).sum()), 1.0)  # a sum of shares may round above
