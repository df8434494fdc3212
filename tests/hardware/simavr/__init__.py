"""The point-source firmware in simavr: compiled once, run behind a pseudo-terminal.

`runner.c` is the board: the controller, a stage that follows the step pin, and its two switches.
Time is simulated; `Board.wait` and the firmware's own times are in it, not in real time.
"""

import functools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

CLOCK = 16_000_000  # Hz

_HERE = Path(__file__).parent
_FIRMWARE = _HERE.parents[2] / "hardware" / "firmware"
_NEEDS = {  # what must be there: the packages that bring it
    "/usr/lib/avr/include/avr/io.h": "gcc-avr and avr-libc",
    "/usr/include/simavr/sim_avr.h": "libsimavr-dev",
    "/usr/include/libelf.h": "libelf-dev",
}


def missing() -> str | None:
    """Say which package the simulator lacks on this machine, or None."""
    for program in ("avr-gcc", "gcc", "make"):
        if not shutil.which(program):
            return f"no {program}: install gcc-avr, gcc and make"
    for file, package in _NEEDS.items():
        if not Path(file).exists():
            return f"no {file}: install {package}"
    return None


@dataclass(frozen=True)
class _Programs:
    folder: tempfile.TemporaryDirectory[str]  # goes with the process
    runner: Path
    firmware: Path


@functools.cache
def _programs() -> _Programs:
    folder = tempfile.TemporaryDirectory(prefix="point-source-")
    build = Path(folder.name)
    elf = build / "point_source.elf"
    runner = build / "runner"
    warnings = ["-Wall", "-Wextra", "-Werror"]
    libraries = ["-I/usr/include/simavr", "-lsimavr", "-lelf", "-lutil"]
    for command in (
        ["make", "-s", "-C", str(_FIRMWARE), f"BUILD={build}", str(elf)],
        ["gcc", "-O2", *warnings, "-o", str(runner), str(_HERE / "runner.c"), *libraries],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed:\n{done.stderr}")
    return _Programs(folder, runner, elf)


@dataclass(frozen=True)
class State:
    """What the pins did.

    Attributes
    ----------
    cycle : int
        Clock cycles since the board was switched on; resets do not stop them.
    stage : int
        Step at which the stage really is; the home switch opens at 0.
    edges : int
        Step pulses so far.
    duty : float
        Share of the time that the light was on, over the last whole 4.1 ms.
    home, far : int
        1 = switch open.
    enabled : int
        1 = the stepper driver is on.
    shortest_pulse, shortest_setup : int
        Of the step pin, and from the direction pin to the next step [cycles].
    received : int
        Cycle at which the last byte reached the receiver's pin.
    """

    cycle: int
    stage: int
    edges: int
    duty: float
    home: int
    far: int
    enabled: int
    shortest_pulse: int
    shortest_setup: int
    received: int

    @property
    def time(self) -> float:
        """Simulated time [s]."""
        return self.cycle / CLOCK


class Board:
    """A running controller; `path` is its serial port. Use it with `with`: it ends by being killed.

    Parameters
    ----------
    speed : float
        Simulated over real time at most; about 15 is what a processor core gives. 1 where the
        times of the program at the other end matter.
    """

    def __init__(self, speed: float = 1.0) -> None:
        programs = _programs()
        self._process = subprocess.Popen(
            [programs.runner, programs.firmware, str(speed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.path = self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """End at once, as an unplugged cable does: reading and writing `path` then fail."""
        self._process.kill()
        self._process.communicate()

    def state(self) -> State:
        return State(**json.loads(self._ask("state")))

    def edges(self) -> list[int]:
        """Return the cycles of the latest step pulses, at most 65536."""
        return [int(cycle) for cycle in json.loads(self._ask("edges"))]

    def place(self, stage: int, end: int = 30_000) -> None:
        """Put the stage at a step; the far switch opens at `end`. It starts at 1000."""
        self._order(f"stage {stage} {end}")

    def switch(self, which: Literal["home", "far"], to: Literal["auto", "open", "closed"]) -> None:
        """Press or unplug a switch (open), hold it closed, or let it follow the stage."""
        self._order(f"{which} {to}")

    def reset(
        self,
        cause: Literal["power", "external", "brownout", "watchdog", "optiboot", "bootloader"],
    ) -> None:
        """Reset; the last two are a brown-out that a bootloader hands over, or does not."""
        self._order(f"reset {cause}")

    def freeze(self) -> None:
        """Stop the firmware's clock, so that its loop no longer runs."""
        self._order("freeze")

    def set_speed(self, speed: float) -> None:
        self._order(f"speed {speed}")

    def wait(self, seconds: float) -> None:
        """Wait in simulated time [s]."""
        end = self.state().time + seconds
        self.wait_until(lambda state: state.time >= end)

    def wait_until(self, reached: Callable[[State], bool], timeout: float = 20.0) -> State:
        """Wait for a state, at most `timeout` seconds of real time."""
        end = time.monotonic() + timeout
        while not reached(state := self.state()):
            if time.monotonic() > end:
                raise TimeoutError(f"not reached in {timeout:g} s: {state}")
            time.sleep(0.001)
        return state

    def _order(self, order: str) -> None:
        if (answer := self._ask(order)) != "ok":
            raise ValueError(f"runner: {answer}: {order}")

    def _ask(self, question: str) -> str:
        assert self._process.stdin
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the simulator ended, status {self._process.wait(5)}")
        return line.strip()
