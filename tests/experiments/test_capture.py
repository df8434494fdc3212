"""The capture job: a run folder is a session, a break of any kind can be gone on from."""

import html.parser
import io
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments import capture
from experiments.contact_sheet import png, thumbnail
from experiments.rigs import axis_of, open_rig
from experiments.settings import Settings, SettingsError
from experiments.store import read_json, verify
from hardware.errors import DeviceFault
from hardware.lights import Channel, SimulatedLight
from hardware.motion import SimulatedStage
from hardware.rig import Rig
from hardware.session import Session
from hardware.session.frames import write_frame
from tests.experiments.bench_session import SMALL as BENCH
from tests.experiments.calling import caller
from tests.hardware.session.small import assert_whole, small_rig

ROOT = Path(__file__).parents[2]
SMALL = [
    "rig=simulated", "plan.depths=2", "plan.auto.count=2", "plan.repeats=2", "plan.dark_repeats=2",
    "plan.size=[32,48]", "progress=false",
]  # fmt: skip


@pytest.fixture
def lab(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("os.fsync", lambda handle: None)
    return caller("capture", capture, tmp_path, monkeypatch, capsys)


def only():
    (folder,) = (path for path in Path("runs/capture").iterdir() if path.name != "latest")
    return folder


def breaking(monkeypatch, number, action):
    """Act when frame `number` is about to be written."""

    def write(session, own, *rest, **options):
        if own == number:
            action()
        return write_frame(session, own, *rest, **options)

    monkeypatch.setattr("hardware.session.runner.write_frame", write)


def test_a_run_is_a_whole_session(lab):
    code, output, errors = lab(*SMALL)
    folder = Path(output.splitlines()[-1])
    assert (code, errors) == (0, "")
    assert_whole(Session.open(folder))
    verify(folder)
    metrics, session = read_json(folder / "metrics.json"), Session.open(folder)
    frames = len(session.frames())
    assert metrics.pop("seconds") == pytest.approx(session.history.seconds)
    assert metrics == {
        "steps_planned": 4, "steps_done": 4, "frames": frames, "frames_lost": 0, "resumes": 0,
        "bytes": sum(path.stat().st_size for path in (folder / "frames").iterdir()),
        "settings_unconfirmed": 0,
    }  # fmt: skip
    assert len(read_json(folder / "manifest.json")["files"]) > 2 * frames


def test_a_dry_run_says_what_it_takes_and_leaves_nothing(lab, tmp_path):
    code, output, errors = lab("rig=simulated", "dry=true", "plan=photon_transfer")
    assert (code, errors) == (0, "")
    assert "photon_transfer on simulated: 128 frames in 2 steps" in output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["plan.nearest=4 m"], "nearest = 4 m, farthest = 3 m"),
        (["plan.settle=1"], "has no unit"),
        (["plan.axis=y"], "the rig has z"),
        (["rig.stages.rail.axes.z.speed=3 mm"], "write a speed, as in '20 mm/s'"),
        (["rig.clock=sundial"], "expected simulated or system"),
        (["what=film"], "expected capture or dng"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_run(lab, tmp_path, words, message):
    code, _, errors = lab(*SMALL, *words)
    assert code == 2
    assert message in errors
    assert len(errors.splitlines()) == 1
    assert not list(tmp_path.glob("runs/capture/*/*"))


def test_ctrl_c_ends_with_130_and_the_session_goes_on(lab, monkeypatch):
    breaking(monkeypatch, 5, lambda: signal.raise_signal(signal.SIGINT))
    code, output, _ = lab(*SMALL)
    assert code == 130
    assert f"to go on: ./lab capture run={only()} resume=true" in output
    assert read_json(only() / "run.json")["state"] == "interrupted"
    monkeypatch.setattr("hardware.session.runner.write_frame", write_frame)
    code, output, _ = lab(f"run={only()}", "resume=true", "progress=false")
    assert code == 0
    assert_whole(Session.open(only()))
    assert read_json(only() / "metrics.json")["resumes"] == 1


def test_a_fault_ends_with_5_and_the_session_goes_on(lab, monkeypatch):
    def alarm():
        raise DeviceFault("ALARM:1", "hard limit", position_trusted=False)

    breaking(monkeypatch, 5, alarm)
    code, output, errors = lab(*SMALL)
    assert code == 5
    assert "ALARM:1" in errors
    assert "paused; to go on: ./lab capture run=" in output
    monkeypatch.setattr("hardware.session.runner.write_frame", write_frame)
    code, *_ = lab("resume=true", "progress=false")  # the newest unfinished one
    assert code == 0
    assert_whole(Session.open(only()))


def test_a_stop_that_the_devices_hold_is_left_by_who_says_so_and_only_once(lab, monkeypatch):
    stopped = open_rig

    def latched(settings):
        rig = stopped(settings)
        rig.safety.emergency_stop("somebody pressed it before")
        return rig

    monkeypatch.setattr(capture, "open_rig", latched)
    breaking(monkeypatch, 5, lambda: signal.raise_signal(signal.SIGINT))
    lab(*SMALL, "clear=true")
    monkeypatch.setattr("hardware.session.runner.write_frame", write_frame)
    code, output, errors = lab("resume=true", "progress=false")
    assert (code, "emergency stop is latched" in errors) == (5, True)
    assert f"to go on: ./lab capture run={only()} resume=true clear=true" in output
    code, *_ = lab("resume=true", "clear=true", "progress=false")
    assert code == 0
    assert_whole(Session.open(only()))


def test_the_bar_ends_where_the_frames_do(lab, monkeypatch):
    bars = []

    class Bar(capture.tqdm):
        def __init__(self, *arguments, **keywords):
            super().__init__(*arguments, **keywords)
            bars.append(self)

    monkeypatch.setattr(capture, "tqdm", Bar)
    assert lab(*SMALL, "progress=true", "plan.depths=3")[0] == 0
    assert bars[0].n == bars[0].total == len(Session.open(only()).frames())


@pytest.mark.parametrize(
    "words", [["plan.light={panel: 0.5}"], ["plan=single", "plan.light={point: 1.0}"]]
)
def test_any_channel_can_be_chosen(lab, words):
    rig = ["rig=simulated", "dry=true"]
    assert lab(*rig, *words)[0] == 0
    assert "channel = 'lamp'" in lab(*rig, "plan.light={lamp: 1.0}")[2]


def test_the_plan_shown_for_a_table_fits_it(lab, monkeypatch):
    """The first lines of the rig's file, with simulated devices of the same axes and channels."""
    text = (ROOT / "configs/rig/raspberry_pi.yaml").read_text("utf-8")
    (words,) = re.findall(r"\./lab capture (.*)", text)

    def simulated(settings):
        assert settings["stages"]["rail"]["_target_"] == "hardware.motion.grbl.GrblStage"
        parts = settings["stages"]["rail"]["axes"]
        rig = small_rig()
        axes = {name: axis_of(part) for name, part in parts.items()}
        lights = SimulatedLight(dict.fromkeys(settings["lights"]["source"]["channels"], Channel()))
        return Rig(rig.camera, {"rail": SimulatedStage(axes)}, {"source": lights})

    monkeypatch.setattr(capture, "open_rig", simulated)
    code, output, errors = lab(
        *shlex.split(words), "plan.size=[32,48]", "plan.auto.longest=1s", "dry=true"
    )
    assert (code, errors) == (0, "")
    assert "7 steps" in output


def test_another_plan_is_refused_with_the_difference(lab, monkeypatch):
    breaking(monkeypatch, 5, lambda: signal.raise_signal(signal.SIGINT))
    lab(*SMALL)
    code, _, errors = lab(f"run={only()}", "resume=true", "plan.repeats=3")
    assert code == 2
    assert "plan.repeats: 2 -> 3" in errors
    assert len(Session.open(only()).frames()) == 4


def test_another_port_is_the_same_rig(lab, monkeypatch):
    """After replugging, a device may be found under another name."""
    from experiments.runs import refuse_changes
    from experiments.store import save_json

    run = Path("run")
    save_json(run / "config.json", {"rig": {"stages": {"rail": {"port": "a", "axes": 1}}}})
    refuse_changes(run, {"rig": {"stages": {"rail": {"port": "b", "axes": 1}}}})
    with pytest.raises(SettingsError, match="axes: 1 -> 2"):
        refuse_changes(run, {"rig": {"stages": {"rail": {"port": "b", "axes": 2}}}})


class _Pictures(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.pictures, self.rows = [], 0

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.pictures.append(dict(attrs)["src"])
        self.rows += tag == "tr"


def test_the_page_shows_each_step_and_exposure_once(lab):
    import base64

    lab(*SMALL)
    session, page = Session.open(only()), _Pictures()
    page.feed((only() / "report.html").read_text("utf-8"))
    kinds = {(frame.step, frame.exposure) for frame in session.frames()}
    assert len(page.pictures) == len(kinds)
    assert page.rows == len(kinds) + 1
    for source in page.pictures:
        data = base64.b64decode(source.removeprefix("data:image/png;base64,"))
        assert Image.open(io.BytesIO(data)).size == (48 // 2, 32 // 2)


def test_a_png_of_ours_is_read_by_others_as_it_was_written():
    picture = np.random.default_rng(1).integers(0, 256, (23, 31)).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png(picture)))), picture)


def test_a_small_picture_shows_the_spot_where_it_is():
    rig = small_rig(centre=(20.0, 100.0), width=4.0, slope=0.0)
    rig.light({"point": 1.0})
    picture = thumbnail(rig.camera.capture(5e-3))
    assert picture.shape == (48, 64)
    assert np.unravel_index(picture.argmax(), picture.shape) == pytest.approx((10, 50), abs=1)


def test_a_frame_is_exported_as_dng(lab, tmp_path):
    pytest.importorskip("hardware.dng", reason="DNG files are written by hardware.dng")
    lab(*SMALL)
    latest = Path("runs/capture/latest").resolve()
    code, output, errors = lab("dng", "session=latest", "frame=2")
    path = Path(output.splitlines()[-1])
    assert (code, errors) == (0, "")
    assert path.name == "000002.dng"
    assert path.read_bytes()[:2] in (b"II", b"MM")
    assert Path("runs/capture/latest").resolve() == latest  # no run of its own
    assert lab("dng", "frame=2")[0] == 4  # it is there already
    assert lab("dng", "frame=9999")[0] == 4


def rig_with(**axes):
    """Return a rig whose stage has these axes, from settings as a config gives them."""
    axes = Settings({name: Settings(axis, f"rig.{name}") for name, axis in axes.items()})
    scene = Settings({"_target_": "hardware.cameras.SpotScene", "centre": (1.0, 1.0)})
    camera = Settings({"_target_": "hardware.cameras.SimulatedCamera", "scene": scene})
    stage = Settings({"_target_": "hardware.motion.SimulatedStage", "axes": axes})
    rest = {"name": "r", "clock": "simulated", "lights": {}, "modulators": {}}
    return open_rig(Settings({"camera": camera, "stages": {"s": stage}, **rest}))


def test_rotary_axes_are_in_angles_and_linear_ones_in_lengths():
    turn = {"low": "-90 deg", "high": "90 deg", "speed": "10 deg/s"}
    z = {"low": "0 mm", "high": "3 cm", "speed": "2 mm/s", "backlash": "5 um"}
    made = rig_with(turn=turn, z=z)
    assert made.axes["turn"].unit == "rad"
    assert made.axes["turn"].high == pytest.approx(np.pi / 2)
    assert made.axes["z"].speed == pytest.approx(2e-3)
    with pytest.raises(SettingsError, match=r"rig.turn.high = '3 cm' is not in a unit of angle"):
        rig_with(turn=turn | {"high": "3 cm"})
    with pytest.raises(SettingsError, match=r"rig.turn.hihg"):
        rig_with(turn=turn | {"hihg": "3 deg"})


BLOCKED = """
import importlib.abc, sys
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, *rest):
        if name.split(".")[0] in {"torch", "matplotlib", "scipy", "PIL", "jinja2", "safetensors"}:
            raise ImportError(f"{name} is not on a Raspberry Pi")
sys.meta_path.insert(0, Blocked())
from experiments import capture
from experiments.launch import run_job
run_job("capture", capture.main, check=capture.check, arguments=sys.argv[1:])
"""


def test_it_runs_where_there_is_no_torch(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, *SMALL], cwd=tmp_path, capture_output=True, text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / done.stdout.splitlines()[-1] / "report.html").exists()


def test_a_bench_lays_down_its_truth_and_its_design_and_other_rigs_nothing(lab):
    code, output, _ = lab(*BENCH)
    assert code == 0
    folder = Path(output.splitlines()[-1])
    truth = read_json(folder / "truth.json")
    assert truth["seed"] == 0
    assert {"etch_scale", "stage_scale", "noise"} <= set(truth)
    assert read_json(folder / "session.json")["about"]["design"] == {"name": "default"}
    code, output, _ = lab(*SMALL, "rig=simulated")
    assert code == 0
    folder = Path(output.splitlines()[-1])
    assert not (folder / "truth.json").exists()
    assert read_json(folder / "session.json")["about"] == {}
