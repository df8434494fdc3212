"""The folder that face crops are kept in.

Training reads nothing but such a store: pictures are decoded, located and cropped once, so that
a damaged file is met before the first step and never in the middle of an epoch. A store is

- ``images.u8``: the crops one after another, uint8 (N, S, S, 3), sRGB;
- ``faces.npz``: landmarks, file names, people and attributes, one row for each crop;
- ``index.json``: sizes, counts, refused files and the hashes of all this, written last.

It is filled shard by shard. A shard counts once its record is in ``shards/``; after an
interruption whatever lies behind the last record is cut off and the next run goes on from there.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.data.crops import FaceCrops, Shard
from experiments.data.errors import DataError
from experiments.store import (
    ArtifactError,
    ResourceError,
    atomic_write,
    file_sha256,
    load_arrays,
    lock,
    read_json,
    require_space,
    save_arrays,
    sync_folder,
)

FORMAT = 1
SHARD = 512  # pictures in a shard
IMAGES, FACES, INDEX, SHARDS = "images.u8", "faces.npz", "index.json", "shards"
_VERIFY_BELOW = 500 * 10**6  # bytes; larger images are hashed on request only


def build_store(
    folder: Path,
    make: Callable[[int], Iterator[Shard]],
    *,
    n_shards: int,
    key: str,
    size: int,
    context: float,
    source: Mapping[str, Any],
    expected_faces: int,
) -> FaceCrops:
    """Return the crops in `folder`, making what is missing.

    Parameters
    ----------
    folder : Path
        Folder of the store.
    make : callable
        Given the number of the first missing shard, yields it and all later ones in order.
        The same shard must come out the same whenever it is asked for.
    n_shards : int
        Number of shards.
    key : str
        Fingerprint of everything the crops depend on; a store with another key is refused.
    size : int
        Side of the crops [px].
    context : float
        Side of the crops in face widths.
    source : mapping
        Plain JSON values that say where the crops come from.
    expected_faces : int
        Most crops there can be, for the check of the free space.

    Raises
    ------
    DataError
        The folder holds a store of other data.
    ArtifactError
        The store is damaged, or another process is making it.
    ResourceError
        The disk is full.
    """
    if n_shards < 1:
        raise ValueError(f"n_shards = {n_shards}, expected at least 1")
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / INDEX).exists():
        return open_store(folder, key=key)
    with lock(folder):
        if (folder / INDEX).exists():  # finished by another process in the meantime
            return open_store(folder, key=key)
        _begin(folder, key)
        records = _finished_shards(folder)
        done = sum(record["count"] for record in records)
        require_space(folder, max(expected_faces - done, 0) * size * size * 3)
        _cut_images(folder / IMAGES, done * size * size * 3)
        if len(records) < n_shards:
            for shard in make(len(records)):
                records.append(_append(folder, len(records), shard, size))
        if len(records) != n_shards:
            raise ValueError(f"make gave {len(records)} shards, expected {n_shards}")
        _finish(folder, records, key=key, size=size, context=context, source=source)
    return open_store(folder, key=key)


def open_store(folder: Path, *, key: str | None = None, full: bool = False) -> FaceCrops:
    """Return the crops of a finished store, as a memory map.

    Parameters
    ----------
    folder : Path
        Folder of the store.
    key : str, optional
        Fingerprint the store must have.
    full : bool, default False
        Hash the images even if they are large (from 500 MB).

    Raises
    ------
    ArtifactError
        The store is not there, not finished, or damaged.
    DataError
        The store has another key.
    """
    index = _read_index(folder / INDEX)
    if key is not None and index["key"] != key:
        raise DataError(
            f"{folder} holds crops of other data (key {index['key']}, expected {key}); delete "
            "it, or choose another cache folder"
        )
    remedy = f"delete {folder} and run again: it is made anew"
    n, size = index["count"], index["size"]
    path, shape = folder / IMAGES, (n, size, size, 3)
    found = path.stat().st_size if path.exists() else -1
    if found != n * size * size * 3:
        raise ArtifactError(f"{path} has {found} bytes, expected {n * size * size * 3}; {remedy}")
    if full or found < _VERIFY_BELOW:
        _verify_images(path, index, remedy)
    try:
        faces = load_arrays(folder / FACES, sha256=index["faces_sha256"])
    except ArtifactError as error:
        raise ArtifactError(f"{error}; {remedy}") from error
    images: NDArray[np.uint8] = (
        np.memmap(path, dtype=np.uint8, mode="r", shape=shape) if n else np.zeros(shape, np.uint8)
    )
    return FaceCrops(
        images=images,
        landmarks=faces["landmarks"],
        person=faces["person"],
        names=tuple(index["names"]),
        files=tuple(faces["files"].tolist()),
        context=index["context"],
        source=index["source"],
        attributes={
            name.removeprefix("attribute/"): column
            for name, column in faces.items()
            if name.startswith("attribute/")
        },
    )


def fingerprint(value: object) -> str:
    """Return 16 hexadecimal digits that stand for a plain JSON value."""
    return hashlib.sha256(_canonical(value)).hexdigest()[:16]


# Writing


def _begin(folder: Path, key: str) -> None:
    """Start a store, or make sure that the unfinished one here is of the same data."""
    path = folder / SHARDS / "key"
    if not path.exists():
        atomic_write(path, key.encode())
    elif path.read_text(encoding="utf-8") != key:
        raise DataError(
            f"{folder} holds unfinished crops of other data; delete it, or choose another "
            "cache folder"
        )


def _finished_shards(folder: Path) -> list[dict[str, Any]]:
    """Return the records of the shards that are whole, and forget those behind a gap."""
    records: list[dict[str, Any]] = []
    while (path := folder / SHARDS / f"{len(records):05d}.npz").exists():
        try:
            records.append(_read_shard(path)[1])
        except ArtifactError:
            break
    for path in (folder / SHARDS).glob("*.npz"):
        if path.stem.isdigit() and int(path.stem) >= len(records):
            path.unlink()
    return records


def _cut_images(path: Path, length: int) -> None:
    """Cut off what an interrupted run wrote behind its last record."""
    with path.open("ab") as file:
        if file.tell() < length:
            raise ArtifactError(
                f"{path} is shorter than its records say; delete {path.parent} and run again"
            )
        file.truncate(length)


def _append(folder: Path, number: int, shard: Shard, size: int) -> dict[str, Any]:
    """Add a shard: first its images, then the record that makes it count."""
    images = np.ascontiguousarray(shard.images)
    if images.dtype != np.uint8 or images.shape != (len(shard.files), size, size, 3):
        raise ValueError(
            f"images of a shard is {images.dtype} {images.shape}, expected uint8 "
            f"({len(shard.files)}, {size}, {size}, 3)"
        )
    try:
        with (folder / IMAGES).open("ab") as file:
            file.write(images.data if images.size else b"")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ResourceError(
            f"{folder / IMAGES} could not be written: {error.strerror}; make room and run again, "
            "it goes on where it stopped"
        ) from error
    record = {
        "count": len(images),
        "sha256": hashlib.sha256(images.data if images.size else b"").hexdigest(),
        "refused": [list(one) for one in shard.refused],
        "counts": dict(shard.counts),
    }
    arrays: dict[str, NDArray[Any]] = {
        "record": np.array(json.dumps(record)),
        "landmarks": np.asarray(shard.landmarks, np.float32).reshape(len(images), 68, 2),
        "files": np.array(list(shard.files), dtype=np.str_),
        # no person is "", a person is "=" and the name, so that an empty name stays a name
        "people": np.array(["" if p is None else f"={p}" for p in shard.people], dtype=np.str_),
    }
    arrays |= {f"attribute/{name}": column for name, column in shard.attributes.items()}
    save_arrays(folder / SHARDS / f"{number:05d}.npz", arrays)
    return record


def _read_shard(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    arrays = load_arrays(path)
    return arrays, json.loads(str(arrays.pop("record")))


def _finish(
    folder: Path,
    records: list[dict[str, Any]],
    *,
    key: str,
    size: int,
    context: float,
    source: Mapping[str, Any],
) -> None:
    """Join the shard records to faces.npz and index.json, then remove them."""
    paths = [folder / SHARDS / f"{number:05d}.npz" for number in range(len(records))]
    tables = [_read_shard(path)[0] for path in paths]
    # an attribute must be in every shard that holds a crop
    filled = [table for table in tables if len(table["files"])] or tables[:1]
    columns = {name: np.concatenate([table[name] for table in filled]) for name in filled[0]}
    known = columns.pop("people").tolist()
    names = sorted({name[1:] for name in known if name})
    number_of = {name: i for i, name in enumerate(names)}
    columns["person"] = np.array([number_of[n[1:]] if n else -1 for n in known], dtype=np.int64)
    save_arrays(folder / FACES, columns)
    counts: dict[str, int] = {"crops": len(known), "people": len(names)}
    for record in records:
        for name, value in record["counts"].items():
            counts[name] = counts.get(name, 0) + value
    refused = [
        {"file": file, "kind": kind, "reason": reason}
        for record in records
        for file, kind, reason in record["refused"]
    ]
    content = {
        "format": FORMAT,
        "key": key,
        "count": len(known),
        "size": size,
        "context": context,
        "names": names,
        "faces_sha256": file_sha256(folder / FACES),
        "shards": [{"count": r["count"], "sha256": r["sha256"]} for r in records],
        "source": {**source, "counts": counts, "refused": refused},
    }
    index = {"sha256": hashlib.sha256(_canonical(content)).hexdigest(), "content": content}
    atomic_write(folder / INDEX, json.dumps(index, indent=1).encode())
    shutil.rmtree(folder / SHARDS, ignore_errors=True)  # with what a killed writer left there
    sync_folder(folder)


# Reading


def _read_index(path: Path) -> dict[str, Any]:
    index = read_json(path)
    remedy = f"delete {path.parent} and run again: it is made anew"
    content = index.get("content") if isinstance(index, dict) else None
    if not isinstance(content, dict):
        raise ArtifactError(f"{path} is not the index of a crop store; {remedy}")
    if hashlib.sha256(_canonical(content)).hexdigest() != index.get("sha256"):
        raise ArtifactError(f"{path} is damaged: its content has another hash; {remedy}")
    if content.get("format") != FORMAT:
        raise ArtifactError(
            f"{path} has format {content.get('format')!r}, this version reads {FORMAT}; {remedy}"
        )
    return content


def _verify_images(path: Path, index: Mapping[str, Any], remedy: str) -> None:
    """Compare the hash of every shard."""
    face = index["size"] ** 2 * 3
    with path.open("rb") as file:
        for number, shard in enumerate(index["shards"]):
            found = hashlib.sha256(file.read(shard["count"] * face)).hexdigest()
            if found != shard["sha256"]:
                raise ArtifactError(f"{path} is damaged in shard {number}; {remedy}")


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode()
