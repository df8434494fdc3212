"""What a Raspberry Pi tells through files of its kernel; here files of the same form."""

import subprocess
import sys
from contextlib import contextmanager

import pytest

from hardware.cameras import RaspberryBoard
from hardware.errors import DeviceBusy
from tests import standin

LOCK = """
import fcntl, sys, time
file = open(sys.argv[1], "r+")
fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def board(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    write("dev/media0", "")
    (tmp_path / "proc").symlink_to("/proc")
    board = RaspberryBoard(tmp_path)
    object.__setattr__(board, "write", write)
    return board


@contextmanager
def locking(path):
    """Run a process that locks the file `path`."""
    arguments = [sys.executable, "-c", LOCK, str(path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"locked\n"
        yield process
        process.stdin.close()


@pytest.fixture
def owner(board):
    """Process that locks a media device, as libcamera does."""
    with locking(board.root / "dev/media0") as process:
        yield process


@pytest.mark.parametrize(
    ("text", "state"),
    [("0\n", "off"), ("1\n", "on"), ("N\n", "off"), ("Y\n", "on"), ("?\n", "unknown")],
)
@pytest.mark.parametrize("model", ["imx477", "imx378"])
def test_defect_correction_is_what_the_module_says(board, model, text, state):
    board.write("sys/module/imx477/parameters/dpc_enable", text)
    assert board.defect_correction(model) == state


def test_defect_correction_is_unknown_where_no_module_tells(board):
    assert board.defect_correction("imx296") == "unknown"


def test_the_process_that_locks_a_camera_is_named(board, owner):
    assert board.camera_owner().endswith(f"({owner.pid})")
    assert board.camera_owner().startswith("python")


def test_nobody_is_named_when_nobody_locks_it(board):
    board.write("other", "")
    with locking(board.root / "other"):
        assert board.camera_owner() == ""
    assert RaspberryBoard(board.root / "nowhere").camera_owner() == ""


@standin.marks[0]
@standin.marks[1]
@standin.marks[2]
def test_a_busy_camera_is_reported_with_its_owner(board, owner):
    from hardware.cameras import RaspberryPiCamera

    with standin.plugged(standin.Board(standin.small(standin.IMX477))) as (device,):
        device.faults.held_elsewhere = True
        with pytest.raises(DeviceBusy, match=rf"in use by python.* \({owner.pid}\)"):
            RaspberryPiCamera(board=board)


def test_heat_and_a_weak_supply_are_told(board):
    assert board.health() == {}
    board.write("sys/class/thermal/thermal_zone0/temp", "61234\n")
    board.write("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n")
    assert board.health() == {
        "processor_temperature": 61.234,
        "power_trouble": ["undervoltage", "throttled"],
    }
