"""A night in the laboratory: many frames, constant memory."""

from collections import deque

import numpy as np
import pytest

from hardware.cameras import CaptureSettings, RaspberryPiCamera, SensorMode, SimulatedCamera
from hardware.clock import SimulatedClock
from hardware.frames import Roi
from tests import standin
from tests.hardware.cameras.processes import open_files, resident

pytestmark = pytest.mark.slow
KEPT = 100  # frames that a user keeps
EXPOSURES = [0.001, 0.002, 0.003, 0.004]


def growth(camera, frames):
    """Return by how much memory [bytes] and open files grow while `frames` frames are taken."""
    kept = deque(maxlen=KEPT)
    taken, before = 0, None
    while taken < frames:
        kept.extend(camera.bracket(EXPOSURES, repeats=5))
        kept.append(camera.capture(0.004))
        taken += 21
        if before is None and taken >= 2 * KEPT:  # the ring is full, libraries are warm
            before = resident(), open_files()
    assert all(frame.shape == (256, 256) for frame in kept)
    return resident() - before[0], open_files() - before[1]


@pytest.mark.timeout(600)
def test_ten_thousand_simulated_frames_leave_memory_and_files_as_they_were():
    mode = SensorMode("256x256-12", (256, 256), 12, "RGGB", 1.55e-6, 60e-6, 200.0, 22.26, 50.0)
    light = np.full((256, 256), 1e5)
    with SimulatedCamera(lambda roi: light[roi.slices], mode, clock=SimulatedClock()) as camera:
        memory, files = growth(camera, 10_000)
    assert memory < 5 * 2**20
    assert files == 0


@pytest.mark.timeout(600)
@pytest.mark.parametrize("pipeline", [standin.VC4, standin.PISP], ids=lambda p: p.name)
@standin.marks[0]
@standin.marks[1]
@standin.marks[2]
def test_three_thousand_frames_through_picamera2_leave_memory_and_files_as_they_were(pipeline):
    """Fewer, as the stand-in runs as fast as its sensor and the processor allow."""
    board = standin.Board(standin.small(standin.IMX477, 8), pipeline, scene=lambda s: 1e5, speed=4)
    settings = CaptureSettings(roi=Roi(8, 8, 256, 256), max_exposure=0.004)
    with standin.plugged(board), RaspberryPiCamera() as camera:
        camera.configure(settings)
        memory, files = growth(camera, 3000)
    assert memory < 5 * 2**20
    assert files == 0
