"""The HTTP side of a screen: the page, the pictures it asks for, and its reports.

The page itself is given to everybody who reaches it; pictures are given to, and reports taken
from, those who show the token.
"""

import hashlib
import hmac
import http.client
import importlib.resources
import ipaddress
import json
import logging
import re
import socket
import sys
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs

from hardware.agent.reading import Reader
from hardware.errors import DeviceNotFound
from hardware.modulators.display import Display, Report

#: A page that waits for a picture is answered after this time at the latest [s].
POLL = 10.0
#: A page that went away is noticed within this time [s].
NOTICE = 0.1
#: Longest wait for a browser that takes no more bytes [s].
SEND_WITHIN = 10.0
#: Most connections at a time; a browser has up to six.
CONNECTIONS = 32
#: Longest report of a page [bytes].
REPORT_LIMIT = 1024
_FILES = {
    "/": ("display.html", "text/html; charset=utf-8"),
    "/display.css": ("display.css", "text/css; charset=utf-8"),
    "/display.js": ("display.js", "text/javascript; charset=utf-8"),
}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_PAGE = re.compile(r"[0-9a-f]{16}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)

log = logging.getLogger(__name__)


class _Refused(Exception):
    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Taken(_Refused):
    def __init__(self) -> None:
        super().__init__(HTTPStatus.CONFLICT, "another page was opened after this one")


class PageServer(ThreadingHTTPServer):
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

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self, display: Display, shape: tuple[int, int], host: str, port: int, token: str
    ) -> None:
        self.display, self.shape, self.host = display, shape, host
        self._key = hashlib.sha256(token.encode()).digest()
        self._room = threading.BoundedSemaphore(CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise DeviceNotFound(
                f"cannot listen on {host}, port {port}: {error.strerror or error}",
                hint="choose another port=..., or end the program that has it",
            ) from error
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Address, without the token."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{shown}:{self.server_address[1]}/"

    def knows(self, authorization: str) -> bool:
        """Return whether a header shows the token, in a time that does not depend on it."""
        shown = hashlib.sha256(authorization.removeprefix("Bearer ").encode()).digest()
        return hmac.compare_digest(shown, self._key) and authorization.startswith("Bearer ")

    def allows_host(self, header: str) -> bool:
        """Return whether a Host header names this machine, and no name that others point here."""
        name = re.sub(r":\d{1,5}$", "", header).strip("[]").lower()
        if is_loopback(name) or name == self.host.lower():
            return True
        machine = socket.gethostname().lower()
        return not is_loopback(self.host) and (
            _address(name) is not None or name in (machine, f"{machine}.local")
        )

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

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong with a connection."""
        log.debug("a connection of a page ended badly: %s", sys.exc_info()[1])

    def close(self) -> None:
        """End the server."""
        self.display.close()
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "veilens", ""
    disable_nagle_algorithm = True
    server: PageServer

    def setup(self) -> None:
        super().setup()
        self.reader = Reader(self.connection)
        self.rfile = cast(Any, self.reader)

    def finish(self) -> None:
        self.server.display.ended(self)
        with suppress(OSError):  # it may be gone
            super().finish()

    def handle_one_request(self) -> None:
        """Read one request, and answer it or refuse it."""
        self.close_connection = True
        try:
            self.reader.begin_head()
            self.raw_requestline = self.reader.readline()
            if self.raw_requestline.strip() and self.parse_request():
                self._answer()
        except (OSError, http.client.HTTPException) as error:
            log.debug("a connection of a page ended: %s", error)
            self.close_connection = True

    def _answer(self) -> None:
        try:
            path, _, query = self.path.partition("?")
            self._check_sender()
            if self.command == "GET" and path in _FILES:
                name, kind = _FILES[path]
                content = importlib.resources.files("hardware.modulators").joinpath(name)
                self._send(HTTPStatus.OK, content.read_bytes(), kind)
                return
            asked = self._asked(query)
            if (self.command, path) == ("GET", "/panel"):
                self._enter(asked)
            elif not self.server.display.in_charge(self._name(asked)):
                raise _Taken
            elif (self.command, path) == ("GET", "/next"):
                self._next(asked)
            elif (self.command, path) == ("POST", "/shown"):
                self._shown()
            else:
                raise _Refused(HTTPStatus.NOT_FOUND, "there is nothing at this path")
        except _Refused as refused:
            self.close_connection = True  # what follows on it cannot be told from a body
            self._send(refused.status, str(refused).encode(), "text/plain; charset=utf-8")

    def _enter(self, asked: dict[str, list[str]]) -> None:
        if not self.server.display.enter(self._name(asked), self):
            raise _Taken
        rows, columns = self.server.shape
        content = json.dumps({"columns": columns, "rows": rows}).encode()
        self._send(HTTPStatus.OK, content, "application/json")

    def _next(self, asked: dict[str, list[str]]) -> None:
        page = self._name(asked)
        after = asked.get("after", [""])[0]
        if not _NUMBER.fullmatch(after):
            raise _Refused(HTTPStatus.BAD_REQUEST, "after: a whole number is needed")
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
            self._send(HTTPStatus.NO_CONTENT, b"", "")
            return
        number, planes = str(pattern.number), str(pattern.planes)
        more = {"Veilens-Number": number, "Veilens-Planes": planes}
        self._send(HTTPStatus.OK, pattern.pixels, "application/octet-stream", more)

    def _shown(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not _NUMBER.fullmatch(length) or int(length) > REPORT_LIMIT:
            raise _Refused(HTTPStatus.BAD_REQUEST, f"Content-Length: up to {REPORT_LIMIT} bytes")
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
            raise _Refused(HTTPStatus.BAD_REQUEST, "the report is not one") from error
        current = self.server.display.report(report)
        self._send(HTTPStatus.NO_CONTENT if current else HTTPStatus.GONE, b"", "")

    # Who asks

    def _check_sender(self) -> None:
        hosts, origins = self.headers.get_all("Host", []), self.headers.get_all("Origin", [])
        if len(hosts) != 1 or not self.server.allows_host(hosts[0]):
            raise _Refused(HTTPStatus.FORBIDDEN, "Host: this is not the machine asked for")
        if any(origin.lower() != f"http://{hosts[0].lower()}" for origin in origins):
            raise _Refused(HTTPStatus.FORBIDDEN, "Origin: another page must not ask")
        if "Transfer-Encoding" in self.headers:
            raise _Refused(HTTPStatus.BAD_REQUEST, "Transfer-Encoding: send a Content-Length")

    def _asked(self, query: str) -> dict[str, list[str]]:
        shown = self.headers.get_all("Authorization", [])
        if len(shown) != 1 or not self.server.knows(shown[0]):
            raise _Refused(HTTPStatus.UNAUTHORIZED, "the token is missing or wrong")
        return parse_qs(query, max_num_fields=4)

    def _name(self, asked: dict[str, list[str]]) -> str:
        page = asked.get("page", [""])[0]
        if not _PAGE.fullmatch(page):
            raise _Refused(HTTPStatus.BAD_REQUEST, "page: 16 hex digits are needed")
        return page

    def _hung_up(self) -> bool:
        self.connection.settimeout(0.0)
        try:
            return bytes(self.connection.recv(1, socket.MSG_PEEK)) == b""
        except BlockingIOError:
            return False

    # Answering

    def _send(
        self, status: HTTPStatus, content: bytes, kind: str, more: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, **(more or {})}.items():
            self.send_header(name, value)
        if kind:
            self.send_header("Content-Type", kind)
        if status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.connection.settimeout(SEND_WITHIN)
        self.end_headers()
        if self.command != "HEAD":
            self.connection.sendall(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Log requests by their first line alone."""
        log.debug("%s: %s", self.client_address[0], repr(format % args)[:200])


def is_loopback(name: str) -> bool:
    """Return whether an address, or "localhost", is this machine alone."""
    address = _address(name)
    return name.lower() == "localhost" or (address is not None and address.is_loopback)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
