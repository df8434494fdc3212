r"""Surfaces from Zygo's interferometers: binary MetroPro data and its ASCII form.

Both hold whole numbers z of the phase, from which the height of the surface is

.. math:: h = z \, S \, O \, \lambda / R

with the interferometric scale factor S (1/2 in reflection), the obliquity factor O, the
wavelength and the phase resolution R = 4096, 32768 or 131072 for the codes 0, 1 and 2
(Zygo Corporation, MetroPro Reference Guide OMP-0347). The first row is the top of the picture.
The binary header is big-endian where it is used here.
"""

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.fabrication.measured import Measured, MeasurementError

#: First bytes of the binary files; the fourth tells the revision.
MAGIC = b"\x88\x1b\x03"
#: First words of the ASCII files.
TITLE = "Zygo ASCII Data File"

_RESOLUTION = {0: 4096, 1: 32768, 2: 131072}
_NOT_MEASURED = 2147483640  # and all above
_LEAST_HEADER = 834  # bytes


def read_zygo_binary(path: Path) -> Measured:
    """Read a MetroPro ``.dat`` file."""
    content = path.read_bytes()
    if len(content) < _LEAST_HEADER or content[:3] != MAGIC:
        raise MeasurementError(
            f"{path.name}: {len(content)} bytes, without the header of {_LEAST_HEADER} bytes that "
            f"starts a MetroPro file; it is cut short or of another format"
        )
    (header,) = struct.unpack_from(">I", content, 6)
    width, height, buckets = struct.unpack_from(">HHH", content, 52)
    columns, rows = struct.unpack_from(">HH", content, 68)
    scale, wavelength = struct.unpack_from(">ff", content, 164)
    (obliquity,) = struct.unpack_from(">f", content, 176)
    (spacing,) = struct.unpack_from(">f", content, 184)
    (code,) = struct.unpack_from(">H", content, 218)
    start = header + 2 * width * height * max(buckets, 1)  # the camera's picture comes first
    needed = start + 4 * rows * columns
    if len(content) < needed:
        raise MeasurementError(
            f"{path.name}: {len(content)} bytes, but {rows} x {columns} points need {needed}; the "
            f"file is cut short"
        )
    phase = np.frombuffer(content, ">i4", rows * columns, start).reshape(rows, columns)
    unit = _height_unit(scale, obliquity, wavelength, code, path.name)
    return _measured(phase, unit, spacing, f"{path.name} (Zygo MetroPro)")


def read_zygo_ascii(path: Path) -> Measured:
    """Read Zygo ASCII data, format 1 or 2."""
    try:
        text = path.read_text(encoding="latin-1")
    except OSError as error:
        raise MeasurementError(f"{path.name} cannot be read: {error.strerror}") from error
    head, mark, rest = text.partition("\n#")
    lines = head.splitlines()
    if not lines or not lines[0].startswith(TITLE) or len(lines) < 11 or not mark:
        raise MeasurementError(f"{path.name}: the header of Zygo ASCII data is cut short")
    try:
        columns, rows = (int(word) for word in lines[3].split()[2:4])
        scale, wavelength, _, obliquity, _, spacing = (float(w) for w in lines[7].split()[1:7])
        code = int(lines[10].split()[0])
    except ValueError as error:
        raise MeasurementError(f"{path.name}: the header is damaged ({error})") from error
    parts = rest.split("#")  # the camera's picture, which may be empty, then the phase
    if len(parts) < 3:
        raise MeasurementError(f"{path.name}: the phase has no end mark '#'; the file is cut short")
    try:
        phase = np.array(parts[1].split(), np.int64)
    except (ValueError, OverflowError) as error:
        raise MeasurementError(f"{path.name}: the phase is damaged ({error})") from error
    if phase.size != rows * columns:
        raise MeasurementError(
            f"{path.name}: {phase.size} points, but the header says {rows} x {columns}; the file "
            f"is cut short"
        )
    unit = _height_unit(scale, obliquity, wavelength, code, path.name)
    return _measured(phase.reshape(rows, columns), unit, spacing, f"{path.name} (Zygo ASCII)")


def _height_unit(scale: float, obliquity: float, wavelength: float, code: int, name: str) -> float:
    if code not in _RESOLUTION:
        raise MeasurementError(f"{name}: phase resolution {code}; 0, 1 and 2 are known")
    if not 1e-7 <= wavelength <= 2e-5:
        raise MeasurementError(
            f"{name}: wavelength = {wavelength:g} m; 0.1 um to 20 um are allowed: the header is "
            f"damaged"
        )
    unit = scale * obliquity * wavelength / _RESOLUTION[code]
    if not (math.isfinite(unit) and unit != 0):
        raise MeasurementError(
            f"{name}: scale factor {scale:g} times obliquity {obliquity:g} gives no height; the "
            f"header is damaged"
        )
    return unit


def _measured(phase: NDArray[Any], unit: float, spacing: float, source: str) -> Measured:
    height = np.where(phase >= _NOT_MEASURED, np.nan, phase * unit)
    if not spacing > 0:
        raise MeasurementError(
            f"{source}: the lateral resolution is {spacing:g} m: the instrument was not "
            f"calibrated laterally; store the file again after calibrating it"
        )
    return Measured(height, spacing, spacing, source)
