"""Raw buffers, as a camera's receiver writes them to memory, to sensor values.

Everything follows from the *granted* format: what was asked for may have been changed, and the
order of the colours depends on how the picture is flipped. Names are those of libcamera
("SRGGB12_CSI2P", "R10") or, for mono sensors, of V4L2 ("Y12", "Y10P").

==============  ====================================================================
``..8``         one byte per pixel
``..10/12/14``  one little-endian 16-bit word per pixel, value at its low end
``..16``        the same with the value at its *high* end, as the Raspberry Pi 5 writes
``..CSI2P``     as on the wire: 4 pixels of 10 bits in 5 bytes, 2 pixels of 12 in 3
``.._COMP``     compressed with losses: refused
==============  ====================================================================
"""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardware.errors import FrameError, HardwareError, LossyFormatError
from hardware.frames import BAYER

_NAME = re.compile(r"(?:S(?P<cfa>[RGB]{4})|[RY])(?P<depth>8|10|12|14|16)(?P<packed>_CSI2P|P)?")
_PACKED_GROUP = {10: (4, 5), 12: (2, 3)}  # depth: pixels of a group, and their bytes
_BLOCK = 16  # rows unpacked at a time: their bytes and values stay in the cache


@dataclass(frozen=True)
class RawFormat:
    """What the name of a raw format says.

    Attributes
    ----------
    name : str
        The name.
    cfa : str
        Colours of the 2 x 2 block at the top left; "" for mono.
    depth : int
        Bits of a pixel in memory, if it is packed, else of its values; 16 also stands for fewer
        bits at the high end of a word.
    packed : bool
        Whether pixels share bytes.
    """

    name: str
    cfa: str
    depth: int
    packed: bool

    def row_bytes(self, width: int) -> int:
        """Return the bytes of one row of `width` pixels, before padding."""
        if self.packed:
            pixels, size = _PACKED_GROUP[self.depth]
            return -(-width // pixels) * size
        return width if self.depth == 8 else 2 * width

    def check(self, shape: tuple[int, int], stride: int, size: int) -> None:
        """Raise FrameError unless rows of `stride` bytes in a buffer of `size` hold `shape`."""
        height, width = shape
        needed, group = self.row_bytes(width), _PACKED_GROUP[self.depth][0] if self.packed else 1
        if width % group:
            raise FrameError(f"width = {width}: {self.name} has a multiple of {group} pixels a row")
        if stride < needed or (stride % 2 and self.depth > 8 and not self.packed):
            raise FrameError(
                f"stride = {stride} bytes: a row of {width} pixels of {self.name} has {needed}"
            )
        if size < height * stride:
            raise FrameError(
                f"buffer has {size} bytes, but {height} rows of {stride} have {height * stride}"
            )


def raw_format(name: str) -> RawFormat:
    """Return what `name` says.

    Raises
    ------
    LossyFormatError
        The values were compressed with losses.
    HardwareError
        The format is not a raw one, or not known.
    """
    if "_COMP" in name:
        raise LossyFormatError(
            f"raw format {name} is compressed with losses: of 4096 values about 900 are left",
            hint="ask for an unpacked format, such as SRGGB12",
        )
    match = _NAME.fullmatch(name)
    cfa = (match["cfa"] or "") if match else ""
    if match is None or (cfa and cfa not in BAYER):
        raise HardwareError(f"raw format {name} is not known", hint="ask for an unpacked one")
    depth, packed = int(match["depth"]), bool(match["packed"])
    if packed and depth == 8:
        packed = False  # R8_CSI2P: one byte per pixel either way
    if packed and depth not in _PACKED_GROUP:
        raise HardwareError(f"raw format {name} is not known", hint="ask for an unpacked one")
    return RawFormat(name, cfa, depth, packed)


def decode(
    buffer: NDArray[np.uint8],
    form: RawFormat,
    shape: tuple[int, int],
    stride: int,
    bits: int | None = None,
) -> NDArray[np.uint16]:
    """Return the sensor values of a raw buffer.

    Parameters
    ----------
    buffer : ndarray of uint8
        Its bytes, in one or two dimensions; what follows the last row is ignored.
    form : RawFormat
        The format that was granted.
    shape : tuple of int
        Pixels (H, W).
    stride : int
        Bytes from one row to the next.
    bits : int, optional
        Resolution of the sensor, where a format of 16 bits holds less.

    Returns
    -------
    ndarray of uint16, shape (H, W)
        Right-justified: at most 2**bits - 1; memory of its own, in one piece [DN].

    Raises
    ------
    FrameError
        The buffer is shorter than the rows, or a row than its pixels.
    """
    form.check(shape, stride, buffer.size)
    if bits is not None and not 1 <= bits <= form.depth:
        raise ValueError(f"bits = {bits}, expected 1 to {form.depth}, the depth of {form.name}")
    height, width = shape
    rows = buffer.reshape(-1)[: height * stride].reshape(height, stride)
    rows = rows[:, : form.row_bytes(width)]
    if form.packed:
        return _unpacked(rows, form.depth, width)
    if form.depth == 8:
        return rows.astype(np.uint16)
    words: NDArray[np.uint16] = rows.view("<u2")
    return words >> np.uint16(16 - (bits or 16)) if form.depth == 16 else words.copy()


def _unpacked(rows: NDArray[np.uint8], depth: int, width: int) -> NDArray[np.uint16]:
    """Return the values of packed `rows`: the high bytes of a group, then all its low bits."""
    pixels, size = _PACKED_GROUP[depth]
    low = depth - 8
    top = np.uint8(256 - (1 << (8 - low)))  # the upper `low` bits of a byte
    values: NDArray[np.uint16] = np.empty((len(rows), width), dtype="<u2")
    # Each value is put together at the high end of its word, byte by byte; one shift ends it.
    for first in range(0, len(rows), _BLOCK):
        block, out = rows[first : first + _BLOCK], values[first : first + _BLOCK]
        halves = out.view(np.uint8)
        rest = np.ascontiguousarray(block[:, size - 1 :: size])
        for pixel in range(pixels):
            halves[:, 2 * pixel + 1 :: 2 * pixels] = block[:, pixel::size]
            halves[:, 2 * pixel :: 2 * pixels] = (rest << np.uint8(8 - low * (pixel + 1))) & top
        out >>= np.uint16(8 - low)
    return values
