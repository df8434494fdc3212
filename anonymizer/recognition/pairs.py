"""Verification on given pairs in folds of different people, as LFW's View 2 lays down.

In each fold pairs are accepted from the threshold on that decides most pairs of the *other* folds
rightly; the accuracy is the mean over folds. Everything that is not a threshold is pooled.

References
----------
G. B. Huang, M. Ramesh, T. Berg, E. Learned-Miller, "Labeled Faces in the Wild", Univ. of
Massachusetts Amherst, Tech. Rep. 07-49 (2007), section III.
R. M. Bolle et al., "Error analysis of pattern recognition systems - the subsets bootstrap",
Comput. Vis. Image Underst. 93, 1 (2004).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anonymizer.recognition.curves import (
    Curve,
    Estimate,
    Floats,
    exact_numbers,
    flat_estimates,
    operating_points,
    roc,
    separation,
    supported_rates,
)


@dataclass(frozen=True)
class PairVerification:
    """How well pairs were told apart.

    Attributes
    ----------
    accuracy : Estimate
        Mean over folds; the interval is over people, at the thresholds found.
    standard_error : float
        Standard deviation over folds / sqrt(folds), as the protocol reports it.
    folds : sequence of float
        Accuracy of each fold, in ascending order of its number.
    thresholds : sequence of float
        Threshold of each fold, found on the others.
    auc, eer : Estimate
        As in `anonymizer.recognition.protocol.Verification`.
    tar : mapping of float to Estimate
        True accepts by false-accept rate, as far as the impostors support it.
    separation : float
        d' of genuine and impostor scores.
    curve : Curve
        All operating points.
    n_people, n_genuine, n_impostor : int
        People who appear, and pairs.
    """

    accuracy: Estimate
    standard_error: float
    folds: Sequence[float]
    thresholds: Sequence[float]
    auc: Estimate
    eer: Estimate
    tar: Mapping[float, Estimate]
    separation: float
    curve: Curve
    n_people: int
    n_genuine: int
    n_impostor: int

    def flat(self) -> dict[str, float]:
        """Return the numbers under flat names: "accuracy", "accuracy_lo", "tar_0.01", ..."""
        numbers = flat_estimates(self.auc, self.eer, self.tar, accuracy=self.accuracy)
        numbers |= {"accuracy_se": self.standard_error, "d_prime": self.separation}
        counts = {"people": self.n_people, "genuine": self.n_genuine, "impostor": self.n_impostor}
        return numbers | {f"n_{name}": count for name, count in counts.items()}


def verify_pairs(
    scores: ArrayLike,
    same: ArrayLike,
    fold: ArrayLike,
    people: ArrayLike,
    *,
    false_accepts: Sequence[float] = (1e-1, 1e-2, 1e-3),
    resamples: int = 2000,
    seed: int = 0,
) -> PairVerification:
    """Judge scores of pairs.

    Parameters
    ----------
    scores : array_like
        Likeness of each pair (n,).
    same : array_like of bool
        Whether it shows one person (n,).
    fold : array_like of int
        To which fold it belongs (n,); at least two folds, each with both kinds of pairs.
    people : array_like of int
        Who is shown, (n, 2).
    false_accepts : sequence of float
        Rates at which true accepts are wanted.
    resamples : int, default 2000
        Bootstrap draws of people; 0 makes every interval the value itself.
    seed : int, default 0
        Seed of the draws.

    Raises
    ------
    ValueError
        If shapes do not fit, labels contradict each other, or a fold lacks one kind of pair.
    """
    s, match, folds, who = _checked(scores, same, fold, people)
    accepted, found = np.zeros(len(s), bool), []
    numbers = np.unique(folds)
    for number in numbers:
        held_out = folds == number
        found.append(best_threshold(s[~held_out], match[~held_out]))
        accepted[held_out] = s[held_out] >= found[-1]
    right = accepted == match
    by_fold = np.array([right[folds == number].mean() for number in numbers])
    rates = supported_rates(false_accepts, int((~match).sum()))
    exact = np.array([by_fold.mean(), *exact_numbers(s[match], s[~match], rates)])
    low, high = exact, exact
    if resamples > 0:
        drawn = _resampled(s, match, right, who, rates, resamples, seed)
        if len(drawn):
            low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    accuracy, area, eer, *tar = (
        Estimate(*(float(x) for x in row)) for row in zip(exact, low, high, strict=True)
    )
    return PairVerification(
        accuracy=accuracy,
        standard_error=float(by_fold.std(ddof=1) / np.sqrt(len(by_fold))),
        folds=tuple(by_fold.tolist()),
        thresholds=tuple(found),
        auc=area,
        eer=eer,
        tar=dict(zip(rates, tar, strict=True)),
        separation=separation(s[match], s[~match]),
        curve=roc(s[match], s[~match]),
        n_people=len(np.unique(who)),
        n_genuine=int(match.sum()),
        n_impostor=int((~match).sum()),
    )


def best_threshold(scores: Floats, same: NDArray[np.bool_]) -> float:
    """Return the threshold that decides most pairs rightly; the middle of its gap in scores.

    Of several as good, the lowest.
    """
    order = np.argsort(scores, kind="stable")
    s, match = scores[order], same[order]
    # accepting from position k on: impostors below it and genuine pairs from it are right
    right = np.append(0, (~match).cumsum()) + match.sum() - np.append(0, match.cumsum())
    between = np.append(True, np.append(s[1:] > s[:-1], True))  # equal scores fall together
    k = int(np.where(between, right, -1).argmax())
    if k in (0, len(s)):
        return float(s[0] if k == 0 else np.nextafter(s[-1], np.inf))
    middle = float((s[k - 1] + s[k]) / 2)
    return middle if middle > s[k - 1] else float(s[k])  # neighbours in floating point


def _resampled(
    scores: Floats,
    same: NDArray[np.bool_],
    right: NDArray[np.bool_],
    people: NDArray[np.intp],
    rates: Sequence[float],
    resamples: int,
    seed: int,
) -> Floats:
    """Return accuracy, AUC, EER and TAR (resamples, k), people drawn with replacement.

    A genuine pair counts as often as its person was drawn, an impostor pair as often as both
    together (their product).
    """
    order = np.argsort(scores, kind="stable")
    same, right, people = same[order], right[order], people[order]
    first = np.append(True, np.diff(scores[order]) > 0).nonzero()[0]  # of each run of ties
    count = int(people.max()) + 1
    source = np.random.default_rng(seed)
    rows = []
    for _ in range(resamples):
        drawn = np.bincount(source.integers(count, size=count), minlength=count)
        weight = drawn[people[:, 0]] * np.where(same, 1, drawn[people[:, 1]])
        g, i = (np.add.reduceat(weight * kind, first) for kind in (same, ~same))
        if g.sum() == 0 or i.sum() == 0:  # nobody with a matched pair was drawn: says nothing
            continue
        tar, far = (np.append(x[::-1].cumsum()[::-1], 0) / x.sum() for x in (g, i))
        area = (g * (i.cumsum() - i / 2)).sum() / (g.sum() * i.sum())
        points = operating_points(far[None], tar[None], rates)[:, 0]
        rows.append([(weight * right).sum() / weight.sum(), area, *points])
    return np.array(rows)


def _checked(
    scores: ArrayLike, same: ArrayLike, fold: ArrayLike, people: ArrayLike
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.int64], NDArray[np.intp]]:
    s, match = np.asarray(scores, np.float64), np.asarray(same)
    folds, who = np.asarray(fold), np.asarray(people)
    n = len(s)
    if s.shape != (n,) or match.shape != (n,) or folds.shape != (n,) or who.shape != (n, 2):
        raise ValueError(
            f"scores {s.shape}, same {match.shape}, fold {folds.shape}, people {who.shape}: "
            f"expected (n,), (n,), (n,) and (n, 2)"
        )
    if match.dtype != np.bool_ or folds.dtype.kind not in "iu" or who.dtype.kind not in "iu":
        raise ValueError(
            f"same is {match.dtype}, fold {folds.dtype}, people {who.dtype}: expected bool and "
            f"integers"
        )
    if (wrong := int(((who[:, 0] == who[:, 1]) != match).sum()) if n else 0) > 0:
        raise ValueError(f"{wrong} pairs are labelled against the people they name; mend the list")
    _, code = np.unique(who, return_inverse=True)
    numbers = np.unique(folds)
    for number in numbers:
        kinds = match[folds == number]
        if kinds.all() or not kinds.any():
            raise ValueError(f"fold {number} has {kinds.sum()} matched of {kinds.size} pairs")
    if len(numbers) < 2:
        raise ValueError(f"there are {len(numbers)} folds, at least 2 are needed")
    return s, match, folds.astype(np.int64), code.reshape(who.shape)
