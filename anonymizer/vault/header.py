"""The head of a vault: what it protects, with which method, and who can open it.

Big-endian, fixed layout. Everything is checked against its bounds before it is used, and no
length is believed beyond what is there. The identity, everything but the recipients, is bound
into every encryption of the file; recipients can be changed without touching what is encrypted.
"""

import struct
from dataclasses import dataclass, replace
from typing import Literal, Self

from anonymizer.vault.errors import DamagedVault, UnknownVersion
from anonymizer.vault.nonces import NONCE_BYTES
from anonymizer.vault.stretching import Stretch

MAGIC = b"VEILENS\0"
VERSION = 1
LARGEST_HEADER = 4096
"""Longest head behind the prefix [bytes]."""

#: What a vault promises, see `Header`.
Mode = Literal["aead", "flow", "decoy"]
Kind = Literal["picture", "clip"]

_MODES: tuple[Mode, ...] = ("aead", "flow", "decoy")
_KINDS: tuple[Kind, ...] = ("picture", "clip")
_SECRETS: tuple[Literal["password", "key"], ...] = ("password", "key")
_COLOUR = 1  # sRGB, 8 bits in each of R, G, B: the only one there is
_PREFIX = struct.Struct(">8sHI")
_IDENTITY = struct.Struct(">BBB16s24s16s32s32sIIB")
_RECIPIENT = struct.Struct(">BHIB16s24s48s")
_MOST_RECIPIENTS = 16
_LONGEST_SIDE = 2**16
_MOST_PIXELS = 178_000_000  # what the picture reader takes at most
_LONGEST_NAME = 64

PREFIX_BYTES = _PREFIX.size
WRAPPED_BYTES = 48


@dataclass(frozen=True, slots=True)
class Recipient:
    """One way to open a vault.

    Attributes
    ----------
    kind : {"password", "key"}
    stretch : Stretch or None
        How the password becomes a root key; None for a key.
    salt : bytes
        16 bytes.
    nonce : bytes
        24 bytes, of the wrapping.
    wrapped : bytes
        The content key under the root key, 48 bytes; zeros in decoy mode, where the root key is
        the content key and nothing tells whether it is the right one.
    """

    kind: Literal["password", "key"]
    stretch: Stretch | None
    salt: bytes
    nonce: bytes = bytes(NONCE_BYTES)
    wrapped: bytes = bytes(WRAPPED_BYTES)


@dataclass(frozen=True, slots=True)
class Header:
    """Head of one vault.

    Attributes
    ----------
    mode : {"aead", "flow", "decoy"}
        "aead": encryption; the original lies in the file, and opens exactly or not at all.
        "flow": obfuscation; the method recovers a likeness, a wrong key is refused.
        "decoy": obfuscation; any key recovers something, and nothing tells which is right.
    kind : {"picture", "clip"}
    image_id : bytes
        16 random bytes that name the picture.
    nonce : bytes
        24 bytes: see `anonymizer.vault.nonces`.
    producer : bytes
        First 16 bytes of the SHA-256 of the producer's public key.
    model : bytes
        SHA-256 of the weights (32 bytes), of nothing where the method has none.
    config : bytes
        SHA-256 of the method's settings (32 bytes).
    height, width : int
        Size of the picture or of the frames [px].
    method : str
        Name of the method, up to 64 ASCII characters.
    recipients : tuple of Recipient
        One to sixteen; exactly one in decoy mode.
    """

    mode: Mode
    kind: Kind
    image_id: bytes
    nonce: bytes
    producer: bytes
    model: bytes
    config: bytes
    height: int
    width: int
    method: str
    recipients: tuple[Recipient, ...] = ()

    @property
    def identity(self) -> bytes:
        """Everything but the recipients, as it stands in the file."""
        name = self.method.encode("ascii")
        if (
            not 1 <= len(name) <= _LONGEST_NAME
            or not name.isascii()
            or not self.method.isprintable()
        ):
            raise ValueError(
                f"method = {self.method!r}, expected 1 to {_LONGEST_NAME} ASCII characters"
            )
        sizes = [len(part) for part in (self.image_id, self.nonce, self.producer)]
        if sizes != [16, NONCE_BYTES, 16] or len(self.model) != 32 or len(self.config) != 32:
            raise ValueError(
                f"image_id, nonce and producer have {sizes} bytes, expected 16, 24, 16; model and "
                f"config {len(self.model)} and {len(self.config)}, expected 32"
            )
        sides = min(self.height, self.width), max(self.height, self.width)
        if not 0 < sides[0] <= sides[1] < _LONGEST_SIDE or sides[0] * sides[1] > _MOST_PIXELS:
            raise ValueError(
                f"{self.width} x {self.height} px, expected sides of 1 to {_LONGEST_SIDE - 1} px "
                f"and at most {_MOST_PIXELS} px in all"
            )
        head = _IDENTITY.pack(
            _MODES.index(self.mode) + 1, _KINDS.index(self.kind) + 1, _COLOUR, self.image_id,
            self.nonce, self.producer, self.model, self.config, self.height, self.width, len(name),
        )  # fmt: skip
        return _PREFIX.pack(MAGIC, VERSION, 0) + head + name

    def with_recipients(self, recipients: tuple[Recipient, ...]) -> Self:
        """Return the same head with other recipients."""
        return replace(self, recipients=recipients)

    def encode(self) -> bytes:
        """Return the head as it stands in the file, with its prefix."""
        count = len(self.recipients)
        most = 1 if self.mode == "decoy" else _MOST_RECIPIENTS
        if not 1 <= count <= most:
            raise ValueError(f"{count} recipients, expected 1 to {most} in mode {self.mode}")
        parts = [self.identity[_PREFIX.size :], bytes([count])]
        for one in self.recipients:
            passes, memory, lanes = (
                (0, 0, 0)
                if one.stretch is None
                else (one.stretch.passes, one.stretch.memory, one.stretch.lanes)
            )
            kind = _SECRETS.index(one.kind) + 1
            parts.append(
                _RECIPIENT.pack(kind, passes, memory, lanes, one.salt, one.nonce, one.wrapped)
            )
        body = b"".join(parts)
        return _PREFIX.pack(MAGIC, VERSION, len(body)) + body


def body_length(prefix: bytes) -> int:
    """Return how many bytes of head follow the prefix of a file.

    Raises
    ------
    DamagedVault
        It is no vault, or announces a head that none has.
    UnknownVersion
        It is one of another version.
    """
    if len(prefix) < _PREFIX.size or prefix[: len(MAGIC)] != MAGIC:
        raise DamagedVault("this is not a vault: it does not begin as one, or is cut short")
    _, version, length = _PREFIX.unpack(prefix[: _PREFIX.size])
    if version != VERSION:
        raise UnknownVersion(
            f"the vault has format version {version}, this program reads {VERSION}; open it with "
            f"the program that wrote it"
        )
    if not _IDENTITY.size < length <= LARGEST_HEADER:
        raise DamagedVault(f"the vault announces a head of {length} bytes; it was altered")
    return int(length)


def parse_header(body: bytes) -> Header:
    """Return the head that `body`, what follows the prefix, holds; DamagedVault if none."""
    if len(body) < _IDENTITY.size + 2:
        raise DamagedVault("the head of the vault is cut short; copy the file again")
    mode, kind, colour, *rest, length = _IDENTITY.unpack_from(body)
    if not (1 <= mode <= len(_MODES) and 1 <= kind <= len(_KINDS) and colour == _COLOUR):
        raise DamagedVault(f"mode {mode}, kind {kind}, colour {colour} of the vault are unknown")
    image_id, nonce, producer, model, config, height, width = rest
    name = body[_IDENTITY.size : _IDENTITY.size + length]
    table = body[_IDENTITY.size + length :]
    if not table or table[0] * _RECIPIENT.size != len(table) - 1:
        raise DamagedVault("the list of recipients does not fit the head of the vault")
    recipients = tuple(_parse_recipient(fields) for fields in _RECIPIENT.iter_unpack(table[1:]))
    try:
        header = Header(
            _MODES[mode - 1], _KINDS[kind - 1], image_id, nonce, producer, model, config, height,
            width, name.decode("ascii"), recipients,
        )  # fmt: skip
        header.encode()  # the same bounds for readers as for writers
    except ValueError as error:  # includes text that is not ASCII
        raise DamagedVault(f"the head of the vault makes no sense: {error}") from error
    return header


def _parse_recipient(fields: tuple[int, int, int, int, bytes, bytes, bytes]) -> Recipient:
    kind, passes, memory, lanes, salt, nonce, wrapped = fields
    if not 1 <= kind <= len(_SECRETS):
        raise DamagedVault(f"recipient of kind {kind} is unknown")
    secret = _SECRETS[kind - 1]
    if secret == "key" and (passes, memory, lanes) != (0, 0, 0):
        raise DamagedVault("a key file is not stretched, but the vault says how")
    stretch = Stretch(passes, memory, lanes) if secret == "password" else None
    return Recipient(secret, stretch, salt, nonce, wrapped)
