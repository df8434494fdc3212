"""The vault as a file: head, records, end, BLAKE2b-256 of all that, and the producer's signature.

Files are streams here; the caller opens them and sees to it that they are written whole. Nothing
of a file is believed before `verify` has read it to the end.
"""

import hashlib
import hmac
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from anonymizer.vault.errors import DamagedVault
from anonymizer.vault.header import PREFIX_BYTES, Header, body_length, parse_header
from anonymizer.vault.records import LARGEST_RECORD, Record, parse_record
from anonymizer.vault.signatures import SIGNATURE_BYTES, Producer, Verifier

DIGEST_BYTES = 32

_LENGTH = struct.Struct(">I")
_END_MARK = 0xFFFFFFFF
_END = struct.Struct(">QQ32s")
_CHUNK = 2**20
_TRAILER = _LENGTH.size + _END.size + DIGEST_BYTES + SIGNATURE_BYTES


@dataclass(frozen=True)
class Payload:
    """The protected file that belongs to a vault.

    Attributes
    ----------
    size : int
        Length [bytes].
    sha256 : bytes
        Of its content (32 bytes).
    """

    size: int
    sha256: bytes

    @classmethod
    def of(cls, content: bytes) -> "Payload":
        """Describe a protected file."""
        return cls(len(content), hashlib.sha256(content).digest())


class VaultWriter:
    """Writes one vault, record by record.

    Parameters
    ----------
    stream : binary file
        Open for writing, at its start.
    header : Header
        With its recipients.
    producer : Producer
        Who signs; the one that the head names.

    Raises
    ------
    ValueError
        If the head names another producer.
    """

    def __init__(self, stream: BinaryIO, header: Header, producer: Producer) -> None:
        if header.producer != producer.verifier.name:
            raise ValueError("header.producer is not the producer who signs; take its own name")
        self._stream, self._header, self._producer = stream, header, producer
        self._hash = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self._count = 0
        self._write(header.encode())

    def add(self, record: Record) -> None:
        """Append one record; frames are numbered from 0 without a gap."""
        if record.frame != self._count or (self._header.kind == "picture" and self._count):
            raise ValueError(
                f"record.frame = {record.frame}, expected {self._count} in a {self._header.kind}"
            )
        body = record.encode()
        if len(body) > LARGEST_RECORD:
            raise ValueError(f"a record of {len(body)} bytes, at most {LARGEST_RECORD} are written")
        self._write(_LENGTH.pack(len(body)) + body)
        self._count += 1

    def close(self, payload: Payload) -> None:
        """Write the end and the signature; the stream stays open."""
        self._write(_LENGTH.pack(_END_MARK) + _END.pack(self._count, payload.size, payload.sha256))
        digest = self._hash.digest()
        self._stream.write(digest + self._producer.sign(digest))

    def _write(self, part: bytes) -> None:
        self._hash.update(part)
        self._stream.write(part)


def verify(stream: BinaryIO, verifier: Verifier) -> Header:
    """Return the head of a vault after checking every byte of it; no password is needed.

    Parameters
    ----------
    stream : binary file
        Open for reading; read from its start.
    verifier : Verifier
        The producer's public key.

    Raises
    ------
    DamagedVault
        Cut short, altered, or not signed with that key.
    UnknownVersion
        Written by another version.
    """
    header, size = read_header(stream), _size(stream)
    if header.producer != verifier.name:
        raise DamagedVault(
            f"the vault says it was made by producer {header.producer.hex()[:16]}, the public key "
            f"is that of {verifier.name.hex()[:16]}; take the right public key"
        )
    stream.seek(0)
    digest, left = hashlib.blake2b(digest_size=DIGEST_BYTES), size - DIGEST_BYTES - SIGNATURE_BYTES
    while left > 0:
        part = stream.read(min(left, _CHUNK))
        if not part:
            raise DamagedVault("the vault became shorter while it was read")
        digest.update(part)
        left -= len(part)
    stored = stream.read(DIGEST_BYTES)
    if not hmac.compare_digest(stored, digest.digest()):
        raise DamagedVault(
            "the vault was altered or cut short: its content does not have the hash it states; "
            "copy it again from where it was made"
        )
    verifier.check(stream.read(SIGNATURE_BYTES), stored)
    for _ in records(stream):  # signed, but a reader should not stumble later
        pass
    return header


def read_header(stream: BinaryIO) -> Header:
    """Return the head of a vault; nothing else is checked."""
    stream.seek(0)
    length = body_length(stream.read(PREFIX_BYTES))
    body = stream.read(length)
    if len(body) < length or _size(stream) < PREFIX_BYTES + length + _TRAILER:
        raise DamagedVault("the vault is cut short; copy it again")
    return parse_header(body)


def records(stream: BinaryIO) -> Iterator[Record]:
    """Return the records of a vault in turn; DamagedVault where one does not fit."""
    header = read_header(stream)
    count = 0
    while True:
        length = _next_length(stream)
        if length is None:
            break
        record = parse_record(stream.read(length), header)
        if record.frame != count:
            raise DamagedVault(f"frame {count} of the vault is missing")
        count += 1
        yield record
    if count != _read_end(stream)[0]:
        raise DamagedVault("records of the vault are missing")


def payload(stream: BinaryIO) -> Payload:
    """Return which protected file belongs to a vault."""
    read_header(stream)
    while (length := _next_length(stream)) is not None:
        stream.seek(length, os.SEEK_CUR)
    _, size, sha256 = _read_end(stream)
    return Payload(size, sha256)


def change_recipients(old: BinaryIO, new: BinaryIO, header: Header, producer: Producer) -> None:
    """Copy a verified vault with the recipients of `header`; nothing encrypted is touched.

    Raises
    ------
    ValueError
        If anything but the recipients differs.
    """
    if header.identity != read_header(old).identity:
        raise ValueError("header is that of another vault; only recipients can be changed")
    writer = VaultWriter(new, header, producer)
    for record in records(old):
        writer.add(record)
    writer.close(payload(old))


def _next_length(stream: BinaryIO) -> int | None:
    """Return the length of the next record, at most what is left; None at the end."""
    raw = stream.read(_LENGTH.size)
    if len(raw) < _LENGTH.size:
        raise DamagedVault("the vault is cut short; copy it again")
    length = int(_LENGTH.unpack(raw)[0])
    if length == _END_MARK:
        return None
    left = _size(stream) - stream.tell() - _TRAILER
    if length > min(left, LARGEST_RECORD):
        raise DamagedVault(f"a record of {length} bytes is announced, {max(left, 0)} are left")
    return length


def _read_end(stream: BinaryIO) -> tuple[int, int, bytes]:
    """Return number of records, size and hash of the protected file."""
    raw = stream.read(_END.size)
    if len(raw) < _END.size or _size(stream) != stream.tell() + DIGEST_BYTES + SIGNATURE_BYTES:
        raise DamagedVault("the end of the vault is not where it should be")
    count, size, sha256 = _END.unpack(raw)
    return count, size, sha256


def _size(stream: BinaryIO) -> int:
    """Return the length of a file [bytes], leaving its position."""
    place = stream.tell()
    size = stream.seek(0, os.SEEK_END)
    stream.seek(place)
    return size
