"""What a plan will take: frames, time and disk."""

from collections.abc import Mapping
from dataclasses import dataclass

from hardware.cameras.base import SensorMode
from hardware.frames import Roi
from hardware.motion import Axis
from hardware.session.history import History
from hardware.session.plan import AutoExposure, Found, Plan, Spot, Step

#: Bytes of a frame beside its pixels: headers, the JSON file, its line in the journal.
BESIDES = 8192
#: Frames that a search for spot and exposure takes.
SEARCH = 12


@dataclass(frozen=True)
class Estimate:
    """What remains to be done.

    Attributes
    ----------
    steps, frames : int
        Steps with missing frames, and those frames; exposures that are still to be found are
        counted as those of one ladder.
    seconds : float
        Time for moves, waits, searches and exposures, without writing [s].
    size : int
        Room on the disk, not compressed [bytes].
    """

    steps: int
    frames: int
    seconds: float
    size: int


def estimate(
    plan: Plan, mode: SensorMode, axes: Mapping[str, Axis], history: History | None = None
) -> Estimate:
    """Return what `plan` still takes on a rig with these axes, after `history`."""
    history = history or History()
    found, here = dict(history.found), {name: axis.low for name, axis in axes.items()}
    steps = frames = size = 0
    seconds = 0.0
    for step in plan.steps:
        if step.name not in found:
            found[step.name] = _supposed(plan, step, found, mode)
            if isinstance(step.exposures, AutoExposure) or isinstance(step.region, Spot):
                seconds += SEARCH * max(1 / mode.frame_rate, *found[step.name].exposures)
        what = found[step.name]
        taken = history.taken(step.name)
        missing = sum(max(0, step.repeats - taken[exposure]) for exposure in what.exposures)
        if not missing:
            continue
        steps, frames = steps + 1, frames + missing
        size += missing * (2 * what.region.height * what.region.width + BESIDES)
        seconds += plan.settle + missing * max(1 / mode.frame_rate, *what.exposures)
        for name, target in step.position.items():
            if name in axes:
                seconds += abs(target - here[name]) / axes[name].speed
                here[name] = target
    return Estimate(steps, frames, seconds, size)


def _supposed(plan: Plan, step: Step, found: Mapping[str, Found], mode: SensorMode) -> Found:
    """Return what a step may turn out to be, where it has not been reached yet."""
    exposures, region = plan.exposures_of(step, found), plan.region_of(step, found, mode)
    if exposures is None and isinstance(step.exposures, AutoExposure):
        rule, first = step.exposures, plan.anchor(step, found)
        if first is None:
            first = min(rule.longest, mode.max_exposure) / rule.ratio ** (rule.count - 1)
        exposures = rule.ladder(first, anchor=None, shortest=mode.min_exposure)
    if region is None and isinstance(step.region, Spot):
        region = Roi(0, 0, step.region.height, step.region.width)
    return Found(exposures or (), region or Roi(0, 0, *mode.shape))
