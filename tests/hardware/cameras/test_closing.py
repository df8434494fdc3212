"""What a camera leaves behind: nothing."""

import gc
import threading
from pathlib import Path

import pytest

from tests.hardware.cameras.conftest import SETTINGS, Light


def open_files():
    """Return how many file descriptors this process has."""
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


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
