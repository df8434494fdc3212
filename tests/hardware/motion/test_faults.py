"""Whatever goes wrong in motion: it is stopped in time, its position no longer believed."""

import threading
import time

import pytest

from hardware.errors import (
    DeviceBusy,
    DeviceDisconnected,
    DeviceFault,
    DeviceTimeout,
    HardwareError,
    NotHomedError,
    ProtocolError,
)
from hardware.motion import GrblStage, PointSourceStage
from hardware.serial_link import SerialLink
from tests.hardware.motion.benches import (
    EMULATED,
    SPAN,
    SPEED,
    STEPS,
    axes,
    bench,
    grbl,
    point_source,
)


@pytest.fixture(scope="module", params=EMULATED)
def shared(request):
    with bench(request.param, slack=0.3) as made:
        yield made


@pytest.fixture
def homed(shared):
    shared.restore()
    shared.stage.move_to(x=shared.at(0.9))
    shared.delay()
    return shared


@pytest.fixture(params=EMULATED)
def new(request):
    with bench(request.param, slack=0.3) as made:
        made.stage.home()
        made.stage.move_to(x=made.at(0.9))
        made.delay()
        yield made


def moved_with(bench, fault, after=0.03):
    """Let `fault` happen in a move; return its error, when it happened, when the move ended."""
    happened = []

    def act():
        happened.append(time.monotonic())
        fault()

    timer = threading.Timer(after, act)
    timer.start()
    with pytest.raises(HardwareError) as caught:
        bench.stage.move_to(x=bench.at(0.1))
    ended = time.monotonic()
    timer.join()
    return caught.value, happened[0], ended


def assert_lost(bench, since):
    assert bench.was_stopped(since)
    assert not bench.stage.homed
    with pytest.raises(NotHomedError):
        bench.stage.move_to(x=bench.at(0.5))


def moves_asked_for(bench):
    words = (b"$J=", b"MOVE", b"PA", b"\x53\x04")
    return max(bench.device.received.count(word) for word in words)


def test_a_device_that_falls_silent_is_stopped(homed):
    before = moves_asked_for(homed)
    error, since, _ = moved_with(homed, lambda: setattr(homed.device, "mute", True))
    assert isinstance(error, DeviceTimeout)
    assert_lost(homed, since)
    assert moves_asked_for(homed) == before + 1  # no command is sent again


def test_an_unplugged_device_is_told_at_once(new):
    error, since, ended = moved_with(new, new.device.unplug)
    assert isinstance(error, DeviceDisconnected)
    assert ended - since < 0.25
    assert not new.stage.homed
    with pytest.raises(NotHomedError):
        new.stage.move_to(x=new.at(0.5))


def test_an_alarm_stops_it_and_is_not_cleared_by_itself(homed):
    before = len(homed.device.received)
    error, since, _ = moved_with(homed, lambda: homed.device.alarm(homed.fault))
    assert isinstance(error, DeviceFault)
    assert not error.position_trusted
    assert_lost(homed, since)
    assert not any(word in homed.device.received[before:] for word in (b"$X", b"CLR"))


def test_a_brown_out_in_motion_costs_the_position(homed):
    error, since, _ = moved_with(homed, homed.device.brown_out)
    assert isinstance(error, DeviceFault)
    assert_lost(homed, since)


def test_a_brown_out_at_rest_is_seen_before_the_next_move(homed):
    before = moves_asked_for(homed)
    homed.device.brown_out()
    with pytest.raises(DeviceFault, match="position is lost"):
        homed.stage.move_to(x=homed.at(0.5))
    assert not homed.stage.homed
    assert moves_asked_for(homed) == before


def test_a_brown_out_under_an_emergency_stop_is_not_cleared_away(homed):
    homed.stage.emergency_stop()
    homed.device.brown_out()
    homed.stage.clear()
    assert not homed.stage.homed


def test_a_move_that_never_ends_is_stopped_at_its_limit(homed):
    homed.motor.endless = True
    limit = homed.stage.slack + 2 * 0.8 * SPAN / SPEED
    begun = time.monotonic()
    with pytest.raises(DeviceTimeout, match="move to x") as caught:
        homed.stage.move_to(x=homed.at(0.1))
    assert caught.value.waited == pytest.approx(limit)
    assert_lost(homed, begun + limit)


def test_a_move_that_ends_elsewhere_is_a_fault(homed):
    homed.motor.lag = 1
    homed.motor.miss = (homed.motor.position - 0.5) * 0.05 or 0.05
    with pytest.raises(DeviceFault, match=r"was asked, x = .* reached") as caught:
        homed.stage.move_to(x=homed.at(0.1))
    assert not caught.value.position_trusted
    assert homed.device.stops
    assert not homed.stage.homed


def test_answers_in_slow_halves_are_answers(homed):
    homed.motor.lag = 1
    homed.device.slow = 0.03
    homed.stage.move_to(x=homed.at(0.8))
    assert homed.stage.homed


@pytest.mark.parametrize("garbage", [b"\xff\x00\xfe", b"\x81\x01\x50\n", b"<Id\xe4le|M\r\n"])
def test_garbage_in_an_answer_is_read_over(homed, garbage):
    homed.device.garbage = garbage
    before = moves_asked_for(homed)
    homed.motor.lag = 10
    timer = threading.Timer(0.03, setattr, (homed.device, "damaged", 2))
    timer.start()
    homed.stage.move_to(x=homed.at(0.5))
    timer.join()
    assert homed.device.damaged == 0
    assert homed.stage.position()["x"] == pytest.approx(homed.at(0.5), abs=20e-6)
    assert moves_asked_for(homed) == before + 1


def test_after_any_fault_it_can_be_cleared_homed_and_moved(homed):
    moved_with(homed, lambda: homed.device.alarm(homed.fault))
    homed.device.faults = 0
    homed.motor.lag = 1
    homed.stage.clear()
    assert not homed.stage.homed
    homed.stage.home()
    homed.stage.move_to(x=homed.at(0.2))
    assert homed.stage.position()["x"] == pytest.approx(homed.at(0.2), abs=20e-6)


def test_a_device_that_restarts_in_homing_is_not_homed(homed):
    def restart():
        while not homed.device.homing:
            time.sleep(0.001)
        homed.device.brown_out()

    thread = threading.Thread(target=restart)
    thread.start()
    with pytest.raises(HardwareError):
        homed.stage.home()
    thread.join()
    assert not homed.stage.homed


@pytest.mark.parametrize("make", [grbl, point_source])
def test_a_refused_move_changes_nothing(make):
    with bench(make) as made:
        made.stage.home()
        made.stage.move_to(x=made.at(0.9))
        made.device.refuse = "error:15" if make is grbl else "8 limits"
        with pytest.raises(DeviceFault) as caught:
            made.stage.move_to(x=made.at(0.5))
        assert caught.value.position_trusted
        assert made.stage.homed
        made.stage.move_to(x=made.at(0.5))


@pytest.mark.parametrize("make", EMULATED)
def test_a_port_has_one_owner(make):
    with bench(make) as made, pytest.raises(DeviceBusy, match=r"owned by process \d+"):
        SerialLink(made.device.path)


@pytest.mark.parametrize("make", EMULATED)
def test_a_port_that_echoes_is_named(make):
    with bench(make) as made:
        made.stage.home()
        made.device.echo = True
        if make.__name__ == "apt":  # its messages to the device are none to the host
            made.stage.move_to(x=made.at(0.5))
            return
        with pytest.raises(ProtocolError, match="echoes"):
            made.stage.move_to(x=made.at(0.5))
        assert not made.motor.moving


def test_a_silent_port_is_no_controller(monkeypatch):
    from tests.hardware.devices import TerminalDevice

    monkeypatch.setattr("hardware.motion.grbl.STARTUP", 0.1)
    monkeypatch.setattr("hardware.point_source.STARTUP", 0.1)
    with TerminalDevice() as device:
        with pytest.raises(DeviceTimeout, match=r"no answer within"):
            GrblStage(axes(-0.02), device.path)
        with pytest.raises(DeviceTimeout):
            PointSourceStage(axes(), device.path, steps=STEPS)
        # Neither keeps the port.
        with pytest.raises(DeviceTimeout):
            GrblStage(axes(-0.02), device.path)
