"""Where a screen and the page that shows its pictures meet: who waits for what, and who left.

One page shows at a time, the one that was opened last. A page asks for the next picture and is
kept waiting until there is one, shows it, and reports what stands on its canvas, by the number of
the picture.
"""

import threading
import time
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardware.errors import DeviceDisconnected, DeviceTimeout

#: A page that reloads is back within this time [s].
RELOAD = 1.5


@dataclass(frozen=True)
class Pattern:
    """A picture on its way to the page.

    Attributes
    ----------
    number : int
        Counts the pictures, from 1.
    planes : int
        1 for greys, 3 for R, G, B.
    pixels : bytes
        Row by row.
    check : int
        CRC-32 of its R, G, B, 255 for every pixel: what a canvas that shows it holds.
    """

    number: int
    planes: int
    pixels: bytes
    check: int

    @classmethod
    def of(cls, number: int, picture: NDArray[np.uint8]) -> "Pattern":
        """Return the pattern of greys (H, W) or colours (H, W, 3)."""
        canvas = np.full((*picture.shape[:2], 4), 255, np.uint8)
        canvas[..., :3] = picture if picture.ndim == 3 else picture[..., None]
        planes = 3 if picture.ndim == 3 else 1
        return cls(number, planes, picture.tobytes(), zlib.crc32(canvas.data))


@dataclass(frozen=True)
class Report:
    """What a page says about a picture.

    Attributes
    ----------
    number : int
        Which picture.
    check : int
        CRC-32 of the canvas, read back after the picture stood for a frame.
    ratio : float
        Device pixels per pixel of the page.
    columns, rows : int
        Size of the page in its pixels.
    canvas : tuple of int
        Columns and rows of the canvas.
    hidden : bool
        Whether the page is covered by another tab or minimised.
    """

    number: int
    check: int
    ratio: float
    columns: int
    rows: int
    canvas: tuple[int, int]
    hidden: bool


class Display:
    """What is to be shown, and what was; for threads of one screen and of its pages."""

    def __init__(self) -> None:
        self.stale = 0  #: reports on pictures that were not asked for any more
        self._changed = threading.Condition()
        self._pattern: Pattern | None = None
        self._report: Report | None = None
        self._page = ""  # the page in charge
        self._line: object = None  # the connection on which it asked last, None if that ended
        self._former: set[str] = set()  # pages that were in charge before
        self._deed = ""  # what it did last
        self.closed = False  #: nothing more will come

    # What a screen does

    def offer(self, pattern: Pattern) -> None:
        """Have a picture shown."""
        with self._changed:
            self._pattern, self._report = pattern, None
            self._changed.notify_all()

    def wait(self, timeout: float, patience: float) -> Report:
        """Return the report on the picture that was offered last.

        Parameters
        ----------
        timeout : float
            Longest wait for a page that is there [s].
        patience : float
            Longest wait for a page where there was none yet [s].

        Raises
        ------
        DeviceTimeout
            No page came, or it does not report.
        DeviceDisconnected
            The page went away.
        """
        with self._changed:
            what = f"picture {self._pattern.number if self._pattern else 0} on the screen"
            if not self._changed.wait_for(lambda: self._page or self.closed, patience):
                hint = "open the page of the screen in a browser on the panel"
                raise DeviceTimeout(what, patience, hint=hint)
            end = time.monotonic() + timeout
            while self._report is None:
                if self.closed:
                    raise DeviceDisconnected(f"{what}: the screen was closed meanwhile")
                if self._left:
                    back = self._changed.wait_for(
                        lambda: self.closed or not self._left, min(RELOAD, timeout)
                    )
                    if not back:
                        raise DeviceDisconnected(
                            f"{what}: the page was closed, or its browser ended",
                            hint="open the page again, full screen on the panel",
                        )
                elif not self._changed.wait_for(
                    lambda: self._report or self._left or self.closed, end - time.monotonic()
                ):
                    hint = "is its window visible, and the browser awake?"
                    raise DeviceTimeout(what, timeout, self._deed, hint=hint)
            return self._report

    @property
    def watched(self) -> bool:
        """Whether a page is there."""
        return self._line is not None

    def close(self) -> None:
        """Send waiting pages home."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    # What a page does

    def enter(self, page: str, line: object) -> bool:
        """Put a page in charge, which is refused once another one took over."""
        with self._changed:
            if page in self._former:
                return False
            if self._page and page != self._page:
                self._former.add(self._page)
            self._page, self._line, self._deed = page, line, "the page was opened"
            self._changed.notify_all()
            return True

    def in_charge(self, page: str) -> bool:
        """Return whether this page shows."""
        return page == self._page

    def ended(self, line: object) -> None:
        """Learn that a connection ended; those kept open for later are no sign of life."""
        with self._changed:
            if line is self._line:
                self._line = None
                self._changed.notify_all()

    def next(self, page: str, line: object, after: int, timeout: float) -> Pattern | None:
        """Return the picture to show if it is not number `after`, or None.

        It is waited for up to a time [s], as long as the page is in charge.
        """
        with self._changed:
            if page == self._page and line is not self._line:
                self._line = line
                self._changed.notify_all()
            self._deed = f"the page waits for what follows picture {after}"
            self._changed.wait_for(
                lambda: self.closed or page != self._page or self._due(after), timeout
            )
            if self.closed or page != self._page or self._pattern is None or not self._due(after):
                return None
            self._deed = f"the page took picture {self._pattern.number}"
            return self._pattern

    def report(self, report: Report) -> bool:
        """Take a report; return whether it is on the picture that was offered last."""
        with self._changed:
            if self._pattern is None or report.number != self._pattern.number:
                self.stale += 1
                return False
            self._report = report
            self._changed.notify_all()
            return True

    # How

    @property
    def _left(self) -> bool:
        return bool(self._page) and self._line is None

    def _due(self, after: int) -> bool:
        return self._pattern is not None and self._pattern.number != after
