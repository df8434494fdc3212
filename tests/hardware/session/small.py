"""A small simulated rig, and plans that are over at once."""

from hardware.cameras import SensorMode, SensorNoise, SimulatedCamera
from hardware.cameras.spot import SpotScene
from hardware.clock import SimulatedClock
from hardware.lights import Channel, SimulatedLight
from hardware.motion import Axis, SimulatedStage
from hardware.rig import Rig
from hardware.session import AutoExposure
from hardware.session.plans import psf_stack

MODE = SensorMode("96x128-12", (96, 128), 12, "RGGB", 1.55e-6, 60e-6, 1.0, 16.0, 10.0)
CENTRE = (40.0, 70.0)


def small_rig(*, serial=0, clock=None, camera=SimulatedCamera, mode=MODE, point_rate=2e7):
    """Return a rig with a z stage of 0.2 m and two lights; time is simulated."""
    clock = clock or SimulatedClock()
    stage = SimulatedStage({"z": Axis(0.0, 0.2, 0.05, backlash=1e-3)}, clock=clock)
    lights = SimulatedLight({"point": Channel(), "panel": Channel()}, longest=0)
    scene = SpotScene({"rail": stage}, {"led": lights}, CENTRE, point_rate=point_rate)
    sensor = camera(scene, mode, SensorNoise(read_noise=2.0), seed=serial, clock=clock)
    return Rig(sensor, {"rail": stage}, {"led": lights}, name="small", clock=clock)


def small_plan(**changes):
    """Return three depths, three exposures found, two frames each, and darks."""
    settings = {
        "depths": 3, "zero_distance": 0.5, "repeats": 2, "dark_repeats": 2, "size": (32, 48),
        "auto": AutoExposure(count=3, longest=0.5), "settle": 0.1,
    }  # fmt: skip
    return psf_stack("z", 0.55, 0.69, **(settings | changes))
