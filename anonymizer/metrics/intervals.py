"""95 % intervals of numbers over pictures, where pictures of one person are not independent."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anonymizer.recognition.curves import Estimate


def mean_over_people(
    values: ArrayLike, person: ArrayLike, *, resamples: int = 2000, seed: int = 0
) -> Estimate:
    """Return the mean of values (N,) with the percentile interval over resampled people (N,)."""
    x, who = np.asarray(values, np.float64), np.asarray(person)
    if x.ndim != 1 or x.shape != who.shape or not x.size:
        raise ValueError(f"values is {x.shape} and person {who.shape}, expected one of each")
    _, code = np.unique(who, return_inverse=True)
    total, count = np.bincount(code, x), np.bincount(code)
    drawn = _drawn(len(count), resamples, seed)
    low, high = np.quantile((drawn @ total) / (drawn @ count), (0.025, 0.975))
    return Estimate(float(x.mean()), float(low), float(high))


def over_people(
    number: Callable[[NDArray[np.int64]], float],
    person: ArrayLike,
    *,
    resamples: int = 50,
    seed: int = 0,
) -> Estimate:
    """Return a number of a set of pictures with its interval over people.

    Distances of distributions grow when pictures repeat, as they do in a resample; the
    percentiles are moved so that their median is the number itself.

    Parameters
    ----------
    number : callable
        Takes rows, with repetitions, and returns the number.
    person : array_like of int
        Who is on each picture (N,).
    resamples : int
        Draws of people.
    seed : int
        Seed of the draws.
    """
    who = np.asarray(person)
    people, code = np.unique(who, return_inverse=True)
    value = number(np.arange(len(who)))
    found = []
    for times in _drawn(len(people), resamples, seed):
        found.append(number(np.repeat(np.arange(len(who)), times[code])))
    low, middle, high = np.quantile(found, (0.025, 0.5, 0.975))
    return Estimate(value, float(value + low - middle), float(value + high - middle))


def _drawn(people: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """Return how often each resample has each person, (resamples, people)."""
    if resamples < 1:
        raise ValueError(f"resamples = {resamples}, expected 1 or more")
    equal = np.full(people, 1 / people)
    return np.random.default_rng(seed).multinomial(people, equal, size=resamples)
