"""Triplets: who is on which picture, and how often."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anonymizer.protection.triplets import draw_triplets


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@settings(max_examples=50, deadline=None)
@given(people=st.lists(st.integers(-1, 5), min_size=3, max_size=40), seed=st.integers(0, 999))
def test_positives_show_the_same_person_and_negatives_another(people, seed):
    person = torch.tensor(people)
    counts = [people.count(p) for p in set(people) - {-1}]
    if len(counts) < 2 or max(counts) < 2:
        with pytest.raises(ValueError, match="triplets need two people"):
            draw_triplets(person, 8, generator(seed))
        return
    anchor, positive, negative = draw_triplets(person, 8, generator(seed)).T
    assert (person[anchor] >= 0).all()
    assert (person[anchor] == person[positive]).all()
    assert (anchor != positive).all()
    assert (person[negative] >= 0).all()
    assert (person[negative] != person[anchor]).all()


def test_person_12_is_not_123():
    """The published lists took one for the other: names that begin alike are two people."""
    person = torch.tensor([12, 123, 12, 123, 1])
    anchor, positive, _ = draw_triplets(person, 200, generator()).T
    assert (person[anchor] == person[positive]).all()


def test_every_choice_is_as_likely_as_the_next():
    person = torch.tensor([7, 3, 7, -1, 3, 7, 9])  # 9 has one picture: negative only
    anchor, positive, negative = draw_triplets(person, 30000, generator()).T
    fifth = 1 / 5  # five pictures of people with two or more
    for row in (0, 1, 2, 4, 5):
        # 5 standard errors of a share of 0.2 in 30,000
        assert float((anchor == row).double().mean()) == pytest.approx(fifth, abs=0.012)
    of_zero = anchor == 0
    assert set(positive[of_zero].tolist()) == {2, 5}
    assert float((positive[of_zero] == 2).double().mean()) == pytest.approx(0.5, abs=0.035)
    assert set(negative[of_zero].tolist()) == {1, 4, 6}
    assert float((negative[of_zero] == 6).double().mean()) == pytest.approx(1 / 3, abs=0.035)
