"""What travels between an agent and its clients: records, frames, settings, errors.

Requests and short answers are JSON. Frames come as a stream of records; one record is

========  =============================================================================
4 bytes   length N of the header, little-endian
N bytes   header, a JSON object: "kind" says what it is, "bytes" how many bytes follow it
...       payload; of a frame its mosaic, uint16 little-endian, row by row
32 bytes  SHA-256 of all before
========  =============================================================================

A stream of frames ends with a record of kind "end" or "error"; one that ends without it was cut.
"""

import hashlib
import json
import struct
from collections.abc import Generator, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hardware import errors
from hardware.cameras.base import CameraInfo, GrantedSettings, SensorMode
from hardware.errors import HardwareError
from hardware.frames import RawFrame, Roi

#: Version of all this; agent and client refuse each other when it differs.
VERSION = 1
#: Longest header and longest payload of a record [bytes].
LONGEST_HEADER, LONGEST_PAYLOAD = 2**20, 2**30
#: Longest text of an error [characters].
LONGEST_MESSAGE = 2000
_LENGTH = struct.Struct("<I")


class StreamBroken(ConnectionError):
    """A stream of records was cut short, or its bytes are not those that were sent."""


class Readable(Protocol):
    """Where records come from."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill a part of `buffer`, and return how much; 0 at the end."""


# Records


def record(header: Mapping[str, Any], *payload: NDArray[Any]) -> Generator[memoryview, None, None]:
    """Yield the bytes of one record; arrays are sent as they lie in memory, without a copy."""
    parts = [np.ascontiguousarray(part).data.cast("B") for part in payload if part.size]
    size = sum(part.nbytes for part in parts)
    text = json.dumps({**header, "bytes": size}, allow_nan=False).encode()
    digest = hashlib.sha256()
    for part in (memoryview(_LENGTH.pack(len(text)) + text), *parts):
        digest.update(part)
        yield part
    yield memoryview(digest.digest())


def read_record(stream: Readable) -> tuple[dict[str, Any], bytearray]:
    """Return header and payload of the next record.

    Raises
    ------
    StreamBroken
        The stream ends before the record does, or the digest says that it was changed.
    """
    digest = hashlib.sha256()
    size = _exactly(stream, _LENGTH.size, digest)
    length = _LENGTH.unpack(size)[0]
    if length > LONGEST_HEADER:
        raise StreamBroken(f"a header of {length} bytes, at most {LONGEST_HEADER} are allowed")
    try:
        header = json.loads(_exactly(stream, length, digest))
        size = header["bytes"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StreamBroken("the header of a record is not what it should be") from error
    if not isinstance(size, int) or not 0 <= size <= LONGEST_PAYLOAD:
        raise StreamBroken(
            f"a payload of {size!r:.40} bytes, at most {LONGEST_PAYLOAD} are allowed"
        )
    payload = _exactly(stream, size, digest)
    if _exactly(stream, digest.digest_size, hashlib.sha256()) != digest.digest():
        raise StreamBroken("a record was changed on its way: its SHA-256 differs")
    return header, payload


def _exactly(stream: Readable, size: int, digest: Any) -> bytearray:
    content = bytearray(size)
    view, done = memoryview(content), 0
    while done < size:
        got = stream.readinto(view[done:])
        if not got:
            raise StreamBroken(f"the stream ended {size - done} bytes early")
        done += got
    digest.update(content)
    return content


# Frames and settings


def frame_record(frame: RawFrame) -> Generator[memoryview, None, None]:
    """Yield the record of a frame."""
    header = {
        name: value for name, value in vars(frame).items() if name not in ("mosaic", "metadata")
    }
    header |= {
        "kind": "frame",
        "shape": frame.shape,
        "taken": frame.taken.isoformat(),
        "metadata": {str(k): plain(v) for k, v in frame.metadata.items()},
    }
    return record(plain(header), frame.mosaic.astype("<u2", copy=False))


def frame_from(header: Mapping[str, Any], payload: bytearray) -> RawFrame:
    """Return the frame of a record.

    Raises
    ------
    StreamBroken
        Header and payload do not describe a frame.
    """
    try:
        values = {k: v for k, v in header.items() if k not in ("kind", "bytes", "shape")}
        values |= {
            "black_level": tuple(header["black_level"]),
            "origin": tuple(header["origin"]),
            "taken": datetime.fromisoformat(header["taken"]),
        }
        mosaic = np.frombuffer(payload, "<u2").astype(np.uint16, copy=False)
        return RawFrame(mosaic.reshape(header["shape"]), **values)
    except (KeyError, TypeError, ValueError) as error:
        raise StreamBroken(f"a record of kind 'frame' holds no frame: {error}") from error


def mode_from(values: Mapping[str, Any]) -> SensorMode:
    """Return the sensor mode of a JSON object."""
    return SensorMode(**{**values, "shape": tuple(values["shape"])})


def camera_from(values: Mapping[str, Any]) -> CameraInfo:
    """Return what a camera is from a JSON object."""
    return CameraInfo(**{**values, "shape": tuple(values["shape"])})


def granted_json(granted: GrantedSettings) -> dict[str, Any]:
    """Return granted settings as a JSON object."""
    return asdict(granted)


def granted_from(values: Mapping[str, Any]) -> GrantedSettings:
    """Return the granted settings of a JSON object."""
    mode, roi = mode_from(values["mode"]), Roi(**values["roi"])
    return GrantedSettings(**{**values, "mode": mode, "roi": roi})


def plain(value: Any) -> Any:
    """Return a value as JSON knows it; what it does not know becomes a text or null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


# Errors

_KNOWN: dict[str, type[Exception]] = {"ValueError": ValueError, "TypeError": TypeError}
_KNOWN |= {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, HardwareError)
}


def error_json(error: Exception) -> dict[str, Any]:
    """Return class, message, hint and numbers of an error, in bounded size."""
    kind = next((k.__name__ for k in type(error).__mro__ if k.__name__ in _KNOWN), "HardwareError")
    numbers = (bool, int, float, str)
    details = {
        key: value[:200] if isinstance(value, str) else plain(value)
        for key, value in vars(error).items()
        if key != "hint" and isinstance(value, numbers)
    }
    return {
        "class": kind,
        "message": str(error)[:LONGEST_MESSAGE],
        "hint": str(getattr(error, "hint", ""))[:LONGEST_MESSAGE],
        "details": details,
    }


def error_from(values: object) -> Exception:
    """Return the error that an agent reported, of the class it had there."""
    found = values if isinstance(values, Mapping) else {}
    kind = _KNOWN.get(str(found.get("class")), HardwareError)
    message = str(found.get("message", "the agent reported an error"))[:LONGEST_MESSAGE]
    if not issubclass(kind, HardwareError):
        return kind(message)
    error = kind.__new__(kind)
    HardwareError.__init__(error, message)  # the message is whole: the hint is in it
    details = found.get("details")
    for key, value in (details if isinstance(details, Mapping) else {}).items():
        setattr(error, str(key), value)
    error.hint = str(found.get("hint", ""))
    return error
