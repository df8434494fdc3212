"""From a password to a root key: slow and large on purpose.

Argon2id (RFC 9106) makes each guess cost time and memory. The two profiles are the two that the
RFC recommends; nothing weaker is written or read.
"""

from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from anonymizer.vault.errors import DamagedVault, VaultError
from anonymizer.vault.passwords import Secret

SALT_BYTES = 16
ROOT_BYTES = 32

_CONTEXT = b"veilens/v1"
_MOST_PASSES, _MOST_MEMORY, _MOST_LANES = 10, 2**22, 16


@dataclass(frozen=True, slots=True)
class Stretch:
    """Parameters of Argon2id.

    Attributes
    ----------
    passes : int
        Passes over the memory, 1 to 10.
    memory : int
        Memory, up to 4 GiB [KiB].
    lanes : int
        Independent lanes, 1 to 16.
    """

    passes: int
    memory: int
    lanes: int

    def __post_init__(self) -> None:
        shown = f"passes = {self.passes}, memory = {self.memory} KiB, lanes = {self.lanes}"
        if not (
            1 <= self.passes <= _MOST_PASSES
            and self.memory <= _MOST_MEMORY
            and 1 <= self.lanes <= _MOST_LANES
        ):
            raise DamagedVault(
                f"{shown}: at most {_MOST_PASSES} passes, {_MOST_MEMORY} KiB and {_MOST_LANES} "
                f"lanes are run; the file asks for more than any vault needs"
            )
        if not (
            (self.passes >= 3 and self.memory >= 2**16)
            or (self.passes >= 1 and self.memory >= 2**21)
        ):
            raise DamagedVault(
                f"{shown}: at least 3 passes over {2**16} KiB are required; whoever lowered them "
                f"wants the password guessed"
            )


PROFILES = {"default": Stretch(3, 2**16, 4), "high": Stretch(1, 2**21, 4)}
"""The second and the first recommendation of RFC 9106, section 4."""


def root_key(secret: Secret, salt: bytes, stretch: Stretch | None) -> bytes:
    """Return the 32-byte root key of a secret.

    Parameters
    ----------
    secret : Secret
        A password, or a random key.
    salt : bytes
        16 random bytes that stand in the file.
    stretch : Stretch or None
        For a password; None for a key, which guessing does not find anyway.
    """
    if len(salt) != SALT_BYTES:
        raise ValueError(f"salt of {len(salt)} bytes, expected {SALT_BYTES}")
    if (stretch is None) != (secret.kind == "key"):
        raise ValueError(f"stretch = {stretch} for a {secret.kind}; passwords alone are stretched")
    if stretch is None:
        return HKDF(SHA512(), ROOT_BYTES, salt, _CONTEXT + b"/root").derive(secret.value)
    try:
        return Argon2id(
            salt=salt,
            length=ROOT_BYTES,
            iterations=stretch.passes,
            lanes=stretch.lanes,
            memory_cost=stretch.memory,
            ad=_CONTEXT,
        ).derive(secret.value)
    except MemoryError as error:
        raise VaultError(
            f"the password needs {stretch.memory / 2**20:.2g} GiB of memory to be checked, which "
            f"this machine does not have free"
        ) from error


class Keyholder:
    """Somebody with a secret; remembers root keys, so that a folder is stretched once.

    Parameters
    ----------
    secret : Secret
    """

    def __init__(self, secret: Secret) -> None:
        self.secret = secret
        self._roots: dict[tuple[bytes, Stretch | None], bytes] = {}

    def root(self, salt: bytes, stretch: Stretch | None) -> bytes:
        """Return the root key for one salt."""
        place = salt, stretch
        if place not in self._roots:
            self._roots[place] = root_key(self.secret, salt, stretch)
        return self._roots[place]
