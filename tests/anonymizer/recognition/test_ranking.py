"""Searches in a gallery, against cases counted by hand."""

import numpy as np
import pytest

from anonymizer.recognition import rank_people, reidentified, search_errors

SCORES = np.array(
    [
        [0.9, 0.1, 0.3, 0.8],  # person 1 has two pictures: columns 0 and 1
        [0.2, 0.6, 0.7, 0.8],  # person 1, third of three
        [0.5, 0.4, 0.3, 0.2],  # person 2, second
        [0.4, 0.4, 0.1, 0.9],  # person 9, unknown
    ]
)
PROBES, GALLERY = np.array([1, 1, 2, 9]), np.array([1, 1, 2, 3])


def test_rank_counts_people_not_pictures():
    found = rank_people(SCORES, PROBES, GALLERY, ranks=(1, 2, 3))
    assert found.rates == pytest.approx({1: 1 / 3, 2: 2 / 3, 3: 1.0})
    assert (found.n_probes, found.n_gallery) == (3, 3)
    assert found.chance == pytest.approx({1: 1 / 3, 2: 2 / 3, 3: 1.0})


def test_draws_are_broken_by_lot():
    found = rank_people(np.zeros((4, 5)), [0, 1, 2, 3], np.arange(5), ranks=(1, 2, 7))
    assert found.rates == pytest.approx({1: 1 / 5, 2: 2 / 5, 7: 1.0})
    assert found.rates == pytest.approx(found.chance)


def test_random_scores_are_found_as_often_as_by_guessing():
    scores = np.random.default_rng(0).random((2000, 20))
    found = rank_people(scores, np.arange(2000) % 20, np.arange(20), ranks=(1, 5))
    for k in (1, 5):  # standard error of 2000 trials at 0.25 is 0.01
        assert found.rates[k] == pytest.approx(found.chance[k], abs=0.03)


def test_search_errors_of_a_case_counted_by_hand():
    """At 0.55 the unknown person 9 is shown somebody; of three known ones two are found."""
    positives, negatives = search_errors(SCORES, PROBES, GALLERY, threshold=0.55, rank=3)
    assert (positives.value, negatives.value) == (1, 1 / 3)
    positives, negatives = search_errors(SCORES, PROBES, GALLERY, threshold=0.55, rank=1)
    assert negatives.value == 2 / 3
    positives, negatives = search_errors(SCORES, PROBES, GALLERY, threshold=0.95, rank=3)
    assert (positives.value, negatives.value) == (0, 1)


def test_reidentification_asks_for_the_very_source():
    originals = np.eye(4)
    protected = originals[[0, 1, 3, 3]]  # the third looks like the fourth
    found, chance = reidentified(protected, originals)
    assert (found.value, chance) == (3 / 4, 1 / 4)
    assert found.low < 3 / 4 < found.high


def test_protected_faces_that_are_all_alike_reidentify_nobody():
    found, _ = reidentified(np.tile([1.0, 0, 0, 0], (4, 1)), np.full((4, 4), 0.5))
    assert found.value == 0


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: rank_people(SCORES, PROBES[:2], GALLERY), "probe_person"),
        (lambda: rank_people(SCORES, [7, 7, 7, 7], GALLERY), "enrol"),
        (lambda: rank_people(SCORES, PROBES, GALLERY, ranks=(0,)), "ranks"),
        (lambda: search_errors(SCORES, [1, 1, 2, 3], GALLERY, threshold=0), "both kinds"),
        (lambda: search_errors(SCORES, PROBES, GALLERY, threshold=0, rank=0), "rank = 0"),
        (lambda: reidentified(np.eye(3), np.eye(4)), "expected both"),
    ],
)
def test_wrong_input_is_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()
