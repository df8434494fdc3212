"""Small vaults for tests."""

import functools
import io
import random

import numpy as np

from anonymizer.vault import (
    Header,
    Keyholder,
    Nonces,
    Payload,
    Producer,
    Record,
    Secret,
    Tile,
    VaultWriter,
    admit,
    pack_pixels,
    seal_originals,
)

PASSWORD = "lusab-badag-gutih-tugad-zomuz"
SHAPE = (40, 56)
PAYLOAD = Payload.of(b"the protected picture")


@functools.cache
def producer() -> Producer:
    return Producer.new()


@functools.cache
def holder() -> Keyholder:
    """One who stretches his password once for all tests."""
    return Keyholder(Secret.from_password(PASSWORD))


def picture(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def head(mode="aead", kind="picture", nonces=None, **changes):
    nonces = nonces or Nonces()
    fields = {
        "mode": mode, "kind": kind, "image_id": bytes(range(16)),
        "producer": producer().verifier.name,
        "nonce": nonces.picture() if kind == "picture" else nonces.clip(), "model": bytes(32),
        "config": b"c" * 32, "height": SHAPE[0], "width": SHAPE[1], "method": "blur",
    }  # fmt: skip
    return Header(**(fields | changes))


def tile(face=None):
    packed = b"" if face is None else pack_pixels(face)
    side = 0 if face is None else len(face)
    return Tile(8, 4, 30, 20, (1.5, 0.0, 8.0, 0.0, 1.5, 4.0), side, packed)


def vault(mode="aead", frames=1, holders=None, face=None):
    """Return the bytes of a vault, and its content key."""
    kind = "picture" if frames == 1 else "clip"
    header, content = admit(head(mode, kind), holders or [holder()], salt=bytes(16))
    out = io.BytesIO()
    writer = VaultWriter(out, header, producer())
    for frame in range(frames):
        record = Record(frame, (tile(face),))
        originals = [picture(frame, (20, 30))] if mode == "aead" else []
        if mode != "decoy":
            record = seal_originals(header, content, record, originals, name=f"Zoe {frame}.jpg")
        writer.add(record)
    writer.close(PAYLOAD)
    return out.getvalue(), content


def altered(data: bytes, place: int, source: random.Random) -> bytes:
    """Return `data` with another value in one byte."""
    return data[:place] + bytes([data[place] ^ source.randrange(1, 256)]) + data[place + 1 :]
