"""The HTTP side of a screen: the page, the pictures it asks for, and its reports.

The page itself is given to everybody who reaches it; pictures are given to, and reports taken
from, those who show the token.
"""

import json
import re
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, ClassVar
from urllib.parse import parse_qs

from hardware.modulators.display import Display, Report
from hardware.web import Refused, WebHandler, WebServer

#: A page that waits for a picture is answered after this time at the latest [s].
POLL = 10.0
#: A page that went away is noticed within this time [s].
NOTICE = 0.1
#: Most connections at a time; a browser has up to six.
CONNECTIONS = 32
#: Longest report of a page [bytes].
REPORT_LIMIT = 1024
_PAGE = re.compile(r"[0-9a-f]{16}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


class _Taken(Refused):
    def __init__(self) -> None:
        super().__init__(HTTPStatus.CONFLICT, "another page was opened after this one")


class PageServer(WebServer):
    """Serves a display in threads of its own, until `close`.

    Parameters
    ----------
    display : Display
        What pages are told, and whom they tell.
    shape : tuple of int
        Pixels (H, W) of the panel.
    host : str
        Address to listen on.
    port : int
        TCP port; 0 takes a free one.
    token : str
        What pages show.

    Raises
    ------
    DeviceNotFound
        The address or port cannot be listened on.
    """

    def __init__(
        self, display: Display, shape: tuple[int, int], host: str, port: int, token: str
    ) -> None:
        self.display, self.shape = display, shape
        self._room = threading.BoundedSemaphore(CONNECTIONS)
        super().__init__(host, port, token, _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, where there is room."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            super().shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and make room again."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def close(self) -> None:
        """End the server."""
        self.display.close()
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Handler(WebHandler):
    """One connection."""

    FILES: ClassVar[Mapping[str, tuple[str, str]]] = {
        "/": ("display.html", "text/html; charset=utf-8"),
        "/display.css": ("display.css", "text/css; charset=utf-8"),
        "/display.js": ("display.js", "text/javascript; charset=utf-8"),
    }
    PACKAGE = "hardware.modulators"
    server: PageServer

    def finish(self) -> None:
        self.server.display.ended(self)
        with suppress(OSError):  # it may be gone
            super().finish()

    def answer(self, path: str, query: str) -> None:
        """Answer a page that shows the token: what the panel is, the next picture, a report."""
        self.check_token()
        try:
            asked = parse_qs(query, max_num_fields=4)
        except ValueError as error:
            raise Refused(HTTPStatus.BAD_REQUEST, "the query is too long") from error
        if (self.command, path) == ("GET", "/panel"):
            self._enter(asked)
        elif not self.server.display.in_charge(self._name(asked)):
            raise _Taken
        elif (self.command, path) == ("GET", "/next"):
            self._next(asked)
        elif (self.command, path) == ("POST", "/shown"):
            self._shown()
        else:
            raise Refused(HTTPStatus.NOT_FOUND, "there is nothing at this path")

    def send_refusal(self, status: HTTPStatus, message: str) -> None:
        """Say why a request is not answered, in plain text."""
        self.send(status, message.encode(), "text/plain; charset=utf-8")

    def _enter(self, asked: dict[str, list[str]]) -> None:
        if not self.server.display.enter(self._name(asked), self):
            raise _Taken
        rows, columns = self.server.shape
        content = json.dumps({"columns": columns, "rows": rows}).encode()
        self.send(HTTPStatus.OK, content, "application/json")

    def _next(self, asked: dict[str, list[str]]) -> None:
        page = self._name(asked)
        after = asked.get("after", [""])[0]
        if not _NUMBER.fullmatch(after):
            raise Refused(HTTPStatus.BAD_REQUEST, "after: a whole number is needed")
        display, end = self.server.display, time.monotonic() + POLL
        while (pattern := display.next(page, self, int(after), NOTICE)) is None:
            if not display.in_charge(page):
                raise _Taken
            if self._hung_up():
                self.close_connection = True
                return
            if display.closed or time.monotonic() > end:
                break
        if pattern is None:
            self.close_connection = display.closed
            self.send(HTTPStatus.NO_CONTENT, b"")
            return
        number, planes = str(pattern.number), str(pattern.planes)
        more = {"Veilens-Number": number, "Veilens-Planes": planes}
        self.send(HTTPStatus.OK, pattern.pixels, "application/octet-stream", more)

    def _shown(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not _NUMBER.fullmatch(length) or int(length) > REPORT_LIMIT:
            raise Refused(HTTPStatus.BAD_REQUEST, f"Content-Length: up to {REPORT_LIMIT} bytes")
        try:
            found = json.loads(self.reader.body(int(length)))
            report = Report(
                number=int(found["number"]),
                check=int(found["check"]),
                ratio=float(found["ratio"]),
                columns=int(found["columns"]),
                rows=int(found["rows"]),
                canvas=(int(found["canvas"][0]), int(found["canvas"][1])),
                hidden=found["hidden"] is True,
            )
        except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
            raise Refused(HTTPStatus.BAD_REQUEST, "the report is not one") from error
        current = self.server.display.report(report)
        self.send(HTTPStatus.NO_CONTENT if current else HTTPStatus.GONE, b"")

    # Who asks

    def _name(self, asked: dict[str, list[str]]) -> str:
        page = asked.get("page", [""])[0]
        if not _PAGE.fullmatch(page):
            raise Refused(HTTPStatus.BAD_REQUEST, "page: 16 hex digits are needed")
        return page

    def _hung_up(self) -> bool:
        self.connection.settimeout(0.0)
        try:
            return bytes(self.connection.recv(1, socket.MSG_PEEK)) == b""
        except BlockingIOError:
            return False
