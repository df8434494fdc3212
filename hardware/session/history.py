"""What a journal tells: which frames are there, what was found, how often it was interrupted."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hardware.frames import Roi
from hardware.session.frames import Stored
from hardware.session.plan import Found, Step
from hardware.storage import ArtifactError


@dataclass(frozen=True)
class Recorded:
    """One frame of a session.

    Attributes
    ----------
    number : int
        Its number, from 1; it names its files.
    step : str
        Name of its step.
    exposure, gain : float
        What was asked for [s].
    stored : Stored
        Size and hashes of its files.
    level : float
        Brightest colour channel as a share of white minus black; see `searching.level`.
    saturated : float
        Share of the pixels at or near saturation; see `searching.saturated`.
    confirmed : bool
        Whether the sensor itself reported the settings.
    """

    number: int
    step: str
    exposure: float
    gain: float
    stored: Stored
    level: float
    saturated: float
    confirmed: bool


@dataclass
class History:
    """A session so far.

    Attributes
    ----------
    frames : dict of int to Recorded
        Frames that are there, by number.
    lost : set of int
        Numbers of frames that were there and went missing or bad, and were not taken again.
    found : dict of str to Found
        What steps turned out to be, by name.
    resumes, losses : int
        How often it was continued, and how many frames went missing or bad.
    seconds : float
        Time worked on it, without the breaks [s].
    finished : bool
        Whether it is complete.
    """

    frames: dict[int, Recorded] = field(default_factory=dict)
    lost: set[int] = field(default_factory=set)
    found: dict[str, Found] = field(default_factory=dict)
    resumes: int = 0
    losses: int = 0
    seconds: float = 0.0
    finished: bool = False

    _part: float = 0.0  # of `seconds`: what the part that goes on took so far

    @classmethod
    def of(cls, entries: Iterable[Mapping[str, Any]]) -> "History":
        """Return what the events of a journal add up to; ArtifactError where they make no sense."""
        history = cls()
        for number, entry in enumerate(entries, start=1):
            try:
                history.take(entry)
            except (KeyError, TypeError, ValueError) as error:
                raise ArtifactError(f"journal, line {number} makes no sense: {error!r}") from error
        return history

    def taken(self, step: str) -> Counter[float]:
        """Return how many frames of each exposure [s] a step has."""
        return Counter(frame.exposure for frame in self.frames.values() if frame.step == step)

    def missing(self, step: Step) -> Counter[float]:
        """Return how many frames of each exposure [s] are missing of a step that was found."""
        found = self.found[step.name]
        return Counter(dict.fromkeys(found.exposures, step.repeats)) - self.taken(step.name)

    def complete(self, step: Step) -> bool:
        """Return whether a step was reached and has all its frames."""
        return step.name in self.found and not self.missing(step)

    def next_number(self) -> int:
        """Return the number of the next frame: that of a lost one first."""
        return min(self.lost) if self.lost else max(self.frames, default=0) + 1

    def take(self, entry: Mapping[str, Any]) -> None:
        """Add one event."""
        event, at = entry["event"], float(entry["at"])
        if event in ("begin", "resume"):
            self._part = 0.0
            self.resumes += event == "resume"
        self.seconds += max(0.0, at - self._part)
        self._part = max(self._part, at)
        if event == "frame":
            stored = Stored(entry["size"], entry["sha256"], entry["sidecar"])
            frame = Recorded(
                entry["number"], entry["step"], entry["exposure"], entry["gain"], stored,
                entry["level"], entry["saturated"], entry["confirmed"],
            )  # fmt: skip
            if frame.number in self.frames:
                raise ValueError(f"frame {frame.number} is there twice")
            self.frames[frame.number] = frame
            self.lost.discard(frame.number)
        elif event == "lost":
            del self.frames[entry["number"]]
            self.lost.add(entry["number"])
            self.losses += 1
            self.finished = False
        elif event == "found":
            region = Roi(*entry["region"])
            self.found[entry["step"]] = Found(tuple(entry["exposures"]), region)
        elif event == "end":
            self.finished = True
