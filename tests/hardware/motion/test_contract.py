"""What every stage does, simulated or behind a port."""

import math
import os
import signal
import threading
import time
from dataclasses import replace

import pytest

from hardware.errors import (
    DeviceFault,
    EmergencyStopped,
    HardwareError,
    LimitError,
    NotHomedError,
)
from hardware.motion.base import UNHOMED_JOG
from hardware.safety import STOP_WITHIN
from tests.hardware.motion.benches import ALL, SPAN, SPEED, bench

TOLERANCE = 20e-6


@pytest.fixture(params=ALL)
def new(request):
    with bench(request.param) as made:
        yield made


@pytest.fixture(scope="module", params=ALL)
def shared(request):
    with bench(request.param) as made:
        yield made


@pytest.fixture
def homed(shared):
    shared.restore()
    return shared


class Moving:
    """A move of most of the axis in a thread, and the error that it ends with."""

    def __init__(self, bench):
        self.error = None
        self._bench = bench
        self._thread = threading.Thread(target=self._run, daemon=True)
        bench.stage.move_to(x=bench.at(0.9))
        bench.delay()

    def __enter__(self):
        self._thread.start()
        end = time.monotonic() + 2
        while not self._bench.stage.status().moving:
            assert time.monotonic() < end
            time.sleep(0.005)
        return self

    def __exit__(self, *exc_info):
        self._thread.join(5)
        assert not self._thread.is_alive()
        self._bench.mend()

    def _run(self):
        try:
            self._bench.stage.move_to(x=self._bench.at(0.1))
        except HardwareError as error:
            self.error = error


def test_it_begins_unhomed_and_tells_no_position(new):
    assert not new.stage.homed
    with pytest.raises(NotHomedError, match="home"):
        new.stage.position()
    assert not new.stage.status().homed


def test_it_does_not_move_before_homing(new):
    before = new.stage.status().position
    with pytest.raises(NotHomedError, match=r"move to x = .* m"):
        new.stage.move_to(x=new.at(0.5))
    assert new.stage.status().position == before


def test_it_stands_where_it_was_sent(homed):
    for share in (0.3, 0.1, 0.12):
        homed.stage.move_to(x=homed.at(share))
        assert homed.stage.position()["x"] == pytest.approx(homed.at(share), abs=TOLERANCE)
        assert not homed.stage.status().moving


@pytest.mark.parametrize("share", [-0.01, 1.01, math.nan, math.inf, -math.inf])
def test_a_target_outside_the_limits_is_refused_before_anything_is_sent(homed, share):
    before = homed.stage.position()
    log = len(getattr(homed.device, "log", []))
    with pytest.raises(LimitError, match="nothing was moved"):
        homed.stage.move_to(x=homed.at(share))
    assert len(getattr(homed.device, "log", [])) == log
    assert homed.stage.position() == before
    assert homed.stage.homed


def test_an_axis_that_is_not_there_is_named(homed):
    with pytest.raises(ValueError, match="axis = 'q': there are x"):
        homed.stage.move_to(q=0.0)
    with pytest.raises(ValueError, match="axis = 'q': there are x"):
        homed.stage.jog("q", 0.0)


def test_a_jog_is_relative_and_within_the_limits(homed):
    homed.stage.move_to(x=homed.at(0.2))
    homed.stage.jog("x", 0.0015)
    assert homed.stage.position()["x"] == pytest.approx(homed.at(0.2) + 0.0015, abs=TOLERANCE)
    with pytest.raises(LimitError):
        homed.stage.jog("x", SPAN)


def test_without_homing_a_long_jog_is_refused(new):
    with pytest.raises(NotHomedError, match=r"at most 0\.001 m"):
        new.stage.jog("x", 1.01 * UNHOMED_JOG)
    with pytest.raises(ValueError, match="a number is needed"):
        new.stage.jog("x", math.nan)


def test_an_emergency_stop_from_another_thread_stops_a_move_in_time(homed):
    with Moving(homed) as moving:
        begun = time.monotonic()
        homed.stage.emergency_stop()
        told = time.monotonic() - begun
    assert told < STOP_WITHIN
    assert homed.was_stopped(begun)
    assert isinstance(moving.error, EmergencyStopped)
    assert not homed.stage.homed
    here = homed.stage.status().position["x"]
    assert not homed.stage.status().moving
    # It had 0.9 to 0.1 of the way to go, for 0.8 s.
    assert here > homed.at(0.3)
    time.sleep(0.1)
    assert homed.stage.status().position["x"] == here


def test_an_emergency_stop_is_latched_until_it_is_cleared(homed):
    homed.stage.emergency_stop()
    assert homed.stage.status().stopped
    for act in (
        lambda: homed.stage.move_to(x=homed.at(0.2)),
        lambda: homed.stage.jog("x", 1e-4),
        homed.stage.home,
    ):
        with pytest.raises(EmergencyStopped, match=r"clear\(\)"):
            act()
    homed.stage.clear()
    assert not homed.stage.status().stopped


def test_an_emergency_stop_at_rest_keeps_the_position(homed):
    homed.stage.move_to(x=homed.at(0.2))
    homed.stage.emergency_stop()
    homed.stage.clear()
    assert homed.stage.homed
    homed.stage.move_to(x=homed.at(0.3))
    assert homed.stage.position()["x"] == pytest.approx(homed.at(0.3), abs=TOLERANCE)


def test_after_an_emergency_stop_in_motion_it_is_homed_before_it_moves(homed):
    with Moving(homed):
        homed.stage.emergency_stop()
    homed.stage.clear()
    with pytest.raises(NotHomedError):
        homed.stage.move_to(x=homed.at(0.2))
    homed.stage.home()
    homed.stage.move_to(x=homed.at(0.2))
    assert homed.stage.position()["x"] == pytest.approx(homed.at(0.2), abs=TOLERANCE)


def test_an_emergency_stop_ends_homing(new):
    new.delay()

    def stop():
        while new.keeper._motion != "home":
            time.sleep(0.001)
        new.stage.emergency_stop()

    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    with pytest.raises(EmergencyStopped):
        new.stage.home()
    thread.join()
    new.mend()
    assert not new.stage.homed
    new.stage.clear()
    new.stage.home()
    assert new.stage.homed


def test_a_stop_keeps_the_position_and_says_that_the_move_is_short(homed):
    with Moving(homed) as moving:
        homed.stage.stop()
    assert isinstance(moving.error, DeviceFault)
    assert moving.error.code == "stopped"
    assert homed.stage.homed
    assert homed.stage.position()["x"] > homed.at(0.3)
    homed.stage.move_to(x=homed.at(0.2))


def test_a_second_thread_sees_the_stage_move(homed):
    with Moving(homed):
        first = homed.stage.status()
        time.sleep(0.05)
        second = homed.stage.position()["x"]
        homed.stage.stop()
    assert first.moving
    # A part of what the speed gives: the firmware begins slowly.
    assert second < first.position["x"] - 0.001 * SPEED


def test_ctrl_c_in_motion_stops_it(homed):
    homed.stage.move_to(x=homed.at(0.9))
    homed.delay()
    begun = []

    def interrupt():
        begun.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.1, interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        homed.stage.move_to(x=homed.at(0.1))
    timer.join()
    assert homed.was_stopped(begun[0])
    assert not homed.stage.homed
    time.sleep(0.05)
    assert not homed.stage.status().moving
    assert homed.stage.status().position["x"] > homed.at(0.3)


def test_backlash_is_taken_up_from_below(homed, monkeypatch):
    backlash = 1e-3
    homed.stage.move_to(x=homed.at(0.1))
    seen = []
    start = homed.keeper._start
    axis = replace(homed.stage.axes["x"], backlash=backlash)
    monkeypatch.setattr(homed.keeper, "axes", {"x": axis})
    monkeypatch.setattr(
        homed.keeper, "_start", lambda target: (seen.append(target["x"]), start(target))
    )
    homed.stage.move_to(x=homed.at(0.5))  # from below: straight
    homed.stage.move_to(x=homed.at(0.3))
    assert seen == pytest.approx([homed.at(0.5), homed.at(0.3) - backlash, homed.at(0.3)])


def test_closing_in_motion_stops_it_and_closes_once(new):
    new.stage.home()
    with Moving(new) as moving:
        new.stage.close()
    assert isinstance(moving.error, HardwareError)
    if new.motor is not None:
        time.sleep(0.05)
        assert not new.motor.moving
    new.stage.close()
    assert not new.stage.homed
    with pytest.raises(NotHomedError):
        new.stage.move_to(x=new.at(0.2))
