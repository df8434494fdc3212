"""The agent's HTTP server: the live page for everybody who reaches it, the rest for the token.

`hardware.agent.api` is what those who show it may ask. Nothing else can be reached: paths are
looked up in a table, never in a folder.
"""

import json
import logging
import re
import socket
import threading
from collections.abc import Mapping
from contextlib import closing, suppress
from http import HTTPStatus
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from hardware.agent import wire
from hardware.agent.agent import Agent
from hardware.agent.api import ROUTES, Answer, Arguments, Request
from hardware.errors import HardwareError
from hardware.web import Refused, WebHandler, WebServer, check_token, is_loopback, new_token

#: Longest body of a request [bytes].
BODY_LIMIT = 64 * 1024
#: Most connections that showed no token yet; a further one ends the oldest of them.
STRANGERS = 32
_CLIENT = re.compile(r"[0-9a-f]{16,64}", re.ASCII)
_LENGTH = re.compile(r"[0-9]{1,9}", re.ASCII)

log = logging.getLogger(__name__)


class AgentServer(WebServer):
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

    def __init__(
        self, agent: Agent, *, host: str = "127.0.0.1", port: int = 8765, token: str = ""
    ) -> None:
        if not token and not is_loopback(host):
            raise ValueError(
                f"host = {host}: whoever reaches this address could move the stage; give a token "
                "by key_file or VEILENS_TOKEN, or listen on 127.0.0.1 and use an SSH tunnel"
            )
        self.agent, self.token = agent, check_token(token) if token else new_token()
        self._strangers: dict[socket.socket, None] = {}  # oldest first
        self._strangers_lock = threading.Lock()
        super().__init__(host, port, self.token, _Handler)

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

    def close(self) -> None:
        """End the server and its agent; call it from another thread than `serve_forever`."""
        self.shutdown()
        self.server_close()
        self.agent.close()

    def _strangers_pop(self) -> socket.socket:
        oldest = next(iter(self._strangers))
        del self._strangers[oldest]
        return oldest


class _Handler(WebHandler):
    """One connection."""

    FILES: ClassVar[Mapping[str, tuple[str, str]]] = {
        "/": ("page.html", "text/html; charset=utf-8"),
        "/page.css": ("page.css", "text/css; charset=utf-8"),
        "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    }
    PACKAGE = "hardware.agent"
    server: AgentServer

    def finish(self) -> None:
        super().finish()
        with suppress(OSError):  # it may be gone
            self.connection.shutdown(socket.SHUT_WR)
        self.reader.drain()

    def answer(self, path: str, query: str) -> None:
        """Answer by the table of routes."""
        self.check_token()
        self.server.trust(self.connection)
        route = ROUTES.get((self.command, path))
        if route is None:
            raise Refused(HTTPStatus.NOT_FOUND, "there is nothing at this path")
        self._check_version()
        client = self.headers.get("Veilens-Client", "")
        if client and not _CLIENT.fullmatch(client):
            raise Refused(HTTPStatus.BAD_REQUEST, "Veilens-Client: 16 to 64 hex digits")
        try:
            request = Request(client, Arguments(self._arguments(query)))
        except TimeoutError as error:
            raise Refused(HTTPStatus.REQUEST_TIMEOUT, "the request took too long") from error
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
            self.send(HTTPStatus.OK, json.dumps(wire.plain(answer)).encode(), "application/json")
            return
        self.close_connection = True  # the end of a stream is the end of the connection
        self.send(HTTPStatus.OK, None, "application/octet-stream")
        with closing(answer) as parts:  # where the client leaves, the camera is free at once
            for part in parts:
                self.connection.sendall(part)

    def _send_error(self, status: HTTPStatus, error: Exception) -> None:
        content = json.dumps({"error": wire.error_json(error)}).encode()
        self.send(status, content, "application/json")

    def send_refusal(self, status: HTTPStatus, message: str) -> None:
        """Say why a request is not answered, as an error in JSON."""
        self._send_error(status, ValueError(message))


def _refuse_body() -> Mapping[str, Any]:
    raise Refused(HTTPStatus.BAD_REQUEST, "GET has no body")


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _query_number(text: str) -> float:
    if not _LENGTH.fullmatch(text):
        raise Refused(HTTPStatus.BAD_REQUEST, "a query holds whole numbers")
    return int(text)


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):  # it is gone already
        connection.shutdown(socket.SHUT_RDWR)
