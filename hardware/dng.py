"""Raw frames as DNG files, for programs that photographers use.

An export, not our own record: a TIFF with the mosaic as it is, 16 bits per pixel, uncompressed,
and the tags of DNG 1.4 that say what its numbers mean. Values are not scaled: black and white
levels stand beside them.
"""

import os
import struct
from collections.abc import Sequence
from datetime import UTC
from fractions import Fraction
from pathlib import Path

import numpy as np

from hardware.frames import RawFrame

#: From CIE XYZ to linear sRGB (IEC 61966-2-1, D65), for a sensor whose colours were not measured:
#: its red, green and blue are shown as those of a screen.
NEUTRAL_MATRIX = (
    (3.2404542, -1.5371385, -0.4985314),
    (-0.9692660, 1.8760108, 0.0415560),
    (0.0556434, -0.2040259, 1.0572252),
)
_CFA, _LINEAR_RAW = 32803, 34892  # photometric interpretations
_D65 = 21

_Value = str | bytes | Sequence[int] | Sequence[Fraction]
_SIZES = {"B": 1, "s": 1, "H": 2, "I": 4, "Q": 8, "q": 8}  # bytes of one item
_TYPES = {"B": 1, "s": 2, "H": 3, "I": 4, "Q": 5, "q": 10}  # TIFF's number of it; Q, q: rational


def write_dng(
    path: Path,
    frame: RawFrame,
    *,
    matrix: Sequence[Sequence[float]] = NEUTRAL_MATRIX,
    neutral: Sequence[float] = (1.0, 1.0, 1.0),
) -> None:
    """Write `frame` to `path`; what stood there is replaced when the new file is whole.

    Parameters
    ----------
    path : Path
        Where, usually with the suffix ".dng".
    frame : RawFrame
        Mosaic of a colour or a mono sensor.
    matrix : sequence of float, shape (3, 3)
        From CIE XYZ under D65 to the sensor's red, green, blue (tag ColorMatrix1).
    neutral : sequence of 3 floats
        The sensor's red, green, blue of something grey, up to 1 (tag AsShotNeutral).

    Raises
    ------
    ValueError
        Matrix or neutral colour are not what they should be.
    """
    if np.shape(matrix) != (3, 3) or not np.isfinite(matrix).all() or not np.linalg.det(matrix):
        raise ValueError(f"matrix = {matrix}: 3 x 3 numbers with an inverse are needed")
    if np.shape(neutral) != (3,) or not all(0 < value <= 1 for value in neutral):
        raise ValueError(f"neutral = {neutral}: three numbers above 0, up to 1, are needed")
    tags = _tags(frame, matrix, neutral)
    # Strip, then Exif, at the end: their places are known when the size of the tags is.
    exif = _exif(frame)
    size = len(_directory(tags, 8))
    tags[34665] = ("I", [8 + size])
    tags[273] = ("I", [8 + size + len(_directory(exif, 0))])
    head = struct.pack("<2sHI", b"II", 42, 8) + _directory(tags, 8) + _directory(exif, 8 + size)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(head)
            file.write(np.ascontiguousarray(frame.mosaic, dtype="<u2").data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _tags(
    frame: RawFrame, matrix: Sequence[Sequence[float]], neutral: Sequence[float]
) -> dict[int, tuple[str, _Value]]:
    height, width = frame.shape
    black = frame.black_level if frame.cfa else frame.black_level[:1]
    tags: dict[int, tuple[str, _Value]] = {
        254: ("I", [0]),  # NewSubfileType: the picture itself
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [16]),  # BitsPerSample
        259: ("H", [1]),  # Compression: none
        262: ("H", [_CFA if frame.cfa else _LINEAR_RAW]),
        273: ("I", [0]),  # StripOffsets, filled in when they are known
        274: ("H", [1]),  # Orientation: first row at the top, first column at the left
        277: ("H", [1]),  # SamplesPerPixel
        278: ("I", [height]),  # RowsPerStrip
        279: ("I", [2 * height * width]),  # StripByteCounts
        284: ("H", [1]),  # PlanarConfiguration
        305: ("s", "Veilens"),
        306: ("s", _time(frame)),
        34665: ("I", [0]),  # Exif, filled in when its place is known
        50706: ("B", [1, 4, 0, 0]),  # DNGVersion
        50707: ("B", [1, 1, 0, 0]),  # DNGBackwardVersion
        50708: ("s", str(frame.metadata.get("model") or "Veilens raw camera")),
        50713: ("H", [2, 2] if frame.cfa else [1, 1]),  # BlackLevelRepeatDim
        50714: ("Q", [_ratio(value) for value in black]),
        50717: ("I", [round(frame.white_level)]),
    }
    if frame.cfa:
        tags |= {
            33421: ("H", [2, 2]),  # CFARepeatPatternDim
            33422: ("B", ["RGB".index(colour) for colour in frame.cfa]),
            50710: ("B", [0, 1, 2]),  # CFAPlaneColor: red, green, blue
            50711: ("H", [1]),  # CFALayout: rectangular
            50721: ("q", [_ratio(value) for row in matrix for value in row]),  # ColorMatrix1
            50728: ("Q", [_ratio(value) for value in neutral]),  # AsShotNeutral
            50778: ("H", [_D65]),  # CalibrationIlluminant1
        }
    return tags


def _exif(frame: RawFrame) -> dict[int, tuple[str, _Value]]:
    """Return exposure, speed and time; a speed of 100 stands for a gain of 1."""
    return {
        33434: ("Q", [_ratio(frame.exposure)]),  # [s]
        34855: ("H", [min(round(100 * frame.gain), 65535)]),
        36867: ("s", _time(frame)),
        36881: ("s", "+00:00"),
    }


def _time(frame: RawFrame) -> str:
    return f"{frame.taken.astimezone(UTC):%Y:%m:%d %H:%M:%S}"


def _ratio(value: float) -> Fraction:
    """Return the nearest ratio that TIFF can hold: both its numbers within 31 bits."""
    return Fraction(value).limit_denominator(int((2**31 - 1) / max(1.0, abs(value))))


def _directory(tags: dict[int, tuple[str, _Value]], offset: int) -> bytes:
    """Return a TIFF directory that begins at byte `offset`, with the values that follow it."""
    entries, values = struct.pack("<H", len(tags)), b""
    begin = offset + 2 + 12 * len(tags) + 4
    for tag, (kind, value) in sorted(tags.items()):
        payload = _packed(kind, value)
        entries += struct.pack("<HHI", tag, _TYPES[kind], len(payload) // _SIZES[kind])
        if len(payload) <= 4:
            entries += payload.ljust(4, b"\0")
        else:
            entries += struct.pack("<I", begin + len(values))
            values += payload + b"\0" * (len(payload) % 2)
    return entries + struct.pack("<I", 0) + values


def _packed(kind: str, value: _Value) -> bytes:
    if isinstance(value, str):
        return value.encode("ascii", "replace") + b"\0"
    if kind in "Qq":
        parts = [part for ratio in value for part in (ratio.numerator, ratio.denominator)]
        return struct.pack(f"<{len(parts)}{'I' if kind == 'Q' else 'i'}", *parts)
    return struct.pack(f"<{len(value)}{kind}", *value)
