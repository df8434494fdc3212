"""The published accuracy formulas against what the original programs returned."""

import numpy as np
import pytest

from anonymizer.recognition.published_metrics import proface_c_metrics, proface_metrics
from tests.shared_data import shared


@pytest.fixture
def reference():
    with np.load(shared("reference/recognisers_eval.npz"), allow_pickle=False) as file:
        return dict(file)


def test_proface_numbers_are_those_of_the_original(reference):
    pairs = reference["eval_emb"]
    found = proface_metrics(pairs[0::2], pairs[1::2], reference["eval_same"])
    np.testing.assert_allclose(found.accuracy, reference["eval_acc"], atol=1e-12)
    np.testing.assert_allclose(found.threshold, reference["eval_best_thr"], atol=1e-12)
    assert found.auc == pytest.approx(float(reference["eval_auc"]), abs=1e-12)
    assert found.eer == pytest.approx(float(reference["eval_eer"]), abs=1e-12)


def test_proface_c_numbers_are_those_of_the_original(reference):
    pairs = reference["eval_emb"]
    found = proface_c_metrics(pairs[0::2], pairs[1::2], reference["eval_same"])
    np.testing.assert_allclose(found.accuracy, reference["evalC_acc"], atol=1e-12)
    np.testing.assert_allclose(found.threshold, reference["evalC_thr"], atol=1e-12)


def pairs(n=400, spread=0.7, seed=0):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n, 16))
    same = np.arange(n) % 2 == 0
    b[same] = a[same] + spread * b[same]
    return a, b, same


@pytest.mark.parametrize("formula", [proface_metrics, proface_c_metrics])
def test_clear_pairs_reach_the_ends_and_random_ones_chance(formula):
    a, b, same = pairs(spread=0.01)
    found = formula(a, b, same)
    # the curve starts beyond the origin, since its grid ends before the largest distance
    assert found.auc == pytest.approx(1, abs=1e-6)
    # a threshold lies at the lower edge of what the other folds allow: the pair of one person
    # that is farthest apart falls outside where it is held out
    assert found.accuracy.mean() >= 1 - 1.001 / len(same)
    assert found.eer == 0
    rng = np.random.default_rng(1)
    chance = formula(*rng.normal(size=(2, 2000, 16)), np.arange(2000) % 2 == 0)
    assert chance.auc == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("formula", [proface_metrics, proface_c_metrics])
def test_length_of_embeddings_does_not_matter(formula):
    a, b, same = pairs()
    found, scaled = formula(a, b, same), formula(3 * a, 0.1 * b, same)
    np.testing.assert_allclose(found.accuracy, scaled.accuracy)
    np.testing.assert_allclose(found.tar, scaled.tar)


def test_true_accepts_rise_with_the_false_accepts_allowed():
    found = proface_metrics(*pairs(2000, spread=2.0))
    assert (np.diff(found.tar) >= 0).all()
    np.testing.assert_allclose(found.far, [1e-3, 1e-2, 1e-1], atol=0.02)  # 100 impostors a fold


def test_embeddings_that_are_the_same_give_numbers():
    """Rounding brings cosines above one, where the original's arc cosine has no value."""
    a = np.random.default_rng(0).normal(size=(40, 7))
    same = np.arange(40) % 2 == 0
    found = proface_metrics(a, np.where(same[:, None], a, -a), same)
    assert found.accuracy.mean() == 1


@pytest.mark.parametrize("change", [{0: np.ones((3, 16))}, {2: np.zeros(400)}])
def test_wrong_input_is_refused(change):
    given = [change.get(i, x) for i, x in enumerate(pairs())]
    with pytest.raises(ValueError, match="expected"):
        proface_metrics(*given)
