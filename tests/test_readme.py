"""The programs in README.md run as they stand there."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from hardware.session import Session
from tests import standin
from tests.hardware.devices import GrblDevice, PointSourceDevice

pytestmark = standin.marks
README = Path(__file__).parents[1] / "README.md"


@pytest.mark.parametrize(
    "pipeline",
    [
        pytest.param(standin.VC4, id="pi4"),
        pytest.param(standin.PISP, id="pi5", marks=pytest.mark.slow),
    ],
)
def test_the_capture_script_runs_on_a_raspberry_pi(pipeline, tmp_path, monkeypatch, capsys):
    """Unmodified picamera2 behind the stand-in; rail and LED behind pseudo-terminals."""
    [script] = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert len([line for line in script.splitlines() if line]) <= 22
    sensor = standin.small(standin.IMX477)
    height, width = sensor.size[::-1]
    y, x = np.indices((height, width))
    spot = np.exp(-((y - 100) ** 2 + (x - 140) ** 2) / (2 * 12.0**2))
    with GrblDevice() as rail, PointSourceDevice() as led:
        rail.settings[132] = 300  # mm of travel
        board = standin.Board(
            sensor, pipeline, scene=lambda state: 1.0 + 5e6 * led.led / 255 * spot, speed=5.0
        )
        script = script.replace("/dev/ttyUSB0", rail.path).replace("/dev/ttyACM0", led.path)
        script = script.replace("flat_repeats=0", "flat_repeats=0, repeats=1, dark_repeats=1")
        (tmp_path / "capture_psfs.py").write_text(script, "utf-8")
        monkeypatch.chdir(tmp_path)
        with standin.plugged(board):
            runpy.run_path("capture_psfs.py", run_name="__main__")
        assert led.led == 0
    session = Session.open(tmp_path / "session")
    psfs = session.frames(kind="psf")
    assert len({frame.step for frame in psfs}) == 6
    assert all(session.history.complete(step) for step in session.plan.steps)
    assert all(frame.confirmed for frame in psfs)
    first = session.load(psfs[0])
    row, column = np.unravel_index(np.argmax(first.mosaic), first.shape)
    found = (first.origin[0] + row, first.origin[1] + column)
    assert np.hypot(found[0] - 100, found[1] - 140) < 12  # the spot is where the scene has it
    assert "psf-06" in capsys.readouterr().out
