"""What two sets of scores come to: curve, area, operating points, exact intervals.

A score is the likeness of two pictures; genuine scores are of one person, impostor scores of two.
Accepted is whoever scores at or above a threshold. Nothing is interpolated: every number belongs
to a threshold that exists.

References
----------
ISO/IEC 19795-1:2021, clause 8 and annex B (rule of 30).
J. A. Hanley, B. J. McNeil, Radiology 143, 29 (1982), the area as a Mann-Whitney statistic.
C. J. Clopper, E. S. Pearson, Biometrika 26, 404 (1934).
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta

Floats = NDArray[np.float64]

_log = logging.getLogger(__name__)

_ERRORS_NEEDED = 30  # rule of 30: fewer expected false accepts say too little about a rate


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


def flat_estimates(
    auc: Estimate, eer: Estimate, tar: Mapping[float, Estimate], **others: Estimate
) -> dict[str, float]:
    """Return estimates under flat names, the ends of intervals as "auc_lo" and "auc_hi"."""
    named = {**others, "auc": auc, "eer": eer} | {f"tar_{rate:g}": e for rate, e in tar.items()}
    numbers: dict[str, float] = {}
    for name, e in named.items():
        numbers |= {name: e.value, f"{name}_lo": e.low, f"{name}_hi": e.high}
    return numbers


@dataclass(frozen=True)
class Curve:
    """Rates at every threshold that changes a decision, and at one above all scores.

    Attributes
    ----------
    threshold : ndarray
        Ascending (n,), the last infinite.
    far, tar : ndarray
        False and true accept rates (n,), falling from 1 to 0.
    """

    threshold: Floats
    far: Floats
    tar: Floats


def roc(genuine: ArrayLike, impostor: ArrayLike) -> Curve:
    """Return the receiver operating characteristic of two sets of scores."""
    g, i = _scores(genuine, impostor)
    threshold = np.append(np.unique(np.concatenate((g, i))), np.inf)
    far = 1 - np.searchsorted(i, threshold, side="left") / i.size
    tar = 1 - np.searchsorted(g, threshold, side="left") / g.size
    return Curve(threshold, far, tar)


def auc(genuine: ArrayLike, impostor: ArrayLike) -> float:
    """Return the exact Mann-Whitney probability that genuine exceeds impostor, ties half."""
    g, i = _scores(genuine, impostor)
    below, not_above = (np.searchsorted(i, g, side=side) for side in ("left", "right"))
    return float((below + not_above).sum(dtype=np.float64) / (2 * g.size * i.size))


def separation(genuine: ArrayLike, impostor: ArrayLike) -> float:
    """Return d', the distance of the means in units of the mean standard deviation."""
    g, i = _scores(genuine, impostor)
    spread = np.sqrt((g.var() + i.var()) / 2)
    return float(abs(g.mean() - i.mean()) / spread) if spread > 0 else float("inf")


def supported_rates(false_accepts: Sequence[float], impostors: int) -> tuple[float, ...]:
    """Return those false-accept rates that so many impostors can support: 30 errors or more."""
    rates = tuple(f for f in false_accepts if f * impostors >= _ERRORS_NEEDED)
    if len(rates) < len(false_accepts):
        _log.info(
            "true accepts are given down to a false-accept rate of %.2g: %d impostor comparisons",
            _ERRORS_NEEDED / impostors,
            impostors,
        )
    return rates


def exact_numbers(genuine: ArrayLike, impostor: ArrayLike, rates: Sequence[float]) -> Floats:
    """Return AUC, EER and TAR at each rate, without binning."""
    curve = roc(genuine, impostor)
    points = operating_points(curve.far[None], curve.tar[None], rates)[:, 0]
    return np.array([auc(genuine, impostor), *points])


def operating_points(far: Floats, tar: Floats, rates: Sequence[float]) -> Floats:
    """Return EER and TAR at each rate, (1 + len(rates), n), of curves (n, thresholds).

    The equal error rate is the mean of false accepts and false rejects where they differ least;
    a TAR belongs to the smallest threshold whose false accepts do not exceed the rate.
    """
    row = np.arange(len(far))
    best = np.abs(far - (1 - tar)).argmin(axis=1)
    points = [(far[row, best] + 1 - tar[row, best]) / 2]
    for rate in rates:
        smallest = (far <= rate + 1e-12).argmax(axis=1)  # thresholds ascend, far falls to 0
        points.append(tar[row, smallest])
    return np.stack(points)


def proportion(hits: int, trials: int) -> Estimate:
    """Return hits / trials with its exact 95 % interval, for trials that are independent."""
    if not 0 <= hits <= trials or trials < 1:
        raise ValueError(f"hits = {hits} of trials = {trials}: 0 <= hits <= trials, 1 <= trials")
    low = beta.ppf(0.025, hits, trials - hits + 1) if hits else 0.0
    high = beta.ppf(0.975, hits + 1, trials - hits) if hits < trials else 1.0
    return Estimate(hits / trials, float(low), float(high))


def _scores(genuine: ArrayLike, impostor: ArrayLike) -> tuple[Floats, Floats]:
    """Return both sets of scores, sorted, or raise."""
    g, i = (np.sort(np.asarray(x, np.float64).ravel()) for x in (genuine, impostor))
    if g.size == 0 or i.size == 0:
        raise ValueError(f"there are {g.size} genuine and {i.size} impostor scores, expected some")
    if not (np.isfinite(g[[0, -1]]).all() and np.isfinite(i[[0, -1]]).all()):
        raise ValueError("a score is not finite; look for damaged pictures or weights")
    return g, i
