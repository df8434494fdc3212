"""What every camera owes its user, whichever it is."""

import itertools
import json
import time

import numpy as np
import pytest

from hardware.cameras import CaptureSettings
from hardware.frames import BAYER, Roi
from tests.hardware.cameras.conftest import FLUX, SHAPE

EXPOSURES = [0.001, 0.002, 0.004, 0.008]  # [s]


def test_modes_are_named_once_and_the_largest_comes_first(camera):
    sizes = [mode.shape[0] * mode.shape[1] for mode in camera.modes]
    assert sizes == sorted(sizes, reverse=True)
    assert len({mode.name for mode in camera.modes}) == len(camera.modes)
    assert camera.configure().mode.name == camera.modes[0].name


def test_modes_are_in_si_units(camera):
    for mode in camera.modes:
        assert 0.5e-6 < mode.pixel_pitch < 20e-6
        assert 1e-6 < mode.min_exposure < 1e-3 < 1 < mode.max_exposure < 1e4
        assert mode.max_gain >= 1
        assert 0.1 < mode.frame_rate < 1e4
        assert 0.5e-6 < camera.info.pixel_pitch <= mode.pixel_pitch


def test_all_of_the_frame_is_kept_unless_asked_otherwise(camera):
    granted = camera.configure(CaptureSettings(max_exposure=0.01))
    assert granted == camera.granted
    assert granted.roi == Roi(0, 0, *granted.mode.shape)
    assert granted.frame_duration >= 0.01


def test_a_frame_is_what_the_granted_settings_say(camera):
    taken, granted = camera.capture(0.005), camera.granted
    assert taken.shape == granted.mode.shape
    assert (taken.cfa, taken.bits) == (granted.mode.cfa, granted.mode.bits)
    assert taken.cfa in BAYER
    assert taken.white_level == 2**taken.bits - 1
    assert all(0 < level < 0.1 * taken.white_level for level in taken.black_level)


def test_exposure_and_gain_are_those_the_sensor_reports(camera):
    taken = camera.capture(0.005, 2.0)
    step = camera.granted.exposure_step
    assert taken.confirmed
    assert taken.exposure == pytest.approx(0.005, abs=max(step, 0.01 * 0.005))
    assert taken.gain == pytest.approx(2.0, rel=0.03)
    assert (taken.asked_exposure, taken.asked_gain) == (0.005, 2.0)


def test_what_was_reported_can_be_asked_for_again(camera):
    first = camera.capture(0.00777)
    camera.capture(0.004)  # so that the sensor really changes it back
    assert camera.capture(first.exposure).exposure == first.exposure


def test_a_bracket_holds_every_exposure_as_often_as_asked(camera):
    taken = list(camera.bracket(EXPOSURES, repeats=2))
    assert sorted(frame.asked_exposure for frame in taken) == sorted(EXPOSURES * 2)
    for frame in taken:
        assert frame.exposure == pytest.approx(frame.asked_exposure, rel=0.02)


def test_no_frame_is_taken_twice(camera):
    taken = [*camera.bracket(EXPOSURES), camera.capture(0.004), *camera.bracket([0.004, 0.008])]
    times = [frame.timestamp for frame in taken]
    assert all(later > earlier for earlier, later in itertools.pairwise(times))
    assert not any(np.array_equal(a.mosaic, b.mosaic) for a, b in itertools.combinations(taken, 2))


def test_a_frame_does_not_change_when_more_are_taken(camera):
    frames = camera.bracket(EXPOSURES)
    first = next(frames)
    before = first.mosaic.copy()
    for _ in frames:
        pass
    camera.capture(0.008)
    assert np.array_equal(first.mosaic, before)


def test_a_bracket_left_unfinished_does_not_block_the_next_capture(camera):
    for _ in range(5):  # more often than there are buffers
        left = camera.bracket(EXPOSURES, repeats=3)
        next(left)
        time.sleep(0.05)  # frames come meanwhile that nobody takes
        left.close()
    left = camera.bracket(EXPOSURES, repeats=3)
    next(left)
    assert camera.capture(0.004).asked_exposure == 0.004
    left.close()
    assert camera.capture(0.008).asked_exposure == 0.008
    assert camera.counts.reopened == 0


@pytest.mark.parametrize(("row", "column"), [(0, 0), (1, 0), (0, 1), (5, 7)])
def test_a_region_has_its_own_size_place_and_colours(camera, row, column):
    whole = camera.granted.mode
    camera.configure(CaptureSettings(roi=Roi(row, column, 40, 60), max_exposure=0.01))
    taken = camera.capture(0.005)
    assert taken.shape == (40, 60)
    assert taken.origin == (row, column)
    flat = np.reshape(list(whole.cfa), (2, 2))
    assert taken.cfa == "".join(np.roll(flat, (-(row % 2), -(column % 2)), (0, 1)).ravel())


def test_what_is_told_about_a_frame_can_be_written_down(camera):
    told = camera.capture(0.005).metadata
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert -40 < told["sensor_temperature"] < 125
    json.dumps(dict(camera.status()), allow_nan=False)


def test_frames_are_counted(camera):
    before = camera.counts.kept
    assert len(list(camera.bracket(EXPOSURES, repeats=2))) == camera.counts.kept - before


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (CaptureSettings(mode="1x1-1"), "mode = '1x1-1': the .* has "),
        (CaptureSettings(roi=Roi(0, 0, 10, 9999)), "roi = .* the frame has"),
        (CaptureSettings(max_exposure=1e6), r"max_exposure = 1e\+06 s is outside"),
        (CaptureSettings(max_exposure=float("nan")), "max_exposure = nan s is outside"),
    ],
)
def test_settings_that_cannot_be_are_refused_and_the_old_ones_stay(camera, settings, said):
    before = camera.granted
    with pytest.raises(ValueError, match=said):
        camera.configure(settings)
    assert camera.granted == before
    assert camera.capture(0.005).shape == before.mode.shape


@pytest.mark.parametrize(
    ("exposures", "options", "said"),
    [
        ([], {}, "0 exposures"),
        ([0.005], {"repeats": 0}, "repeats = 0"),
        ([1e-9], {}, "exposure = 1e-09 s is outside"),
        ([float("nan")], {}, "exposure = nan s is outside"),
        ([0.5], {}, "longer than the frame duration.*configure with max_exposure=0.5"),
        ([0.005], {"gain": 0.5}, "gain = 0.5, expected 1 to"),
        ([0.005], {"gain": 1000.0}, "gain = 1000, expected 1 to"),
        ([0.005], {"gain": float("nan")}, "gain = nan"),
        ([0.005, 0.005], {}, "tell them apart"),
        ([0.008, 0.005, 0.00801], {}, "exposures 0.008 s and 0.00801 s"),
    ],
)
def test_a_capture_that_cannot_be_is_refused_before_it_begins(camera, exposures, options, said):
    before = camera.counts.kept
    with pytest.raises(ValueError, match=said):
        camera.bracket(exposures, **options)
    assert camera.counts.kept == before


# With a light that a test controls


def test_the_signal_grows_with_the_exposure(live):
    camera, _ = live
    for frame in camera.bracket(EXPOSURES):
        charge = (frame.mosaic.mean() - frame.black_level[0]) / 0.47  # IMX477 [e-]
        # The mean of 49152 pixels has a shot noise below 0.03 %; the gain is 1.
        assert charge == pytest.approx(FLUX * frame.exposure, rel=0.003)


def test_the_signal_grows_with_the_gain(live):
    camera, _ = live
    for gain in (1.0, 4.0):
        frame = camera.capture(0.005, gain)
        charge = (frame.mosaic.mean() - frame.black_level[0]) / (0.47 * frame.gain)
        assert charge == pytest.approx(FLUX * frame.exposure, rel=0.003)


def test_a_frame_is_begun_after_the_call(live):
    """Light is switched, a frame taken: nothing of the light before is in it, six times over."""
    camera, light = live
    for number in range(6):
        on = number % 2
        light.rate = np.full(SHAPE, FLUX if on else 0.0)
        frame = camera.capture(0.005)
        charge = (frame.mosaic.mean() - frame.black_level[0]) / 0.47
        assert charge == pytest.approx(on * FLUX * frame.exposure, rel=0.003, abs=0.1)


def test_a_pixel_of_the_scene_is_the_same_pixel_of_the_frame(live):
    camera, light = live
    light.rate = np.zeros(SHAPE)
    light.rate[101, 42] = 1e6  # 5000 electrons
    frame = camera.capture(0.005)
    assert np.unravel_index(frame.mosaic.argmax(), frame.shape) == (101, 42)
    camera.configure(CaptureSettings(roi=Roi(97, 33, 21, 40), max_exposure=0.01))
    frame = camera.capture(0.005)
    assert np.unravel_index(frame.mosaic.argmax(), frame.shape) == (101 - 97, 42 - 33)
    assert (frame.mosaic > 1000).sum() == 1


def test_a_scene_that_saturates_everywhere_is_a_frame_too(live):
    camera, light = live
    light.rate = np.full(SHAPE, 1e9)
    # Full well of an IMX477 is 4100 DN with the black level: at gain 2 every pixel is white.
    assert camera.capture(0.005, 2.0).clipped == 1.0
