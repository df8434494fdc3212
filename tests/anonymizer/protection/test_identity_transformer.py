"""Identity transformer: the published networks to the bit, codes, and what its players learn."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from anonymizer.colour import decode_srgb, encode_srgb
from anonymizer.protection.identity_networks import (
    Discriminators,
    Generator,
    PasswordClassifier,
    batch_norm,
    freeze_statistics,
    running_norm,
)
from anonymizer.protection.identity_training import IdentityTraining, Weights, least_squares
from anonymizer.protection.identity_transformer import (
    IdentityTransformer,
    draw_codes,
    nibbles,
    search_seconds,
)
from anonymizer.protection.training import FaceBatch
from anonymizer.recognition import CompactRecognizer
from anonymizer.recognition.heads import AngularHead
from tests.anonymizer.protection.reference import faces, vectors
from tests.hashed_weights import fill_by_name


def pictures(stored):
    """Return the stored faces, sRGB in [-1, 1]."""
    return torch.from_numpy(stored["x_u8"]).permute(0, 3, 1, 2) / 255 * 2 - 1


def small(bits=8, **options):
    torch.manual_seed(0)
    return Generator(bits, width=8, blocks=1, **options)


def keys(count, first=0):
    return [bytes([first + i]) * 32 for i in range(count)]


@torch.no_grad()
def test_generator_is_the_published_one():
    stored = vectors("fit")
    generator = Generator(16, norm=batch_norm)
    fill_by_name(generator, 1.0)
    assert sum(p.numel() for p in generator.parameters()) == 11_433_795
    found = generator(pictures(stored), torch.from_numpy(stored["code_bits"]) - 0.5)
    torch.testing.assert_close(found, torch.from_numpy(stored["anon"]), rtol=0, atol=5e-4)


@torch.no_grad()
def test_discriminators_are_the_published_ones():
    stored = vectors("fit")
    network = Discriminators(norm=batch_norm)
    fill_by_name(network, 1.0)
    assert sum(p.numel() for p in network.parameters()) == 11_062_528
    full, half = network(pictures(stored), "M")
    torch.testing.assert_close(full, torch.from_numpy(stored["disc_M_full"]), rtol=2e-5, atol=5e-5)
    assert half.shape == (2, 1, 6, 6)


@torch.no_grad()
def test_classifier_is_the_published_one():
    stored = vectors("fit")
    network = PasswordClassifier(norm=batch_norm)
    fill_by_name(network, 1.0)
    assert sum(p.numel() for p in network.parameters()) == 6_988_672
    found = network(pictures(stored), torch.from_numpy(stored["anon"]))
    torch.testing.assert_close(found, torch.from_numpy(stored["q_logits"]), rtol=0, atol=2e-5)


def test_four_bits_are_read_as_published():
    stored = vectors("fit")
    codes = 2 * torch.from_numpy(stored["code_bits"]) - 1
    assert nibbles(codes).tolist() == stored["code_nibbles"].tolist()
    numbers = (nibbles(codes) * 16 ** torch.arange(3, -1, -1)).sum(1)
    assert numbers.tolist() == stored["code"].tolist()


def test_complement_is_the_flipped_sign():
    stored = vectors("fit")
    codes = 2 * torch.from_numpy(stored["code_bits"]) - 1
    assert torch.equal(-codes, 2 * torch.from_numpy(stored["inv_bits"]) - 1)


@torch.no_grad()
def test_one_image_alone_becomes_what_it_becomes_in_a_batch():
    method = IdentityTransformer(small(), size=32)
    images = faces(3, 32, 32)
    whole = method.protect(images, keys(3))
    alone = method.protect(images[1:2], keys(3)[1:2])
    torch.testing.assert_close(alone, whole[1:2])


@torch.no_grad()
def test_published_normalisation_depends_on_the_batch():
    method = IdentityTransformer(small(norm=batch_norm), size=32)
    images = faces(2, 32, 32)
    alone = method.protect(images[:1], keys(1))
    assert (alone - method.protect(images, keys(2))[:1]).abs().max() > 1e-3


@torch.no_grad()
def test_a_shared_code_has_no_effect_with_batch_statistics_and_has_one_with_ours():
    """A constant plane adds a constant to each channel, which statistics of the batch remove."""
    images = 2 * faces(2, 32, 32) - 1
    codes = draw_codes(2, 8, torch.Generator().manual_seed(0))[:1].repeat(2, 1)
    theirs, ours = small(norm=batch_norm), small()
    assert (theirs(images, codes) - theirs(images, -codes)).abs().max() < 1e-4
    assert (ours(images, codes) - ours(images, -codes)).abs().max() > 1e-3


@torch.no_grad()
def test_frozen_statistics_keep_codes_and_forget_the_batch(tmp_path):
    generator = small(norm=batch_norm)
    draw = torch.Generator().manual_seed(0)
    batches = [(2 * faces(4, 32, 32, seed=i) - 1, draw_codes(4, 8, draw)) for i in range(4)]
    freeze_statistics(generator, batches).eval()
    images, codes = batches[0]
    whole = generator(images, codes)
    torch.testing.assert_close(generator(images[:1], codes[:1]), whole[:1])
    assert (generator(images[:1], -codes[:1]) - whole[:1]).abs().max() > 1e-3
    again = small(norm=running_norm).eval()
    again.load_state_dict(generator.state_dict())
    torch.testing.assert_close(again(images, codes), whole)


def test_frozen_statistics_are_the_mean_of_the_batches():
    generator = small(norm=batch_norm)
    draw = torch.Generator().manual_seed(0)
    batches = [(2 * faces(4, 32, 32, seed=i) - 1, draw_codes(4, 8, draw)) for i in range(3)]
    with torch.no_grad():
        means = [generator.model[:2](_input(*batch)).mean((0, 2, 3)) for batch in batches]
    freeze_statistics(generator, batches)
    torch.testing.assert_close(generator.model[2].running_mean, torch.stack(means).mean(0))


def _input(images, codes):
    planes = codes[:, :, None, None].expand(-1, -1, *images.shape[2:])
    return torch.cat([images, planes], 1)


def test_nothing_to_freeze_is_refused():
    with pytest.raises(ValueError, match="no batch statistics"):
        freeze_statistics(small(), [])
    with pytest.raises(ValueError, match="batches is empty"):
        freeze_statistics(small(norm=batch_norm), [])


@torch.no_grad()
def test_recovery_is_the_same_network_with_the_complement():
    method = IdentityTransformer(small(), size=32)
    images, key = faces(1, 32, 32), keys(1)
    found = method.recover(images, key)
    torch.testing.assert_close(found, method.transform(images, -method.codes(key)))
    assert not torch.equal(found, method.protect(images, key))


@torch.no_grad()
def test_codes_of_128_bits_come_from_the_key():
    method = IdentityTransformer(small(bits=128), size=32)
    codes = method.codes(keys(2))
    assert codes.shape == (2, 128)
    assert set(codes.unique().tolist()) == {-1.0, 1.0}
    assert 0.3 < (codes[0] == codes[1]).float().mean() < 0.7
    assert torch.equal(codes, method.codes(keys(2)))
    assert method.protect(faces(2, 32, 32), keys(2)).shape == (2, 3, 32, 32)


def test_a_code_longer_than_a_key_is_refused():
    with pytest.raises(ValueError, match="codes of 257 bits, a key has 256"):
        IdentityTransformer(small(bits=257), size=32)


def test_drawn_codes_differ_from_the_others():
    draw = torch.Generator().manual_seed(0)
    first = draw_codes(200, 2, draw)
    second = draw_codes(200, 2, draw, [first, -first])
    assert not (second == first).all(1).any()
    assert not (second == -first).all(1).any()
    with pytest.raises(ValueError, match="bits = 1: too few for 3 different codes"):
        draw_codes(10, 1, draw, [first[:10, :1], -first[:10, :1]])


def test_search_time_doubles_with_each_bit():
    assert search_seconds(17, 0.5) == 2 * search_seconds(16, 0.5) == 2**16 * 0.5
    assert search_seconds(128, 0.02) > 1e36


def test_a_generator_of_changes_begins_with_none_and_learns_all_its_layers():
    torch.manual_seed(0)
    generator = Generator(8, width=8, blocks=1, changes=True)
    shown, codes = 2 * faces(2, 32, 32) - 1, torch.ones(2, 8)
    torch.testing.assert_close(generator(shown, codes), shown, rtol=0, atol=0)
    optimizer = torch.optim.SGD(generator.parameters(), lr=0.1)
    for _ in range(2):  # the first step moves the last layer alone, which was zero
        optimizer.zero_grad()
        (generator(shown, codes) - 0.9 * shown).square().mean().backward()
        optimizer.step()
    assert all(weight.grad.abs().sum() > 0 for weight in generator.parameters() if weight.ndim > 1)
    assert (generator(shown, codes) - shown).abs().max() > 1e-4


def test_recovery_before_it_is_clipped_is_the_same_recovery():
    protection, shown = IdentityTransformer(small(8), size=64), faces(2, 64, 64)
    keys = [bytes(32), b"k" * 32]
    with torch.no_grad():
        values = protection.recover_unclipped(shown, keys)
        wanted = protection.recover(shown, keys)
    torch.testing.assert_close(decode_srgb(values), wanted)


def training(bits=8, weights=None):
    torch.manual_seed(0)
    recognizer = CompactRecognizer()
    made = IdentityTraining(
        IdentityTransformer(small(bits), size=64),
        width=8,
        recognizer=recognizer,
        head=AngularHead(3, recognizer.dimension),
        weights=weights,
    )
    return made.train()


def batch():
    return FaceBatch(faces(2, 64, 64)[:, None], torch.tensor([[0], [2]]))


def terms(made, player, seed=0):
    return made.losses(batch(), torch.Generator().manual_seed(seed), player=player)


@pytest.mark.parametrize("player", ["adversary", "protection"])
def test_every_player_learns_from_its_own_losses(player):
    made = training()
    sum(terms(made, player).values()).backward()
    still = [
        name
        for name, p in made.players()[player].named_parameters()
        if p.grad is None or not p.grad.any()
    ]
    assert not still


def test_the_adversary_sends_no_gradient_into_the_protection():
    made = training()
    sum(terms(made, "adversary").values()).backward()
    assert all(p.grad is None for p in made.protection.parameters())


def test_recovery_weighs_ten_times_anonymisation():
    made = training()
    found = terms(made, "protection")
    original = 2 * encode_srgb(batch().faces[:, 0]) - 1
    draw = torch.Generator().manual_seed(0)
    code = draw_codes(2, 8, draw)
    anonymised = made.protection.view(original, code)
    recovered = made.protection.view(anonymised, -code)
    torch.testing.assert_close(found["anonymised"], 10 * F.l1_loss(anonymised, original))
    torch.testing.assert_close(found["recovered"], 100 * F.l1_loss(recovered, original))


def test_identity_is_kept_in_recovery_and_lost_elsewhere():
    """The term is made smaller by features that fit the person after recovery alone."""
    made = training()
    right = made.head.weight.detach().T[[0, 2]]
    made._features = lambda _: right  # all roles alike: the two losses outweigh the one gain
    alike = terms(made, "protection")["identity"]
    entropy = made.head.eval()(right, torch.tensor([0, 2]))
    torch.testing.assert_close(alike, -2 * entropy / 3, rtol=1e-2, atol=1e-5)


def test_a_weight_of_zero_silences_its_term():
    made = training(weights=Weights(gan=0.0))
    assert terms(made, "protection")["gan"] == 0
    assert terms(made, "adversary")["gan"] == 0


def test_least_squares_sums_scales():
    scores = [torch.full((2, 1, 4, 4), 3.0), torch.full((2, 1, 2, 2), 2.0)]
    assert least_squares(scores, 1.0) == 4 + 1


def test_people_that_the_head_does_not_know_are_refused():
    made = training()
    strangers = FaceBatch(faces(2, 64, 64)[:, None], torch.tensor([[0], [3]]))
    with pytest.raises(ValueError, match="person is 0 to 3, expected 0 to 2"):
        made.losses(strangers, torch.Generator(), player="protection")


def test_training_makes_recovery_better():
    made = training()
    learns = made.players()["protection"]
    optimizer = torch.optim.Adam(learns.parameters(), lr=1e-3)
    values = []
    for step in range(9):
        found = terms(made, "protection", seed=step)
        optimizer.zero_grad()
        sum(found.values()).backward()
        optimizer.step()
        values.append(found["recovered"].item())
    assert np.mean(values[-3:]) < 0.8 * np.mean(values[:3])
