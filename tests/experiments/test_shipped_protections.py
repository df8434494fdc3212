"""Weights that come with the package do what they are said to, on people they never saw."""

import pytest
import torch

from anonymizer.checkpoints import BUNDLED
from anonymizer.colour import encode_srgb
from anonymizer.protection.compensated import CompensatedRecognizer
from anonymizer.protection.resemblance import structure_shown
from experiments.composing import compose
from experiments.data.synthetic import SyntheticFaces
from experiments.faces_in_pictures import to_light, to_pixels
from experiments.protected_faces import faces_of, random_keys
from experiments.protection_evaluation import psnr
from experiments.settings import build, to_si
from experiments.wrong_keys import views

WHOLE = 15e6  # bytes that all weights of the package may take


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """Two pictures of each of four people of another seed than those of training."""
    source = SyntheticFaces(people=4, images_per_person=2, size=128, seed=77_077, workers=1)
    return source.prepare(tmp_path_factory.mktemp("faces"), progress=False)


def shipped(name):
    return build(to_si(compose("protect", [f"method={name}", "weights_path=[]"]))["method"])


@torch.inference_mode()
def test_proface_keeps_what_the_recogniser_looks_for(crops):
    method = shipped("proface")
    recogniser = build(to_si(compose("protect", ["method=proface"]))["trainable"]["recognizer"])
    faces = faces_of(crops, 1.0, 112)
    hidden, cover = method.protect(faces), method.cover(faces)
    clear, seen, blurred = (recogniser(shown) for shown in (faces, hidden, cover))
    assert ((seen - blurred) * clear).sum(dim=1).min() > 0.02
    assert (seen * clear).sum(dim=1).min() > 0.85
    assert psnr(hidden, cover) > 29


@torch.inference_mode()
def test_proface_s_recovers_with_the_right_key_and_noise_with_a_wrong_one(crops):
    method = shipped("proface_s")
    faces = faces_of(crops, 1.35, 112)
    keys, wrong = (random_keys(len(faces), purpose) for purpose in ("right", "wrong"))
    stored = to_light(to_pixels(method.protect(faces, keys)))
    assert psnr(method.recover(stored, keys), faces) > 33
    assert psnr(stored, method.cover(faces)) > 46
    noise, original = method.recover_unclipped(stored, wrong), encode_srgb(faces)
    # noise has 0.014, the cover alone 0.54; weights whose noise was a face darkened had 0.40
    assert structure_shown(noise, original).max() < 0.03
    stretched, fitted = (views(noise, faces)[name] for name in ("stretched", "fitted"))

    # one colour for the whole picture comes as near
    flat = faces.mean(dim=(-2, -1), keepdim=True).expand_as(faces)
    assert all(psnr(seen, faces) < psnr(flat, faces) + 1 for seen in (stretched, fitted))


@torch.inference_mode()
def test_proface_c_gives_the_server_what_the_obfuscation_took(crops):
    method = shipped("proface_c")
    server = build(to_si(compose("protect", ["method=proface_c"]))["trainable"]["server"])
    faces = faces_of(crops, 1.0, 112)
    hidden = method.protect(faces)
    sent = method.codec(method.taps(faces, hidden))
    clear, blind = server(faces), server(hidden)
    helped = CompensatedRecognizer(server, method.client)(hidden, sent)
    # cosines with the clear face: 0.94 or more with the features, 0.58 to 0.89 without
    assert (helped * clear).sum(dim=1).min() > 0.9
    assert (blind * clear).sum(dim=1).mean() < 0.85
    assert method.message_size < 65_536


def test_all_weights_of_the_package_stay_small():
    assert sum(file.stat().st_size for file in BUNDLED.iterdir()) < WHOLE
