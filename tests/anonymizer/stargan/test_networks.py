"""The networks: published sizes, one width rule for all picture sizes, and what they depend on."""

import pytest
import torch
from torch import nn

from anonymizer.regressors import FanRegressor
from anonymizer.stargan import Discriminator, Generator, MappingNetwork, Masks, StyleEncoder
from anonymizer.stargan.blocks import HighPass, halve
from anonymizer.stargan.widths import SIZES, channels

NARROW = 1 / 32  # 8 channels at 64 px


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def masks_of(value, batch=2, side=16):
    return Masks(*(torch.full((batch, 1, side, side), value) for _ in range(2)))


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (lambda: Generator(size=256, high_pass=1.0), 43_467_395),
        (lambda: Generator(size=256, high_pass=0.0), 33_892_995),
        (lambda: MappingNetwork(latent=16, style=64, hidden=512, domains=2), 2_438_272),
        (lambda: StyleEncoder(size=256, style=64, domains=2), 20_916_928),
        (lambda: Discriminator(size=256, domains=2), 20_852_290),
        (lambda: FanRegressor(landmarks=98, norm="batch"), 6_333_603),
    ],
)
def test_published_settings_have_the_published_number_of_parameters(make, count):
    with torch.device("meta"):  # shapes alone: nothing is drawn
        assert parameters(make()) == count


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("high_pass", [0.0, 1.0])
def test_pictures_keep_their_size_and_the_bottleneck_its_side(size, high_pass):
    generator = Generator(size=size, width=NARROW, high_pass=high_pass)
    sides = []
    generator.decode[0].register_forward_hook(lambda m, i, o: sides.append(o.shape[-1]))
    with torch.no_grad():
        out = generator(torch.rand(1, 3, size, size), torch.randn(1, 64))
    assert out.shape == (1, 3, size, size)
    assert sides == [8 if high_pass else 16]


@pytest.mark.parametrize("size", SIZES)
def test_style_and_score_of_every_size(size):
    face, domain = torch.rand(1, 3, size, size), torch.tensor([1])
    with torch.no_grad():
        assert StyleEncoder(size=size, width=NARROW, domains=3)(face, domain).shape == (1, 64)
        assert Discriminator(size=size, width=NARROW, domains=3)(face, domain).shape == (1,)


def test_widths_follow_the_rule_on_every_level():
    generator = Generator(size=512, width=0.25)
    sides = (512, 256, 128, 64, 32, 16)
    widths = [block.conv1.in_channels for block in generator.encode[:6]]
    assert widths == [min(128, 4096 // side) for side in sides]


def test_a_width_of_broken_channels_is_refused():
    with pytest.raises(ValueError, match=r"width = 0\.3 gives .* channels at 64 px; take a power"):
        channels(64, 0.3)
    with pytest.raises(ValueError, match="size = 96 px, expected one of 64, 128, 256, 512"):
        Generator(size=96)


def test_weights_start_with_the_variance_of_he_and_biases_at_zero():
    torch.manual_seed(0)
    generator = Generator(size=64, width=0.125)
    weight = generator.encode[1].conv2.weight
    fan_in = weight[0].numel()
    # 64 x 64 x 9 weights: the standard deviation is known to 0.4 % rms
    assert weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.02)
    for module in generator.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            assert not module.bias.any()


def test_style_sets_scale_and_shift_of_every_decoder_norm():
    torch.manual_seed(0)
    generator = Generator(size=64, width=NARROW)
    picture, style = torch.rand(2, 3, 64, 64), torch.randn(2, 64, requires_grad=True)
    out = generator(picture, style)
    assert not torch.allclose(out, generator(picture, -style))
    (gradient,) = torch.autograd.grad(out[0].sum(), style)
    assert gradient[0].abs().min() > 0
    assert not gradient[1].any()  # pictures do not mix


def test_skips_carry_nothing_where_the_masks_are_zero():
    torch.manual_seed(0)
    generator = Generator(size=64, width=NARROW)
    picture, style = torch.rand(2, 3, 64, 64), torch.randn(2, 64)
    without = generator(picture, style)
    torch.testing.assert_close(generator(picture, style, masks_of(0.0)), without)
    assert not torch.allclose(generator(picture, style, masks_of(1.0)), without)


def test_skips_do_not_depend_on_the_rest_of_the_batch():
    """The published program took the mean of the batch out of the skips."""
    torch.manual_seed(0)
    generator = Generator(size=64, width=NARROW).double()
    pictures = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    pictures[1] *= 10
    style = torch.randn(2, 64, dtype=torch.float64)
    masks = Masks(*(m.double() for m in masks_of(1.0)))
    masks.fine[:, :, :8] = 0  # an edge in the mask, where a mean would show
    both = generator(pictures, style, masks)
    alone = generator(pictures[:1], style[:1], Masks(masks.coarse[:1], masks.fine[:1]))
    torch.testing.assert_close(both[:1], alone)


def test_coarse_mask_rules_32_px_and_fine_mask_64_and_128_px():
    torch.manual_seed(0)
    generator = Generator(size=128, width=NARROW)
    seen = []
    generator.hpf.register_forward_hook(lambda m, i, o: seen.append((o.shape[-1], bool(o.any()))))
    coarse_only = Masks(torch.ones(1, 1, 16, 16), torch.zeros(1, 1, 16, 16))
    generator(torch.rand(1, 3, 128, 128), torch.randn(1, 64), coarse_only)
    assert seen == [(32, True), (64, False), (128, False)]


def test_high_pass_is_the_laplacian_over_its_strength():
    x = torch.zeros(1, 2, 5, 6)
    x[0, 1, 2, 3] = 1.0
    out = HighPass(2.0)(x)
    assert out[0, 1, 2, 3] == 4.0
    assert out[0, 1, 1, 2] == -0.5
    assert not out[0, 0].any()
    assert HighPass(1.0)(torch.ones(1, 1, 5, 6))[0, 0, 1:-1, 1:-1].abs().max() == 0


def test_halving_is_the_mean_of_four_pixels():
    x = torch.rand(2, 3, 6, 8, dtype=torch.float64)
    torch.testing.assert_close(halve(x), nn.functional.avg_pool2d(x, 2))


def test_domains_have_branches_of_their_own():
    torch.manual_seed(0)
    mapping, latent = MappingNetwork(hidden=32, domains=3), torch.randn(1, 16).expand(3, 16)
    styles = mapping(latent, torch.tensor([0, 1, 0]))
    assert torch.equal(styles[0], styles[2])
    assert not torch.allclose(styles[0], styles[1])


def test_masks_without_skips_are_refused():
    generator = Generator(size=64, width=NARROW, high_pass=0.0)
    with pytest.raises(ValueError, match="without skips; high_pass = 0"):
        generator(torch.rand(2, 3, 64, 64), torch.randn(2, 64), masks_of(1.0))
    with pytest.raises(ValueError, match=r"picture is \(2, 3, 32, 64\), expected"):
        generator(torch.rand(2, 3, 32, 64), torch.randn(2, 64))
