"""A rig: names that are unique, lights that are dark, devices that are all released."""

import numpy as np
import pytest

from hardware import Rig
from hardware.cameras import SensorMode, SimulatedCamera
from hardware.clock import SimulatedClock
from hardware.errors import DeviceDisconnected
from hardware.lights import Channel, SimulatedLight
from hardware.motion import Axis, SimulatedStage

MODE = SensorMode("8x6-12", (6, 8), 12, "RGGB", 1e-6, 1e-5, 1.0, 8.0, 100.0)


class Breaking(SimulatedLight):
    """A light whose cable is out."""

    def _dark(self):
        raise DeviceDisconnected("the cable is out")


def rig(*, light=SimulatedLight, **changes):
    clock = SimulatedClock()
    parts = {
        "camera": SimulatedCamera(lambda roi: np.ones((roi.height, roi.width)), MODE, clock=clock),
        "stages": {
            "rail": SimulatedStage({"z": Axis(0, 1, 1)}, clock=clock),
            "table": SimulatedStage({"x": Axis(-1, 1, 1), "y": Axis(-1, 1, 1)}, clock=clock),
        },
        "lights": {
            "source": light({"point": Channel()}),
            "wall": SimulatedLight({"panel": Channel()}),
        },
        "clock": clock,
    }
    return Rig(**(parts | changes))


def test_moves_go_to_the_stages_that_own_the_axes():
    table = rig()
    table.home()
    table.move_to({"z": 0.5, "y": -0.25})
    assert table.position() == {"z": 0.5, "x": -1.0, "y": -0.25}
    assert table.stages["table"].position() == {"x": -1.0, "y": -0.25}


def test_nothing_moves_if_one_axis_is_unknown():
    table = rig()
    table.home()
    before = table.position()
    with pytest.raises(ValueError, match="axis = 'w': the rig has z, x, y"):
        table.move_to({"z": 0.5, "w": 1.0})
    assert table.position() == before


def test_lights_that_are_not_named_are_dark():
    table = rig()
    table.light({"point": 1.0})
    table.light({"panel": 0.5})
    assert table.lights["source"].state == {"point": 0.0}
    assert table.lights["wall"].state == {"panel": 0.5}
    with pytest.raises(ValueError, match="channel = 'sun'"):
        table.light({"sun": 1.0})


def test_parking_goes_on_past_a_device_that_is_gone():
    table = rig(light=Breaking)
    table.lights["wall"].set("panel", 1.0)
    failed = table.park()
    assert failed == ["light source: the cable is out"]
    assert table.lights["wall"].state == {"panel": 0.0}


def test_closing_releases_all_whatever_one_of_them_raises():
    closed = []
    table = rig(light=Breaking)
    for part in (*table.stages.values(), table.camera):
        part.close = lambda part=part: closed.append(part)
    with pytest.raises(DeviceDisconnected):
        table.close()
    assert closed == [*reversed(table.stages.values()), table.camera]


def test_an_axis_belongs_to_one_stage():
    stages = {name: SimulatedStage({"z": Axis(0, 1, 1)}) for name in ("one", "two")}
    with pytest.raises(ValueError, match="axis 'z' belongs to one and to two"):
        rig(stages=stages)


def test_the_stop_of_the_rig_reaches_stages_and_lights():
    table = rig()
    table.light({"point": 1.0})
    done = table.safety.emergency_stop("test")
    assert set(done.seconds) == {"light source", "light wall", "stage rail", "stage table"}
    assert table.lights["source"].state == {"point": 0.0}


def test_a_stop_that_a_device_held_before_is_that_of_the_rig():
    held = SimulatedStage({"z": Axis(0, 1, 1)})
    held.emergency_stop()
    table = rig(stages={"rail": held})
    assert table.safety.stopped.reason == "before it was opened (stage rail)"
    table.safety.clear()
    assert table.safety.stopped is None
    table.home()
    assert rig().safety.stopped is None


def test_the_stop_reaches_modulators_that_move():
    class Moving:
        stops = 0

        def emergency_stop(self):
            self.stops += 1

        def clear(self):
            pass

    moving, still = Moving(), object()
    table = rig(modulators={"mirror": moving, "panel": still})
    assert "modulator mirror" in table.safety.emergency_stop("test").seconds
    assert moving.stops == 1
