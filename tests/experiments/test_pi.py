"""The self-test of a Raspberry Pi: what is found, what to do, and when it fails."""

import json
from types import SimpleNamespace

import pytest

from experiments import pi, selftest
from experiments.selftest import Finding, camera_findings, machine_findings
from hardware.cameras import RaspberryBoard
from hardware.errors import DeviceNotFound
from tests.hardware.agent.bench import small_rig


@pytest.fixture
def board(tmp_path, monkeypatch):
    """A Raspberry Pi in good order, as files; its programs say nothing."""
    root = tmp_path / "root"
    for name, text in {
        "proc/device-tree/model": "Raspberry Pi 5 Model B\0",
        "sys/class/thermal/thermal_zone0/temp": "51200",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "0",
        "sys/module/simulated/parameters/dpc_enable": "0",
        "run/systemd/timesync/synchronized": "",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (tmp_path / "ttyACM0").touch()
    ports = [SimpleNamespace(device=str(tmp_path / "ttyACM0"))]
    monkeypatch.setattr(selftest.list_ports, "comports", lambda: ports)
    monkeypatch.setattr(selftest, "_said", lambda *command: "")
    return RaspberryBoard(root)


def found(board, tmp_path, least_free=1.0):
    return {f.name: f for f in machine_findings(tmp_path, least_free=least_free, board=board)}


def test_a_machine_in_good_order_passes(board, tmp_path):
    told = found(board, tmp_path)
    assert [name for name, f in told.items() if not f.ok and name != "numpy"] == []
    assert told["machine"].text.startswith("Raspberry Pi 5 Model B,")
    assert told["temperature"].numbers == {"celsius": 51.2}
    assert told["disk"].numbers["free_gb"] > 0


@pytest.mark.parametrize(
    ("file", "text", "name", "said"),
    [
        ("proc/device-tree/model", "A PC", "machine", "A PC"),
        ("sys/class/thermal/thermal_zone0/temp", "84000", "temperature", "84.0"),
        ("sys/devices/platform/soc/soc:firmware/get_throttled", "5", "power trouble",
         "undervoltage, throttled"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_a_remedy(board, tmp_path, file, text, name, said):
    (board.root / file).write_text(text)
    finding = found(board, tmp_path)[name]
    assert not finding.ok
    assert said in finding.text
    assert finding.remedy


def test_what_happened_since_the_start_is_told(board, tmp_path, monkeypatch):
    monkeypatch.setattr(selftest, "_said", lambda *command: "throttled=0x50000")
    assert "since start: undervoltage, throttled" in found(board, tmp_path)["power trouble"].text
    monkeypatch.setattr(selftest, "_said", lambda *command: "error=1")
    assert "since start: none" in found(board, tmp_path)["power trouble"].text


def test_a_clock_that_is_not_synchronised_is_told(board, tmp_path, monkeypatch):
    (board.root / "run/systemd/timesync/synchronized").unlink()
    assert not found(board, tmp_path)["clock"].ok
    monkeypatch.setattr(selftest, "_said", lambda *command: "yes")
    assert found(board, tmp_path)["clock"].ok


def test_a_full_disk_fails(board, tmp_path):
    finding = found(board, tmp_path, least_free=1e18)["disk"]
    assert finding.failed
    assert "1e+09 GB are needed" in finding.remedy


def test_a_port_of_others_names_the_group(board, tmp_path, monkeypatch):
    monkeypatch.setattr(selftest.os, "access", lambda path, mode: False)
    finding = found(board, tmp_path)["serial ports"]
    assert not finding.ok
    assert "dialout" in finding.remedy


def test_a_camera_is_opened_and_takes_a_frame(board):
    told = {f.name: f for f in camera_findings(0, board=board, open_camera=lambda i: camera())}
    assert told["camera"].ok
    assert "small (100/s)" in told["modes"].text
    assert told["defect correction"].ok
    assert told["frame"].ok
    assert told["frame"].numbers["mean_dn"] > 256  # the black level and some light


def camera():
    return small_rig().camera


@pytest.mark.parametrize(("written", "ok"), [("1", False), (None, False), ("0", True)])
def test_defect_correction_names_the_command_that_ends_it(board, written, ok):
    path = board.root / "sys/module/simulated/parameters/dpc_enable"
    path.unlink()
    if written is not None:
        path.write_text(written)
    told = {f.name: f for f in camera_findings(0, board=board, open_camera=lambda i: camera())}
    assert told["defect correction"].ok is ok
    assert "/sys/module/simulated/parameters/dpc_enable" in told["defect correction"].remedy
    assert not told["defect correction"].failed


def test_no_camera_fails_with_its_hint(board):
    def missing(index):
        raise DeviceNotFound(f"there is no camera {index}", hint="look at the cable")

    told = camera_findings(3, board=board, open_camera=missing)[-1]
    assert told.failed
    assert (told.text, told.remedy) == ("there is no camera 3", "look at the cable")


def test_the_job_prints_a_table_and_fails_where_something_needed_is_missing(
    tmp_path, monkeypatch, capsys
):
    good = Finding("disk", True, "9.0 GB free", "buy one", True, {"free_gb": 9.0})
    bad = Finding("camera", False, "there is none", "look at the cable", needed=True)
    note = Finding("clock", False, "not synchronised", "connect it")
    monkeypatch.setattr(pi, "machine_findings", lambda *a, **k: [good, note])
    monkeypatch.setattr(pi, "camera_findings", lambda index: [bad])
    settings = {"index": 0, "free_disk": 2}
    with pytest.raises(DeviceNotFound, match="not ready: camera"):
        pi.main(settings, tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "ok disk 9.0 GB free",
        "note clock not synchronised",
        "-> connect it",
        "FAIL camera there is none",
        "-> look at the cable",
    ]
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics == {
        "failed": 1, "disk/ok": True, "disk/free_gb": 9.0, "clock/ok": False, "camera/ok": False,
    }  # fmt: skip
    monkeypatch.setattr(pi, "camera_findings", lambda index: [])
    pi.main(settings, tmp_path)
