"""A recording behind the protocol of a camera delivers what was recorded, once."""

import numpy as np
import pytest

from hardware.cameras import CaptureSettings, ReplayCamera
from hardware.errors import HardwareError
from hardware.frames import Roi
from hardware.session import Session, run_session
from hardware.session.plans import flats
from tests.hardware.session.small import small_plan, small_rig


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replay") / "session"
    run_session(folder, small_plan(exposure_times=(2e-3, 8e-3), size=None), small_rig())
    return folder


def test_frames_come_in_the_order_of_recording_of_each_exposure(recorded):
    session, camera = Session.open(recorded), ReplayCamera(recorded)
    with camera:
        camera.configure(CaptureSettings(max_exposure=0.1))
        taken = {time: [camera.capture(time) for _ in range(8)] for time in (8e-3, 2e-3)}
    for time, frames in taken.items():
        for found, record in zip(frames, session.frames(exposure=time), strict=True):
            original = session.load(record)
            np.testing.assert_array_equal(found.mosaic, original.mosaic)
            assert found.exposure == original.exposure
            assert found.metadata["recorded_timestamp"] == original.timestamp
    times = [frame.timestamp for frames in taken.values() for frame in frames]
    assert times == sorted(set(times))


def test_the_camera_says_of_itself_what_was_recorded(recorded):
    rig = small_rig()
    granted = rig.camera.configure()
    with ReplayCamera(recorded) as camera:
        assert (camera.info.model, camera.info.serial) == ("simulated", "0")
        assert list(camera.modes) == list(rig.camera.modes)
        replayed = camera.configure()
    assert (replayed.mode, replayed.roi, replayed.format) == (
        granted.mode, granted.roi, granted.format,
    )  # fmt: skip


def test_a_part_of_the_recorded_region_is_cut_out(recorded):
    roi = Roi(11, 20, 30, 40)
    with ReplayCamera(recorded) as camera:
        camera.configure(CaptureSettings(roi=roi))
        frame = camera.capture(2e-3)
    whole = Session.open(recorded).load(1)
    np.testing.assert_array_equal(frame.mosaic, whole.mosaic[roi.slices])
    assert (frame.cfa, frame.origin) == ("GBRG", (11, 20))


def test_a_recording_that_ran_out_says_what_is_left(recorded):
    with ReplayCamera(recorded, step="psf-02") as camera:
        camera.configure()
        list(camera.bracket([2e-3], repeats=2))
        with pytest.raises(HardwareError, match=r"no further .* 0.002 s.*exposures left: 0.008 s"):
            camera.capture(2e-3)
        with pytest.raises(HardwareError, match=r"exposure = 0.008 s, gain = 4 for"):
            camera.capture(8e-3, gain=4.0)


def test_a_region_that_was_not_kept_is_refused_with_those_that_were(tmp_path):
    run_session(tmp_path / "s", flats(repeats=2, roi=Roi(10, 20, 30, 40)), small_rig())
    with ReplayCamera(tmp_path / "s") as camera:
        with pytest.raises(HardwareError, match=r"row=10, column=20, height=30, width=40"):
            camera.configure()
        camera.configure(CaptureSettings(roi=Roi(12, 24, 8, 8)))


def test_a_step_that_is_not_there_is_refused(recorded):
    with pytest.raises(ValueError, match=r"step = 'flatness': there are psf-01"):
        ReplayCamera(recorded, step="flatness")
