"""Flat fields: the response of simulated pixels comes back, and not the lamp."""

import numpy as np
import pytest

from calibration.bayer import planes
from calibration.errors import CalibrationError
from calibration.noise.dark import DarkConditions, master_dark
from calibration.noise.flat import flat_field
from calibration.noise.stacks import FrameStatistics
from tests.calibration.simulated_sensor import SimulatedSensor


def stack_of(sensor, electrons, count, cfa):
    stack = FrameStatistics(cfa)
    for _ in range(count):
        stack.add(sensor.frame(electrons))
    return stack


def flat_of(sensor, *, electrons=4000.0, count=24, cfa="RGGB"):
    dark = master_dark(stack_of(sensor, 0.0, count, cfa), DarkConditions.of(1e-3, 1.0, None))
    return flat_field(stack_of(sensor, electrons, count, cfa), dark)


@pytest.mark.parametrize(
    "change",
    [
        {"prnu": 0.006},
        {"prnu": 0.006, "seed": 5},
        {"prnu": 0.012, "dsnu": 5.0, "row_noise": 1.0},
        {"prnu": 0.006, "gradient": 0.1},
        {"prnu": 0.006, "flicker": 0.02},
    ],
)
def test_prnu_comes_back_whatever_else_is_uneven(change):
    sensor = SimulatedSensor(shape=(320, 300), **change)
    for name, plane in flat_of(sensor).planes.items():
        # the target of the method; 24 000 pixels are good for 1 %
        assert plane.prnu.value == pytest.approx(sensor.prnu, rel=0.05)
        truth = planes(sensor.gains, "RGGB")[name].std()
        assert abs(plane.prnu.value - truth) < 4 * plane.prnu.uncertainty


def test_prnu_is_as_sure_as_it_says():
    pulls = []
    for seed in range(100):
        # in little light, so that the noise left in both means is as large as what is looked for
        sensor = SimulatedSensor(
            shape=(48, 40), prnu=0.01, dsnu=1.0, read_noise=10.0, row_noise=8.0, seed=seed
        )
        prnu = flat_of(sensor, electrons=900.0, count=4, cfa="").planes["mono"].prnu
        pulls.append((prnu.value - 0.01) / prnu.uncertainty)
    # 100 sessions: the mean of the pulls is known to 0.10, their deviation to 0.07
    assert abs(np.mean(pulls)) < 0.3
    assert np.std(pulls) == pytest.approx(1, abs=0.2)


def test_the_map_is_the_response_of_each_pixel():
    sensor = SimulatedSensor(shape=(320, 300), prnu=0.01, gradient=0.2)
    flat = flat_of(sensor)
    rest = flat.response - sensor.gains
    # what is left is the noise that the flat says is in its map; the fit takes 3e-4 of response
    noise = np.mean([plane.noise for plane in flat.planes.values()])
    assert rest.std() == pytest.approx(noise, rel=0.05)
    assert flat.response.mean() == pytest.approx(1, abs=1e-3)


def test_vignetting_is_in_the_unevenness_and_not_in_the_response():
    sensor = SimulatedSensor(shape=(200, 180))
    y, x = (np.linspace(-1, 1, n) for n in sensor.shape)
    sensor.light = 1 - 0.2 * (y[:, None] ** 2 + x**2)
    plane = flat_of(sensor, cfa="").planes["mono"]
    assert plane.unevenness == pytest.approx(0.4 / (1 - 0.4 / 3), rel=0.02)
    assert plane.prnu.value < 0.001
    assert plane.signal == pytest.approx(0.47 * 4000 * (1 - 0.4 / 3), rel=0.01)


def test_hot_pixels_are_left_out():
    sensor = SimulatedSensor(prnu=0.006)
    sensor.offsets = sensor.offsets + np.zeros(sensor.shape)
    sensor.offsets[10:22, 20:32] = 4000
    sensor.gains[10:22, 20:32] = 1.5
    flat = flat_of(sensor)
    assert (flat.response[10:22, 20:32] == 1).all()
    assert all(p.prnu.value == pytest.approx(0.006, rel=0.05) for p in flat.planes.values())


def test_few_frames_and_an_unsteady_lamp_are_told():
    notes = flat_of(SimulatedSensor(shape=(40, 40), flicker=0.05), count=8, cfa="").warnings
    assert any("8 flat frames" in note for note in notes)
    assert any("from frame to frame" in note for note in notes)
    assert flat_of(SimulatedSensor(shape=(40, 40)), count=32, cfa="").warnings == ()


@pytest.mark.parametrize(
    ("electrons", "message"), [(3.0, "turn the lamp up"), (30_000.0, "saturated")]
)
def test_flats_without_light_or_with_too_much_are_refused(electrons, message):
    with pytest.raises(CalibrationError, match=message):
        flat_of(SimulatedSensor(shape=(40, 40)), electrons=electrons, count=4)


def test_a_spot_is_no_flat_field():
    sensor = SimulatedSensor(shape=(60, 64))
    sensor.light = (np.arange(64) < 20).astype(float)
    with pytest.raises(CalibrationError, match="use a diffuser"):
        flat_of(sensor, count=4)


def test_a_dark_of_another_mode_is_refused():
    small, large = SimulatedSensor(shape=(40, 40)), SimulatedSensor(shape=(40, 44))
    dark = master_dark(stack_of(small, 0.0, 2, ""), DarkConditions.of(1e-3, 1.0, None))
    with pytest.raises(ValueError, match="take both in a mode"):
        flat_field(stack_of(large, 4000.0, 2, ""), dark)


def test_a_flat_too_small_to_tell_pixels_from_light_is_refused():
    sensor = SimulatedSensor(shape=(30, 40))
    with pytest.raises(ValueError, match="16 rows and columns"):
        flat_of(sensor, count=2)
