"""An HTTP server for a few people in one laboratory: it knows its token, its own names, its limits.

What is served is said by who inherits: `WebHandler.answer`.
"""

import hashlib
import hmac
import http.client
import importlib.resources
import ipaddress
import logging
import re
import socket
import sys
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, cast

from hardware.errors import DeviceNotFound
from hardware.web.reading import Reader

#: Longest wait for a client that takes no more bytes of its answer [s].
SEND_WITHIN = 20.0
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

log = logging.getLogger(__name__)


class Refused(Exception):
    """A request that is not answered; the connection ends."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class WebServer(ThreadingHTTPServer):
    """Listens on one address, and answers each connection in a thread of its own.

    Parameters
    ----------
    host : str
        Address to listen on.
    port : int
        TCP port; 0 takes a free one.
    token : str
        What clients must show.
    handler : type of WebHandler
        What answers a connection.

    Raises
    ------
    DeviceNotFound
        The address or port cannot be listened on.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, token: str, handler: "type[WebHandler]") -> None:
        self.host = host
        self._key = hashlib.sha256(token.encode()).digest()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), handler)
        except OSError as error:
            raise DeviceNotFound(
                f"cannot listen on {host}, port {port}: {error.strerror or error}",
                hint="choose another port=..., or end the program that has it",
            ) from error

    @property
    def url(self) -> str:
        """Address, without the token."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{shown}:{self.server_address[1]}"

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

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong with a connection."""
        log.debug("a connection ended badly: %s", sys.exc_info()[1])


class WebHandler(BaseHTTPRequestHandler):
    """One connection: its requests are read within limits, and answered or refused."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "veilens", ""
    disable_nagle_algorithm = True
    #: The files that everybody may have: name and type by path, in the package `PACKAGE`.
    FILES: ClassVar[Mapping[str, tuple[str, str]]] = {}
    PACKAGE = ""
    server: WebServer

    # What heirs provide

    def answer(self, path: str, query: str) -> None:
        """Answer a request for what is no file; raise `Refused` where it must not be."""
        raise NotImplementedError

    def send_refusal(self, status: HTTPStatus, message: str) -> None:
        """Say why a request is not answered."""
        raise NotImplementedError

    # What they use

    def check_token(self) -> None:
        """Refuse a request that does not show the token."""
        shown = self.headers.get_all("Authorization", [])
        if len(shown) != 1 or not self.server.knows(shown[0]):
            raise Refused(HTTPStatus.UNAUTHORIZED, "the token is missing or wrong")

    def send(
        self,
        status: HTTPStatus,
        content: bytes | None,
        kind: str = "",
        more: Mapping[str, str] | None = None,
    ) -> None:
        """Send head and content; without content (None) the head of a stream that follows."""
        self.send_response(status)
        kinds = {"Content-Type": kind} if kind else {}
        for name, value in {**_HEADERS, **kinds, **(more or {})}.items():
            self.send_header(name, value)
        if content is not None and status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.connection.settimeout(SEND_WITHIN)
        self.end_headers()
        if content and self.command != "HEAD":
            self.connection.sendall(content)

    # How

    def setup(self) -> None:
        """Read through a `Reader`."""
        super().setup()
        self.reader = Reader(self.connection)
        self.rfile = cast(Any, self.reader)

    def handle_one_request(self) -> None:
        """Read one request, and answer it or refuse it."""
        self.close_connection = True
        try:
            self.reader.begin_head()
            self.raw_requestline = self.reader.readline()
            if self.raw_requestline.strip() and self.parse_request():
                self._answer()
        except (OSError, http.client.HTTPException) as error:
            log.debug("a connection ended: %s", error)
            self.close_connection = True

    def _answer(self) -> None:
        try:
            self._check_sender()
            path, _, query = self.path.partition("?")
            if path not in self.FILES:
                self.answer(path, query)
            elif self.command != "GET":
                raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "only GET is answered here")
            else:
                name, kind = self.FILES[path]
                file = importlib.resources.files(self.PACKAGE).joinpath(name)
                self.send(HTTPStatus.OK, file.read_bytes(), kind)
        except Refused as refused:
            self.close_connection = True  # what follows on it cannot be told from a body
            self.send_refusal(refused.status, str(refused))

    def _check_sender(self) -> None:
        """Refuse a request that does not come from where it says it does."""
        if self.request_version not in ("HTTP/1.0", "HTTP/1.1"):
            self.request_version = "HTTP/1.1"
            raise Refused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.1 is spoken here")
        if self.command not in ("GET", "POST"):
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and POST are answered")
        hosts, origins = self.headers.get_all("Host", []), self.headers.get_all("Origin", [])
        if len(hosts) != 1 or not self.server.allows_host(hosts[0]):
            raise Refused(HTTPStatus.FORBIDDEN, "Host: this is not the machine that was asked for")
        if any(origin.lower() != f"http://{hosts[0].lower()}" for origin in origins):
            raise Refused(HTTPStatus.FORBIDDEN, "Origin: another page must not ask")
        if "Transfer-Encoding" in self.headers:
            raise Refused(HTTPStatus.BAD_REQUEST, "Transfer-Encoding: send a Content-Length")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what `parse_request` could not read."""
        self.close_connection = True
        self.request_version = "HTTP/1.1"
        status = HTTPStatus(code)
        self.send_refusal(status, status.phrase)

    def log_message(self, format: str, *args: Any) -> None:
        """Log requests by their first line alone; no header, no body."""
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
