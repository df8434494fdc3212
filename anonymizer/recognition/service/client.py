"""The other end of the service: faces in, answers out; nothing clear leaves this process."""

import http.client
import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from torch import Tensor

from anonymizer.protection.compensated import Compensation
from anonymizer.recognition.service.app import features_of
from anonymizer.recognition.service.requests import FaceRequest, model_name
from anonymizer.recognition.service.server import is_loopback
from anonymizer.recognition.service.signing import Secrets

_LONGEST_ANSWER = 64 * 1024


class ServiceError(RuntimeError):
    """The service cannot be reached, or refused a request.

    Attributes
    ----------
    status : int
        HTTP status, 0 where there was no answer.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Match:
    """A person, the cosine, and whether it reaches the server's threshold."""

    person: str
    cosine: float
    same: bool


class RecognitionClient:
    """Asks a recognition service about faces, one at a time.

    Parameters
    ----------
    url : str
        "https://...", or "http://..." of a loopback address.
    token : str
        The server's.
    protection : Compensation
        The weights that the server has too.
    authority : Path, optional
        File (PEM) of the certificates to trust, in place of the system's.
    timeout : float
        Longest wait for an answer [s].

    Attributes
    ----------
    bytes_sent : int
        Bodies sent so far [bytes].
    """

    def __init__(
        self,
        url: str,
        token: str,
        protection: Compensation,
        *,
        authority: Path | None = None,
        timeout: float = 30.0,
    ) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme not in ("http", "https") or not host or parts.path not in ("", "/"):
            raise ValueError(f"url = {url!r}, expected https://host:port")
        if parts.scheme == "http" and not is_loopback(host):
            raise ValueError(f"url = {url!r}: beyond this machine use https")
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=authority)
            self._connection = http.client.HTTPSConnection(
                host, parts.port, timeout=timeout, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(host, parts.port, timeout=timeout)
        self._keys, self._protection = Secrets(token), protection
        self._model = model_name(protection)
        self.url, self.bytes_sent = url, 0

    def info(self) -> dict[str, Any]:
        """Return what the service says of itself.

        Raises
        ------
        ServiceError
            As all requests; here also where the server has other weights.
        """
        found = self._send("GET", "/v1/info", b"", self._keys.sign("GET", "/v1/info", b""))
        if found.get("model") != self._model.hex():
            raise ServiceError(
                f"{self.url} has other weights than this client; give both the same file", 409
            )
        return found

    def enrol(self, person: str, face: Tensor) -> int:
        """Enrol a person by a face (3, 112, 112), linear light; return how many there are."""
        return int(self._ask("enrol", person, face)["people"])

    def verify(self, person: str, face: Tensor) -> Match:
        """Compare a face with a person's template."""
        found = self._ask("verify", person, face)
        return Match(person, float(found["cosine"]), bool(found["same"]))

    def identify(self, face: Tensor) -> list[Match]:
        """Return the likest people, the likest first."""
        found = self._ask("identify", "", face)["matches"]
        return [Match(str(m["person"]), float(m["cosine"]), bool(m["same"])) for m in found]

    def forget(self, person: str) -> int:
        """Remove a person's template; return how many there are."""
        return int(self._ask("forget", person, None)["people"])

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _ask(self, what: str, person: str, face: Tensor | None) -> dict[str, Any]:
        # the nonce shuffles the features, so it is chosen before the body that it signs
        nonce = self._keys.new_nonce()
        message = b""
        if face is not None:
            purposes = [features_of(nonce)]
            message = self._protection.encode(face[None], self._keys.features, purposes)[0]
        body = FaceRequest(self._model, person, message).to_bytes()
        path = f"/v1/{what}"
        return self._send("POST", path, body, self._keys.sign("POST", path, body, nonce))

    def _send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
        try:
            self._connection.request(method, path, body or None, headers)
            answer = self._connection.getresponse()
            content = answer.read(_LONGEST_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()  # the next request opens it anew
            raise ServiceError(
                f"{self.url} does not answer: {error or type(error).__name__}"
            ) from error
        self.bytes_sent += len(body)
        try:
            found = json.loads(content)
        except ValueError as error:
            raise ServiceError(f"{self.url} did not answer in JSON", answer.status) from error
        if answer.status != 200 or not isinstance(found, dict):
            why = found.get("error") if isinstance(found, dict) else None
            raise ServiceError(f"{self.url} refused: {why or answer.status}", answer.status)
        return found
