"""Brackets: sums without the stack, and the light of single frames over all exposures."""

import numpy as np
import pytest

from calibration.errors import CalibrationError
from calibration.psf.bracket import Bracket, light_log
from tests.calibration.brackets import (
    LADDER,
    bracket_of,
    darks_of,
    noise_of,
    raw,
    sensor_of,
    spot,
)


def scene(sensor):
    return spot(sensor.shape, peak=2e6, radius=12, floor=50.0)


def test_sums_are_those_of_the_frames_and_exposures_are_told_apart_by_four_digits():
    sensor = sensor_of((32, 48))
    frames = sensor.frames(5, 500.0)
    bracket = Bracket()
    for frame, time in zip(frames, (0.1, 0.10000001, 0.2, 0.1, 0.2), strict=True):
        bracket.add(raw(sensor, frame, time))
    assert bracket.exposures == (0.1, 0.2)
    np.testing.assert_array_equal(bracket.sums[0.1].mean(), frames[[0, 1, 3]].mean(0))
    np.testing.assert_array_equal(bracket.sums[0.2].peak, frames[[2, 4]].max(0))
    assert bracket.sums[0.1].frames == [0, 1, 3]


@pytest.mark.parametrize("drift", [0.0, 0.03])
def test_light_is_followed_over_exposures_that_share_no_bright_pixel(drift):
    sensor = sensor_of()
    light = 1 + drift * np.linspace(-0.5, 0.5, 48)
    bracket = bracket_of(sensor, scene(sensor), light=lambda n: light[n])
    log = light_log(bracket, darks_of(sensor), noise_of(sensor))
    found = np.array([[f.light.value, f.light.uncertainty] for f in log.frames])
    pull = (found[:, 0] - light) / found[:, 1]
    # 48 frames: their pulls scatter by 1 to a tenth
    assert np.std(pull) == pytest.approx(1, abs=0.35)
    assert found[:, 1].max() < 3e-3
    assert log.drift.value == pytest.approx(drift, abs=4 * log.drift.uncertainty)
    assert any("changed by" in note for note in log.warnings()) == (drift > 0)
    assert not log.outliers
    assert np.mean([f.chi_square for f in log.frames]) == pytest.approx(1, abs=0.15)


def test_a_different_light_in_one_exposure_is_its_ratio():
    sensor = sensor_of()
    lights = dict.fromkeys(LADDER, 1.0) | {LADDER[1]: 0.985, LADDER[4]: 1.01}
    mean = np.mean(list(lights.values()))
    bracket = bracket_of(sensor, scene(sensor), light=lambda n: lights[LADDER[n % 6]])
    log = light_log(bracket, darks_of(sensor), noise_of(sensor))
    assert np.mean([f.light.value for f in log.frames]) == pytest.approx(1, abs=1e-9)
    ratios = log.ratios()
    for time, ratio in ratios.items():
        assert abs(ratio.value - lights[time] / mean) < 4 * ratio.uncertainty
        assert ratio.uncertainty < 2e-3


def test_flicker_is_measured_and_frames_far_off_are_named():
    sensor = sensor_of()
    light = 1 + 0.004 * np.random.default_rng(5).normal(size=48)
    light[[17, 30]] = 0.9, 0.7
    bracket = bracket_of(sensor, scene(sensor), light=lambda n: light[n])
    log = light_log(bracket, darks_of(sensor), noise_of(sensor))
    assert [f.number for f in log.outliers] == [17, 30]
    assert "left out: its light is 0.90" in log.warnings()[0]
    # 46 frames: a tenth
    assert log.flicker == pytest.approx(0.004, rel=0.35)


def test_frames_that_show_something_else_are_named():
    sensor = sensor_of()
    rate = scene(sensor)
    bracket = Bracket()
    for number in range(24):
        exposure = LADDER[number % 6]
        seen = np.roll(rate, {9: 3, 16: -4}.get(number, 0), axis=1)
        bracket.add(raw(sensor, sensor.frame(seen * exposure, exposure), exposure, number=number))
    log = light_log(bracket, darks_of(sensor), noise_of(sensor))
    assert [f.number for f in log.outliers] == [9, 16]
    assert "something else" in log.outliers[0].outlier


def test_noise_of_few_blocks_is_nothing_else_to_see():
    """Sixteen blocks scatter widely; 40 brackets hold 240 frames of one scene."""
    sensor, ladder = sensor_of((64, 64)), (0.004, 0.016, 0.064)
    darks, noise = darks_of(sensor, ladder), noise_of(sensor)
    rate = spot(sensor.shape, peak=2e5, radius=6, floor=50.0)
    wrong = [
        frame
        for _ in range(40)
        for frame in light_log(bracket_of(sensor, rate, ladder, count=2), darks, noise).outliers
    ]
    assert len(wrong) <= 1


def test_frames_that_were_skipped_keep_the_numbers_of_the_others():
    sensor = sensor_of((32, 48))
    bracket = Bracket()
    for number in range(6):
        if number == 2:
            bracket.skip()
            continue
        bracket.add(raw(sensor, sensor.frame(1000.0, 0.1), 0.1, number=number))
    log = light_log(bracket, darks_of(sensor, (0.1,), count=4), noise_of(sensor))
    assert [f.number for f in log.frames] == [0, 1, 3, 4, 5]


def test_one_frame_or_a_sliver_tells_nothing():
    sensor = sensor_of((32, 48))
    bracket = Bracket()
    bracket.add(raw(sensor, sensor.frame(), 0.1))
    with pytest.raises(CalibrationError, match="1 frames: two or more"):
        light_log(bracket, {}, noise_of(sensor))
    sliver = sensor_of((8, 48))
    with pytest.raises(ValueError, match="16 x 16 or more"):
        Bracket().add(raw(sliver, sliver.frame(), 0.1))
