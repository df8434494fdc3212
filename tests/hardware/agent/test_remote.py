"""A rig seen from the other end of a network, whole and broken."""

import io
import threading
import time

import numpy as np
import pytest

from hardware import errors
from hardware.agent import AgentClient, connect, open_remote
from hardware.agent.wire import error_from, error_json, read_record, record
from hardware.cameras import CaptureSettings
from hardware.errors import (
    DeviceBusy,
    DeviceDisconnected,
    DeviceFault,
    DeviceNotFound,
    DeviceTimeout,
    EmergencyStopped,
    FrameError,
    HardwareError,
    LimitError,
    NotHomedError,
    ProtocolError,
    SettingsNotApplied,
)
from hardware.frames import Roi
from tests.hardware.agent.bench import MODE, TOKEN, serving, small_rig
from tests.hardware.agent.relay import relayed


@pytest.fixture
def server():
    with serving(small_rig(speed=0.05)) as running:
        yield running


@pytest.fixture
def rig(server):
    with open_remote(server.url, TOKEN) as remote:
        yield remote


@pytest.fixture
def broken(server):
    """A rig behind a network that the test can break."""
    with (
        relayed(server) as relay,
        open_remote(f"http://127.0.0.1:{relay.port}", TOKEN) as remote,
    ):
        yield remote, relay


def test_it_is_the_rig_of_the_agent(rig, server):
    far = server.agent.rig
    assert rig.name == far.name
    assert rig.axes == far.axes
    assert rig.channels == far.channels
    assert rig.camera.info == far.camera.info
    assert list(rig.camera.modes) == list(far.camera.modes)


def test_frames_are_those_the_camera_took(rig, server):
    taken = []
    show = server.agent.preview.show
    server.agent.preview.show = lambda frame: (taken.append(frame), show(frame))
    rig.light({"led": 0.3})
    rig.camera.configure(CaptureSettings(roi=Roi(10, 21, 50, 60), max_exposure=0.01))
    came = list(rig.camera.bracket([0.001, 0.005], repeats=2, gain=2.0))
    assert len(came) == len(taken) == 4
    for here, there in zip(came, taken, strict=True):
        assert np.array_equal(here.mosaic, there.mosaic)
        assert here.mosaic.dtype == np.uint16
        assert here.mosaic.flags.writeable
        mine, far = dict(vars(here)), dict(vars(there))
        mine.pop("mosaic"), far.pop("mosaic")
        assert mine == far


def test_it_moves_and_lights_the_rig_of_the_agent(rig, server):
    rig.home()
    rig.move_to({"z": 0.01, "tilt": 0.02})
    assert rig.position() == pytest.approx(server.agent.rig.position())
    rig.stages["table"].jog("x", 1e-3)
    assert server.agent.rig.position()["x"] == pytest.approx(1e-3)
    rig.light({"led": 0.7})
    assert server.agent.light("lamps").state["led"] == 0.7
    rig.light({})
    assert server.agent.light("lamps").state["led"] == 0.0


def test_rules_of_the_agent_are_the_same_errors_here(rig):
    stage = rig.stages["table"]
    with pytest.raises(NotHomedError, match="home"):
        stage.move_to(z=0.05)
    with pytest.raises(NotHomedError):
        rig.position()
    with pytest.raises(NotHomedError, match="at most"):
        stage.jog("z", 0.002)
    stage.home()
    with pytest.raises(LimitError, match=r"z = 0\.2 m is outside") as raised:
        stage.jog("z", 0.2)
    assert (raised.value.axis, raised.value.high) == ("z", 0.1)
    with pytest.raises(ValueError, match="interlock"):
        rig.light({"laser": 1.0})
    with pytest.raises(ValueError, match="axis = 'q'"):
        stage.jog("q", 0.0)


def test_a_stop_from_here_ends_a_move(rig, server):
    rig.home()
    rig.light({"led": 1.0})
    raised = []

    def move():
        try:
            rig.move_to({"z": 0.1})
        except HardwareError as error:
            raised.append(error)

    mover = threading.Thread(target=move)
    mover.start()
    time.sleep(0.2)
    begun = time.monotonic()
    done = rig.safety.emergency_stop("test")
    assert time.monotonic() - begun < 0.25
    assert done.failed == {}
    mover.join(5)
    assert isinstance(raised[0], EmergencyStopped)
    status = rig.stages["table"].status()
    assert (status.homed, status.stopped, status.moving) == (False, True, False)
    assert server.agent.light("lamps").state["led"] == 0.0
    with pytest.raises(EmergencyStopped):
        rig.light({"led": 1.0})
    rig.safety.clear()
    rig.home()
    rig.light({"led": 0.1})


def test_a_stop_of_somebody_else_is_seen_here(rig, server):
    rig.home()
    server.agent.emergency_stop("somebody")
    assert rig.stages["table"].status().stopped
    with pytest.raises(EmergencyStopped):
        rig.move_to({"z": 0.01})
    rig.stages["table"].clear()


def test_closing_gives_control_back_and_leaves_it_dark(server):
    with open_remote(server.url, TOKEN) as rig:
        rig.light({"led": 1.0})
        with pytest.raises(DeviceBusy, match="controls the rig"):
            open_remote(server.url, TOKEN)
    assert server.agent.light("lamps").state["led"] == 0.0
    assert server.agent.lease.holder is None
    rig.close()  # twice is fine
    assert server.agent.rig.safety.stopped is None
    with open_remote(server.url, TOKEN):
        pass


# Breaking the network


@pytest.mark.parametrize("place", [100, 5_000, 24_000, 24_900, 60_000])
def test_frames_lost_on_the_way_are_taken_again(broken, place):
    rig, relay = broken
    rig.camera.configure(CaptureSettings(max_exposure=0.01))
    relay.cut_after = place
    frames = list(rig.camera.bracket([0.001, 0.003], repeats=2))
    assert relay.cut_after is None  # it was cut
    assert sorted(frame.asked_exposure for frame in frames) == [0.001, 0.001, 0.003, 0.003]
    assert all(frame.shape == MODE.shape for frame in frames)


def test_a_frame_changed_on_the_way_is_taken_again(broken):
    rig, relay = broken
    rig.camera.configure(CaptureSettings(max_exposure=0.01))
    relay.flip_at = 12_000
    frame = rig.camera.capture(0.001)
    assert relay.flip_at is None
    assert frame.shape == MODE.shape
    assert rig.camera.counts.kept == 1


def test_a_move_is_never_sent_twice(broken, server):
    rig, relay = broken
    rig.home()
    starts = []
    move = server.agent.move
    server.agent.move = lambda *a: (starts.append(a), move(*a))
    relay.cut_after = 0
    with pytest.raises(DeviceDisconnected, match="whether it was done is unknown"):
        rig.move_to({"z": 0.01})
    time.sleep(0.4)
    assert len(starts) == 1
    assert rig.position()["z"] == pytest.approx(0.01)  # it was done; a question is asked again


def test_a_jog_or_a_light_is_never_sent_twice(broken, server):
    rig, relay = broken
    rig.home()
    for act in (lambda: rig.stages["table"].jog("z", 1e-3), lambda: rig.light({"led": 1.0})):
        before = relay.connections
        relay.cut_after = 0
        with pytest.raises(HardwareError):
            act()
        assert relay.cut_after is None
        assert relay.connections - before <= 3  # heartbeat and the light that goes dark
    assert server.agent.rig.position()["z"] == pytest.approx(1e-3)


def test_a_question_is_asked_again(broken):
    rig, relay = broken
    relay.cut_after = 0
    assert rig.stages["table"].status().state == "Idle"


def test_a_network_that_stays_away_is_an_error_in_bounded_time(broken):
    rig, relay = broken
    rig.camera.configure(CaptureSettings(max_exposure=0.01))
    relay.dead = True
    begun = time.monotonic()
    with pytest.raises(DeviceDisconnected, match="look after the network"):
        rig.camera.capture(0.001)
    with pytest.raises(DeviceDisconnected):
        rig.stages["table"].status()
    assert time.monotonic() - begun < 6
    relay.dead = False


def test_a_dead_network_stops_the_rig_and_control_is_lost():
    with (
        serving(small_rig(speed=0.02), silence=0.5) as server,
        relayed(server) as relay,
    ):
        rig = open_remote(f"http://127.0.0.1:{relay.port}", TOKEN)
        rig.home()
        rig.light({"led": 1.0})
        relay.dead = True
        end = time.monotonic() + 2
        while server.agent.rig.safety.stopped is None:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert server.agent.light("lamps").state["led"] == 0.0
        relay.dead = False
        time.sleep(0.3)  # the next heartbeat is told
        with pytest.raises(DeviceBusy, match="everything was stopped"):
            rig.move_to({"z": 0.01})
        rig.close()  # without an error: the agent has seen to everything


# Whom one talks to


def test_a_wrong_token_is_told(server):
    with pytest.raises(HardwareError, match="token is missing or wrong"):
        AgentClient(server.url, "another-token-of-length")


def test_nobody_there_says_what_to_look_for():
    with pytest.raises(DeviceNotFound, match=r"\./lab agent running there"):
        AgentClient("http://127.0.0.1:9", TOKEN)


def test_connecting_takes_the_token_of_a_file(server, tmp_path, monkeypatch):
    port = server.server_address[1]
    monkeypatch.delenv("VEILENS_TOKEN", raising=False)
    with pytest.raises(ValueError, match="mode 600"):
        connect("127.0.0.1", port)
    key = tmp_path / "key"
    key.write_text(TOKEN)
    key.chmod(0o600)
    with connect("127.0.0.1", port, key) as rig:
        assert rig.name == "simulated rig"
    monkeypatch.setenv("VEILENS_TOKEN", TOKEN)
    with connect("127.0.0.1", port):
        pass


@pytest.mark.parametrize("url", ["https://x:1", "x:8765", "http://", "http://x/api", "file:///x"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match="expected http://host:port"):
        AgentClient(url, TOKEN)


# What travels


@pytest.mark.parametrize(
    "error",
    [
        HardwareError("message", hint="hint"),
        DeviceTimeout("move", 2.5, "Run", hint="home()"),
        ProtocolError(b"sent", b"received"),
        DeviceFault("ALARM:1", "hard limit", position_trusted=False),
        LimitError("z", 1.0, 0.0, 0.5),
        SettingsNotApplied("exposure", 0.1, 0.2, "s"),
        FrameError("short"),
        ValueError("value"),
    ],
)
def test_errors_arrive_as_they_were(error):
    came = error_from(error_json(error))
    assert type(came) is type(error)
    assert str(came) == str(error)
    told = {k: v for k, v in vars(error).items() if not isinstance(v, bytes)}
    assert {k: v for k, v in vars(came).items() if k in told} == told


def test_every_error_of_the_package_has_a_way_back():
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, HardwareError):
            assert type(error_from({"class": name, "message": "x"})) is kind


@pytest.mark.parametrize("junk", [None, 5, {}, {"class": "SystemExit"}, {"class": 5, "details": 3}])
def test_a_strange_error_is_a_hardware_error(junk):
    assert type(error_from(junk)) is HardwareError


def test_every_changed_byte_of_a_record_is_noticed():
    whole = b"".join(record({"kind": "x", "n": 5}, np.arange(30, dtype="<u2")))
    header, payload = read_record(io.BytesIO(whole))
    assert header["n"] == 5
    assert np.frombuffer(payload, "<u2").tolist() == list(range(30))
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 0x10
        with pytest.raises(ConnectionError):
            read_record(io.BytesIO(changed))
    for length in range(len(whole)):
        with pytest.raises(ConnectionError):
            read_record(io.BytesIO(whole[:length]))
