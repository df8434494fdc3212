"""Reading a recorded session: its steps, its frames, each checked against its hash when loaded."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardware.frames import RawFrame
from hardware.session.frames import damage, read_about, read_frame
from hardware.session.history import History, Recorded
from hardware.session.journal import Journal
from hardware.session.plan import Found, Kind, Plan, Step
from hardware.session.runner import JOURNAL, SESSION
from hardware.storage import ArtifactError, read_json


@dataclass(frozen=True)
class Session:
    """A session on disk, finished or not.

    Attributes
    ----------
    folder : Path
        Its folder.
    plan : Plan
        What was to be taken.
    identity : dict
        The rig it was taken with: name, camera and mode, axes, lights.
    history : History
        What was taken.
    """

    folder: Path
    plan: Plan
    identity: dict[str, Any]
    history: History

    @classmethod
    def open(cls, folder: Path) -> "Session":
        """Return the session in `folder`.

        Raises
        ------
        ArtifactError
            There is none, or what describes it is damaged.
        """
        value = read_json(folder / SESSION)
        try:
            if value["format"] != 1:
                raise ValueError(f"format {value['format']!r}, expected 1")
            plan, identity = Plan.from_json(value["plan"]), dict(value["identity"])
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{folder / SESSION} describes no session: {error}") from error
        if not (folder / JOURNAL).exists():
            return cls(folder, plan, identity, History())
        return cls(folder, plan, identity, History.of(Journal(folder / JOURNAL).entries))

    def step(self, name: str) -> Step:
        """Return a step; ValueError if the plan has none of that name."""
        for step in self.plan.steps:
            if step.name == name:
                return step
        raise ValueError(f"step = {name!r}: there are {', '.join(s.name for s in self.plan.steps)}")

    def found(self, name: str) -> Found | None:
        """Return what a step turned out to be; None if it was not reached."""
        return self.history.found.get(name)

    def frames(
        self, *, step: str | None = None, kind: Kind | None = None, exposure: float | None = None
    ) -> list[Recorded]:
        """Return the frames with these properties, in the order of their numbers.

        Parameters
        ----------
        step : str, optional
            Name of their step.
        kind : {"psf", "dark", "flat", "scene"}, optional
            Kind of their step.
        exposure : float, optional
            Exposure that was asked for, to a millionth [s].
        """
        kinds = {one.name: one.kind for one in self.plan.steps}
        return [
            frame
            for _, frame in sorted(self.history.frames.items())
            if (step is None or frame.step == step)
            and (kind is None or kinds[frame.step] == kind)
            and (exposure is None or abs(frame.exposure - exposure) <= 1e-6 * exposure)
        ]

    def load(self, frame: Recorded | int) -> RawFrame:
        """Return one frame; ArtifactError if it is missing or damaged.

        Parameters
        ----------
        frame : Recorded or int
            One of `frames`, or its number.
        """
        recorded = self._recorded(frame) if isinstance(frame, int) else frame
        return read_frame(self.folder, recorded.number, recorded.stored)

    def about(self, frame: Recorded | int) -> dict[str, Any]:
        """Return all that is known about a frame: step, position [m or rad], light, settings."""
        recorded = self._recorded(frame) if isinstance(frame, int) else frame
        return read_about(self.folder, recorded.number, sha256=recorded.stored.sidecar)

    def load_all(self, frames: list[Recorded]) -> Iterator[RawFrame]:
        """Yield frames one after the other, so that one at a time is in memory."""
        return (self.load(frame) for frame in frames)

    def verify(self) -> None:
        """Raise ArtifactError unless every frame of the journal is there, unchanged."""
        for number, frame in self.history.frames.items():
            if why := damage(self.folder, number, frame.stored, whole=True):
                raise ArtifactError(f"{self.folder}, frame {number}: {why}")

    def _recorded(self, number: int) -> Recorded:
        if number not in self.history.frames:
            raise ArtifactError(
                f"{self.folder} has no frame {number}; it has {len(self.history.frames)}, from 1"
            )
        return self.history.frames[number]
