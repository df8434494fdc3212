"""A controller of a mirror as `hardware.modulators.serial_mirror` tells it."""

import contextlib
import os
import time

from tests.hardware.devices import TerminalDevice


def crc16(data):
    """CRC-16 of polynomial 0x1021 and start 0xFFFF, bit by bit."""
    remainder = 0xFFFF
    for byte in data:
        remainder ^= byte << 8
        for _ in range(8):
            remainder = (remainder << 1 ^ (0x11021 if remainder & 0x8000 else 0)) & 0x1FFFF
    return remainder


class MirrorDevice(TerminalDevice):
    """Further faults. refuse: answer to the next SET. weak: an actuator that reaches half.

    lost: replies come with a wrong checksum.
    """

    STOPS = (b"!",)

    def __init__(self, actuators, steps=65535):
        self.actuators, self.steps = actuators, steps
        self.name, self.refuse, self.weak, self.lost = "mirror", "", None, False
        self.values = None  # at rest
        self.stopped = False
        self.sets = []  # all that was set
        self._line = b""
        super().__init__()

    def handle(self, data):
        for byte in data:
            if byte == ord("!"):
                self.values, self.stopped = None, True
                self._say("EVT stop")
            elif byte == ord("\n"):
                line, self._line = self._line, b""
                if line:
                    self._take(line)
            else:
                self._line += bytes([byte])

    def reset(self):
        with self._lock:
            self.values, self.stopped = None, False
            self._say("EVT boot")

    def send(self, data):
        if not self.slow or self.mute:
            super().send(data)
            return
        half = len(data) // 2
        with contextlib.suppress(OSError):
            os.write(self._master, data[:half])
            time.sleep(self.slow)
            os.write(self._master, data[half:])

    def _say(self, text):
        wrong = 1 if self.lost else 0
        self.send(b"%b*%04X\n" % (text.encode(), crc16(text.encode()) ^ wrong))

    def _take(self, line):
        body, star, check = line.rpartition(b"*")
        if not star or check != b"%04X" % crc16(body):
            self._say("ERR 0 1 checksum")
            return
        tag, command, *words = body.decode().split()
        if command == "ID?":
            self._say(
                f"OK {tag} name={self.name} protocol=1 actuators={self.actuators} "
                f"steps={self.steps}"
            )
        elif command == "REST":
            self.values = None
            self._say(f"OK {tag} rest")
        elif command == "CLR":
            self.stopped = False
            self._say(f"OK {tag} clear")
        elif self.refuse or self.stopped or len(words) != self.actuators:
            refusal, self.refuse = self.refuse, ""
            self._say(f"ERR {tag} {refusal or ('6 stopped' if self.stopped else '3 count')}")
        else:
            self.values = [int(word) for word in words]
            if self.weak is not None:
                self.values[self.weak] //= 2
            self.sets.append(self.values)
            self._say(f"OK {tag} {' '.join(map(str, self.values))}")
