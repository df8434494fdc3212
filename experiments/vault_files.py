"""Vaults on disk: the producer's key, the journal of nonces, secrets of people, and the files.

The producer's folder holds what every vault made here depends on:

    producer.key    signs; its owner alone may read it
    producer.pub    checks the signatures; a copy lies beside the vaults
    nonces          the first 16 bytes of every nonce that was ever given away
"""

import getpass
import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from anonymizer.vault import (
    ForeignModel,
    Header,
    Nonces,
    Payload,
    Producer,
    Record,
    Secret,
    VaultError,
    VaultWriter,
    Verifier,
    generate_passphrase,
    verify,
)
from anonymizer.vault.nonces import CLIP_BYTES
from experiments.settings import SettingsError
from experiments.store import ArtifactError, atomic_write, lock, read_bytes

PASSWORD_VARIABLE = "VEILENS_PASSWORD"
VAULT = ".veil"
PUBLIC_KEY = "producer.pub"

_PRIVATE_KEY, _JOURNAL = "producer.key", "nonces"
_LARGEST_KEY = 4096  # bytes
_NOT_IN_THE_HEAD = ("search", "_partial_")


class Workshop:
    """The producer's folder, made where there is none; held by one process at a time.

    Parameters
    ----------
    folder : Path
        Its place; nobody but its owner may enter.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = lock(folder)
        self._lock.__enter__()
        try:
            self.producer = _producer(folder)
            self._journal = (folder / _JOURNAL).open("a+b")
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise
        self._journal.seek(0)
        stored = self._journal.read()
        whole = len(stored) - len(stored) % CLIP_BYTES  # the last may be cut by a kill: not used
        self._journal.truncate(whole)
        used = (stored[place : place + CLIP_BYTES] for place in range(0, whole, CLIP_BYTES))
        self.nonces = Nonces(used, self._remember)

    def _remember(self, start: bytes) -> None:
        self._journal.write(start)
        self._journal.flush()
        os.fsync(self._journal.fileno())

    def close(self) -> None:
        """Let the folder go."""
        self._journal.close()
        self._lock.__exit__(None, None, None)

    def __enter__(self) -> "Workshop":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _producer(folder: Path) -> Producer:
    path = folder / _PRIVATE_KEY
    if not path.exists():
        made = Producer.new()
        write_private(path, made.pem())
        atomic_write(folder / PUBLIC_KEY, made.verifier.pem())
        return made
    _refuse_open_files(path)
    try:
        return Producer.from_pem(read_bytes(path, limit=_LARGEST_KEY))
    except ValueError as error:
        raise ArtifactError(f"{path}: {error}") from error


def write_private(path: Path, content: bytes) -> None:
    """Write a new file that its owner alone may read; SettingsError if there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise SettingsError(f"{path} exists; it may open vaults, so it is not replaced") from error
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def read_verifier(path: Path) -> Verifier:
    """Return the public key in a file."""
    try:
        return Verifier.from_pem(read_bytes(path, limit=_LARGEST_KEY))
    except ValueError as error:
        raise ArtifactError(f"{path}: {error}") from error


# Secrets


def read_secret(
    key_file: Path | None, *, new: bool, environment: Mapping[str, str] | None = None
) -> Secret:
    """Return the secret of a key file, else of the environment, else of whoever sits there.

    Parameters
    ----------
    key_file : Path or None
        From `what=key`, or a file with a password on one line.
    new : bool
        Whether it will lock rather than open: then a passphrase is offered, and what is typed is
        asked for twice.
    environment : mapping, optional
        By default that of the process; VEILENS_PASSWORD is read.
    """
    variables = os.environ if environment is None else environment
    if key_file is not None:
        _refuse_open_files(key_file)
        return Secret.from_key_file(read_bytes(key_file, limit=_LARGEST_KEY))
    if PASSWORD_VARIABLE in variables:
        return Secret.from_password(variables[PASSWORD_VARIABLE])
    if not sys.stdin.isatty():
        raise SettingsError(
            f"a password or key is needed: key_file=<file> (./lab protect key key_file=<new file> "
            f"makes one), or {PASSWORD_VARIABLE} in the environment; never as a setting, which "
            f"would end up in files"
        )
    if not new:
        return Secret.from_password(getpass.getpass("Password: "))
    typed = getpass.getpass("New password (none: one is made for you): ")
    if not typed:
        typed = generate_passphrase()
        with open(os.ctermid(), "w") as terminal:  # noqa: PTH123 - to the person, no log or pipe
            terminal.write(f"Your passphrase, shown this once: {typed}\n")
    if getpass.getpass("The same again: ") != typed:
        raise SettingsError("the two passwords differ; start again")
    return Secret.from_password(typed)


def _refuse_open_files(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error
    if os.name != "nt" and mode & 0o077:
        raise ArtifactError(f"{path} can be read by others; chmod 600 {path}")


# Models


def model_sha256(method: nn.Module) -> bytes:
    """Return the SHA-256 of all tensors of a method by name; of nothing where it has none."""
    digest = hashlib.sha256()
    for name, tensor in sorted(method.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.digest()


def config_sha256(node: Mapping[str, Any], size: int) -> bytes:
    """Return the SHA-256 of a method's settings, but for where its files are searched."""
    text = json.dumps([_kept(node), size], sort_keys=True)
    return hashlib.sha256(text.encode()).digest()


def _kept(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _kept(v) for k, v in value.items() if k not in _NOT_IN_THE_HEAD}
    return [_kept(item) for item in value] if isinstance(value, list) else value


def require_model(header: Header, method: str, model: bytes, config: bytes) -> None:
    """Raise ForeignModel unless a vault was made with this method, these weights and settings."""
    for what, made, given in (
        ("method", header.method, method),
        ("weights", header.model.hex()[:16], model.hex()[:16]),
        ("settings of the method", header.config.hex()[:16], config.hex()[:16]),
    ):
        if made != given:
            raise ForeignModel(
                f"the vault was made with {what} {made}, these are {given}; "
                f"choose the method (method=...) and weights that protected it"
            )


# Files


def write_vault(
    path: Path, header: Header, record: Record, payload: Payload, producer: Producer
) -> int:
    """Write the vault of one picture, whole or not at all; return its size [bytes]."""

    def write(file: Any) -> None:
        writer = VaultWriter(file, header, producer)
        writer.add(record)
        writer.close(payload)

    atomic_write(path, write)
    return path.stat().st_size


def verify_file(path: Path, verifier: Verifier) -> Header:
    """Return the head of the vault in a file after checking all of it; no password is needed."""
    try:
        with path.open("rb") as file:
            return verify(file, verifier)
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error
    except VaultError as error:
        raise type(error)(f"{path.name}: {error}") from error


def require_payload(path: Path, payload: Payload) -> None:
    """Raise ForeignModel unless `path` is the protected file that belongs to a vault."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise ArtifactError(
            f"{path} cannot be read: {error.strerror}; it belongs beside its vault"
        ) from error
    if found != payload.sha256:
        raise ForeignModel(
            f"{path.name} is not the protected file of this vault: it was altered, saved anew or "
            f"exchanged; put the original one beside the vault"
        )
