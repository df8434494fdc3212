"""Verification of identity over all pairs of pictures, with intervals over people.

Every probe is compared with every gallery picture but its own original. A score is the scalar
product of unit embeddings; a comparison is genuine if both show one person, else an impostor.

References
----------
ISO/IEC 19795-1:2021, clause 8; J. A. Hanley, B. J. McNeil, Radiology 143, 29 (1982), the area under
the curve as a Mann-Whitney statistic; R. M. Bolle et al., "The relation between the ROC curve and
the CMC", AutoID 2005, and "Error analysis of pattern recognition systems - the subsets bootstrap",
Comput. Vis. Image Underst. 93, 1 (2004), resampling people instead of pairs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anonymizer.recognition.curves import (
    Estimate,
    Floats,
    exact_numbers,
    flat_estimates,
    operating_points,
    supported_rates,
)

_LEVELS = 160  # score levels on which resamples are counted
_UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Verification:
    """How well embeddings tell people apart; a perfect protection brings it to chance.

    Attributes
    ----------
    auc : Estimate
        Probability that a genuine score exceeds an impostor score, ties counted half;
        chance is 0.5.
    eer : Estimate
        Equal error rate: mean of false accepts and false rejects where they differ least.
    tar : mapping of float to Estimate
        True accepts at the smallest threshold whose false accepts do not exceed the key. Rates
        that would rest on fewer than 30 false accepts are left out.
    rank1 : float
        Share of probes whose best gallery picture shows the same person.
    rank1_chance : float
        What guessing would reach.
    n_people, n_genuine, n_impostor : int
        People with at least one genuine comparison, and numbers of comparisons.
    """

    auc: Estimate
    eer: Estimate
    tar: Mapping[float, Estimate]
    rank1: float
    rank1_chance: float
    n_people: int
    n_genuine: int
    n_impostor: int

    def flat(self) -> dict[str, float]:
        """Return the numbers under flat names: "auc", "auc_lo", "auc_hi", "tar_0.01", ..."""
        numbers = flat_estimates(self.auc, self.eer, self.tar)
        numbers |= {"rank1": self.rank1, "rank1_chance": self.rank1_chance}
        counts = {"people": self.n_people, "genuine": self.n_genuine, "impostor": self.n_impostor}
        return numbers | {f"n_{name}": count for name, count in counts.items()}


def verify(
    probes: ArrayLike,
    gallery: ArrayLike,
    *,
    probe_person: ArrayLike,
    gallery_person: ArrayLike,
    probe_image: ArrayLike,
    gallery_image: ArrayLike,
    false_accepts: Sequence[float] = (1e-1, 1e-2, 1e-3),
    resamples: int = 2000,
    seed: int = 0,
) -> Verification:
    """Compare all probes with all gallery pictures.

    Parameters
    ----------
    probes, gallery : array_like
        Unit embeddings (P, D) and (G, D).
    probe_person, gallery_person : array_like of int
        Who is shown, (P,) and (G,), not negative.
    probe_image, gallery_image : array_like of int
        Which picture it comes from, (P,) and (G,); comparisons of one picture with itself, in
        whatever treatment, are left out.
    false_accepts : sequence of float
        Rates at which true accepts are wanted.
    resamples : int, default 2000
        Bootstrap draws of people; 0 makes every interval the value itself.
    seed : int, default 0
        Seed of the draws.

    Returns
    -------
    Verification

    Raises
    ------
    ValueError
        If shapes do not fit, an embedding is not of unit length, or there is no genuine or no
        impostor comparison.

    Notes
    -----
    A resample gives each person the number of times it was drawn as weight; a genuine comparison
    counts with the weight of its person, an impostor with the product of both weights (two-way).
    Intervals are percentiles, on a grid of score levels, moved by the difference between the exact
    value and its value on the grid.
    """
    a, b = _unit("probes", probes), _unit("gallery", gallery)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"probes have {a.shape[1]} dimensions, gallery {b.shape[1]}")
    person_a, image_a = _labels("probe", probe_person, probe_image, len(a))
    person_b, image_b = _labels("gallery", gallery_person, gallery_image, len(b))
    _, code = np.unique(np.concatenate((person_a, person_b)), return_inverse=True)
    code_a, code_b = code[: len(a)], code[len(a) :]

    scores = a @ b.T
    same = code_a[:, None] == code_b[None]
    other_image = image_a[:, None] != image_b[None]
    genuine, impostor = same & other_image, ~same & other_image
    n_genuine, n_impostor = int(genuine.sum()), int(impostor.sum())
    if n_genuine == 0 or n_impostor == 0:
        raise ValueError(
            f"there are {n_genuine} genuine and {n_impostor} impostor comparisons, at least one of "
            f"each is needed: two people, and two pictures of one of them"
        )
    rates = supported_rates(false_accepts, n_impostor)
    exact = exact_numbers(scores[genuine], scores[impostor], rates)
    low, high = exact, exact
    if resamples > 0:
        drawn = _resampled(
            _Comparisons(scores, genuine, impostor, code_a, code_b), rates, resamples, seed
        )
        # the first row has every person once: the value on the grid
        shift = exact - drawn[0]
        low, high = np.clip(np.nanquantile(drawn[1:], (0.025, 0.975), axis=0) + shift, 0, 1)
    estimates = [Estimate(*(float(x) for x in row)) for row in zip(exact, low, high, strict=True)]
    rank1, chance = _rank1(scores, genuine, impostor)
    return Verification(
        auc=estimates[0],
        eer=estimates[1],
        tar=dict(zip(rates, estimates[2:], strict=True)),
        rank1=rank1,
        rank1_chance=chance,
        n_people=int(np.unique(code_a[genuine.any(axis=1)]).size),
        n_genuine=n_genuine,
        n_impostor=n_impostor,
    )


def worst_case(results: Mapping[str, Verification]) -> str:
    """Return the name of the recogniser that tells people apart best: privacy is judged by it."""
    if not results:
        raise ValueError("results is empty, expected at least one recogniser")
    return max(results, key=lambda name: results[name].auc.value)


def _levels(genuine: Floats, impostor: Floats) -> Floats:
    """Choose score levels where either kind lies, and finely in the upper tail of impostors."""
    middle = np.linspace(0, 1, _LEVELS // 2)
    tail = 1 - np.geomspace(1 / impostor.size, 0.1, _LEVELS // 4)
    return np.unique(
        np.concatenate(
            (
                np.quantile(genuine, middle),
                np.quantile(impostor, middle),
                np.quantile(impostor, tail),
            )
        )
    )


@dataclass(frozen=True)
class _Comparisons:
    """All scores (P, G), which kind each is, and who is in each row and column."""

    scores: Floats
    genuine: NDArray[np.bool_]
    impostor: NDArray[np.bool_]
    row_person: NDArray[np.intp]
    column_person: NDArray[np.intp]


def _resampled(c: _Comparisons, rates: Sequence[float], resamples: int, seed: int) -> Floats:
    """Return AUC, EER and TAR (1 + resamples, k); in the first row each person counts once."""
    people = 1 + int(max(c.row_person.max(), c.column_person.max()))
    levels = _levels(c.scores[c.genuine], c.scores[c.impostor])
    level, bins = np.searchsorted(levels, c.scores, side="right"), len(levels) + 1
    weight = np.ones((resamples + 1, people), dtype=np.float32)
    weight[1:] = np.random.default_rng(seed).multinomial(
        people, np.full(people, 1 / people), size=resamples
    )
    n = c.genuine.nonzero()
    own = np.bincount(c.row_person[n[0]] * bins + level[n], minlength=people * bins)
    genuine_count = (weight @ own.reshape(people, bins).astype(np.float32)).astype(np.float64)
    impostor_count = np.zeros((resamples + 1, bins), dtype=np.float64)
    for p in range(people):  # one probe person against all others, so that memory stays small
        rows = (c.row_person == p).nonzero()[0]
        if rows.size == 0:
            continue
        n = c.impostor[rows].nonzero()
        met = np.bincount(c.column_person[n[1]] * bins + level[rows][n], minlength=people * bins)
        counts = met.reshape(people, bins).astype(np.float32)
        impostor_count += weight[:, p, None] * (weight @ counts)
    # a resample with a single person, or with none that has two pictures, says nothing
    full = (genuine_count.sum(axis=1) > 0) & (impostor_count.sum(axis=1) > 0)
    genuine_count, impostor_count = genuine_count[full], impostor_count[full]
    g = genuine_count / genuine_count.sum(axis=1, keepdims=True)
    i = impostor_count / impostor_count.sum(axis=1, keepdims=True)
    area = (g * (i.cumsum(axis=1) - i / 2)).sum(axis=1)
    tar, far = g[:, ::-1].cumsum(axis=1)[:, ::-1], i[:, ::-1].cumsum(axis=1)[:, ::-1]
    none = np.zeros((len(g), 1))  # the threshold above all scores
    tar, far = np.hstack((tar, none)), np.hstack((far, none))
    return np.vstack((area, operating_points(far, tar, rates))).T


def _rank1(
    scores: Floats, genuine: NDArray[np.bool_], impostor: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the share of probes whose best match is right (a draw counts half), and chance."""
    mated = genuine.any(axis=1)
    best_genuine = np.where(genuine, scores, -np.inf).max(axis=1)[mated]
    best_impostor = np.where(impostor, scores, -np.inf).max(axis=1)[mated]
    right = (best_genuine > best_impostor) + (best_genuine == best_impostor) / 2
    mates = genuine.sum(axis=1)[mated]
    return float(right.mean()), float((mates / (mates + impostor.sum(axis=1)[mated])).mean())


def _unit(name: str, vectors: ArrayLike) -> Floats:
    """Return embeddings as float64 (n, D), or raise unless all have unit length."""
    x = np.asarray(vectors, dtype=np.float64)
    if x.ndim != 2 or len(x) == 0:
        raise ValueError(f"{name} is {x.shape}, expected embeddings (n, D)")
    worst = np.abs(np.linalg.norm(x, axis=1) - 1).max()
    if not worst <= _UNIT_TOLERANCE:
        raise ValueError(
            f"{name} has a vector whose length differs from 1 by {worst:.3g}, "
            f"expected at most {_UNIT_TOLERANCE:g}; normalise the embeddings"
        )
    return x


def _labels(
    name: str, person: ArrayLike, image: ArrayLike, n: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return person and image labels as int64 (n,), or raise."""
    labels = [np.asarray(x) for x in (person, image)]
    for what, x in zip(("person", "image"), labels, strict=True):
        if x.shape != (n,) or not np.issubdtype(x.dtype, np.integer):
            raise ValueError(f"{name}_{what} is {x.dtype} {x.shape}, expected integers ({n},)")
    if labels[0].min() < 0:
        raise ValueError(
            f"{name}_person has {labels[0].min()}, expected people known by index >= 0; "
            f"leave pictures of unknown people out"
        )
    return labels[0].astype(np.int64), labels[1].astype(np.int64)
