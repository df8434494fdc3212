"""Every stage with what is behind it, for tests that all of them pass."""

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from hardware.agent import open_remote
from hardware.cameras import SimulatedCamera
from hardware.motion import (
    AptScale,
    AptStage,
    Axis,
    GrblStage,
    NewportStage,
    PointSourceStage,
    SimulatedStage,
    Stage,
)
from hardware.rig import Rig
from hardware.safety import STOP_WITHIN
from tests.hardware import simavr
from tests.hardware.agent.bench import TOKEN, serving
from tests.hardware.devices import AptDevice, GrblDevice, NewportDevice, PointSourceDevice
from tests.hardware.devices.apt import COUNTS, VELOCITY

#: Beside twice a move's time, so that moves without an end are short [s].
SLACK = 0.5
SPAN, SPEED = 0.005, 0.1  # [m], [m/s]
DELAY = 20  # of moves that are to be caught in their midst
STEPS = 50_000  # per metre


@dataclass
class Bench:
    """A stage with one axis, "x", its device and that device's motor (None: there is none)."""

    stage: Stage
    device: Any
    motor: Any
    fault: Any = None  # what the device's alarm is called

    def at(self, share: float) -> float:
        axis = self.stage.axes["x"]
        return axis.low + share * axis.span

    @property
    def keeper(self) -> Stage:
        """The stage that keeps the rules."""
        return self.stage

    def was_stopped(self, since: float) -> bool:
        """Whether the device got a stop in time after `since`; True where it keeps no log."""
        if not hasattr(self.device, "stops"):
            return True
        while True:
            if any(0 <= at - since < STOP_WITHIN for at in self.device.stops):
                return True
            if time.monotonic() > since + STOP_WITHIN + 0.1:
                return False
            time.sleep(0.005)

    def delay(self) -> None:
        """Make moves slow enough to be caught in their midst."""
        if self.motor is not None:
            self.motor.lag = DELAY
        elif self.device is None:
            self.stage.axes = axes(speed=SPEED / DELAY)

    def mend(self) -> None:
        """End all that a test did to the device."""
        if self.device is None:
            self.stage.axes = axes()
        elif self.motor is not None:
            self.device.mend()
            self.device.faults = 0
            self.motor.mend()

    def restore(self) -> None:
        """Mend what the last test broke, and home where it is needed."""
        self.mend()
        if self.stage.status().stopped or not self.stage.homed:
            self.stage.clear()
        if not self.stage.homed:
            self.stage.home()


class RemoteBench(Bench):
    """Its device is the stage behind the agent, which keeps the rules."""

    @property
    def keeper(self) -> Stage:
        return self.device

    def delay(self) -> None:
        self.device.axes = axes(speed=SPEED / DELAY)

    def mend(self) -> None:
        self.device.axes = axes()


def axes(low: float = 0.0, **changes: Any) -> dict[str, Axis]:
    return {"x": Axis(low, low + SPAN, **{"speed": SPEED, "tolerance": 20e-6, **changes})}


def simulated(stack, slack):
    stage = SimulatedStage(axes(), slack=slack)
    stage._from = stage._to = {"x": 0.75 * SPAN}  # so that homing takes time
    return Bench(stage, None, None)


def remote(stack, slack):
    """The simulated one behind an agent."""
    far = simulated(stack, slack).stage
    camera = SimulatedCamera(lambda roi: np.zeros((roi.height, roi.width)))
    server = stack.enter_context(serving(Rig(camera, {"table": far})))
    rig = stack.enter_context(open_remote(server.url, TOKEN))
    return RemoteBench(rig.stages["table"], far, None)


def grbl(stack, slack):
    device = stack.enter_context(GrblDevice())
    stage = GrblStage(axes(-SPAN), device.path, slack=slack)
    return Bench(stage, device, device.motors[0], fault=1)


def apt(stack, slack):
    device = stack.enter_context(AptDevice())
    scales = {"x": AptScale(COUNTS, VELOCITY)}
    stage = AptStage(axes(), device.path, scales, slack=slack)
    return Bench(stage, device, device.motor, fault=0x4000)


def newport(stack, slack):
    device = stack.enter_context(NewportDevice())
    stage = NewportStage(axes(), device.path, slack=slack)
    return Bench(stage, device, device.motor, fault=0x20)


def point_source(stack, slack):
    device = stack.enter_context(PointSourceDevice())
    stage = PointSourceStage(axes(), device.path, steps=STEPS, slack=slack)
    return Bench(stage, device, device.motor, fault="far")


def firmware(stack, slack):
    """Our firmware itself, on a simulated controller that runs in real time."""
    if (why := simavr.missing()) is not None:
        pytest.skip(why)
    board = stack.enter_context(simavr.Board(1.0))
    board.place(150)
    stage = PointSourceStage(axes(), board.path, steps=STEPS, slack=2.0)
    return Bench(stage, board, None)


SLOW = tuple(pytest.param(make, marks=pytest.mark.slow) for make in (apt, newport))
EMULATED = (grbl, point_source, *SLOW)
ALL = (
    simulated,
    remote,
    grbl,
    *(pytest.param(make, marks=pytest.mark.slow) for make in (point_source, firmware)),
    *SLOW,
)


@contextmanager
def bench(make, slack=SLACK):
    with ExitStack() as stack:
        made = make(stack, slack)
        with made.stage:
            yield made
