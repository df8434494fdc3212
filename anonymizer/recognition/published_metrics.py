"""The accuracy formulas of PRO-Face and PRO-Face C, for comparison with published numbers alone.

Both scan a fixed grid of distances and cut the list of pairs into ten folds as it stands. Numbers
of our own come from `anonymizer.recognition.pairs`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import trapezoid

from anonymizer.recognition.curves import Floats

_FOLDS = 10
_FALSE_ACCEPTS = (1e-3, 1e-2, 1e-1)


@dataclass(frozen=True)
class GridMetrics:
    """What a grid of thresholds gives over ten folds.

    Attributes
    ----------
    accuracy, threshold : ndarray
        Of each fold (10,); the threshold is the best of the other nine.
    tpr, fpr : ndarray
        Mean over folds at each threshold of the grid.
    auc, eer : float
        Of that mean curve: trapezoids, and the false-positive rate where errors are most equal.
    tar, far : ndarray
        At the thresholds interpolated for 1e-3, 1e-2 and 1e-1 on nine folds, mean over the tenth.
    """

    accuracy: Floats
    threshold: Floats
    tpr: Floats
    fpr: Floats
    auc: float
    eer: float
    tar: Floats
    far: Floats


def proface_metrics(first: ArrayLike, second: ArrayLike, same: ArrayLike) -> GridMetrics:
    """Return PRO-Face's numbers: angle / pi, on the grid 0, 0.001, ..., 0.999.

    Parameters
    ----------
    first, second : array_like
        Embeddings (n, D) of any length.
    same : array_like of bool
        Which pairs show one person (n,).
    """
    a, b, match = _pairs(first, second, same)
    cosine = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    # rounding can bring a cosine above 1, where the original returns no number
    return _on_grid(np.arccos(cosine.clip(-1, 1)) / np.pi, match, np.arange(0, 1, 0.001))


def proface_c_metrics(first: ArrayLike, second: ArrayLike, same: ArrayLike) -> GridMetrics:
    """Return PRO-Face C's numbers: squared distance, on the grid 0, 0.01, ..., 3.99.

    Parameters
    ----------
    first, second : array_like
        Embeddings (n, D); they are brought to unit length.
    same : array_like of bool
        Which pairs show one person (n,).
    """
    a, b, match = _pairs(first, second, same)
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return _on_grid(np.square(a - b).sum(axis=1), match, np.arange(0, 4, 0.01))


def _pairs(
    first: ArrayLike, second: ArrayLike, same: ArrayLike
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    a, b, match = np.asarray(first, np.float64), np.asarray(second, np.float64), np.asarray(same)
    if a.ndim != 2 or a.shape != b.shape or match.shape != a.shape[:1] or match.dtype != np.bool_:
        raise ValueError(
            f"first is {a.shape}, second {b.shape}, same {match.dtype} {match.shape}: expected "
            f"(n, D), (n, D) and bool (n,)"
        )
    if len(a) < 2 * _FOLDS:
        raise ValueError(f"{len(a)} pairs, expected at least two for each of {_FOLDS} folds")
    return a, b, match


def _on_grid(distance: Floats, same: NDArray[np.bool_], grid: Floats) -> GridMetrics:
    accept = distance[None] < grid[:, None]  # (thresholds, pairs)
    parts = np.array_split(np.arange(len(same)), _FOLDS)
    accuracy, threshold, tpr, fpr, tar, far = ([] for _ in range(6))
    for held_out in parts:
        rest = np.setdiff1d(np.arange(len(same)), held_out)
        best = int((accept[:, rest] == same[rest]).mean(axis=1).argmax())
        threshold.append(grid[best])
        accuracy.append((accept[best, held_out] == same[held_out]).mean())
        true, false = _rates(accept[:, held_out], same[held_out])
        tpr.append(true)
        fpr.append(false)
        limits = _limits(_rates(accept[:, rest], same[rest])[1], grid)
        chosen = distance[held_out][None] < limits[:, None]
        true, false = _rates(chosen, same[held_out])
        tar.append(true)
        far.append(false)
    mean_true, mean_false = np.mean(tpr, axis=0), np.mean(fpr, axis=0)
    return GridMetrics(
        accuracy=np.array(accuracy),
        threshold=np.array(threshold),
        tpr=mean_true,
        fpr=mean_false,
        auc=float(trapezoid(mean_true, mean_false)),
        eer=float(mean_false[np.abs(1 - mean_true - mean_false).argmin()]),
        tar=np.mean(tar, axis=0),
        far=np.mean(far, axis=0),
    )


def _rates(accept: NDArray[np.bool_], same: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return true and false positives among (thresholds, pairs); 0 where there are no pairs."""
    true = (accept & same).sum(axis=1) / max(int(same.sum()), 1)
    false = (accept & ~same).sum(axis=1) / max(int((~same).sum()), 1)
    return true, false


def _limits(false: Floats, grid: Floats, targets: Sequence[float] = _FALSE_ACCEPTS) -> Floats:
    """Return the distances at which false positives reach the targets; 0 if they never do."""
    reached = [np.interp(t, false, grid) if false.max() >= t else 0.0 for t in targets]
    return np.array(reached)
