"""A small simulated rig, and plans that are over at once."""

import numpy as np

from hardware.cameras import SensorMode, SensorNoise, SimulatedCamera, SpotScene
from hardware.clock import SimulatedClock
from hardware.lights import Channel, SimulatedLight
from hardware.motion import Axis, SimulatedStage
from hardware.rig import Rig
from hardware.session import AutoExposure
from hardware.session.plans import psf_stack

MODE = SensorMode("96x128-12", (96, 128), 12, "RGGB", 1.55e-6, 60e-6, 1.0, 16.0, 10.0)
CENTRE = (40.0, 70.0)


def small_rig(*, serial=0, clock=None, mode=MODE, name="small", **scene):
    """Return a rig with a z stage of 0.2 m and two lights; time is simulated, noise is not."""
    clock = clock or SimulatedClock()
    stage = SimulatedStage({"z": Axis(0.0, 0.2, 0.05, backlash=1e-3)}, clock=clock)
    lights = SimulatedLight({"point": Channel(), "panel": Channel()}, longest=0)
    seen = SpotScene({"rail": stage}, {"led": lights}, **({"centre": CENTRE} | scene))
    camera = SimulatedCamera(seen, mode, SensorNoise(read_noise=2.0), seed=serial, clock=clock)
    camera._temporal = np.random.default_rng()  # no two frames are equal, whoever takes them
    return Rig(camera, {"rail": stage}, {"led": lights}, name=name, clock=clock)


def small_plan(**changes):
    """Return three depths, three exposures found, two frames each, and darks."""
    settings = {
        "depths": 3, "zero_distance": 0.5, "repeats": 2, "dark_repeats": 2, "size": (32, 48),
        "auto": AutoExposure(count=3, longest=0.5), "settle": 0.1,
    }  # fmt: skip
    return psf_stack("z", 0.55, 0.69, **(settings | changes))


def levels(rig):
    return [level for light in rig.lights.values() for level in light.state.values()]


def assert_whole(session):
    """Every frame of the plan is there once, under its own number, and reads back."""
    session.verify()
    frames = session.frames()
    assert [frame.number for frame in frames] == list(range(1, len(frames) + 1))
    files = sorted(path.name for path in (session.folder / "frames").iterdir())
    assert files == sorted(f"{n:06d}.{kind}" for n in range(1, len(frames) + 1)
                           for kind in ("json", "tif"))  # fmt: skip
    for step in session.plan.steps:
        taken = session.history.taken(step.name)
        assert taken == dict.fromkeys(session.history.found[step.name].exposures, step.repeats)
    assert len({frame.stored.sha256 for frame in frames}) == len(frames)  # none twice
    for frame in frames:
        assert session.load(frame).asked_exposure == frame.exposure
    assert session.history.finished
