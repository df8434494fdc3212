"""An agent in use: one client in control, stops that wait for nothing, the dead-man's watch."""

import io
import threading
import time

import numpy as np
import pytest

from hardware.agent import Agent, AgentClient
from hardware.agent.wire import read_record
from hardware.cameras import SensorMode
from hardware.errors import DeviceBusy, EmergencyStopped, HardwareError
from hardware.safety import STOP_WITHIN
from tests.hardware.agent.bench import CLIENT, MODE, TOKEN, ask, exchange, serving, small_rig

OTHER = "fedcba9876543210"


@pytest.fixture
def server():
    with serving(small_rig(speed=0.02)) as running:
        yield running


@pytest.fixture
def mine(server):
    """An agent that CLIENT controls, its stage homed."""
    assert ask(server, "POST", "/api/control", {"name": "test"})[0] == 200
    assert ask(server, "POST", "/api/stage/home", {"stage": "table"})[0] == 200
    return server


class Background(threading.Thread):
    """Runs a request, and keeps its answer."""

    def __init__(self, *request, **options):
        super().__init__(daemon=True)
        self.request, self.options, self.answer = request, options, None
        self.start()

    def run(self):
        self.answer = ask(*self.request, **self.options)

    def done(self, timeout=5.0):
        self.join(timeout)
        assert not self.is_alive()
        return self.answer


def stage(server):
    return ask(server, "GET", "/api/state", client="")[1]["stages"]["table"]


def wait(condition, timeout=5.0):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


# Control


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/stage/home", {"stage": "table"}),
        ("/api/stage/move", {"stage": "table", "target": {"z": 0.01}}),
        ("/api/stage/jog", {"stage": "table", "axis": "z", "distance": 1e-4}),
        ("/api/stage/stop", {"stage": "table"}),
        ("/api/light/set", {"light": "lamps", "channel": "led", "level": 1}),
        ("/api/light/off", {"light": "lamps"}),
        ("/api/camera/configure", {"max_exposure": 0.01}),
        ("/api/camera/capture", {"exposures": [0.01]}),
        ("/api/live/view", {"exposure": 0.01}),
        ("/api/clear", {}),
        ("/api/heartbeat", {}),
        ("/api/release", {}),
    ],
)
@pytest.mark.parametrize("client", [OTHER, ""])
def test_only_the_client_in_control_may_change_anything(mine, path, body, client):
    status, answer = ask(mine, "POST", path, body, client=client)
    assert status == 409
    assert answer["error"]["class"] == "DeviceBusy"
    assert "test controls the rig" in answer["error"]["message"]
    assert mine.agent.lease.held_by(CLIENT)


def test_others_watch_and_stop(mine):
    for path in ("/api/info", "/api/state", "/api/live"):
        assert ask(mine, "GET", path, client=OTHER)[0] == 200
    assert ask(mine, "POST", "/api/emergency-stop", {}, client="")[0] == 200
    assert mine.agent.rig.safety.stopped is not None


def test_control_passes_on_when_it_is_given_back(mine):
    assert ask(mine, "POST", "/api/control", {"name": "other"}, client=OTHER)[0] == 409
    ask(mine, "POST", "/api/light/set", {"light": "lamps", "channel": "led", "level": 0.5})
    assert ask(mine, "POST", "/api/release", {})[0] == 200
    assert mine.agent.light("lamps").state["led"] == 0.0  # left dark
    assert ask(mine, "POST", "/api/control", {"name": "other"}, client=OTHER)[0] == 200


def test_a_second_motion_is_refused_not_queued(mine):
    target = {"stage": "table", "target": {"z": 0.02}}
    first = Background(mine, "POST", "/api/stage/move", target)
    wait(lambda: stage(mine)["moving"])
    status, answer = ask(mine, "POST", "/api/stage/jog",
                         {"stage": "table", "axis": "x", "distance": 1e-3})  # fmt: skip
    assert (status, answer["error"]["class"]) == (409, "DeviceBusy")
    assert first.done()[0] == 200
    assert stage(mine)["position"]["z"] == pytest.approx(0.02)


def test_the_state_is_told_while_the_stage_moves(mine):
    move = Background(mine, "POST", "/api/stage/move", {"stage": "table", "target": {"z": 0.01}})
    wait(lambda: stage(mine)["moving"])
    seen, spans = [], []
    while move.is_alive():
        begun = time.monotonic()
        seen.append(stage(mine)["position"]["z"])
        spans.append(time.monotonic() - begun)
    assert seen == sorted(seen)
    assert len({round(z, 5) for z in seen}) > 5
    assert np.median(spans) < 0.1


# Stops


def test_a_stop_during_a_capture_and_a_move_is_told_within_a_quarter_of_a_second():
    slow = SensorMode("slow", (96, 128), 12, "RGGB", 1.55e-6, 60e-6, 5.0, 16.0, 2.0)
    with serving(small_rig(slow, speed=0.02)) as server:
        ask(server, "POST", "/api/control", {"name": "test"})
        ask(server, "POST", "/api/stage/home", {"stage": "table"})
        ask(server, "POST", "/api/light/set", {"light": "lamps", "channel": "led", "level": 1})
        capture = Background(server, "POST", "/api/camera/capture", {"exposures": [0.01]})
        move = Background(server, "POST", "/api/stage/move",
                          {"stage": "table", "target": {"z": 0.1}})  # fmt: skip
        wait(lambda: stage(server)["position"]["z"] > 0.002)
        begun = time.monotonic()
        status, answer = ask(server, "POST", "/api/emergency-stop", {"reason": "test"})
        took = time.monotonic() - begun
        assert took < STOP_WITHIN
        assert status == 200
        assert answer["failed"] == {}
        assert set(answer["seconds"]) == {"stage table", "light lamps"}
        assert move.done()[1]["error"]["class"] == "EmergencyStopped"
        stood = stage(server)["position"]["z"]
        assert stood < 0.05
        time.sleep(0.1)
        assert stage(server)["position"]["z"] == stood
        assert server.agent.light("lamps").state["led"] == 0.0
        capture.done(10.0)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"reason": 5}', b'{"other": [1]}'])
def test_a_stop_is_not_refused_for_its_wording(server, body):
    head = f"POST /api/emergency-stop HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}"
    head += f"\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    assert exchange(server, head.encode(), body).startswith(b"HTTP/1.1 200")
    assert server.agent.rig.safety.stopped is not None


def test_a_stop_is_latched_until_it_is_cleared(mine):
    ask(mine, "POST", "/api/emergency-stop", {})
    jog = {"stage": "table", "axis": "z", "distance": 1e-3}
    lit = {"light": "lamps", "channel": "led", "level": 1}
    for path, body in (("/api/stage/jog", jog), ("/api/light/set", lit)):
        status, answer = ask(mine, "POST", path, body)
        assert (status, answer["error"]["class"]) == (409, "EmergencyStopped")
    assert ask(mine, "GET", "/api/state")[1]["stopped"]["reason"] == "asked by a client"
    ask(mine, "POST", "/api/clear", {})
    assert ask(mine, "GET", "/api/state")[1]["stopped"] is None
    assert ask(mine, "POST", "/api/stage/jog", jog)[0] == 200  # it stood still: still homed


# The dead-man's watch


def test_a_silent_client_stops_everything_and_loses_control():
    with serving(small_rig(speed=0.01), silence=0.4) as server:
        assert ask(server, "POST", "/api/control", {"name": "test"})[0] == 200
        ask(server, "POST", "/api/stage/home", {"stage": "table"})
        move = Background(server, "POST", "/api/stage/move",
                          {"stage": "table", "target": {"z": 0.1}})  # fmt: skip
        begun = time.monotonic()
        assert move.done()[1]["error"]["class"] == "EmergencyStopped"
        assert 0.3 < time.monotonic() - begun < 0.4 + STOP_WITHIN + 0.3
        assert "test was not heard for 0.4 s" in server.agent.rig.safety.stopped.reason
        wait(lambda: server.agent.lease.holder is None)
        status, answer = ask(server, "POST", "/api/clear", {})
        assert status == 409
        assert "take control again" in answer["error"]["message"]
        assert ask(server, "POST", "/api/control", {"name": "test"})[0] == 200
        assert ask(server, "POST", "/api/clear", {})[0] == 200


def test_a_client_that_is_heard_keeps_control():
    with serving(silence=0.4) as server:
        ask(server, "POST", "/api/control", {"name": "test"})
        for _ in range(10):
            time.sleep(0.1)
            assert ask(server, "POST", "/api/heartbeat", {})[0] == 200
        ask(server, "POST", "/api/release", {})
        time.sleep(0.6)  # whoever gave control back may be silent
        assert server.agent.rig.safety.stopped is None


def test_watching_counts_as_being_there_for_the_one_in_control_alone():
    with serving(silence=0.4) as server:
        ask(server, "POST", "/api/control", {"name": "test"})
        for _ in range(4):
            time.sleep(0.1)
            ask(server, "GET", "/api/state", client=OTHER)
        wait(lambda: server.agent.rig.safety.stopped is not None)


def test_the_heartbeat_of_a_client_keeps_control_during_a_long_wait():
    with serving(silence=0.5) as server, AgentClient(server.url, TOKEN) as client:
        client.take_control()
        time.sleep(1.2)
        client.tell("/api/clear")
        assert server.agent.rig.safety.stopped is None


def test_leases_leave_no_thread_behind():
    with serving(silence=0.1) as server:
        before = threading.active_count()
        for number in range(10):
            ask(server, "POST", "/api/control", {"name": "test"})
            if number % 2:
                wait(lambda: server.agent.lease.holder is None)
            else:
                ask(server, "POST", "/api/release", {})
        wait(lambda: threading.active_count() <= before + 1)


# Picture and capture


def test_the_preview_stands_aside_for_a_capture_and_goes_on(mine):
    ask(mine, "POST", "/api/camera/configure", {"max_exposure": 0.01})
    first = ask(mine, "GET", "/api/live")[1]
    assert b'"kind": "live"' in first[:200]
    begun = time.monotonic()
    status, stream = ask(mine, "POST", "/api/camera/capture",
                         {"exposures": [0.001, 0.002], "repeats": 3})  # fmt: skip
    assert status == 200
    assert time.monotonic() - begun < 1.0
    kinds = []
    source = io.BytesIO(stream)
    while not kinds or kinds[-1] != "end":
        header, payload = read_record(source)
        kinds.append(header["kind"])
        if header["kind"] == "frame":
            assert len(payload) == 2 * MODE.shape[0] * MODE.shape[1]
    assert kinds == ["frame"] * 6 + ["end"]
    assert b'"kind": "live"' in ask(mine, "GET", "/api/live?after=1")[1][:200]


def test_the_camera_rests_when_nobody_watches(mine, monkeypatch):
    monkeypatch.setattr("hardware.agent.preview.WATCHED", 0.2)
    ask(mine, "GET", "/api/live")
    time.sleep(0.5)
    before = mine.agent.rig.camera.counts.kept
    time.sleep(0.3)
    assert mine.agent.rig.camera.counts.kept == before


def test_an_error_of_the_camera_is_shown(mine, monkeypatch):
    def broken(roi):
        raise HardwareError("the ribbon cable fell out", hint="plug it in")

    mine.agent.rig.camera.scene = broken
    header, _ = read_record(io.BytesIO(ask(mine, "GET", "/api/live")[1]))
    assert header["kind"] == "error"
    assert header["error"]["hint"] == "plug it in"


def test_an_exposure_that_fails_ends_the_stream_with_its_error(mine):
    status, stream = ask(mine, "POST", "/api/camera/capture", {"exposures": [99.0]})
    assert status == 200
    header, _ = read_record(io.BytesIO(stream))
    assert header["kind"] == "error"
    assert "exposure = 99 s" in header["error"]["message"]


def test_an_agent_without_its_client_stops_by_itself():
    rig = small_rig()
    agent = Agent(rig, silence=0.2)
    agent.lease.take(CLIENT, "test")
    agent.home("table")
    with pytest.raises(EmergencyStopped):
        agent.move("table", {"z": 0.1})
    with pytest.raises(DeviceBusy):
        agent.lease.check(OTHER)
    agent.close()
