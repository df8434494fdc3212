"""What can be asked of an agent over HTTP: one table, one short function each.

Requests carry a JSON object; quantities are SI numbers. "control" marks what only the client in
control may ask; everybody may watch and stop.

======  ========================  =======  ====================================================
GET     /api/info                          what the rig is
GET     /api/state                         how everything stands
GET     /api/live                          picture and measures: a record (`hardware.agent.wire`)
POST    /api/emergency-stop                reason; stop everything, never waits
POST    /api/control                       name; take control, or keep it
POST    /api/heartbeat            control  say that the client is there
POST    /api/release              control  give control back: stages stop, lights go dark
POST    /api/clear                control  allow motion and light again after a stop
POST    /api/live/view            control  exposure, gain, roi of the picture
POST    /api/camera/configure     control  mode, roi, max_exposure
POST    /api/camera/capture       control  exposures, repeats, gain; a stream of records
POST    /api/stage/status                  stage
POST    /api/stage/home           control  stage
POST    /api/stage/move           control  stage, target {axis: position}; answers when it stands
POST    /api/stage/jog            control  stage, axis, distance
POST    /api/stage/stop           control  stage
POST    /api/light/set            control  light, channel, level
POST    /api/light/off            control  light
======  ========================  =======  ====================================================
"""

import math
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from hardware.agent import wire
from hardware.agent.agent import Agent
from hardware.agent.live import measure, overview, step_of, within
from hardware.agent.preview import View
from hardware.cameras.base import CaptureSettings
from hardware.errors import HardwareError
from hardware.frames import Roi

#: Longest time a client waits for a new picture [s].
NEWS_WITHIN = 1.0
#: Most pixels along a side of the picture, and of its measured region.
PICTURE, REGION = 400, 256
#: Most frames of one capture.
MOST_FRAMES = 10_000


class Arguments:
    """The JSON object of a request, read value by value; what was not read is refused.

    Parameters
    ----------
    values : mapping
        The object.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._rest = dict(values)

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text of at most 100 characters."""
        value = self._take(key, default)
        if not isinstance(value, str) or len(value) > 100:
            raise ValueError(f"{key} = {value!r:.40}, expected a text of at most 100 characters")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Return a finite number."""
        return _number(key, self._take(key, default))

    def count(self, key: str, default: int, most: int) -> int:
        """Return a whole number from 1 to `most`."""
        value = self._take(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise ValueError(f"{key} = {value!r:.40}, expected a whole number from 1 to {most}")
        return value

    def numbers(self, key: str) -> list[float]:
        """Return a list of finite numbers."""
        value = self._take(key, None)
        if not isinstance(value, list) or not 1 <= len(value) <= 1000:
            raise ValueError(f"{key} = {value!r:.40}, expected a list of 1 to 1000 numbers")
        return [_number(key, item) for item in value]

    def named_numbers(self, key: str) -> dict[str, float]:
        """Return numbers by name."""
        value = self._take(key, None)
        if not isinstance(value, dict) or not 1 <= len(value) <= 100:
            raise ValueError(f"{key} = {value!r:.40}, expected numbers by name")
        return {name: _number(f"{key}.{name}", item) for name, item in value.items()}

    def roi(self) -> Roi | None:
        """Return the region, None for all of the frame."""
        value = self._take("roi", {})
        if value in (None, {}):
            return None
        keys = ("row", "column", "height", "width")
        if not isinstance(value, dict) or set(value) != set(keys):
            raise ValueError(f"roi = {value!r:.80}, expected {', '.join(keys)}")
        for key in keys:
            if not isinstance(value[key], int) or isinstance(value[key], bool):
                raise ValueError(f"roi.{key} = {value[key]!r:.40}, expected a whole number")
        return Roi(**value)

    def end(self) -> None:
        """Raise ValueError where something was not read."""
        if self._rest:
            raise ValueError(f"{next(iter(self._rest))!r:.40} is not an argument of this request")

    def _take(self, key: str, default: object) -> Any:
        if key not in self._rest and default is None:
            raise ValueError(f"{key} is missing")
        return self._rest.pop(key, default)


def _number(key: str, value: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            if math.isfinite(float(value)):
                return float(value)
        except OverflowError:
            pass
    raise ValueError(f"{key:.40} = {value!r:.40}, expected a finite number")


#: What an answer is: a JSON object, or the bytes of a stream of records.
Answer = Mapping[str, Any] | Generator[memoryview, None, None]


@dataclass(frozen=True)
class Request:
    """One request of a client that showed the token.

    Attributes
    ----------
    client : str
        Which client, "" if it did not say.
    arguments : Arguments
        What it asked for.
    """

    client: str
    arguments: Arguments


@dataclass(frozen=True)
class Route:
    """How a request is answered; `control` is needed where only the client in control may ask."""

    answer: Callable[[Agent, Request], Answer]
    control: bool = False

    def __call__(self, agent: Agent, request: Request) -> Answer:
        """Answer the request; a client in control was heard by it."""
        if self.control or agent.lease.held_by(request.client):
            agent.lease.check(request.client)
        return self.answer(agent, request)


def _info(agent: Agent, request: Request) -> Answer:
    request.arguments.end()
    return agent.info()


def _state(agent: Agent, request: Request) -> Answer:
    request.arguments.end()
    return {**agent.state(), "mine": agent.lease.held_by(request.client)}


def _live(agent: Agent, request: Request) -> Answer:
    after = int(request.arguments.number("after", 0.0))
    request.arguments.end()
    shot = agent.preview.wait(after, NEWS_WITHIN)
    if shot is None:
        return wire.record({"kind": "none", "number": after})
    if shot.frame is None:
        error = shot.error or HardwareError("there is no picture")
        return wire.record(
            {"kind": "error", "number": shot.number, "error": wire.error_json(error)}
        )
    frame, roi = shot.frame, agent.preview.view.roi
    seen = measure(frame, roi)
    picture = overview(frame, PICTURE)
    region = overview(frame.crop(within(frame, seen.roi)), REGION)
    header = {
        "kind": "live",
        "number": shot.number,
        "exposure": frame.exposure,
        "gain": frame.gain,
        "frame": {"shape": frame.shape, "origin": frame.origin},
        "black_level": min(frame.black_level),
        "white_level": frame.white_level,
        "values": 2**frame.bits,
        "measures": asdict(seen),
        "picture": picture.shape,
        "step": step_of(frame, PICTURE),
        "region": region.shape,
        "temperature": frame.metadata.get("sensor_temperature"),
    }
    return wire.record(wire.plain(header), picture, region)


def _emergency_stop(agent: Agent, request: Request) -> Answer:
    try:
        reason = request.arguments.text("reason", "asked by a client")
    except ValueError:  # a stop is not refused for its wording
        reason = "asked by a client"
    return dict(wire.plain(asdict(agent.emergency_stop(reason))))


def _control(agent: Agent, request: Request) -> Answer:
    name = request.arguments.text("name", "a client")
    request.arguments.end()
    if not request.client:
        raise ValueError("a client that takes control says which it is: Veilens-Client is missing")
    agent.lease.take(request.client, name)
    return {"silence": agent.lease.silence}


def _heartbeat(agent: Agent, request: Request) -> Answer:
    request.arguments.end()
    stopped = agent.rig.safety.stopped
    return {"stopped": None if stopped is None else stopped.reason[:200]}


def _release(agent: Agent, request: Request) -> Answer:
    agent.give_back(request.client)
    return {}


def _clear(agent: Agent, request: Request) -> Answer:
    request.arguments.end()
    agent.clear()
    return {}


def _look(agent: Agent, request: Request) -> Answer:
    asked, now = request.arguments, agent.preview.view
    view = View(asked.number("exposure", now.exposure), asked.number("gain", now.gain), asked.roi())
    asked.end()
    agent.look(view)
    return dict(wire.plain(asdict(view)))


def _configure(agent: Agent, request: Request) -> Answer:
    asked = request.arguments
    settings = CaptureSettings(asked.text("mode", ""), asked.roi(), asked.number("max_exposure"))
    asked.end()
    return wire.granted_json(agent.configure(settings))


def _capture(agent: Agent, request: Request) -> Answer:
    asked = request.arguments
    exposures = asked.numbers("exposures")
    repeats = asked.count("repeats", 1, MOST_FRAMES)
    gain = asked.number("gain", 1.0)
    asked.end()
    return _frames(agent, request.client, exposures, repeats, gain)


def _frames(
    agent: Agent, client: str, exposures: list[float], repeats: int, gain: float
) -> Generator[memoryview, None, None]:
    count = 0
    try:
        with closing(agent.frames(client, exposures, repeats, gain)) as frames:
            for frame in frames:
                yield from wire.frame_record(frame)
                count += 1
    except (HardwareError, ValueError) as error:
        yield from wire.record({"kind": "error", "error": wire.error_json(error)})
    else:
        yield from wire.record({"kind": "end", "count": count})


def _stage_status(agent: Agent, request: Request) -> Answer:
    name = request.arguments.text("stage")
    request.arguments.end()
    return agent.stage_state(name)


def _home(agent: Agent, request: Request) -> Answer:
    name = request.arguments.text("stage")
    request.arguments.end()
    agent.home(name)
    return {}


def _move(agent: Agent, request: Request) -> Answer:
    name, target = request.arguments.text("stage"), request.arguments.named_numbers("target")
    request.arguments.end()
    agent.move(name, target)
    return {}


def _jog(agent: Agent, request: Request) -> Answer:
    asked = request.arguments
    name, axis, distance = asked.text("stage"), asked.text("axis"), asked.number("distance")
    asked.end()
    agent.jog(name, axis, distance)
    return {}


def _stop(agent: Agent, request: Request) -> Answer:
    name = request.arguments.text("stage")
    request.arguments.end()
    agent.stop(name)
    return {}


def _light_set(agent: Agent, request: Request) -> Answer:
    asked = request.arguments
    name, channel, level = asked.text("light"), asked.text("channel"), asked.number("level")
    asked.end()
    agent.light(name).set(channel, level)
    return agent.light(name).state


def _light_off(agent: Agent, request: Request) -> Answer:
    name = request.arguments.text("light")
    request.arguments.end()
    agent.light(name).off()
    return agent.light(name).state


ROUTES: Mapping[tuple[str, str], Route] = {
    ("GET", "/api/info"): Route(_info),
    ("GET", "/api/state"): Route(_state),
    ("GET", "/api/live"): Route(_live),
    ("POST", "/api/emergency-stop"): Route(_emergency_stop),
    ("POST", "/api/control"): Route(_control),
    ("POST", "/api/heartbeat"): Route(_heartbeat, control=True),
    ("POST", "/api/release"): Route(_release, control=True),
    ("POST", "/api/clear"): Route(_clear, control=True),
    ("POST", "/api/live/view"): Route(_look, control=True),
    ("POST", "/api/camera/configure"): Route(_configure, control=True),
    ("POST", "/api/camera/capture"): Route(_capture, control=True),
    ("POST", "/api/stage/status"): Route(_stage_status),
    ("POST", "/api/stage/home"): Route(_home, control=True),
    ("POST", "/api/stage/move"): Route(_move, control=True),
    ("POST", "/api/stage/jog"): Route(_jog, control=True),
    ("POST", "/api/stage/stop"): Route(_stop, control=True),
    ("POST", "/api/light/set"): Route(_light_set, control=True),
    ("POST", "/api/light/off"): Route(_light_off, control=True),
}
