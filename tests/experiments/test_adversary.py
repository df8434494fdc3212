"""The learning recogniser: its chance level, what it learns from, and whom it teaches."""

import math

import numpy as np
import pytest
import torch

from experiments.adversary import Attacker, embed_clear, measure_identity, paired_rows
from experiments.scene import Scenes, load_scenes
from experiments.training import descend
from tests.experiments.tiny_codesign import SIZE, TinyRecognizer, tiny_crops


class GivenEmbeddings(TinyRecognizer):
    """Stands for a recogniser; what it says is told beforehand."""

    def forward(self, faces):
        return self.told[: len(faces)]


def enrolled(crops):
    recognizer = TinyRecognizer()
    attacker = Attacker(recognizer)
    attacker.enrol(embed_clear(recognizer, crops), torch.from_numpy(crops.person))
    return attacker


def guessing(people, told, gallery, temperature=0.07):
    attacker = Attacker(GivenEmbeddings(), temperature=temperature)
    attacker.probe.told = told
    attacker.enrol(gallery, torch.tensor(people))
    return attacker


def nothing(count):
    return torch.zeros(count, 3, 16, 16), torch.rand(count, 68, 2) * 16


def test_guessing_costs_what_chance_says():
    """Equal scores for all: -log of the share of the person's other pictures."""
    people = [0, 0, 0, 1, 1, 2, 2, 2, 2]
    told = torch.zeros(9, 8)
    attacker = guessing(people, told, torch.randn(9, 8))
    loss = attacker(*nothing(9), torch.arange(9))
    expected = math.log(8) - np.mean([math.log(n) for n in (2, 2, 2, 1, 1, 3, 3, 3, 3)])
    assert attacker.chance == pytest.approx(expected)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_random_embeddings_do_no_better_than_chance():
    draw = torch.Generator().manual_seed(0)
    unit = torch.nn.functional.normalize
    people = np.arange(40).repeat(5).tolist()
    gallery = unit(torch.randn(200, 512, generator=draw), dim=1)
    told = unit(torch.randn(200, 512, generator=draw), dim=1)
    attacker = guessing(people, told, gallery, temperature=0.5)
    loss = attacker(*nothing(200), torch.arange(200)).item()
    # cosines have deviation 1 / sqrt(512), scores 0.088, the mean of 4 then 0.044, and of 200
    # probes 0.003; the curvature of the exponential adds less than 0.004
    assert loss == pytest.approx(attacker.chance, abs=0.015)


def test_a_person_without_another_picture_is_no_part_of_chance():
    attacker = guessing([0, 0, 1], torch.zeros(3, 8), torch.randn(3, 8))
    assert attacker.chance == pytest.approx(math.log(2))
    assert attacker(*nothing(3), torch.arange(3)).item() == pytest.approx(math.log(2))


def test_a_batch_of_strangers_costs_chance_and_has_a_gradient():
    attacker = guessing([0, 0, 1], torch.zeros(3, 8), torch.randn(3, 8))
    seen, landmarks = nothing(1)
    loss = attacker(seen.requires_grad_(True), landmarks, torch.tensor([2]))
    loss.backward()
    assert loss.item() == pytest.approx(attacker.chance)
    assert seen.grad.abs().max() == 0


def test_the_own_picture_is_never_a_match():
    gallery = torch.eye(4, 8)
    attacker = guessing([0, 0, 1, 1], gallery[:1], gallery)
    loss = attacker(*nothing(1), torch.tensor([0]))
    # likeness to itself alone: all others are equally far
    assert loss.item() == pytest.approx(math.log(3), rel=1e-6)
    # likeness to the other picture of the same person is what counts
    attacker.probe.told = gallery[1:2]
    assert attacker(*nothing(1), torch.tensor([0])).item() < 1e-4


def test_training_lowers_the_loss_where_people_differ():
    crops = tiny_crops(people=4, each=4)
    attacker, scenes = enrolled(crops), load_scenes(crops, range(16))
    optimizer = torch.optim.Adam(attacker.parameters(), lr=1e-2)
    seen = scenes.light.roll((3, 5), (-2, -1)) * 0.5  # something it was not made for
    losses = []
    for step in range(40):
        loss = attacker(seen, scenes.landmarks, torch.arange(16))
        descend(loss, optimizer, step=step)
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_the_measured_identity_teaches_the_picture_and_not_the_attacker():
    crops = tiny_crops()
    attacker, scenes = enrolled(crops), load_scenes(crops, range(5))
    seen = scenes.light.clone().requires_grad_(True)
    before = [p.detach().clone() for p in attacker.parameters()]
    loss = measure_identity(attacker, seen, scenes, torch.arange(5))
    loss.backward()
    assert seen.grad.abs().max() > 0
    assert all(p.grad is None for p in attacker.parameters())
    assert all(torch.equal(p, b) for p, b in zip(attacker.parameters(), before, strict=True))
    torch.testing.assert_close(loss, attacker(seen, scenes.landmarks, torch.arange(5)))


def test_the_attacker_learns_on_a_copy():
    recognizer = TinyRecognizer().requires_grad_(False)
    attacker = Attacker(recognizer)
    attacker.probe.mix.weight.data += 1
    assert not torch.equal(attacker.probe.mix.weight, recognizer.mix.weight)
    assert all(p.requires_grad for p in attacker.parameters())
    assert not any(p.requires_grad for p in recognizer.parameters())


def test_embeddings_are_those_of_the_pictures_in_their_order():
    crops = tiny_crops(people=3, each=3)
    recognizer = TinyRecognizer()
    whole = embed_clear(recognizer, crops, batch=4)
    torch.testing.assert_close(whole, embed_clear(recognizer, crops, batch=64))
    torch.testing.assert_close(whole[5:6], embed_clear(recognizer, crops.subset([5])))
    assert len(embed_clear(recognizer, crops.subset([]))) == 0


@pytest.mark.parametrize(
    ("people", "rows"),
    [
        ([0, 0, 1, 2, 2, -1, -1], [0, 1, 3, 4]),
        ([-1, -1], []),
        ([3], []),
        ([], []),
    ],
)
def test_rows_with_a_partner_are_found(people, rows):
    assert paired_rows(np.array(people, dtype=np.int64)).tolist() == rows


def test_the_gallery_is_no_part_of_the_weights():
    attacker = enrolled(tiny_crops())
    assert {n.split(".")[0] for n in attacker.state_dict()} == {"probe"}
    assert isinstance(load_scenes(tiny_crops(), [0]), Scenes)
    assert load_scenes(tiny_crops(), [0]).size == SIZE
