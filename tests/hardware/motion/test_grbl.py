"""What is GRBL's own: reports, settings, units, and the lines that come unasked."""

import math
import os
import threading
import time

import pytest

from hardware.errors import DeviceFault, EmergencyStopped, HardwareError
from hardware.motion import Axis, GrblStage
from hardware.motion.grbl_words import is_banner, parse_report, parse_setting
from tests.hardware.devices import GrblDevice

AXES = {"x": Axis(-0.02, 0.0, 0.1), "y": Axis(-0.02, 0.0, 0.05)}


class WorkCoordinates(GrblDevice):
    WORK = True


class Grblhal(GrblDevice):
    BANNER = "GrblHAL 1.1f ['$' or '$HELP' for help]"


class Unlocked(Grblhal):
    """After a reset it is ready at once, although it lost its position."""

    def brown_out(self):
        for motor in self.motors:
            motor.set(0.0)
        self.state = "Idle"
        self.say(self.BANNER)


@pytest.fixture
def device():
    with GrblDevice() as made:
        yield made


def test_a_report_is_read_by_name_in_any_order():
    report = parse_report("<Hold:0|WCO:1,2,3|FS:0,0|Bf:100,1023|MPos:-1.5,0,2.25|FW:grblHAL>")
    assert (report.state, report.substate) == ("Hold", 0)
    assert report.machine == (-1.5, 0.0, 2.25)
    assert report.offset == (1.0, 2.0, 3.0)
    assert report.work is None


@pytest.mark.parametrize(
    "line",
    [
        "<Idle|MPos:1,2,3",
        "Idle|MPos:1,2,3>",
        "<Idle|FS:0,0>",
        "<Idle|MPos:1,2,x>",
        "<Idle|MPos:nan,0,0>",
        "<Idle|MPos:1,2,3|WPos:1,2,3>",
        "<Id\ufffdle|MPos:1,2,3>",
        "<Idle|MPos:1,2<Idle|MPos:1,2,3>",
    ],
)
def test_a_damaged_report_is_none(line):
    assert parse_report(line) is None


def test_banners_of_both_firmwares_are_known():
    assert is_banner("Grbl 1.1h ['$' for help]")
    assert is_banner("GrblHAL 1.1f ['$' or '$HELP' for help]")
    assert not is_banner("[MSG:Grbl]")


def test_settings_that_are_texts_are_none():
    assert parse_setting("$130=200.000") == (130, 200.0)
    assert parse_setting("$76=motor") is None
    assert parse_setting("130=200") is None


@pytest.mark.parametrize(
    ("number", "value", "match"),
    [
        (13, 1, r"\$13=0"),
        (20, 0, r"\$20=1"),
        (22, 0, r"\$22=1"),
        (130, 10, r"\$130"),
        (111, 100, r"speed 3000/min of Y .* \$111"),
    ],
)
def test_settings_that_do_not_fit_are_refused(device, number, value, match):
    device.settings[number] = value
    with pytest.raises(HardwareError, match=match):
        GrblStage(AXES, device.path)


def test_positive_limits_are_no_machine_coordinates(device):
    with pytest.raises(HardwareError, match="machine coordinates"):
        GrblStage({"x": Axis(-0.01, 0.01, 0.1)}, device.path)


def test_metres_are_millimetres_on_the_line_and_axes_move_together(device):
    with GrblStage(AXES, device.path) as stage:
        stage.home()
        stage.move_to(x=-0.003, y=-0.004)
        assert stage.position() == pytest.approx({"x": -0.003, "y": -0.004})
    # From -0.5 mm: 2.5 mm at 100 mm/s and 3.5 mm at 50 mm/s take 70 ms, the longer way leads.
    feed = 60 * math.hypot(2.5, 3.5) / 0.07
    assert b"$J=G53G21G90X-3.0000Y-4.0000F%.3f\n" % feed in device.received
    assert not device.overrun


def test_letters_name_the_axes_of_the_controller(device):
    with GrblStage({"focus": AXES["x"]}, device.path, letters={"focus": "Z"}) as stage:
        stage.home()
        stage.move_to(focus=-0.002)
    assert b"G90Z-2.0000" in device.received
    with pytest.raises(ValueError, match="letters"):
        GrblStage({"focus": AXES["x"]}, device.path)


def test_a_radian_is_degrees():
    with GrblDevice() as device:
        axis = Axis(-1.0, 0.0, 1.0, unit="rad", tolerance=1e-3)
        with GrblStage({"x": axis}, device.path) as stage:
            stage.home()
            stage.jog("x", math.radians(-1))
    assert b"X-1.5000" in device.received  # from the pull-off of 0.5


@pytest.mark.parametrize("kind", [WorkCoordinates, Grblhal])
def test_other_reports_and_firmwares_are_understood(kind):
    with kind() as device, GrblStage(AXES, device.path) as stage:
        stage.home()
        stage.move_to(x=-0.005)
        assert stage.position()["x"] == pytest.approx(-0.005)


def test_what_is_pushed_between_a_line_and_its_ok_is_no_answer(device):
    with GrblStage(AXES, device.path) as stage:
        stage.home()
        device.pushed = "[MSG:Pgm End]"
        stage.move_to(x=-0.002)
        assert stage.position()["x"] == pytest.approx(-0.002)


def test_homing_without_a_switch_is_an_alarm(device):
    with GrblStage(AXES, device.path) as stage:
        device.finds_switch = False
        with pytest.raises(DeviceFault, match=r"ALARM:9: homing met no limit switch"):
            stage.home()
        assert not stage.homed


def test_a_soft_limit_of_the_controller_keeps_the_position(device):
    with GrblStage(AXES, device.path) as stage:
        stage.home()
        device.alarm(2)
        with pytest.raises(DeviceFault, match="ALARM:2"):
            stage.move_to(x=-0.002)
        assert stage.homed
        assert b"$X" not in device.received
        stage.clear()
        stage.move_to(x=-0.002)


def test_the_limit_of_homing_follows_from_travel_and_seek_rate(device):
    with GrblStage({"x": AXES["x"]}, device.path, slack=1.0) as stage:
        # 1.5 times 200 mm at 100 mm/s, five pull-offs of 0.5 mm at 10 mm/s, twice, and the slack.
        assert stage._homing_time() == pytest.approx(1.0 + 2 * (3.0 + 0.25))


@pytest.mark.parametrize("stopped", [False, True])
def test_a_banner_alone_costs_the_position(stopped):
    with Unlocked() as device, GrblStage(AXES, device.path) as stage:
        stage.home()
        if stopped:
            stage.emergency_stop()
            stage.clear()
        device.brown_out()
        time.sleep(0.05)
        with pytest.raises(DeviceFault, match="reset: the controller restarted"):
            stage.move_to(x=-0.002)
        assert not stage.homed


@pytest.mark.device
@pytest.mark.skipif("VEILENS_GRBL_PORT" not in os.environ, reason="VEILENS_GRBL_PORT is not set")
def test_grbl_itself_homes_moves_and_stops():
    """On a real controller, or on its firmware in a simulator: x is free to move 20 mm."""
    with GrblStage({"x": Axis(-0.02, 0.0, 0.005)}, os.environ["VEILENS_GRBL_PORT"]) as stage:
        stage.home()
        stage.move_to(x=-0.01)
        assert stage.position()["x"] == pytest.approx(-0.01, abs=1e-5)
        threading.Timer(0.5, stage.emergency_stop).start()
        with pytest.raises(EmergencyStopped):
            stage.move_to(x=0.0)
        assert not stage.homed
