"""Executing a plan on a rig, frame by frame, so that an interruption costs one frame.

A frame counts once its two files and its line in the journal are on the disk, in this order; what
was cut short is taken again under the same number. A session that is started again in its folder
goes on at the first missing frame. However it ends, lights go off and stages stop. The caller
keeps the folder for itself (`hardware.storage.lock`) and closes the rig.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hardware.cameras.base import CaptureSettings
from hardware.errors import HardwareError
from hardware.frames import RawFrame
from hardware.rig import Rig
from hardware.session.checking import check_plan, chosen_mode
from hardware.session.estimating import estimate
from hardware.session.frames import FOLDER as FRAMES
from hardware.session.frames import damage, read_frame, write_frame
from hardware.session.history import History, Recorded
from hardware.session.identity import drift, identity, refuse_changes, refuse_drift
from hardware.session.journal import Journal
from hardware.session.plan import AutoExposure, Found, Plan, Spot, Step
from hardware.session.searching import ANY_LEVEL, find_exposure, find_spot, level, saturated
from hardware.storage import (
    ResourceError,
    read_json,
    remove_unfinished,
    require_space,
    save_json,
    sync_folder,
)

SESSION = "session.json"
JOURNAL = "journal.jsonl"
#: Lights are set again after this time, before their guard against being forgotten acts [s].
RELIGHT = 30.0
#: How often a session goes over its steps again for frames that went bad on the disk.
ROUNDS = 3

log = logging.getLogger(__name__)
Watch = Callable[[Recorded], object]


def run_session(
    folder: Path,
    plan: Plan,
    rig: Rig,
    *,
    about: Mapping[str, Any] | None = None,
    watch: Watch | None = None,
    compress: bool = False,
) -> History:
    """Take the frames of `plan` that `folder` does not hold yet, and return its history.

    Parameters
    ----------
    folder : Path
        Folder of the session, new or begun.
    plan : Plan
        What to take; for a folder that was begun, the plan it was begun with.
    rig : Rig
        What to take it with.
    about : mapping, optional
        What else to note in `session.json`: versions, operator.
    watch : callable, optional
        Called with each frame once it is on the disk.
    compress : bool
        Whether to compress frames without loss.

    Raises
    ------
    ValueError
        The rig cannot do what the plan asks; nothing was moved.
    SessionChanged
        The folder was begun with another plan or rig, or the light drifted since.
    ResourceError
        The disk is full or would be; what is there is sound.
    HardwareError
        A device failed. The session is paused, not tried again; start it again to go on.
    KeyboardInterrupt
        A signal stopped it, and everything with it.
    """
    check_plan(plan, rig)
    part = _Part(folder, plan, rig, watch, compress)
    try:
        with rig.safety.on_signal():
            part.open(about or {})
            part.complete()
    except BaseException as error:
        with suppress(ResourceError):  # a full disk is what happened, then
            part.note("pause", error=type(error).__name__, reason=str(error)[:500])
        raise
    finally:
        _park(rig)
    return part.history


def _park(rig: Rig) -> None:
    for trouble in rig.park():
        log.error("not parked: %s", trouble)


def _apart(exposures: Iterable[float], step: float) -> list[float]:
    """Return those exposures [s] that one bracket can tell apart, the shortest first."""
    chosen: list[float] = []
    for exposure in sorted(exposures):
        if not chosen or exposure - chosen[-1] > max(0.02 * exposure, 2 * step):
            chosen.append(exposure)
    return chosen


class _Part:
    """What is done of a session at a stretch, from its beginning or a break to the next break."""

    def __init__(
        self, folder: Path, plan: Plan, rig: Rig, watch: Watch | None, compress: bool
    ) -> None:
        self.folder, self.plan, self.rig = folder, plan, rig
        self.watch, self.compress = watch, compress
        self.mode = chosen_mode(plan, rig)
        self.journal = Journal(folder / JOURNAL)
        self.history = History.of(self.journal.entries)
        self._begun = self._lit = rig.clock.now()

    def note(self, event: str, **details: object) -> None:
        """Write one event, and take it into account."""
        at = round(self.rig.clock.now() - self._begun, 3)
        utc = self.rig.clock.utc().isoformat(timespec="seconds")
        self.history.take(self.journal.append(event, at=at, utc=utc, **details))

    # Beginning, or going on

    def open(self, about: Mapping[str, Any]) -> None:
        """Write what the session is, or see that it is still the same one."""
        granted = self.rig.camera.configure(
            CaptureSettings(self.mode.name, max_exposure=min(0.1, self.mode.max_exposure))
        )
        now = {"identity": identity(self.rig, granted), "plan": self.plan.to_json()}
        path, again = self.folder / SESSION, bool(self.journal.entries)
        if path.exists():
            stored = read_json(path)
            refuse_changes({key: stored.get(key) for key in now}, now)
        remove_unfinished(self.folder / FRAMES)
        self._lose_damaged(whole=False)
        self._require_space()
        if not path.exists():
            begun = self.rig.clock.utc().isoformat(timespec="seconds")
            save_json(path, {"format": 1, "begun": begun, **now, "about": dict(about)})
            (self.folder / FRAMES).mkdir(exist_ok=True)
            sync_folder(self.folder)
        self.note(
            "resume" if again else "begin",
            driver=self.rig.camera.info.driver,
            granted=asdict(granted),
            status=dict(self.rig.camera.status()),
        )
        if all(map(self.history.complete, self.plan.steps)):
            return
        if any(step.position for step in self.plan.steps):
            self.rig.home()
        if again:
            self._check_drift()

    def complete(self) -> None:
        """Take what is missing, until nothing is."""
        for _ in range(ROUNDS):
            for step in self.plan.steps:
                self._take(step)
            _park(self.rig)
            if not self._lose_damaged(whole=True):
                if not self.history.finished:
                    self.note("end")
                return
        raise ResourceError(f"{self.folder}: frames went bad {ROUNDS} times over; check the disk")

    def _lose_damaged(self, *, whole: bool) -> bool:
        """Note which frames are missing or bad, by their size or as a `whole`; whether any is."""
        bad = {
            number: why
            for number, frame in self.history.frames.items()
            if (why := damage(self.folder, number, frame.stored, whole=whole))
        }
        for number, why in bad.items():
            log.warning("frame %d is taken again: %s", number, why)
            self.note("lost", number=number, reason=why)
        return bool(bad)

    def _require_space(self) -> None:
        left = estimate(self.plan, self.mode, self.rig.axes, self.history)
        require_space(self.folder, left.size)

    def _check_drift(self) -> None:
        """Compare the last lit step that has frames with what is seen of it now."""
        for step in reversed(self.plan.steps):
            own = [f for f in self.history.frames.values() if f.step == step.name]
            if own and step.kind in ("psf", "flat") and any(step.light.values()):
                break
        else:
            return
        within = [frame for frame in own if not frame.saturated]
        chosen = max(within or own[:1], key=lambda frame: frame.exposure)
        self._go(step)
        region = self.history.found[step.name].region
        self.rig.camera.configure(CaptureSettings(self.mode.name, region, chosen.exposure))
        first, second = (self.rig.camera.capture(chosen.exposure, step.gain) for _ in range(2))
        seen = drift(read_frame(self.folder, chosen.number, chosen.stored), (first, second))
        if seen is not None:
            self.note("drift", step=step.name, number=chosen.number, **asdict(seen))
            refuse_drift(seen, step.name)

    # One step

    def _take(self, step: Step) -> None:
        if self.history.complete(step):
            return
        self._require_space()
        self._go(step)
        found = self.history.found.get(step.name)
        if found is None:
            found = self._find(step)
            region = [getattr(found.region, k) for k in ("row", "column", "height", "width")]
            self.note("found", step=step.name, exposures=found.exposures, region=region)
        longest = max(found.exposures)
        granted = self.rig.camera.configure(CaptureSettings(self.mode.name, found.region, longest))
        place = self._place(step)
        while missing := self.history.missing(step):
            times = _apart(missing, granted.exposure_step)
            repeats = min(missing[time] for time in times)
            bracket = self.rig.camera.bracket(times, repeats=repeats, gain=step.gain)
            with closing(bracket) as frames:
                for frame in frames:
                    self._keep_lit(step)
                    self._keep(step, frame, place)

    def _go(self, step: Step) -> None:
        """Dark while moving, then the light of the step, then rest."""
        self.rig.light({})
        self.rig.move_to(step.position)
        self.rig.light(step.light)
        self._lit = self.rig.clock.now()
        self.rig.clock.sleep(self.plan.settle)

    def _find(self, step: Step) -> Found:
        """Search for what the plan leaves open."""
        camera, mode, known = self.rig.camera, self.mode, self.history.found
        exposures = self.plan.exposures_of(step, known)
        region = self.plan.region_of(step, known, mode)
        anchor, rule = self.plan.anchor(step, known), step.exposures
        time = max(exposures) if exposures else anchor or 1e-3
        if region is None and isinstance(step.region, Spot):
            if isinstance(rule, AutoExposure):
                wide = replace(ANY_LEVEL, longest=rule.longest)
                time = find_exposure(camera, wide, mode=mode, gain=step.gain, start=time)
            else:
                camera.configure(CaptureSettings(mode.name, max_exposure=time))
            region = find_spot(camera.capture(time, step.gain), step.region)
        if exposures is None and isinstance(rule, AutoExposure):
            time = find_exposure(camera, rule, mode=mode, region=region, gain=step.gain, start=time)
            exposures = rule.ladder(time, anchor=anchor, shortest=mode.min_exposure)
        if not exposures or region is None:
            raise ValueError(f"step {step.name}: nothing to take; no step before it took a frame")
        return Found(exposures, region)

    def _place(self, step: Step) -> dict[str, Any]:
        """Return where and in which light the frames of a step are taken."""
        position: dict[str, float] = {}
        for stage in self.rig.stages.values():
            position |= stage.position() if stage.homed else {}
        return {"step": step.name, "kind": step.kind, "position": position, "light": self._levels()}

    def _levels(self) -> dict[str, float]:
        return {n: v for light in self.rig.lights.values() for n, v in light.state.items()}

    def _keep_lit(self, step: Step) -> None:
        """Refuse frames of a light that went dark, and set one that burns long once more."""
        wanted = dict.fromkeys(self.rig.channels, 0.0) | dict(step.light)
        if self._levels() != wanted:
            raise HardwareError(
                f"step {step.name}: the light is {self._levels()}, but {wanted} was set",
                hint="something switched it; look, then continue the session",
            )
        if self.rig.clock.now() - self._lit > RELIGHT:
            self.rig.light(step.light)
            self._lit = self.rig.clock.now()

    def _keep(self, step: Step, frame: RawFrame, place: Mapping[str, Any]) -> None:
        """Put one frame on the disk, then into the journal."""
        number = self.history.next_number()
        stored = write_frame(self.folder, number, frame, place, compress=self.compress)
        self.note(
            "frame", number=number, step=step.name, exposure=frame.asked_exposure,
            gain=frame.asked_gain, **asdict(stored), level=round(level(frame), 5),
            saturated=round(saturated(frame), 6), confirmed=frame.confirmed,
        )  # fmt: skip
        if self.watch is not None:
            self.watch(self.history.frames[number])
