"""The cameras that one contract holds for, each looking at a light that a test controls.

A further camera is one function that opens it and one entry in `CASES`.
"""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from hardware.agent import open_remote
from hardware.cameras import (
    Camera,
    CaptureSettings,
    RaspberryPiCamera,
    ReplayCamera,
    SensorMode,
    SimulatedCamera,
)
from hardware.frames import Roi
from hardware.rig import Rig
from hardware.session import Plan, Step, run_session
from tests import standin
from tests.hardware.agent.bench import TOKEN, serving

SENSOR = standin.small(standin.IMX477)
SHAPE = SENSOR.size[::-1]
NEEDS_TORCH = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="the bench needs torch, which is not here"
)
FLUX = 1e5  # usual light: 500 electrons in 5 ms [e-/s]


@dataclass
class Light:
    """What all cameras look at.

    Attributes
    ----------
    rate : ndarray of float, shape SHAPE
        Electrons per second in each pixel [e-/s].
    """

    rate: np.ndarray = field(default_factory=lambda: np.full(SHAPE, FLUX))


@dataclass(frozen=True)
class Case:
    """A camera under test.

    Attributes
    ----------
    name : str
        What its tests are called.
    open : callable
        Takes a `Light` and is a context in which there is a camera, not yet configured.
    live : bool
        Whether it sees the light as it is now; a recording does not.
    marks : list
        Of pytest.
    """

    name: str
    open: Callable[[Light], AbstractContextManager[Camera]]
    live: bool = True
    marks: list[Any] = field(default_factory=list)


@contextmanager
def simulated(light: Light) -> Iterator[Camera]:
    mode = SensorMode("256x192-12", SHAPE, 12, "RGGB", 1.55e-6, 60e-6, 200.0, 22.26, 500.0)
    with SimulatedCamera(lambda roi: light.rate[roi.slices], mode) as camera:
        yield camera


@contextmanager
def replay(light: Light) -> Iterator[Camera]:
    """What the simulated camera recorded, often enough for every test."""
    with simulated(light) as camera, TemporaryDirectory() as folder, patch("os.fsync"):
        steps = (
            Step("usual", "scene", (0.001, 0.002, 0.004, 0.005, 0.00777, 0.008), repeats=16),
            Step("gain", "scene", (0.005,), repeats=2, gain=2.0),
        )
        run_session(Path(folder), Plan("contract", steps), Rig(camera))
        with ReplayCamera(Path(folder)) as recording:
            yield recording


def raspberry_pi(pipeline) -> Callable[[Light], AbstractContextManager[Camera]]:
    @contextmanager
    def opened(light: Light) -> Iterator[Camera]:
        board = standin.Board(SENSOR, pipeline, scene=lambda state: light.rate, speed=4.0)
        with standin.plugged(board), RaspberryPiCamera() as camera:
            yield camera

    return opened


@contextmanager
def remote(light: Light) -> Iterator[Camera]:
    """The simulated one behind an agent."""
    with (
        simulated(light) as camera,
        serving(Rig(camera)) as server,
        open_remote(server.url, TOKEN) as rig,
    ):
        yield rig.camera


@contextmanager
def bench(light: Light) -> Iterator[Camera]:
    """The one behind the wave-optics simulator, whose light is its own: a lit panel."""
    from calibration.bench import Source, open_bench
    from optics import Sensor
    from tests.optics.cameras import small_camera

    design = small_camera(sensor=Sensor(pixel_pitch=2.5e-6, binning=2))
    with open_bench(design, source=Source(panel_rate=FLUX), shape=SHAPE) as rig:
        rig.light({"panel": 1.0})
        yield rig.camera


CASES = [
    Case("bench", bench, live=False, marks=[NEEDS_TORCH]),
    Case("simulated", simulated),
    Case("remote", remote),
    Case("replay", replay, live=False),
    Case("pi-vc4", raspberry_pi(standin.VC4), marks=standin.marks),
    Case("pi-pisp", raspberry_pi(standin.PISP), marks=standin.marks),
]


SETTINGS = CaptureSettings(max_exposure=0.01)


@pytest.fixture(
    params=[pytest.param(case, id=case.name, marks=case.marks) for case in CASES], scope="module"
)
def case(request):
    """Every camera in turn."""
    return request.param


@pytest.fixture(scope="module")
def bench(case):
    """A camera and its light, for all tests of a module."""
    light = Light()
    with case.open(light) as camera:
        yield camera, light


@pytest.fixture
def camera(bench):
    """A camera set up for all of the frame and exposures up to 10 ms."""
    camera, light = bench
    light.rate = Light().rate
    roi = camera.granted and camera.granted.roi
    if roi != Roi(0, 0, *camera.modes[0].shape) or camera.granted.frame_duration < 0.01:
        camera.configure(SETTINGS)
    return camera


@pytest.fixture
def live(case, bench, camera):
    """The same and the light it sees."""
    if not case.live:
        pytest.skip("a recording does not see what is before it now")
    return bench
