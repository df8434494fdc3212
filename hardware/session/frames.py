"""Frames on disk: a 16-bit TIFF that every program opens, and a JSON file beside it.

The mosaic is stored as it came, one page, not compressed: that is fastest on a small computer.
Compressed, its four colour positions become four pages, which takes a third of the time and room
of the mosaic itself. Everything known about the frame stands in the JSON file, and once more in
the description of the TIFF, so that neither is lost without the other.
"""

import hashlib
import io
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.frames import RawFrame
from hardware.storage import ArtifactError, atomic_write, file_sha256, read_bytes

FOLDER = "frames"
_FIELDS = (
    "cfa", "bits", "white_level", "exposure", "gain", "timestamp", "asked_exposure", "asked_gain",
    "confirmed",
)  # fmt: skip


@dataclass(frozen=True)
class Stored:
    """Size and hashes of a stored frame.

    Attributes
    ----------
    size : int
        Bytes of both files.
    sha256, sidecar : str
        SHA-256 of the TIFF and of the JSON file.
    """

    size: int
    sha256: str
    sidecar: str


def frame_paths(session: Path, number: int) -> tuple[Path, Path]:
    """Return the TIFF and the JSON file of frame `number`."""
    stem = session / FOLDER / f"{number:06d}"
    return stem.with_suffix(".tif"), stem.with_suffix(".json")


def write_frame(
    session: Path,
    number: int,
    frame: RawFrame,
    about: Mapping[str, Any],
    *,
    compress: bool = False,
) -> Stored:
    """Write a frame, the TIFF first, and return what it must hash to.

    Parameters
    ----------
    session : Path
        Folder of the session.
    number : int
        Its number, from 1.
    frame : RawFrame
        The frame.
    about : mapping
        What the session knows of it: step, position, light.
    compress : bool
        Whether to compress without loss (deflate on the four colour positions).
    """
    import tifffile

    planes = compress and not any(side % 2 for side in frame.shape)
    described = {
        "format": 1,
        "number": number,
        **about,
        "layout": "planes" if planes else "mosaic",
        **{name: getattr(frame, name) for name in _FIELDS},
        "black_level": [float(level) for level in frame.black_level],
        "origin": [int(n) for n in frame.origin],
        "taken": frame.taken.isoformat(),
        "metadata": dict(frame.metadata),
    }
    text = json.dumps(described, default=_plain)
    how: dict[str, Any] = {}
    if compress:
        how = {"compression": "zlib", "compressionargs": {"level": 1}, "predictor": True}
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer, _planes(frame.mosaic) if planes else frame.mosaic, photometric="minisblack",
        description=text, metadata=None, software="veilens", **how,
    )  # fmt: skip
    image = buffer.getvalue()
    sha256 = hashlib.sha256(image).hexdigest()
    described |= {"sha256": sha256}
    sidecar = (json.dumps(described, indent=1, default=_plain) + "\n").encode()
    image_path, sidecar_path = frame_paths(session, number)
    atomic_write(image_path, image)
    atomic_write(sidecar_path, sidecar)
    return Stored(len(image) + len(sidecar), sha256, hashlib.sha256(sidecar).hexdigest())


def read_about(session: Path, number: int, *, sha256: str | None = None) -> dict[str, Any]:
    """Return everything known about a frame; ArtifactError if it is missing or damaged."""
    path = frame_paths(session, number)[1]
    data = read_bytes(path, sha256=sha256)
    try:
        value = json.loads(data)
        if value["format"] != 1:
            raise ValueError(f"format {value['format']}, expected 1")
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path} does not describe a frame: {error}") from error
    return dict(value)


def read_frame(session: Path, number: int, stored: Stored | None = None) -> RawFrame:
    """Return a frame, checked against its hashes.

    Parameters
    ----------
    session : Path
        Folder of the session.
    number : int
        Its number.
    stored : Stored, optional
        The hashes that the journal tells; without them the TIFF is checked against the JSON file.

    Raises
    ------
    ArtifactError
        A file is missing or damaged.
    """
    about = read_about(session, number, sha256=stored.sidecar if stored else None)
    path = frame_paths(session, number)[0]
    data = read_bytes(path, sha256=stored.sha256 if stored else str(about.get("sha256")))
    try:
        return RawFrame(
            mosaic=_read_mosaic(data, about["layout"]),
            black_level=tuple(about["black_level"]),
            origin=tuple(about["origin"]),
            taken=datetime.fromisoformat(about["taken"]),
            metadata=about["metadata"],
            **{name: about[name] for name in _FIELDS},
        )
    except (ValueError, KeyError, TypeError, OSError, zlib.error) as error:
        raise ArtifactError(f"{path} is not a frame: {error}") from error


def damage(session: Path, number: int, stored: Stored, *, whole: bool) -> str:
    """Say what is wrong with a stored frame, by its size or (`whole`) its hashes; "" if nothing."""
    try:
        paths = frame_paths(session, number)
        if sum(path.stat().st_size for path in paths) != stored.size:
            return "its files are not of the size they had"
        if whole and [file_sha256(path) for path in paths] != [stored.sha256, stored.sidecar]:
            return "its files changed"
    except OSError as error:
        return f"{error.filename or 'a file'}: {error.strerror}"
    return ""


def _read_mosaic(data: bytes, layout: str) -> NDArray[np.uint16]:
    import tifffile

    try:
        image: NDArray[np.uint16] = tifffile.imread(io.BytesIO(data))
    except tifffile.TiffFileError as error:
        raise ValueError(str(error)) from error
    if layout == "mosaic":
        return image
    mosaic = np.empty((2 * image.shape[1], 2 * image.shape[2]), np.uint16)
    for number, plane in enumerate(image):
        mosaic[number // 2 :: 2, number % 2 :: 2] = plane
    return mosaic


def _planes(mosaic: NDArray[np.uint16]) -> NDArray[np.uint16]:
    return np.stack([mosaic[i::2, j::2] for i in (0, 1) for j in (0, 1)])


def _plain(value: object) -> Any:
    """Return numbers and arrays of numpy as JSON has them."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} {value!r:.60} cannot be stored with a frame")
