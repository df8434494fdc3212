"""A controller as Newport's SMC100 with one stage at address 1."""

import threading

from tests.hardware.devices.terminal import HOMING, Motor, TerminalDevice

NOT_REFERENCED, HOMING_STATE, MOVING, READY, DISABLE = "0A", "1E", "28", "33", "3C"


class NewportDevice(TerminalDevice):
    STOPS = (b"ST\r\n",)

    def __init__(self):
        self.motor = Motor(3.0)  # mm
        self.state, self.faults, self.error = NOT_REFERENCED, 0, "@"
        self.limits, self.speed = (0.0, 25.0), 20.0
        self.refuse = ""  # error letter for the next PA
        self._line = b""
        super().__init__()

    @property
    def homing(self):
        return self.state == HOMING_STATE

    def handle(self, data):
        self._line += data
        *lines, self._line = self._line.split(b"\r\n")
        for line in lines:
            text = line.decode(errors="replace")
            if text == "ST":
                self._stop()
            elif text.startswith("1"):
                self._execute(text[1:3], text[3:])

    def tick(self):
        if self.state == MOVING and not self.motor.moving:
            self.state = READY
        if self.state == HOMING_STATE and not self.motor.moving:
            self.motor.set(0.0)
            self.state = READY

    def alarm(self, fault):
        self._stop()
        self.state, self.faults = DISABLE, fault

    def brown_out(self):
        self.motor.set(0.0)
        self.state, self.faults, self.error = NOT_REFERENCED, 0, "@"

    def _stop(self):
        self.motor.stop()
        if self.state == HOMING_STATE:
            self.state = NOT_REFERENCED

    def _execute(self, command, rest):
        if command == "TS":
            self.say(f"1TS{self.faults:04X}{self.state}")
        elif command == "TP":
            self.say(f"1TP{self.motor.position:.6f}")
        elif command == "TE":
            self.say(f"1TE{self.error}")
            self.error = "@"
        elif command == "TB":
            self.say(f"1TB{rest} Command not allowed")
        elif command in ("SL", "SR"):
            self.say(f"1{command}{self.limits[command == 'SR']:g}")
        elif command == "VA":
            if self.state == READY:
                self.speed = float(rest)
            else:
                self.error = "H"
        elif command == "OR":
            if self.state != NOT_REFERENCED:
                self.error = "K"
                return
            self.state = HOMING_STATE
            self.motor.go(0.0, HOMING)
        elif command == "RS":
            self.mute, self.state, self.faults = True, NOT_REFERENCED, 0
            threading.Timer(0.1, setattr, (self, "mute", False)).start()
        elif command == "PA":
            if self.refuse:
                self.error, self.refuse = self.refuse, ""
            elif self.state != READY:
                self.error = "H"
            elif not self.limits[0] <= float(rest) <= self.limits[1]:
                self.error = "C"
            else:
                self.state = MOVING
                self.motor.go(float(rest), abs(float(rest) - self.motor.position) / self.speed)
        else:
            self.error = "A"
