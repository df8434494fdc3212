"""What is Newport's own: a command is followed by the question whether it was taken."""

import re

import pytest

from hardware.errors import DeviceFault, HardwareError
from hardware.motion import NewportStage
from hardware.motion.newport import ControllerState
from tests.hardware.devices import NewportDevice
from tests.hardware.motion.benches import SPAN, axes


@pytest.fixture
def device():
    with NewportDevice() as made:
        yield made


@pytest.fixture
def stage(device):
    with NewportStage(axes(), device.path) as made:
        yield made


@pytest.mark.parametrize(
    ("code", "name", "moving"),
    [
        (0x0A, "NOT REFERENCED", False),
        (0x1E, "HOMING", True),
        (0x28, "MOVING", True),
        (0x33, "READY", False),
        (0x3C, "DISABLE", False),
        (0x99, "state 99", False),
    ],
)
def test_states_have_names(code, name, moving):
    state = ControllerState(code, 0)
    assert (state.name, state.moving) == (name, moving)


def test_faults_of_the_positioner_have_names():
    assert ControllerState(0x3C, 0x21).complaint == "negative end of run, following error"


def test_every_command_is_followed_by_the_question_for_its_error(stage, device):
    stage.home()
    stage.move_to(x=0.005)
    lines = device.received.decode().split("\r\n")
    commands = [i for i, line in enumerate(lines) if re.match(r"1(OR|PA|VA\d)", line)]
    assert [lines[i][1:3] for i in commands] == ["OR", "VA", "PA"]
    assert all(lines[i + 1] == "1TE" for i in commands)
    assert lines[commands[-1]] == "1PA5.000000"


def test_a_refusal_is_a_fault_with_its_text_and_nothing_moves(stage, device):
    stage.home()
    device.refuse = "C"
    with pytest.raises(DeviceFault, match=r"TE C: Command not allowed \(PA"):
        stage.move_to(x=0.005)
    assert stage.homed
    assert device.motor.position == 0


def test_homing_again_resets_a_referenced_controller(stage, device):
    stage.home()
    device.motor.set(2.0)
    stage.home()
    assert b"1RS\r\n" in device.received
    assert device.motor.position == 0


def test_limits_beyond_those_of_the_controller_are_refused(device):
    device.limits = (0.0, 1e3 * SPAN - 1)
    with pytest.raises(HardwareError, match=r"SL, SR"):
        NewportStage(axes(), device.path)


def test_addresses_are_one_to_each_axis():
    with pytest.raises(ValueError, match="1 to 31"):
        NewportStage(axes(), "/dev/null", addresses={"x": 32})
    with pytest.raises(ValueError, match="1 to 31"):
        NewportStage({**axes(), "y": axes()["x"]}, "/dev/null", addresses={"x": 1, "y": 1})
