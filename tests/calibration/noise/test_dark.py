"""Darks: offsets, hot pixels and dark current of simulated sensors come back."""

import numpy as np
import pytest

from calibration.bayer import planes
from calibration.errors import CalibrationError
from calibration.noise.dark import DarkConditions, DarkFrames, dark_current, master_dark
from calibration.noise.stacks import FrameStatistics
from calibration.uncertainty import Uncertain
from tests.calibration.simulated_sensor import SimulatedSensor

GAIN = Uncertain(0.47, 0.0005)


def dark_of(sensor, *, exposure=0.01, count=32, cfa="RGGB"):
    stack = FrameStatistics(cfa)
    for _ in range(count):
        stack.add(sensor.frame(0.0, exposure))
    return master_dark(stack, DarkConditions.of(exposure, 1.0, 25.0))


@pytest.mark.parametrize(
    "change",
    [{"dsnu": 0.8}, {"dsnu": 3.0}, {"dsnu": 0.8, "row_noise": 1.0}, {"dsnu": 0.5, "seed": 3}],
)
def test_dsnu_comes_back_without_what_noise_left_in_the_mean(change):
    sensor = SimulatedSensor(shape=(320, 300), **change)
    dark = dark_of(sensor)
    for name, plane in dark.planes.items():
        found = plane.dsnu(GAIN)
        # the target of the method; 24 000 pixels alone are good for 1 %
        assert found.value == pytest.approx(sensor.dsnu, rel=0.05)
        truth = planes(sensor.offsets, "RGGB")[name].std()
        assert abs(found.value - truth) < 4 * found.uncertainty


def test_without_offsets_the_residue_is_all_there_is():
    plane = dark_of(SimulatedSensor(), cfa="", count=8).planes["mono"]
    assert abs(plane.fixed_variance.value) < 4 * plane.fixed_variance.uncertainty
    # unlike the spread of the mean itself, which eight frames leave at a third of the noise
    assert plane.dsnu(GAIN).value < 0.35


def test_dsnu_is_as_sure_as_it_says():
    pulls = []
    for seed in range(150):
        sensor = SimulatedSensor(shape=(24, 32), dsnu=1.0, row_noise=0.5, seed=seed)
        found = dark_of(sensor, cfa="", count=6).planes["mono"].dsnu(Uncertain(0.47, 0.0))
        pulls.append((found.value - 1.0) / found.uncertainty)
    # 150 sessions: the mean of the pulls is known to 0.08, their deviation to 0.06
    assert abs(np.mean(pulls)) < 0.25
    assert np.std(pulls) == pytest.approx(1, abs=0.2)


def test_hot_pixels_are_found_and_only_they():
    sensor = SimulatedSensor(dsnu=0.8, shape=(300, 320))
    places = np.random.default_rng(9).choice(sensor.offsets.size, 40, replace=False)
    sensor.offsets.ravel()[places] = np.geomspace(8, 3000, 40)
    dark = dark_of(sensor)
    hot = np.zeros(sensor.shape, bool)
    hot.ravel()[places] = True
    # the faintest is at 8 of 0.97 e- deviations; five deviations are passed by 3e-7 of the others
    np.testing.assert_array_equal(dark.hot, hot)
    assert sum(plane.hot for plane in dark.planes.values()) == 40
    # and the numbers are those of the others
    for plane in dark.planes.values():
        assert plane.dsnu(GAIN).value == pytest.approx(0.8, rel=0.05)


def test_a_hot_pixel_is_judged_among_its_own_colour():
    sensor = SimulatedSensor(dsnu=0.5, shape=(100, 120))
    sensor.offsets[::2, ::2] += 40
    assert not dark_of(sensor).hot.any()


@pytest.mark.parametrize("clamped", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_dark_current_comes_back_from_the_mean_or_where_that_is_clamped_from_the_noise(
    clamped, seed
):
    sensor = SimulatedSensor(dark_current=15.0, clamped=clamped, dsnu=0.8, seed=seed)
    masters = [dark_of(sensor, exposure=t, count=12) for t in (0.1, 1.0, 3.0, 6.0)]
    for plane in ("R", "Gr", "Gb", "B"):
        found = dark_current(masters, plane, GAIN)
        assert found.clamped == clamped
        assert found.value == (found.from_variance if clamped else found.from_mean)
        # 90 e- at the longest in the noise of 12 frames of 6000 pixels: 1 %; in the mean: 0.1 %
        assert found.value.value == pytest.approx(15.0, rel=0.05 if clamped else 0.01)
        assert abs(found.value.value - 15.0) < 4 * found.value.uncertainty
        assert abs(found.from_variance.value - 15.0) < 4 * found.from_variance.uncertainty
        assert abs(found.black_level.value - 256) < 4 * found.black_level.uncertainty


def test_dark_current_is_as_sure_as_it_says():
    pulls = []
    for seed in range(120):
        sensor = SimulatedSensor(dark_current=20.0, dsnu=5.0, shape=(24, 32), seed=seed)
        masters = [dark_of(sensor, exposure=t, count=6, cfa="") for t in (0.1, 2.0, 4.0)]
        found = dark_current(masters, "mono", Uncertain(0.47, 0.0))
        pulls.append(
            [(f.value - 20) / f.uncertainty for f in (found.from_mean, found.from_variance)]
        )
    spread = np.std(pulls, axis=0)
    # 120 sessions: 6 %; the scatter of three points widens some uncertainties further
    assert (spread > 0.7).all()
    assert (spread < 1.15).all()
    assert (np.abs(np.mean(pulls, axis=0)) < 0.3).all()


def test_the_black_level_is_as_sure_as_it_says():
    pulls = []
    for seed in range(60):
        sensor = SimulatedSensor(dark_current=20.0, dsnu=5.0, shape=(24, 32), seed=seed)
        masters = [dark_of(sensor, exposure=t, count=4, cfa="") for t in (0.1, 4.0)]
        black = dark_current(masters, "mono", GAIN).black_level
        pulls.append((black.value - 256) / black.uncertainty)
    # 60 sessions: 9 %; without the offsets of the pixels it would be 3
    assert np.std(pulls) == pytest.approx(1, abs=0.3)


def test_the_noise_of_hot_pixels_is_not_taken_for_dark_current():
    sensor = SimulatedSensor(shape=(120, 120))
    sensor.dark_current = np.full(sensor.shape, 15.0)
    sensor.dark_current[::10, ::10] = 3000.0
    masters = [dark_of(sensor, exposure=t, count=16, cfa="") for t in (0.2, 2.0, 4.0)]
    found = dark_current(masters, "mono", GAIN)
    # one in a hundred of 200 times the current would be three times the current
    assert found.from_variance.value == pytest.approx(15, rel=0.06)
    assert found.from_mean.value == pytest.approx(15, rel=0.02)


@pytest.mark.parametrize("seed", range(6))
def test_chance_is_not_taken_for_a_clamped_camera(seed):
    sensor = SimulatedSensor(shape=(40, 40), seed=seed)
    masters = [dark_of(sensor, exposure=t, count=4, cfa="") for t in (0.1, 1.0, 2.0)]
    assert not dark_current(masters, "mono", GAIN).clamped


def test_a_wrong_gain_is_not_taken_for_a_clamped_camera():
    sensor = SimulatedSensor(dark_current=20.0)
    masters = [dark_of(sensor, exposure=t, count=8, cfa="") for t in (0.1, 2.0, 5.0)]
    found = dark_current(masters, "mono", Uncertain(0.38, 0.001))
    missing = found.from_variance.value - found.from_mean.value
    assert missing > 3 * found.from_variance.uncertainty
    assert not found.clamped


def test_frames_are_filed_by_exposure_gain_and_temperature():
    sensor = SimulatedSensor(shape=(8, 8))
    frames = DarkFrames("RGGB")
    for exposure, gain, temperature in (
        (0.01, 1.0, 24.6),
        (0.0100001, 1.0, 23.2),
        (0.01, 2.0, 24.0),
        (0.01, 1.0, 25.4),
        (0.02, 1.0, None),
    ):
        conditions = DarkConditions.of(exposure, gain, temperature)
        for _ in range(2):
            frames.add(sensor.frame(), conditions)
    masters = frames.masters()
    assert {key: master.frames for key, master in masters.items()} == {
        DarkConditions(0.01, 1.0, 24.0): 4,
        DarkConditions(0.01, 2.0, 24.0): 2,
        DarkConditions(0.01, 1.0, 26.0): 2,
        DarkConditions(0.02, 1.0, None): 2,
    }
    assert all("32 or more" in master.warnings[0] for master in masters.values())


def test_an_offset_that_is_cut_off_says_so():
    dark = dark_of(SimulatedSensor(black_level=0.0, dsnu=8.0, read_noise=0.5, shape=(40, 40)))
    assert any("cuts the offset off" in note for note in dark.warnings)


def test_darks_that_do_not_tell_are_refused():
    sensor = SimulatedSensor(shape=(8, 8))
    short, longer = (dark_of(sensor, exposure=t, count=2) for t in (0.1, 0.2))
    with pytest.raises(CalibrationError, match="two or more are needed"):
        dark_current([short, short], "R", GAIN)
    stack = FrameStatistics("RGGB")
    for _ in range(2):
        stack.add(sensor.frame())
    other = master_dark(stack, DarkConditions.of(0.2, 1.0, 40.0))
    with pytest.raises(ValueError, match="several gains or temperatures"):
        dark_current([short, other], "R", GAIN)
    copies = FrameStatistics("RGGB")
    for _ in range(2):
        copies.add(np.full((8, 8), 256, np.uint16))
    with pytest.raises(CalibrationError, match="copies"):
        dark_current([longer, master_dark(copies, short.conditions)], "R", GAIN)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 1.0, 20.0), "above zero"),
        ((0.1, -1.0, 20.0), "above zero"),
        ((0.1, 1.0, 298.0), "kelvin"),
    ],
)
def test_conditions_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        DarkConditions.of(*arguments)
    with pytest.raises(ValueError, match="width = 0"):
        DarkConditions.of(0.1, 1.0, 20.0, width=0.0)
