"""Merged brackets: rates of a known scene come back, as sure as they say, at every level."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.bayer import planes
from calibration.errors import CalibrationError
from calibration.noise.dark import DarkConditions
from calibration.noise.flat import flat_field
from calibration.noise.stacks import FrameStatistics
from calibration.psf.bracket import Bracket
from calibration.psf.hdr import decibels, merge
from tests.calibration.brackets import (
    LADDER,
    bracket_of,
    darks_of,
    exactly,
    noise_of,
    raw,
    sensor_of,
    spot,
)


def ramp(shape, top):
    """Rates from next to nothing to `top` of saturation in the shortest exposure [e-/s]."""
    return np.broadcast_to(np.geomspace(3.0, top / LADDER[0], shape[1]), shape)


@pytest.mark.parametrize(
    ("share", "change"),
    [
        (0.85, {}),
        (0.85, {"row_noise": 1.0}),
        (0.7, {"full_well": 1200.0, "system_gain": 3.0}),  # few electrons: noise is a large part
    ],
)
def test_rates_are_unbiased_and_as_sure_as_they_say_at_every_level(share, change):
    sensor = sensor_of((160, 320), **change)
    rate = ramp(sensor.shape, share * sensor.top)
    merged = merge(bracket_of(sensor, rate), darks_of(sensor), noise_of(sensor))
    pull = (merged.rate - rate) / np.sqrt(merged.variance)
    assert merged.valid.all()
    # 51 200 pixels: 0.0044; with row noise, 960 rows
    assert abs(pull.mean()) < (0.1 if change.get("row_noise") else 0.02)
    assert pull.std() == pytest.approx(1, abs=0.02)
    # 20 levels of 2560 pixels: 0.02 and 0.014; every threshold of every exposure lies in one
    levels = pull.T.reshape(20, -1)
    assert np.abs(levels.mean(1)).max() < (0.2 if change.get("row_noise") else 0.08)
    np.testing.assert_allclose(levels.std(1), 1, atol=0.06)
    assert list(merged.chi_square.values()) == pytest.approx([1] * 4, abs=0.05)
    assert merged.warnings == ()


def test_weights_of_the_samples_themselves_would_be_biased():
    """Why the expected signal: dim pixels of one exposure, weighted by their own samples."""
    sensor = sensor_of((200, 200), read_noise=1.0)
    rate = np.full(sensor.shape, 40.0)
    bracket, darks = bracket_of(sensor, rate, (0.1, 0.2), count=2), darks_of(sensor, (0.1, 0.2))
    noise = noise_of(sensor)
    ours = merge(bracket, darks, noise)
    # 40 000 pixels of 0.4 e- deviation in 0.6 s: the mean is good to 0.02 e-/s
    assert np.mean(ours.rate) == pytest.approx(40, abs=0.1)
    plane = noise.planes["R"]
    own = []
    for time in (0.1, 0.2):
        mean = bracket.sums[time].mean()
        var = plane.variance(mean, time) / (plane.system_gain.value * time) ** 2
        own.append(((mean - darks[time].mean) / (plane.system_gain.value * time), 1 / var))
    naive = sum(x * w for x, w in own) / sum(w for _, w in own)
    assert np.mean(naive) < 39.5


def test_pixels_that_differ_in_response_are_in_the_variance_or_taken_out_by_a_flat():
    sensor = sensor_of((120, 200), prnu=0.02, dsnu=0.8, dark_current=20.0)
    rate = np.full(sensor.shape, 0.6 * sensor.top / LADDER[0])
    bracket, darks = bracket_of(sensor, rate, LADDER[:2]), darks_of(sensor, LADDER[:2])
    noise = noise_of(sensor, prnu=0.02)
    uneven = merge(bracket, darks, noise)
    pull = (uneven.rate - rate) / np.sqrt(uneven.variance)
    assert pull.std() == pytest.approx(1, abs=0.03)
    stack = FrameStatistics("RGGB")
    for _ in range(64):
        stack.add(sensor.frame(4000.0, LADDER[1]))
    even = merge(bracket, darks, noise, flat=flat_field(stack, darks[LADDER[1]]))
    # 4000 e- in 64 frames leave 0.2 %, the fit of the smooth light a little more
    assert even.rate.std() < 0.35 * uneven.rate.std()
    pull = (even.rate - even.rate.mean()) / np.sqrt(even.variance)
    assert pull.std() == pytest.approx(1, abs=0.05)


def test_saturation_never_enters():
    """A well far below what the noise model was told would show at once; here it is as told."""
    sensor = sensor_of()
    rate = spot(sensor.shape, peak=0.8 * sensor.top / LADDER[0], radius=12)
    merged = merge(bracket_of(sensor, rate), darks_of(sensor), noise_of(sensor))
    for use in merged.exposures[1:]:
        clipped = rate * use.exposure > 0.9 * sensor.top
        assert clipped.any()
        assert use.clipped >= clipped.mean()
    # bright pixels are those of the shortest alone
    bright = rate > 0.9 * sensor.top / LADDER[1]
    error = (merged.rate - rate)[bright] / rate[bright]
    assert abs(error.mean()) < 2e-3
    assert merged.variance[bright].min() > 0.5 * (rate[bright] / LADDER[0] / 8).min()


@pytest.mark.parametrize(("share", "left_out"), [(0.91, 1.0), (0.89, 0.0)])
def test_nine_tenths_of_the_clip_level_is_the_limit(share, left_out):
    sensor = sensor_of((32, 48))
    rate = np.full(sensor.shape, share * sensor.top / LADDER[1])
    merged = merge(
        bracket_of(sensor, rate, LADDER[:2]), darks_of(sensor, LADDER[:2]), noise_of(sensor)
    )
    # a hundredth is 2.5 deviations of the mean of eight frames; masks grow by two pixels
    assert merged.exposures[1].clipped == pytest.approx(left_out, abs=0.25)


def test_a_single_clipped_frame_leaves_the_exposure_out():
    sensor = sensor_of((32, 48))
    rate = np.full(sensor.shape, 0.8 * sensor.top / LADDER[1])
    # the third frame of the longer exposure clips; the mean of all eight stays below the limit
    bracket = bracket_of(sensor, rate, LADDER[:2], light=lambda n: 1.4 if n == 5 else 1.0)
    merged = merge(bracket, darks_of(sensor, LADDER[:2]), noise_of(sensor))
    assert merged.exposures[1].clipped == 1


def test_light_that_blooms_into_neighbours_does_not_enter():
    sensor = sensor_of()
    rate = spot(sensor.shape, peak=0.8 * sensor.top / LADDER[0], radius=8, wing=0)
    bracket = Bracket()
    for number in range(48):
        exposure = LADDER[number % 6]
        charge = sensor.charge(rate * exposure, exposure)
        full = rate * exposure > sensor.full_well
        for axis in (0, 1):  # a full pixel spills into those beside it
            for step in (-2, -1, 1, 2):
                charge += 60 * (np.roll(full, step, axis) & ~full)
        bracket.add(raw(sensor, sensor.digitised(charge), exposure, number=number))
    merged = merge(bracket, darks_of(sensor), noise_of(sensor))
    pull = ((merged.rate - rate) / np.sqrt(merged.variance))[merged.valid]
    # ten deviations would be there without the mask
    assert np.abs(pull).max() < 5.5


def test_hot_pixels_count_only_where_they_are_not_hot():
    sensor = sensor_of()
    hot = (40, 51)
    quiet = sensor.frame

    def frame(electrons=0.0, exposure=1e-3):
        mosaic = quiet(electrons, exposure)
        leak = sensor.rng.poisson(3000 * exposure) if exposure > 0.1 else 0
        mosaic[hot] += np.uint16(sensor.system_gain * leak)
        return mosaic

    sensor.frame = frame
    rate = np.full(sensor.shape, 300.0)
    merged = merge(bracket_of(sensor, rate), darks_of(sensor), noise_of(sensor))
    assert merged.valid[hot]
    # it is left with the shorter exposures: five times the deviation or more
    assert merged.variance[hot] > 3 * np.median(merged.variance)
    assert abs(merged.rate[hot] - 300) < 5 * np.sqrt(merged.variance[hot])
    darks = darks_of(sensor)
    everywhere = np.zeros(sensor.shape, bool)
    everywhere[hot] = True
    darks = {time: replace(dark, hot=everywhere) for time, dark in darks.items()}
    merged = merge(bracket_of(sensor, rate), darks, noise_of(sensor))
    assert not merged.valid[hot]
    assert np.isnan(merged.rate[hot])
    assert merged.valid.sum() == merged.valid.size - 1


def test_noise_of_few_darks_is_in_the_variance():
    sensor = sensor_of()
    rate = np.full(sensor.shape, 20.0)
    bracket = bracket_of(sensor, rate, LADDER[-1:], count=8)
    merged = merge(bracket, darks_of(sensor, LADDER[-1:], count=2), noise_of(sensor))
    pull = ((merged.rate - rate) / np.sqrt(merged.variance))[merged.valid]
    # 2 darks against 8 frames: without them it would be 2 in the variance
    assert pull.std() == pytest.approx(1, abs=0.02)


def test_a_black_level_that_drifted_after_the_darks_is_reported():
    sensor = sensor_of()
    darks = darks_of(sensor)
    rate = np.full(sensor.shape, 50.0)
    bracket = Bracket()
    for number in range(48):
        exposure = LADDER[number % 6]
        sensor.black_level = 256.0 + (3.0 if exposure == LADDER[2] else 0.0)
        mosaic = sensor.frame(rate * exposure, exposure)
        bracket.add(raw(sensor, mosaic, exposure, number=number, black_level=(256.0,) * 4))
    sensor.black_level = 256.0
    merged = merge(bracket, darks, noise_of(sensor))
    use = merged.exposures[2]
    assert use.offset.value == pytest.approx(3, abs=0.2)
    assert merged.warnings[0].startswith("0.018 s lies 2.9")
    # it spoils the merged rate, and so the others, a little
    assert max(abs(u.offset.value) for u in merged.exposures if u is not use) < 0.5


def test_lights_that_are_known_are_divided_out():
    sensor = sensor_of()
    rate = spot(sensor.shape, peak=1e6, radius=10)
    dimmer = dict.fromkeys(LADDER, 1.0) | {LADDER[0]: 0.9}
    bracket = bracket_of(sensor, rate, light=lambda n: dimmer[LADDER[n % 6]])
    darks, noise = darks_of(sensor), noise_of(sensor)
    lights = {time: exactly(light) for time, light in dimmer.items()}
    merged = merge(bracket, darks, noise, lights=lights)
    pull = (merged.rate - rate) / np.sqrt(merged.variance)
    assert abs(pull.mean()) < 0.03
    assert max(merged.chi_square.values()) < 1.1
    assert max(merge(bracket, darks, noise).chi_square.values()) > 1.5


def test_a_mono_sensor_and_another_order_of_colours_are_merged_alike():
    sensor = sensor_of((96, 112))
    rate = np.full(sensor.shape, 500.0)
    for cfa in ("", "GBRG"):
        merged = merge(
            bracket_of(sensor, rate, LADDER[:3], cfa=cfa),
            darks_of(sensor, LADDER[:3], cfa=cfa),
            noise_of(sensor, cfa),
        )
        assert set(merged.chi_square) == set(planes(rate, cfa))
        assert ((merged.rate - rate) / np.sqrt(merged.variance)).std() == pytest.approx(1, abs=0.03)


def test_dynamic_range_grows_with_the_ladder():
    sensor = sensor_of()
    rate = spot(sensor.shape, peak=0.8 * sensor.top / LADDER[0], radius=6, wing=0)
    found = {}
    for count in (1, 6):
        ladder = LADDER[:count]
        merged = merge(bracket_of(sensor, rate, ladder), darks_of(sensor, ladder), noise_of(sensor))
        found[count] = decibels(merged.rate.max() / merged.rate[:40].std())
    # 6500 e- over 3 e-, eight frames and 32 darks: 75 dB; 243 times longer: 48 dB more at most
    assert found[1] == pytest.approx(75, abs=1)
    assert found[6] > 115


def small(**changes):
    sensor = sensor_of((32, 48), **changes)
    return sensor, np.full(sensor.shape, 100.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gain": 2.0}, "gain = 2, but 1"),
        ({"black_level": (240.0,) * 4}, r"black_level = \(240"),
        ({"origin": (2, 0)}, r"origin = \(2, 0\)"),
        ({"white_level": 1023.0}, "white_level"),
        ({"confirmed": False}, "did not confirm"),
    ],
)
def test_frames_that_do_not_belong_together_are_refused(change, message):
    sensor, _ = small()
    bracket = Bracket()
    if "confirmed" not in change:
        bracket.add(raw(sensor, sensor.frame(), 0.1))
    with pytest.raises(CalibrationError, match=message):
        bracket.add(raw(sensor, sensor.frame(), 0.1, **change))


def test_what_cannot_be_merged_is_refused():
    sensor, rate = small()
    noise, darks = noise_of(sensor), darks_of(sensor, count=2)
    bracket = bracket_of(sensor, rate, count=2)
    with pytest.raises(CalibrationError, match="two frames"):
        merge(Bracket(), darks, noise)
    with pytest.raises(CalibrationError, match=r"no dark of 0\.486 s"):
        merge(bracket, {t: d for t, d in darks.items() if t < 0.4}, noise)
    other = dict(darks)
    other[0.002] = replace(darks[0.002], conditions=DarkConditions.of(0.002, 4.0, 25.0))
    with pytest.raises(CalibrationError, match="a dark holds for its own settings"):
        merge(bracket, other, noise)
    with pytest.raises(CalibrationError, match="gain 8"):
        merge(bracket, darks, replace(noise, gain=8.0))
    with pytest.raises(CalibrationError, match="10 bits"):
        merge(bracket, darks, replace(noise, bits=10))
    with pytest.raises(CalibrationError, match="has planes mono"):
        merge(bracket, darks, noise_of(sensor, ""))
    cut = {t: replace(d, mean=d.mean[:, :40], hot=d.hot[:, :40]) for t, d in darks.items()}
    with pytest.raises(ValueError, match=r"\(32, 40\)"):
        merge(bracket, cut, noise)


def test_a_spot_that_clips_in_the_shortest_exposure_is_refused():
    sensor = sensor_of()
    rate = spot(sensor.shape, peak=1.2 * sensor.top / LADDER[0])
    with pytest.raises(CalibrationError, match=r"clipped, or nearly so, in the shortest.*dim"):
        merge(bracket_of(sensor, rate, count=2), darks_of(sensor, count=2), noise_of(sensor))


def test_a_black_level_that_cuts_noise_off_is_refused():
    sensor, rate = small(black_level=2.0)
    with pytest.raises(CalibrationError, match="cuts it off at zero"):
        merge(bracket_of(sensor, rate, count=2), darks_of(sensor, count=2), noise_of(sensor))


def test_decibels_of_nothing():
    assert decibels(10.0) == pytest.approx(20)
    assert decibels(0.0) == -np.inf


def test_the_core_of_a_spot_that_clips_in_all_exposures_is_not_measured():
    sensor = sensor_of()
    rate = spot(sensor.shape, peak=0.5 * sensor.top / LADDER[0])
    core = tuple(n // 2 for n in sensor.shape)
    rate[core] = 3 * sensor.top / LADDER[0]
    merged = merge(bracket_of(sensor, rate), darks_of(sensor), noise_of(sensor))
    assert not merged.valid[core]
    assert merged.valid.mean() > 0.98
    assert any("brightest" in note and "take shorter" in note for note in merged.warnings)
