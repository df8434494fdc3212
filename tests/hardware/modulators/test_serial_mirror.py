"""The mirror on a serial port: what arrives, and what its failures are called."""

import contextlib
import threading

import numpy as np
import pytest

from hardware.errors import (
    DeviceDisconnected,
    DeviceFault,
    DeviceTimeout,
    EmergencyStopped,
    HardwareError,
    ProtocolError,
    SettingsNotApplied,
)
from hardware.fabrication.influence import gaussian_actuators
from hardware.modulators import serial_mirror
from hardware.modulators.serial_mirror import SerialMirror
from tests.hardware.modulators.mirror_device import MirrorDevice

INFLUENCE = gaussian_actuators(6, 0.15, 3.5e-6, 32)
COUNT = len(INFLUENCE.lowest)


@pytest.fixture
def device():
    with MirrorDevice(COUNT) as made:
        yield made


@pytest.fixture
def mirror(device):
    made = opened(device)
    yield made
    device.mend()
    device.lost = False
    with contextlib.suppress(HardwareError):
        made.close()


def opened(device, **options):
    return SerialMirror(INFLUENCE, 10e-3, 0.0, port=device.path, **({"swings": 0} | options))


def test_commands_arrive_as_parts_of_the_range(mirror, device):
    state = mirror.command({4: 50e-9})
    parts = (state.commands - INFLUENCE.lowest) / (INFLUENCE.highest - INFLUENCE.lowest)
    np.testing.assert_allclose(np.array(device.values) / 65535, parts, atol=1e-9)
    assert state.residual < 0.1 * state.wanted
    assert mirror.shown == state.digest


def test_a_coarse_controller_is_told_in_the_residual(device):
    device.steps = 4095
    with contextlib.closing(opened(device)) as coarse:
        state = coarse.command({4: 50e-9})
    assert max(device.sets[-1]) <= 4095
    step = 3.5e-6 / 4095
    assert np.abs(state.commands / step - np.round(state.commands / step)).max() <= 0.5 + 1e-6


def test_a_relax_cycle_is_sent_to_the_device(device):
    with contextlib.closing(opened(device, swings=6)) as relaxed:
        relaxed.command({})
    assert len(device.sets) == 7
    swings = np.array(device.sets)[:, 0] - 32768
    assert (np.sign(swings[:6]) == [1, -1, 1, -1, 1, -1]).all()


def test_it_is_at_rest_when_opened_and_when_closed(device):
    device.values = [1] * COUNT  # what a program that was killed left
    with opened(device) as mirror:
        assert device.values is None
        mirror.command({4: 50e-9})
        assert device.values
    assert device.values is None
    mirror.close()


def test_an_emergency_stop_passes_a_mute_conversation(mirror, device):
    mirror.command({4: 50e-9})
    device.mute = True
    raised = []

    def command():
        try:
            mirror.command({4: 20e-9})
        except HardwareError as error:
            raised.append(error)

    thread = threading.Thread(target=command)
    thread.start()
    mirror.emergency_stop()
    thread.join()
    assert device.values is None
    assert device.stopped
    device.mend()
    with pytest.raises(EmergencyStopped):
        mirror.command({4: 50e-9})
    mirror.clear()
    mirror.command({4: 50e-9})
    assert device.values


def test_a_stop_at_the_controller_is_told(mirror, device):
    mirror.command({4: 50e-9})
    device.handle(b"!")
    with pytest.raises(DeviceFault, match="ERR 6: stopped"):
        mirror.command({4: 50e-9})
    assert mirror.shown == ""
    mirror.clear()
    mirror.command({4: 50e-9})


def test_a_refusal_keeps_its_words(mirror, device):
    device.refuse = "7 supply low"
    with pytest.raises(DeviceFault, match="ERR 7: supply low"):
        mirror.command({4: 50e-9})
    assert device.values is None


def test_an_actuator_that_does_not_follow_is_named(mirror, device):
    device.weak = 5
    with pytest.raises(SettingsNotApplied, match="actuator 5"):
        mirror.command({4: 50e-9})


def test_a_reset_is_told_and_the_next_command_works(mirror, device):
    mirror.command({4: 50e-9})
    device.reset()
    with pytest.raises(DeviceFault, match="restarted"):
        mirror.command({4: 20e-9})
    assert mirror.shown == ""
    assert mirror.command({4: 20e-9})


def test_silence_is_a_timeout_and_nothing_is_sent_twice(mirror, device):
    device.mute = True
    before = device.received.count(b" SET ")
    with pytest.raises(DeviceTimeout):
        mirror.command({4: 50e-9})
    assert device.received.count(b" SET ") == before + 1


def test_a_damaged_reply_is_no_confirmation(mirror, device):
    device.lost = True
    with pytest.raises(ProtocolError):
        mirror.command({4: 50e-9})
    assert mirror.shown == ""


def test_a_request_that_is_damaged_changes_nothing(mirror, device, monkeypatch):
    mirror.command({4: 50e-9})
    values = device.values
    good = serial_mirror.framed
    monkeypatch.setattr(serial_mirror, "framed", lambda text: good(text).replace(b"3", b"4", 1))
    with pytest.raises(DeviceFault, match="ERR 1: checksum"):
        mirror.command({4: 33e-9})
    assert device.values == values


def test_slow_halves_of_a_reply_are_put_together(mirror, device):
    device.slow = 0.05
    assert mirror.command({4: 50e-9}).clipped == 0


def test_an_unplugged_device_is_told_apart(mirror, device):
    device.unplug()
    with pytest.raises(DeviceDisconnected):
        mirror.command({4: 50e-9})


def test_an_echo_is_called_one(mirror, device):
    device.echo = True
    with pytest.raises(ProtocolError, match="echoes"):
        mirror.command({4: 50e-9})


@pytest.mark.parametrize(("name", "value"), [("name", "oven"), ("actuators", 7), ("steps", 0)])
def test_another_device_is_refused(device, name, value):
    setattr(device, name, value)
    with pytest.raises(HardwareError, match="influence that was measured with this mirror"):
        opened(device)


def test_a_device_behind_a_bootloader_is_waited_for(device):
    device.mute = True
    threading.Timer(0.6, device.mend).start()
    opened(device).close()
