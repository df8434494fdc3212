"""Pictures on a screen, to the pixel, through any browser in full screen.

A page that this process serves draws the picture on a canvas of the panel's pixels, waits until
it stood for two frames, reads the canvas back, and reports its checksum with the number of the
picture. An old picture is therefore never taken for the new one.

What no browser can report is what happens behind it. Turn off there: colour profiles and night
light of the desktop (Chromium has ``--force-color-profile=srgb``), the screen saver, and in the
panel sharpening, overscan and dynamic contrast. A photograph of a known picture proves it.
"""

import hashlib
import logging
import threading
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hardware.clock import Clock, SystemClock
from hardware.errors import HardwareError
from hardware.modulators.display import Display, Pattern, Report
from hardware.modulators.page_server import PageServer
from hardware.web import is_loopback, new_token, read_token

#: Longest wait for black at the end [s].
_CLOSE_WITHIN = 1.0

log = logging.getLogger(__name__)


class Screen:
    """A panel that shows pictures exactly; use it in a ``with`` block, which ends black.

    The page is served from construction on. Open `address` in a browser, move its window to the
    panel, and press F11.

    Parameters
    ----------
    columns, rows : int
        Pixels of the panel.
    settle : float
        Time from the confirmation of a picture until the panel stands still [s].
    host : str
        Address to listen on; any but a loopback address needs a token that was chosen.
    port : int
        TCP port; 0 takes a free one.
    key_file : path, optional
        File with the token, see `read_token`; the page asks for it. Without it, and without that
        of the environment, the token is random and part of `address`, which goes to the log.
    timeout : float
        Longest wait for an open page to show a picture [s].
    patience : float
        Longest wait for somebody to open the page [s].
    clock : Clock, optional
        Source of time.

    Raises
    ------
    ValueError
        The values mean nothing, or others could reach the page without a token that was chosen.
    DeviceNotFound
        The address or port cannot be listened on.
    """

    def __init__(
        self,
        columns: int,
        rows: int,
        *,
        settle: float = 0.1,
        host: str = "127.0.0.1",
        port: int = 8766,
        key_file: Path | str | None = None,
        timeout: float = 10.0,
        patience: float = 120.0,
        clock: Clock | None = None,
    ) -> None:
        if not (2 <= columns <= 16384 and 2 <= rows <= 16384):
            raise ValueError(f"columns, rows = {columns}, {rows}: 2 to 16384 pixels are allowed")
        if not 0 <= settle < 60:
            raise ValueError(f"settle = {settle:g} s: 0 to 60 s are allowed")
        if not (0 < timeout <= 3600 and 0 <= patience <= 86_400):
            raise ValueError(
                f"timeout = {timeout:g} s, patience = {patience:g} s: up to 3600 s and 86400 s "
                "are allowed"
            )
        token = read_token(None if key_file is None else Path(key_file))
        if not token and not is_loopback(host):
            raise ValueError(
                f"host = {host}: give a token by key_file or VEILENS_TOKEN, or listen on 127.0.0.1"
            )
        self.shape = (rows, columns)
        self.settle, self.timeout, self.patience = settle, timeout, patience
        self.clock = clock or SystemClock()
        self.shown = ""  #: digest of the picture that stands, "" where that is not known
        self._count = 0
        self._one = threading.Lock()
        self._display = Display()
        random = "" if token else new_token()
        self._server: PageServer | None = PageServer(
            self._display, self.shape, host, port, token or random
        )
        #: What to open in the browser; the part behind # is secret
        self.address = f"{self._server.url}/" + (f"#token={random}" if random else "")
        log.info("open %s in full screen on the panel of %d x %d", self.address, columns, rows)

    def show(self, picture: NDArray[Any]) -> str:
        """Show a picture, and return when the panel stands.

        Parameters
        ----------
        picture : ndarray of uint8, shape (H, W) or (H, W, 3)
            Greys, or R, G, B, as they are sent to the panel.

        Returns
        -------
        str
            SHA-256 of the picture, for the record of a capture.

        Raises
        ------
        ValueError, TypeError
            It is no picture of the panel's size.
        DeviceTimeout, DeviceDisconnected
            Nothing confirmed it.
        HardwareError
            The page is scaled, or not full screen, or its canvas holds other pixels.
        """
        digest = self.present(picture)
        self.clock.sleep(self.settle)
        return digest

    def present(self, picture: NDArray[Any]) -> str:
        """Show a picture as `show` does, and return when it is confirmed, before it settles."""
        pixels = np.ascontiguousarray(picture)
        if pixels.dtype != np.uint8:
            raise TypeError(f"picture holds {pixels.dtype}, expected uint8: the greys of the panel")
        if pixels.shape not in (self.shape, (*self.shape, 3)):
            raise ValueError(
                f"picture is {pixels.shape}, expected {self.shape} or {(*self.shape, 3)}"
            )
        with self._one:
            return self._present(pixels, self.timeout, self.patience)

    def blank(self) -> None:
        """Show black."""
        self.show(np.zeros(self.shape, np.uint8))

    def close(self) -> None:
        """Show black where a page is open, and end it; safe to call twice."""
        server, self._server = self._server, None
        if server is None:
            return
        self.shown = ""
        try:
            # who waits for a picture in another thread is not waited for, but sent home
            if self._display.watched and self._one.acquire(blocking=False):
                try:
                    self._confirm(np.zeros(self.shape, np.uint8), _CLOSE_WITHIN, 0.0)
                finally:
                    self._one.release()
        except HardwareError as error:
            log.warning("the screen may not be black: %s", error)
        finally:
            server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # How

    def _present(self, pixels: NDArray[np.uint8], timeout: float, patience: float) -> str:
        if self._server is None:
            raise HardwareError("the screen is closed")
        self.shown = ""
        pattern, report = self._confirm(pixels, timeout, patience)
        self._check(pattern, report)
        self.shown = hashlib.sha256(f"{pixels.shape}".encode() + pattern.pixels).hexdigest()
        return self.shown

    def _confirm(
        self, pixels: NDArray[np.uint8], timeout: float, patience: float
    ) -> tuple[Pattern, Report]:
        self._count += 1
        pattern = Pattern.of(self._count, pixels)
        self._display.offer(pattern)
        return pattern, self._display.wait(timeout, patience)

    def _check(self, pattern: Pattern, report: Report) -> None:
        rows, columns = self.shape
        if report.hidden:
            raise HardwareError(
                "the page is not visible", hint="bring its window to the front of the panel"
            )
        if abs(report.ratio - 1) > 1e-6:
            raise HardwareError(
                f"the page is scaled to {report.ratio:.4g}: its pixels are not those of the panel",
                hint="set the scale of this display to 100 %, and the zoom of the page (Ctrl+0)",
            )
        if (report.columns, report.rows) != (columns, rows):
            raise HardwareError(
                f"the page is {report.columns} x {report.rows} pixels, the panel {columns} x "
                f"{rows}",
                hint="move its window to the panel, run that at its own resolution, and press F11",
            )
        if report.canvas != (columns, rows) or report.check != pattern.check:
            raise HardwareError(
                "the canvas of the page holds other pixels than were sent",
                hint="turn off extensions and settings of the browser that alter canvases against "
                "fingerprinting, or use a plain Chromium",
            )
