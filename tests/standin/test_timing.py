"""When a setting takes effect, and what the metadata say about it."""

import time

import numpy as np
import pytest

from tests import standin
from tests.standin.sensors import quantised
from tests.standin.sessions import FULL, SMALL, board, configured, electrons, taken

pytestmark = standin.marks

FLUX = 50e3  # [e-/s]


def picamera():
    from picamera2 import Picamera2

    return Picamera2()


def mean_charge(values, metadata, **options):
    return electrons(values, metadata, **options).mean()


def test_a_new_exposure_is_confirmed_in_the_fifth_frame():
    """Two buffers: one frame in flight, one more to carry the control, then two of delay."""
    with standin.plugged(board(lambda state: FLUX, speed=1.0)), picamera() as camera:
        granted = configured(camera, exposure=4000, frame=60000, buffer_count=2)
        camera.start()
        request = camera.capture_request()
        camera.set_controls({"ExposureTime": 10000})
        request.release()
        exposures = [taken(camera, granted)[1]["ExposureTime"] for _ in range(6)]
    assert exposures == [4000] * 4 + [10000] * 2


def test_every_frame_has_the_charge_of_the_exposure_and_gain_in_its_own_metadata():
    with standin.plugged(board(lambda state: FLUX)) as (plug,), picamera() as camera:
        granted = configured(camera, exposure=4000, frame=20000)
        camera.start()
        for exposure, gain in [(4000, 1.0), (12000, 2.0), (8000, 1.0)] * 4:
            camera.set_controls({"ExposureTime": exposure, "AnalogueGain": gain})
            values, metadata = taken(camera, granted)
            truth = next(r for r in plug.records if r.timestamp_ns == metadata["SensorTimestamp"])
            assert metadata["ExposureTime"] == pytest.approx(truth.exposure * 1e6, abs=1)
            assert metadata["AnalogueGain"] == truth.gain
            expected = FLUX * truth.exposure  # 49152 pixels: 0.3 % is many standard errors
            assert mean_charge(values, metadata) == pytest.approx(expected, rel=3e-3)
        assert len({r.exposure for r in plug.records}) == 3


def test_six_exposures_queued_frame_by_frame_arrive_within_fourteen_frames():
    wanted = [1000, 2000, 4000, 8000, 16000, 32000]
    found = {}
    with standin.plugged(board(lambda state: FLUX, speed=1.0)), picamera() as camera:
        granted = configured(camera, exposure=wanted[0], frame=50000, buffer_count=2)
        camera.start()
        for count in range(1, 15):
            if count <= len(wanted):
                camera.set_controls({"ExposureTime": wanted[count - 1]})
            values, metadata = taken(camera, granted)
            for exposure in wanted:
                if abs(metadata["ExposureTime"] - exposure) < 30:  # one line
                    found.setdefault(exposure, mean_charge(values, metadata))
            if len(found) == len(wanted):
                break
    assert sorted(found) == wanted
    for exposure, charge in found.items():
        assert charge == pytest.approx(FLUX * exposure * 1e-6, rel=0.03, abs=1)


def test_a_longer_exposure_is_cut_once_where_the_frame_length_lands_later():
    """IMX477: exposure after 2 frames, frame length after 3."""
    with standin.plugged(board(lambda state: FLUX)) as (plug,), picamera() as camera:
        granted = configured(camera, exposure=4000, frame=20000)
        camera.start()
        taken(camera, granted)
        camera.set_controls({"ExposureTime": 40000, "FrameDurationLimits": (50000, 50000)})
        frames = [taken(camera, granted) for _ in range(10)]
    exposures = [round(record.exposure * 1e6) for record in plug.records]
    cut = [e for e in exposures if e not in (4000, 40000)]
    longest = 20000 - 22 * FULL.line_time * 1e6  # [us]
    assert len(cut) == 1
    assert cut[0] == pytest.approx(longest, abs=30)
    assert exposures == sorted(exposures)
    for values, metadata in frames:
        expected = FLUX * metadata["ExposureTime"] * 1e-6
        assert mean_charge(values, metadata) == pytest.approx(expected, rel=3e-3)


def test_exposure_yields_to_the_frame_duration():
    registers = quantised(SMALL, FULL, 30e-3, 1.0, (0, 20e-3))
    assert registers.lines == registers.frame - 22
    with standin.plugged(board(lambda state: FLUX)), picamera() as camera:
        granted = configured(camera, exposure=30000, frame=20000)
        camera.start()
        _, metadata = taken(camera, granted)
    assert metadata["FrameDuration"] == pytest.approx(20000, abs=29)
    assert metadata["ExposureTime"] == pytest.approx(20000 - 22 * FULL.line_time * 1e6, abs=30)


def test_settings_of_the_configuration_hold_from_the_first_frame():
    with standin.plugged(board(lambda state: FLUX)), picamera() as camera:
        granted = configured(camera, exposure=7000, gain=4.0)
        camera.start()
        _, metadata = taken(camera, granted)
    assert metadata["ExposureTime"] == 7000
    assert metadata["AnalogueGain"] == 4.0


def test_flush_returns_a_frame_begun_after_the_call_and_no_flush_an_older_one():
    level = [1e4]
    with standin.plugged(board(lambda state: level[0], speed=1.0)), picamera() as camera:
        granted = configured(camera, exposure=60000, frame=70000, queue=True)
        camera.start()
        taken(camera, granted)
        time.sleep(0.2)  # a frame is waiting
        level[0] = 4e4
        old, metadata = taken(camera, granted)
        assert mean_charge(old, metadata) == pytest.approx(600, rel=0.01)
        level[0] = 2e4
        asked_ns = time.monotonic_ns()
        new, metadata = taken(camera, granted, flush=True)
    assert mean_charge(new, metadata) == pytest.approx(1200, rel=0.01)
    assert metadata["SensorTimestamp"] - 1000 * metadata["ExposureTime"] >= asked_ns


def test_the_scene_is_asked_when_the_shutter_opens():
    late = []

    def scene(state):
        late.append(time.monotonic_ns() - state.shutter_ns)
        return FLUX

    with standin.plugged(board(scene, speed=1.0)), picamera() as camera:
        granted = configured(camera, exposure=50000, frame=60000)
        camera.start()
        for _ in range(3):
            taken(camera, granted)
    assert 0 <= min(late) < 20e6  # [ns], well before the end of the exposure


def test_timestamps_are_never_closer_than_the_frame_duration_over_the_speed():
    with standin.plugged(board(lambda state: FLUX, speed=2.0)), picamera() as camera:
        granted = configured(camera, exposure=4000, frame=20000)
        camera.start()
        metadata = [taken(camera, granted)[1] for _ in range(8)]
    steps = np.diff([m["SensorTimestamp"] for m in metadata]) * 2.0 * 1e-3  # [us]
    assert metadata[0]["FrameDuration"] == 20000
    assert steps.min() > 20000 - 5
    wall = [m["FrameWallClock"] for m in metadata]
    assert abs(wall[-1] - time.time_ns()) < 60e9


@pytest.mark.parametrize(
    ("asked", "code"), [(1.0, 0), (2.0, 512), (3.0, 683), (22.3, 978), (100.0, 978)]
)
def test_gain_of_the_imx477_is_a_fraction_of_1024(asked, code):
    registers = quantised(SMALL, FULL, 1e-3, asked, (0, 1))
    assert registers.code == code
    assert SMALL.gain_of(code) == pytest.approx(1024 / (1024 - code))


def test_gain_of_the_imx296_steps_by_a_tenth_of_a_decibel():
    sensor = standin.IMX296
    registers = quantised(sensor, sensor.modes[0], 1e-3, 4.0, (0, 1))
    assert 20 * np.log10(sensor.gain_of(registers.code)) == pytest.approx(12.0)


@pytest.mark.parametrize("sensor", [standin.IMX477, standin.IMX296], ids=lambda s: s.model)
def test_exposures_are_cut_to_whole_lines(sensor):
    for mode in sensor.modes:
        exact = sensor.exposure(mode, 1234)
        for asked in (exact, exact + 0.99 * mode.line_time):
            assert quantised(sensor, mode, asked, 1.0, (0, 1e3)).lines == 1234
        assert quantised(sensor, mode, exact - 1e-8, 1.0, (0, 1e3)).lines == 1233
        assert quantised(sensor, mode, 0.0, 1.0, (0, 1e3)).lines == sensor.min_lines


def test_long_exposures_double_the_line_step():
    mode = standin.IMX477.modes[-1]
    registers = quantised(standin.IMX477, mode, 100.0, 1.0, (0, 1e3))
    assert registers.frame > 65500
    step = 2**6  # 3.5 M lines in a register of 65500
    assert registers.lines % step == 0
    assert standin.IMX477.exposure(mode, registers.lines) == pytest.approx(
        100.0, abs=step * mode.line_time
    )


def test_global_shutter_has_an_offset_of_its_exposure():
    sensor = standin.small(standin.IMX296_MONO, 8)
    mode = sensor.modes[0]
    plugged = standin.plugged(board(lambda state: FLUX, sensor=sensor))
    with plugged as (plug,), picamera() as camera:
        granted = configured(camera, exposure=5000, raw="R10", mode=mode)
        camera.start()
        values, metadata = taken(camera, granted)
        truth = plug.records[0].exposure
    assert (truth - 14.26e-6) / mode.line_time == pytest.approx(
        round((truth - 14.26e-6) / mode.line_time)
    )
    assert metadata["ExposureTime"] == int(truth * 1e6)
    charge = mean_charge(values, metadata, bits=10, sensor=sensor)
    assert charge == pytest.approx(FLUX * truth, rel=0.01)
