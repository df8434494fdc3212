"""The point source's controller as its README tells it, without a firmware."""

from tests.hardware.devices.terminal import HOMING, Motor, TerminalDevice


def _crc8(data):
    remainder = 0
    for byte in data:
        remainder ^= byte
        for _ in range(8):
            remainder = (remainder << 1 ^ (0x107 if remainder & 0x80 else 0)) & 0x1FF
    return remainder


class PointSourceDevice(TerminalDevice):
    STOPS = (b"!",)

    def __init__(self):
        self.motor = Motor(500)  # steps
        self.boots = 3
        self.name = "point-source"
        self.refuse = ""  # answer to the next MOVE
        self._line = b""
        self._defaults()
        super().__init__()

    def _defaults(self):
        self.state, self.alarm_reason, self.homed = "idle", "none", False
        self.led, self.ledtime, self.alive = 0, 600_000, 0
        self.limits, self.speed = (0, 20_000), (1000, 4000)

    @property
    def homing(self):
        return self.state == "homing"

    def handle(self, data):
        for byte in data:
            if byte == ord("!"):
                self._line = b""
                self.alarm("estop")
            elif byte == ord("\n"):
                line, self._line = self._line, b""
                if line:
                    self._take(line)
            else:
                self._line += bytes([byte])

    def tick(self):
        if self.state in ("moving", "homing") and not self.motor.moving:
            if self.state == "homing":
                self.homed = True
                self.motor.set(0)
                self._say("EVT homed pos=0")
            else:
                self._say(f"EVT done pos={round(self.motor.position)}")
            self.state = "idle"

    def alarm(self, reason):
        if self.motor.moving:
            self.homed = False
        self.motor.stop()
        self.led = 0
        self.state, self.alarm_reason = "alarm", reason
        self._say(f"EVT alarm reason={reason} pos=0 homed={int(self.homed)}")

    def brown_out(self):
        self.motor.set(0)
        self.boots += 1
        self._defaults()
        self._say(f"EVT boot reset=brownout boot={self.boots}")

    def _say(self, text):
        self.send(b"%b*%02X\n" % (text.encode(), _crc8(text.encode())))

    def _take(self, line):
        body, star, check = line.rpartition(b"*")
        if not star or check != b"%02X" % _crc8(body):
            self._say("ERR 0 1 checksum")
            return
        tag, command, *numbers = body.decode().split()
        answer = self._execute(command, [int(n) for n in numbers])
        kind = "ERR" if answer[0].isdigit() else "OK"
        self._say(f"{kind} {tag} {answer}")

    def _execute(self, command, numbers):
        if self.alarm_reason != "none" and command in ("MOVE", "HOME"):
            return "6 alarm"
        if command == "ID?":
            return (
                f"name={self.name} protocol=1 axes=1 range=0,1000000 jog=200 boot={self.boots} "
                "up=1520 reset=power"
            )
        if command == "MOVE":
            if self.refuse:
                answer, self.refuse = self.refuse, ""
                return answer
            if self.state != "idle":
                return "9 busy"
            if not self.homed and abs(numbers[0] - self.motor.position) > 200:
                return "7 home"
            if not self.limits[0] <= numbers[0] <= self.limits[1]:
                return "8 limits"
            way = abs(numbers[0] - self.motor.position)
            self.motor.go(numbers[0], way / self.speed[0])
            self.state = "moving"
        elif command == "HOME":
            self.homed, self.state = False, "homing"
            self.motor.go(0, HOMING)
        elif command == "STOP" and self.state in ("moving", "homing"):
            self.motor.stop()
            self.state = "idle"
            self._say(f"EVT stopped pos={round(self.motor.position)}")
        elif command == "CLR":
            if self.state == "alarm":
                self.state, self.alarm_reason = "idle", "none"
        elif command == "LED":
            if self.alarm_reason != "none" and numbers[0]:
                return "6 alarm"
            self.led = numbers[0]
            return f"led={self.led} left=0"
        elif command == "LEDTIME":
            self.ledtime = numbers[0]
            return f"ledtime={self.ledtime}"
        elif command == "ALIVE":
            self.alive = numbers[0]
            return f"alive={self.alive}"
        elif command == "LIM":
            self.limits = tuple(numbers)
            return f"low={numbers[0]} high={numbers[1]}"
        elif command == "SPEED":
            self.speed = tuple(numbers)
            return f"speed={numbers[0]} accel={numbers[1]}"
        elif command not in ("POS?", "STOP"):
            return "4 command"
        return (
            f"pos={round(self.motor.position)} state={self.state} homed={int(self.homed)} "
            f"home=0 far=0 alarm={self.alarm_reason}"
        )
