"""Whatever ends a capture, lights are dark and stages are told to stop within a quarter second."""

import errno
import os
import signal
import time
from contextlib import suppress

import pytest

from hardware.errors import (
    DeviceDisconnected,
    DeviceFault,
    DeviceTimeout,
    FrameError,
    ProtocolError,
)
from hardware.safety import STOP_WITHIN
from hardware.session import Session, run_session
from hardware.storage import ResourceError
from tests.hardware.session.small import assert_whole, levels, small_plan, small_rig

PLAN = small_plan()
#: What a busy machine may add to the promise [s].
LATE = 0.25


class Table:
    """A small rig whose devices write down when they are told to stop."""

    def __init__(self):
        self.rig = small_rig()
        self.stage, self.lamp = self.rig.stages["rail"], self.rig.lights["led"]
        self.failed_at = None
        self.stage_told, self.lamp_told = [], []
        self._note(self.stage, "_stop", self.stage_told)
        self._note(self.stage, "_halt", self.stage_told)
        self._note(self.lamp, "_dark", self.lamp_told)

    @staticmethod
    def _note(device, name, told):
        real = getattr(device, name)
        setattr(device, name, lambda: (told.append(time.monotonic()), real())[1])

    def fail(self, error):
        self.failed_at = self.failed_at or time.monotonic()
        raise error

    def after(self, device, name, calls, fault):
        """Let `fault` happen instead of the call of `device.name` that comes after `calls`."""
        real, seen = getattr(device, name), []

        def call(*arguments, **keywords):
            seen.append(1)
            return fault() if len(seen) > calls else real(*arguments, **keywords)

        setattr(device, name, call)


def camera_is_silent(table):
    error = DeviceTimeout("frame of the camera", 1.0)
    table.after(table.rig.camera, "_expose", 6, lambda: table.fail(error))
    return DeviceTimeout


def rows_are_too_short(table):
    error = FrameError("rows of 4000 bytes, 4056 pixels need 8112")
    table.after(table.rig.camera, "_expose", 6, lambda: table.fail(error))
    return FrameError


def stage_is_unplugged(table):
    table.after(table.stage, "_start", 2, lambda: table.fail(DeviceDisconnected("cable")))
    return DeviceDisconnected


def stage_says_garbage(table):
    table.after(table.stage, "_start", 2, lambda: table.fail(ProtocolError(b"?", b"\xff")))
    return ProtocolError


def stage_browns_out(table):
    fault = DeviceFault("reset", "the controller restarted", position_trusted=False)
    table.after(table.stage, "_start", 2, lambda: table.fail(fault))
    return DeviceFault


def lamp_is_mute(table):
    table.after(table.lamp, "_apply", 8, lambda: table.fail(DeviceTimeout("LED", 0.15)))
    return DeviceTimeout


def disk_is_full(table):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    table.after(os, "fsync", 30, lambda: table.fail(full))
    return ResourceError


def ctrl_c(table):
    def interrupt():
        table.failed_at = time.monotonic()
        signal.raise_signal(signal.SIGINT)

    table.after(table.rig.camera, "_expose", 6, interrupt)
    return KeyboardInterrupt


#: What may end a capture, and whether the position is lost by it.
FAULTS = [
    (camera_is_silent, False),
    (rows_are_too_short, False),
    (stage_is_unplugged, True),
    (stage_says_garbage, True),
    (stage_browns_out, True),
    (lamp_is_mute, False),
    (disk_is_full, False),
    (ctrl_c, False),
]


@pytest.mark.parametrize(("cause", "lost"), FAULTS, ids=lambda f: getattr(f, "__name__", ""))
def test_it_is_dark_and_stopped_in_time_and_the_session_goes_on(tmp_path, monkeypatch, cause, lost):
    table = Table()
    monkeypatch.setattr(os, "fsync", os.fsync)  # put back at the end, whoever replaces it
    kind = cause(table)
    with pytest.raises(kind):
        run_session(tmp_path / "session", PLAN, table.rig)
    monkeypatch.undo()
    for told in (table.stage_told, table.lamp_told):
        first = min(at for at in told if at >= table.failed_at)
        assert first - table.failed_at < STOP_WITHIN + LATE
    assert levels(table.rig) == [0.0, 0.0]
    assert not table.stage.status().moving
    assert table.stage.homed is not lost
    run_session(tmp_path / "session", PLAN, small_rig())
    assert_whole(Session.open(tmp_path / "session"))


def test_a_mute_lamp_and_a_broken_one_do_not_delay_the_stop_of_a_stage(tmp_path):
    table = Table()

    def mute():
        time.sleep(1.0)
        raise RuntimeError("no HardwareError")

    table.lamp._dark = mute
    begun = time.monotonic()
    failed = table.rig.park()
    assert table.stage_told[0] - begun < STOP_WITHIN
    assert failed == ["light led: no HardwareError"]
    with suppress(RuntimeError):
        table.lamp.close()
