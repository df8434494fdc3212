"""The body of a request: which weights, who, and a message of `Compensation.encode`.

Bytes 0 to 15 name the weights, byte 16 is the length of the person's name in UTF-8, which follows,
and the rest is the message, of fixed length. There is nothing to parse beyond that, and nothing
to unpack.
"""

import hashlib
import unicodedata
from dataclasses import dataclass

import numpy as np

from anonymizer.protection.compensated import Compensation

MODEL_BYTES = 16
LONGEST_NAME = 64
"""Most bytes of a person's name in UTF-8."""


@dataclass(frozen=True)
class FaceRequest:
    """One request about one person or face.

    Attributes
    ----------
    model : bytes
        Which weights the client has: `model_name`.
    person : str
        Who, "" where that is asked.
    message : bytes
        The face, b"" where none is needed.
    """

    model: bytes
    person: str = ""
    message: bytes = b""

    def to_bytes(self) -> bytes:
        """Return the body.

        Raises
        ------
        ValueError
            If the name is too long or holds what cannot be printed.
        """
        name = check_name(self.person).encode() if self.person else b""
        return self.model + bytes([len(name)]) + name + self.message

    @classmethod
    def from_bytes(cls, body: bytes) -> "FaceRequest":
        """Read a body; raises ValueError where it is none."""
        start = MODEL_BYTES + 1
        if len(body) < start or body[MODEL_BYTES] > LONGEST_NAME:
            raise ValueError("the body is not a request")
        end = start + body[MODEL_BYTES]
        if len(body) < end:
            raise ValueError("the body ends within the name")
        try:
            name = body[start:end].decode()
        except UnicodeDecodeError as error:
            raise ValueError("the name is not UTF-8") from error
        return cls(body[:MODEL_BYTES], check_name(name) if name else "", body[end:])


def largest_body(protection: Compensation) -> int:
    """Return the length of the longest body [bytes]."""
    return MODEL_BYTES + 1 + LONGEST_NAME + protection.message_size


def check_name(name: str) -> str:
    """Return a person's name in Unicode's composed form (NFC), or raise ValueError."""
    composed = unicodedata.normalize("NFC", name)
    if not composed.isprintable() or not 0 < len(composed.encode()) <= LONGEST_NAME:
        raise ValueError(
            f"a name has 1 to {LONGEST_NAME} bytes in UTF-8, all of them printable characters"
        )
    return composed


def model_name(protection: Compensation) -> bytes:
    """Return 16 bytes that name the weights: both ends must have the same ones."""
    digest = hashlib.sha256()
    for name, value in sorted(protection.learned.state_dict().items()):
        array = np.ascontiguousarray(value.detach().cpu().numpy())
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.digest()[:MODEL_BYTES]
