"""Weights that come with the package do what they are said to, on people they never saw."""

import pytest
import torch

from anonymizer.checkpoints import BUNDLED
from anonymizer.protection.compensated import CompensatedRecognizer
from experiments.composing import compose
from experiments.data.synthetic import SyntheticFaces
from experiments.protected_faces import faces_of
from experiments.settings import build, to_si

WHOLE = 15e6  # bytes that all weights of the package may take


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """Two pictures of each of four people of another seed than those of training."""
    source = SyntheticFaces(people=4, images_per_person=2, size=128, seed=77_077, workers=1)
    return source.prepare(tmp_path_factory.mktemp("faces"), progress=False)


def shipped(name):
    return build(to_si(compose("protect", [f"method={name}", "weights_path=[]"]))["method"])


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
