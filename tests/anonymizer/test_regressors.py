"""Landmark networks: their size, their gradients, and what they do not depend on."""

import pytest
import torch

from anonymizer.heatmaps import gaussian_heatmaps
from anonymizer.regressors import CompactRegressor, FanRegressor, Heatmaps, standardise


def count(network):
    return sum(p.numel() for p in network.parameters())


def picture(size=64, batch=2):
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(0))


def small():
    torch.manual_seed(0)
    return CompactRegressor(widths=(8, 16))


def all_gradients(network, size):
    seen = picture(size).requires_grad_(True)
    maps = network(seen)
    target = torch.linspace(0, 1, 68)[None, :, None] * size
    loss = (maps.landmarks() - target).square().mean() + maps.boundary.square().mean()
    loss.backward()
    return {"input": seen.grad} | {n: p.grad for n, p in network.named_parameters()}


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_the_published_network_has_its_published_size(norm):
    with torch.device("meta"):
        assert count(FanRegressor(landmarks=98, norm=norm)) == 6_333_603


def test_the_compact_network_has_two_million_weights():
    with torch.device("meta"):
        assert count(CompactRegressor()) == pytest.approx(2.3e6, rel=0.02)


@pytest.mark.parametrize("make", [small, FanRegressor], ids=["compact", "fan"])
def test_gradients_reach_the_picture_and_every_weight(make):
    torch.manual_seed(0)
    for name, gradient in all_gradients(make(), 64).items():
        assert gradient is not None, name
        assert gradient.isfinite().all(), name
        assert gradient.abs().max() > 0, name


def test_maps_have_a_quarter_of_the_side_and_landmarks_lie_in_the_picture():
    network = small()
    maps = network(picture(48))
    assert maps.logits.shape == (2, 68, 12, 12)
    assert maps.boundary.shape == (2, 1, 12, 12)
    assert maps.landmarks().shape == (2, 68, 2)
    assert maps.landmarks().min() >= -0.5
    assert maps.landmarks().max() <= 47.5


@pytest.mark.parametrize("gain", [0.25, 4.0])
def test_exposure_and_offset_do_not_matter(gain):
    network = small()
    with torch.no_grad():
        moved = network(gain * picture() + 0.1).landmarks() - network(picture()).landmarks()
    # left: the floor of 1e-6 beside a variance of 0.08 x 0.06 or more: 2e-4 relative
    assert moved.abs().max() < 0.02  # px


def test_standardised_pictures_have_mean_zero_and_variance_one_each():
    seen = picture(24) * torch.tensor([0.1, 3.0])[:, None, None, None] + 0.5
    out = standardise(seen.double())
    torch.testing.assert_close(out.mean((1, 2, 3)), torch.zeros(2, dtype=torch.float64))
    # floor of 1e-6 in a variance of 8e-4
    variance = out.var((1, 2, 3), unbiased=False)
    torch.testing.assert_close(variance, torch.ones(2, dtype=torch.float64), rtol=0, atol=2e-3)


def test_a_uniform_picture_gives_finite_landmarks():
    assert small()(torch.full((1, 3, 32, 32), 0.3)).landmarks().isfinite().all()


def test_a_picture_is_read_the_same_in_any_batch():
    network, seen = small(), picture(32, batch=3)
    with torch.no_grad():
        alone, together = network(seen[1:2]).logits, network(seen).logits[1:2]
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)  # order of sums in float32


def test_landmarks_are_read_in_input_pixels():
    wanted = torch.tensor([[[20.0, 28.5]]])
    maps = gaussian_heatmaps((wanted + 0.5) / 4 - 0.5, 16)
    found = Heatmaps((maps + 1e-12).log(), torch.zeros(1, 1, 16, 16), 64)
    # 256 pixels of 1e-12 each pull by less than 1e-7 of the map
    torch.testing.assert_close(found.landmarks(), wanted, rtol=0, atol=1e-3)
    assert found.peaks().max() == 1
    torch.testing.assert_close(found.log_probability().exp().sum((-2, -1)), torch.ones(1, 1))


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (CompactRegressor(widths=(4, 4)), (1, 3, 36, 36)),
        (CompactRegressor(widths=(4, 4)), (1, 3, 32, 40)),
        (FanRegressor, (1, 3, 96, 96)),
    ],
)
def test_a_side_that_does_not_fit_is_refused_with_what_does(network, shape):
    network = network() if isinstance(network, type) else network
    sides = rf"\(1, 3, {shape[2]}, {shape[3]}\)"
    message = f"{sides}, expected a square .* multiple of {network.stride}"
    with pytest.raises(ValueError, match=message):
        network(torch.zeros(shape))


@pytest.mark.parametrize("widths", [(8,), (8, 0)])
def test_widths_that_make_no_network_are_refused(widths):
    with pytest.raises(ValueError, match=r"widths = \(8.*two or more positive channel counts"):
        CompactRegressor(widths=widths)
