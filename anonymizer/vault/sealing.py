"""Authenticated encryption, one fresh sub-key for each message.

XChaCha20-Poly1305 would take a 24-byte nonce, but it is a draft that never became a standard and
`cryptography` does not offer it. The same property, that random nonces never run out, follows
from two RFCs: HKDF-SHA-512 (RFC 5869) with the 24-byte nonce as salt gives a key of its own to
each message, under which ChaCha20-Poly1305 (RFC 8439) encrypts that message alone.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from anonymizer.vault.errors import WrongKey

KEY_BYTES = 32
TAG_BYTES = 16
PADDING = 4096
"""Boxes are padded to multiples of it, so that their size tells little [bytes]."""

_ONLY = bytes(12)  # each sub-key encrypts one message, hence one nonce is enough


def derive(key: bytes, nonce: bytes, purpose: bytes) -> bytes:
    """Return the 32-byte key that `key` has for one nonce and purpose."""
    return HKDF(SHA512(), KEY_BYTES, nonce, b"veilens/v1/" + purpose).derive(key)


def seal(key: bytes, nonce: bytes, message: bytes, *, purpose: bytes, bound_to: bytes) -> bytes:
    """Encrypt `message` (16 bytes longer) so that it opens only beside `bound_to`."""
    return ChaCha20Poly1305(derive(key, nonce, purpose)).encrypt(_ONLY, message, bound_to)


def unseal(key: bytes, nonce: bytes, sealed: bytes, *, purpose: bytes, bound_to: bytes) -> bytes:
    """Decrypt what `seal` made; WrongKey if key, nonce, purpose or surroundings differ."""
    try:
        return ChaCha20Poly1305(derive(key, nonce, purpose)).decrypt(_ONLY, sealed, bound_to)
    except (InvalidTag, ValueError) as error:  # ValueError: shorter than a tag
        raise WrongKey(
            "the password or key file does not open this; check it (capitals, keyboard layout), "
            "and that picture and vault belong together"
        ) from error


def pad(message: bytes) -> bytes:
    """Return `message` behind its length, filled with zeros to a multiple of 4 KiB."""
    framed = len(message).to_bytes(8, "big") + message
    # the tag counts: the box in the file, not the message, has the round size
    return framed + bytes(-(len(framed) + TAG_BYTES) % PADDING)


def unpad(padded: bytes) -> bytes:
    """Return what `pad` wrapped."""
    length = int.from_bytes(padded[:8], "big")
    if len(padded) < 8 or length > len(padded) - 8:
        raise WrongKey("the box has no message inside; the vault was not written by this program")
    return padded[8 : 8 + length]
