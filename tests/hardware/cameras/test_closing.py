"""What a camera leaves behind: nothing."""

import gc
import threading
from pathlib import Path

import pytest

from tests.hardware.cameras.conftest import SETTINGS, Light
from tests.hardware.cameras.processes import open_files


def test_a_camera_can_be_closed_twice(case):
    with case.open(Light()) as camera:
        camera.close()
        camera.close()


def test_an_error_in_a_with_block_closes_the_camera(case):
    with case.open(Light()) as camera:
        camera.configure(SETTINGS)
        try:
            with camera:
                camera.capture(0.001)
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
    with case.open(Light()) as camera:  # it is not in use any more
        camera.configure(SETTINGS)
        assert camera.capture(0.001).confirmed


@pytest.mark.parametrize("openings", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_openings_leave_no_files_and_no_threads(case, openings):
    counts = []
    for _ in range(openings):
        with case.open(Light()) as camera:
            camera.configure(SETTINGS)
            frames = camera.bracket([0.001, 0.002])
            next(frames)  # and leave it there, requests in flight
        counts.append((open_files(), threading.active_count()))
    assert counts[-1] == counts[1], counts  # the first one loads libraries


def test_the_buffers_of_frames_are_gone_when_a_camera_is_closed(case):
    """At once, not when Python collects its garbage: a few are all that a Raspberry Pi can hold."""
    before = open_files()
    gc.disable()
    try:
        with case.open(Light()) as camera:
            camera.configure(SETTINGS)
            frames = camera.bracket([0.001, 0.002])
            next(frames)
            frames.close()
            camera.close()
            # picamera2 leaves two selectors and a pipe; its six buffers have two files each.
            assert len(list(Path("/proc/self/fd").iterdir())) <= before + 4
    finally:
        gc.enable()
