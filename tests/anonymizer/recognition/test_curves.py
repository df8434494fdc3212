"""Curves, operating points and exact intervals."""

import numpy as np
import pytest
from scipy.stats import binom

from anonymizer.recognition import auc, proportion, roc
from anonymizer.recognition.curves import operating_points, separation, supported_rates


def drawn(distance=1.5, n=400):
    rng = np.random.default_rng(0)
    return rng.normal(distance, 1, n), rng.normal(0, 1, n + 50)


def test_curve_counts_what_is_accepted_at_each_of_its_thresholds():
    genuine, impostor = np.round(drawn()[0], 1), np.round(drawn()[1], 1)  # with ties
    curve = roc(genuine, impostor)
    for t, far, tar in zip(curve.threshold, curve.far, curve.tar, strict=True):
        assert far == pytest.approx((impostor >= t).mean())
        assert tar == pytest.approx((genuine >= t).mean())
    assert (curve.far[0], curve.tar[0], curve.far[-1], curve.tar[-1]) == (1, 1, 0, 0)


def test_area_under_the_curve_is_the_mann_whitney_probability():
    genuine, impostor = np.round(drawn()[0], 1), np.round(drawn()[1], 1)
    curve = roc(genuine, impostor)
    steps = -np.diff(curve.far) * (curve.tar[1:] + curve.tar[:-1]) / 2
    assert steps.sum() == pytest.approx(auc(genuine, impostor))


def test_separation_of_two_gaussians_is_the_distance_of_their_means():
    rng = np.random.default_rng(0)
    found = separation(rng.normal(7, 2, 40_000), rng.normal(3, 2, 40_000))
    assert found == pytest.approx(2, abs=0.03)  # standard error 1/sqrt(20 000) = 0.007


def test_rates_need_thirty_expected_errors():
    assert supported_rates((1e-1, 1e-2, 1e-3), 3000) == (1e-1, 1e-2)
    assert supported_rates((1e-2,), 2999) == ()


def test_true_accepts_belong_to_a_threshold_that_keeps_the_rate():
    genuine, impostor = drawn()
    curve = roc(genuine, impostor)
    eer, tar = operating_points(curve.far[None], curve.tar[None], [0.1])[:, 0]
    allowed = [t for t in curve.threshold if (impostor >= t).mean() <= 0.1]
    assert tar == pytest.approx((genuine >= min(allowed)).mean())
    # unit Gaussians 1.5 apart: the errors are equal at Phi(-0.75) = 0.227
    assert eer == pytest.approx(0.227, abs=0.03)


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [
        (0, 100, 0, 0.0362), (0, 3000, 0, 0.00123), (1, 1000, 0.00003, 0.0056),
        (5985, 6000, 0.9959, 0.9986),
    ],
)  # fmt: skip
def test_exact_interval_of_a_proportion(hits, trials, low, high):
    found = proportion(hits, trials)
    assert found.value == hits / trials
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_ends_of_an_exact_interval_leave_a_fortieth_on_each_side():
    found = proportion(7, 40)
    assert binom.sf(6, 40, found.low) == pytest.approx(0.025)
    assert binom.cdf(7, 40, found.high) == pytest.approx(0.025)


@pytest.mark.parametrize("wrong", [(3, 2), (-1, 2), (0, 0)])
def test_impossible_counts_are_refused(wrong):
    with pytest.raises(ValueError, match="hits"):
        proportion(*wrong)


@pytest.mark.parametrize("scores", [([], [1.0]), ([0.5, np.nan], [0.1]), ([0.5], [-np.inf])])
def test_missing_or_damaged_scores_are_refused(scores):
    with pytest.raises(ValueError, match="score"):
        roc(*scores)
