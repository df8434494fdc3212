"""Grey images as bytes: PNG and BMP from their specifications, TIFF through tifffile.

Writers of our own for PNG and BMP give the same bytes whatever version of an imaging library is
installed, and leave that library as an independent reader. Row 0 is the upper row everywhere.

References
----------
PNG: W3C Recommendation (Third Edition), sec. 5 and 11.2. BMP: BITMAPINFOHEADER, Microsoft Win32.
"""

import struct
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from hardware.errors import HardwareError

Grey = NDArray[np.uint8] | NDArray[np.uint16]
Format = Literal["tiff", "png", "bmp"]
#: Ending of the file of each format.
ENDINGS: dict[Format, str] = {"tiff": ".tif", "png": ".png", "bmp": ".bmp"}


def write_image(path: Path, grey: Grey, file_format: Format, spacing: float) -> None:
    """Write a grey image (H, W) of 8 or 16 bits; `spacing` is the pitch of its pixels [m]."""
    if file_format == "png":
        path.write_bytes(_png(grey, spacing))
    elif file_format == "bmp":
        path.write_bytes(_bmp(grey))
    else:
        tifffile.imwrite(
            path,
            grey,
            photometric="minisblack",
            compression="zlib",
            predictor=True,
            resolution=(1e-2 / spacing, 1e-2 / spacing),
            resolutionunit="CENTIMETER",
            metadata=None,
            software=False,
        )


def read_image(path: Path, bits: int) -> tuple[Grey, float | None]:
    """Read a grey image through Pillow; also its pitch [m] if it is a TIFF that has one.

    Raises
    ------
    HardwareError
        The file is no grey image of `bits` bits.
    """
    allowed = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None  # maps are larger than photographs, and this one is ours
    try:
        with Image.open(path) as image:
            grey, mode = np.asarray(image), image.mode
            tags = dict(getattr(image, "tag_v2", {}))
    except OSError as error:
        raise HardwareError(f"{path}: cannot be read as an image ({error})") from error
    finally:
        Image.MAX_IMAGE_PIXELS = allowed
    if grey.ndim != 2 or mode not in (("L",) if bits == 8 else ("I;16", "I;16B", "I")):
        raise HardwareError(f"{path}: an image of mode {mode}; expected {bits}-bit grey")
    pitch = 1e-2 / float(tags[282]) if tags.get(296) == 3 and 282 in tags else None
    return (grey.astype(np.uint8) if bits == 8 else grey.astype(np.uint16)), pitch


def _png(grey: Grey, spacing: float) -> bytes:
    rows, columns = grey.shape
    depth = grey.dtype.itemsize
    raw = np.ascontiguousarray(grey.astype(f">u{depth}")).view(np.uint8).reshape(rows, -1)
    out = np.empty((rows, 1 + columns * depth), np.uint8)
    out[:, 0] = 1  # filter "Sub": the difference to the pixel on the left, byte by byte
    out[:, 1 : 1 + depth] = raw[:, :depth]
    out[:, 1 + depth :] = raw[:, depth:] - raw[:, :-depth]
    per_metre = min(round(1 / spacing), 2**31 - 1)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8 * depth, 0, 0, 0, 0)),
            _chunk(b"pHYs", struct.pack(">IIB", per_metre, per_metre, 1)),
            _chunk(b"IDAT", zlib.compress(out.tobytes(), 6)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _bmp(grey: Grey) -> bytes:
    if grey.dtype != np.uint8:
        raise ValueError(f"bits = {8 * grey.dtype.itemsize}: a BMP holds 8; use png or tiff")
    rows, columns = grey.shape
    stride = (columns + 3) // 4 * 4
    upwards = np.zeros((rows, stride), np.uint8)
    upwards[:, :columns] = grey[::-1]  # the file starts with the lowest row
    palette = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 4, axis=1)
    palette[:, 3] = 0
    start = 14 + 40 + 1024
    header = struct.pack("<2sIHHI", b"BM", start + upwards.size, 0, 0, start)
    info = struct.pack("<IiiHHIIiiII", 40, columns, rows, 1, 8, 0, upwards.size, 0, 0, 256, 0)
    return header + info + palette.tobytes() + upwards.tobytes()
