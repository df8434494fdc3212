"""Obfuscators: what they must leave, what they must destroy, and the published ones to the bit."""

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from anonymizer.colour import encode_srgb
from anonymizer.protection.obfuscators import (
    AreaSampling,
    Choice,
    FaceSwap,
    GaussianBlur,
    HybridTiles,
    LegacySampling,
    MedianBlur,
    Pixelate,
    Sticker,
    Swapper,
    Tiling,
    cartoon_faces,
    named,
)
from tests.anonymizer.protection.reference import faces, light, vectors
from tests.anonymizer.published import CONFIGS

SAMPLINGS = [AreaSampling(), LegacySampling()]
IMAGE = 2e-5  # of images in [-1, 1]: what float32 leaves between two orders of the same sums


class Mirror(Swapper):
    """Stands in for a swap network: the stranger's mean colour on the face's picture."""

    def forward(self, faces, sources):
        return faces * sources.mean(dim=(2, 3), keepdim=True)


def every(sampling=None):
    """Return one obfuscator of each kind, small enough for images of 48 x 64 px."""
    filters = [named(n, sampling) for n in ("medianblur_13", "blur_31_2_8", "pixelate_7")]
    return {
        "blur": filters[1],
        "pixelate": filters[2],
        "median": filters[0],
        "tiles": HybridTiles(filters, sampling=sampling),
        "choice": named("blur_31_2_8+pixelate_7+medianblur_13", sampling),
        "sticker": Sticker(cartoon_faces(3, 48)),
        "swap": FaceSwap(Mirror(), faces(4, seed=9)),
    }


def signed(images):
    return 2 * encode_srgb(images) - 1


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def near(found, wanted, atol=IMAGE):
    torch.testing.assert_close(found, torch.from_numpy(wanted), rtol=0, atol=atol)


# Laws


@pytest.mark.parametrize("name", every())
def test_same_strength_for_the_same_seed_and_no_other_source_of_chance(name):
    obfuscate, images = every()[name], faces()
    torch.testing.assert_close(obfuscate(images), obfuscate(images), rtol=0, atol=0)
    torch.testing.assert_close(obfuscate(images), every()[name](images), rtol=0, atol=0)
    drawn = [obfuscate.sample(images, generator(s)) for s in (1, 1, 2, 3, 4)]
    torch.testing.assert_close(drawn[0], drawn[1], rtol=0, atol=0)
    assert any(not torch.equal(drawn[0], other) for other in drawn[2:])


@pytest.mark.parametrize("name", every())
def test_stays_in_range_keeps_shape_and_treats_each_image_alone(name):
    obfuscate, images = every()[name], faces(3)
    out = obfuscate(images)
    assert out.shape == images.shape
    assert out.min() >= 0
    assert out.max() <= 1
    torch.testing.assert_close(obfuscate(images[1:2]), out[1:2])


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("name", ["blur", "pixelate", "tiles"])
def test_constant_image_is_unchanged(name, sampling):
    images = torch.tensor([0.03, 0.4, 0.9]).reshape(1, 3, 1, 1).expand(2, 3, 48, 64)
    obfuscate = every(sampling)[name]
    margin = 7 if name == "tiles" and isinstance(sampling, LegacySampling) else 0  # dark border
    inner = (..., slice(margin, 48 - margin), slice(margin, 64 - margin))
    torch.testing.assert_close(obfuscate(images)[inner], images[inner])


@pytest.mark.parametrize("name", ["blur", "pixelate", "median", "tiles"])
def test_gradient_reaches_the_images(name):
    images = faces().requires_grad_()
    every()[name](images).square().sum().backward()
    assert torch.isfinite(images.grad).all()
    assert (images.grad != 0).any()


def test_drawn_strengths_fill_their_range_and_nothing_else():
    g = generator()
    sigmas = [GaussianBlur(31, 2.0, 8.0).draw(g) for _ in range(400)]
    assert 2 <= min(sigmas) < 2.2
    assert 7.8 < max(sigmas) <= 8
    assert {Pixelate(7).draw(g) for _ in range(400)} == set(range(4, 11))
    assert {named("pixelate_20").draw(g) for _ in range(400)} == set(range(14, 27, 2))
    assert {MedianBlur(13).draw(g) for _ in range(400)} == set(range(7, 20, 2))


def test_blur_spreads_a_point_by_its_sigma():
    """Variance of a separable Gaussian cut at 5 sigma: sigma^2 along each axis."""
    point = torch.zeros(1, 3, 61, 81, dtype=torch.float64)
    point[..., 30, 40] = 1.0
    spread = GaussianBlur(41).apply_strength(point, 4.0)[0, 0]
    y, x = torch.meshgrid(torch.arange(61.0), torch.arange(81.0), indexing="ij")
    assert float(spread.sum()) == pytest.approx(1, abs=1e-6)
    assert float((spread * (x - 40) ** 2).sum()) == pytest.approx(16, rel=1e-3)  # cut tails
    assert float((spread * (y - 30) ** 2).sum()) == pytest.approx(16, rel=1e-3)


@pytest.mark.parametrize("block", [5, 6, 7, 8])
def test_pixels_are_means_of_light_over_equal_cells(block):
    """Light is conserved, also where the side does not divide the image."""
    images = faces(1).double()
    out = Pixelate(8).apply_strength(images, block)
    coarse = (48 // block, 64 // block)
    assert len(out[0, 0].unique()) <= coarse[0] * coarse[1]
    shrunk = AreaSampling().shrink(images, coarse)
    torch.testing.assert_close(shrunk.mean(dim=(2, 3)), images.mean(dim=(2, 3)))


def test_legacy_pixels_are_the_centre_pixels_of_their_cells():
    """Point sampling with half-pixel centres: for 7 px the fourth, not a mean."""
    images = faces(1, 56, 112)
    out = Pixelate(7, sampling=LegacySampling())(images)
    torch.testing.assert_close(out[..., ::7, ::7], images[..., 3::7, 3::7])


def test_median_removes_what_fills_less_than_half_and_keeps_edges():
    images = torch.zeros(1, 3, 48, 64)
    images[..., 32:] = 1.0
    noisy = images.clone()
    noisy[..., 20, 10], noisy[..., 20, 50] = 1.0, 0.0
    torch.testing.assert_close(MedianBlur(7)(noisy), images, rtol=0, atol=0)


def test_every_tile_is_that_of_one_whole_image_and_shares_are_equal():
    """16 tiles to three parts: 5, 5 and what is left, 6."""
    parts = [named(n) for n in ("medianblur_13", "blur_31_2_8", "pixelate_7")]
    images, tiles = faces(1, 64, 96), HybridTiles(parts)
    out, wholes = tiles(images), [part(images) for part in parts]
    owners = [
        {
            i
            for i, whole in enumerate(wholes)
            if torch.equal(out[..., y : y + 16, x : x + 24], whole[..., y : y + 16, x : x + 24])
        }
        for y in range(0, 64, 16)
        for x in range(0, 96, 24)
    ]
    assert all(len(owner) == 1 for owner in owners)
    counts = [sum(i in owner for owner in owners) for i in range(3)]
    assert counts == [5, 5, 6]


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=lambda s: type(s).__name__)
def test_tiles_that_do_not_divide_the_image_fill_it(sampling):
    """25 tiles over 48 x 64 px; the legacy way goes through 50 x 65 px and back."""
    parts = [named(n, sampling) for n in ("blur_31_2_8", "pixelate_7")]
    tiles, images = HybridTiles(parts, side=5, sampling=sampling), faces(1).clamp(0.2, 0.8)
    out = tiles(images)
    assert out.shape == images.shape
    assert out.min() > 0.19
    assert out.max() < 0.81
    legacy = isinstance(sampling, LegacySampling)
    entered = sampling.make_divisible(sampling.enter(images), 5)
    assert entered.shape[2:] == ((50, 65) if legacy else (48, 64))


def test_sticker_hides_where_it_is_opaque_and_nothing_where_it_is_not():
    sticker = torch.zeros(1, 4, 32, 32)
    sticker[:, 0, 8:24, 8:24], sticker[:, 3, 8:24, 8:24] = 1.0, 1.0
    images = faces(1, 64, 64)
    red = torch.tensor([1.0, 0, 0]).reshape(1, 3, 1, 1).expand_as(images)
    torch.testing.assert_close(Sticker(sticker)(images), red)  # cut to its opaque square
    sticker[:, 3, 0, 0] = sticker[:, 3, -1, -1] = 1e-9  # now the whole square shows
    kept = Sticker(sticker)(images)
    torch.testing.assert_close(kept[..., :12, :], images[..., :12, :])


def test_colour_of_what_is_transparent_does_not_bleed_into_the_edge():
    """White on transparent red, brought to another size, over black: grey edges, no red ones."""
    sticker = torch.zeros(1, 4, 32, 32)
    sticker[:, 0], sticker[:, :, 8:24, 8:24] = 1.0, 1.0
    sticker[:, 3, 8, 8:16] = 0.0  # so that an edge lies within the opaque square
    out = Sticker(sticker)(torch.zeros(1, 3, 45, 45))
    assert out.max() > 0.9
    torch.testing.assert_close(out[:, 0], out[:, 2])


def test_swapper_is_frozen_and_gets_the_stranger():
    swap = FaceSwap(Mirror(), faces(4, seed=9)).train()
    assert not swap.swapper.training
    images = faces()
    wanted = images * faces(4, seed=9)[2].mean(dim=(1, 2)).reshape(1, 3, 1, 1)
    torch.testing.assert_close(swap.apply_strength(images, 2), wanted)


@pytest.mark.parametrize(
    "name",
    ["blur_30_2_8", "blur_31_8_2", "blur_31_2", "pixelate_x", "pixelate_7.5", "mosaic_7", ""],
)
def test_wrong_names_are_refused_and_the_message_shows_right_ones(name):
    with pytest.raises(ValueError, match=r"name = .*blur_31_2_8, pixelate_7, medianblur_13"):
        named(name)


def test_choice_draws_each_and_is_typically_the_first():
    choice = named("pixelate_7+blur_31_2_8")
    assert isinstance(choice, Choice)
    images = faces(1)
    torch.testing.assert_close(choice(images), named("pixelate_7")(images), rtol=0, atol=0)
    assert {choice.draw(generator(s))[0] for s in range(20)} == {0, 1}


def test_too_small_images_are_refused():
    for obfuscate in (GaussianBlur(31), MedianBlur(31, spread=0), Pixelate(20, steps=0)):
        with pytest.raises(ValueError, match=r"images is \(1, 3, 8, 16\), expected sides"):
            obfuscate(faces(1, 8, 16))


# The original programs


def test_blur_and_pixelate_equal_the_published_ones():
    stored = vectors("proface_embedder")
    face, legacy = light(stored["face_u8_112"]), LegacySampling()
    blur, pixelate = named("blur_31_2_8", legacy), named("pixelate_7", legacy)
    near(signed(blur(face)), stored["obf_blur_s5"])
    near(signed(blur.apply_strength(face, 2.0))[..., ::4, ::4], stored["obf_blur_s2_every4"])
    for block in (5, 7):
        low = legacy.shrink(legacy.enter(face), (112 // block, 112 // block))
        near(low, stored[f"pixelate_b{block}_lowres"])
    near(signed(pixelate.apply_strength(face, 5))[..., ::3, ::3], stored["obf_pixelate_b5_every3"])


def test_median_and_hybrid_tiles_equal_the_published_ones():
    stored = vectors("proface_c")
    face, legacy = light(stored["face_u8_112"]), LegacySampling()
    parts = [named(n, legacy) for n in ("medianblur_13", "blur_31_2_8", "pixelate_7")]
    near(signed(parts[0](face))[..., ::2, ::2], stored["median13"])
    tiles = HybridTiles(parts, sampling=legacy)
    for side, step in ((4, 1), (2, 2)):
        order = torch.from_numpy(stored[f"hybrid_p{side**2}_order"])
        found = tiles.apply_strength(face, Tiling(side, order, (13, 5.0, 7)))
        near(signed(found)[..., ::step, ::step], stored[f"hybrid_p{side**2}"])


@pytest.mark.parametrize("sampling", ["area", "legacy"])
@pytest.mark.parametrize(
    "name", ["blur_61_9_21", "pixelate_20", "medianblur_23", "hybrid_tiles", "mixed"]
)
def test_configs_take_either_sampling(name, sampling):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        chosen = [f"+obfuscator={name}", f"sampling@obfuscator.sampling={sampling}"]
        obfuscate = instantiate(compose(overrides=chosen)["obfuscator"], _convert_="all")
    wanted = {"area": AreaSampling, "legacy": LegacySampling}[sampling]
    members = getattr(obfuscate, "networks", [obfuscate])
    assert all(isinstance(member.sampling, wanted) for member in members)
