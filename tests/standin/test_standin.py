"""Opening, closing, and what can go wrong in between, as picamera2 sees it."""

import gc
import os
import threading
from concurrent.futures import TimeoutError as JobTimeout

import numpy as np
import pytest

from tests import standin
from tests.standin.buffers import Request
from tests.standin.controls import CONTROLS
from tests.standin.sessions import (
    FULL,
    HEIGHT,
    SMALL,
    WIDTH,
    board,
    configured,
    decoded,
    electrons,
    taken,
)

pytestmark = standin.marks

FLUX = 50e3  # [e-/s]


def picamera(number=0):
    from picamera2 import Picamera2

    return Picamera2(number)


def open_files():
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def test_the_sensor_is_described_as_libcamera_does():
    with standin.plugged(standin.Board()), picamera() as camera:
        assert camera.camera_properties["Model"] == "imx477"
        assert camera.camera_properties["UnitCellSize"] == (1550, 1550)
        assert camera.sensor_resolution == (4056, 3040)
        assert not camera.is_mono
        modes = {(m["size"], m["bit_depth"]): m for m in camera.sensor_modes}
    assert set(modes) == {
        ((1332, 990), 10),
        ((2028, 1080), 12),
        ((2028, 1520), 12),
        ((4056, 3040), 12),
    }
    full = modes[(4056, 3040), 12]
    assert full["fps"] == pytest.approx(10.0, abs=0.01)
    assert full["exposure_limits"][0] == 114
    assert modes[(1332, 990), 10]["crop_limits"] == (696, 528, 2664, 1980)
    assert modes[(1332, 990), 10]["fps"] == pytest.approx(120.05, abs=0.01)


def test_cable_out_times_out_and_the_camera_can_be_closed_and_opened_again():
    with standin.plugged(board(lambda state: FLUX)) as (plug,):
        with picamera() as camera:
            granted = configured(camera, exposure=4000)
            camera.start()
            taken(camera, granted)
            plug.faults.cable_out = True
            for _ in range(6):  # one frame per buffer may be on its way
                job = camera.capture_request(wait=False)
                try:
                    camera.wait(job, timeout=0.3).release()
                except JobTimeout:
                    break
            else:
                pytest.fail("frames still arrive")
            camera.cancel_all_and_flush()
        plug.faults.cable_out = False
        with picamera() as camera:
            granted = configured(camera, exposure=4000)
            camera.start()
            taken(camera, granted)


def test_a_camera_that_is_open_or_held_elsewhere_is_refused():
    with standin.plugged(board(lambda state: FLUX)) as (plug,):
        with picamera():
            with pytest.raises(RuntimeError, match="did not complete") as refused:
                picamera()
            assert "busy" in str(refused.value.__cause__)
        plug.faults.held_elsewhere = True
        with pytest.raises(RuntimeError, match="did not complete"):
            picamera()
        plug.faults.held_elsewhere = False
        picamera().close()


def test_no_camera_plugged_in_is_told():
    with standin.plugged(), pytest.raises(RuntimeError, match="No camera number 0 found"):
        picamera()


def test_two_cameras_take_frames_of_their_own_scenes():
    boards = board(lambda state: 2e4), board(lambda state: 6e4)
    with standin.plugged(*boards), picamera(0) as first, picamera(1) as second:
        charges = []
        for camera in (first, second):
            granted = configured(camera, exposure=10000)
            camera.start()
            charges.append(electrons(*taken(camera, granted)).mean())
    # Cameras are listed by identifier, last first.
    assert charges == pytest.approx([600, 200], rel=0.01)


def test_the_same_camera_opens_again_and_again():
    with standin.plugged(board(lambda state: FLUX)):
        for exposure in (2000, 4000, 6000):
            with picamera() as camera:
                granted = configured(camera, exposure=exposure)
                camera.start()
                assert taken(camera, granted)[1]["ExposureTime"] == pytest.approx(exposure, abs=28)


def test_twenty_openings_leave_no_thread_and_no_file_open():
    with standin.plugged(board(lambda state: FLUX)):
        counts = []
        for opening in range(21):
            with picamera() as camera:
                granted = configured(camera, exposure=2000, buffer_count=2)
                camera.start()
                taken(camera, granted)
            if opening in (0, 20):
                gc.collect()  # picamera2 leaves its two selectors to the collector
            counts.append((open_files(), threading.active_count()))
    assert counts[-1] == counts[0], counts


def test_modes_switch_for_one_frame_and_back():
    with standin.plugged(board(lambda state: FLUX)), picamera() as camera:
        binned = SMALL.modes[2]
        configured(camera, exposure=4000, mode=binned)
        camera.start()
        still = camera.create_still_configuration(
            main={"size": (64, 48)},
            raw={"format": "SRGGB12", "size": FULL.size},
            sensor={"output_size": FULL.size, "bit_depth": 12},
        )
        rows = camera.switch_mode_and_capture_array(still, "raw")
        assert rows.shape == (HEIGHT, 2 * WIDTH)
        assert camera.camera_configuration()["raw"]["size"] == binned.size
        assert camera.capture_array("raw").shape[0] == binned.size[1]


def test_start_up_frames_never_reach_the_application():
    with standin.plugged(board(lambda state: FLUX, startup_frames=3)) as (plug,):
        with picamera() as camera:
            granted = configured(camera, exposure=4000)
            camera.start()
            values, _ = taken(camera, granted)
        assert plug.records[0].number == 3
    assert values.min() > 256


def test_lost_frames_leave_a_gap_of_their_durations():
    with standin.plugged(board(lambda state: FLUX)) as (plug,), picamera() as camera:
        granted = configured(camera, exposure=4000, frame=20000)
        camera.start()
        taken(camera, granted)
        plug.faults.drop(5)
        for _ in range(5):
            taken(camera, granted)
        numbers = np.array([record.number for record in plug.records])
        times = np.array([record.timestamp_ns for record in plug.records])
    gap = np.argmax(np.diff(numbers))
    assert np.diff(numbers)[gap] == 6
    assert np.diff(times)[gap] > 5.9 * 20e6 / 20  # [ns], at speed 20


def frames_with(how):
    """Return (values, metadata) of all frames of a session in which two are spoiled."""
    frames, here = [], threading.Event()

    def keep(request):
        rows = request.make_array("raw")
        frames.append((decoded(rows, request.config["raw"]), request.get_metadata()))
        here.set()

    brighter = board(lambda state: 2e3 * (state.number + 10))  # by 20 e- from frame to frame
    with standin.plugged(brighter) as (plug,), picamera() as camera:
        configured(camera, exposure=10000, frame=20000)
        camera.post_callback = keep
        camera.start()
        assert here.wait(5)
        plug.faults.spoil_next(how, 2)
        soon = len(frames) + 6
        while len(frames) < soon:
            here.clear()
            assert here.wait(5)
        camera.stop()
    return frames


def test_zero_frames_come_on_demand():
    assert sum(not values.any() for values, _ in frames_with("zero")) == 2


def test_a_spoiled_timestamp_is_that_of_the_frame_before():
    steps = np.diff([metadata["SensorTimestamp"] for _, metadata in frames_with("repeat")])
    assert (steps == 0).sum() == 2
    assert (steps >= 0).all()


def test_a_short_frame_keeps_what_was_in_the_lower_half_of_its_buffer():
    half = HEIGHT // 2
    steps = [values[:half].mean() - values[half:].mean() for values, _ in frames_with("short")]
    assert sum(step > 5 for step in steps) == 2  # one frame later is 9 DN brighter
    assert sum(abs(step) < 1 for step in steps) == len(steps) - 2


def test_a_monochrome_sensor_has_no_colour_controls_or_metadata():
    sensor = standin.small(standin.IMX296_MONO, 8)
    with standin.plugged(board(lambda state: FLUX, sensor=sensor)), picamera() as camera:
        assert camera.is_mono
        granted = configured(camera, exposure=4000, raw="R10", mode=sensor.modes[0])
        assert granted["format"] == "R10"
        with pytest.raises(RuntimeError, match="AwbEnable is not advertised"):
            camera.set_controls({"AwbEnable": False})
        camera.start()
        values, metadata = taken(camera, granted)
    assert "ColourGains" not in metadata
    assert metadata["SensorBlackLevels"] == (3840,) * 4
    assert electrons(values, metadata, 10, sensor).mean() == pytest.approx(200, rel=0.02)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ExposureTime", 4000.5),
        ("FrameDurationLimits", np.array([1, 2])),
        ("ColourGains", (1.0, None)),
    ],
)
def test_a_control_of_the_wrong_type_is_refused_as_by_the_bindings(name, value):
    with pytest.raises(RuntimeError, match="Unable to cast"):
        Request(0).set_control(getattr(CONTROLS, name), value)
    with standin.plugged(board(lambda state: FLUX)), picamera() as camera:
        configured(camera, exposure=4000)
        camera.set_controls({name: value})
        with pytest.raises(RuntimeError, match="Unable to cast"):
            camera.start()


def test_an_error_of_the_scene_is_raised_when_the_board_is_unplugged():
    def scene(state):
        raise ZeroDivisionError("of the scene")

    with (  # noqa: PT012
        pytest.raises(ZeroDivisionError),
        standin.plugged(board(scene)),
        picamera() as camera,
    ):
        configured(camera, exposure=4000)
        camera.start()
        with pytest.raises(JobTimeout):
            camera.wait(camera.capture_request(wait=False), timeout=0.3)
        camera.cancel_all_and_flush()


def test_what_a_test_left_open_is_closed():
    with standin.plugged(board(lambda state: FLUX)) as (plug,):
        camera = picamera()
        configured(camera, exposure=4000)
        camera.start()
    assert not camera.is_open
    assert not [t for t in threading.enumerate() if plug.id in t.name]
