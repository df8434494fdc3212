"""Backgrounds: a known surface comes back under spots, wings and outliers."""

import numpy as np
import pytest

from calibration.errors import CalibrationError
from calibration.psf.background import annulus, fit_background, outside_spot
from tests.calibration.brackets import spot

SHAPE = (128, 144)
ALL = np.ones(SHAPE, bool)
CENTRE = (63.3, 70.8)


def surface(order=1):
    y, x = (np.linspace(-1, 1, n) for n in SHAPE)
    out = 5 + 0.7 * x[None, :] - 1.3 * y[:, None]
    return out + (0.8 * x[None, :] * y[:, None] + 0.5 * y[:, None] ** 2 if order == 2 else 0)


def noisy(truth, rng):
    variance = 4 + 0.5 * np.maximum(truth, 0)
    return truth + rng.normal(size=SHAPE) * np.sqrt(variance), variance


@pytest.mark.parametrize("order", [1, 2])
def test_a_surface_is_unbiased_and_as_sure_as_it_says(order):
    rng, pulls = np.random.default_rng(1), []
    outside = annulus(SHAPE, CENTRE, 20, 200)
    for _ in range(80):
        image, variance = noisy(surface(order) + spot(SHAPE, peak=1e4, radius=3, wing=0), rng)
        fit = fit_background(image, variance, outside, order=order)
        pull = (fit.surface() - surface(order)) / np.sqrt(fit.variance())
        pulls.append(pull[[0, 63, 100], [0, 71, 140]])
        assert fit.chi_square == pytest.approx(1, abs=0.06)
    # 240 values, of which three go together: 0.1 and 0.06
    assert abs(np.mean(pulls)) < 0.3
    assert np.std(pulls) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("wing", [0.0, 3e-5, 1e-4, 1e-3, 1e-2])
def test_a_wing_of_any_strength_leaves_the_background_unbiased(wing):
    rng, pulls = np.random.default_rng(2), []
    for _ in range(30):
        light = spot(SHAPE, peak=1e5, radius=3, wing=wing, centre=CENTRE)
        image, variance = noisy(surface() + light, rng)
        outside = outside_spot(image, variance, ALL, CENTRE)
        fit = fit_background(image, variance, outside, wing=CENTRE)
        error = fit.surface()[63, 71] - surface()[63, 71]
        pulls.append(error / np.sqrt(fit.variance()[63, 71]))
    # 30 values: 0.18. Without the wing, the strongest one is 37 deviations off
    assert abs(np.mean(pulls)) < 0.6
    assert np.std(pulls) < 1.4


def test_without_its_term_a_wing_is_taken_for_background():
    image, variance = noisy(
        surface() + spot(SHAPE, peak=1e5, radius=3, wing=1e-2, centre=CENTRE),
        np.random.default_rng(3),
    )
    outside = outside_spot(image, variance, ALL, CENTRE)
    fit = fit_background(image, variance, outside)
    assert fit.surface()[63, 71] - surface()[63, 71] > 10 * np.sqrt(fit.variance()[63, 71])


def test_negative_noise_is_kept():
    image, variance = noisy(np.zeros(SHAPE), np.random.default_rng(4))
    fit = fit_background(image, variance, ALL, order=0)
    assert abs(fit.surface().mean()) < 4 * np.sqrt(fit.covariance[0, 0])
    # four deviations on either side leave 6e-5 of the pixels out
    assert fit.used.mean() > 0.999
    assert (image[fit.used] < 0).mean() == pytest.approx(0.5, abs=0.015)


@pytest.mark.parametrize("side", [1, -1])
def test_outliers_on_one_side_do_not_pull(side):
    rng = np.random.default_rng(5)
    image, variance = noisy(surface(), rng)
    hit = rng.random(SHAPE) < 0.02
    image[hit] += side * rng.exponential(500, hit.sum())
    fit = fit_background(image, variance, ALL)
    error = (fit.surface() - surface())[::16, ::16] / np.sqrt(fit.variance())[::16, ::16]
    assert np.abs(error).max() < 4.5
    assert not fit.used[hit & (side * (image - surface()) > 20)].any()


def test_noise_above_what_was_told_widens_the_uncertainty():
    image, variance = noisy(surface(), np.random.default_rng(6))
    told = fit_background(image, variance, ALL)
    half = fit_background(image, variance / 4, ALL)
    assert half.chi_square == pytest.approx(4, rel=0.05)
    assert half.covariance[0, 0] == pytest.approx(told.covariance[0, 0], rel=0.05)


def test_the_error_of_a_sum_is_that_of_the_coefficients():
    rng, sums = np.random.default_rng(7), []
    inside = ~annulus(SHAPE, CENTRE, 20, 200)
    for _ in range(100):
        image, variance = noisy(surface(), rng)
        fit = fit_background(image, variance, ~inside)
        sums.append(fit.surface()[inside].sum())
    assert np.std(sums) == pytest.approx(fit.sum_uncertainty(inside), rel=0.25)


def test_the_circle_holds_all_visible_light_and_little_else():
    rng = np.random.default_rng(8)
    light = spot(SHAPE, peak=1e5, radius=3, wing=0, centre=CENTRE)
    light[40:60, 90:94] += 30  # an arm that is no part of a round spot
    light[60:64, 71:94] += 30
    image, variance = noisy(surface() + light, rng)
    outside = outside_spot(image, variance, ALL, CENTRE)
    assert light[outside].max() < 1
    assert outside.mean() > 0.55
    assert not outside_spot(*noisy(surface(), rng), ALL, CENTRE).any()


def test_a_spot_that_fills_most_of_the_region_is_seen_as_a_whole():
    """Most pixels are lit: their median is no level to look above."""
    y, x = np.indices(SHAPE)
    radius = np.hypot(y - CENTRE[0], x - CENTRE[1])
    light = np.where(radius < 62, 20.0, 0.0)
    assert np.median(light) == 20
    image, variance = noisy(surface() + light, np.random.default_rng(10))
    assert light[outside_spot(image, variance, ALL, CENTRE)].max() == 0


def test_what_does_not_determine_a_surface_is_refused():
    image, variance = noisy(surface(), np.random.default_rng(9))
    few = np.zeros(SHAPE, bool)
    few[0, :40] = True
    with pytest.raises(CalibrationError, match="40 pixels lie outside"):
        fit_background(image, variance, few)
    few[0] = True
    with pytest.raises(CalibrationError, match="do not determine"):
        fit_background(image, variance, few)
    with pytest.raises(ValueError, match="order = 3"):
        fit_background(image, variance, ALL, order=3)
    with pytest.raises(ValueError, match="alike"):
        fit_background(image, variance[1:], ALL)
    with pytest.raises(ValueError, match="finite values"):
        fit_background(np.full(SHAPE, np.nan), variance, ALL)
    with pytest.raises(ValueError, match="inner = 5"):
        annulus(SHAPE, CENTRE, 5, 5)
