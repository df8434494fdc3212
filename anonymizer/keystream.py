"""Pseudo-random values drawn from a secret key: the only randomness a key may be turned into.

A key is 32 bytes. HKDF-Expand (RFC 5869, SHA-512) makes a separate stream for each purpose, and
ChaCha20 (RFC 8439) runs it; so knowing one stream tells nothing of another.
"""

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from numpy.typing import NDArray

KEY_BYTES = 32
"""Length of a key [bytes]."""


def stream(key: bytes, count: int, purpose: str) -> bytes:
    """Return `count` pseudo-random bytes of the stream that `key` has for `purpose`.

    Raises
    ------
    ValueError
        If the key is not 32 bytes long.
    """
    if len(key) != KEY_BYTES:
        raise ValueError(f"key of {len(key)} bytes, expected {KEY_BYTES}")
    seed = HKDFExpand(SHA512(), KEY_BYTES + 16, purpose.encode()).derive(key)
    cipher = Cipher(ChaCha20(seed[:KEY_BYTES], seed[KEY_BYTES:]), mode=None)
    return cipher.encryptor().update(bytes(count))


def key_bits(key: bytes, count: int, purpose: str) -> NDArray[np.bool_]:
    """Return `count` pseudo-random bits of the stream that `key` has for `purpose`."""
    octets = np.frombuffer(stream(key, -(-count // 8), purpose), np.uint8)
    return np.unpackbits(octets, count=count).astype(np.bool_)
