"""The agent's HTTP server: who may ask, how much, and for how long.

It serves the live page to everybody who reaches it, and `hardware.agent.api` to those who show
the token. Nothing else can be reached: paths are looked up in a table, never in a folder.
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
from collections.abc import Mapping
from contextlib import closing, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qsl

from hardware.agent import wire
from hardware.agent.agent import Agent
from hardware.agent.api import ROUTES, Answer, Arguments, Request
from hardware.agent.reading import Reader
from hardware.agent.token import check_token, new_token
from hardware.errors import DeviceNotFound, HardwareError

#: Longest body of a request [bytes].
BODY_LIMIT = 64 * 1024
#: Most connections that showed no token yet; a further one ends the oldest of them.
STRANGERS = 32
#: Longest wait for a client that takes no more bytes of its answer [s].
SEND_WITHIN = 20.0
PAGE = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_CLIENT = re.compile(r"[0-9a-f]{16,64}", re.ASCII)
_LENGTH = re.compile(r"[0-9]{1,9}", re.ASCII)

log = logging.getLogger(__name__)


class Refused(Exception):
    """A request that is not answered; the connection ends."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class AgentServer(ThreadingHTTPServer):
    """Serves an agent; `serve_forever` in a thread, `close` to end.

    Parameters
    ----------
    agent : Agent
        What is served.
    host : str, default "127.0.0.1"
        Address to listen on; any but a loopback address needs a token that was chosen.
    port : int, default 8765
        TCP port; 0 takes a free one.
    token : str, default ""
        What clients must show; "" makes one at random.

    Raises
    ------
    ValueError
        The address is not loopback and there is no token, or the token is too short.
    DeviceNotFound
        The address or port cannot be listened on.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self, agent: Agent, *, host: str = "127.0.0.1", port: int = 8765, token: str = ""
    ) -> None:
        if not token and not _is_loopback(host):
            raise ValueError(
                f"host = {host}: whoever reaches this address could move the stage; give a token "
                "by key_file or VEILENS_TOKEN, or listen on 127.0.0.1 and use an SSH tunnel"
            )
        self.agent, self.host = agent, host
        self.token = check_token(token) if token else new_token()
        self._key = hashlib.sha256(self.token.encode()).digest()
        self._strangers: dict[socket.socket, None] = {}  # oldest first
        self._strangers_lock = threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise DeviceNotFound(
                f"cannot listen on {host}, port {port}: {error.strerror or error}",
                hint="choose another port=..., or end the agent that has it",
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
        """Return whether a Host header can be this machine: no name that others may point here."""
        name = header.rpartition(":")[0] if re.search(r":\d{1,5}$", header) else header
        own = {"localhost", self.host.lower()}
        if not _is_loopback(self.host):
            machine = socket.gethostname().lower()
            own |= {machine, f"{machine}.local"}
            if _is_address(name.strip("[]")):
                return True
        return name.lower() in own or _is_loopback(name.strip("[]"))

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread; where too many strangers wait, the oldest of them goes."""
        with self._strangers_lock:
            while len(self._strangers) >= STRANGERS:
                _shut(self._strangers_pop())
            self._strangers[request] = None
        super().process_request(request, client_address)

    def trust(self, request: socket.socket) -> None:
        """Count a connection no more among the strangers: it showed the token, or it ended."""
        with self._strangers_lock:
            self._strangers.pop(request, None)

    def shutdown_request(self, request: Any) -> None:
        """Forget and close a connection."""
        self.trust(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong with a connection."""
        log.debug("a connection ended badly: %s", sys.exc_info()[1])

    def close(self) -> None:
        """End the server and its agent; call it from another thread than `serve_forever`."""
        self.shutdown()
        self.server_close()
        self.agent.close()

    def _strangers_pop(self) -> socket.socket:
        oldest = next(iter(self._strangers))
        del self._strangers[oldest]
        return oldest


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "veilens", ""
    disable_nagle_algorithm = True
    server: AgentServer

    def setup(self) -> None:
        super().setup()
        self.reader = Reader(self.connection)
        self.rfile = cast(Any, self.reader)

    def finish(self) -> None:
        super().finish()
        with suppress(OSError):  # it may be gone
            self.connection.shutdown(socket.SHUT_WR)
        self.reader.drain()

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
            path, query = self._checked()
            if path in PAGE:
                if self.command != "GET":
                    raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "only GET is answered here")
                self._send(HTTPStatus.OK, *_file(path))
                return
            self._authorise()
            route = ROUTES.get((self.command, path))
            if route is None:
                raise Refused(HTTPStatus.NOT_FOUND, "there is nothing at this path")
            self._check_version()
            client = self.headers.get("Veilens-Client", "")
            if client and not _CLIENT.fullmatch(client):
                raise Refused(HTTPStatus.BAD_REQUEST, "Veilens-Client: 16 to 64 hex digits")
            request = Request(client, Arguments(self._arguments(query)))
        except Refused as refused:
            self.close_connection = True  # what follows on it cannot be told from a body
            self._send_error(refused.status, ValueError(str(refused)))
            return
        except TimeoutError:
            self.close_connection = True
            self._send_error(HTTPStatus.REQUEST_TIMEOUT, ValueError("the request took too long"))
            return
        try:
            answer = route(self.server.agent, request)
            self._send_answer(answer)
        except (ValueError, TypeError) as error:
            self._send_error(HTTPStatus.BAD_REQUEST, error)
        except HardwareError as error:
            self._send_error(HTTPStatus.CONFLICT, error)
        except OSError:
            raise
        except Exception as error:
            log.exception("%s %s failed", self.command, path)
            message = f"the agent failed ({type(error).__name__}); its log says where"
            self._send_error(HTTPStatus.INTERNAL_SERVER_ERROR, HardwareError(message))

    def _checked(self) -> tuple[str, str]:
        """Return path and query of a request that may come from where it says it does."""
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
        path, _, query = self.path.partition("?")
        return path, query

    def _authorise(self) -> None:
        shown = self.headers.get_all("Authorization", [])
        if len(shown) != 1 or not self.server.knows(shown[0]):
            raise Refused(HTTPStatus.UNAUTHORIZED, "the token is missing or wrong")
        self.server.trust(self.connection)

    def _check_version(self) -> None:
        spoken = self.headers.get("Veilens-Version", str(wire.VERSION))
        if spoken != str(wire.VERSION):
            raise Refused(
                HTTPStatus.UPGRADE_REQUIRED,
                f"the client speaks version {spoken:.10}, the agent {wire.VERSION}: update both",
            )

    def _arguments(self, query: str) -> Mapping[str, Any]:
        lengths = self.headers.get_all("Content-Length", ["0"])
        if len(lengths) != 1 or not _LENGTH.fullmatch(lengths[0]):
            raise Refused(HTTPStatus.BAD_REQUEST, "Content-Length: one number is needed")
        length = int(lengths[0])
        if length > BODY_LIMIT:
            raise Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {BODY_LIMIT} bytes"
            )
        body = self.reader.body(length)
        if len(body) < length:
            raise Refused(HTTPStatus.BAD_REQUEST, "the body is shorter than its Content-Length")
        if self.command == "GET":
            found: Any = {key: _query_number(value) for key, value in parse_qsl(query)}
            return found if not length else _refuse_body()
        try:
            found = json.loads(body, parse_constant=_no_number) if body else {}
        except (ValueError, RecursionError) as error:
            raise Refused(HTTPStatus.BAD_REQUEST, "the body is not JSON") from error
        if not isinstance(found, dict):
            raise Refused(HTTPStatus.BAD_REQUEST, "the body is not a JSON object")
        return found

    # Answering

    def _send_answer(self, answer: Answer) -> None:
        if isinstance(answer, Mapping):
            self._send(HTTPStatus.OK, json.dumps(wire.plain(answer)).encode(), "application/json")
            return
        self.close_connection = True  # the end of a stream is the end of the connection
        self._head(HTTPStatus.OK, "application/octet-stream", None)
        self.connection.settimeout(SEND_WITHIN)
        with closing(answer) as parts:  # where the client leaves, the camera is free at once
            for part in parts:
                self.connection.sendall(part)

    def _send_error(self, status: HTTPStatus, error: Exception) -> None:
        content = json.dumps({"error": wire.error_json(error)}).encode()
        self._send(status, content, "application/json")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what `parse_request` could not read."""
        self.close_connection = True
        self.request_version = "HTTP/1.1"
        status = HTTPStatus(code)
        self._send_error(status, ValueError(status.phrase))

    def _send(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self._head(status, kind, len(content))
        self.connection.settimeout(SEND_WITHIN)
        if self.command != "HEAD":
            self.connection.sendall(content)

    def _head(self, status: HTTPStatus, kind: str, length: int | None) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind}.items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Log requests by their first line alone; no header, no body."""
        log.debug("%s: %s", self.client_address[0], repr(format % args)[:200])


def _file(path: str) -> tuple[bytes, str]:
    name, kind = PAGE[path]
    return importlib.resources.files("hardware.agent").joinpath(name).read_bytes(), kind


def _refuse_body() -> Mapping[str, Any]:
    raise Refused(HTTPStatus.BAD_REQUEST, "GET has no body")


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _query_number(text: str) -> float:
    if not _LENGTH.fullmatch(text):
        raise Refused(HTTPStatus.BAD_REQUEST, "a query holds whole numbers")
    return int(text)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(name: str) -> bool:
    return name.lower() == "localhost" or (
        _is_address(name) and ipaddress.ip_address(name).is_loopback
    )


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):  # it is gone already
        connection.shutdown(socket.SHUT_RDWR)
