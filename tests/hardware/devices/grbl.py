"""A controller as GRBL 1.1: jogs, homing, alarms, resets."""

import re

from tests.hardware.devices.terminal import HOMING, Motor, TerminalDevice

LETTERS = "XYZ"


class GrblDevice(TerminalDevice):
    STOPS = (b"\x18",)
    WORK = False  # reports work coordinates instead
    BANNER = "Grbl 1.1h ['$' for help]"

    def __init__(self):
        self.motors = [Motor(-3.0) for _ in LETTERS]  # mm
        self.settings = {10: 1, 13: 0, 20: 1, 22: 1, 24: 600, 25: 6000, 27: 0.5}
        self.settings |= {110 + i: 6000 for i in range(3)} | {130 + i: 200 for i in range(3)}
        self.offset = (1.5, -2.0, 0.25)
        self.state, self.critical, self.homing = "Alarm", False, False
        self.finds_switch = True
        self.overrun = False  # a line came while the one before was not answered
        self.pushed = ""  # said before the next ok
        self.refuse = ""  # answer to the next jog
        self._line = b""
        self._reports = 0
        super().__init__()

    @property
    def moving(self):
        return any(motor.moving for motor in self.motors)

    def handle(self, data):
        for byte in data:
            if byte == 0x18:
                self.reset()
            elif byte == ord("?"):
                self._report()
            elif byte == ord("!"):
                pass  # every hold that these tests see is followed by a reset
            elif byte == 0x85:
                if self.state == "Jog":
                    self._stop()
                    self.state = "Idle"
            elif byte == ord("\n"):
                line, self._line = self._line.decode().strip(), b""
                self.overrun = self.overrun or self.homing
                if line and not self.critical:
                    self._execute(line)
            else:
                self._line += bytes([byte])

    def tick(self):
        if self.moving:
            return
        if self.homing:
            self.homing = False
            if not self.finds_switch:
                self.alarm(9)
                return
            self.state = "Idle"
            for motor in self.motors:
                motor.set(-0.5)
            self.say("ok")
        elif self.state == "Jog":
            self.state = "Idle"

    def alarm(self, code):
        """Stop as at a limit switch, steps lost."""
        self._stop()
        self.state, self.critical, self.homing = "Alarm", code in (1, 2), False
        self.say(f"ALARM:{code}")

    def reset(self):
        was_moving = self.moving
        self._stop()
        if was_moving:
            for motor in self.motors:
                motor.set(motor.position + 0.05)  # steps were lost
        self._line, self.critical = b"", False
        if was_moving:
            self.say("ALARM:6" if self.homing else "ALARM:3")
            self.state = "Alarm"
        elif self.state != "Alarm":
            self.state = "Idle"
        self.homing = False
        self.say("")
        self.say(self.BANNER)
        if self.state == "Alarm":
            self.say("[MSG:'$H'|'$X' to unlock]")

    def brown_out(self):
        """Lose power for a moment."""
        for motor in self.motors:
            motor.set(0.0)
        self.state, self.critical, self.homing, self._line = "Alarm", False, False, b""
        self.say(self.BANNER)
        self.say("[MSG:'$H'|'$X' to unlock]")

    def _stop(self):
        for motor in self.motors:
            motor.stop()

    def _report(self):
        if self.homing:
            return
        self._reports += 1
        machine = [motor.position for motor in self.motors]
        shown = [m - o for m, o in zip(machine, self.offset, strict=True)]
        where = "WPos:" + _numbers(shown) if self.WORK else "MPos:" + _numbers(machine)
        offset = f"|WCO:{_numbers(self.offset)}" if self._reports % 10 == 0 else "|Ov:100,100,100"
        self.say(f"<{self.state}|{where}|Bf:15,128|FS:0,0{offset}>")

    def _execute(self, line):
        if self.pushed:
            self.say(self.pushed)
            self.pushed = ""
        if line == "$$":
            for number, value in self.settings.items():
                self.say(f"${number}={value}")
            self.say("ok")
        elif line == "$X":
            if self.state == "Alarm":
                self.say("[MSG:Caution: Unlocked]")
                self.state = "Idle"
            self.say("ok")
        elif line == "$H":
            self.homing, self.state = True, "Home"
            for motor in self.motors:
                motor.go(0.0, HOMING)
        elif self.state == "Alarm":
            self.say("error:9")
        elif line.startswith("$J="):
            self._jog(line[3:])
        else:
            self.say("error:20")

    def _jog(self, words):
        found = dict(re.findall(r"([XYZF])(-?\d+(?:\.\d*)?)", words))
        if self.refuse:
            self.say(self.refuse)
            self.refuse = ""
            return
        if not words.startswith("G53G21G90") or "F" not in found:
            self.say("error:16")
            return
        targets = {LETTERS.index(k): float(v) for k, v in found.items() if k != "F"}
        if not all(-self.settings[130 + i] <= v <= 0 for i, v in targets.items()):
            self.say("error:15")
            return
        way = sum((v - self.motors[i].position) ** 2 for i, v in targets.items()) ** 0.5
        for i, value in targets.items():
            self.motors[i].go(value, way / (float(found["F"]) / 60))
        self.state = "Jog"
        self.say("ok")


def _numbers(values):
    return ",".join(f"{value:.3f}" for value in values)
