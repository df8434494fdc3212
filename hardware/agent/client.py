"""The other end of an agent: a link to it, and a rig whose devices are there."""

import http.client
import json
import logging
import random
import secrets
import socket
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hardware.agent import wire
from hardware.errors import (
    DeviceDisconnected,
    DeviceNotFound,
    DeviceTimeout,
    HardwareError,
    ProtocolError,
)
from hardware.frames import RawFrame
from hardware.web import check_token, read_token

#: Longest wait for the connection, and for an answer that needs no motion [s].
CONNECT_WITHIN, ANSWER_WITHIN = 5.0, 10.0
#: Heartbeats per longest silence the agent allows.
BEATS = 5
#: How often a question is asked again after the connection broke, and the first rest before it [s].
RETRIES, REST = 3, 0.2
_LARGEST_ANSWER = 4 * 2**20  # bytes

log = logging.getLogger(__name__)


class AgentClient:
    """A link to an agent; use it in a ``with`` block, which gives control back.

    Every request is a connection of its own, so that a stop passes all others. Questions are asked
    again after the connection broke; what moves or lights never is.

    Parameters
    ----------
    url : str
        Where the agent is, e.g. "http://localhost:8765".
    token : str
        What it was started with.
    name : str, default ""
        What the agent tells others who controls the rig; "": this machine.

    Raises
    ------
    DeviceNotFound
        Nobody answers there.
    HardwareError
        The agent refuses the token, or speaks another version.
    """

    def __init__(self, url: str, token: str, *, name: str = "") -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path.strip("/"):
            raise ValueError(
                f"url = {url!r:.100}, expected http://host:port; over a network that others use, "
                "go through ssh -L 8765:localhost:8765 <the Pi>"
            )
        self._address = (parts.hostname, parts.port or 80)
        self._name = name or socket.gethostname()
        self._headers = {
            "Authorization": f"Bearer {check_token(token)}",
            "Veilens-Client": secrets.token_hex(16),
            "Veilens-Version": str(wire.VERSION),
        }
        self._end = threading.Event()
        self._heart: threading.Thread | None = None
        self._lost: Exception | None = None
        self.info: Mapping[str, Any] = self.ask("/api/info")
        if self.info.get("version") != wire.VERSION:
            raise HardwareError(
                f"the agent speaks version {self.info.get('version')!r:.20}, this program "
                f"{wire.VERSION}",
                hint="update both to the same version of the project",
            )

    # Control

    def take_control(self) -> None:
        """Become the one client that may move and capture, and go on saying that it is there.

        Raises
        ------
        DeviceBusy
            Another client controls the rig.
        """
        silence = float(self.tell("/api/control", name=self._name)["silence"])
        self._lost = None
        if self._heart is None:
            self._heart = threading.Thread(
                target=self._beat, args=(silence / BEATS,), name="agent heartbeat", daemon=True
            )
            self._heart.start()

    def close(self) -> None:
        """Give control back, and end the heartbeat; safe to call twice."""
        heart, self._heart = self._heart, None
        if heart is None:
            return
        self._end.set()
        heart.join()
        self._end.clear()
        try:
            self.tell("/api/release")
        except (HardwareError, ValueError) as error:
            log.warning("control was not given back: %s", error)

    def __enter__(self) -> "AgentClient":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # Requests

    def ask(self, path: str) -> dict[str, Any]:
        """Ask a question (GET); again where the connection broke."""
        return self._again(lambda: self._request("GET", path, None, ANSWER_WITHIN))

    def query(self, path: str, **arguments: object) -> dict[str, Any]:
        """Ask a question with arguments (POST); again where the connection broke."""
        return self._again(lambda: self._request("POST", path, arguments, ANSWER_WITHIN))

    def tell(self, path: str, *, within: float = ANSWER_WITHIN, **arguments: object) -> Any:
        """Ask for something to be done, once.

        Raises
        ------
        DeviceDisconnected
            The connection broke: whether it was done is unknown.
        HardwareError, ValueError
            The agent refused.
        """
        if self._lost is not None:
            raise self._lost
        return self._request("POST", path, arguments, within)

    def emergency_stop(self, reason: str = "") -> dict[str, Any]:
        """Stop everything at the agent; also without control, and after the heartbeat failed."""
        told = {"reason": reason or f"asked by {self._name}"}
        return self._request("POST", "/api/emergency-stop", told, 2.0)

    def frames(
        self, exposures: list[float], repeats: int, gain: float, within: float
    ) -> Generator[RawFrame, None, None]:
        """Yield the frames of one capture, each checked by its digest.

        Raises
        ------
        StreamBroken
            The connection broke before the last frame.
        DeviceTimeout
            No byte came within `within` [s].
        HardwareError
            The agent reports it.
        """
        asked = {"exposures": exposures, "repeats": repeats, "gain": gain}
        with self._connection("POST", "/api/camera/capture", asked, within) as answer:
            while True:
                try:
                    header, payload = wire.read_record(answer)
                except TimeoutError as error:
                    raise DeviceTimeout("capture at the agent", within) from error
                except (OSError, http.client.HTTPException) as error:
                    raise wire.StreamBroken(str(error)) from error
                if header.get("kind") == "error":
                    raise wire.error_from(header.get("error"))
                if header.get("kind") == "end":
                    return
                yield wire.frame_from(header, payload)

    # How

    def _request(self, method: str, path: str, arguments: object, within: float) -> dict[str, Any]:
        with self._connection(method, path, arguments, within) as answer:
            try:
                content = answer.read(_LARGEST_ANSWER + 1)
            except TimeoutError as error:
                raise self._disconnected(path, f"no answer within {within:g} s") from error
            except (OSError, http.client.HTTPException) as error:
                raise self._disconnected(path, error) from error
        try:
            found = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise ProtocolError(path.encode(), content, hint="is this an agent?") from error
        if not isinstance(found, dict):
            raise ProtocolError(path.encode(), content, hint="is this an agent?")
        return found

    @contextmanager
    def _connection(
        self, method: str, path: str, arguments: object, within: float
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request, and yield its answer; an error that it holds is raised."""
        body = None if arguments is None else json.dumps(arguments).encode()
        link = http.client.HTTPConnection(*self._address, timeout=CONNECT_WITHIN)
        try:
            try:
                link.connect()
            except OSError as error:
                host, port = self._address
                raise DeviceNotFound(
                    f"no agent answers at {host}, port {port} ({error.strerror or error})",
                    hint="is ./lab agent running there, and the SSH tunnel up?",
                ) from error
            try:
                link.sock.settimeout(within)
                link.request(method, path, body, {**self._headers, "Connection": "close"})
                answer = link.getresponse()
            except TimeoutError as error:
                raise self._disconnected(path, f"no answer within {within:g} s") from error
            except (OSError, http.client.HTTPException) as error:
                raise self._disconnected(path, error) from error
            if answer.status != 200:
                raise self._refusal(path, answer)
            yield answer
        finally:
            link.close()

    @staticmethod
    def _refusal(path: str, answer: http.client.HTTPResponse) -> Exception:
        content = b""
        try:
            content = answer.read(64 * 1024)
            error = wire.error_from(json.loads(content)["error"])
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
            return ProtocolError(path.encode(), content, hint="is this an agent?")
        if answer.status in (401, 403, 426):
            return HardwareError(str(error), hint="see what ./lab agent printed when it started")
        return error

    @staticmethod
    def _disconnected(path: str, why: object) -> DeviceDisconnected:
        return DeviceDisconnected(
            f"{path}: the connection to the agent broke ({why}); whether it was done is unknown",
            hint="look at the rig, and at ./lab agent",
        )

    def _again(self, question: Any) -> dict[str, Any]:
        for attempt in range(RETRIES):
            try:
                return dict(question())
            except (DeviceDisconnected, DeviceNotFound) as error:
                if attempt == RETRIES - 1:
                    raise
                log.info("asked again: %s", error)
                rest(attempt)
        raise RuntimeError("unreachable")

    def _beat(self, interval: float) -> None:
        while not self._end.wait(interval):
            try:
                self._request("POST", "/api/heartbeat", {}, interval)
            except (DeviceNotFound, DeviceDisconnected) as error:
                log.warning("the agent was not reached: %s", error)  # it stops everything by itself
            except (HardwareError, ValueError) as error:
                log.error("control of the rig was lost: %s", error)
                self._lost = error
                return


def rest(attempt: int) -> None:
    """Wait before a question is asked again: longer each time, and never two clients alike."""
    time.sleep(REST * 2**attempt * random.uniform(0.5, 1.5))


def token_of(key_file: Path | str | None) -> str:
    """Return the token of a file or of the environment.

    Raises
    ------
    ValueError
        There is none.
    """
    token = read_token(None if key_file is None else Path(key_file))
    if not token:
        raise ValueError(
            "key_file = null and VEILENS_TOKEN is not set: put the token of the agent into a file "
            "of mode 600 and give key_file=<it>"
        )
    return token
