"""Feature maps put out of order by a key, and what is sent of them."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch

from anonymizer.keystream import stream
from anonymizer.protection.feature_codec import FeatureCodec
from anonymizer.protection.feature_shuffle import CellShuffle, draw_permutation, permute_blocks
from tests.shared_data import shared

KEY, OTHER = bytes(range(32)), bytes(32)


def test_all_permutations_are_equally_likely():
    """Chi-square of 4,800 draws over the 24 orders of four things: 23 degrees of freedom."""
    count = 4_800
    found = Counter(tuple(draw_permutation(KEY, 4, f"draw {i}").tolist()) for i in range(count))
    assert set(found) == set(itertools.permutations(range(4)))
    expected = count / 24
    chi_square = sum((n - expected) ** 2 / expected for n in found.values())
    assert 6 < chi_square < 53  # 1e-4 on either side


def test_a_word_beyond_the_largest_multiple_is_drawn_again(monkeypatch):
    """Of three things, the word 2**64 - 1 would favour remainder 0; the next word decides."""
    words = np.full(1024, 2**64 - 1, "<u8")
    words[:-1] = 4  # drawn from the end: the first word is refused, all others are 4

    monkeypatch.setattr("anonymizer.protection.feature_shuffle.stream", lambda *_: words.tobytes())
    # 4 mod 3 = 1 swaps the last with the middle one, 4 mod 2 = 0 the middle one with the first
    assert draw_permutation(KEY, 3, "").tolist() == [2, 0, 1]


def test_a_long_permutation_needs_more_than_one_part_of_the_stream():
    order = draw_permutation(KEY, 5000, "long")
    assert sorted(order.tolist()) == list(range(5000))
    assert stream(KEY, 8, "long/0") != stream(KEY, 8, "long/1")


def test_blocks_are_permuted_as_published():
    with np.load(shared("reference/proface_c.npz")) as stored:
        permutations = torch.from_numpy(stored["perm_first4"].astype(np.int64))
        expected = torch.from_numpy(stored["shuffle_out_i32"])
    c, i, j = torch.meshgrid(torch.arange(64), torch.arange(56), torch.arange(56), indexing="ij")
    coded = (10000 * c + 100 * i + j)[None].int()
    assert torch.equal(permute_blocks(coded, permutations, 28), expected)


def test_each_block_of_an_oblong_map_has_its_own_permutation():
    maps = torch.arange(2 * 3 * 4 * 6).reshape(2, 3, 4, 6)
    orders = torch.stack([torch.from_numpy(draw_permutation(KEY, 3, str(q))) for q in range(6)])
    out = permute_blocks(maps, orders, 2)
    for q, (row, column) in enumerate(itertools.product(range(0, 4, 2), range(0, 6, 2))):
        block = (..., slice(row, row + 2), slice(column, column + 2))
        assert torch.equal(out[block], maps[block][:, orders[q]])


def test_only_the_key_and_its_purpose_put_cells_back():
    maps = torch.arange(5 * 14 * 21).reshape(1, 5, 14, 21)
    mixed = CellShuffle((5, 14, 21), 7, KEY, "one").mix(maps)
    assert torch.equal(mixed.flatten().sort().values, maps.flatten())
    assert torch.equal(CellShuffle((5, 14, 21), 7, KEY, "one").restore(mixed), maps)
    for key, purpose in ((OTHER, "one"), (KEY, "two")):
        wrong = CellShuffle((5, 14, 21), 7, key, purpose).restore(mixed)
        assert (wrong == maps).float().mean() < 0.2  # 30 cells, one in place on average


def test_cells_move_whole():
    maps = torch.arange(5 * 6).reshape(1, 5, 2, 3)
    maps = maps.repeat_interleave(7, 2).repeat_interleave(7, 3)
    mixed = CellShuffle((5, 14, 21), 7, KEY, "one").mix(maps)
    assert torch.equal(mixed, mixed[..., ::7, ::7].repeat_interleave(7, 2).repeat_interleave(7, 3))


def codec(bits=4):
    made = FeatureCodec([(6, 14), (4, 7)], bits=bits)
    made.observe(faces(64), [torch.tensor([1.0, 9, 1, 9, 1, 9]), torch.ones(4)])
    return made


def faces(count, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return [
        torch.randn(count, 6, 14, 14, generator=draw) + torch.arange(6.0)[:, None, None],
        torch.randn(count, 4, 7, 7, generator=draw) * 5,
    ]


@pytest.mark.parametrize("bits", [1, 3, 4, 8])
def test_what_is_decoded_is_what_training_saw(bits):
    made, maps = codec(bits), faces(3, seed=1)
    made.prune(0.5)
    sent = made.encode(maps, KEY, "a face")
    seen = made(maps)
    for row, payload in enumerate(sent):
        assert len(payload) == made.size
        for found, expected in zip(made.decode(payload, KEY, "a face"), seen, strict=True):
            torch.testing.assert_close(found, expected[row : row + 1])


def test_bytes_are_counted_as_they_are_sent():
    made = codec()
    assert made.unpruned_size == 4 * (6 * 14 * 14 + 4 * 7 * 7)
    assert made.size == 6 * 14 * 14 // 2 + 4 * 7 * 7 // 2
    made.prune(0.5)
    assert made.size == 3 * 14 * 14 // 2 + 2 * 7 * 7 // 2
    assert len(made.encode(faces(1), KEY, "")[0]) == made.size


def test_rounding_errs_by_half_a_step_within_the_range():
    made, maps = codec(), faces(8, seed=2)
    for i, (found, values) in enumerate(zip(made(maps), maps, strict=True)):
        low, high = (made.get_buffer(f"{end}_{i}")[:, None, None] for end in ("low", "high"))
        inside = (values > low) & (values < high)
        assert inside.float().mean() > 0.98
        error = (found - values).abs() / ((high - low) / 15)
        assert error[inside].max() <= 0.5 + 1e-5


def test_the_most_important_channels_are_kept():
    made = codec()
    made.prune(0.5)
    assert made.get_buffer("keep_0").tolist() == [False, True, False, True, False, True]


def test_gradients_pass_where_values_are_sent_and_nowhere_else():
    made, maps = codec(), faces(8, seed=3)
    made.prune(0.5)
    for values in maps:
        values.requires_grad_()
    sum(out.sum() for out in made(maps)).backward()
    values = maps[0]
    low, high = made.get_buffer("low_0")[:, None, None], made.get_buffer("high_0")[:, None, None]
    keep = made.get_buffer("keep_0")[:, None, None]
    assert torch.equal(values.grad, ((values > low) & (values < high) & keep).float())


def test_any_bytes_of_the_right_length_are_maps_within_their_ranges():
    made = codec()
    made.prune(0.5)
    payload = np.random.default_rng(0).bytes(made.size)
    for i, values in enumerate(made.decode(payload, KEY, "")):
        assert (values <= made.get_buffer(f"high_{i}")[:, None, None].clamp(min=0) + 1e-5).all()


@pytest.mark.parametrize("length", [0, 1, -1, 10_000])
def test_other_lengths_are_refused(length):
    made = codec()
    size = made.size - 1 if length == -1 else length
    with pytest.raises(ValueError, match=f"payload of {size} bytes, expected {made.size}"):
        made.decode(bytes(size), KEY, "")


def test_pruning_unseen_is_refused():
    with pytest.raises(ValueError, match="nothing was observed"):
        FeatureCodec([(6, 14)]).prune(0.5)
