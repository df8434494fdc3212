"""What shows of a picture in another: blind to gain, offset, sign; not to a face in noise."""

import pytest
import torch

from anonymizer.protection.resemblance import loudness_shown, structure_shown
from tests.anonymizer.protection.reference import faces


def noise(like, seed=0):
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("gain", "offset"), [(0.1, -1.0), (-0.3, 2.0), (50.0, 3.0)])
def test_gain_offset_and_sign_change_nothing(gain, offset):
    x = faces(2, 48, 64)
    for shown in (structure_shown, loudness_shown):
        torch.testing.assert_close(shown(gain * x + offset, x), shown(x, x), rtol=2e-3, atol=2e-4)


def test_everything_of_a_picture_shows_in_itself_and_nothing_in_noise():
    x = noise(torch.empty(4, 1, 48, 48)).expand(-1, 3, -1, -1) / 10 + 0.5
    assert structure_shown(x, x).min() > 0.9
    # chance: 1 / 63 of a window of 64 samples
    assert structure_shown(noise(x, 1), x).max() < 0.04
    assert structure_shown(torch.full_like(x, 0.3), x).max() == 0


def test_a_picture_in_the_loudness_of_noise_is_heard_but_not_seen():
    x = faces(2, 96, 96)
    told = noise(x) * (0.1 + x.mean(dim=1, keepdim=True))
    assert loudness_shown(told, x).min() > 5 * loudness_shown(noise(x), x).max()
    assert structure_shown(told, x).max() < 0.1


@pytest.mark.parametrize("shown", [structure_shown, loudness_shown])
def test_gradient_lessens_what_shows_and_ignores_contrast(shown):
    x = faces(1, 48, 48)
    found = (0.5 * x + 0.1 * noise(x)).requires_grad_()
    (slope,) = torch.autograd.grad(shown(found, x).sum(), found)
    assert torch.isfinite(slope).all()
    with torch.no_grad():
        step = 1e-2 * found.std() * slope / slope.std()
        assert shown(found - step, x) < shown(found, x)
    # scaling the picture is no way down
    assert (slope * found).sum().abs() < 1e-2 * slope.norm() * found.norm()
