"""A controller as Thorlabs' KDC101: one encoder stage behind APT messages."""

import struct
import time

from tests.hardware.devices.terminal import HOMING, Motor, TerminalDevice

COUNTS = 34_554.96e3  # per metre
VELOCITY = 772_981.3692e3  # units per m/s


class AptDevice(TerminalDevice):
    STOPS = (b"\x65\x04",)

    def __init__(self):
        self.motor = Motor(100_000)  # counts
        self.homing = self.homed = False
        self.faults = 0
        self.velocity = 0
        self.refuse = False  # the next move is answered by an error message
        self.chatter = False  # sends messages that nobody asked for
        self.enabled = False
        self.unread = 0  # bytes that began no message
        self._bytes = b""
        self._talked = 0.0
        super().__init__()

    def handle(self, data):
        self._bytes += data
        while len(self._bytes) >= 6:
            kind, length, destination, _ = struct.unpack("<HHBB", self._bytes[:6])
            if destination & 0x7F != 0x50:
                self.unread += 1
                self._bytes = self._bytes[1:]
                continue
            size = 6 + (length if destination & 0x80 else 0)
            if len(self._bytes) < size:
                return
            message, self._bytes = self._bytes[:size], self._bytes[size:]
            self._execute(kind, message[6:] or message[2:4])

    def tick(self):
        if self.homing and not self.motor.moving:
            self.homing, self.homed = False, True
            self.motor.set(0)
            self.short(0x0444)
        if self.chatter and time.monotonic() - self._talked > 0.01:
            self._talked = time.monotonic()
            self._status()
            self.short(0x0464)

    def alarm(self, bit):
        self.motor.stop()
        self.faults |= bit

    def brown_out(self):
        self.motor.set(0)
        self.homed = self.homing = self.enabled = False

    def short(self, kind, first=1, second=0):
        self.send(struct.pack("<HBBBB", kind, first, second, 0x01, 0x50))

    def long(self, kind, data):
        self.send(struct.pack("<HHBB", kind, len(data), 0x81, 0x50) + data)

    def _status(self):
        bits = self.faults | self.homed << 10 | self.homing << 9 | self.enabled << 31
        bits |= (self.motor.moving and not self.homing) << 4
        position = round(self.motor.position)
        self.long(0x0491, struct.pack("<HiHHI", 1, position, 0, 0, bits))

    def _execute(self, kind, data):
        if kind == 0x0490:
            self._status()
        elif kind == 0x0210:
            self.enabled = data[1] == 1
        elif kind == 0x0414:
            self.long(0x0415, struct.pack("<Hiii", 1, 0, 1000, self.velocity))
        elif kind == 0x0413:
            self.velocity = struct.unpack("<Hiii", data)[3]
        elif kind == 0x0443:
            self.homed, self.homing = False, True
            self.motor.go(0, HOMING)
        elif kind == 0x0465:
            self.motor.stop()
            self.homing = False
            self.short(0x0466)
        elif kind == 0x0453:
            if self.refuse:
                self.refuse = False
                self.long(0x0081, struct.pack("<HH64s", 0x0453, 12, b"out of range"))
            elif self.enabled:
                target = struct.unpack("<Hi", data)[1]
                speed = self.velocity / VELOCITY * COUNTS
                self.motor.go(target, abs(target - self.motor.position) / speed)
