"""The producer's signature: anybody entitled can check a vault without knowing its password."""

import hashlib

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from anonymizer.vault.errors import DamagedVault

SIGNATURE_BYTES = 64
_MEANING = b"veilens/v1/signature"


class Verifier:
    """The public half of a producer's key (Ed25519, RFC 8032)."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key

    @classmethod
    def from_pem(cls, content: bytes) -> "Verifier":
        """Read it from a PEM file; ValueError if it is not one."""
        try:
            key = load_pem_public_key(content)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise ValueError("the public key is not a PEM file; take the producer's own") from error
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError("the public key is not of kind Ed25519; take the producer's own")
        return cls(key)

    def pem(self) -> bytes:
        """Return it as a PEM file, to lie beside the vaults."""
        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def name(self) -> bytes:
        """First 16 bytes of its SHA-256, as it stands in the vaults."""
        raw = self._key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return hashlib.sha256(raw).digest()[:16]

    def check(self, signature: bytes, digest: bytes) -> None:
        """Raise DamagedVault unless the producer signed `digest`."""
        try:
            self._key.verify(signature, _MEANING + digest)
        except InvalidSignature as error:
            raise DamagedVault(
                "the vault is not signed by the owner of this public key: somebody altered it, or "
                "the public key is another producer's"
            ) from error


class Producer:
    """Whoever makes vaults and signs them."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    def __repr__(self) -> str:
        return f"Producer({self.verifier.name.hex()})"

    @classmethod
    def new(cls) -> "Producer":
        """Return one with a new key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, content: bytes) -> "Producer":
        """Read it from a PEM file; ValueError if it is not one."""
        try:
            key = load_pem_private_key(content, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ValueError("the producer's key is not a PEM file without password") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("the producer's key is not of kind Ed25519")
        return cls(key)

    def pem(self) -> bytes:
        """Return the private key as a PEM file, which its owner alone may read."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def verifier(self) -> Verifier:
        """Its public half."""
        return Verifier(self._key.public_key())

    def sign(self, digest: bytes) -> bytes:
        """Return the signature (64 bytes) of a digest."""
        return self._key.sign(_MEANING + digest)
