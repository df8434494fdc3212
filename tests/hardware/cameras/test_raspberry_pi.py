"""Cameras of the Raspberry Pi: unmodified picamera2 on a stand-in for libcamera and the sensor."""

import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

from hardware.cameras import CaptureSettings, RaspberryBoard, RaspberryPiCamera, raspberry_pi
from hardware.errors import (
    DeviceBusy,
    DeviceNotFound,
    DeviceTimeout,
    FrameError,
    HardwareError,
    LossyFormatError,
)
from hardware.frames import Roi
from tests import standin
from tests.hardware.cameras.processes import open_files

pytestmark = standin.marks
SMALL = standin.small(standin.IMX477)
SIX = [0.001, 0.002, 0.004, 0.006, 0.009, 0.013]  # [s]


@contextmanager
def opened(sensor=SMALL, pipeline=standin.VC4, settings=None, scene=1e5, board=None, **options):
    """Yield our camera, configured, and the stand-in's that it runs on."""
    plug = {"speed": options.pop("speed", 3.0), "rotation": options.pop("rotation", 0)}
    light = scene if callable(scene) else lambda state: scene
    standing = standin.Board(sensor, pipeline, scene=light, **plug)
    board = board or RaspberryBoard()
    with (
        standin.plugged(standing) as (device,),
        RaspberryPiCamera(board=board, **options) as camera,
    ):
        camera.configure(settings or CaptureSettings(max_exposure=0.013))
        yield camera, device


# Formats


@pytest.mark.parametrize(
    ("sensor", "pipeline", "name", "stride", "mode"),
    [
        (standin.IMX477, standin.VC4, "SRGGB12", 8128, "4056x3040-12"),
        (standin.IMX477, standin.PISP, "SRGGB16", 8128, "4056x3040-12"),
        (standin.IMX477, standin.VC4, "SRGGB10", 2688, "1332x990-10"),
        (standin.IMX477, standin.PISP, "SRGGB16", 2688, "1332x990-10"),
        (standin.IMX296, standin.VC4, "SRGGB10", 2912, "1456x1088-10"),
        (standin.IMX296_MONO, standin.VC4, "R10", 2912, "1456x1088-10"),
        (standin.IMX296_MONO, standin.PISP, "R16", 2944, "1456x1088-10"),
    ],
)
def test_unpacked_values_are_asked_for_and_what_is_granted_is_read_back(
    sensor, pipeline, name, stride, mode
):
    settings = CaptureSettings(mode=mode, max_exposure=0.01)
    with opened(sensor, pipeline, settings, buffers=2) as (camera, _):
        assert (camera.granted.format, camera.granted.stride) == (name, stride)
        assert camera.granted.mode.bits == int(mode[-2:])
        assert camera.granted.mode.cfa == ("" if name[0] == "R" else "RGGB")


@pytest.mark.slow
@pytest.mark.parametrize("pipeline", [standin.VC4, standin.PISP], ids=lambda p: p.name)
@pytest.mark.parametrize(
    ("sensor", "mode"),
    [
        (standin.IMX477, "4056x3040-12"),
        (standin.IMX477, "1332x990-10"),
        (standin.IMX296_MONO, "1456x1088-10"),
    ],
)
def test_a_full_frame_of_each_format_shows_its_pixels_where_they_are(sensor, mode, pipeline):
    """A dark scene with one bright block of 2 x 2 pixels of each sensor pixel the mode reads."""
    rate = np.zeros(sensor.size[::-1], np.float32)
    rate[1200 % sensor.size[1] // 4 * 4 :, :][:4, 800:804] = 1e6
    settings = CaptureSettings(mode=mode, max_exposure=0.01)
    with opened(sensor, pipeline, settings, scene=lambda state: rate, buffers=2) as (camera, _):
        taken = camera.capture(0.005)
        chosen = next(m for m in sensor.modes if f"{m.size[0]}x{m.size[1]}-{m.bits}" == mode)
    assert taken.shape == chosen.size[::-1]
    rows, columns = np.nonzero(taken.mosaic > 0.5 * taken.white_level)
    first = (1200 % sensor.size[1] // 4 * 4 - chosen.crop[1]) // chosen.binning
    size = 4 // chosen.binning
    assert (rows.min(), rows.max()) == (first, first + size - 1)
    left = (800 - chosen.crop[0]) // chosen.binning
    assert (columns.min(), columns.max()) == (left, left + size - 1)
    black = sensor.black / 2 ** (16 - chosen.bits)
    assert taken.black_level == (black,) * 4
    # Read noise is about a DN and a half: the median of the dark is the black level.
    assert np.median(taken.mosaic) == pytest.approx(black, abs=0.5)


@pytest.mark.parametrize("pipeline", [standin.VC4, standin.PISP], ids=lambda p: p.name)
def test_colours_come_from_the_granted_format_of_a_board_mounted_upside_down(pipeline):
    with opened(pipeline=pipeline, rotation=180) as (camera, _):
        assert camera.granted.mode.cfa == camera.capture(0.005).cfa == "BGGR"
        assert camera.modes[0].cfa == "RGGB"


@pytest.mark.parametrize(
    ("cfa", "expected"),
    [
        ("RGGB", (256, 257, 258, 259)),
        ("BGGR", (259, 258, 257, 256)),
        ("GRBG", (257, 256, 259, 258)),
        ("GBRG", (258, 259, 256, 257)),
        ("", (256, 256, 256, 256)),
    ],
)
def test_black_levels_go_to_the_places_of_their_colours(cfa, expected):
    told = {"SensorBlackLevels": (4096, 4112, 4128, 4144)}  # of R, G beside R, G beside B, B
    assert raspberry_pi.black_level(told, cfa, 12, Roi(0, 0, 4, 4)) == expected
    shifted = raspberry_pi.black_level(told, cfa, 12, Roi(1, 1, 4, 4))
    assert shifted == expected[::-1]


def test_a_mono_sensor_is_not_asked_for_colours():
    sensor = standin.small(standin.IMX296_MONO, 8)
    with opened(sensor) as (camera, _):
        taken = camera.capture(0.005, 4.0)
    assert (taken.cfa, taken.bits, taken.black_level) == ("", 10, (60.0,) * 4)
    assert taken.gain == pytest.approx(4.0, rel=0.01)  # steps of 0.1 dB
    assert "colour_gains" not in taken.metadata


def test_a_lossy_format_is_refused():
    with opened(pipeline=standin.PISP) as (camera, _):
        camera._unpacked[camera.granted.mode.name] = "SRGGB12_CSI2P"  # what we never ask for
        with pytest.raises(LossyFormatError, match="RGGB_PISP_COMP1 is compressed with losses"):
            camera.configure(CaptureSettings(max_exposure=0.01))
        with pytest.raises(HardwareError):
            camera.capture(0.005)


@pytest.mark.parametrize("wrong", [{"stride": 500}, {"framesize": 512 * 191}])
def test_rows_or_frames_too_short_for_the_pixels_are_refused(monkeypatch, wrong):
    with opened() as (camera, _):
        granted = camera._camera.camera_configuration()
        changed = granted | {"raw": granted["raw"] | wrong}
        monkeypatch.setattr(camera._camera, "camera_configuration", lambda: changed)
        with pytest.raises(FrameError, match=r"stride = 500|buffer has 97792"):
            camera.configure(CaptureSettings(max_exposure=0.01))


# Settings


def test_nothing_is_left_to_the_camera(monkeypatch):
    sent, slow = {}, CaptureSettings(max_exposure=0.04)
    with opened(settings=slow) as (camera, _):
        picam = camera._camera
        real = picam.set_controls
        monkeypatch.setattr(picam, "set_controls", lambda some: (sent.update(some), real(some)))
        told = camera.capture(0.005).metadata
    assert (sent["AeEnable"], sent["AwbEnable"], sent["NoiseReductionMode"]) == (False, False, 0)
    assert told["colour_gains"] == [1.0, 1.0]
    assert told["ae_state"] == 0
    assert told["frame_duration"] == pytest.approx(camera.granted.frame_duration * 1e6, rel=0.01)


def test_what_is_kept_of_a_frame():
    with opened() as (camera, _):
        taken = camera.capture(0.005)
    kept = (
        "sensor_timestamp frame_wall_clock exposure_time analogue_gain digital_gain frame_duration "
        "sensor_black_levels colour_gains colour_temperature lux sensor_temperature scaler_crop "
        "ae_state model format defect_correction frames_lost"
    )
    assert set(kept.split()) <= taken.metadata.keys()
    assert taken.metadata["sensor_timestamp"] == taken.timestamp
    assert camera.status()["temperature"] == taken.metadata["sensor_temperature"]


@pytest.mark.parametrize(("buffers", "most"), [(2, 11), (3, 12), (4, 13)])
def test_a_bracket_of_six_needs_six_frames_and_the_delay(buffers, most):
    """The delay: requests queued before, and 3 frames of the sensor (14 allow for a late one)."""
    with opened(buffers=buffers, speed=1.0) as (camera, device):
        camera.capture(0.003)
        before = device.records[-1].number
        taken = list(camera.bracket(SIX))
        used = device.records[-1].number - before
    assert [frame.asked_exposure for frame in taken] == SIX
    assert used <= most + 1  # one may begin before the call and end after it


def test_the_exposures_told_are_the_true_ones():
    with opened() as (camera, device):
        taken = list(camera.bracket(SIX, repeats=2))
        true = {record.timestamp_ns: record for record in device.records}
    for frame in taken:
        assert frame.exposure == pytest.approx(true[frame.timestamp].exposure, abs=1e-6)
        assert frame.gain == true[frame.timestamp].gain


@pytest.mark.parametrize("limit", [0.05, pytest.param(1.0, marks=pytest.mark.slow)])
def test_a_long_exposure_begins_with_the_sensor_and_wastes_no_frame(monkeypatch, limit):
    monkeypatch.setattr(raspberry_pi, "_LONG", limit)
    long = [1.2 * limit, 1.5 * limit]
    settings = CaptureSettings(max_exposure=2 * limit)
    with opened(settings=settings, speed=1.0) as (camera, device):
        camera.capture(0.004)
        assert device.records[-1].frame_duration < limit  # the quick ones do not wait for it
        taken = [*camera.bracket(long, repeats=2), camera.capture(long[1], 2.0)]
        numbers = {record.timestamp_ns: record.number for record in device.records}
        quick = camera.capture(0.005)
    assert [frame.exposure for frame in taken] == pytest.approx(
        [long[0], long[0], long[1], long[1], long[1]], rel=0.001
    )
    # Frames are counted from each start; the first one is marked as not to be used.
    assert [numbers[frame.timestamp] for frame in taken] == [1, 2, 1, 2, 1]
    assert quick.metadata["frame_duration"] < limit * 1e6


def test_exposures_of_another_mode_are_in_its_own_steps():
    with opened() as (camera, _):
        for mode in camera.modes:
            camera.configure(CaptureSettings(mode=mode.name, max_exposure=0.004))
            taken = camera.capture(0.001)
            assert taken.shape == mode.shape
            assert abs(taken.exposure - 0.001) <= camera.granted.exposure_step


# Faults


@contextmanager
def at_frame(exposure, what, **options):
    """Yield a camera to whose first frame of `exposure` [s] or more `what(faults)` is done."""
    done = []

    def light(state):
        if state.exposure > exposure - 1e-4 and not done:
            done.append(state.number)
            what(device.faults)
        return 1e5

    with opened(scene=light, **options) as (camera, device):
        yield camera


def test_lost_frames_are_counted_where_they_are_missing():
    # Frames of 80 ms: a thread that comes late by a few is still within its own frame.
    slow = CaptureSettings(max_exposure=0.08)
    with at_frame(0.006, lambda faults: faults.drop(3), settings=slow, speed=1.0) as camera:
        taken = list(camera.bracket(SIX))
    assert sorted(frame.asked_exposure for frame in taken) == SIX
    lost = [frame.metadata["frames_lost"] for frame in taken]
    assert lost.count(3) == 1
    assert sum(lost) == 3


@pytest.mark.parametrize("how", ["zero", "repeat", "short"])
def test_a_spoiled_frame_is_rejected_and_taken_again(how):
    with at_frame(0.006, lambda faults: faults.spoil_next(how)) as camera:
        taken = list(camera.bracket(SIX))
    assert sorted(frame.asked_exposure for frame in taken) == SIX
    assert camera.counts.rejected == 1
    for frame in taken:
        # Photon noise of a mean over 49152 pixels is far below a per cent.
        mean = 256 + 0.47 * 1e5 * frame.exposure
        assert frame.mosaic.mean() == pytest.approx(mean, rel=0.01)


def test_frames_that_go_on_being_spoiled_are_an_error_and_then_it_goes_on():
    with opened() as (camera, device):
        camera.capture(0.003)
        for _ in range(60):
            device.faults.spoil_next("zero")
        with pytest.raises(FrameError, match="all values are 0"):
            camera.capture(0.003)
        device.faults._spoiled.clear()
        assert camera.capture(0.003).confirmed


def test_a_cable_that_falls_out_ends_in_a_timeout_and_the_camera_can_be_closed():
    with opened(patience=0.3) as (camera, device):
        frames = camera.bracket(SIX)
        next(frames)
        device.faults.cable_out = True
        begun = time.monotonic()
        with pytest.raises(DeviceTimeout, match=r"imx477: no answer within 0\.\d+ s.*ribbon"):
            list(frames)
        # Two waits of 0.37 s, and opening again, where every mode is looked up.
        assert time.monotonic() - begun < 8
        assert camera.counts.reopened == 1
        begun = time.monotonic()
        camera.close()
        assert time.monotonic() - begun < 3
        assert not any("standin" in thread.name for thread in threading.enumerate())
        device.faults.cable_out = False
        with RaspberryPiCamera() as again:
            assert again.capture(0.003).confirmed


def test_a_camera_that_falls_silent_is_opened_again_and_goes_on(monkeypatch):
    part = CaptureSettings(roi=Roi(2, 4, 60, 80))
    with opened(patience=0.3, retakes=0, settings=part) as (camera, device):

        def plug_in(index, board):
            device.faults.cable_out = False
            return opening(index, board)

        opening = raspberry_pi.open_camera
        monkeypatch.setattr(raspberry_pi, "open_camera", plug_in)
        device.faults.cable_out = True
        taken = list(camera.bracket(SIX))
    assert len(taken) == 6
    assert taken[0].shape == (60, 80)
    assert camera.counts.reopened == 1


def test_closing_from_another_thread_ends_a_capture_that_waits():
    with opened(patience=60.0) as (camera, device):
        camera.capture(0.003)
        device.faults.cable_out = True
        closing = threading.Timer(0.3, camera.close)
        closing.start()
        begun = time.monotonic()
        with pytest.raises(HardwareError, match="closed"):
            camera.capture(0.003)
        assert time.monotonic() - begun < 10
        closing.join()


def test_a_request_is_released_whatever_happens_to_it(monkeypatch):
    def broken(request, camera):
        raise OSError("no memory")

    with opened() as (camera, _):
        for _ in range(2 * camera.buffers):
            with monkeypatch.context() as patch:
                patch.setattr(raspberry_pi, "raw_bytes", broken)
                with pytest.raises(OSError, match="no memory"):
                    camera.capture(0.003)
        assert camera.capture(0.003).confirmed


def test_a_bracket_that_another_capture_overtook_says_so():
    with opened() as (camera, _):
        first = camera.bracket(SIX)
        next(first)
        camera.capture(0.003)
        with pytest.raises(HardwareError, match="another capture began"):
            list(first)


# Opening


def test_a_camera_that_another_program_holds_is_busy():
    with standin.plugged(standin.Board(SMALL)) as (device,):
        device.faults.held_elsewhere = True
        begun = time.monotonic()
        with pytest.raises(DeviceBusy, match="camera 0 is in use by"):
            RaspberryPiCamera()
        assert time.monotonic() - begun < 3


def test_asking_for_a_busy_camera_again_and_again_leaves_nothing_open():
    with standin.plugged(standin.Board(SMALL)) as (device,):
        device.faults.held_elsewhere = True
        before = open_files()
        for _ in range(5):
            with pytest.raises(DeviceBusy):
                RaspberryPiCamera()
        assert open_files() == before


def test_two_owners_in_one_program_are_one_too_many():
    with opened() as (camera, _):
        with pytest.raises(DeviceBusy):
            RaspberryPiCamera()
        assert camera.capture(0.003).confirmed


def test_a_camera_that_is_not_there_is_named_with_those_that_are():
    with (
        standin.plugged(standin.Board(SMALL)),
        pytest.raises(DeviceNotFound, match="no camera 1; found: imx477; check its ribbon cable"),
    ):
        RaspberryPiCamera(index=1)
    with standin.plugged(), pytest.raises(DeviceNotFound, match="no camera 0; found: none"):
        RaspberryPiCamera()


def test_a_closed_camera_says_so():
    with opened() as (camera, _):
        camera.close()
        with pytest.raises(HardwareError, match="the imx477 is closed; open it again"):
            camera.capture(0.003)


def test_without_picamera2_it_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(DeviceNotFound, match="apt install python3-picamera2"):
        RaspberryPiCamera()


def test_an_old_picamera2_is_refused(monkeypatch):
    standin.activate()
    monkeypatch.setattr("hardware.cameras.picamera.version", lambda: (0, 3, 24))
    with pytest.raises(DeviceNotFound, match=r"picamera2 0\.3\.24 is older than 0\.3\.25"):
        RaspberryPiCamera()


@pytest.mark.parametrize("buffers", [1, 0, 17])
def test_one_buffer_is_too_few(buffers):
    with pytest.raises(ValueError, match=f"buffers = {buffers}, expected 2 to 16"):
        RaspberryPiCamera(buffers=buffers)
