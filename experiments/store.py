"""Artefacts on disk: written whole or not at all, hashed, and checked when read.

How files are written and locked is `hardware.storage`, offered here as well; this module adds
tensors, arrays and the manifest of a run. Nothing is ever pickled. Importing it needs no torch;
only the functions on tensors do.
"""

import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hardware.storage import (
    LOCK,
    ArtifactError,
    ResourceError,
    append_jsonl,
    atomic_write,
    file_sha256,
    lock,
    read_bytes,
    read_json,
    read_jsonl,
    require_space,
    save_json,
    sync_folder,
)

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "LOCK",
    "MANIFEST",
    "ArtifactError",
    "ResourceError",
    "append_jsonl",
    "atomic_write",
    "file_sha256",
    "load_arrays",
    "load_tensors",
    "lock",
    "read_bytes",
    "read_json",
    "read_jsonl",
    "require_space",
    "save_arrays",
    "save_json",
    "save_tensors",
    "sync_folder",
    "verify",
    "write_manifest",
]

MANIFEST = "manifest.json"


# Tensors and arrays


def save_tensors(
    path: Path, tensors: Mapping[str, "Tensor"], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors as safetensors, with what a reader must know (units, config hash) as text."""
    from safetensors.torch import save

    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    atomic_write(path, save(own, dict(metadata or {})))


def load_tensors(
    path: Path, *, sha256: str | None = None, finite: bool = True
) -> tuple[dict[str, "Tensor"], dict[str, str]]:
    """Return the tensors and the metadata of a safetensors file.

    Parameters
    ----------
    path : Path
        File to read.
    sha256 : str, optional
        What the content must hash to.
    finite : bool, default True
        Refuse NaN and infinities.

    Raises
    ------
    ArtifactError
        The file is missing or damaged, has another hash, or holds a value that is not finite.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    data = read_bytes(path, sha256=sha256)
    try:
        tensors: dict[str, Tensor] = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (SafetensorError, ValueError, KeyError) as error:
        raise ArtifactError(f"{path} is not a sound safetensors file: {error}") from error
    for name, tensor in tensors.items():
        if finite and not torch.isfinite(tensor).all():
            raise ArtifactError(f"{path}: tensor {name} holds values that are not finite")
    return tensors, dict(header.get("__metadata__") or {})


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as compressed .npz; arrays of objects are refused with a TypeError."""
    for name, array in arrays.items():
        if np.asarray(array).dtype.hasobject:
            raise TypeError(f"array {name} holds Python objects, which are never stored")

    def write(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as part:
                    np.lib.format.write_array(part, np.asarray(array), allow_pickle=False)

    atomic_write(path, write)


def load_arrays(path: Path, *, sha256: str | None = None) -> dict[str, NDArray[Any]]:
    """Return the arrays of an .npz file; ArtifactError if it is missing or damaged."""
    data = read_bytes(path, sha256=sha256)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it holds a single array")
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, KeyError, MemoryError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"{path} is not a sound .npz file: {error}") from error


# Manifest


def write_manifest(folder: Path, *, exclude: Iterable[str] = ()) -> None:
    """List every file below `folder` with its size and SHA-256 in manifest.json.

    Hidden files, the manifest itself and the top-level names in `exclude` are left out.
    """
    skip, files = set(exclude), {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if path.is_file() and not hidden and name.parts[0] not in skip and str(name) != MANIFEST:
            files[name.as_posix()] = {"size": path.stat().st_size, "sha256": file_sha256(path)}
    save_json(folder / MANIFEST, {"format": 1, "files": files})


def verify(folder: Path) -> None:
    """Raise ArtifactError unless every file in the manifest is there, unchanged."""
    manifest = read_json(folder / MANIFEST)
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(files, dict) or manifest.get("format") != 1:
        raise ArtifactError(f"{folder / MANIFEST} is not a manifest of format 1")
    for name, entry in files.items():
        relative, path = PurePosixPath(name), folder / name
        if relative.is_absolute() or ".." in relative.parts or "\\" in name or "\0" in name:
            raise ArtifactError(f"{folder / MANIFEST} names a file outside its folder: {name!r}")
        if not path.is_file():
            raise ArtifactError(f"{path} is missing; {MANIFEST} lists it")
        if path.stat().st_size != entry.get("size") or file_sha256(path) != entry.get("sha256"):
            raise ArtifactError(f"{path} is damaged: it is not the file that {MANIFEST} lists")
