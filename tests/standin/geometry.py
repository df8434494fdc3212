"""Sizes, rectangles, flips, colour spaces and pixel formats as libcamera's bindings have them.

picamera2 assigns ``__repr__ = __str__`` and its own ``__eq__`` to `Transform` and `ColorSpace`,
so both define ``__str__`` here and neither defines ``__repr__`` or ``__eq__``.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum


@dataclass(frozen=True)
class Size:
    """Width and height [px]."""

    width: int = 0
    height: int = 0

    def __str__(self):
        return f"{self.width}x{self.height}"


@dataclass(frozen=True)
class Rectangle:
    """Window of the pixel array [px]."""

    x: int = 0
    y: int = 0
    width: int = 0
    height: int = 0

    def __str__(self):
        return f"({self.x}, {self.y})/{self.width}x{self.height}"


@dataclass(frozen=True)
class PixelFormat:
    """Pixel format, known by its name alone."""

    name: str = ""

    def __str__(self):
        return self.name


class Transform:
    """Flips of the picture, as asked for by the application."""

    def __init__(self, other=None, *, hflip=0, vflip=0, transpose=0):
        source = other if isinstance(other, Transform) else None
        self.hflip = bool(source.hflip if source else hflip)
        self.vflip = bool(source.vflip if source else vflip)
        self.transpose = bool(source.transpose if source else transpose)

    def __str__(self):
        names = [n for n in ("hflip", "vflip", "transpose") if getattr(self, n)]
        return ",".join(names) or "identity"


class Orientation(IntEnum):
    """The eight orientations, with libcamera's numbers."""

    Rotate0 = 1
    Rotate0Mirror = 2
    Rotate180 = 3
    Rotate180Mirror = 4
    Rotate90Mirror = 5
    Rotate270 = 6
    Rotate270Mirror = 7
    Rotate90 = 8


# orientation -> (hflip, vflip); the other four need a transposition, which no sensor can do
FLIPS = {
    Orientation.Rotate0: (False, False),
    Orientation.Rotate0Mirror: (True, False),
    Orientation.Rotate180: (True, True),
    Orientation.Rotate180Mirror: (False, True),
}


def flipped_cfa(cfa: str, hflip: bool, vflip: bool) -> str:
    """Return the colour filter order of the top-left 2 x 2 block after the flips."""
    if hflip:
        cfa = cfa[1::-1] + cfa[:1:-1]
    return cfa[2:] + cfa[:2] if vflip else cfa


class Primaries(Enum):
    Raw = 0
    Smpte170m = 1
    Rec709 = 2
    Rec2020 = 3


class TransferFunction(Enum):
    Linear = 0
    Srgb = 1
    Rec709 = 2


class YcbcrEncoding(Enum):
    Null = 0
    Rec601 = 1
    Rec709 = 2
    Rec2020 = 3


class Range(Enum):
    Full = 0
    Limited = 1


class ColorSpace:
    """Colour space; it takes part in the negotiation and has no effect on the pixels."""

    Primaries = Primaries
    TransferFunction = TransferFunction
    YcbcrEncoding = YcbcrEncoding
    Range = Range

    def __init__(self, primaries, transfer=None, encoding=None, range_=None):
        if isinstance(primaries, ColorSpace):
            source = primaries
            primaries, transfer = source.primaries, source.transferFunction
            encoding, range_ = source.ycbcrEncoding, source.range
        self.primaries = primaries
        self.transferFunction = transfer
        self.ycbcrEncoding = encoding
        self.range = range_

    def __str__(self):
        parts = (self.primaries, self.transferFunction, self.ycbcrEncoding, self.range)
        return "/".join(part.name for part in parts)

    @classmethod
    def Raw(cls):
        return cls(Primaries.Raw, TransferFunction.Linear, YcbcrEncoding.Null, Range.Full)

    @classmethod
    def Sycc(cls):
        return cls(Primaries.Rec709, TransferFunction.Srgb, YcbcrEncoding.Rec601, Range.Full)

    @classmethod
    def Smpte170m(cls):
        return cls(
            Primaries.Smpte170m, TransferFunction.Rec709, YcbcrEncoding.Rec601, Range.Limited
        )

    @classmethod
    def Rec709(cls):
        return cls(Primaries.Rec709, TransferFunction.Rec709, YcbcrEncoding.Rec709, Range.Limited)
