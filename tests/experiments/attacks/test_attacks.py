"""Attacks on defences whose worth is known: they find what is there, and nothing else."""

import json

import pytest
import torch

from experiments.attacks import (
    AdmmTv,
    Blank,
    CameraDefence,
    FineTuned,
    LearnedInversion,
    OffTheShelf,
    Parrot,
    RichardsonLucy,
    Wiener,
    WrongKey,
    report,
)
from experiments.attacks.deconvolving import disturbed, gaussian_like
from experiments.objectives import ScenePower
from experiments.protocol import Protocol
from experiments.scene import load_scenes
from experiments.stages import Schedule, StaticCamera
from tests.experiments.attacks.planted import (
    CLEAR,
    SHORT,
    Averaged,
    Constant,
    OneRow,
    QuickFromScratch,
    people,
    trial,
)
from tests.experiments.tiny_codesign import REFERENCE, TinyRecognizer, tiny_camera

BRIEF = Schedule(steps=2, batch=8, learning_rate=1e-4)
ATTACKS = {
    "off_the_shelf": OffTheShelf(),
    "parrot": Parrot(shuffles=20),
    "fine_tuned": FineTuned(BRIEF, points=1),
    "from_scratch": QuickFromScratch(BRIEF, points=1),
    "learned_inversion": LearnedInversion(BRIEF, widths=(8, 8), points=1),
}
LONG = {  # for those that begin with nothing; scratch is given a row of pixels below
    "learned_inversion": LearnedInversion(
        Schedule(steps=150, batch=16, learning_rate=1e-2), widths=(16, 16)
    ),
}


def attacked(attack, defence, folder, **changes):
    where = trial(defence, folder, **changes)
    return report(attack, attack.run(where, "attack"), where, "attack")


@pytest.mark.parametrize("name", ATTACKS)
def test_a_constant_tells_nothing(name, tmp_path):
    found = attacked(ATTACKS[name], Constant(), tmp_path)
    assert found["result"]["auc_lo"] <= 0.5 <= found["result"]["auc_hi"]
    assert not found["identifies"]


@pytest.mark.parametrize(
    "name",
    [
        "off_the_shelf",
        "parrot",
        "fine_tuned",
        *(pytest.param(name, marks=pytest.mark.slow) for name in LONG),
    ],
)
def test_whoever_is_given_the_answer_reaches_the_ceiling(name, tmp_path):
    found = attacked(LONG.get(name, ATTACKS[name]), CLEAR, tmp_path)
    assert found["ceiling"]["auc"] > 0.9
    assert found["result"]["auc_hi"] >= found["ceiling"]["auc_lo"]
    assert found["identifies"]


@pytest.mark.parametrize("name", ATTACKS)
def test_people_dealt_anew_are_not_found(name, tmp_path):
    found = attacked(ATTACKS[name], CLEAR, tmp_path, shuffle=True)
    assert found["result"]["auc_lo"] <= 0.5 <= found["result"]["auc_hi"]


def test_identity_in_one_row_of_pixels_is_found_by_who_trains(tmp_path):
    leak = OneRow(TinyRecognizer(8).requires_grad_(False))
    naive = attacked(OffTheShelf(), leak, tmp_path)
    trained = attacked(QuickFromScratch(SHORT), leak, tmp_path)
    assert trained["identifies"]
    assert trained["result"]["auc_lo"] > naive["result"]["auc"]
    assert trained["result"]["auc_hi"] >= trained["ceiling"]["auc_lo"]
    curve = [point["auc_tune"] for point in trained["curve"]]
    assert curve[-1] > curve[0] + 0.1
    assert [point["pictures"] for point in trained["curve"]] == [0, 96, 192, 288, 384]


@pytest.mark.parametrize("name", ["from_scratch", "learned_inversion"])
def test_two_runs_with_one_seed_are_the_same(name, tmp_path):
    leak = OneRow(TinyRecognizer(8).requires_grad_(False))
    one, two, other = (
        json.dumps(attacked(ATTACKS[name], leak, tmp_path / str(i), seed=seed), sort_keys=True)
        for i, seed in enumerate((3, 3, 4))
    )
    assert one == two != other


def test_a_failed_training_leaves_the_attacker_what_it_knew(tmp_path):
    wild = FineTuned(Schedule(steps=4, batch=16, learning_rate=0.9), points=1)
    found = attacked(wild, CLEAR, tmp_path)
    assert found["result"]["auc"] >= found["ceiling"]["auc"] - 1e-6


def test_averaging_shots_undoes_noise(tmp_path):
    found = attacked(OffTheShelf(), Averaged(), tmp_path)["conditions"]
    aucs = [found[f"frames_{n}"]["auc"] for n in (1, 16, 100)]
    assert aucs[0] < aucs[1] < aucs[2]
    assert attacked(OffTheShelf(), CLEAR, tmp_path)["conditions"].keys() == {"frames_1"}


def test_noise_is_the_floor(tmp_path):
    where = trial(Blank(), tmp_path)
    assert where.floor["auc_lo"] <= 0.5 <= where.floor["auc_hi"]


def test_pictures_of_one_face_for_each_person_are_linked_by_parrots_alone(tmp_path):
    class Pseudonym:
        noisy = False

        def show(self, faces, *, frames=1):
            shape = faces.scenes.light.shape[1:]
            drawn = [
                torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(900 + int(p)))
                for p in faces.person
            ]
            return torch.nn.functional.interpolate(torch.stack(drawn), shape[1:])

    found = attacked(Parrot(shuffles=20), Pseudonym(), tmp_path)["result"]
    assert found["auc"] > 0.99
    assert found["d_sys"] > found["d_sys_null_hi"]
    assert found["linkable"] == 1
    assert not attacked(OffTheShelf(), Pseudonym(), tmp_path)["identifies"]


def test_people_shared_by_learning_and_test_are_refused(tmp_path):
    with pytest.raises(ValueError, match="share people"):
        trial(CLEAR, tmp_path, learn=people(38, 10))
    with pytest.raises(ValueError, match="share people"):
        trial(CLEAR, tmp_path, learn=people(29, 10))
    with pytest.raises(ValueError, match="test has 1 people with two pictures"):
        trial(CLEAR, tmp_path, test=people(60, 1))


# cameras


def defended(psf):
    power = ScenePower.measure(load_scenes(people(0, 10), range(20)))
    protocol = Protocol(distances=[REFERENCE], reference=REFERENCE, frames=(1,), exposures=())
    return CameraDefence(StaticCamera(tiny_camera(), {REFERENCE: psf}), power, protocol)


def gaussian(sigma, size=21):
    return gaussian_like(torch.ones(3, size, size) / size**2, sigma)


@pytest.mark.parametrize(
    ("attack", "gain"),
    [
        (Wiener((1.0,), frames=(1,)), 0.5),
        (RichardsonLucy((20,), frames=(1,)), 0.5),
        (AdmmTv((1e-3,), frames=(1,)), 0.5),
    ],
)
def test_a_known_lens_is_undone(attack, gain, tmp_path):
    camera = defended(gaussian(2.5))
    where = trial(camera, tmp_path, test=people(40, 3))
    outcome = attack.run(where, "attack")
    faces = where.faces(where.held, where.shown, 1)
    seen = camera.show(faces)

    def error(picture):
        return (picture - faces.scenes.light).square().mean()

    restored = outcome.pictures["exact_frames_1"]
    assert error(restored) < error(seen) * 10 ** (-gain / 10)


def test_better_knowledge_of_the_lens_and_more_shots_restore_more(tmp_path):
    attack = Wiener((0.3, 1.0, 10.0), (1, 100), errors=(0.0, 0.05, 0.3), guesses=(0.01,))
    found = attack.run(trial(defended(gaussian(2.0)), tmp_path), "attack").conditions
    for frames in (1, 100):
        exact = found[f"exact_frames_{frames}"]["psnr"]
        assert exact > found[f"error_0.3_frames_{frames}"]["psnr"]
        assert exact > found[f"unknown_frames_{frames}"]["psnr"]
    assert found["exact_frames_100"]["psnr"] > found["exact_frames_1"]["psnr"] + 0.5


def test_the_error_of_a_psf_is_what_it_is_called():
    psf = gaussian(3.0)
    for error in (0.01, 0.05):
        wrong = disturbed(psf, error, 0)
        assert float((wrong - psf).norm() / psf.norm()) == pytest.approx(error, rel=1e-4)
        torch.testing.assert_close(wrong.sum((-2, -1)), psf.sum((-2, -1)))
    assert disturbed(psf, 0, 0) is psf


def test_what_has_no_lens_and_no_key_is_said_so(tmp_path):
    for attack in (Wiener((1.0,)), WrongKey()):
        found = attacked(attack, CLEAR, tmp_path)
        assert found["result"] is None
        assert "no" in found["reason"]
