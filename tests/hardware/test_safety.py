"""One stop for everything: fast, past every lock, latched; signals and silence give it too."""

import os
import signal
import threading
import time

import pytest

from hardware.errors import DeviceDisconnected, EmergencyStopped
from hardware.lights import Channel, SimulatedLight
from hardware.motion import Axis, SimulatedStage
from hardware.safety import STOP_WITHIN, Heartbeat, Safety


class Device:
    """Counts what it is told; may hang or fail."""

    def __init__(self, *, hangs=False, fails=False):
        self.hangs, self.fails = hangs, fails
        self.stops = self.clears = 0
        self.release = threading.Event()

    def emergency_stop(self):
        if self.hangs:
            self.release.wait(5)
        if self.fails:
            raise DeviceDisconnected("the cable is out")
        self.stops += 1

    def clear(self):
        self.clears += 1


def test_a_mute_device_delays_no_other_one():
    mute, gone, good = Device(hangs=True), Device(fails=True), Device()
    safety = Safety({"mute": mute, "gone": gone, "good": good})
    begun = time.monotonic()
    done = safety.emergency_stop("test")
    # the promise, and what a busy machine may add to it
    assert time.monotonic() - begun < STOP_WITHIN + 0.2
    assert good.stops == 1
    assert set(done.seconds) == {"good"}
    assert set(done.failed) == {"mute", "gone"}
    assert "cable" in done.failed["gone"]
    mute.release.set()


def test_a_stop_is_latched_until_it_is_cleared():
    device = Device()
    safety = Safety({"device": device})
    assert safety.stopped is None
    safety.emergency_stop("button")
    assert safety.stopped.reason == "button"
    safety.clear()
    assert safety.stopped is None
    assert device.clears == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_and_ends_the_work(number):
    device = Device()
    safety = Safety({"device": device})
    before = signal.getsignal(number)

    def work():
        with safety.on_signal():
            os.kill(os.getpid(), number)
            time.sleep(1)  # the handler runs before this ends

    with pytest.raises(KeyboardInterrupt, match=signal.Signals(number).name):
        work()
    assert device.stops == 1
    assert signal.getsignal(number) is before


def test_other_threads_keep_the_signals_of_the_main_one():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with Safety({}).on_signal():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_stop_in_mid_move_reaches_stage_and_light():
    stage = SimulatedStage({"z": Axis(0, 1, speed=0.05)})
    light = SimulatedLight({"led": Channel()})
    stage.home()
    light.set("led", 1.0)
    safety = Safety({"stage": stage, "light": light})
    raised = []

    def move():
        try:
            stage.move_to(z=1.0)
        except EmergencyStopped as error:
            raised.append(error)

    thread = threading.Thread(target=move)
    thread.start()
    time.sleep(0.1)
    done = safety.emergency_stop("button")
    thread.join(2)
    assert raised
    assert max(done.seconds.values()) < STOP_WITHIN
    assert light.state == {"led": 0.0}
    assert not stage.homed
    with pytest.raises(EmergencyStopped):
        light.set("led", 1.0)


def test_a_stop_that_overtakes_the_command_for_light_leaves_it_dark():
    light = SimulatedLight({"led": Channel()})
    lit = []
    light._apply = lambda channel, level: (light.emergency_stop(), lit.append(level))
    light._dark = lambda: lit.append(0.0)
    with pytest.raises(EmergencyStopped):
        light.set("led", 1.0)
    assert lit[-1] == 0.0
    assert light.state == {"led": 0.0}


def test_silence_is_told_once_until_the_next_beat():
    told = []
    heart = Heartbeat(lambda: told.append(time.monotonic()), longest=0.05)
    time.sleep(0.15)
    assert told == []  # nobody is there yet
    heart.beat()
    time.sleep(0.3)
    assert len(told) == 1
    heart.beat()
    time.sleep(0.3)
    assert len(told) == 2
    heart.close()
    time.sleep(0.15)
    assert len(told) == 2


def test_who_beats_in_time_is_left_alone():
    told = []
    heart = Heartbeat(lambda: told.append(1), longest=0.5)
    for _ in range(10):
        heart.beat()
        time.sleep(0.02)
    heart.close()
    assert told == []


@pytest.mark.parametrize("longest", [0.0, -1.0, 1e5, float("nan")])
def test_a_silence_that_is_no_time_is_refused(longest):
    with pytest.raises(ValueError, match="longest = "):
        Heartbeat(lambda: None, longest)
