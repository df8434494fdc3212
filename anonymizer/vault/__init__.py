"""Vaults: what opens a protected picture again, and only for those who may.

- `passwords`, `stretching`: secrets, their strength, and Argon2id
- `nonces`, `sealing`, `keys`: one key for each message, content keys and their recipients
- `header`, `records`, `container`: the file
- `signatures`: who made it

A vault of mode "aead" is encryption: the originals lie in it under ChaCha20-Poly1305. Modes "flow"
and "decoy" are obfuscation: a network recovers a likeness, and no proof says what an attacker
with a better network will recover without the key.
"""

from anonymizer.vault.container import (
    Payload,
    VaultWriter,
    change_recipients,
    payload,
    read_header,
    records,
    verify,
)
from anonymizer.vault.errors import (
    DamagedVault,
    ForeignModel,
    UnknownVersion,
    VaultError,
    WrongKey,
)
from anonymizer.vault.header import Header, Mode, Recipient
from anonymizer.vault.keys import admit, face_key, open_content
from anonymizer.vault.nonces import Nonces, frame_nonce
from anonymizer.vault.passwords import (
    STRENGTH_FLOOR,
    Secret,
    estimate_bits,
    generate_passphrase,
    key_file,
)
from anonymizer.vault.records import Record, Tile, open_originals, pack_pixels, seal_originals
from anonymizer.vault.signatures import Producer, Verifier
from anonymizer.vault.stretching import PROFILES, Keyholder, Stretch

__all__ = [
    "PROFILES",
    "STRENGTH_FLOOR",
    "DamagedVault",
    "ForeignModel",
    "Header",
    "Keyholder",
    "Mode",
    "Nonces",
    "Payload",
    "Producer",
    "Recipient",
    "Record",
    "Secret",
    "Stretch",
    "Tile",
    "UnknownVersion",
    "VaultError",
    "VaultWriter",
    "Verifier",
    "WrongKey",
    "admit",
    "change_recipients",
    "estimate_bits",
    "face_key",
    "frame_nonce",
    "generate_passphrase",
    "key_file",
    "open_content",
    "open_originals",
    "pack_pixels",
    "payload",
    "read_header",
    "records",
    "seal_originals",
    "verify",
]
