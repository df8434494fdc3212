"""Nonces: drawn anew from the system for every picture and clip, and never twice.

A picture has 24 random bytes. A clip has 16, and its frames count on in the last 8.
"""

import secrets
import struct
from collections.abc import Callable, Iterable

from anonymizer.vault.errors import VaultError

NONCE_BYTES = 24
CLIP_BYTES = 16


class Nonces:
    """Source of nonces that remembers those it gave away.

    A repeated one would put two pictures under one key, which for a reversible obfuscation gives
    the second away with the first. It can happen where the system's random source is broken or a
    virtual machine was set back: then nothing more is written.

    Parameters
    ----------
    used : iterable of bytes
        The first 16 bytes of every nonce given away before.
    remember : callable, optional
        Stores those 16 bytes for good before the nonce is used.
    draw : callable
        Returns that many random bytes.
    """

    def __init__(
        self,
        used: Iterable[bytes] = (),
        remember: Callable[[bytes], None] | None = None,
        draw: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._used = set(used)
        self._remember = remember
        self._draw = draw

    def picture(self) -> bytes:
        """Return the nonce of a picture (24 bytes)."""
        return self._claim(self._draw(NONCE_BYTES))

    def clip(self) -> bytes:
        """Return the nonce of a clip (24 bytes), whose frames count from 0 in the last 8."""
        return self._claim(self._draw(CLIP_BYTES) + bytes(NONCE_BYTES - CLIP_BYTES))

    def _claim(self, nonce: bytes) -> bytes:
        start = nonce[:CLIP_BYTES]
        if start in self._used:
            raise VaultError(
                "the random source repeated a nonce, so nothing more is protected here; restart "
                "the machine (was it restored from a snapshot?) and check its random source"
            )
        self._used.add(start)
        if self._remember is not None:
            self._remember(start)
        return nonce


def frame_nonce(nonce: bytes, frame: int) -> bytes:
    """Return the nonce of one frame (24 bytes); frame 0 is that of a picture itself."""
    counter = int.from_bytes(nonce[CLIP_BYTES:], "big") + frame
    return nonce[:CLIP_BYTES] + struct.pack(">Q", counter % 2**64)
