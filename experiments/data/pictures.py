"""Decode photographs of unknown origin: an upright sRGB picture, or one sentence why not.

What a file is follows from its content, never from its name. Sizes are judged from the header,
before anything is unpacked. Colour profiles are not applied. Conversions:

- grey, palette, YCbCr and CMYK become R, G, B; what is transparent shows mid-grey;
- 16 bits become 8: grey by rounding v / 257, colour by the high byte (within one level);
- the orientation that the camera noted is applied, once.
"""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from experiments.data.errors import DataError

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "PPM")
_PILLOW_LIMIT = 178_000_000  # pixels; Pillow itself refuses more
_MID_GREY = (128, 128, 128, 255)
_SUFFIXES = {
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "PNG": {".png"},
    "BMP": {".bmp", ".dib"},
    "TIFF": {".tif", ".tiff"},
    "WEBP": {".webp"},
    "PPM": {".ppm", ".pgm", ".pbm", ".pnm"},
}
_FOREIGN = (  # what files that are no pictures of ours begin with
    (b"<!doctype html", "a web page (HTML)"),
    (b"<html", "a web page (HTML)"),
    (b"<?xml", "an XML text"),
    (b"<svg", "a vector drawing (SVG)"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the file itself with 'git lfs pull'"),
    (b"%pdf", "a PDF document"),
    (b"pk\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"gif8", "a GIF; save it as PNG"),
    (b"\x93numpy", "a NumPy array; save it as PNG"),
)
_ORIENTATION = 0x0112  # EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class BadPicture(DataError):
    """A picture that cannot be used.

    Attributes
    ----------
    file : str
        Which one.
    kind : str
        Short name of the trouble, to count by: "empty", "damaged", "no face" ...
    reason : str
        The trouble in one sentence.
    """

    def __init__(self, file: str, kind: str, reason: str) -> None:
        super().__init__(f"{file}: {reason}")
        self.file, self.kind, self.reason = file, kind, reason


@dataclass(frozen=True, slots=True)
class PictureLimits:
    """How large pictures may be.

    Attributes
    ----------
    max_bytes : int
        Largest file [bytes].
    max_pixels : int
        Largest picture, at most 178 million [px].
    min_side : int
        Shortest side [px].
    """

    max_bytes: int = 64 * 2**20
    max_pixels: int = 60_000_000
    min_side: int = 16

    def __post_init__(self) -> None:
        if not 1 <= self.max_pixels <= _PILLOW_LIMIT:
            raise ValueError(f"max_pixels = {self.max_pixels} px, expected 1 to {_PILLOW_LIMIT} px")
        if self.max_bytes < 1 or self.min_side < 1:
            raise ValueError(
                f"max_bytes = {self.max_bytes}, min_side = {self.min_side} px, expected at least 1"
            )


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
        sRGB values, upright.
    notes : tuple of str
        What had to be converted: "grey", "16 bit", "CMYK", "transparent", "turned upright",
        "other extension" ...
    """

    pixels: NDArray[np.uint8]
    notes: tuple[str, ...]


def read_picture_file(path: Path, name: str, limits: PictureLimits) -> bytes:
    """Return the bytes of a regular file that is not too large, or raise BadPicture."""
    try:
        status = path.stat()
        if not S_ISREG(status.st_mode):
            raise BadPicture(name, "not a file", "it is not a regular file")
        check_bytes(name, status.st_size, limits)
        with path.open("rb") as file:
            data = file.read(limits.max_bytes + 1)
    except FileNotFoundError as error:
        raise BadPicture(name, "missing", "there is no such file") from error
    except OSError as error:
        raise BadPicture(name, "unreadable", f"it cannot be read: {error.strerror}") from error
    check_bytes(name, len(data), limits)
    return data


def check_bytes(name: str, size: int, limits: PictureLimits) -> None:
    """Raise BadPicture if a file is empty or too large to be read [bytes]."""
    if size == 0:
        raise BadPicture(name, "empty", "the file is empty (0 bytes)")
    if size > limits.max_bytes:
        raise BadPicture(
            name,
            "large file",
            f"the file has {size / 2**20:.1f} MiB, at most {limits.max_bytes / 2**20:.0f} MiB "
            "are read (limits.max_bytes)",
        )


def decode_picture(data: bytes, name: str, limits: PictureLimits) -> Picture:
    """Decode a picture.

    Parameters
    ----------
    data : bytes
        Content of the file.
    name : str
        Name of the file, for messages and to compare its extension with the content.
    limits : PictureLimits
        How large it may be.

    Raises
    ------
    BadPicture
        It cannot be used; whatever the decoder meets ends here.
    """
    check_bytes(name, len(data), limits)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the decoder, about files that it then decodes
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                kind = _check_header(image, name, limits)
                image.load()
                pixels, notes = _to_rgb(image, name)
    except BadPicture:
        raise
    except UnidentifiedImageError as error:
        raise BadPicture(name, "not a picture", _what_instead(data)) from error
    except Image.DecompressionBombError as error:
        raise BadPicture(
            name, "huge", f"its header announces more than {_PILLOW_LIMIT} px"
        ) from error
    except MemoryError as error:
        raise BadPicture(name, "huge", "it does not fit into memory") from error
    except Exception as error:  # decoders raise a dozen classes on damaged files
        detail = " ".join(str(error).split()) or type(error).__name__
        raise BadPicture(name, "damaged", f"the file is damaged or cut short ({detail})") from error
    if Path(name).suffix.lower() not in _SUFFIXES[kind]:
        notes.append("other extension")
    return Picture(pixels, tuple(notes))


def _check_header(image: Image.Image, name: str, limits: PictureLimits) -> str:
    """Return the format, or refuse what the header announces."""
    width, height = image.size
    if width * height > limits.max_pixels:
        raise BadPicture(
            name,
            "huge",
            f"it has {width} x {height} px, more than the {limits.max_pixels} px allowed "
            "(limits.max_pixels)",
        )
    if min(width, height) < limits.min_side:
        raise BadPicture(
            name,
            "tiny",
            f"it has {width} x {height} px, at least {limits.min_side} px are needed on a side "
            "(limits.min_side)",
        )
    # a camera may add previews to a JPEG (then called MPO): the first frame is the photograph
    if image.format == "MPO":
        return "JPEG"
    if (frames := getattr(image, "n_frames", 1)) > 1:
        raise BadPicture(
            name, "animated", f"it has {frames} frames; save the one that is meant as a still"
        )
    return str(image.format)


def _to_rgb(image: Image.Image, name: str) -> tuple[NDArray[np.uint8], list[str]]:
    """Convert a loaded image to upright R, G, B."""
    notes = []
    mode = image.mode
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged notes about a sound picture
        turn = None
        notes.append("damaged EXIF")
    if mode.startswith("I;16") or (mode == "I" and image.format in {"PNG", "PPM"}):
        deep = np.asarray(image).astype(np.float64)
        image = Image.fromarray(np.rint(deep / 257).clip(0, 255).astype(np.uint8))
        notes += ["16 bit", "grey"]
    elif mode in {"I", "F"}:
        raise BadPicture(
            name,
            "32 bit",
            f"it holds 32-bit values (mode {mode}) whose white level is unknown; "
            "save it with 8 or 16 bits",
        )
    elif mode in {"1", "L", "LA", "La"}:
        notes.append("grey")
    elif mode in {"CMYK", "LAB", "HSV"}:
        notes.append(mode)
    if image.has_transparency_data:
        above = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, _MID_GREY), above)
        notes.append("transparent")
    image = image.convert("RGB")
    if turn is not None:
        image = image.transpose(turn)
        notes.append("turned upright")
    return np.asarray(image, dtype=np.uint8).copy(), notes


def _what_instead(data: bytes) -> str:
    """Say what a file that is no picture looks like."""
    head = data[:64].lstrip().lower()
    for start, what in _FOREIGN:
        if head.startswith(start):
            return f"it is not a picture but {what}"
    if data[4:8] == b"ftyp":
        return "it is a HEIC, AVIF or video file; save it as JPEG or PNG"
    if not any(data[:64]):
        return "it begins with zeros: the file was not written to the end"
    return f"it is not a picture in one of the formats {', '.join(FORMATS)}"
