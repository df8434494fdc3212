"""What a capture session takes: steps of frames, as plain data that reads the same after a crash.

What a step cannot know before it is reached (where the spot is, which exposures are right) is
said by a rule, `Spot`, `AutoExposure` or "before"; what came of it is a `Found`.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from hardware.cameras.base import SensorMode
from hardware.frames import Roi

Kind = Literal["psf", "dark", "flat", "scene"]
KINDS = ("psf", "dark", "flat", "scene")


@dataclass(frozen=True)
class AutoExposure:
    """Find the exposure that uses the sensor's range, and take a ladder of longer ones above it.

    Exposures of all steps with the same rule lie on one ladder, which the first of them fixes:
    a later step begins at the rung at or below its own exposure. So darks are needed for few.

    Attributes
    ----------
    low, high : float
        Where the brightest colour channel may end, as shares of white minus black.
    count : int
        Exposures to take.
    ratio : float
        Each is this many times the one before.
    longest : float
        Longest exposure that is tried or taken [s].
    """

    low: float = 0.70
    high: float = 0.85
    count: int = 6
    ratio: float = 3.0
    longest: float = 0.5

    def __post_init__(self) -> None:
        if not (0 < self.low < self.high <= 0.95 and self.high / self.low >= 1.1):
            raise ValueError(
                f"low = {self.low:g}, high = {self.high:g}: 0 < low, high <= 0.95, and high at "
                "least 1.1 times low are needed"
            )
        if not (self.count >= 1 and 1.2 <= self.ratio <= 100 and self.longest > 0):
            raise ValueError(
                f"count = {self.count}, ratio = {self.ratio:g}, longest = {self.longest:g} s: "
                "count >= 1, ratio 1.2 to 100 and longest > 0 s are needed"
            )

    def ladder(
        self, exposure: float, *, anchor: float | None, shortest: float
    ) -> tuple[float, ...]:
        """Return the exposures of a step whose own exposure is `exposure` [s].

        Parameters
        ----------
        exposure : float
            What was found for the step [s].
        anchor : float or None
            A rung of the ladder, if there is one yet [s].
        shortest : float
            Shortest exposure of the sensor [s].
        """
        origin, first = exposure, 0
        if anchor is not None:
            rung = math.floor(math.log(exposure / anchor) / math.log(self.ratio) + 1e-6)
            if anchor * self.ratio**rung >= shortest:
                origin, first = anchor, rung
        # all from one origin, so that a rung is the same number whichever step reaches it
        times = [origin * self.ratio ** (first + n) for n in range(self.count)]
        return tuple(time for time in times if time == times[0] or time <= self.longest)


@dataclass(frozen=True)
class Spot:
    """A region of this size around the spot, which a search frame finds [pixels]."""

    height: int
    width: int

    def __post_init__(self) -> None:
        if self.height < 2 or self.width < 2 or self.height % 2 or self.width % 2:
            raise ValueError(
                f"spot = {self.height} x {self.width}: even numbers of pixels are needed, which "
                "keep whole blocks of the colour mosaic"
            )


Exposures = tuple[float, ...] | AutoExposure | Literal["before"]
Region = Roi | Spot | Literal["full", "before"]


@dataclass(frozen=True)
class Found:
    """What a step turned out to be: exposures [s] and region of the frame."""

    exposures: tuple[float, ...]
    region: Roi


@dataclass(frozen=True)
class Step:
    """Frames at one position in one light.

    Attributes
    ----------
    name : str
        Unique in its plan: letters, digits, ".", "_" and "-".
    kind : {"psf", "dark", "flat", "scene"}
        What the frames are of.
    exposures : tuple of float, AutoExposure or "before"
        Exposure times [s]; "before" takes every one of the steps before it.
    repeats : int
        Frames of each.
    position : mapping of str to float
        Where the axes stand [m or rad]; those not named stay where they are.
    light : mapping of str to float
        Levels of the channels, 0 to 1; those not named are dark.
    gain : float
        Analogue gain.
    region : Roi, Spot, "full" or "before"
        Part of the frame to keep; "before" covers the regions of the steps before it.
    distance : float or None
        From the camera to what is seen, as far as it is known [m].
    """

    name: str
    kind: Kind
    exposures: Exposures
    repeats: int = 1
    position: Mapping[str, float] = field(default_factory=dict)
    light: Mapping[str, float] = field(default_factory=dict)
    gain: float = 1.0
    region: Region = "full"
    distance: float | None = None

    def __post_init__(self) -> None:
        where = f"step {self.name!r:.60}"
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,60}", self.name):
            raise ValueError(f'{where}: a name is 1 to 60 letters, digits, ".", "_" or "-"')
        if self.kind not in KINDS:
            raise ValueError(f"{where}: kind = {self.kind!r}, expected one of {', '.join(KINDS)}")
        if isinstance(self.exposures, tuple):
            times = self.exposures
            if not times or len(set(times)) < len(times):
                raise ValueError(f"{where}: exposures = {times}: at least one, none twice")
            if not all(math.isfinite(t) and t > 0 for t in times):
                raise ValueError(f"{where}: exposures = {times}: positive times are needed [s]")
        if self.repeats < 1 or not (math.isfinite(self.gain) and self.gain >= 1):
            raise ValueError(
                f"{where}: repeats = {self.repeats}, gain = {self.gain:g}: 1 or more are needed"
            )
        if not all(map(math.isfinite, self.position.values())):
            raise ValueError(f"{where}: position = {dict(self.position)}: numbers are needed")
        if not all(0 <= level <= 1 for level in self.light.values()):
            raise ValueError(f"{where}: light = {dict(self.light)}: levels are 0 to 1")
        if self.distance is not None and not 0 < self.distance < 1e6:
            raise ValueError(f"{where}: distance = {self.distance:g} m, expected above 0")
        if self.kind == "dark" and any(self.light.values()):
            raise ValueError(f"{where} is dark, but light = {dict(self.light)}: remove it")
        if self.kind == "dark" and isinstance(self.exposures, AutoExposure):
            raise ValueError(f'{where} is dark: give its exposures, or "before"')


@dataclass(frozen=True)
class Plan:
    """The steps of a session, in order.

    Attributes
    ----------
    name : str
        What kind of session it is.
    steps : tuple of Step
        The steps.
    mode : str
        Name of the camera's mode; "" takes the one with most pixels.
    settle : float
        Wait after each move and change of light [s].
    """

    name: str
    steps: tuple[Step, ...]
    mode: str = ""
    settle: float = 0.0

    def __post_init__(self) -> None:
        if not self.steps:
            raise ValueError("steps = (): a plan has at least one step")
        names = [step.name for step in self.steps]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"steps: {', '.join(twice)} is there twice; names are unique")
        if not 0 <= self.settle <= 3600:
            raise ValueError(f"settle = {self.settle:g} s, expected 0 to 3600 s")
        if "before" in (self.steps[0].exposures, self.steps[0].region):
            raise ValueError(f'step {names[0]!r} takes what was "before", but it is the first')
        for n, step in enumerate(self.steps):
            gains = {earlier.gain for earlier in self.steps[:n]}
            if step.exposures == "before" and gains != {step.gain}:
                raise ValueError(
                    f"step {step.name!r}: gain = {step.gain:g}, but the steps before it, whose "
                    f"exposures it takes, have {', '.join(f'{g:g}' for g in sorted(gains))}"
                )

    def to_json(self) -> dict[str, Any]:
        """Return the plan as lists, mappings, texts and numbers."""
        return {
            "name": self.name,
            "mode": self.mode,
            "settle": self.settle,
            "steps": [_step_to_json(step) for step in self.steps],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Plan":
        """Return the plan that `to_json` wrote; ValueError if it is none."""
        try:
            steps = tuple(_step_from_json(step) for step in value["steps"])
            return cls(str(value["name"]), steps, str(value["mode"]), float(value["settle"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"this is no plan: {error!r}") from error

    def exposures_of(self, step: Step, found: Mapping[str, Found]) -> tuple[float, ...] | None:
        """Return the exposures of a step after what was `found` of others; None: to be found."""
        if step.exposures == "before":
            return tuple(sorted({t for one in self._before(step, found) for t in one.exposures}))
        return step.exposures if isinstance(step.exposures, tuple) else None

    def region_of(self, step: Step, found: Mapping[str, Found], mode: SensorMode) -> Roi | None:
        """Return the region of a step after what was `found` of others; None: to be found."""
        if step.region == "before":
            return _cover([one.region for one in self._before(step, found)])
        if step.region == "full":
            return Roi(0, 0, *mode.shape)
        return step.region if isinstance(step.region, Roi) else None

    def anchor(self, step: Step, found: Mapping[str, Found]) -> float | None:
        """Return a rung of the ladder that earlier steps with the same rule fixed [s]."""
        for other in self.steps[: self.steps.index(step)]:
            if other.exposures == step.exposures and other.name in found:
                return found[other.name].exposures[0]
        return None

    def _before(self, step: Step, found: Mapping[str, Found]) -> list[Found]:
        earlier = self.steps[: self.steps.index(step)]
        return [found[other.name] for other in earlier if other.name in found]


def _cover(regions: Sequence[Roi]) -> Roi:
    top, left = min(r.row for r in regions), min(r.column for r in regions)
    bottom = max(r.row + r.height for r in regions)
    right = max(r.column + r.width for r in regions)
    return Roi(top, left, bottom - top, right - left)


def _step_to_json(step: Step) -> dict[str, Any]:
    exposures: Any = step.exposures
    region: Any = step.region
    if isinstance(exposures, AutoExposure):
        exposures = {"auto": asdict(exposures)}
    if isinstance(region, (Spot, Roi)):
        region = {type(region).__name__.lower(): asdict(region)}
    return {
        "name": step.name,
        "kind": step.kind,
        "exposures": list(exposures) if isinstance(exposures, tuple) else exposures,
        "repeats": step.repeats,
        "position": dict(step.position),
        "light": dict(step.light),
        "gain": step.gain,
        "region": region,
        "distance": step.distance,
    }


def _step_from_json(value: Mapping[str, Any]) -> Step:
    exposures, region = value["exposures"], value["region"]
    if isinstance(exposures, Mapping):
        exposures = AutoExposure(**exposures["auto"])
    elif isinstance(exposures, list):
        exposures = tuple(map(float, exposures))
    elif exposures != "before":
        raise TypeError(f"exposures = {exposures!r}")
    if isinstance(region, Mapping):
        region = Spot(**region["spot"]) if "spot" in region else Roi(**region["roi"])
    elif region not in ("full", "before"):
        raise TypeError(f"region = {region!r}")
    return Step(**{**value, "exposures": exposures, "region": region})
