"""Comparison of PSFs: closed forms, and noise whose size is known."""

import math

import numpy as np
import pytest

from calibration.compare import compare_mosaic, compare_plane, repeated
from calibration.errors import CalibrationError

SHAPE = (57, 63)
SIGMA = 4.0


def gaussian(sigma=SIGMA, shape=SHAPE, shift=(0.0, 0.0)):
    y, x = (np.arange(n) - (n - 1) / 2 - s for n, s in zip(shape, shift, strict=True))
    return np.exp(-(y[:, None] ** 2 + x**2) / (2 * sigma**2))


def speckle(seed=0, shape=SHAPE):
    """Fine pattern under a Gaussian, smooth over two pixels or so."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.fft2(rng.normal(size=shape) + 1j * rng.normal(size=shape))
    f = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij"))
    field = np.fft.ifft2(spectrum * (f < 0.2))
    image = np.abs(field) ** 2 * gaussian(10.0, shape)
    return image / image.max()


def measured(image, noise, seed=0):
    """Image with even noise, its variance, and all pixels valid."""
    rng = np.random.default_rng(seed)
    variance = np.full(image.shape, noise**2)
    return image + noise * rng.normal(size=image.shape), variance, np.ones(image.shape, bool)


def test_the_same_image_differs_by_its_noise_alone():
    found = compare_plane(*measured(3 * speckle(), 0.02), speckle())
    # 3591 pixels: chi-square scatters by sqrt(2 / 3591)
    assert found.chi_square == pytest.approx(1, abs=4 * math.sqrt(2 / 3591))
    assert abs(found.ncc.value - 1) < 4 * found.ncc.uncertainty
    assert found.relative_l2.value < 4 * found.relative_l2.uncertainty
    assert found.scale == pytest.approx(3, rel=1e-3)
    assert abs(found.strehl.value - 1) < 4 * found.strehl.uncertainty
    assert found.pixels == 57 * 63


def test_noise_as_strong_as_the_image_does_not_lower_the_correlation():
    clean = speckle()
    found = compare_plane(*measured(clean, float(clean.std())), clean)
    assert abs(found.ncc.value - 1) < 4 * found.ncc.uncertainty
    assert found.ncc.uncertainty < 0.03


def test_relative_l2_is_the_share_of_what_is_not_expected():
    clean, other = speckle(0), speckle(1)
    # what is orthogonal to the expected image cannot be taken up by its scale
    other = other - clean * (other * clean).sum() / (clean**2).sum()
    wrong = clean + 0.2 * other * np.linalg.norm(clean) / np.linalg.norm(other)
    found = compare_plane(*measured(wrong, 0.01), clean)
    assert found.relative_l2.value == pytest.approx(0.2, abs=4 * found.relative_l2.uncertainty)


@pytest.mark.parametrize("noise", [0.01, 0.1])
def test_uncertainties_are_the_scatter_of_repeated_measurements(noise):
    clean = speckle()
    wrong = clean + 0.3 * speckle(1)
    rows = [compare_plane(*measured(wrong, noise, seed), clean) for seed in range(60)]

    def quantities(one):
        return [one.ncc, one.relative_l2, one.strehl, one.width.measured,
                one.radii[0.5].measured, one.radii[0.8].measured, one.mtf50.measured]  # fmt: skip

    values = np.array([[q.value for q in quantities(row)] for row in rows])
    said = np.array([[q.uncertainty for q in quantities(row)] for row in rows]).mean(0)
    # 60 draws tell a deviation to 9 %; radii by neighbouring pixels and slopes by a few more
    np.testing.assert_allclose(values.std(0, ddof=1) / said, 1, atol=0.45)


@pytest.mark.parametrize("step", [1, 2])
def test_a_gaussian_has_the_radii_width_and_mtf_of_the_closed_forms(step):
    found = compare_plane(*measured(gaussian(), 1e-6), gaussian(), step=step)
    # the plane holds a circle of seven deviations; pixels count at their centres
    assert found.width.measured.value == pytest.approx(step * SIGMA * math.sqrt(2), rel=2e-3)
    for share, pair in found.radii.items():
        radius = SIGMA * math.sqrt(-2 * math.log(1 - share))
        assert pair.measured.value == pytest.approx(step * radius, abs=0.3 * step)
        assert pair.expected == pytest.approx(pair.measured.value, abs=0.02)
    mtf50 = math.sqrt(math.log(2) / 2) / (math.pi * SIGMA * step)
    # rings of frequencies are a 252nd of a cycle wide
    assert found.mtf50.measured.value == pytest.approx(mtf50, rel=0.01)
    exact = np.exp(-2 * (math.pi * SIGMA * step * found.transfer.frequency) ** 2)
    # mean squares over rings of that width
    np.testing.assert_allclose(found.transfer.measured, exact, atol=2e-3)


def test_a_wider_image_has_a_lower_mtf50_and_a_larger_radius_than_expected():
    found = compare_plane(*measured(gaussian(1.1 * SIGMA), 1e-5), gaussian())
    assert found.width.change == pytest.approx(0.1, abs=5e-3)
    assert found.radii[0.8].change == pytest.approx(0.1, abs=0.02)
    assert found.mtf50.change == pytest.approx(1 / 1.1 - 1, abs=5e-3)
    assert found.strehl.value == pytest.approx(1 / 1.21, rel=5e-3)


@pytest.mark.parametrize("shift", [(0.3, 0.0), (0.0, -0.7)])
def test_a_displacement_that_is_left_is_told_in_pixels_of_the_mosaic(shift):
    found = compare_plane(*measured(gaussian(shift=shift), 1e-4), gaussian(), step=2)
    assert [one.value for one in found.drift] == pytest.approx([2 * s for s in shift], abs=5e-3)


def test_pixels_that_were_not_measured_count_nowhere():
    clean = speckle()
    rate, variance, valid = measured(clean, 0.001)
    valid[20:30, 20:30] = False
    rate[~valid] = 1e6
    variance[~valid] = np.inf
    found = compare_plane(rate, variance, valid, clean)
    assert found.chi_square == pytest.approx(1, abs=0.1)
    assert found.ncc.value == pytest.approx(1, abs=1e-3)
    assert found.width.measured.value == pytest.approx(found.width.expected, rel=1e-3)
    assert found.mtf50.measured.value == pytest.approx(found.mtf50.expected, rel=1e-3)
    assert found.pixels == valid.sum()


def test_planes_of_a_mosaic_are_compared_by_themselves():
    mosaic = np.repeat(np.repeat(gaussian(), 2, 0), 2, 1)
    rate, variance, valid = measured(mosaic, 1e-3)
    rate[0::2, 0::2] *= 0.5  # red is dimmer
    rate[1::2, 1::2] = measured(speckle(), 1e-3)[0]  # and blue another image
    found = compare_mosaic(rate, variance, valid, mosaic, cfa="RGGB")
    assert list(found) == ["R", "Gr", "Gb", "B"]
    assert found["R"].scale == pytest.approx(0.5, rel=1e-3)
    assert found["Gr"].ncc.value == pytest.approx(1, abs=1e-3)
    assert found["B"].ncc.value < 0.95


def test_two_sources_show_the_same_pattern_twice():
    one = speckle(shape=(120, 128))
    both = one + 0.4 * np.roll(one, (-18, 25), (0, 1))
    height, shift = repeated(both)
    assert shift in [(-18, 25), (18, -25)]
    # r / (1 + r^2) of a pattern that is not like itself elsewhere
    assert height == pytest.approx(0.4 / 1.16, abs=0.1)
    # a hundred speckles are like themselves elsewhere to a tenth or two
    assert repeated(one)[0] < 0.2


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"rate": -speckle()}, CalibrationError, "nothing of what is expected"),
        ({"valid": np.zeros(SHAPE, bool)}, CalibrationError, "larger region"),
        ({"expected": np.zeros(SHAPE)}, CalibrationError, "nothing of what is expected"),
        ({"variance": np.full(SHAPE, 9.0)}, CalibrationError, "noise alone"),
        ({"expected": speckle(shape=(63, 57))}, ValueError, "of one size"),
    ],
)
def test_images_that_cannot_be_compared_are_refused(change, error, message):
    rate, variance, valid = measured(speckle(), 1e-3)
    given = {"rate": rate, "variance": variance, "valid": valid, "expected": speckle()} | change
    with pytest.raises(error, match=message):
        compare_plane(**given)


def test_noise_adds_no_modulation_where_there_is_none():
    noise = 0.02
    found = compare_plane(*measured(gaussian(), noise), gaussian()).transfer
    floor = noise * math.sqrt(57 * 63) / gaussian().sum()
    fine = found.frequency > 0.25
    assert found.expected[fine].max() < 0.01 * floor
    # what chance leaves of a ring of some hundred frequencies is a quarter or so
    assert np.sqrt(np.mean(found.measured[fine] ** 2)) < 0.5 * floor
