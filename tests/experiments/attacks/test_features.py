"""Feature maps: cells are put back by their statistics, and maps give faces away."""

from functools import cache

import pytest
import torch

from anonymizer.protection.compensated import Compensation
from anonymizer.protection.obfuscators import Pixelate
from experiments.attacks import FeatureMaps, KnownPairs, ProtectionDefence, report
from experiments.attacks.features import (
    CellStatistics,
    FeatureDecoder,
    from_cells,
    to_cells,
    unpacked,
)
from experiments.attacks.pairs import OneKey
from experiments.scene import generator_for
from experiments.stages import Schedule
from tests.experiments.attacks.planted import CLEAR, people, trial
from tests.experiments.attacks.test_keys import Ignored
from tests.experiments.protecting_doubles import Scramble

BRIEF = Schedule(steps=2, batch=8, learning_rate=1e-3)


@cache
def client():
    """A client as it is before training: its maps are a fixed function of the residual."""
    torch.manual_seed(0)
    network = Compensation(Pixelate(56)).eval().requires_grad_(False)
    draw = torch.rand(8, 3, 112, 112)
    network.codec.observe(network.taps(draw, network.protect(draw)), network.client.gains())
    network.codec.prune(0.125)
    return network


def faces(count, key=0):
    draw = torch.Generator().manual_seed(key)
    coarse = torch.rand(count, 3, 14, 14, generator=draw)
    return coarse.repeat_interleave(8, -1).repeat_interleave(8, -2)


def sources(count):
    return [generator_for("messages", i) for i in range(count)]


def test_cells_are_cut_and_joined_without_loss():
    tap = torch.arange(2 * 3 * 14 * 21.0).reshape(2, 3, 14, 21)
    cells = to_cells(tap)
    assert cells.shape == (2, 18, 49)
    torch.testing.assert_close(cells[0, 0], tap[0, 0, :7, :7].flatten())
    torch.testing.assert_close(from_cells(cells, tap.shape), tap)


def test_wrong_keys_give_the_same_cells_in_another_order():
    network, squares = client(), faces(1)
    right, wrong = (unpacked(network, squares, sources(1), known=k) for k in (True, False))
    torch.testing.assert_close(right.obfuscated, wrong.obfuscated)
    for a, b in zip(right.taps, wrong.taps, strict=True):
        assert 0 <= a.min() <= a.max() <= 1
        assert (a - b).abs().max() > 0.1
        mine, theirs = (to_cells(x)[0].sum(1).sort().values for x in (a, b))
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=0)


def test_cells_whose_look_is_known_are_put_back():
    draw = torch.Generator().manual_seed(0)
    own = torch.rand(1, 6, 14, 14, generator=draw)  # each cell looks different, faces little so
    many = (own + 0.02 * torch.randn(30, 6, 14, 14, generator=draw)).clamp(0, 1)
    cells = CellStatistics.learn([many[1:]])
    shuffled = to_cells(many[:1])[:, torch.randperm(24, generator=draw)]
    found = cells.put_back([from_cells(shuffled, many[:1].shape)])[0]
    torch.testing.assert_close(found, many[:1])


def test_cells_that_all_look_alike_are_not_put_back():
    draw = torch.Generator().manual_seed(0)
    many = torch.rand(30, 6, 14, 14, generator=draw)
    cells = CellStatistics.learn([many[1:]])
    order = torch.randperm(24, generator=draw)
    found = cells.put_back([from_cells(to_cells(many[:1])[:, order], many[:1].shape)])[0]
    same = (to_cells(found) - to_cells(many[:1])).abs().amax(-1) < 1e-6
    assert same.float().mean() < 0.3


@pytest.mark.slow
@pytest.mark.timeout(400)  # two trainings, perhaps on a busy machine
def test_the_server_draws_faces_and_shuffled_cells_come_home(tmp_path):
    where = trial(ProtectionDefence(client(), 112, 1.0), tmp_path, test=people(40, 3))
    attack = FeatureMaps(Schedule(steps=40, batch=8, learning_rate=1e-2), pictures=32, width=8)
    outcome = attack.run(where, "attack")
    found = report(attack, outcome, where, "attack")
    assert found["conditions"].keys() == {"with_key", "no_key", "put_back"}
    placed = found["conditions"]["put_back"]
    assert placed["cells_put_back_lo"] <= placed["cells_put_back"] <= placed["cells_put_back_hi"]
    assert placed["cells_put_back"] > 0.1  # by chance less than one in 32
    clear = where.faces(where.held, where.shown, 1).scenes.light
    shown = where.defence.show(where.faces(where.held, where.shown, 1))

    def error(picture):
        return float((picture - clear).square().mean())

    assert error(outcome.pictures["with_key"]) < error(shown)
    assert found["actor"] == "A4"


def test_the_decoder_takes_maps_of_any_number():
    network = FeatureDecoder((4, 2), 8)
    taps = [torch.rand(1, 4, 28, 28), torch.rand(1, 2, 7, 7)]
    assert network(faces(1), taps).shape == (1, 3, 112, 112)
    with pytest.raises(ValueError, match="width = 9, expected a multiple of 8"):
        FeatureDecoder((4,), 9)


def test_what_sends_no_maps_is_said_so(tmp_path):
    where = trial(ProtectionDefence(Ignored(), 24, 1.2), tmp_path)
    outcome = FeatureMaps(BRIEF).run(where, "attack")
    assert outcome.reason == "the defence sends no feature maps"


# known pairs


def pairs(training=BRIEF, counts=(8,)):
    return KnownPairs(training, counts, widths=(8, 8), points=1)


def test_one_key_serves_all_pictures_and_other_keys_do_not(tmp_path):
    where = trial(None, tmp_path)
    shown = where.faces(where.held, where.held.batches(4)[0], 1)
    defence = OneKey(Scramble(24), 24, 1.2, key=bytes([7]) * 32)
    first = defence.show(shown)
    again = where.faces(where.held, where.held.batches(4)[0], "others")
    torch.testing.assert_close(first, defence.show(again))
    assert (ProtectionDefence(Scramble(24), 24, 1.2).show(again) - first).abs().max() > 0.1


def test_both_kinds_of_pairs_are_tried_with_each_number(tmp_path):
    where = trial(ProtectionDefence(Scramble(24), 24, 1.35), tmp_path)
    attack = pairs(counts=(4, 8))
    found = report(attack, attack.run(where, "attack"), where, "attack")
    assert found["conditions"].keys() == {
        f"{key}_pairs_{n}" for key in ("one_key", "other_keys") for n in (4, 8)
    }
    assert found["budget"]["known_pairs"] == [4, 8]
    assert len(where.learn) == 72  # left as it was


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_pairs_of_a_key_that_is_ignored_give_the_faces_away(tmp_path):
    where = trial(ProtectionDefence(Ignored(), 24, 1.35), tmp_path)
    attack = pairs(Schedule(steps=100, batch=8, learning_rate=1e-2), (40,))
    found = report(attack, attack.run(where, "attack"), where, "attack")
    assert found["identifies"]


def test_what_takes_no_keys_is_said_so(tmp_path):
    assert pairs().run(trial(CLEAR, tmp_path), "attack").reason == "a camera has no keys"
    with pytest.raises(ValueError, match=r"pairs = \[1\], expected one count or more"):
        pairs(counts=(1,))
