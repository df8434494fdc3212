"""Messages of Thorlabs' APT protocol: little-endian, six bytes of header, sometimes data.

A short message holds two parameters in its header; a long one, told by 0x80 in the destination,
holds the length of its data there.
"""

import struct
from dataclasses import dataclass

HOST = 0x01
#: Where answers come from: a motherboard, a USB controller, the bays of a rack.
SOURCES = frozenset({0x11, 0x50, *range(0x21, 0x2B)})

STOP_UPDATES, NO_FLASH = 0x0012, 0x0018
REQUEST_INFO, INFO = 0x0005, 0x0006
ERROR, RICH_ERROR = 0x0080, 0x0081
ENABLE = 0x0210
SET_VELOCITY, REQUEST_VELOCITY, VELOCITY = 0x0413, 0x0414, 0x0415
HOME, HOMED = 0x0443, 0x0444
MOVE, MOVED = 0x0453, 0x0464
STOP, STOPPED = 0x0465, 0x0466
REQUEST_STATUS, STATUS = 0x0480, 0x0481
REQUEST_DC_STATUS, DC_STATUS, ACK_DC_STATUS = 0x0490, 0x0491, 0x0492
#: Second parameter of `STOP`.
AT_ONCE, PROFILED = 1, 2

#: Longest data of the messages used here; more is no message.
LONGEST = 255
_HEADER = struct.Struct("<HBBBB")
_MOTION = struct.Struct("<Hi4xI")

#: Names of the status bits.
BITS = {
    "forward limit": 0x1,
    "reverse limit": 0x2,
    "moving forward": 0x10,
    "moving back": 0x20,
    "jogging forward": 0x40,
    "jogging back": 0x80,
    "connected": 0x100,
    "homing": 0x200,
    "homed": 0x400,
    "initializing": 0x800,
    "tracking": 0x1000,
    "settled": 0x2000,
    "position error": 0x4000,
    "instruction error": 0x8000,
    "interlock open": 0x1_0000,
    "too hot": 0x2_0000,
    "bus voltage": 0x4_0000,
    "commutation error": 0x8_0000,
    "overload": 0x100_0000,
    "encoder fault": 0x200_0000,
    "overcurrent": 0x400_0000,
    "bus current": 0x800_0000,
    "error": 0x4000_0000,
    "enabled": 0x8000_0000,
}
MOVING = frozenset({"moving forward", "moving back", "jogging forward", "jogging back", "homing"})
FAULTS = frozenset(
    {
        "position error",
        "instruction error",
        "interlock open",
        "too hot",
        "bus voltage",
        "commutation error",
        "overload",
        "encoder fault",
        "overcurrent",
        "bus current",
        "error",
    }
)


@dataclass(frozen=True)
class Message:
    """One message to the host.

    Attributes
    ----------
    kind : int
        Which message.
    source : int
        Who sent it.
    data : bytes
        Data of a long message, or the two parameters of a short one.
    """

    kind: int
    source: int
    data: bytes


def short(kind: int, destination: int, first: int = 0, second: int = 0) -> bytes:
    """Return a message without data."""
    return _HEADER.pack(kind, first, second, destination, HOST)


def long(kind: int, destination: int, data: bytes) -> bytes:
    """Return a message with data."""
    return struct.pack("<HHBB", kind, len(data), destination | 0x80, HOST) + data


def take(buffer: bytearray) -> bytes | None:
    """Remove one message to the host from a buffer and return it, or None if none is complete.

    Bytes in front that cannot begin one are dropped, so that it finds back after garbage.
    """
    while len(buffer) >= _HEADER.size:
        kind, length, high, destination, source = _HEADER.unpack_from(buffer)
        has_data = bool(destination & 0x80)
        length = length | high << 8 if has_data else 0
        if destination & 0x7F != HOST or source not in SOURCES or kind > 0x0FFF or length > LONGEST:
            del buffer[0]
            continue
        whole = _HEADER.size + length
        if len(buffer) < whole:
            return None
        message = bytes(buffer[:whole])
        del buffer[:whole]
        return message
    return None


def parse(message: bytes) -> Message:
    """Return the parts of a message that `take` found."""
    kind, _, _, destination, source = _HEADER.unpack_from(message)
    return Message(kind, source, message[6:] if destination & 0x80 else message[2:4])


def parse_motion(data: bytes) -> tuple[int, frozenset[str]]:
    """Return position [counts] and names of the status bits in the data of a status message."""
    _, position, bits = _MOTION.unpack_from(data)
    return position, frozenset(name for name, bit in BITS.items() if bits & bit)
