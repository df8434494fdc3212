"""Requests that are not as they should be, and how a server takes them.

Each is drawn from a seed and sent over a connection of its own, as strangers would: without a
signature, with a wrong one, cut off, too long, of another protocol; and, with the token, bodies
that no honest client makes.
"""

import random
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from anonymizer.protection.compensated import Compensation
from anonymizer.recognition.service import Secrets
from anonymizer.recognition.service.requests import (
    LONGEST_NAME,
    MODEL_BYTES,
    largest_body,
    model_name,
)
from anonymizer.recognition.service.signing import NONCE, SIGNATURE, TIME

_ACTIONS = ("enrol", "verify", "identify", "forget")
_PATIENCE = 5.0  # for an answer [s]


@dataclass
class Reception:
    """What became of malformed requests.

    Attributes
    ----------
    statuses : Counter
        How often each HTTP status was the answer; 0 is a connection closed without one.
    seconds : list of float
        From the first byte sent to the end of the answer [s].
    """

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    @property
    def server_errors(self) -> int:
        """Answers that blame the server."""
        return sum(count for status, count in self.statuses.items() if status >= 500)

    @property
    def accepted(self) -> int:
        """Requests that were answered as if they were in order."""
        return sum(count for status, count in self.statuses.items() if 200 <= status < 300)

    def quantile(self, share: float) -> float:
        """Return the time within which `share` of the requests were refused [s]."""
        times = sorted(self.seconds)
        return times[min(len(times) - 1, int(share * len(times)))]


class Mischief:
    """Draws malformed requests.

    Parameters
    ----------
    token : str
        The server's: some requests are signed with it, and wrong inside.
    protection : Compensation
        The server's.
    seed : int
    """

    def __init__(self, token: str, protection: Compensation, seed: int) -> None:
        self._keys, self._model = Secrets(token), model_name(protection)
        self._size, self._most = protection.message_size, largest_body(protection)
        self._draw = random.Random(seed)
        self._kinds: list[Callable[[], bytes]] = [
            self._unsigned,
            self._wrongly_signed,
            self._stale,
            self._bad_headers,
            self._too_long,
            self._chunked,
            self._noise,
            self._cut_off,
            self._bad_path,
            self._bad_method,
            self._bad_body,
            self._altered,
        ]

    def request(self) -> bytes:
        """Return the bytes of one request."""
        return self._draw.choice(self._kinds)()

    def _unsigned(self) -> bytes:
        return _http("POST", self._path(), {}, self._bytes(200))

    def _wrongly_signed(self) -> bytes:
        body = self._bytes(300)
        token = "".join(self._draw.choices("abcdefgh", k=32))
        return _http("POST", self._path(), Secrets(token).sign("POST", self._path(), body), body)

    def _stale(self) -> bytes:
        path, body = self._path(), self._bytes(100)
        headers = self._keys.sign("POST", path, body)
        shift = self._draw.choice([-(10**6), -31, 32, 10**9, 10**11])
        return _http("POST", path, {**headers, TIME: str(int(time.time()) + shift)}, body)

    def _bad_headers(self) -> bytes:
        path, body = self._path(), self._bytes(100)
        headers = self._keys.sign("POST", path, body)
        values = ["", "0", "-1", "\xb2" * 12, "f" * 33, "1e9", "' OR 1=1 --", "A" * 9000, "٣" * 8]
        broken = self._draw.choice([NONCE, SIGNATURE, TIME, "Content-Length"])
        return _http("POST", path, {**headers, broken: self._draw.choice(values)}, body)

    def _too_long(self) -> bytes:
        path = self._path()
        headers = self._keys.sign("POST", path, b"")
        length = self._draw.choice([self._most + 1, 2**31, 2**63, 10**30])
        return _http("POST", path, {**headers, "Content-Length": str(length)}, b"x" * 100)

    def _chunked(self) -> bytes:
        path = self._path()
        headers = {**self._keys.sign("POST", path, b""), "Transfer-Encoding": "chunked"}
        size = self._draw.choice([b"5", b"ffffffffffffffff", b"-1", b"zz"])
        return _http("POST", path, headers, size + b"\r\nhello\r\n0\r\n\r\n", length=False)

    def _noise(self) -> bytes:
        return self._bytes(2000) + b"\r\n\r\n"

    def _cut_off(self) -> bytes:
        whole = self._signed("verify", self._bytes(500))
        return whole[: self._draw.randrange(1, len(whole))]

    def _bad_path(self) -> bytes:
        paths = [
            "/", "/v1", "/v2/info", "//v1/info", "/v1/../v1/info", "/v1/%2e%2e/etc/passwd",
            "/v1/info?x=1", "/" + "a" * 8000, "/v1/enrol/", "/%00", "/docs", "*",
        ]  # fmt: skip
        path = self._draw.choice(paths)
        return _http("GET", path, self._keys.sign("GET", path, b""), b"")

    def _bad_method(self) -> bytes:
        method = self._draw.choice(["PUT", "DELETE", "OPTIONS", "HEAD", "TRACE", "PATCH", "GET"])
        path = f"/v1/{self._draw.choice(_ACTIONS)}"
        return _http(method, path, self._keys.sign(method, path, b""), b"")

    def _bad_body(self) -> bytes:
        """Signed by the token, and of another form than any honest body."""
        model, draw = self._model, self._draw
        bodies = [
            b"",
            self._bytes(MODEL_BYTES + 400),
            model,
            model + bytes([LONGEST_NAME + 1]) + b"n" * 100,
            model + b"\x05ab",
            model + b"\x04\xff\xfe\xfd\xfc" + bytes(self._size),
            model + b"\x03a\nb" + bytes(self._size),
            model + b"\x00" + bytes(self._size + draw.choice([-1, 1])),
            model + b"\x06nobody" + bytes(draw.randrange(100)),
        ]
        return self._signed(draw.choice(_ACTIONS), draw.choice(bodies))

    def _altered(self) -> bytes:
        """One byte of a signed body is not the one that was signed."""
        path = "/v1/enrol"
        body = bytearray(self._model + b"\x04name" + self._draw.randbytes(self._size))
        headers = self._keys.sign("POST", path, bytes(body))
        body[self._draw.randrange(len(body))] ^= 1 << self._draw.randrange(8)
        return _http("POST", path, headers, bytes(body))

    def _signed(self, action: str, body: bytes) -> bytes:
        path = f"/v1/{action}"
        return _http("POST", path, self._keys.sign("POST", path, body), body)

    def _path(self) -> str:
        return f"/v1/{self._draw.choice(_ACTIONS)}"

    def _bytes(self, most: int) -> bytes:
        return self._draw.randbytes(self._draw.randrange(most))


def send_all(address: tuple[str, int], mischief: Mischief, count: int) -> Reception:
    """Send `count` requests, one after another, and note what becomes of them."""
    reception = Reception()
    for _ in range(count):
        content = mischief.request()
        begun = time.monotonic()
        reception.statuses[_send(address, content)] += 1
        reception.seconds.append(time.monotonic() - begun)
    return reception


def _send(address: tuple[str, int], content: bytes) -> int:
    """Send bytes and then no more, and return the status of the answer, 0 if there is none."""
    with socket.create_connection(address, timeout=_PATIENCE) as connection:
        answer = b""
        try:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                answer += part
        except ConnectionError:
            pass  # the server closed before all was sent, which it may
        parts = answer.split(b" ", 2)
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0


def _http(
    method: str, path: str, headers: dict[str, str], body: bytes, *, length: bool = True
) -> bytes:
    lines = {
        "Host": "localhost",
        **({"Content-Length": str(len(body))} if length else {}),
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body
