"""Numbers of an evaluation: each from a case whose value is known."""

import numpy as np
import pytest
import torch

from anonymizer.alignment import ARCFACE112, align_faces
from anonymizer.protection.obfuscation import Obfuscation
from anonymizer.protection.obfuscators import Pixelate
from anonymizer.recognition import Recognizer
from experiments import protected_faces
from experiments import protection_evaluation as evaluation
from experiments.data.crops import FaceCrops
from experiments.faces_in_pictures import Square, cut_squares, to_light
from experiments.judging import limit_each
from experiments.protecting import Method
from experiments.store import read_json
from tests.experiments.protecting_doubles import Scramble, method

KEYS = (
    "protected_psnr", "protected_ssim", "recovered_psnr", "recovered_psnr_png8",
    "wrong_key_acceptance", "verification_auc", "verification_eer", "key_bits",
    "key_search_seconds", "bytes_sent", "ms_per_image",
)  # fmt: skip


class Colours(Recognizer):
    """Knows people by the mean colours of nine parts of the face."""

    dimension = 27

    def embed(self, faces):
        return torch.nn.functional.adaptive_avg_pool2d(faces, 3).flatten(1) - 0.5


def points(size=96, frame=1.7):
    """68 landmarks whose five points are those of the recognisers' crop, scaled into the middle."""
    five = (ARCFACE112.numpy() - 55.5) * (size / 112 / frame) + (size - 1) / 2
    out = np.zeros((68, 2), np.float32)
    out[36:42], out[42:48], out[30], out[48], out[54] = five[[0, 1, 2, 3, 4]]
    return out


def crops(people=8, each=3, size=96):
    chance = np.random.default_rng(0)
    person = np.repeat(np.arange(people), each)
    looks = chance.integers(40, 215, (people, 8, 8, 3))
    images = looks[person].repeat(size // 8, 1).repeat(size // 8, 2)
    images = (images + chance.integers(-25, 26, images.shape)).astype(np.uint8)
    return FaceCrops(
        images=images,
        landmarks=np.stack([points(size)] * len(person)),
        person=person.astype(np.int64),
        names=tuple(f"p{i}" for i in range(people)),
        files=tuple(f"{i}.png" for i in range(len(person))),
        context=1.7,
    )


@pytest.fixture
def measured(monkeypatch):
    """A function that evaluates a method on a few made-up people."""

    class Fake:
        def split(self):
            return {"test": crops()}

    monkeypatch.setattr(evaluation, "open_crops", lambda *_: Fake())
    monkeypatch.setattr(evaluation, "build_pool", lambda *_: {"colours": Colours()})

    def run(how, vault, folder):
        settings = {"data": {}, "pictures": 12, "seed": 0, "vault": vault, "wrong_keys": 5}
        evaluation.evaluate(settings, how, 1.3, folder)
        return read_json(folder / "metrics.json")

    return run


def test_a_reversible_method_has_every_number_or_its_reason(measured, tmp_path):
    numbers = measured(method(Scramble(48)), "flow", tmp_path)
    assert set(KEYS) <= set(numbers)
    # the double is exact in 8 bits: only the original's own rounding is left, 1/12 of a level
    for name in ("recovered_psnr", "recovered_psnr_png8"):
        assert numbers[name] == pytest.approx(-10 * np.log10(1 / 255**2 / 12), abs=0.3)
    assert numbers["protected_psnr"] < 12
    assert numbers["wrong_key_acceptance"] is None
    assert "too few for a false accept rate" in numbers["wrong_key_acceptance_reason"]
    assert numbers["key_bits"] == 256
    assert numbers["key_search_seconds"] > 1e60
    # its wrong keys give noise, and the protected picture is noise too
    assert numbers["wrong_key_structure"] < 0.1 > numbers["protected_structure"]
    assert "What 24 wrong keys recover of the first face" in (tmp_path / "report.html").read_text()


def test_encrypted_originals_have_no_error_to_measure(measured, tmp_path):
    plain = Obfuscation(Pixelate(6, steps=0))
    how = Method(plain, 48, bytes(32), bytes(32), torch.device("cpu"))
    numbers = measured(how, "aead", tmp_path)
    assert set(KEYS) <= set(numbers)
    assert numbers["recovered_psnr"] is None
    assert "bit for bit" in numbers["recovered_psnr_reason"]
    assert (numbers["wrong_key_acceptance"], numbers["n_wrong_keys"]) == (0.0, 5)
    assert "wrong keys recover" not in (tmp_path / "report.html").read_text()
    assert 0.5 < numbers["verification_auc"] <= 1
    # more than the originals alone, padded: three tiles of about 73 px a side
    assert numbers["bytes_sent"] > 3 * 60**2 / 2


@pytest.mark.parametrize("frame", [1.0, 1.35])
def test_recognisers_see_the_crop_they_expect(frame):
    y, x = np.mgrid[:96, :96]
    image = np.stack((x + 60, y + 90, 2 * x + 20), axis=-1).astype(np.uint8)
    five = ARCFACE112 * 0.6 + 14
    square = Square.around(five, frame=frame)
    faces = cut_squares(image, [square], round(112 * frame))
    seen = protected_faces.recogniser_view(faces, frame)
    expected = align_faces(to_light(image)[None], five[None], 112)
    # one pixel off would be 0.6 px of the ramps: 0.005 in linear light
    assert (seen - expected).abs().mean() < 5e-4


def test_threshold_lets_pass_what_it_should_and_no_more():
    scores = np.random.default_rng(0).permutation(np.arange(40_000) / 40_000)
    threshold = protected_faces.threshold_at(scores, 1e-3)
    assert (scores >= threshold).sum() == 40
    tied = np.concatenate([np.zeros(39_000), np.full(1000, 0.7)])
    assert (tied >= protected_faces.threshold_at(tied, 1e-3)).sum() == 0


def test_too_few_pairs_decide_no_threshold():
    with pytest.raises(ValueError, match="at least 30000 are needed"):
        protected_faces.threshold_at(np.zeros(29_999), 1e-3)


def test_psnr_is_that_of_the_definition_and_finite_for_equal_pictures():
    grey = torch.full((1, 3, 4, 6), 0.5)
    encoded = 1.055 * 0.5 ** (1 / 2.4) - 0.055
    light = ((encoded + 0.1 + 0.055) / 1.055) ** 2.4
    assert evaluation.psnr(torch.full_like(grey, light), grey) == pytest.approx(20.0, abs=1e-4)
    assert evaluation.psnr(grey, grey) == pytest.approx(58.92, abs=0.01)


def test_few_pictures_are_those_of_everybody():
    data = crops(people=8, each=4)
    few = limit_each(data, 25)
    people, count = np.unique(few.person, return_counts=True)
    assert people.tolist() == list(range(8))
    assert set(count) == {3}
    assert len(limit_each(data, 5)) == 16  # with one picture of each, nobody could be verified
    assert len(limit_each(data, 32)) == 32


def test_measured_keys_are_the_same_in_every_run_and_differ():
    keys = protected_faces.random_keys(50, "a")
    assert keys == protected_faces.random_keys(50, "a")
    assert len({*keys, *protected_faces.random_keys(50, "b")}) == 100
