"""The devices of an agent, as camera, stages and lights of a rig like any other."""

import logging
import math
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hardware.agent import wire
from hardware.agent.client import RETRIES, AgentClient, rest, token_of
from hardware.cameras.base import Camera, CameraInfo, GrantedSettings, SensorMode
from hardware.errors import DeviceDisconnected, DeviceNotFound, HardwareError
from hardware.frames import RawFrame, Roi
from hardware.lights.base import Channel, Light
from hardware.motion.axes import Axis, Reading
from hardware.motion.base import Stage
from hardware.rig import Rig

#: What the network may add to the time of a capture or a move [s].
MARGIN = 15.0

log = logging.getLogger(__name__)


@dataclass
class RemoteCamera(Camera):
    """The camera of an agent; closing it gives control back.

    Parameters
    ----------
    client : AgentClient
        Link to the agent.
    """

    client: AgentClient

    def __post_init__(self) -> None:
        super().__post_init__()
        self._stream: Generator[RawFrame, None, None] | None = None

    @property
    def info(self) -> CameraInfo:
        """What the camera there is."""
        return wire.camera_from(self.client.info["camera"])

    @property
    def modes(self) -> Sequence[SensorMode]:
        """Its modes."""
        return [wire.mode_from(mode) for mode in self.client.info["modes"]]

    def status(self) -> Mapping[str, Any]:
        """Return what the agent knows of its camera."""
        return dict(self.client.ask("/api/state")["camera"])

    def _configure(self, mode: SensorMode, roi: Roi, max_exposure: float) -> GrantedSettings:
        found = self.client.tell(
            "/api/camera/configure", mode=mode.name, roi=asdict(roi), max_exposure=max_exposure,
            within=3 * max_exposure + self.patience + MARGIN,
        )  # fmt: skip
        return wire.granted_from(found)

    def _expose(
        self, exposures: Sequence[float], gain: float, granted: GrantedSettings, timeout: float
    ) -> Generator[RawFrame, None, None]:
        if self._stream is not None:
            self._stream.close()  # of a bracket that was left: the agent gets its camera back
        missing, broken = Counter(exposures), 0
        within = timeout * (self.retakes + 1) + MARGIN  # the camera there retakes by itself
        while missing:
            repeats = min(missing.values())
            self._stream = self.client.frames(list(missing), repeats, gain, within)
            try:
                with closing(self._stream) as frames:
                    for frame in frames:
                        missing[frame.asked_exposure] -= 1
                        broken = 0
                        yield frame
            except (wire.StreamBroken, DeviceDisconnected, DeviceNotFound) as error:
                broken += 1
                if broken == RETRIES:
                    raise DeviceDisconnected(
                        f"capture: the connection to the agent broke {broken} times ({error})",
                        hint="look after the network, and at ./lab agent",
                    ) from error
                log.warning("frames are asked for again: %s", error)
                rest(broken - 1)
            missing += Counter()  # drops what is complete

    def close(self) -> None:
        """Give control back; the agent keeps its camera."""
        if self._stream is not None:
            self._stream.close()
        self.client.close()


@dataclass
class RemoteStage(Stage):
    """A stage of an agent, which keeps the limits and knows whether it is homed.

    Its emergency stop is that of the whole rig there.

    Parameters
    ----------
    name : str
        What the agent calls it.
    client : AgentClient
        Link to the agent.
    """

    name: str
    client: AgentClient

    def __post_init__(self) -> None:
        super().__post_init__()
        self._read()

    @property
    def homed(self) -> bool:
        """Whether the agent knows where the stage stands."""
        if not self._closed:
            self._read()
        return self._homed

    def home(self) -> None:
        """Home the stage there."""
        self._home()

    def move_to(self, target: Mapping[str, float] | None = None, /, **axes: float) -> None:
        """Move, and return when the stage stands there; sent once, whatever happens."""
        wanted = {**(target or {}), **axes}
        self._check(wanted)
        if wanted:
            self._start(wanted)

    def jog(self, axis: str, distance: float) -> None:
        """Move one axis by `distance` [m or rad]; sent once, whatever happens."""
        if not math.isfinite(distance):
            raise ValueError(f"distance = {distance}: a number is needed")
        self._tell("jog", axis=axis, distance=distance)

    def _read(self) -> Reading:
        found = self.client.query("/api/stage/status", stage=self.name)
        if "error" in found:
            raise wire.error_from(found["error"])
        self._homed = bool(found["homed"])
        if found["stopped"]:
            self._stopped.set()
        else:
            self._stopped.clear()
        return Reading(str(found["state"]), found["position"], bool(found["moving"]))

    def _start(self, target: Mapping[str, float]) -> None:
        self._tell("move", target=dict(target))  # answered when it stands there

    def _home(self) -> None:
        self._tell("home")

    def _stop(self) -> None:
        self.client.tell("/api/stage/stop", stage=self.name)

    def _halt(self) -> None:
        self.client.emergency_stop()

    def _clear(self) -> None:
        self.client.tell("/api/clear")

    def _tell(self, what: str, **arguments: object) -> None:
        """Ask for a motion, and wait as long as it may take from one end to the other."""
        if self._closed:
            self._refuse_unless_homed(what)
        slowest = sum(a.span / min(a.speed, a.speed_of_homing) for a in self.axes.values())
        within = 4 * slowest + 120.0 + MARGIN  # the agent ends it earlier where it takes too long
        try:
            self.client.tell(f"/api/stage/{what}", stage=self.name, within=within, **arguments)
        except KeyboardInterrupt:
            self._halt()  # nobody waits for the motion any more
            raise


class RemoteLight(Light):
    """A light of an agent; its emergency stop is that of the whole rig there.

    Parameters
    ----------
    client : AgentClient
        Link to the agent.
    name : str
        What the agent calls it.
    channels : mapping of str to Channel
        Its channels.
    interlock : bool
        Whether the laser interlock was declared there.
    """

    def __init__(
        self, client: AgentClient, name: str, channels: Mapping[str, Channel], *, interlock: bool
    ) -> None:
        super().__init__(channels, longest=0.0, interlock=interlock)  # the agent has the timer
        self._client, self._name, self._closed = client, name, False

    def emergency_stop(self) -> None:
        """Stop the whole rig of the agent."""
        self._stopped.set()
        self._client.emergency_stop()
        self._levels = dict.fromkeys(self.channels, 0.0)

    def clear(self) -> None:
        """Allow light again, here and there."""
        self._client.tell("/api/clear")
        super().clear()

    def _apply(self, channel: str, level: float) -> None:
        self._client.tell("/api/light/set", light=self._name, channel=channel, level=level)

    def _dark(self) -> None:
        self._client.tell("/api/light/off", light=self._name)

    def close(self) -> None:
        """All channels dark; where the agent is out of reach it sees to that itself."""
        if self._closed:
            return
        self._closed = True
        try:
            self.off()
        except HardwareError as error:
            log.warning("light %s: %s", self._name, error)

    def _release(self) -> None:
        """Do nothing: the light is the agent's."""


def open_remote(url: str, token: str) -> Rig:
    """Return the rig of an agent, under this program's control until it is closed.

    Parameters
    ----------
    url : str
        Where the agent is, e.g. "http://localhost:8765".
    token : str
        What it was started with.

    Raises
    ------
    DeviceNotFound
        Nobody answers there.
    DeviceBusy
        Another client controls the rig.
    HardwareError
        The agent refuses the token, or speaks another version.
    """
    client = AgentClient(url, token)
    client.take_control()
    try:
        stages = {
            name: RemoteStage({a: Axis(**values) for a, values in axes.items()}, name, client)
            for name, axes in client.info["stages"].items()
        }
        lights = {
            name: RemoteLight(
                client,
                name,
                {c: Channel(**values) for c, values in light["channels"].items()},
                interlock=light["interlock"],
            )
            for name, light in client.info["lights"].items()
        }
        return Rig(RemoteCamera(client), stages, lights, name=str(client.info["rig"]))
    except BaseException:
        client.close()
        raise


def connect(host: str = "localhost", port: int = 8765, key_file: Path | str | None = None) -> Rig:
    """Return the rig of the agent at `host`, with the token of a file or of VEILENS_TOKEN.

    Parameters
    ----------
    host : str
        Name or address of its machine; "localhost" at the near end of an SSH tunnel.
    port : int
        TCP port, 1 to 65535.
    key_file : path, optional
        File that holds the token.
    """
    if not 1 <= port <= 65535:
        raise ValueError(f"port = {port}, expected 1 to 65535")
    shown = f"[{host}]" if ":" in host else host
    return open_remote(f"http://{shown}:{port}", token_of(key_file))
