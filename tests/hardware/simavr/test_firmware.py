"""The point-source firmware as its README tells it, on the pins of a simulated controller."""

import contextlib
import time
from itertools import count, pairwise

import pytest
import serial

from tests.hardware.simavr import CLOCK, Board, missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

HOME_STAGE = 101  # step 0 on the stage: the switch closes at 1, then 100 steps
FAST = 10.0  # simulated over real time


def crc8(data):
    remainder = 0
    for byte in data:
        remainder ^= byte
        for _ in range(8):
            remainder = (remainder << 1 ^ (0x107 if remainder & 0x80 else 0)) & 0x1FF
    return remainder


def framed(text):
    data = text.encode("ascii")
    return data + b"*%02X\n" % crc8(data)


class Host:
    """Speaks the protocol and nothing more: no state, no retries."""

    def __init__(self, path):
        self.port = serial.Serial(path, 115200, timeout=0.05, exclusive=True)
        self.tags = count(1)
        self.text = b""
        self.kept = []

    def line(self):
        """Return the next good line, or None if none comes soon."""
        if not self.kept:
            self.text += self.port.read(self.port.in_waiting or 1)
            *whole, self.text = self.text.split(b"\n")
            for line in whole:
                body, star, checksum = line.rpartition(b"*")
                if star and checksum == b"%02X" % crc8(body):
                    self.kept.append(body.decode())
        return self.kept.pop(0) if self.kept else None

    def until(self, start, timeout=10.0):
        """Return what follows `start` in the first line that has it; others are kept."""
        end = time.monotonic() + timeout
        others = []
        while not (line := self.line() or "").startswith(start):
            if line:
                others.append(line)
            elif time.monotonic() > end:
                raise TimeoutError(f"no {start!r}, but {others}")
        self.kept = others + self.kept
        return line.removeprefix(start).strip()

    def event(self, name):
        return pairs(self.until(f"EVT {name}"))

    def ask(self, request):
        """Return the values of the reply; a refusal is its number."""
        tag = next(self.tags)
        self.port.write(framed(f"{tag} {request}"))
        return self.reply(tag)

    def reply(self, tag, timeout=10.0):
        """Nothing may come before it."""
        end = time.monotonic() + timeout
        while not (line := self.line()):
            if time.monotonic() > end:
                raise TimeoutError(f"no reply to {tag}")
        kind, of, rest = line.split(" ", 2)
        assert (kind in ("OK", "ERR"), of) == (True, str(tag)), line
        return pairs(rest) if kind == "OK" else int(rest.split()[0])

    def home(self):
        self.ask("HOME")
        assert self.event("homed") == {"pos": "0"}


def pairs(text):
    return dict(item.split("=", 1) for item in text.split())


@pytest.fixture
def board():
    with Board(FAST) as running:
        yield running


@pytest.fixture
def host(board):
    talking = Host(board.path)
    with contextlib.closing(talking.port):
        board.wait(0.02)
        talking.port.reset_input_buffer()  # what is left of the boot event
        yield talking


@pytest.fixture
def homed(board, host):
    """A host whose axis is homed quickly."""
    board.place(150)
    host.home()
    return host


def dark(board):
    board.wait(0.01)  # a whole window of the duty, after the present one
    return board.state().duty == 0


# ---- who it is


def test_identity_names_the_program_its_axis_and_the_reset(host):
    identity = host.ask("ID?")
    assert identity["name"] == "point-source"
    assert identity["protocol"] == "1"
    assert (identity["axes"], identity["range"], identity["jog"]) == ("1", "0,1000000", "200")
    assert identity["reset"] == "power"


def test_nothing_moves_or_shines_after_power_up(board, host):
    board.wait(0.5)
    state = board.state()
    assert (state.edges, state.duty, state.enabled) == (0, 0, 0)


# ---- light


@pytest.mark.parametrize("level", [1, 64, 200, 255])
def test_level_is_the_duty_on_the_pin(board, host, level):
    assert host.ask(f"LED {level}")["led"] == str(level)
    board.wait(0.01)
    # edges of simulated pulses are early or late by up to an instruction, of 256 clocks
    assert board.state().duty == pytest.approx((level + 1) / 256, abs=1.5 / 256)


def test_level_zero_is_dark_without_flicker(board, host):
    host.ask("LED 255")
    host.ask("LED 0")
    assert dark(board)
    assert host.ask("LED?") == {"led": "0", "left": "0"}


def test_light_goes_off_after_the_longest_on_time(board, host):
    host.ask("LEDTIME 400")
    host.ask("LED 100")
    lit = board.state().time
    host.event("led reason=timeout")
    assert board.state().time - lit >= 0.39
    assert dark(board)
    assert host.ask("LED?")["led"] == "0"


def test_a_new_level_restarts_the_on_time(board, host):
    board.set_speed(1)
    host.ask("LEDTIME 1000")
    host.ask("LED 100")
    board.wait(0.4)
    assert int(host.ask("LED?")["left"]) <= 600
    assert int(host.ask("LED 100")["left"]) > 990


def test_on_time_of_zero_is_no_limit(board, host):
    host.ask("LEDTIME 100")
    host.ask("LEDTIME 0")
    assert host.ask("LED 100") == {"led": "100", "left": "0"}
    board.wait(0.5)
    assert board.state().duty > 0


# ---- motion


def test_400_steps_are_400_pulses_away_from_home(board, homed):
    before = board.state()
    assert homed.ask("MOVE 400")["state"] == "moving"
    assert homed.event("done") == {"pos": "400"}
    after = board.state()
    assert after.edges - before.edges == 400
    assert after.stage - before.stage == 400


def test_a_lower_step_is_towards_home(board, homed):
    homed.ask("MOVE 300")
    homed.event("done")
    homed.ask("MOVE 120")
    homed.event("done")
    assert board.state().stage == HOME_STAGE + 120


def test_pulses_are_as_wide_and_as_well_set_up_as_the_table_says(board, homed):
    homed.ask("SPEED 5000 50000")
    for target in (1500, 0):
        homed.ask(f"MOVE {target}")
        homed.event("done")
    state = board.state()
    assert state.shortest_pulse >= 5e-6 * CLOCK
    assert state.shortest_setup >= 100e-6 * CLOCK


def test_a_move_keeps_its_speed_and_its_acceleration(board, homed):
    homed.ask("SPEED 1000 4000")
    before = board.state().edges
    homed.ask("MOVE 600")
    homed.event("done")
    at = [cycle / CLOCK for cycle in board.edges()[before - board.state().edges :]]
    steps = [b - a for a, b in pairwise(at)]
    assert min(steps) > 0.99e-3
    # x = a t^2 / 2 over the first 100 of the 125 steps of the ramp; the recurrence is good to 3 %
    ramp_time = at[100] - at[0] + (2 / 4000) ** 0.5
    assert 2 * 101 / ramp_time**2 == pytest.approx(4000, rel=0.05)
    # up and down alike, but for rounding and for interrupts that wait for others; the last
    # interval is the one before the first pulse
    assert steps[:100] == pytest.approx(steps[-2:-102:-1], rel=0.01, abs=50e-6)


def test_a_move_to_here_is_done_without_a_pulse(board, homed):
    before = board.state().edges
    homed.ask("MOVE 0")
    assert homed.event("done") == {"pos": "0"}
    assert board.state().edges == before


def test_a_second_move_is_refused_and_the_first_goes_on(board, homed):
    homed.ask("MOVE 3000")
    assert homed.ask("MOVE 10") == 9
    assert homed.ask("SPEED 100 1000") == 9
    assert homed.ask("LIM 0 10") == 9
    homed.event("done")
    assert board.state().stage == HOME_STAGE + 3000


@pytest.mark.parametrize("target", [-1, 501])
def test_steps_outside_the_soft_limits_are_refused(board, homed, target):
    homed.ask("LIM 0 500")
    before = board.state().edges
    assert homed.ask(f"MOVE {target}") == 8
    board.wait(0.1)
    assert board.state().edges == before


def test_stop_slows_down_and_keeps_the_position(board, homed):
    homed.ask("MOVE 5000")
    board.wait(0.6)
    homed.ask("STOP")
    stopped = int(homed.event("stopped")["pos"])
    assert board.state().stage == HOME_STAGE + stopped
    assert homed.ask("POS?")["homed"] == "1"
    at = board.edges()
    assert at[-1] - at[-2] > 4 * (at[-130] - at[-131])  # slow at its end


def test_no_byte_is_lost_at_full_speed(homed):
    homed.ask("SPEED 5000 50000")
    homed.ask("MOVE 20000")
    tags = [next(homed.tags) for _ in range(12)]
    homed.port.write(b"".join(framed(f"{tag} POS?") for tag in tags))
    assert [homed.reply(tag)["state"] for tag in tags] == ["moving"] * len(tags)


# ---- homing


@pytest.mark.parametrize("start", [0, -30, 40, 700])
def test_homing_ends_at_the_same_step_from_wherever_it_starts(board, host, start):
    board.place(start)
    assert host.ask("HOME")["state"] == "homing"
    host.event("homed")
    assert board.state().stage == HOME_STAGE
    position = host.ask("POS?")
    assert (position["pos"], position["homed"], position["state"]) == ("0", "1", "idle")


def test_an_axis_that_is_not_homed_only_jogs(board, host):
    assert host.ask("MOVE 201") == 7
    host.ask("MOVE 200")
    host.event("done")
    assert host.ask("MOVE -1") == 7
    assert board.state().edges == 200


def test_homing_gives_up_where_no_switch_is(board, host):
    host.ask("LIM 0 0")
    host.ask("HOME")
    alarm = host.event("alarm")
    assert (alarm["reason"], alarm["homed"]) == ("search", "0")
    assert board.state().edges == 1000


def test_homing_gives_up_on_a_switch_that_stays_open(board, host):
    board.switch("home", "open")
    host.ask("HOME")
    assert host.event("alarm")["reason"] == "search"
    assert board.state().edges == 400


def test_homing_that_is_refused_changes_nothing(board, homed):
    board.switch("home", "open")
    board.switch("far", "open")
    assert homed.ask("HOME") == 10
    assert homed.ask("POS?")["homed"] == "1"


def test_stop_cuts_homing_short(board, host):
    board.place(5000)
    host.ask("HOME")
    board.wait(0.3)
    host.ask("STOP")
    host.event("stopped")
    assert host.ask("POS?")["homed"] == "0"


# ---- switches


def test_the_far_switch_stops_a_move_at_its_step(board, homed):
    homed.ask("LED 100")
    board.place(HOME_STAGE, HOME_STAGE + 300)
    homed.ask("MOVE 1000")
    alarm = homed.event("alarm")
    assert (alarm["reason"], alarm["homed"]) == ("far", "0")
    board.wait(0.1)
    assert board.state().stage == HOME_STAGE + 300
    assert dark(board)
    assert homed.ask("MOVE 310") == 6
    assert homed.ask("HOME") == 6
    assert homed.ask("LED 1") == 6


def test_from_a_switch_the_way_is_back_alone(board, homed):
    board.place(HOME_STAGE, HOME_STAGE + 300)
    homed.ask("MOVE 1000")
    at = int(homed.event("alarm")["pos"])
    assert homed.ask("CLR")["alarm"] == "none"
    assert homed.ask(f"MOVE {at + 10}") == 10
    homed.ask(f"MOVE {at - 10}")
    homed.event("done")
    assert board.state().stage == HOME_STAGE + 290


def test_a_switch_that_opens_behind_the_stage_stops_it_too(board, homed):
    """Its cable broke, or the two are swapped."""
    homed.ask("MOVE 5000")
    board.wait(0.2)
    board.switch("home", "open")
    edges = board.state().edges
    assert homed.event("alarm")["reason"] == "home"
    assert board.state().edges <= edges + 1


def test_nothing_moves_while_both_switches_are_unplugged(board, host):
    board.switch("home", "open")
    board.switch("far", "open")
    assert [host.ask(r) for r in ("HOME", "MOVE 10", "MOVE -10")] == [10, 10, 10]
    assert board.state().edges == 0


# ---- emergency stop


def test_emergency_stop_in_motion_lets_one_pulse_pass_at_most(board, homed):
    homed.ask("LED 200")
    homed.ask("SPEED 5000 50000")
    homed.ask("MOVE 20000")
    board.wait(0.3)
    board.set_speed(1)
    homed.port.write(b"!")
    alarm = homed.event("alarm")
    assert (alarm["reason"], alarm["homed"]) == ("estop", "0")
    board.wait(0.05)
    arrived = board.state().received + 10 * CLOCK / 115200  # its stop bit
    assert 300 < board.state().edges < 19000
    assert sum(edge > arrived for edge in board.edges()) <= 1
    assert dark(board)


def test_emergency_stop_latches_until_it_is_cleared(board, homed):
    homed.ask("MOVE 5000")
    board.wait(0.2)
    homed.port.write(b"!")
    homed.event("alarm")
    edges = board.state().edges
    assert [homed.ask(r) for r in ("MOVE 1", "HOME", "LED 1")] == [6, 6, 6]
    assert homed.ask("LED 0")["led"] == "0"
    assert homed.ask("POS?")["state"] == "alarm"
    assert homed.ask("CLR")["state"] == "idle"
    assert homed.ask("MOVE 2000") == 7
    assert board.state().edges == edges
    homed.home()
    assert board.state().stage == HOME_STAGE


def test_emergency_stop_at_rest_keeps_the_position(board, homed):
    homed.port.write(b"!")
    assert homed.event("alarm")["homed"] == "1"
    assert homed.ask("CLR")["homed"] == "1"
    homed.ask("MOVE 50")
    homed.event("done")
    assert board.state().stage == HOME_STAGE + 50


@pytest.mark.parametrize("before", [0, 4])
def test_requests_that_came_before_an_emergency_stop_do_not_act_after_it(board, homed, before):
    """Long replies before them keep the program busy until the stop is there."""
    homed.port.write(b"!")
    homed.event("alarm")
    edges = board.state().edges
    requests = ["ID?"] * before + ["CLR", "LED 9", "MOVE 100"]
    homed.port.write(b"".join(framed(f"{next(homed.tags)} {r}") for r in requests) + b"!")
    homed.event("alarm")
    board.wait(0.05)
    assert board.state().edges <= edges + 1
    assert dark(board)
    homed.kept.clear()
    assert homed.ask("POS?")["state"] == "alarm"


def test_an_emergency_stop_right_behind_a_clearance_is_not_cleared_by_it(homed):
    homed.port.write(b"!")
    homed.event("alarm")
    homed.port.write(framed("900 CLR") + b"!")
    homed.event("alarm")
    homed.kept.clear()
    assert homed.ask("POS?")["alarm"] == "estop"


def test_emergency_stop_works_inside_a_line(board, homed):
    homed.ask("LED 50")
    homed.port.write(b"77 MOV!")
    assert homed.event("alarm")["reason"] == "estop"
    assert dark(board)


# ---- resets


def test_a_reset_in_motion_is_told_and_costs_the_position(board, homed):
    boots = int(homed.ask("ID?")["boot"])
    homed.ask("LED 100")
    homed.ask("MOVE 5000")
    board.wait(0.3)
    board.reset("brownout")
    edges = board.state().edges
    boot = homed.event("boot")
    assert (boot["reset"], int(boot["boot"])) == ("brownout", boots + 1)
    assert homed.ask("MOVE 400") == 7
    board.wait(0.1)
    assert dark(board)
    state = board.state()
    assert (state.edges, state.enabled) == (edges, 0)
    homed.home()
    assert board.state().stage == HOME_STAGE


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        ("power", "power"),
        ("external", "external"),
        ("watchdog", "watchdog"),
        ("optiboot", "brownout"),
        ("bootloader", "unknown"),
    ],
)
def test_the_cause_of_a_reset_is_told(board, host, cause, told):
    board.reset(cause)
    assert host.event("boot")["reset"] == told
    identity = host.ask("ID?")
    assert identity["reset"] == told
    assert int(identity["up"]) < 2000


def test_a_reset_inside_a_line_does_not_cost_the_boot_event(board, host):
    board.set_speed(0.2)
    host.port.write(framed("900 ID?"))
    board.wait(0.005)  # its reply takes 8 ms or more
    board.reset("brownout")
    assert host.event("boot")["reset"] == "brownout"
    assert not host.kept  # nothing of the reply


def test_a_program_that_hangs_is_reset_and_dark(board, host):
    host.ask("LED 100")
    board.freeze()
    assert host.event("boot")["reset"] == "watchdog"
    assert dark(board)


# ---- damaged and wrong lines


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"5 LED 255*00\n", 1),
        (b"5 LED 255\n", 1),
        (b"*\n", 1),
        (framed("5 LED 254").replace(b"4", b"5"), 1),
        (b"\x00\xff\x80\x1b\n", 1),
        (b"\x80" + framed("5 LED 255"), 1),
        (framed("5 LED 255\x01"), 1),
        (framed("5 LED 255" + " " * 60), 2),
        (b"x" * 600 + b"\n", 2),
        (framed("0 LED 255"), 5),
        (framed("70000 LED 255"), 5),
        (framed("LED 255"), 5),
    ],
)
def test_a_line_that_cannot_be_trusted_is_refused_and_the_next_one_works(board, host, line, error):
    host.port.write(line)
    assert host.until("ERR 0 ").split()[0] == str(error)
    assert host.ask("LED?")["led"] == "0"
    assert board.state().duty == 0


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ("JUMP", 4),
        ("led 5", 4),
        ("", 4),
        ("LED", 5),
        ("LED 5 5", 5),
        ("LED  5", 5),
        ("LED 5 5 5", 5),
        ("LED -1", 5),
        ("LED 256", 5),
        ("LED 1.5", 5),
        ("LED 0x10", 5),
        ("LED 9999999999", 5),
        ("MOVE -", 5),
        ("LIM 10 5", 5),
        ("LIM 0 1000001", 5),
        ("SPEED 49 1000", 5),
        ("SPEED 5001 1000", 5),
        ("SPEED 50 999", 5),
        ("ALIVE 99", 5),
        ("LEDTIME 86400001", 5),
    ],
)
def test_a_request_that_is_not_in_the_table_is_refused_by_its_tag(host, request_, error):
    assert host.ask(request_) == error
    assert host.ask("LED?")["led"] == "0"


def test_half_a_line_is_dropped_after_a_while(board, host):
    host.port.write(framed("5 LED 255")[:6])
    assert host.until("ERR 0 ").split()[0] == "3"
    assert host.ask("LED?")["led"] == "0"


def test_a_line_in_two_halves_is_one(board, host):
    board.set_speed(1)
    line = framed("900 LED 3")
    host.port.write(line[:5])
    board.wait(0.05)
    host.port.write(line[5:])
    assert host.reply(900)["led"] == "3"


def test_carriage_returns_and_empty_lines_are_nothing(board, host):
    host.port.write(b"\n\r\n" + framed("900 LED 3").replace(b"\n", b"\r\n"))
    assert host.reply(900)["led"] == "3"
    assert not host.kept


def test_more_than_the_buffer_holds_damages_lines_but_executes_none_wrongly(board, host):
    """A flood in one go: every answer is a whole one, and it goes on afterwards."""
    tags = range(1000, 1100)
    host.port.write(b"".join(framed(f"{tag} ID?") for tag in tags))
    board.wait(1.5)
    answers = list(iter(host.line, None))
    assert any(line.startswith("OK 10") for line in answers)
    assert any(line.startswith("ERR 0 ") for line in answers)
    assert all(line.startswith(("OK 10", "ERR 0 ")) for line in answers)
    assert host.ask("LED?")["led"] == "0"


def test_requests_back_to_back_are_answered_in_order(host):
    host.port.write(framed("900 LED 7") + framed("901 LED?") + framed("902 POS?"))
    assert host.until("OK 900")
    assert host.until("OK 901").startswith("led=7 ")
    assert host.until("OK 902").startswith("pos=0 ")


# ---- dead-man


def test_silence_darkens_the_light_and_stops_in_good_order(board, homed):
    homed.ask("ALIVE 400")
    homed.ask("LED 100")
    homed.ask("MOVE 5000")
    homed.event("deadman")
    stopped = int(homed.event("stopped")["pos"])
    assert 0 < stopped < 2000
    assert board.state().stage == HOME_STAGE + stopped
    assert dark(board)
    assert homed.ask("POS?")["homed"] == "1"


def test_requests_keep_the_light_on(board, host):
    board.set_speed(1)
    host.ask("ALIVE 800")
    host.ask("LED 100")
    for _ in range(8):
        board.wait(0.15)
        host.ask("POS?")
    assert board.state().duty > 0


def test_broken_lines_are_no_sign_of_life(board, host):
    board.set_speed(2)
    host.ask("ALIVE 400")
    host.ask("LED 100")
    for _ in range(8):
        board.wait(0.1)
        host.port.write(b"5 POS?*00\n")
    assert board.state().duty == 0
    host.event("deadman")


def test_silence_is_told_once(board, host):
    host.ask("ALIVE 100")
    host.event("deadman")
    board.wait(0.5)
    assert host.ask("ALIVE?")["alive"] == "100"  # an event before the reply would fail here
    host.event("deadman")
