"""One light level: noise of the pixel is told from all else that differs."""

import numpy as np
import pytest

from calibration.noise.levels import level_of
from tests.calibration.simulated_sensor import SimulatedSensor


def variance_of(sensor, electrons=2000.0, count=2):
    return sensor.level(electrons, count=count)


@pytest.mark.parametrize(
    "change",
    [{"prnu": 0.02}, {"dsnu": 20.0}, {"gradient": 0.3}, {"flicker": 0.02}, {"row_noise": 10.0}],
    ids=lambda change: next(iter(change)),
)
def test_what_is_not_noise_of_the_pixel_leaves_its_variance_alone(change):
    expected = 0.47 * (2000 * 0.47) + 0.47**2 * 9 + 1 / 12
    level = variance_of(SimulatedSensor(**change))
    # 23 000 pixels: the variance of a pair is known to 0.9 %; flicker of 2 % moves the mean itself
    found = level.variance / (expected + 0.47 * (level.mean - 256 - 940))
    assert found == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_variance_is_unbiased_and_its_uncertainty_is_its_scatter(count):
    sensor = SimulatedSensor(shape=(24, 20))
    levels = [sensor.level(500.0, count=count) for _ in range(300)]
    found = np.array([level.variance for level in levels])
    expected = 0.47**2 * (500 + 9) + 1 / 12
    error = levels[0].variance_uncertainty
    assert found.mean() == pytest.approx(expected, abs=4 * error / np.sqrt(300))
    # 300 levels: known to 4 %
    assert found.std() == pytest.approx(expected / levels[0].variance * error, rel=0.15)


def test_row_noise_is_found_and_its_uncertainty_is_its_scatter():
    sensor = SimulatedSensor(row_noise=2.0, shape=(40, 36))
    levels = [sensor.level(count=4) for _ in range(200)]
    found = np.array([level.row_variance for level in levels])
    expected = (0.47 * 2.0) ** 2
    assert found.mean() == pytest.approx(expected, rel=0.05)
    typical = np.mean([level.row_variance_uncertainty for level in levels])
    assert found.std() == pytest.approx(typical, rel=0.2)


def test_sums_of_white_noise_have_the_variance_of_pixels_and_filtered_noise_more():
    sensor = SimulatedSensor(row_noise=3.0)
    white = sensor.level(3000.0, count=4)
    assert white.sum_variance == pytest.approx(white.variance, rel=0.03)
    noise = np.random.default_rng(1).normal(size=(4, 129, 128))
    filtered = noise[:, 1:] + noise[:, :-1]
    level = level_of(filtered * 50, exposure=1.0)
    # neighbours down the rows share half of their variance: (4 + 2 * 2 * 0.5) / 4
    assert level.sum_variance / level.variance == pytest.approx(1.5, rel=0.05)


def test_gradient_drift_and_zeros_are_what_was_put_in():
    x = np.linspace(-2, 2, 30)
    y = np.linspace(-5, 5, 20)
    image = 1000 + x + y[:, None]
    image[:2, :3] = 0
    flat = level_of(np.stack([image, image + 7]), exposure=1.0)
    plain = level_of(np.stack([1000 + x + y[:, None]] * 2), exposure=1.0)
    assert plain.gradient == pytest.approx(4 + 10)
    assert flat.drift == pytest.approx(7)
    assert flat.zeros == pytest.approx(6 / 600 / 2)


@pytest.mark.parametrize(
    ("frames", "options", "message"),
    [
        (np.zeros((1, 8, 8)), {}, "two frames or more"),
        (np.zeros((2, 8)), {}, "two frames or more"),
        (np.zeros((2, 3, 8)), {}, "4 x 4 pixels"),
        (np.full((2, 8, 8), np.nan), {}, "finite"),
        (np.zeros((2, 8, 8)), {"exposure": 0.0}, "exposure = 0 s"),
        (np.zeros((2, 8, 8)), {"light": -1.0}, "light = -1"),
    ],
)
def test_what_is_no_level_is_refused(frames, options, message):
    with pytest.raises(ValueError, match=message):
        level_of(frames, **{"exposure": 1.0, **options})
