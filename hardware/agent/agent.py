"""The agent: a rig with one client in control, and what all clients may do with it.

It knows nothing of HTTP; `hardware.agent.api` puts its methods there.
"""

import logging
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from hardware.agent import wire
from hardware.agent.lease import SILENCE, Lease
from hardware.agent.preview import Preview, View
from hardware.cameras.base import CaptureSettings, GrantedSettings
from hardware.errors import DeviceBusy, HardwareError
from hardware.frames import RawFrame
from hardware.lights.base import Light
from hardware.motion.axes import StageStatus
from hardware.motion.base import Stage
from hardware.rig import Rig
from hardware.safety import Stopped

log = logging.getLogger(__name__)


class Agent:
    """Owns a rig and serves it to clients; methods may be called from any thread.

    Modulators of the rig are not served: their patterns are shown where they are computed.

    Parameters
    ----------
    rig : Rig
        Cameras, stages and lights; whoever opened it closes it, after `close`.
    silence : float, default 5.0
        Longest silence of the client in control, after which everything is stopped [s].
    """

    def __init__(self, rig: Rig, *, silence: float = SILENCE) -> None:
        self.rig = rig
        self.preview = Preview(rig.camera)
        self.lease = Lease(self._on_silence, silence)
        self.frames_taken = self.stops = 0
        self._moving = threading.Lock()  # one motion at a time, of one stage

    # What all may do

    def info(self) -> dict[str, Any]:
        """Return what the rig is, as JSON knows it."""
        try:
            software = version("veilens")
        except PackageNotFoundError:
            software = "unknown"
        lights = {
            name: {
                "channels": {c: asdict(channel) for c, channel in light.channels.items()},
                "interlock": light.interlock,
            }
            for name, light in self.rig.lights.items()
        }
        found = {
            "version": wire.VERSION,
            "software": software,
            "rig": self.rig.name,
            "silence": self.lease.silence,
            "camera": asdict(self.rig.camera.info),
            "modes": [asdict(mode) for mode in self.rig.camera.modes],
            "stages": {
                name: {axis: asdict(a) for axis, a in stage.axes.items()}
                for name, stage in self.rig.stages.items()
            },
            "lights": lights,
        }
        return dict(wire.plain(found))

    def state(self) -> dict[str, Any]:
        """Return how everything stands, without waiting for anything that moves."""
        granted, stopped = self.rig.camera.granted, self.rig.safety.stopped
        found = {
            "control": self.lease.holder,
            "stopped": None if stopped is None else asdict(stopped),
            "moving": self._moving.locked(),
            "stages": {name: self.stage_state(name) for name in self.rig.stages},
            "lights": {name: light.state for name, light in self.rig.lights.items()},
            "camera": {
                "granted": None if granted is None else asdict(granted),
                "counts": vars(self.rig.camera.counts),
            },
            "view": asdict(self.preview.view),
        }
        return dict(wire.plain(found))

    def stage_state(self, name: str) -> dict[str, Any]:
        """Return the state of one stage, also while it moves."""
        try:
            return dict(wire.plain(asdict(self.stage(name).status())))
        except HardwareError as error:
            stopped = self.rig.safety.stopped is not None
            unknown = StageStatus("unknown", {}, moving=False, homed=False, stopped=stopped)
            return {**asdict(unknown), "error": wire.error_json(error)}

    def emergency_stop(self, reason: str) -> Stopped:
        """Stop everything at once; it waits for no lock and for nothing that moves."""
        self.stops += 1
        log.warning("EMERGENCY STOP: %s", reason)
        return self.rig.safety.emergency_stop(reason)

    # What the client in control may do

    def give_back(self, client: str) -> None:
        """End the control of `client`; stages stop and lights go dark."""
        if self.lease.give_back(client):
            self._park()

    def clear(self) -> None:
        """Allow motion and light again after an emergency stop."""
        self.rig.safety.clear()

    def configure(self, settings: CaptureSettings) -> GrantedSettings:
        """Set the camera up."""
        with self.preview.turn() as camera:
            return camera.configure(settings)

    def frames(
        self, client: str, exposures: Sequence[float], repeats: int, gain: float
    ) -> Generator[RawFrame, None, None]:
        """Yield frames of a bracket; it ends where `client` loses control."""
        with (
            self.preview.turn() as camera,
            closing(camera.bracket(exposures, repeats=repeats, gain=gain)) as taken,
        ):
            for frame in taken:
                self.lease.check(client)
                self.frames_taken += 1
                self.preview.show(frame)
                yield frame

    def look(self, view: View) -> None:
        """Change exposure, gain or region of the preview; both must fit the camera."""
        with self.preview.turn() as camera:
            granted = camera.granted or camera.configure()
            mode = granted.mode
            if not mode.min_exposure <= view.exposure <= mode.max_exposure:
                raise ValueError(
                    f"exposure = {view.exposure:g} s is outside [{mode.min_exposure:g}, "
                    f"{mode.max_exposure:g}] s of mode {mode.name}"
                )
            if not 1 <= view.gain <= mode.max_gain:
                raise ValueError(f"gain = {view.gain:g}, expected 1 to {mode.max_gain:g}")
            if view.roi is not None:
                view.roi.check_inside(mode.shape)
            if view.exposure > granted.frame_duration:
                camera.configure(CaptureSettings(mode.name, granted.roi, view.exposure))
            self.preview.view = view

    def home(self, name: str) -> None:
        """Home one stage."""
        with self._motion(name) as stage:
            stage.home()

    def move(self, name: str, target: dict[str, float]) -> None:
        """Move one stage, and return when it stands there."""
        with self._motion(name) as stage:
            stage.move_to(target)

    def jog(self, name: str, axis: str, distance: float) -> None:
        """Move one axis by a distance [m or rad]."""
        with self._motion(name) as stage:
            stage.jog(axis, distance)

    def stop(self, name: str) -> None:
        """Stop one stage with deceleration, also during a move."""
        self.stage(name).stop()

    def stage(self, name: str) -> Stage:
        """Return a stage by name."""
        if name not in self.rig.stages:
            raise ValueError(f"stage = {name!r}: there are {', '.join(self.rig.stages) or 'none'}")
        return self.rig.stages[name]

    def light(self, name: str) -> Light:
        """Return a light by name."""
        if name not in self.rig.lights:
            raise ValueError(f"light = {name!r}: there are {', '.join(self.rig.lights) or 'none'}")
        return self.rig.lights[name]

    def close(self) -> None:
        """End preview and control; the rig is left as it is."""
        self.lease.close()
        self.preview.close()

    # How

    @contextmanager
    def _motion(self, name: str) -> Iterator[Stage]:
        stage = self.stage(name)
        if not self._moving.acquire(blocking=False):
            raise DeviceBusy("a stage is moving", hint="wait for it, or stop it")
        try:
            yield stage
        finally:
            self._moving.release()

    def _on_silence(self, name: str) -> None:
        self.emergency_stop(f"{name} was not heard for {self.lease.silence:g} s")

    def _park(self) -> None:
        for failure in self.rig.park():
            log.warning("not parked: %s", failure)
