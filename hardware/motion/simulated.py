"""A stage that is not there: it takes its time, and loses its position as real ones do."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from hardware.motion.axes import Reading
from hardware.motion.base import Stage


@dataclass
class SimulatedStage(Stage):
    """Axes that move at their speed, by the clock of the rig; it begins unhomed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._from = {name: axis.low for name, axis in self.axes.items()}
        self._to = dict(self._from)
        self._begun = self._ends = self.clock.now()
        self._state = "Idle"
        self._change = threading.RLock()  # the stop may come between two of these lines

    def _read(self) -> Reading:
        with self._change:
            now = self.clock.now()
            span = self._ends - self._begun
            share = 1.0 if now >= self._ends or span <= 0 else (now - self._begun) / span
            position = {
                name: self._to[name] if share == 1 else start + share * (self._to[name] - start)
                for name, start in self._from.items()
            }
            return Reading("Run" if share < 1 else self._state, position, share < 1)

    def _start(self, target: Mapping[str, float]) -> None:
        with self._change:
            self._from = dict(self._read().position)
            self._to = {**self._from, **target}
            longest = max(
                abs(v - self._from[name]) / self.axes[name].speed for name, v in target.items()
            )
            self._begun = self.clock.now()
            self._ends = self._begun + longest

    def _home(self) -> None:
        self._start({name: axis.low for name, axis in self.axes.items()})
        while self._read().moving:
            self._pause()

    def _stop(self) -> None:
        with self._change:
            here = dict(self._read().position)
            self._from, self._to, self._ends = here, dict(here), self.clock.now()

    def _halt(self) -> None:
        self._stop()
        self._state = "Alarm"

    def _clear(self) -> None:
        self._state = "Idle"
