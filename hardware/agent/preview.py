"""The picture a person watches: frames taken one after another while somebody looks.

It owns the turn at the camera: a capture asks for it, and the preview stands aside.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from hardware.cameras.base import Camera, SensorMode
from hardware.errors import HardwareError
from hardware.frames import RawFrame, Roi

#: The camera rests when nobody asked for a picture for so long [s].
WATCHED = 3.0
#: Frames per conversation with the camera; exposure and region may change between two.
BURST = 50
#: Shortest time from picture to picture [s].
INTERVAL = 1 / 30
#: Rest after the camera failed [s].
REST = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class View:
    """How the preview looks.

    Attributes
    ----------
    exposure : float
        Exposure time [s].
    gain : float
        Analogue gain.
    roi : Roi or None
        Region that is measured, in the full frame; None: all of it.
    """

    exposure: float = 10e-3
    gain: float = 1.0
    roi: Roi | None = None


@dataclass(frozen=True)
class Shot:
    """What was seen last: a frame, or why there is none.

    Attributes
    ----------
    number : int
        Counts up.
    frame : RawFrame or None
        The frame.
    error : Exception or None
        Why there is none.
    """

    number: int
    frame: RawFrame | None
    error: Exception | None = None


class Preview:
    """Takes frames while somebody watches, in a thread that rests otherwise.

    Parameters
    ----------
    camera : Camera
        The camera.
    """

    def __init__(self, camera: Camera) -> None:
        self.view = View()
        self._camera = camera
        self._state = threading.Condition()
        self._busy = False  # somebody has the turn
        self._asking = 0  # captures that wait for it
        self._shot = Shot(0, None)
        self._watched = -WATCHED
        self._thread: threading.Thread | None = None
        self._end = False

    def wait(self, after: int, timeout: float) -> Shot | None:
        """Return a shot later than number `after`; None if there is none within `timeout` [s]."""
        with self._state:
            self._watched = time.monotonic()
            if self._thread is None and not self._end:
                self._thread = threading.Thread(target=self._run, name="preview", daemon=True)
                self._thread.start()
            self._state.notify_all()
            # An agent that was started again counts from the beginning.
            news = self._state.wait_for(lambda: self._shot.number not in (0, after), timeout)
            return self._shot if news else None

    def show(self, frame: RawFrame) -> None:
        """Show a frame that a capture took."""
        self._publish(frame, None)

    @contextmanager
    def turn(self) -> Iterator[Camera]:
        """Lend the camera, after the frame that is being taken; the preview waits."""
        with self._state:
            self._asking += 1
            try:
                self._state.wait_for(lambda: not self._busy)
            finally:
                self._asking -= 1
            self._busy = True
        try:
            yield self._camera
        finally:
            with self._state:
                self._busy = False
                self._state.notify_all()

    def close(self) -> None:
        """End the thread."""
        with self._state:
            self._end = True
            self._state.notify_all()
        if self._thread is not None:
            self._thread.join()

    # How

    def _run(self) -> None:
        while self._take_turn():
            try:
                self._burst()
            except (HardwareError, ValueError) as error:
                self._publish(None, error)
                time.sleep(REST)
            except Exception as error:
                log.exception("the preview failed")
                self._publish(None, HardwareError(f"the preview failed: {type(error).__name__}"))
                time.sleep(REST)
            finally:
                with self._state:
                    self._busy = False
                    self._state.notify_all()

    def _take_turn(self) -> bool:
        """Wait until somebody watches and nobody captures; return False at the end."""
        with self._state:
            self._state.wait_for(
                lambda: self._end or (self._wanted() and not self._busy and not self._asking)
            )
            self._busy = not self._end
            return not self._end

    def _wanted(self) -> bool:
        return time.monotonic() - self._watched < WATCHED

    def _burst(self) -> None:
        view, mode = self.view, self._mode()
        exposure = min(max(view.exposure, mode.min_exposure), mode.max_exposure)
        if self._camera.granted is not None:
            exposure = min(exposure, self._camera.granted.frame_duration)
        gain = min(max(view.gain, 1.0), mode.max_gain)
        with closing(self._camera.bracket([exposure], repeats=BURST, gain=gain)) as taken:
            begun = time.monotonic()
            for frame in taken:
                self._publish(frame, None)
                time.sleep(max(0.0, begun + INTERVAL - time.monotonic()))
                begun = time.monotonic()
                if self._end or self._asking or not self._wanted() or self.view != view:
                    return

    def _mode(self) -> SensorMode:
        granted = self._camera.granted
        return granted.mode if granted is not None else self._camera.modes[0]

    def _publish(self, frame: RawFrame | None, error: Exception | None) -> None:
        with self._state:
            self._shot = Shot(self._shot.number + 1, frame, error)
            self._state.notify_all()
