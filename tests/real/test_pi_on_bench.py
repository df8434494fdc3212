"""The code of a Raspberry Pi looks at the wave-optics bench: unmodified picamera2, our driver."""

import dataclasses

import numpy as np
import pytest

from calibration.bench import BenchErrors, Source, open_bench
from hardware.cameras import CaptureSettings, RaspberryPiCamera
from hardware.frames import Roi
from optics import Sensor
from optics.sensor import Band
from tests import standin
from tests.optics.cameras import small_camera

pytestmark = standin.marks

SENSOR = standin.small(standin.IMX477)
SHAPE = SENSOR.size[::-1]
WHOLE = Roi(0, 0, *SHAPE)
FRAMES = 24


@pytest.fixture(scope="module")
def table():
    bands = (Band(600e-9, 20e-9), Band(540e-9, 20e-9), Band(460e-9, 20e-9))
    design = small_camera(sensor=Sensor(pixel_pitch=2.5e-6, binning=2, bands=bands))
    source = Source(peak_rate=4e5, reference=1.0, ambient=5e3)
    errors = dataclasses.replace(BenchErrors(), boresight=0.0)
    with open_bench(design, seed=2, errors=errors, source=source, shape=SHAPE) as rig:
        rig.home()
        rig.move_to({"z": 1.2, "x": 4e-3})
        rig.light({"point": 1.0, "panel": 0.05})
        yield rig


@pytest.mark.parametrize("pipeline", [standin.VC4, standin.PISP], ids=["pi4", "pi5"])
def test_what_the_pi_delivers_is_the_light_of_the_bench(table, pipeline):
    """Mean of the frames, in electrons, against the expected rate: pixel, colour and scale."""
    rate = table.camera.scene(WHOLE)
    board = standin.Board(SENSOR, pipeline, scene=lambda state: rate, speed=5.0)
    exposure = 5e-3
    with standin.plugged(board), RaspberryPiCamera() as camera:
        camera.configure(CaptureSettings(max_exposure=0.02))
        frames = list(camera.bracket([exposure], repeats=FRAMES))
    assert frames[0].cfa == "RGGB"
    mean = np.mean([frame.mosaic for frame in frames], axis=0) - frames[0].black_level[0]
    # the time that the sensor reports, and 0.47 DN/e- of the modelled sensor
    expected = rate * frames[0].exposure * 0.47
    noise = np.sqrt((expected * 0.47 + (3 * 0.47) ** 2 + 1 / 12) / FRAMES)
    pulls = (mean - expected) / noise
    # 49,152 pixels: their mean scatters by 0.005, their spread by 0.003; the noise is a model
    assert abs(pulls.mean()) < 0.05
    assert pulls.std() == pytest.approx(1.0, abs=0.05)
    assert np.abs(pulls).max() < 6
