"""Proof that a request comes from who has the token, is whole, and was not sent before.

Each request carries the time, a nonce, and an HMAC-SHA256 over these, the method, the path and
the SHA-256 of the body. The token itself is never sent, so who listens learns nothing that makes
another request; and a request that was overheard is refused the second time.
"""

import hashlib
import hmac
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from anonymizer.keystream import KEY_BYTES, stream

TIME, NONCE, SIGNATURE = "Veilens-Time", "Veilens-Nonce", "Veilens-Signature"
"""Headers of a request."""
WINDOW = 30.0
"""Most that the clocks of client and server may differ [s]."""
SHORTEST_TOKEN = 16
"""Fewest characters of a token."""
_REMEMBERED = 100_000  # nonces within twice the window
_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)
_NONCE = re.compile(r"[0-9a-f]{32}", re.ASCII)
_MAC = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Unproven(Exception):
    """A request does not prove what it has to; the message says no more than it may."""


class Overrun(Exception):
    """More requests came within the window than are remembered."""


class Secrets:
    """The keys that both ends draw from the token.

    Parameters
    ----------
    token : str
        At least 16 characters, from `secrets.token_urlsafe` rather than from a head.
    """

    def __init__(self, token: str) -> None:
        if len(token) < SHORTEST_TOKEN:
            raise ValueError(
                f"token of {len(token)} characters, expected {SHORTEST_TOKEN} or more; make one "
                f'with python3 -c "import secrets; print(secrets.token_urlsafe())"'
            )
        kdf = HKDF(SHA512(), KEY_BYTES, None, b"veilens recognition service 1")
        self.features = kdf.derive(token.encode())  #: shuffles feature maps
        self._requests = stream(self.features, KEY_BYTES, "signatures of requests")

    @staticmethod
    def new_nonce() -> str:
        """Return 128 random bits for one request, in hexadecimal."""
        return secrets.token_hex(16)

    def sign(self, method: str, path: str, body: bytes, nonce: str = "") -> dict[str, str]:
        """Return the headers of a request that is sent now, with a new nonce if none is given."""
        moment, nonce = str(int(time.time())), nonce or self.new_nonce()
        return {
            TIME: moment,
            NONCE: nonce,
            SIGNATURE: self._mac(method, path, moment, nonce, body),
        }

    def proves(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bool:
        """Say whether the signature among `headers`, of the right form, is that of the request."""
        expected = self._mac(method, path, headers[TIME], headers[NONCE], body)
        return hmac.compare_digest(expected, headers[SIGNATURE])

    def _mac(self, method: str, path: str, moment: str, nonce: str, body: bytes) -> str:
        digest = hashlib.sha256(body).hexdigest()
        text = "\n".join((method, path, moment, nonce, digest))
        return hmac.new(self._requests, text.encode(), hashlib.sha256).hexdigest()


class Doorkeeper:
    """Lets each proven request in once.

    Parameters
    ----------
    keys : Secrets
        What both ends know.
    clock : callable, default time.time
        Seconds since 1970.
    """

    def __init__(self, keys: Secrets, clock: Callable[[], float] = time.time) -> None:
        self._keys, self._clock = keys, clock
        self._seen: OrderedDict[str, float] = OrderedDict()  # nonce: when it can be forgotten
        self._lock = threading.Lock()

    def look(self, headers: Mapping[str, str]) -> None:
        """Check what can be checked before the body is read.

        Raises
        ------
        Unproven
            A header is absent or malformed, or the time is too far from ours.
        """
        forms = {TIME: _SECONDS, NONCE: _NONCE, SIGNATURE: _MAC}
        if not all(form.fullmatch(headers.get(name, "")) for name, form in forms.items()):
            raise Unproven("a signed request is needed")
        if abs(self._clock() - int(headers[TIME])) > WINDOW:
            raise Unproven(f"the request is not of now: set the clock to within {WINDOW:g} s")

    def admit(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> None:
        """Check the signature, then remember the nonce.

        Only proven requests are remembered, so that strangers cannot fill the memory.

        Raises
        ------
        Unproven
            The signature is wrong, or the request was here before.
        Overrun
            Too many requests within the window.
        """
        if not self._keys.proves(method, path, headers, body):
            raise Unproven("a signed request is needed")
        now, nonce = self._clock(), headers[NONCE]
        with self._lock:
            while self._seen and next(iter(self._seen.values())) < now:
                self._seen.popitem(last=False)
            if nonce in self._seen:
                raise Unproven("this request was here before")
            if len(self._seen) >= _REMEMBERED:
                raise Overrun("too many requests; wait a minute")
            self._seen[nonce] = now + 2 * WINDOW
