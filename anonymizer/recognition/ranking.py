"""Identification: how far up a gallery the right person comes.

References
----------
ISO/IEC 19795-1:2021, clauses 8.5 (closed set) and 8.6 (open set).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anonymizer.recognition.curves import Estimate, Floats, proportion


@dataclass(frozen=True)
class Ranking:
    """Shares of probes whose person is among the first k of the gallery, by k.

    Attributes
    ----------
    rates : dict of int to float
        Shares, draws broken by lot.
    chance : dict of int to float
        What guessing would reach.
    n_probes, n_gallery : int
        Probes with a mate, and people in the gallery; a rate falls with the latter.
    """

    rates: dict[int, float]
    chance: dict[int, float]
    n_probes: int
    n_gallery: int


def rank_people(
    scores: ArrayLike,
    probe_person: ArrayLike,
    gallery_person: ArrayLike,
    *,
    ranks: Sequence[int] = (1, 5, 10),
) -> Ranking:
    """Search every probe in a gallery of people (closed set).

    Parameters
    ----------
    scores : array_like
        Likeness (P, G) of probes and gallery pictures; a person's score is the best of theirs.
    probe_person, gallery_person : array_like of int
        Who is shown, (P,) and (G,). Probes of people who are not in the gallery are left out.
    ranks : sequence of int
        Numbers k of people looked at, positive.

    Raises
    ------
    ValueError
        If shapes do not fit, or no probe has a mate.
    """
    if not ranks or min(ranks) < 1:
        raise ValueError(f"ranks = {list(ranks)}, expected positive numbers")
    best, own = _search(scores, probe_person, gallery_person)
    mated = own >= 0
    if not mated.any():
        raise ValueError("no probe shows a person of the gallery; enrol the people first")
    best, own = best[mated], own[mated]
    mate = best[np.arange(len(best)), own][:, None]
    above = (best > mate).sum(axis=1)
    equal = (best == mate).sum(axis=1)  # the mate itself is one of them
    people = best.shape[1]
    return Ranking(
        rates={k: float(np.clip((k - above) / equal, 0, 1).mean()) for k in ranks},
        chance={k: min(k / people, 1.0) for k in ranks},
        n_probes=len(best),
        n_gallery=people,
    )


def reidentified(protected: ArrayLike, originals: ArrayLike) -> tuple[Estimate, float]:
    """Return how often the nearest original of a protected face is its own source, and chance.

    Parameters
    ----------
    protected, originals : array_like
        Unit embeddings (N, D), row by row of the same pictures.

    Returns
    -------
    Estimate
        Share with its exact interval; an original that only draws with another is not counted.
    float
        1 / N, what guessing would reach.
    """
    a, b = np.asarray(protected, np.float64), np.asarray(originals, np.float64)
    if a.ndim != 2 or a.shape != b.shape or len(a) < 2:
        raise ValueError(f"protected is {a.shape}, originals {b.shape}, expected both (N > 1, D)")
    scores = a @ b.T
    own = scores.diagonal().copy()
    np.fill_diagonal(scores, -np.inf)
    return proportion(int((own > scores.max(axis=1)).sum()), len(a)), 1 / len(a)


def search_errors(
    scores: ArrayLike,
    probe_person: ArrayLike,
    gallery_person: ArrayLike,
    *,
    threshold: float,
    rank: int = 1,
) -> tuple[Estimate, Estimate]:
    """Return false positives and false negatives of searches (open set).

    Parameters
    ----------
    scores, probe_person, gallery_person
        As in `rank_people`; probes of people outside the gallery are the non-mated searches.
    threshold : float
        Candidates below it are not shown.
    rank : int
        How many candidates are shown.

    Returns
    -------
    tuple of Estimate
        Share of non-mated searches that show somebody (FPIR), and of mated searches that do not
        show the right person (FNIR).
    """
    if rank < 1:
        raise ValueError(f"rank = {rank}, expected 1 or more")
    best, own = _search(scores, probe_person, gallery_person)
    mated = own >= 0
    if mated.all() or not mated.any():
        raise ValueError(f"{mated.sum()} of {mated.size} searches are mated; both kinds are needed")
    shown = int((best[~mated].max(axis=1) >= threshold).sum())
    mate = best[mated][np.arange(int(mated.sum())), own[mated]]
    place = 1 + (best[mated] > mate[:, None]).sum(axis=1)
    missed = int(((mate < threshold) | (place > rank)).sum())
    return proportion(shown, int((~mated).sum())), proportion(missed, int(mated.sum()))


def _search(
    scores: ArrayLike, probe_person: ArrayLike, gallery_person: ArrayLike
) -> tuple[Floats, NDArray[np.int64]]:
    """Return the best score of each probe with each person, and each probe's own column or -1."""
    s = np.asarray(scores, np.float64)
    probe, gallery = np.asarray(probe_person), np.asarray(gallery_person)
    if s.ndim != 2 or probe.shape != s.shape[:1] or gallery.shape != s.shape[1:] or s.size == 0:
        raise ValueError(
            f"scores is {s.shape}, probe_person {probe.shape}, gallery_person {gallery.shape}: "
            f"expected (P, G), (P,) and (G,)"
        )
    people, column = np.unique(gallery, return_inverse=True)
    best = np.full((len(s), len(people)), -np.inf)
    np.maximum.at(best.T, column, s.T)
    place = np.searchsorted(people, probe).clip(max=len(people) - 1)
    return best, np.where(people[place] == probe, place, -1)
