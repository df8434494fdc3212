"""People who lend their looks: recognised where they are worn, and not where they are not."""

import numpy as np
import pytest

from experiments.attacks import ReferenceMembership, report
from experiments.attacks.references import lenders
from experiments.attacks.trial import of_source
from tests.experiments.attacks.planted import CLEAR, Constant, people, trial


class Mask(Constant):
    """Shows the mean of those who lent their faces."""

    def show_as(self, faces, references):
        return references.mean(1)


class Nobody(Constant):
    """Is lent faces and wears none of them."""

    def show_as(self, faces, references):
        return self.show(faces)


def attacked(defence, folder, references=(1,)):
    where = trial(defence, folder)
    attack = ReferenceMembership(references)
    return report(attack, attack.run(where, "attack"), where, "attack")


def test_who_is_worn_is_recognised_and_is_not_counted_as_the_source(tmp_path):
    found = attacked(Mask(), tmp_path, (1, 4))
    one, four = (found["conditions"][f"references_{n}"] for n in (1, 4))
    assert one["auc"] > 0.95 > four["auc"] > 0.5
    assert found["about"] == "references"
    assert not of_source(found)


def test_who_is_not_worn_is_not_recognised(tmp_path):
    found = attacked(Nobody(), tmp_path)
    assert found["result"]["auc_lo"] <= 0.5 <= found["result"]["auc_hi"]
    assert not found["identifies"]


def test_nobody_lends_to_pictures_of_their_own(tmp_path):
    where = trial(CLEAR, tmp_path, test=people(40, 5))
    person = where.held.crops.person
    lent = lenders(where, 3, "attack")
    assert lent.shape == (15, 3)
    for own, rows in zip(person, lent, strict=True):
        assert own not in person[rows]
        assert len(set(person[rows])) == 3
    assert np.array_equal(lent, lenders(where, 3, "attack"))
    with pytest.raises(ValueError, match="references = 5: the test group has 5 people"):
        lenders(where, 5, "attack")


def test_what_wears_no_faces_is_said_so(tmp_path):
    found = attacked(CLEAR, tmp_path)
    assert (found["result"], found["reason"]) == (None, "nobody lends the defence a face")
    with pytest.raises(ValueError, match=r"references = \[0\]"):
        ReferenceMembership((0,))
