"""A stand-in for libcamera, behind which unmodified picamera2 0.3.38 runs without a camera.

::

    from tests import standin

    pytestmark = standin.marks          # skips without picamera2; its own deprecation warnings

    def test_something():
        scene = lambda state: my_flux   # (H, W) [e-/s], or a number
        board = standin.Board(sensor=standin.small(standin.IMX477), pipeline=standin.VC4,
                              scene=scene, speed=10.0)
        with standin.plugged(board) as (camera,):
            from picamera2 import Picamera2   # only now, or after standin.activate()

            with Picamera2() as cam:
                ...                            # camera.faults.cable_out = True
            camera.records                     # true exposure, gain, timestamp of each frame

Modelled: modes, line time, exposure and gain steps of the IMX477 and the IMX296; exposure yields
to the frame duration; delays of exposure, gain and frame length; long exposures by doubling;
shot noise, read noise, full well, black level, saturation, binning; the formats and row lengths
that the receivers of a Pi 4 and a Pi 5 grant, with the lossy compression of the latter; flips and
the colour filter order they give; frames that are lost (also for want of a request), marked as
start-up, or spoiled; a cable that falls out; a camera that is held elsewhere; controls of a wrong
type, or of colour on a monochrome sensor, that are refused.

Not modelled: automatic exposure and white balance (20 ms, gain 1, fixed colour gains), rolling
shutter within a frame, dark current and fixed patterns (a scene can add them), defect correction
and the raw low-pass of the IMX477, crosstalk, lengthened lines, embedded data, the picture
processor beyond a gamma curve (see `main_stream`), digital crops (ScalerCrop), sensor
temperature, tuning files, libcamera's own frame buffer allocator, hot plugging.

Sources: the public Linux drivers of the two sensors (line length 24000, 12740 and 6664 clocks of
840 MHz; 1100 clocks of 74.25 MHz; frame lengths, exposure limits), libcamera's camera helpers
(gain laws, black levels, delays) and receiver code (formats, alignment), published
photon-transfer measurements of the IMX477 (0.47 DN/e-, 8180 e-, 3 and 1.5 e- read noise), and for
the IMX296 a full well of about 10 ke- as camera makers give it.

Files: `sensors` (constants, quantisation), `pixels` (light to numbers), `pipelines` and
`compression` (raw formats), `main_stream`, `exposure` (delays), `camera`, `manager`, `faults`,
`configuration`, `advertised`, `controls`, `geometry`, `buffers` (libcamera's types), `patches`;
`modules` holds the packages ``libcamera`` and ``pykms`` that picamera2 imports.
"""

import importlib.util
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.standin.camera import Board, Camera, FrameRecord
from tests.standin.manager import CameraManager
from tests.standin.patches import patch_buffers, set_platform
from tests.standin.pipelines import PISP, VC4
from tests.standin.pixels import FrameState, grey
from tests.standin.sensors import IMX296, IMX296_MONO, IMX477, small

__all__ = [
    "IMX296",
    "IMX296_MONO",
    "IMX477",
    "PISP",
    "VC4",
    "Board",
    "FrameRecord",
    "FrameState",
    "activate",
    "grey",
    "marks",
    "plugged",
    "small",
]

MODULES = Path(__file__).parent / "modules"

marks = [
    pytest.mark.skipif(
        importlib.util.find_spec("picamera2") is None,
        reason="picamera2 is not installed: apt-get install libcap-dev, pip install picamera2",
    ),
    # Of picamera2's own threads; and a Picamera2 that fails to open leaves a pipe to the collector.
    pytest.mark.filterwarnings("ignore:setDaemon:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]


def activate() -> None:
    """Make ``import picamera2`` find the stand-in, for the rest of the process.

    Raises
    ------
    ImportError
        picamera2 is not installed.
    RuntimeError
        The real libcamera is loaded already; what runs on it cannot be moved to the stand-in.
    """
    loaded = sys.modules.get("libcamera")
    if loaded is not None and MODULES not in Path(loaded.__file__).parents:
        raise RuntimeError(f"libcamera is loaded from {loaded.__file__}: start a new process")
    if str(MODULES) not in sys.path:
        sys.path.insert(0, str(MODULES))
    if "picamera2" not in sys.modules:  # an import that failed earlier leaves halves behind
        for name in [name for name in sys.modules if name.startswith("picamera2.")]:
            del sys.modules[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import picamera2  # noqa: F401
    patch_buffers()


@contextmanager
def plugged(*boards: Board):
    """Plug in one camera per board, all on the same Pi; yield them as a tuple.

    On leaving, what was left open is closed, and an exception of a scene is raised.
    """
    if len({board.pipeline for board in boards}) > 1:
        raise ValueError("boards of different pipelines cannot hang on one Pi")
    activate()
    from picamera2 import Picamera2

    manager = CameraManager.singleton()
    cameras = tuple(Camera(board, manager, port) for port, board in enumerate(boards))
    set_platform(boards[0].pipeline if boards else VC4)
    manager.cameras[:] = cameras
    try:
        yield cameras
    finally:
        for left_open in list(Picamera2._cm.cameras.values()):
            left_open.cancel_all_and_flush()
            left_open.close()
        for camera in cameras:
            camera.stop()
        manager.cameras.clear()
        set_platform(VC4)
    for camera in cameras:
        if camera.error is not None:
            raise camera.error
