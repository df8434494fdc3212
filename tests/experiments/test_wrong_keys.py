"""Whoever judges wrong keys sees faces that hide beyond black, in negatives and under noise."""

import numpy as np
import pytest
import torch

from anonymizer.colour import encode_srgb
from anonymizer.protection import Capabilities, Protection
from experiments import wrong_keys
from experiments.protected_faces import faces_of
from tests.experiments.protecting_doubles import method
from tests.experiments.test_protection_evaluation import Colours, crops

SIDE = 48


class Planted(Protection):
    """Shows grey; what a wrong key recovers is `wrong` of the original's sRGB values."""

    capabilities = Capabilities(keyed=True, recoverable=True, decoy=False, recognisable=False)
    size = SIDE

    def __init__(self, originals, wrong):
        super().__init__()
        self.originals, self.wrong, self.next = originals, wrong, 0

    def protect(self, images, keys=None):
        return torch.full_like(images, 0.2)

    def recover(self, protected, keys):
        return wrong_keys.decode_srgb(self.recover_unclipped(protected, keys))

    def recover_unclipped(self, protected, keys):
        rows = (torch.arange(len(keys)) + self.next) % len(self.originals)
        self.next += len(keys)
        return self.wrong(encode_srgb(self.originals[rows]))


def noise(x):
    return torch.rand(x.shape, generator=torch.Generator().manual_seed(int(1e6 * x.sum()) % 999))


@pytest.fixture(scope="module")
def people():
    return crops(people=90, each=3, size=48)


@pytest.fixture(scope="module")
def originals(people):
    return faces_of(people.subset(np.arange(24)), 1.3, SIDE)


def numbers(people, originals, wrong, count=24):
    how = method(Planted(originals, wrong))
    shown = torch.full_like(originals, 0.2)
    return wrong_keys.keyed_numbers(
        {"colours": Colours()}, how, originals, shown, people, 1.3, count=count, seed=0
    )


@pytest.mark.parametrize(
    "hide",
    [
        pytest.param(lambda x: 0.2 * x - 0.5, id="darkened below black"),
        pytest.param(lambda x: 0.01 * x + 2.0, id="beyond white, with little contrast"),
        pytest.param(lambda x: -0.3 * x.flip(1) - 0.1, id="negative in false colours"),
    ],
)
def test_a_face_that_is_merely_out_of_sight_counts_as_shown(people, originals, hide):
    found = numbers(people, originals, hide)
    assert found["wrong_key_acceptance_file"] == 0.0
    assert found["wrong_key_acceptance"] > 0.9
    assert found["wrong_key_structure"] > 0.4
    assert found["protected_acceptance"] == 0.0
    assert found["protected_structure"] < 1e-3


def test_noise_shows_nothing_in_any_view(people, originals):
    found = numbers(people, originals, noise)
    assert found["wrong_key_acceptance"] < 0.2  # of 24, in the best of three views
    assert found["wrong_key_structure"] < 0.03
    assert found["n_wrong_keys"] == 24


def test_a_face_under_noise_is_found_by_averaging_over_keys(people, originals):
    chance = torch.Generator().manual_seed(3)

    def loud(x):
        return -2 + 0.2 * x + 2 * torch.rand(x.shape, generator=chance)

    once = numbers(people, originals, loud, count=24)
    often = numbers(people, originals, loud, count=96)
    assert often["wrong_key_structure"] > 1.2 * once["wrong_key_structure"]
    assert often["wrong_key_acceptance"] > once["wrong_key_acceptance"]


def test_the_best_correction_gives_back_what_any_correction_took():
    original = torch.rand(2, 3, 16, 20, generator=torch.Generator().manual_seed(0))
    mixed = torch.einsum("ij,bjhw->bihw", torch.randn(3, 3), encode_srgb(original)) * 40 - 7
    seen = wrong_keys.views(mixed, original)
    torch.testing.assert_close(seen["fitted"], original, rtol=0, atol=2e-3)
    flat = wrong_keys.views(torch.full_like(mixed, 3.0), original)
    assert all(torch.isfinite(one).all() for one in flat.values())
    assert flat["fitted"].flatten(2).std(dim=2).max() < 1e-3


def test_stretched_colours_reach_from_black_to_white():
    ramp = torch.linspace(-5, -4, 101).expand(1, 3, 4, 101)
    seen = wrong_keys.stretch(ramp)
    torch.testing.assert_close(seen[0, 0, 0, [1, 50, 99]], torch.tensor([0.0, 0.5, 1.0]))
