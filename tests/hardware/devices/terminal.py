"""The device's end of a pseudo-terminal: a thread that reads, answers, and notes every stop."""

import contextlib
import os
import select
import threading
import time
import tty

#: Homing takes this long [s].
HOMING = 0.04


class TerminalDevice:
    """A device at `path`; attributes switch its faults on.

    mute: it answers nothing more. slow: each answer comes in two halves, so long apart [s].
    garbage: bytes before each of the next `damaged` answers. echo: it sends back what it gets.
    """

    STOPS: tuple[bytes, ...] = ()  # what stops it at once

    def __init__(self):
        self.mute = self.echo = False
        self.slow = 0.0
        self.garbage, self.damaged = b"", 0
        self.log = []  # (time, bytes) of all that came
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self._end = threading.Event()
        self._lock = threading.RLock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def handle(self, data: bytes) -> None:
        """Take bytes in."""

    def tick(self) -> None:
        """Do what is due."""

    def send(self, data: bytes) -> None:
        if self.mute:
            return
        if self.damaged > 0:
            self.damaged -= 1
            data = self.garbage + data
        with contextlib.suppress(OSError):
            if self.slow:
                half = len(data) // 2
                os.write(self._master, data[:half])
                time.sleep(self.slow)
                data = data[half:]
            os.write(self._master, data)

    def say(self, text: str) -> None:
        self.send(text.encode() + b"\r\n")

    @property
    def stops(self) -> list[float]:
        """When stops came."""
        return [at for at, data in self.log if any(stop in data for stop in self.STOPS)]

    @property
    def received(self) -> bytes:
        return b"".join(data for _, data in self.log)

    def mend(self) -> None:
        """Switch all faults off."""
        self.mute = self.echo = False
        self.slow, self.damaged = 0.0, 0

    def unplug(self) -> None:
        self._end.set()
        self._thread.join(2)
        with contextlib.suppress(OSError):
            os.close(self._master)

    def close(self) -> None:
        self.unplug()
        with contextlib.suppress(OSError):
            os.close(self._slave)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def _run(self) -> None:
        while not self._end.is_set():
            ready, _, _ = select.select([self._master], [], [], 0.002)
            with self._lock:
                if ready:
                    data = os.read(self._master, 4096)
                    self.log.append((time.monotonic(), data))
                    if self.echo:
                        self.send(data)
                    self.handle(data)
                self.tick()


class ScriptedDevice(TerminalDevice):
    """Answers requests by a table; `{request: answer or list of answers to send in turn}`."""

    def __init__(self, answers=None):
        self.answers = dict(answers or {})
        self._line = b""
        super().__init__()

    def handle(self, data):
        self._line += data
        *lines, self._line = self._line.split(b"\n")
        for line in lines:
            answer = self.answers.get(line)
            if isinstance(answer, list):
                answer = answer.pop(0) if answer else None
            if answer is not None:
                self.send(answer)


class Motor:
    """One axis at constant speed; faults: `endless` moves, a `miss` at the end, a `lag` of all."""

    def __init__(self, position=0.0):
        self._from = self._to = position
        self._begun = self._ends = 0.0
        self.endless, self.miss, self.lag = False, 0.0, 1.0

    @property
    def moving(self) -> bool:
        return time.monotonic() < self._ends

    @property
    def position(self) -> float:
        now = time.monotonic()
        if now >= self._ends:
            return self._to
        if self._ends == float("inf"):
            return self._from
        return self._from + (now - self._begun) / (self._ends - self._begun) * (
            self._to - self._from
        )

    def go(self, target: float, seconds: float) -> None:
        self._from, self._to = self.position, target + self.miss
        self._begun = time.monotonic()
        self._ends = float("inf") if self.endless else self._begun + self.lag * seconds

    def mend(self) -> None:
        self.endless, self.miss, self.lag = False, 0.0, 1.0

    def set(self, position: float) -> None:
        self._from = self._to = position
        self._ends = 0.0

    def stop(self) -> None:
        self.set(self.position)
