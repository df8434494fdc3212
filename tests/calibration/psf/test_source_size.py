"""Source size: a known disc is taken out again, and the noise it costs is told."""

import numpy as np
import pytest
import torch

from calibration.bench import disc_blur
from calibration.errors import CalibrationError
from calibration.psf.source_size import disc_transfer, disc_width, without_disc
from tests.calibration.psf.test_registration import image

SHAPE = (64, 80)
SPOT = image(SHAPE, (31.0, 40.0), radius=2.5)
ONE = np.ones(SHAPE)


def blurred(width):
    """By the bench, which has a disc of its own."""
    return disc_blur(torch.tensor(SPOT), width).numpy()


def test_the_transfer_is_that_of_the_bench():
    point = torch.zeros(64, 64, dtype=torch.float64)
    point[0, 0] = 1
    expected = np.fft.fft2(disc_blur(point, 1.7).numpy()).real
    # frequencies of the bench are in single precision
    np.testing.assert_allclose(disc_transfer((64, 64), 1.7), expected, atol=1e-6)


@pytest.mark.parametrize("width", [0.0, 0.5, 1.0, 1.6])
def test_a_known_disc_is_removed(width):
    back = without_disc(blurred(width), ONE, width, alpha=0.0)
    # a smooth spot holds nothing beyond the band
    np.testing.assert_allclose(back.image, SPOT, atol=1e-3 * SPOT.max())
    assert back.image.sum() == pytest.approx(SPOT.sum(), rel=1e-6)


def test_within_noise_the_spot_comes_back_and_the_variance_says_how_well():
    rng, width, pulls = np.random.default_rng(0), 1.4, []
    variance = 4 + SPOT / 10
    for _ in range(60):
        seen = blurred(width) + rng.normal(size=SHAPE) * np.sqrt(variance)
        back = without_disc(seen, variance, width)
        pulls.append((back.image - SPOT) / np.sqrt(back.variance))
    pulls = np.array(pulls)
    # 300 000 values, of which neighbours go together
    assert pulls.std() == pytest.approx(1, abs=0.02)
    # regularising leaves less than a deviation in any pixel
    assert np.abs(pulls.mean(0)).max() < 1
    assert np.abs((blurred(width) - SPOT) / np.sqrt(variance)).max() > 3


def test_regularising_leaves_the_energy_and_less_noise():
    gains = []
    for alpha in (0.0, 0.1, 0.3):
        back = without_disc(blurred(1.6), ONE, 1.6, alpha=alpha)
        assert back.image.sum() == pytest.approx(SPOT.sum(), rel=1e-6)
        gains.append(back.noise_gain)
    assert gains == sorted(gains, reverse=True)


def test_noise_grows_as_told():
    rng = np.random.default_rng(1)
    for width in (0.5, 1.0, 1.6):
        noise = rng.normal(size=(200, 220))
        back = without_disc(noise, np.ones_like(noise), width)
        # edges are carried on, and not as noisy
        assert back.image.std() == pytest.approx(back.noise_gain, rel=0.03)
        assert np.median(back.variance) == pytest.approx(back.noise_gain**2, rel=0.01)
        assert back.noise_gain > 1


def test_half_a_pixel_needs_none_of_this():
    assert without_disc(SPOT, ONE, 0.5).noise_gain < 1.1


def test_pixels_that_are_not_valid_spoil_nothing():
    seen, valid = blurred(1.2), np.ones(SHAPE, bool)
    valid[20, 20] = False
    seen[20, 20] = np.nan
    back = without_disc(seen, ONE, 1.2, valid=valid)
    np.testing.assert_allclose(back.image, SPOT, atol=0.01 * SPOT.max())


def test_a_disc_that_takes_frequencies_away_is_refused():
    # 1.22 / 2.44 is 0.5 cycles/pixel: there is its first zero
    for width in (2.3, 2.44, 4.0, 8.0):
        with pytest.raises(CalibrationError, match="smaller pinhole"):
            without_disc(SPOT, ONE, width)
    assert without_disc(SPOT, ONE, 4.0, band=0.2).smallest > 0.1


def test_width_is_by_similar_triangles():
    width = disc_width(100e-6, object_distance=1.5, image_distance=16.2e-3, spacing=3.1e-6)
    assert width == pytest.approx(100e-6 * 16.2e-3 / 1.5 / 3.1e-6)
    with pytest.raises(ValueError, match=r"diameter = 100 m .* 100e-6"):
        disc_width(100, object_distance=1.5, image_distance=16e-3, spacing=3e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": -1.0}, "width = -1"),
        ({"alpha": 0.7}, "alpha = 0.7"),
        ({"band": 0.6}, "band = 0.6"),
        ({"variance": ONE[1:]}, "variance"),
    ],
)
def test_arguments_that_cannot_be_are_refused(change, message):
    given = {"image": SPOT, "variance": ONE, "width": 1.0} | change
    with pytest.raises(ValueError, match=message):
        without_disc(**given)
