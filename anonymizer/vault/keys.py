"""The keys of one vault: its content key, who may have it, and what follows from it."""

import secrets
from collections.abc import Sequence

from anonymizer.vault.errors import WrongKey
from anonymizer.vault.header import Header, Recipient
from anonymizer.vault.nonces import NONCE_BYTES
from anonymizer.vault.sealing import KEY_BYTES, derive, seal, unseal
from anonymizer.vault.stretching import PROFILES, SALT_BYTES, Keyholder, Stretch


def admit(
    header: Header,
    holders: Sequence[Keyholder],
    *,
    salt: bytes | None = None,
    stretch: Stretch = PROFILES["default"],
    content_key: bytes | None = None,
) -> tuple[Header, bytes]:
    """Return the head with one recipient for each holder, and the content key.

    Parameters
    ----------
    header : Header
        Its recipients are replaced.
    holders : sequence of Keyholder
        Any of them will open the vault; exactly one in decoy mode.
    salt : bytes, optional
        16 random bytes that the vaults of one job share, so that a folder is stretched once;
        drawn anew by default. Each vault still has its own content key and nonces.
    stretch : Stretch
        For the passwords among them.
    content_key : bytes, optional
        That of a vault whose recipients change; a new random one by default.

    Raises
    ------
    ValueError
        If there is no holder, or in decoy mode not exactly one.
    """
    if not holders or (header.mode == "decoy" and (len(holders) > 1 or content_key is not None)):
        raise ValueError(
            f"{len(holders)} recipients for mode {header.mode}: one or more are needed; a decoy "
            f"has exactly one, for good, as its keys follow from the password itself"
        )
    content = secrets.token_bytes(KEY_BYTES) if content_key is None else content_key
    recipients = []
    for holder in holders:
        own_salt = secrets.token_bytes(SALT_BYTES) if salt is None else salt
        own_stretch = stretch if holder.secret.kind == "password" else None
        root = holder.root(own_salt, own_stretch)
        if header.mode == "decoy":
            return header.with_recipients(
                (Recipient(holder.secret.kind, own_stretch, own_salt),)
            ), root
        nonce = secrets.token_bytes(NONCE_BYTES)
        wrapped = seal(root, nonce, content, purpose=b"wrap", bound_to=header.identity)
        recipients.append(Recipient(holder.secret.kind, own_stretch, own_salt, nonce, wrapped))
    return header.with_recipients(tuple(recipients)), content


def open_content(header: Header, holder: Keyholder) -> bytes:
    """Return the content key of a vault.

    In decoy mode every secret gets a key and nothing tells whether it is the right one. Else all
    recipients of the holder's kind are tried, whichever fits, so that time tells nothing.

    Raises
    ------
    WrongKey
        If the secret is none of the recipients'.
    """
    found: bytes | None = None
    for one in header.recipients:
        if one.kind != holder.secret.kind:
            if header.mode == "decoy":
                raise WrongKey(f"the vault asks for a {one.kind}, not for a {holder.secret.kind}")
            continue
        root = holder.root(one.salt, one.stretch)
        if header.mode == "decoy":
            return root
        try:
            opened = unseal(root, one.nonce, one.wrapped, purpose=b"wrap", bound_to=header.identity)
        except WrongKey:
            continue
        found = opened if found is None else found
    if found is None:
        raise WrongKey(
            f"this {holder.secret.kind} opens none of the {len(header.recipients)} locks of the "
            f"vault; check it (capitals, keyboard layout), or name another key file"
        )
    return found


def face_key(
    header: Header, content_key: bytes, nonce: bytes, tile: int, shape: tuple[int, int]
) -> bytes:
    """Return the 32-byte key that a protection uses for one face of one picture or frame.

    It depends on picture, face, size and model, so that what is learned of one tells nothing of
    another.
    """
    place = tile.to_bytes(4, "big") + b"".join(side.to_bytes(4, "big") for side in shape)
    return derive(content_key, nonce, b"noise" + header.image_id + place + header.model)
