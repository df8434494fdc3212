"""What a vault holds of each picture or frame: where faces were, and their originals in a box."""

import math
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anonymizer.vault.errors import DamagedVault, ForeignModel, WrongKey
from anonymizer.vault.header import Header
from anonymizer.vault.nonces import frame_nonce
from anonymizer.vault.sealing import pad, seal, unpad, unseal

LARGEST_RECORD = 2**28
"""Largest record that is read [bytes]."""

_HEAD = struct.Struct(">QH")
_TILE = struct.Struct(">IIII6dHI")
_MOST_TILES = 1024
_LARGEST_FACE = 4096  # side [px]
_LEVEL = 6  # of zlib

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Tile:
    """One protected face.

    Attributes
    ----------
    left, top, width, height : int
        Box of all pixels that were changed [px].
    matrix : tuple of float
        The similarity from the face's own square to the picture, two rows of three, (x, y) order.
    side : int
        Side of the square [px]; 0 where the face is not kept.
    packed : bytes
        What the method made of the square, as `pack_pixels` packs it; kept where the method itself
        recovers. It stays packed as it was written, for these bytes are what is authenticated.
    """

    left: int
    top: int
    width: int
    height: int
    matrix: tuple[float, ...]
    side: int = 0
    packed: bytes = b""

    def face(self) -> Pixels:
        """Return what the method made of the square, sRGB (S, S, 3).

        Raises
        ------
        ForeignModel
            If it was not kept.
        """
        if not self.side:
            raise ForeignModel("the vault keeps no protected faces; its method recovers nothing")
        return unpack_pixels(self.packed, (self.side, self.side))


@dataclass(frozen=True)
class Record:
    """One picture, or one frame of a clip.

    Attributes
    ----------
    frame : int
        Number of the frame, 0 for a picture.
    tiles : tuple of Tile
        Faces in the order in which they were protected.
    box : bytes
        Ciphertext, see `seal_originals`; empty in decoy mode.
    """

    frame: int
    tiles: tuple[Tile, ...]
    box: bytes = b""

    def open_part(self) -> bytes:
        """Return all but the box, as it stands in the file."""
        parts = [_HEAD.pack(self.frame, len(self.tiles))]
        for tile in self.tiles:
            box = tile.left, tile.top, tile.width, tile.height
            parts.append(_TILE.pack(*box, *tile.matrix, tile.side, len(tile.packed)))
            parts.append(tile.packed)
        return b"".join(parts)

    def encode(self) -> bytes:
        """Return the record as it stands in the file."""
        return self.open_part() + self.box


def parse_record(body: bytes, header: Header) -> Record:
    """Return the record in `body`; DamagedVault where it does not fit itself or the picture."""
    if len(body) < _HEAD.size:
        raise DamagedVault("a record of the vault is cut short")
    frame, count = _HEAD.unpack_from(body)
    place, tiles = _HEAD.size, []
    if count > _MOST_TILES:
        raise DamagedVault(f"a record lists {count} faces, at most {_MOST_TILES} are read")
    for _ in range(count):
        if len(body) < place + _TILE.size:
            raise DamagedVault("the list of faces is cut short")
        left, top, width, height, *matrix, side, size = _TILE.unpack_from(body, place)
        place += _TILE.size
        if not (
            0 < width <= header.width - left
            and 0 < height <= header.height - top
            and all(math.isfinite(value) and abs(value) < 1e6 for value in matrix)
        ):
            raise DamagedVault(
                f"a face of {width} x {height} px at ({left}, {top}) does not lie in a picture of "
                f"{header.width} x {header.height} px"
            )
        if size > len(body) - place or (side == 0) != (size == 0) or side > _LARGEST_FACE:
            raise DamagedVault(
                f"a stored face of {side} px and {size} bytes does not fit its record"
            )
        packed = body[place : place + size]
        place += size
        tiles.append(Tile(left, top, width, height, tuple(matrix), side, packed))
    return Record(frame, tuple(tiles), body[place:])


def seal_originals(
    header: Header, content_key: bytes, record: Record, originals: list[Pixels], name: str = ""
) -> Record:
    """Return `record` with a box that holds the originals of its tiles and the picture's name.

    Parameters
    ----------
    header : Header
    content_key : bytes
    record : Record
        Its box is replaced.
    originals : list of ndarray of uint8
        Original pixels (height, width, 3) of each tile; empty where only the name is kept.
    name : str
        Name of the picture's file.
    """
    packed = [pack_pixels(one) for one in originals]
    title = name.encode("utf-8", "surrogateescape")[:1024]
    lengths = [len(title), len(packed), *(len(one) for one in packed)]
    message = struct.pack(f">{len(lengths)}I", *lengths) + title + b"".join(packed)
    box = seal(
        content_key,
        frame_nonce(header.nonce, record.frame),
        pad(message),
        purpose=b"box",
        bound_to=header.identity + record.open_part(),
    )
    return Record(record.frame, record.tiles, box)


def open_originals(header: Header, content_key: bytes, record: Record) -> tuple[list[Pixels], str]:
    """Return the originals of the tiles of a record, none if they were not kept, and the name."""
    message = unpad(
        unseal(
            content_key,
            frame_nonce(header.nonce, record.frame),
            record.box,
            purpose=b"box",
            bound_to=header.identity + record.open_part(),
        )
    )
    try:
        title, count = struct.unpack_from(">2I", message)
        if count not in (0, len(record.tiles)):
            raise ValueError(f"{count} originals for {len(record.tiles)} faces")
        sizes = struct.unpack_from(f">{count}I", message, 8)
    except (struct.error, ValueError) as error:  # authenticated, hence a defect of the writer
        raise WrongKey(f"the box of the vault makes no sense: {error}") from error
    place = 8 + 4 * count
    name = message[place : place + title].decode("utf-8", "surrogateescape")
    place += title
    originals = []
    for tile, size in zip(record.tiles[:count], sizes, strict=True):
        originals.append(unpack_pixels(message[place : place + size], (tile.height, tile.width)))
        place += size
    return originals, name


def pack_pixels(pixels: Pixels) -> bytes:
    """Return pixels (H, W, 3) without loss, in fewer bytes."""
    steps = np.diff(pixels, axis=1, prepend=np.uint8(0))  # modulo 256; neighbours are alike
    return zlib.compress(np.ascontiguousarray(steps).tobytes(), _LEVEL)


def unpack_pixels(packed: bytes, shape: tuple[int, int]) -> Pixels:
    """Return pixels (H, W, 3) of `shape`, never unpacking more than they have."""
    wanted = shape[0] * shape[1] * 3
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(packed, wanted + 1)
    except zlib.error as error:
        raise DamagedVault(f"stored pixels are damaged ({error})") from error
    if len(raw) != wanted:
        raise DamagedVault(f"{len(raw)} bytes of pixels are stored, {wanted} expected")
    steps = np.frombuffer(raw, np.uint8).reshape(*shape, 3)
    return np.cumsum(steps, axis=1, dtype=np.uint8)
