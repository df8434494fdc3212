"""Verification in folds, against cases counted by hand and simulated truth."""

import numpy as np
import pytest

from anonymizer.recognition import verify_pairs
from anonymizer.recognition.pairs import best_threshold


def study(people=40, per_fold=30, folds=4, spread=1.5, seed=0, dimension=8):
    """Return scores, same, fold, people of pairs whose folds share nobody."""
    rng = np.random.default_rng(seed)
    own = people // folds
    centre = rng.normal(size=(people, dimension))
    scores, same, fold, who = [], [], [], []
    for f in range(folds):
        for k in range(2 * per_fold):
            a = f * own + rng.integers(own)
            b = a if k < per_fold else f * own + (a - f * own + rng.integers(1, own)) % own
            x, y = (centre[p] + spread * rng.normal(size=dimension) for p in (a, b))
            scores.append(x @ y / np.linalg.norm(x) / np.linalg.norm(y))
            same.append(k < per_fold)
            fold.append(f)
            who.append((a, b))
    return np.array(scores), np.array(same), np.array(fold), np.array(who)


def test_threshold_of_a_fold_is_found_on_the_others():
    """Fold 0 alone would be perfect at 0.3; the others ask for 0.6, which costs a pair there."""
    scores = np.array([0.5, 0.1, 0.9, 0.3, 0.7, 0.55, 0.8, 0.5])
    same = np.array([True, False] * 4)
    found = verify_pairs(
        scores, same, np.arange(8) // 2,
        np.array([(0, 0), (0, 1), (2, 2), (2, 3), (4, 4), (4, 5), (6, 6), (6, 7)]), resamples=0,
    )  # fmt: skip
    assert found.thresholds[0] == pytest.approx((0.55 + 0.7) / 2)
    assert found.folds[0] == 0.5
    # of the other folds' thresholds, 0.4 to 0.5, none decides fold 2 rightly
    assert found.accuracy.value == np.mean(found.folds)
    assert found.standard_error == pytest.approx(np.std(found.folds, ddof=1) / 2)


@pytest.mark.parametrize("seed", range(20))
def test_best_threshold_is_as_good_as_any_tried_one_by_one(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 12, 30) / 10  # many ties
    same = rng.random(30) < 0.5
    tried = [((scores >= t) == same).mean() for t in [*np.unique(scores), np.inf]]
    assert ((scores >= best_threshold(scores, same)) == same).mean() == max(tried)


def test_threshold_lies_in_the_middle_of_its_gap():
    assert best_threshold(np.array([0.0, 0.2, 0.8, 1.0]), np.array([False, False, True, True])) == (
        0.5
    )


def test_scores_without_identity_are_at_chance():
    rng = np.random.default_rng(0)
    _, same, fold, who = study(per_fold=200)
    found = verify_pairs(rng.random(len(same)), same, fold, who, resamples=300)
    assert found.accuracy.value == pytest.approx(0.5, abs=0.04)  # 1600 pairs: 0.0125
    assert found.auc.low < 0.5 < found.auc.high


def test_perfect_scores_reach_the_ends():
    _, same, fold, who = study(per_fold=100)
    found = verify_pairs(same.astype(float), same, fold, who, resamples=50)
    assert (found.accuracy.value, found.auc.value, found.eer.value) == (1, 1, 0)
    assert found.tar[0.1].low == found.tar[0.1].high == 1
    assert found.standard_error == 0


def test_interval_of_the_area_covers_the_truth_about_as_often_as_it_says():
    truth = np.mean([verify_pairs(*study(people=400, per_fold=400, seed=s), resamples=0).auc.value
                     for s in range(900, 904)])  # fmt: skip
    hits = 0
    for seed in range(40):
        found = verify_pairs(*study(people=60, per_fold=60, seed=seed), resamples=200)
        hits += found.auc.low <= truth <= found.auc.high
    # binomial: 95 % of 40 is 38 with a standard deviation of 1.4
    assert hits >= 34


def test_copies_of_the_same_pairs_add_no_certainty():
    once = study()
    often = [np.concatenate([x] * 9) for x in once]
    a, b = (verify_pairs(*x, resamples=200).auc for x in (once, often))
    assert b.high - b.low == pytest.approx(a.high - a.low, rel=1e-6)


def test_rates_that_the_impostors_cannot_support_are_left_out():
    found = verify_pairs(*study(per_fold=100), resamples=0)  # 400 impostors: down to 7.5 %
    assert set(found.tar) == {0.1}


def test_flat_names_hold_intervals_and_counts():
    flat = verify_pairs(*study(per_fold=80), resamples=20).flat()
    assert {"accuracy", "accuracy_lo", "accuracy_se", "tar_0.1_hi", "d_prime"} <= flat.keys()
    assert (flat["n_genuine"], flat["n_impostor"]) == (320, 320)
    assert flat["auc_lo"] <= flat["auc"] <= flat["auc_hi"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({2: np.zeros(240, int)}, "1 folds"),
        ({0: np.zeros(3)}, "expected .n,."),
        ({1: np.zeros(240)}, "expected bool"),
        ({1: np.ones(240, bool)}, "labelled against"),
        ({0: np.full(240, np.nan)}, "not finite"),
        ({2: np.arange(240)}, "of 1 pairs"),
    ],
)
def test_wrong_input_is_refused(change, text):
    given = [change.get(i, x) for i, x in enumerate(study())]
    with pytest.raises(ValueError, match=text):
        verify_pairs(*given)
