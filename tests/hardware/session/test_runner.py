"""A session takes every frame of its plan once, whatever happens on the way, and ends dark."""

import dataclasses
import errno
import itertools
import os
import signal
from datetime import UTC, datetime, timedelta

import pytest

from hardware.cameras import SensorNoise
from hardware.clock import SimulatedClock
from hardware.errors import DeviceFault, HardwareError
from hardware.session import Session, SessionChanged, run_session
from hardware.session.frames import frame_paths
from hardware.session.plans import darks, flats
from hardware.storage import ArtifactError, ResourceError
from tests.hardware.session.small import MODE, assert_whole, levels, small_plan, small_rig

PLAN = small_plan()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "session"


def stopper(number, action):
    """Return a watcher that acts at the frame of that number."""

    def watch(frame):
        if frame.number == number:
            action()

    return watch


def fail():
    raise HardwareError("pulled")


def broken(folder, rig=None, number=8, action=fail, error=HardwareError):
    """Run until frame `number`, where something happens."""
    rig = rig or small_rig()
    with pytest.raises(error):
        run_session(folder, PLAN, rig, watch=stopper(number, action))
    return rig


def events(folder, name):
    from hardware.session.journal import Journal

    return [e for e in Journal(folder / "journal.jsonl").entries if e["event"] == name]


def test_a_session_holds_every_frame_and_ends_dark(folder):
    rig = small_rig()
    run_session(folder, PLAN, rig)
    assert_whole(Session.open(folder))
    assert levels(rig) == [0.0, 0.0]


def test_frames_are_taken_where_and_in_the_light_that_the_plan_says(folder):
    run_session(folder, PLAN, small_rig())
    session = Session.open(folder)
    for frame in session.frames():
        step, about = session.step(frame.step), session.about(frame)
        assert (about["step"], about["kind"]) == (step.name, step.kind)
        assert about["light"] == {"point": 0.0, "panel": 0.0} | dict(step.light)
        for axis, place in step.position.items():
            assert about["position"][axis] == pytest.approx(place, abs=1e-9)
    darkest = max(frame.level for frame in session.frames(kind="dark"))
    assert darkest < 0.02 < min(frame.level for frame in session.frames(kind="psf"))


def test_the_stage_comes_from_the_same_side_each_time(folder):
    rig, path = small_rig(), []
    stage = rig.stages["rail"]
    start = stage._start
    stage._start = lambda target: (
        path.append((stage._read().position["z"], target["z"])) or start(target)
    )
    reverse = small_plan(zero_distance=0.7, direction=-1)  # its targets go down
    run_session(folder, reverse, rig)
    last = {target: here for here, target in path}
    for step in (one for one in reverse.steps if one.position):
        assert last[step.position["z"]] < step.position["z"]


def test_the_shortest_exposure_of_the_first_step_uses_the_range_unclipped(folder):
    run_session(folder, PLAN, small_rig())
    session = Session.open(folder)
    first = session.history.found["psf-01"].exposures
    shortest = session.frames(step="psf-01", exposure=first[0])
    assert all(0.65 < frame.level < 0.9 and frame.saturated < 1e-3 for frame in shortest)
    assert first[1] / first[0] == pytest.approx(3.0)


def test_pixels_that_are_full_below_the_white_level_are_counted(folder):
    rig = small_rig()
    rig.camera.noise = SensorNoise(full_well=7400.0)  # 93 % of the range
    run_session(folder, PLAN, rig)
    longest = Session.open(folder).frames(step="psf-01")[-1]
    assert longest.saturated > 0.01
    assert Session.open(folder).load(longest).clipped == 0.0


def test_regions_carry_their_origin_and_colours(folder):
    run_session(folder, PLAN, small_rig())
    session = Session.open(folder)
    for frame in session.frames():
        region, raw = session.history.found[frame.step].region, session.load(frame)
        assert raw.origin == (region.row, region.column)
        assert raw.shape == (region.height, region.width)
        assert raw.cfa == "RGGB"


# Going on


@pytest.mark.parametrize("number", [1, 2, 7, 18, 19, 25])
def test_a_session_goes_on_at_the_next_frame(folder, number):
    rig = broken(folder, number=number)
    assert levels(rig) == [0.0, 0.0]
    kept = Session.open(folder).frames()
    assert len(kept) == number
    history = run_session(folder, PLAN, small_rig())
    session = Session.open(folder)
    assert session.frames()[:number] == kept
    assert history.resumes == 1
    assert_whole(session)


def test_what_was_found_is_found_once(folder, monkeypatch):
    broken(folder, number=14)
    before = dict(Session.open(folder).history.found)
    run_session(folder, PLAN, small_rig())
    after = Session.open(folder).history.found
    assert {name: after[name] for name in before} == before
    assert len(events(folder, "found")) == len(PLAN.steps)


def test_a_finished_session_is_left_as_it_is(folder):
    run_session(folder, PLAN, small_rig())
    frames = Session.open(folder).frames()
    rig = small_rig()
    run_session(folder, PLAN, rig)
    assert Session.open(folder).frames() == frames
    assert not rig.stages["rail"].homed  # nothing was moved for it


@pytest.mark.parametrize(
    ("plan", "rig", "message"),
    [
        (small_plan(repeats=3), {}, r"plan.steps\[0\].repeats: 2 -> 3"),
        (small_plan(depths=4), {}, r"plan.steps"),
        (PLAN, {"serial": 3}, r"identity.camera.serial: '0' -> '3'"),
        (PLAN, {"name": "other"}, r"identity.rig: 'small' -> 'other'"),
    ],
)
def test_another_plan_or_rig_is_refused_with_the_difference(folder, plan, rig, message):
    broken(folder)
    before = Session.open(folder).frames()
    other = small_rig(**rig)
    with pytest.raises(SessionChanged, match=message):
        run_session(folder, plan, other)
    assert not other.stages["rail"].homed
    assert Session.open(folder).frames() == before


@pytest.mark.parametrize("change", [{"point_rate": 1.8e7}, {"centre": (40.0, 72.0)}])
def test_a_light_or_spot_that_drifted_is_refused(folder, change):
    broken(folder)
    rig = small_rig(**change)
    with pytest.raises(SessionChanged, match=r"the signal changed by .* and moved by"):
        run_session(folder, PLAN, rig)
    assert levels(rig) == [0.0, 0.0]
    run_session(folder, PLAN, small_rig())  # restored, it goes on
    assert_whole(Session.open(folder))


@pytest.mark.parametrize("damage", ["missing", "short", "flipped"])
@pytest.mark.parametrize("which", [0, 1])
def test_frames_that_went_bad_are_taken_again(folder, damage, which):
    broken(folder, number=20)
    path = frame_paths(folder, 5)[which]
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.unlink() if damage == "missing" else path.write_bytes(
        data if damage == "flipped" else data[:-1]
    )
    history = run_session(folder, PLAN, small_rig())
    assert (history.losses, [entry["number"] for entry in events(folder, "lost")]) == (1, [5])
    assert_whole(Session.open(folder))


# What goes wrong


def test_a_stage_that_loses_its_position_pauses_the_session(folder):
    rig = small_rig()
    stage, begun = rig.stages["rail"], []
    start = stage._start

    def alarm(target):
        begun.append(target)
        if len(begun) == 3:
            raise DeviceFault("ALARM:1", "hard limit", position_trusted=False)
        start(target)

    stage._start = alarm
    with pytest.raises(DeviceFault, match="ALARM:1"):
        run_session(folder, PLAN, rig)
    assert len(begun) == 3  # not tried again
    assert not stage.homed
    assert levels(rig) == [0.0, 0.0]
    (pause,) = events(folder, "pause")
    assert pause["error"] == "DeviceFault"
    run_session(folder, PLAN, rig)  # homes first
    assert_whole(Session.open(folder))


def test_frames_of_a_light_that_went_dark_are_not_kept(folder):
    rig = small_rig()
    with pytest.raises(HardwareError, match=r"step psf-02: the light is .*but .* was set"):
        run_session(folder, PLAN, rig, watch=stopper(8, rig.lights["led"].off))
    assert len(Session.open(folder).frames()) == 8
    run_session(folder, PLAN, small_rig())
    assert_whole(Session.open(folder))


def test_a_light_that_burns_long_is_set_again(folder):
    rig = small_rig(mode=dataclasses.replace(MODE, frame_rate=1.0))
    lamp, told = rig.lights["led"], []
    apply = lamp._apply
    lamp._apply = lambda *what: told.append((rig.clock.now(), *what)) or apply(*what)
    run_session(folder, flats(repeats=70, dark_repeats=1), rig)  # 1 s each
    times = [at for at, channel, level in told if channel == "panel" and level == 1.0]
    assert len(times) > 1
    assert max(b - a for a, b in itertools.pairwise(times)) < 33  # 30 s, and what a frame takes


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_and_the_session_goes_on_later(folder, number):
    rig = broken(folder, action=lambda: signal.raise_signal(number), error=KeyboardInterrupt)
    assert rig.safety.stopped.reason == signal.Signals(number).name
    assert levels(rig) == [0.0, 0.0]
    assert events(folder, "pause")[0]["error"] == "KeyboardInterrupt"
    run_session(folder, PLAN, small_rig())
    assert_whole(Session.open(folder))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("after", [3, 24, 41, 55])
def test_a_disk_that_fails_leaves_a_session_that_goes_on(folder, monkeypatch, code, after):
    real, calls, rig = os.fsync, [], small_rig()

    def full(handle):
        calls.append(handle)
        if len(calls) > after:
            raise OSError(code, os.strerror(code))
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match=os.strerror(code)):
        run_session(folder, PLAN, rig)
    monkeypatch.undo()
    assert levels(rig) == [0.0, 0.0]
    run_session(folder, PLAN, small_rig())
    assert_whole(Session.open(folder))


def test_a_session_that_would_fill_the_disk_is_not_begun(folder, monkeypatch):
    class Usage:
        free = 300_000  # bytes; the plan takes 270 kB, and a fifth more is asked for

    monkeypatch.setattr("hardware.storage.shutil.disk_usage", lambda path: Usage)
    rig = small_rig()
    with pytest.raises(ResourceError, match="make room, or choose another place"):
        run_session(folder, PLAN, rig)
    assert not rig.stages["rail"].homed
    assert not (folder / "session.json").exists()


def test_a_disk_that_damages_every_frame_is_given_up(folder, monkeypatch):
    def spoil(frame):
        path = frame_paths(folder, frame.number)[0]
        path.write_bytes(path.read_bytes()[:-2] + b"xx")

    with pytest.raises(ResourceError, match="frames went bad 3 times over"):
        run_session(folder, darks((1e-3,), repeats=2), small_rig(), watch=spoil)


def test_jumps_of_the_date_change_nothing(folder):
    class Jumping(SimulatedClock):
        days = 0

        def utc(self):
            self.days = -7 * self.days + 4000
            return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=self.days % 9000 - 4500)

    broken(folder, small_rig(clock=Jumping()))
    history = run_session(folder, PLAN, small_rig(clock=Jumping()))
    assert_whole(Session.open(folder))
    steady = run_session(folder.with_name("steady"), PLAN, small_rig())
    assert history.seconds == pytest.approx(steady.seconds, rel=0.8)  # homes and checks once more


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"zero_distance": 0.2}, r"step psf-01: z = 0.35 m is outside \[0, 0.2\] m"),
        ({"light": {"laser": 1.0}}, r"channel = 'laser': the rig has point, panel"),
        ({"exposure_times": (5.0,)}, r"exposure = 5 s is outside"),
        ({"gain": 20.0}, r"gain = 20: at most 16"),
        ({"size": (128, 128)}, r"the frame has 96 x 128 pixels"),
        ({"mode": "4k"}, r"mode = '4k': the simulated has 96x128-12"),
    ],
)
def test_what_the_rig_cannot_do_is_refused_before_anything_moves(folder, change, message):
    rig = small_rig()
    with pytest.raises(ValueError, match=message):
        run_session(folder, small_plan(**change), rig)
    assert not rig.stages["rail"].homed
    assert not folder.exists()


def test_what_is_no_session_is_an_artifact_error(folder):
    with pytest.raises(ArtifactError):
        Session.open(folder)
    run_session(folder, darks((1e-3,), repeats=2), small_rig())
    session = Session.open(folder)
    with pytest.raises(ArtifactError, match="has no frame 3; it has 2"):
        session.load(3)
    with pytest.raises(ValueError, match="step = 'flat': there are dark"):
        session.step("flat")
    (folder / "session.json").write_text('{"format": 2}')
    with pytest.raises(ArtifactError, match="describes no session"):
        Session.open(folder)


def test_frames_that_a_bracket_cannot_tell_apart_are_taken_one_after_the_other(folder):
    plan = darks((1e-3, 1.005e-3, 2e-3), repeats=2)
    run_session(folder, plan, small_rig())
    assert_whole(Session.open(folder))


def test_a_killed_writer_leaves_nothing_behind(folder):
    broken(folder)
    (folder / "frames" / ".000009.tif.0badf00d.tmp").write_bytes(b"half")
    run_session(folder, PLAN, small_rig())
    assert_whole(Session.open(folder))
