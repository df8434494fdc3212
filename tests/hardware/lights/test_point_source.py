"""The LED of the point source, and the port that it shares with the axis."""

import contextlib
import threading
import time

import pytest

from hardware.errors import DeviceDisconnected, DeviceFault, EmergencyStopped, HardwareError
from hardware.lights import Channel, PointSourceLight
from hardware.motion import PointSourceStage
from hardware.point_source import crc8, framed, parse
from tests.hardware.devices import PointSourceDevice
from tests.hardware.motion.benches import STEPS, axes


@pytest.fixture
def device():
    with PointSourceDevice() as made:
        yield made


@pytest.fixture
def light(device):
    with PointSourceLight({"led": Channel()}, device.path) as made:
        yield made


def until(law, seconds=0.25):
    end = time.monotonic() + seconds
    while not law():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_checksums_are_those_of_the_protocol():
    assert crc8(b"123456789") == 0xF4
    assert framed("4 MOVE 90000") == b"4 MOVE 90000*EA\n"
    assert parse(b"EVT done pos=400*69") == ("EVT", ["done", "pos=400"])
    assert parse(b"EVT done pos=401*69") is None
    assert parse(b"EVT done pos=400") is None


@pytest.mark.parametrize(("level", "number"), [(0, 0), (2 / 256, 1), (0.5, 127), (1, 255)])
def test_a_level_is_its_share_of_the_period(device, light, level, number):
    light.set("led", level)
    assert device.led == number
    assert light.state == {"led": level}


def test_a_level_below_the_lowest_is_refused(device, light):
    with pytest.raises(ValueError, match="the lowest beside 0 is"):
        light.set("led", 1 / 512)
    assert device.led == 0


def test_the_controller_itself_goes_dark_after_the_longest_time(device):
    with PointSourceLight({"led": Channel()}, device.path, longest=2.5) as light:
        light.set("led", 1)
        assert device.ledtime == 2500
        device.brown_out()
        time.sleep(0.05)
        light.set("led", 1)
        assert device.ledtime == 2500


def test_a_stop_outlives_the_program_that_gave_it(device):
    with PointSourceLight({"led": Channel()}, device.path) as light:
        light.emergency_stop()
    with (
        PointSourceLight({"led": Channel()}, device.path) as light,
        PointSourceStage(axes(), device.path, steps=STEPS) as stage,
    ):
        assert stage.status().stopped
        with pytest.raises(EmergencyStopped, match=r"clear\(\)"):
            stage.home()
        with pytest.raises(EmergencyStopped, match=r"clear\(\)"):
            light.set("led", 1.0)
        stage.clear()
        light.clear()
        stage.home()
        light.set("led", 1.0)


def test_an_alarm_that_a_program_left_is_named_with_what_to_do(device):
    with PointSourceStage(axes(), device.path, steps=STEPS) as stage:
        device.alarm("far")
        with pytest.raises(DeviceFault, match=r"look at it, then clear\(\) it"):
            stage.home()


def test_it_is_dark_at_the_end_whatever_happens(device):
    light = PointSourceLight({"led": Channel()}, device.path)
    with contextlib.suppress(KeyboardInterrupt), light:
        light.set("led", 1)
        assert device.led == 255
        raise KeyboardInterrupt
    until(lambda: device.led == 0)
    light.close()


def test_an_emergency_stop_from_another_thread_is_dark_and_latched(device, light):
    light.set("led", 1)
    thread = threading.Thread(target=light.emergency_stop)
    thread.start()
    until(lambda: device.led == 0)
    thread.join()
    assert device.stops
    with pytest.raises(EmergencyStopped):
        light.set("led", 1)
    light.clear()
    light.set("led", 1)
    assert device.led == 255


def test_a_refusal_leaves_it_dark(device, light):
    light.set("led", 0.5)
    device.alarm("far")
    with pytest.raises(DeviceFault, match="ERR 6"):
        light.set("led", 1)
    assert light.state == {"led": 0}


def test_stage_and_light_share_the_port_and_the_last_one_closes_it(device):
    channels = {"led": Channel()}
    stage = PointSourceStage(axes(), device.path, steps=STEPS)
    with PointSourceLight(channels, device.path) as light:
        stage.home()
        light.set("led", 1)
        stage.move_to(x=0.002)
        assert device.led == 255
        stage.close()
        light.set("led", 0.5)
        assert device.led == 127
    with pytest.raises(DeviceDisconnected):
        light.set("led", 1)
    with PointSourceStage(axes(), device.path, steps=STEPS) as again:
        again.home()


def test_a_light_that_is_stopped_stops_the_axis_of_its_controller(device, light):
    with PointSourceStage(axes(), device.path, steps=STEPS) as stage:
        stage.home()
        device.motor.lag = 5
        timer = threading.Timer(0.05, light.emergency_stop)
        timer.start()
        with pytest.raises(DeviceFault, match="estop"):
            stage.move_to(x=0.004)
        timer.join()
        assert not stage.homed
        assert not device.motor.moving


def test_a_program_that_dies_in_motion_leaves_a_stage_that_stops_itself(device):
    with PointSourceStage(axes(), device.path, steps=STEPS) as stage:
        stage.home()
        assert device.alive == 0  # at rest it may be silent, for long exposures
        device.motor.lag = 5
        timer = threading.Timer(0.05, lambda: alive.append(device.alive))
        alive = []
        timer.start()
        stage.move_to(x=0.004)
        timer.join()
        assert alive == [1000]
        assert device.alive == 0


def test_another_device_is_refused(device):
    device.name = "coffee-machine"
    with pytest.raises(HardwareError, match=r"'coffee-machine' .* expected 'point-source'"):
        PointSourceLight({"led": Channel()}, device.path)
