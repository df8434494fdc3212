"""The page of a screen without a browser: it keeps what it shows, and lies on demand."""

import contextlib
import http.client
import json
import secrets
import socket
import threading
import time
import zlib
from urllib.parse import urlsplit

import numpy as np


class FakePage:
    """Shows what a screen asks for, over one connection as a browser does.

    shown: the pictures, by number. mute: it takes pictures and says nothing. altered: its canvas
    changes pixels. late: before each report it repeats that on the picture before.
    """

    def __init__(self, screen, *, token=""):
        self.screen = screen
        parts = urlsplit(screen.address)
        self.token = token or parts.fragment.removeprefix("token=")
        self.host, self.port = parts.hostname, parts.port
        self.name = secrets.token_hex(8)
        self.ratio, self.hidden = 1.0, False
        self.mute = self.altered = self.late = False
        self.shown, self.stale, self.refused = {}, 0, None
        self._link = self.connection()
        panel = json.loads(self.ask(self._link, "GET", "/panel").read())
        self.panel = panel["rows"], panel["columns"]
        self.size = self.panel
        self.ask(self._link, "GET", "/next", after=0, wait=False)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def ask(self, connection, method, path, *, body=None, wait=True, **query):
        query = "".join(f"&{key}={value}" for key, value in query.items())
        headers = {"Authorization": f"Bearer {self.token}"}
        connection.request(
            method, f"{path}?page={self.name}{query}", body and json.dumps(body), headers
        )
        return connection.getresponse() if wait else None

    def leave(self):
        self._link.auto_open = 0  # once gone it does not come back
        if self._link.sock:
            with contextlib.suppress(OSError):
                self._link.sock.shutdown(socket.SHUT_RDWR)
        self._link.close()
        self._thread.join(2)
        end = time.monotonic() + 1
        while self.screen._display.watched and time.monotonic() < end:
            time.sleep(0.01)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.leave()

    def connection(self):
        return http.client.HTTPConnection(self.host, self.port, timeout=20)

    def _run(self):
        with contextlib.suppress(OSError, http.client.HTTPException, AttributeError):
            while True:
                answer = self._link.getresponse()
                content = answer.read()
                if answer.status == 200:
                    self._take(answer, content)
                elif answer.status != 204:
                    self.refused = answer.status
                    return
                after = max(self.shown, default=0)
                self.ask(self._link, "GET", "/next", after=after, wait=False)

    def _take(self, answer, content):
        number, planes = (int(answer.headers[f"Veilens-{n}"]) for n in ("Number", "Planes"))
        shape = self.panel if planes == 1 else (*self.panel, 3)
        picture = np.frombuffer(content, np.uint8).reshape(shape)
        self.shown[number] = picture
        if self.mute:
            return
        canvas = np.full((*self.panel, 4), 255, np.uint8)
        canvas[..., :3] = picture[..., None] if planes == 1 else picture
        if self.altered:
            canvas[-1, -1, 1] ^= 1
        if self.late:
            self.report(self._link, number - 1, 0)
        self.report(self._link, number, zlib.crc32(canvas.data))

    def report(self, link, number, check):
        body = {
            "number": number, "check": check, "ratio": self.ratio, "hidden": self.hidden,
            "columns": self.size[1], "rows": self.size[0], "canvas": self.panel[::-1],
        }  # fmt: skip
        answer = self.ask(link, "POST", "/shown", body=body)
        answer.read()
        self.stale += answer.status == 410
