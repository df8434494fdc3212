"""Stray light: conserved, and the same on the PSF as on the picture."""

import pytest
import torch

from optics.imaging import StrayLight, blur


def rand(*shape, dtype=torch.float64):
    return torch.rand(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


BOTH = StrayLight(veil=0.02, skirt=0.05, radius=2.0, slope=1.5)


@pytest.mark.parametrize("stray", [StrayLight(veil=0.03), StrayLight(skirt=0.1), BOTH])
def test_light_is_moved_and_not_lost(stray):
    image, psf = rand(2, 3, 17, 26), rand(2, 3, 17, 26)
    # sums of 400 values in float64
    options = {"rtol": 1e-13, "atol": 0}
    torch.testing.assert_close(stray.image(image).sum((-2, -1)), image.sum((-2, -1)), **options)
    spread = stray.psf(psf, frame=(17, 26))
    torch.testing.assert_close(spread.sum((-2, -1)), psf.sum((-2, -1)), **options)


def test_a_black_spot_in_a_white_frame_shows_the_veiling_glare_index():
    """ISO 9358: light in the black spot over that in the white, for a spot of no area."""
    image = torch.ones(1, 1, 201, 160, dtype=torch.float64)
    image[..., 100, 80] = 0
    out = StrayLight(veil=0.03).image(image)
    # the spot itself is 1 / 32160 of the frame
    assert float(out[..., 100, 80] / out[..., 0, 0]) == pytest.approx(0.03, rel=1e-4)


def test_a_uniform_frame_stays_uniform_under_the_veil():
    image = torch.full((1, 2, 9, 14), 0.4, dtype=torch.float64)
    torch.testing.assert_close(StrayLight(veil=0.2).image(image), image, rtol=1e-14, atol=0)


def test_the_picture_of_a_point_is_the_psf():
    point = torch.zeros(1, 1, 15, 21, dtype=torch.float64)
    point[..., 7, 10] = 1
    by_image, by_psf = BOTH.image(point), BOTH.psf(point[0], frame=(15, 21))
    torch.testing.assert_close(by_image[0], by_psf, rtol=0, atol=1e-15)


def test_the_skirt_falls_with_its_power_and_is_round():
    skirt = StrayLight(skirt=0.5, radius=1.0, slope=3.0).kernel((201, 201), like=rand(1))
    # (1 + r^2)^(-3/2) is r^-3 to r^-2 relative
    assert float(skirt[100, 180] / skirt[100, 140]) == pytest.approx(2**-3, rel=1e-3)
    torch.testing.assert_close(skirt, skirt.mT)
    assert float(skirt.sum()) == pytest.approx(1, abs=1e-13)


def test_the_veil_over_a_larger_frame_leaves_the_window():
    psf = rand(3, 5, 7)
    psf = psf / psf.sum((-2, -1), keepdim=True)
    out = StrayLight(veil=0.1).psf(psf, frame=(50, 70))
    inside = 0.9 + 0.1 * 35 / 3500
    torch.testing.assert_close(out.sum((-2, -1)), torch.full((3,), inside, dtype=torch.float64))


def test_the_veil_lowers_every_frequency_alike():
    """All of the MTF but its zero falls to 1 - v: what the floor costs in contrast."""
    psf = blur(torch.eye(1, dtype=torch.float64)[None, None], rand(1, 9, 12), extent="full")[0]
    before = torch.fft.fft2(psf)
    after = torch.fft.fft2(StrayLight(veil=0.25).psf(psf, frame=(9, 12)))
    ratio = (after / before).flatten()
    assert ratio[0].real.item() == pytest.approx(1)
    torch.testing.assert_close(ratio[1:], torch.full_like(ratio[1:], 0.75))


def test_no_stray_light_changes_nothing():
    image = rand(1, 2, 6, 7)
    assert torch.equal(StrayLight().image(image), image)


def test_gradcheck():
    image = rand(1, 2, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(BOTH.image, image)
    assert torch.autograd.gradcheck(lambda h: BOTH.psf(h, frame=(5, 6)), image)


def test_bad_numbers_are_named():
    with pytest.raises(ValueError, match=r"veil = 3 is outside \[0, 1\)"):
        StrayLight(veil=3)
    with pytest.raises(ValueError, match=r"veil \+ skirt = 1.1: less than 1"):
        StrayLight(veil=0.6, skirt=0.5)
    with pytest.raises(ValueError, match="radius = 0 pixels"):
        StrayLight(radius=0)
    with pytest.raises(ValueError, match=r"frame = \(4, 9\) pixels is smaller than the psf"):
        StrayLight().psf(torch.ones(5, 7), frame=(4, 9))
    with pytest.raises(ValueError, match=r"image is \(5, 7\), expected \(B, C, H, W\)"):
        StrayLight().image(torch.ones(5, 7))
