"""What is APT's own: framing, scales, status bits, messages that nobody asked for."""

import struct

import pytest

from hardware.errors import DeviceFault, DeviceTimeout
from hardware.motion import AptScale, AptStage
from hardware.motion import apt_messages as apt
from tests.hardware.devices import AptDevice
from tests.hardware.devices.apt import COUNTS, VELOCITY
from tests.hardware.motion.benches import SPEED, axes

SCALES = {"x": AptScale(COUNTS, VELOCITY)}


@pytest.fixture
def device():
    with AptDevice() as made:
        yield made


@pytest.fixture
def stage(device):
    with AptStage(axes(), device.path, SCALES) as made:
        yield made


def test_messages_are_framed_as_the_protocol_says():
    # The examples that Thorlabs' document gives for its messages: home, and 200 000 counts.
    assert apt.short(apt.HOME, 0x50, 1) == bytes.fromhex("43 04 01 00 50 01")
    move = apt.long(apt.MOVE, 0x50, struct.pack("<Hi", 1, 200_000))
    assert move == bytes.fromhex("53 04 06 00 d0 01 01 00 40 0d 03 00")


def test_taking_finds_back_after_garbage_of_any_length():
    message = struct.pack("<HBBBB", apt.HOMED, 1, 0, 1, 0x50)
    for garbage in (b"", b"\x00", b"\xff" * 7, b"\x43\x04\x01\x00\x50", b"\x01\x50\x81"):
        buffer = bytearray(garbage + message)
        assert apt.take(buffer) == message
        assert not buffer


def test_a_part_of_a_message_waits_for_its_rest():
    whole = struct.pack("<HHBB", apt.DC_STATUS, 14, 0x81, 0x50) + bytes(14)
    for cut in range(len(whole)):
        buffer = bytearray(whole[:cut])
        assert apt.take(buffer) is None
        buffer += whole[cut:]
        assert apt.take(buffer) == whole


def test_status_bits_have_names():
    data = struct.pack("<HiHHI", 1, -5, 0, 0, 0x8000_0410)
    assert apt.parse_motion(data) == (-5, {"homed", "moving forward", "enabled"})


def test_position_and_speed_are_scaled(stage, device):
    stage.home()
    stage.move_to(x=0.005)
    assert device.motor.position == round(0.005 * COUNTS)
    assert device.velocity == round(SPEED * VELOCITY)
    assert device.unread == 0


def test_messages_in_between_are_no_answers(stage, device):
    stage.home()
    device.chatter = True
    stage.move_to(x=0.004)
    assert stage.position()["x"] == pytest.approx(0.004, abs=20e-6)


def test_an_error_message_is_a_fault_with_its_text(stage, device):
    stage.home()
    device.refuse = True
    with pytest.raises(DeviceFault, match="error 12: out of range"):
        stage.move_to(x=0.004)
    assert not stage.homed


def test_another_status_message_is_asked_for_a_stepper(device):
    with pytest.raises(DeviceTimeout):
        AptStage(axes(), device.path, SCALES, status_message="stepper")
    assert struct.pack("<HBBBB", 0x0480, 1, 0, 0x50, 1) in device.received


def test_each_axis_needs_a_scale():
    with pytest.raises(ValueError, match="one for each axis"):
        AptStage(axes(), "/dev/null", {})
    with pytest.raises(ValueError, match="above 0"):
        AptScale(0.0, 1.0)
    with pytest.raises(ValueError, match="0x50 or 0x21"):
        AptScale(1.0, 1.0, 0x99)
