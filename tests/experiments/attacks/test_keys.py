"""Keyed protections: what the right key, a wrong one and a search for one bring back."""

import pytest
import torch

from anonymizer.protection import Capabilities, Protection
from experiments.attacks import ProtectionDefence, WrongKey, report
from tests.experiments.attacks.planted import trial
from tests.experiments.protecting_doubles import Scramble


class Ignored(Protection):
    """Takes keys and does nothing with them."""

    capabilities = Capabilities(keyed=True, recoverable=True, decoy=False, recognisable=True)

    def protect(self, images, keys=None):
        self.check(images, keys)
        return images

    def recover(self, protected, keys):
        return protected


def attacked(attack, network, folder):
    where = trial(ProtectionDefence(network, 24, 1.35), folder)
    return report(attack, attack.run(where, "attack"), where, "attack")


def test_keys_that_matter_keep_wrong_ones_out(tmp_path):
    found = attacked(WrongKey(tries=3), Scramble(24), tmp_path)
    for condition in ("one_key", "search_3"):
        numbers = found["conditions"][condition]
        assert numbers["auc_lo"] <= 0.5 <= numbers["auc_hi"] or numbers["auc"] < 0.75
        assert numbers["accepted_lo"] <= 0.1
    assert found["chosen"]["right_key_auc"] == pytest.approx(found["ceiling"]["auc"], abs=0.05)
    assert found["chosen"]["key_bits"] == 256


def test_a_key_that_is_ignored_opens_everything(tmp_path):
    found = attacked(WrongKey(tries=1), Ignored(), tmp_path)
    assert found["identifies"]
    assert found["result"]["accepted"] == 1


def test_a_search_finds_the_one_key_in_two(tmp_path):
    class OneBit(Ignored):
        def recover(self, protected, keys):
            opened = torch.tensor([key[0] % 2 == 0 for key in keys])[:, None, None, None]
            return torch.where(opened, protected, torch.full_like(protected, 0.5))

    found = attacked(WrongKey(tries=8), OneBit(), tmp_path)["conditions"]
    assert 0.2 < found["one_key"]["accepted"] < 0.8
    assert found["search_8"]["accepted"] > 0.85


def test_the_face_is_protected_in_its_place_and_nothing_else_is(tmp_path):
    class Black(Ignored):
        def protect(self, images, keys=None):
            return torch.zeros_like(images)

    where = trial(None, tmp_path)
    faces = where.faces(where.held, where.held.batches(4)[0], 1)
    light = faces.scenes.light
    plain = ProtectionDefence(Ignored(), 64, 1.2).show(faces)
    black = ProtectionDefence(Black(), 64, 1.2).show(faces)
    inside = (black == 0).all(1, keepdim=True).expand_as(light)
    torch.testing.assert_close(plain[~inside], light[~inside])
    torch.testing.assert_close(black[~inside], light[~inside])
    assert 0.2 < inside.float().mean() < 0.9
    error = (plain - light)[inside].abs()
    assert error.mean() < 0.02
    for points, hidden in zip(faces.scenes.landmarks, inside[:, 0], strict=True):
        assert all(hidden[round(float(y)), round(float(x))] for x, y in points[36:])


def test_every_picture_has_a_key_of_its_own_the_same_in_every_run(tmp_path):
    seen = []

    class Listening(Ignored):
        def protect(self, images, keys=None):
            seen.extend(keys)
            return images

    for _ in range(2):
        where = trial(ProtectionDefence(Listening(), 24, 1.2), tmp_path)
        where.look(where.held, where.lookers())
    half = len(seen) // 2
    assert seen[:half] == seen[half:]
    assert len(set(seen)) == half == len(where.held.crops)
