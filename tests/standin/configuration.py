"""The negotiation of streams: what is asked for, and what a camera grants."""

from dataclasses import dataclass, field
from enum import Enum

from tests.standin import main_stream
from tests.standin.geometry import FLIPS, ColorSpace, Orientation, PixelFormat, Size, flipped_cfa
from tests.standin.pipelines import raw_row_bytes

#: Of a processed stream, unless another of its formats is asked for.
DEFAULT_FORMAT = "XBGR8888"


class StreamRole(Enum):
    Raw = 0
    StillCapture = 1
    VideoRecording = 2
    Viewfinder = 3


@dataclass
class SensorConfiguration:
    """The sensor mode asked for."""

    bit_depth: int = 0
    output_size: Size = field(default_factory=Size)


class StreamFormats:
    """Formats and sizes that a role offers."""

    def __init__(self, sizes):
        self._sizes = sizes

    @property
    def pixel_formats(self):
        return list(self._sizes)

    def sizes(self, pixel_format):
        return self._sizes[pixel_format]


class Stream:
    """Identity of a configured stream."""

    def __init__(self, configuration):
        self.configuration = configuration


class StreamConfiguration:
    """Format, size and buffers of one stream."""

    def __init__(self, formats, pixel_format, size):
        self.formats = formats
        self.pixel_format = pixel_format
        self.size = size
        self.stride = 0
        self.frame_size = 0
        self.buffer_count = 4
        self.color_space = ColorSpace.Sycc()
        self.stream = None

    @property
    def is_raw(self):
        return self.formats is not None


class CameraConfiguration:
    """Streams of one camera, with the orientation and sensor mode they share."""

    class Status(Enum):
        Valid = 0
        Adjusted = 1
        Invalid = 2

    def __init__(self, board, streams):
        self._board = board
        self._streams = streams
        self.orientation = Orientation.Rotate0
        self.sensor_config = None

    def __iter__(self):
        return iter(self._streams)

    def __len__(self):
        return len(self._streams)

    @property
    def size(self):
        return len(self)

    def at(self, index):
        return self._streams[index]

    @property
    def mode(self):
        """Sensor mode of the sensor configuration; the largest one where none was asked for."""
        modes = self._board.sensor.modes
        wanted = self.sensor_config
        if wanted is None:
            return max(modes, key=lambda mode: mode.size[0] * mode.size[1])
        size = (wanted.output_size.width, wanted.output_size.height)
        found = [m for m in modes if m.size == size and m.bits == wanted.bit_depth]
        return found[0] if found else None

    @property
    def flips(self):
        """Whether the sensor is read mirrored along x and along y.

        A board mounted upside down is turned by its driver, so that "no flip" is upright.
        """
        turned = self._board.rotation == 180
        return tuple(flip != turned for flip in FLIPS[self.orientation])

    @property
    def cfa(self):
        """Colour filter order as read out; "" for a monochrome sensor."""
        return flipped_cfa(self._board.sensor.cfa, *self.flips)

    def validate(self):
        """Change what cannot be had to what can, and tell whether that was necessary."""
        adjusted = False
        if self.orientation not in FLIPS:
            self.orientation, adjusted = Orientation.Rotate0, True
        mode, pipeline = self.mode, self._board.pipeline
        if mode is None:
            return CameraConfiguration.Status.Invalid
        for stream in self._streams:
            asked = (str(stream.pixel_format), stream.size)
            if stream.is_raw:
                name, size = pipeline.granted(asked[0], self.cfa, mode.bits), Size(*mode.size)
                row = raw_row_bytes(name, size.width)
            else:
                name, size = asked
                name = name if name in main_stream.FORMATS else DEFAULT_FORMAT
                row = main_stream.row_bytes(name, size.width)
            stream.pixel_format, stream.size = PixelFormat(name), size
            planar = 2 if name == "YUV420" else 1  # its chroma rows, half as long, are aligned too
            stream.stride = pipeline.stride(row // planar) * planar
            stream.frame_size = (
                stream.stride * size.height
                if stream.is_raw
                else main_stream.frame_bytes(name, stream.stride, size.height)
            )
            adjusted = adjusted or asked != (name, size)
        status = CameraConfiguration.Status
        return status.Adjusted if adjusted else status.Valid


def generate(board, roles):
    """Return a configuration with one stream for each of `roles`, to be changed and validated."""
    sensor, streams = board.sensor, []
    for role in roles:
        if role is StreamRole.Raw:
            sizes: dict[PixelFormat, list[Size]] = {}
            letters = f"S{sensor.cfa}" if sensor.cfa else "R"
            for mode in sensor.modes:
                name = PixelFormat(f"{letters}{mode.bits}_CSI2P")
                sizes.setdefault(name, []).append(Size(*mode.size))
            formats = StreamFormats(sizes)
            streams.append(StreamConfiguration(formats, name, Size(*sensor.size)))
        else:
            streams.append(StreamConfiguration(None, PixelFormat(DEFAULT_FORMAT), Size(640, 480)))
    return CameraConfiguration(board, streams)
