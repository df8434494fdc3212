"""Nobody, under any name or in any copy of a picture, is in two parts."""

import numpy as np
import pytest

from experiments.data.crops import FaceCrops
from experiments.data.errors import DataError
from experiments.data.splits import (
    PARTS,
    canonical_name,
    check_disjoint,
    same_pictures,
    split_people,
)

NAMES = [f"Person_{i}" for i in range(1000)]


def crops(people, digests=None):
    """Return one crop for each name, with the given file hashes."""
    names = tuple(sorted(set(people)))
    n = len(people)
    digests = range(n) if digests is None else digests
    return FaceCrops(
        images=np.zeros((n, 4, 4, 3), np.uint8),
        landmarks=np.zeros((n, 68, 2), np.float32),
        person=np.array([names.index(p) for p in people]),
        names=names,
        files=tuple(f"{p}/{i}.png" for i, p in enumerate(people)),
        context=1.7,
        attributes={"file_sha256": np.array([[d] * 32 for d in digests], np.uint8)},
    )


def part_of(parts, name):
    return next(part for part in PARTS if name in parts[part])


def test_every_person_is_in_exactly_one_part():
    parts = split_people(NAMES)
    assert sorted(n for people in parts.values() for n in people) == sorted(NAMES)


def test_shares_are_as_asked():
    parts = split_people(NAMES)
    for part, share in zip(PARTS, (0.6, 0.2, 0.2), strict=True):
        # binomial, n = 1000: 4 standard deviations; the split is fixed, so no test fails by chance
        assert abs(len(parts[part]) - 1000 * share) < 4 * (1000 * share * (1 - share)) ** 0.5


def test_a_person_stays_when_others_are_added_or_leave():
    few, many = split_people(NAMES[:100]), split_people(NAMES)
    assert all(part_of(few, name) == part_of(many, name) for name in NAMES[:100])


def test_order_and_repetition_do_not_matter():
    assert split_people([*NAMES[::-1], *NAMES[:5]]) == split_people(NAMES)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Joseph_Blatter", "Sepp_Blatter"),
        ("Felipe_De_Borbon", "Prince_Felipe"),
        ("Wang_Nan", "Nan_Wang"),
        ("063109", "113393"),
    ],
)
def test_two_names_of_a_person_stay_together(a, b):
    assert canonical_name(a) == canonical_name(b)
    parts = split_people([*NAMES, a, b])
    assert part_of(parts, a) == part_of(parts, b)


def test_further_pairs_stay_together_through_a_chain():
    pairs = [("Person_1", "Person_2"), ("Person_2", "Person_3"), ("Person_3", "Person_4")]
    parts = split_people(NAMES, same=pairs)
    assert len({part_of(parts, f"Person_{i}") for i in range(1, 5)}) == 1


@pytest.mark.parametrize("seed", range(40))
def test_every_part_has_two_people_when_there_are_six(seed):
    parts = split_people([f"{seed}-{i}" for i in range(6)])
    assert {part: len(people) for part, people in parts.items()} == dict.fromkeys(PARTS, 2)


def test_five_people_are_too_few():
    with pytest.raises(DataError, match="people = 5, at least 6 are needed"):
        split_people(NAMES[:5])


def test_two_names_of_one_person_count_once():
    with pytest.raises(DataError, match="people = 5"):
        split_people([*NAMES[:4], "Joseph_Blatter", "Sepp_Blatter"])


def test_a_part_without_a_share_stays_empty():
    parts = split_people(NAMES[:10], (0.5, 0.0, 0.5))
    assert parts["attacker"] == set()
    assert len(parts["train"]) >= 2 <= len(parts["test"])


@pytest.mark.parametrize("fractions", [(0.6, 0.2), (0.6, 0.2, 0.3), (1.2, -0.1, -0.1)])
def test_fractions_that_are_no_shares_are_refused(fractions):
    with pytest.raises(ValueError, match="fractions"):
        split_people(NAMES, fractions)


def test_a_split_of_crops_passes_its_own_check():
    parts = crops(NAMES[:60], np.arange(60)).split()
    check_disjoint(parts["train"], parts["attacker"])
    check_disjoint(parts["train"], parts["test"])
    check_disjoint(parts["attacker"], parts["test"])
    assert sum(map(len, parts.values())) == 60


def test_a_person_in_both_parts_is_found():
    with pytest.raises(DataError, match="1 people are in both parts: Person_2"):
        check_disjoint(crops(NAMES[:3]), crops(NAMES[2:5], [9, 10, 11]))


def test_a_person_under_two_names_is_found():
    a, b = crops(["Joseph_Blatter"], [1]), crops(["Sepp_Blatter"], [2])
    with pytest.raises(DataError, match=r"Joseph_Blatter \(= Sepp_Blatter\)"):
        check_disjoint(a, b)


def test_a_picture_under_two_names_is_found():
    with pytest.raises(DataError, match=r"byte for byte: Person_1/1\.png = Person_5/0\.png"):
        check_disjoint(crops(NAMES[:2], [1, 2]), crops(["Person_5"], [2]))


def test_people_who_share_a_picture_are_split_as_one():
    digests = np.arange(60)
    digests[1:30] = 0  # thirty names for one picture
    whole = crops(NAMES[:60], digests)
    parts = whole.split()
    found = {part: {c.names[i] for i in c.person} for part, c in parts.items()}
    assert len({part_of(found, name) for name in NAMES[:30]}) == 1
    check_disjoint(parts["train"], parts["test"])


def test_same_pictures_are_listed():
    found = same_pictures(crops(NAMES[:4], [5, 6, 5, 7]))
    assert found == [("Person_0/0.png", "Person_2/2.png")]
