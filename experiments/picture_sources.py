"""What people want protected: a picture, a folder of them, or clips, read and written as pixels.

Pixels alone pass through: comments, places, names, previews, sound and whatever else a file may
carry are never looked at, so that they cannot be copied.
"""

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray
from PIL import Image

from experiments.data.errors import DataError
from experiments.data.pictures import BadPicture, PictureLimits, decode_picture, read_picture_file

Pixels = NDArray[np.uint8]

CLIPS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"})
"""Extensions of the files that are read as clips."""

_TICKS = 1000  # per second, the clock of the clips that are written


def list_source(source: str | Path) -> list[Path]:
    """Return the files to protect, in the order of their names; DataError if there are none."""
    place = Path(source)
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise DataError(f"source = {place}: there is no such file or folder")
    found = sorted(
        path
        for path in place.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.parts[-2:])
    )
    if not found:
        raise DataError(f"source = {place}: the folder holds no files")
    return found


def is_clip(path: Path) -> bool:
    """Return whether a file is read as a clip."""
    return path.suffix.lower() in CLIPS


def read_picture(path: Path, limits: PictureLimits) -> Pixels:
    """Return an upright sRGB picture (H, W, 3); BadPicture says why not."""
    return decode_picture(read_picture_file(path, path.name, limits), path.name, limits).pixels


def png_bytes(pixels: Pixels) -> bytes:
    """Return pixels as a PNG file that holds nothing else."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


class ClipReader:
    """The frames of a clip, one after another; nothing more is kept in memory.

    Parameters
    ----------
    path : Path
        A file that FFmpeg reads.
    limits : PictureLimits
        How large its frames may be.

    Raises
    ------
    BadPicture
        If it is no clip, or its frames are too large.
    """

    def __init__(self, path: Path, limits: PictureLimits) -> None:
        self._path = path
        try:
            self._container = av.open(str(path))
            self._stream = self._container.streams.video[0]
        except (FFmpegError, IndexError, OSError) as error:
            raise BadPicture(path.name, "not a clip", "FFmpeg finds no pictures in it") from error
        width, height = self._stream.codec_context.width, self._stream.codec_context.height
        if not 0 < width * height <= limits.max_pixels:
            self.close()
            raise BadPicture(
                path.name,
                "huge",
                f"its frames have {width} x {height} px, 1 to {limits.max_pixels} px are read "
                f"(limits.max_pixels)",
            )
        self.frames_announced = int(self._stream.frames)

    def __iter__(self) -> Iterator[tuple[float, Pixels]]:
        """Yield the time since the first frame [s] and the upright frame (H, W, 3)."""
        start: float | None = None
        shape: tuple[int, ...] | None = None
        try:
            for frame in self._container.decode(self._stream):
                turns = round(float(getattr(frame, "rotation", 0)) / 90) % 4
                pixels = np.rot90(frame.to_ndarray(format="rgb24"), turns)
                shape = shape or pixels.shape
                if pixels.shape != shape:
                    raise BadPicture(
                        self._path.name, "changing", "its frames change their size; convert it"
                    )
                now = float(frame.time or 0.0)
                start = now if start is None else start
                yield now - start, np.ascontiguousarray(pixels)
        except FFmpegError as error:
            raise BadPicture(
                self._path.name, "damaged", f"it is damaged or cut short ({error.strerror})"
            ) from error

    def close(self) -> None:
        """Release the file; safe to call twice."""
        self._container.close()

    def __enter__(self) -> "ClipReader":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class _Writer:
    """Writes frames without sound; a stream's sides are whole multiples of `multiple` px."""

    def __init__(
        self,
        file: BinaryIO,
        shape: tuple[int, int],
        *,
        container: str,
        codec: str,
        pixels: str,
        multiple: int = 1,
        options: dict[str, str] | None = None,
    ) -> None:
        self._pad = [(0, -n % multiple) for n in shape] + [(0, 0)]
        self._container = av.open(file, "w", format=container)
        stream = self._container.add_stream(codec, rate=_TICKS, options=options or {})
        if not isinstance(stream, av.VideoStream):
            raise TypeError(f"codec = {codec!r} is none of pictures")
        stream.height, stream.width = (n + -n % multiple for n in shape)
        stream.pix_fmt = pixels
        stream.codec_context.time_base = Fraction(1, _TICKS)
        self._stream, self._last = stream, -1

    def add(self, time: float, pixels: Pixels) -> None:
        """Append a frame (H, W, 3) that is shown `time` after the first [s]."""
        frame = av.VideoFrame.from_ndarray(np.pad(pixels, self._pad, "edge"), format="rgb24")
        self._last = max(self._last + 1, round(time * _TICKS))
        frame.pts, frame.time_base = self._last, Fraction(1, _TICKS)
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def close(self) -> None:
        """Write what is left; the file stays open."""
        for packet in self._stream.encode():
            self._container.mux(packet)
        self._container.close()


class ClipWriter(_Writer):
    """Writes a clip of exactly the given pixels: FFV1 in Matroska, without sound.

    Parameters
    ----------
    file : binary file
        Open for writing.
    shape : tuple of int
        Rows and columns of the frames [px].
    """

    def __init__(self, file: BinaryIO, shape: tuple[int, int]) -> None:
        # R, G, B as they are: no conversion, hence no loss
        super().__init__(file, shape, container="matroska", codec="ffv1", pixels="bgr0")


class Mp4Writer(_Writer):
    """Writes a clip for everyday players: H.264 in MP4, without sound.

    Parameters
    ----------
    file : binary file
        Open for writing.
    shape : tuple of int
        Rows and columns of the frames [px]; an odd last one is shown twice, as the format needs.
    """

    def __init__(self, file: BinaryIO, shape: tuple[int, int]) -> None:
        settings = {"container": "mp4", "codec": "libx264", "pixels": "yuv420p"}
        super().__init__(file, shape, **settings, multiple=2, options={"crf": "18"})
