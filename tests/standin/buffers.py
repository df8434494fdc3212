"""Frame buffers and requests: what travels between the application and the camera."""

import os
from dataclasses import dataclass, field
from enum import Enum

from tests.standin.controls import checked


class SharedFd:
    """A duplicate of a file descriptor, closed when its last user is gone (as libcamera's)."""

    def __init__(self, fd):
        self.number = os.dup(fd)

    def __del__(self):
        os.close(self.number)


class FrameMetadata:
    """What the capture of one buffer says about it."""

    class Status(Enum):
        Success = 0
        Error = 1
        Cancelled = 2
        Startup = 3

    @dataclass
    class Plane:
        bytes_used: int = 0

    def __init__(self, lengths):
        self.status = FrameMetadata.Status.Success
        self.sequence = 0
        self.timestamp = 0
        self.planes = [FrameMetadata.Plane(length) for length in lengths]


class FrameBuffer:
    """Memory of one frame of one stream."""

    class Plane:
        """File descriptor, offset and length [bytes] of one plane."""

        def __init__(self):
            self._shared = None
            self.offset = 0
            self.length = 0

        @property
        def fd(self):
            return self._shared.number if self._shared else -1

        @fd.setter
        def fd(self, number):
            self._shared = SharedFd(number)

    def __init__(self, planes, cookie=0):
        self.planes = list(planes)
        self.cookie = cookie
        self.metadata = FrameMetadata([plane.length for plane in self.planes])

    def fill(self, data):
        """Write `data` (uint8 array) from the start of the first plane."""
        plane = self.planes[0]
        payload = memoryview(data).cast("B")
        if len(payload) > plane.length:
            raise ValueError(f"a frame of {len(payload)} bytes for a buffer of {plane.length}")
        done = 0
        while done < len(payload):
            done += os.pwrite(plane.fd, payload[done:], plane.offset + done)


@dataclass(eq=False)
class Request:
    """One frame that the application wants, with controls; later, what it got."""

    class Status(Enum):
        Pending = 0
        Complete = 1
        Cancelled = 2

    cookie: int
    buffers: dict = field(default_factory=dict)
    controls: dict = field(default_factory=dict)
    metadata: dict = field(default_factory=dict)
    status: Status = Status.Pending

    def add_buffer(self, stream, buffer):
        if stream in self.buffers:
            raise RuntimeError("Failed to add buffer: File exists")
        self.buffers[stream] = buffer

    def set_control(self, identity, value):
        self.controls[identity] = checked(identity, value)

    def reuse(self):
        self.status = Request.Status.Pending
        self.controls = {}
        self.metadata = {}
