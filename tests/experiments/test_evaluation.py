"""Judging a camera: the same pictures for all, an inversion that can, and what the numbers mean."""

import math

import numpy as np
import pytest
import torch

from anonymizer.recognition.protocol import verify
from experiments.adversary import Attacker
from experiments.evaluation import clear_numbers, evaluate_camera
from experiments.inversion import Inversion, psnr
from experiments.judging import join, limit, limit_people, pool_name
from experiments.objectives import ScenePower
from experiments.protocol import Judges, Protocol, verification, worst_of
from experiments.protocol import TestSet as PictureSet
from experiments.scene import Framing, load_scenes
from experiments.settings import SettingsError
from experiments.stages import StaticCamera
from optics import Sensor
from tests.experiments.tiny_codesign import (
    CPU,
    REFERENCE,
    TinyRecognizer,
    tiny_camera,
    tiny_crops,
    tiny_regressor,
)

FRAMING = Framing(0.05, 0.05, 0.1, False)
ROWS = np.arange(4)
POOL = {"one": TinyRecognizer(8), "two": TinyRecognizer(16)}


def held(**options):
    return PictureSet(tiny_crops(**options), FRAMING, 0)


def protocol(**changes):
    return Protocol(
        **{
            "distances": [0.75, REFERENCE],
            "reference": REFERENCE,
            "frames": (1,),
            "exposures": (),
            "regularisation": (1.0,),
            "batch": 5,
        }
        | changes
    )


@pytest.fixture(scope="module")
def power():
    return ScenePower.measure(load_scenes(tiny_crops(), range(12)))


def delta(size=21):
    psf = torch.zeros(3, size, size)
    psf[:, size // 2, size // 2] = 1
    return psf


def broad(size=21, sigma=4.0):
    line = torch.exp(-((torch.arange(size) - size // 2) ** 2) / (2 * sigma**2))
    psf = line[:, None] * line[None, :]
    return (psf / psf.sum()).expand(3, -1, -1)


# pictures


def test_framing_and_noise_are_the_same_for_every_camera_and_batch():
    first, second = held(), held()
    together = first.scenes(np.arange(8), CPU)
    alone = second.scenes(np.array([5]), CPU)
    torch.testing.assert_close(together.light[5:6], alone.light)
    torch.testing.assert_close(together.landmarks[5:6], alone.landmarks)
    noise = [torch.rand(4, generator=s.noise(np.array([5]), 1.5)[0]) for s in (first, second)]
    assert torch.equal(*noise)
    assert not torch.equal(noise[0], torch.rand(4, generator=first.noise(np.array([5]), 3.0)[0]))


def test_batches_cover_every_picture_once():
    batches = held().batches(5)
    assert np.concatenate(batches).tolist() == list(range(12))
    assert [len(b) for b in batches] == [5, 5, 2]


def test_the_gallery_is_clear_and_never_framed():
    from experiments.adversary import embed_clear

    test = held()
    test.enrol(POOL)
    torch.testing.assert_close(test.gallery["one"], embed_clear(POOL["one"], test.crops))


@pytest.mark.parametrize(
    ("person", "expected"),
    [([0, 0, 1, 1], True), ([0, 0, 0, 0], False), ([0, 1, 2, 3], False), ([-1] * 4, False)],
)
def test_identities_need_two_people_and_a_pair(person, expected):
    crops = tiny_crops(people=4, each=1)
    crops.person[:] = person
    assert PictureSet(crops, FRAMING, 0).has_identities is expected


def test_fewer_pictures_keep_whole_people():
    crops = tiny_crops(people=10, each=3)
    some = limit_people(crops, 12)
    counts = np.bincount(some.person)
    assert len(some) == 12
    assert set(counts[counts > 0]) == {3}
    assert limit_people(crops, 1).person.tolist().count(0) == 3  # never fewer than two people
    assert len(np.unique(limit_people(crops, 1).person)) == 2
    assert limit_people(crops, 30) is crops


def test_nameless_pictures_are_spread_over_the_set():
    crops = tiny_crops(people=10, each=3)
    crops.person[:] = -1
    some = limit_people(crops, 4)
    assert list(some.files) == ["0.png", "10.png", "19.png", "29.png"]
    assert len(limit(crops, 4)) == 4


def test_joined_sets_keep_their_people_apart_and_equal_names_together():
    first, second = tiny_crops(people=2, each=2), tiny_crops(people=3, each=1)
    second.person[2] = -1
    both = join(first, second)
    named = ["" if i < 0 else both.names[i] for i in both.person]
    assert named == ["person 0"] * 2 + ["person 1"] * 2 + ["person 0", "person 1", ""]


@pytest.mark.parametrize(
    ("target", "pool", "expected"),
    [
        ("experiments.data.synthetic.SyntheticFaces", "auto", "synthetic"),
        ("experiments.data.photographs.Photographs", "auto", "photographs"),
        ("experiments.data.photographs.Photographs", "synthetic", "synthetic"),
    ],
)
def test_the_pool_fits_the_data(target, pool, expected):
    settings = {
        "data": {"_target_": target},
        "pool": pool,
        "pools": {"synthetic": {}, "photographs": {}},
    }
    assert pool_name(settings) == expected
    with pytest.raises(SettingsError, match="pool = 'best', expected auto, synthetic, photog"):
        pool_name(settings | {"pool": "best"})


# inversion


def restored(psf, power, *, frames=1, exposure=None, strength=1.0, camera=None):
    test = held()
    attack = Inversion(camera or tiny_camera(), psf, power, protocol(), frames, exposure)
    light = attack.restore(test, ROWS, CPU, strength)
    return psnr(light, test.scenes(ROWS, CPU).light).mean().item()


def test_a_sharp_picture_is_restored_and_one_without_a_band_is_not(power):
    sharp, blurred = restored(delta(), power), restored(broad(sigma=6.0), power)
    assert sharp > 30  # dB; resizing 32 pixels to 52 and back already costs that much
    assert blurred < sharp - 4


def test_a_known_shift_is_undone(power):
    """The filter uses the exact PSF: a displaced one is no loss."""
    moved = delta().roll((3, -2), (-2, -1))
    assert restored(moved, power) == pytest.approx(restored(delta(), power), abs=1.0)


def test_more_frames_and_more_light_restore_more(power):
    psf = broad(sigma=2.5)
    assert restored(psf, power, frames=400) > restored(psf, power, frames=1) + 1
    assert restored(psf, power, exposure=200.0) < restored(psf, power) - 1


def test_exposure_is_in_electrons_of_a_binned_pixel(power):
    camera = tiny_camera(sensor=Sensor(binning=32, white_fraction=0.5))
    attack = Inversion(camera, delta(), power, protocol(), 1, 1024.0)
    assert attack.white == pytest.approx(1.0)  # 32 x 32 raw pixels
    assert Inversion(camera, delta(), power, protocol(), 1, None).white == 0.5 * 8180


def test_the_key_names_frames_and_exposure(power):
    for frames, exposure, ending in (
        (1, None, "_1"),
        (100, None, "_100"),
        (100, 10e3, "_100_10ke"),
        (1, 1e3, "_1_1ke"),
        (1, 500.0, "_1_0.5ke"),
    ):
        attack = Inversion(tiny_camera(), delta(), power, protocol(), frames, exposure)
        assert attack.suffix == ending


def test_tuning_takes_what_finds_most_and_without_names_what_looks_best(power):
    tuning = held()
    tuning.enrol(POOL)
    strengths = (1e-3, 1.0, 1e6)
    attack = Inversion(
        tiny_camera(), broad(sigma=1.5), power, protocol(regularisation=strengths), 1, None
    )
    found = attack.look({"one": POOL["one"]}, tuning, CPU, strengths)
    best = max(strengths, key=lambda s: (found[s]["auc"], found[s]["psnr"]))
    assert attack.tune(POOL, tuning, CPU) == best
    tuning.crops.person[:] = -1
    found = attack.look({}, tuning, CPU, strengths)
    assert attack.tune(POOL, tuning, CPU) == max(strengths, key=lambda s: found[s]["psnr"])
    assert found[1.0]["psnr"] > found[1e6]["psnr"]


def test_the_ratio_of_a_known_error_is_its_decibels():
    true = torch.ones(2, 3, 4, 4)
    found = torch.full((2, 3, 4, 4), ((0.9 + 0.055) / 1.055) ** 2.4)  # 0.1 below white in sRGB
    torch.testing.assert_close(psnr(found, true), torch.full((2,), 20.0), rtol=0, atol=1e-3)


# numbers


def test_the_recogniser_that_finds_most_counts():
    person = np.arange(6).repeat(3)
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(6, 16))
    found = {}
    for name, noise in (("weak", 6.0), ("strong", 0.5), ("middle", 2.0)):
        vectors = centres[person] + noise * draw.normal(size=(18, 16))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        image = np.arange(18)
        found[name] = verify(
            vectors, vectors, probe_person=person, gallery_person=person,
            probe_image=image, gallery_image=image,
        )  # fmt: skip
    out = worst_of("auc", found)
    values = {name: found[name].auc.value for name in found}
    assert out["auc"] == values["strong"] == max(values.values())
    assert out["auc_lo"] <= out["auc"] <= out["auc_hi"]
    assert {name: out[f"auc_by_{name}"] for name in values} == values


def test_nameless_pictures_are_no_probes():
    test = held()
    test.enrol(POOL)
    probe = test.gallery["one"].clone()
    whole = verification(probe, test, "one")
    some = tiny_crops()
    some.person[:2] = -1
    other = PictureSet(some, FRAMING, 0)
    other.enrol(POOL)
    assert verification(probe, other, "one").n_genuine < whole.n_genuine


@pytest.fixture(scope="module")
def judged(power):
    camera = tiny_camera()
    psfs = dict(zip((0.75, REFERENCE), camera.psf([0.75, REFERENCE]).detach(), strict=True))
    static = StaticCamera(camera, psfs)
    judges = Judges(POOL, {n: Attacker(r).requires_grad_(False) for n, r in POOL.items()})
    plan = protocol(exposures=(1e3,))
    regressor = tiny_regressor()
    options = {"label": "tiny", "progress": False}
    out = evaluate_camera(static, regressor, judges, held(), held(), plan, power, **options)
    fixed = evaluate_camera(
        static, regressor, judges, held(), held(), plan, power,
        strengths={"_1": 7.0, "_1_1ke": 5.0}, **options,
    )  # fmt: skip
    return camera, out, fixed


def test_every_number_of_the_protocol_is_there_and_finite(judged):
    _, out, _ = judged
    for key in (
        "landmark_nme",
        "reid_auc_offtheshelf",
        "reid_auc_retrained_lo",
        "reid_auc_inverted_1",
        "reid_auc_inverted_1_1ke_hi",
        "inversion_psnr_1",
        "inversion_psnr_1_1ke",
        "inversion_strength_1",
        "psf_energy_inside",
        "psf_spread_face_widths",
        "exposure_e",
        "0.75m/landmark_nme",
        "1.5m/reid_auc_offtheshelf",
    ):
        assert math.isfinite(out[key]), key


def test_plain_keys_are_those_of_the_reference_distance(judged):
    _, out, _ = judged
    for key, value in out.items():
        if key.startswith("1.5m/"):
            assert out[key.removeprefix("1.5m/")] == value
    assert out["0.75m/landmark_nme"] != out["1.5m/landmark_nme"]


def test_untrained_attackers_see_what_the_pool_sees(judged):
    _, out, _ = judged
    assert out["reid_auc_retrained"] == out["reid_auc_offtheshelf"]


def test_numbers_of_the_psf_are_those_of_the_camera(judged):
    camera, out, _ = judged
    assert out["exposure_e"] == pytest.approx(0.7 * 8180 * 32**2)
    assert out["face_width_pixels"] == pytest.approx(camera.image_size(0.140, REFERENCE))
    assert 0.5 < out["psf_energy_inside"] < 1


def test_given_strengths_are_used_and_change_nothing_else(judged):
    _, out, fixed = judged
    assert (fixed["inversion_strength_1"], fixed["inversion_strength_1_1ke"]) == (7.0, 5.0)
    assert fixed["inversion_psnr_1"] != out["inversion_psnr_1"]
    assert fixed["landmark_nme"] == out["landmark_nme"]


def test_ceilings_are_those_of_clear_pictures():
    test = held()
    regressor = tiny_regressor()
    one, two = (clear_numbers(regressor, POOL, test, batch) for batch in (3, 12))
    assert one["landmark_nme_clear"] == pytest.approx(two["landmark_nme_clear"], rel=1e-4)
    assert one["reid_auc_clear"] > 0.5
    test.crops.person[:] = -1
    assert set(clear_numbers(regressor, POOL, test, 4)) == {"landmark_nme_clear"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distances": []}, r"distances = \[\]: positive lengths"),
        ({"distances": [1.5, -1.0]}, "positive lengths"),
        ({"distances": [1.0]}, r"do not hold the reference distance 1.5 m"),
        ({"frames": (0,)}, "frames and exposures must be positive"),
        ({"frames": ()}, "frames and exposures must be positive"),
        ({"regularisation": ()}, r"regularisation = \[\]"),
        ({"nodes": 0}, "nodes = 0"),
        ({"exposures": (0.0,)}, "frames and exposures must be positive"),
    ],
)
def test_protocols_that_measure_nothing_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        protocol(**changes)
