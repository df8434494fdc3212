"""Files written whole or not at all, hashed, and checked when read.

Every file is written under a temporary name, forced to the disk and renamed, so that an
interruption leaves either the old file or the new one. Standard library alone.
"""

import errno
import hashlib
import json
import os
import secrets
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

LOCK = ".lock"
_TEMPORARY = ".tmp"
_DISK_TROUBLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG}
_LARGEST_JSON = 64 * 2**20  # bytes


class ArtifactError(RuntimeError):
    """A stored file is missing, damaged, in use, or not what it should be."""


class ResourceError(RuntimeError):
    """The machine has not enough disk or memory, or refuses to write."""


def atomic_write(path: Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Write a file so that an interruption leaves the old one or the new one, never a part.

    Parameters
    ----------
    path : Path
        Final name; missing parent folders are made.
    content : bytes or callable
        What to write, or a function that writes it into the open binary file it is given.

    Raises
    ------
    ResourceError
        The disk is full, read-only or failing. The previous file is untouched.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_TEMPORARY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException as error:
        _remove_quietly(temporary)
        if isinstance(error, OSError) and error.errno in _DISK_TROUBLE:
            raise ResourceError(
                f"{path} could not be written: {os.strerror(error.errno or 0)}; the previous "
                "version is untouched. Make room, or choose another place (a run: hydra.run.dir=)"
            ) from error
        raise


def remove_unfinished(folder: Path) -> None:
    """Remove what `atomic_write` left in `folder` when it was killed; nobody may be writing."""
    for path in folder.glob(f".*{_TEMPORARY}"):
        _remove_quietly(path)


def sync_folder(folder: Path) -> None:
    """Force the names in `folder` to the disk (no effect where folders cannot be opened)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def require_space(folder: Path, size: int) -> None:
    """Raise ResourceError unless `folder` has room for 1.2 times `size` [bytes]."""
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < 1.2 * size:
        raise ResourceError(
            f"free space in {folder} = {free / 2**20:.0f} MiB, but about "
            f"{1.2 * size / 2**20:.0f} MiB are needed; make room, or choose another place "
            "(a run: hydra.run.dir=)"
        )


# JSON


def save_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON."""
    atomic_write(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; ArtifactError if there is none that can be read."""
    data = read_bytes(path, limit=_LARGEST_JSON)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is not valid JSON ({error}); restore or rerun it") from error


def append_jsonl(path: Path, record: Mapping[str, object]) -> None:
    """Append one record as one line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Return the records of a JSON-lines file; a last line cut short by a kill is left out."""
    records = []
    lines = read_bytes(path).decode("utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            records.append(json.loads(line))
        except ValueError as error:
            if number == len(lines):  # no line end: the writer was killed here
                break
            raise ArtifactError(f"{path}, line {number} is not valid JSON ({error})") from error
    return records


def read_bytes(path: Path, *, sha256: str | None = None, limit: int | None = None) -> bytes:
    """Return the content of a file, checked against its hash and a largest size [bytes]."""
    try:
        if limit is not None and (size := path.stat().st_size) > limit:
            raise ArtifactError(f"{path} has {size} bytes, more than the {limit} allowed")
        data = path.read_bytes()
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise ArtifactError(f"{path} cannot be read: {reason}") from error
    if sha256 is not None and (found := hashlib.sha256(data).hexdigest()) != sha256:
        raise ArtifactError(f"{path} is damaged: its SHA-256 is {found}, expected {sha256}")
    return data


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Lock


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process alone; ArtifactError if a living process holds it.

    The lock of a process that was killed, or of an earlier boot of the machine, does not count.
    """
    path, me = folder / LOCK, _this_process()
    owner = _read_owner(path)
    handle = path.open("a+b")
    try:
        if not _lock_file(handle, owner):
            who = f"process {owner.get('pid')} on {owner.get('host')}" if owner else "a process"
            raise ArtifactError(
                f"{folder} is in use by {who} since {owner.get('since', 'unknown')}; wait for "
                "it, stop it, or start a run of its own"
            )
        handle.truncate(0)
        handle.write(json.dumps(me).encode())
        handle.flush()
        try:
            yield
        finally:
            handle.truncate(0)  # the file stays: removing it could pull it from under another
    finally:
        handle.close()


def _lock_file(handle: Any, owner: Mapping[str, Any]) -> bool:
    """Take the lock of the system where there is one, else trust the record of the owner."""
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return not _alive(owner)
    return True


def _this_process() -> dict[str, Any]:
    boot = Path("/proc/sys/kernel/random/boot_id")
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "boot": boot.read_text().strip() if boot.exists() else "",
        "since": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
    }


def _read_owner(path: Path) -> dict[str, Any]:
    try:
        owner = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _alive(owner: Mapping[str, Any]) -> bool:
    me = _this_process()
    if not owner or (owner.get("host") == me["host"] and owner.get("boot") != me["boot"]):
        return False
    if owner.get("host") != me["host"]:
        return True  # cannot be asked from here
    try:
        os.kill(int(owner.get("pid", 0)), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OSError):
        return True
    return True


def _remove_quietly(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return
