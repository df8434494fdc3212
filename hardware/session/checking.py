"""Whether a rig can do what a plan asks: all of it, before anything moves."""

from hardware.cameras.base import SensorMode
from hardware.frames import Roi
from hardware.rig import Rig
from hardware.session.plan import AutoExposure, Plan, Spot, Step


def chosen_mode(plan: Plan, rig: Rig) -> SensorMode:
    """Return the mode that the plan takes; ValueError if the camera has none of that name."""
    for mode in rig.camera.modes:
        if plan.mode in ("", mode.name):
            return mode
    known = ", ".join(mode.name for mode in rig.camera.modes)
    raise ValueError(f"mode = {plan.mode!r}: the {rig.camera.info.model} has {known}")


def check_plan(plan: Plan, rig: Rig) -> None:
    """Raise ValueError, naming the step, where `rig` cannot do what `plan` asks."""
    mode = chosen_mode(plan, rig)
    for step in plan.steps:
        try:
            _check_place(step, rig)
            _check_settings(step, mode)
        except ValueError as error:
            raise ValueError(f"plan {plan.name}, step {step.name}: {error}") from error


def _check_place(step: Step, rig: Rig) -> None:
    axes = rig.axes
    for name, target in step.position.items():
        if name not in axes:
            raise ValueError(f"axis = {name!r}: the rig has {', '.join(axes) or 'none'}")
        axis = axes[name]
        if not axis.low <= target <= axis.high:
            raise ValueError(
                f"{name} = {target:g} {axis.unit} is outside [{axis.low:g}, {axis.high:g}] "
                f"{axis.unit}"
            )
    channels = {n: c for light in rig.lights.values() for n, c in light.channels.items()}
    for name, level in step.light.items():
        if name not in channels:
            raise ValueError(f"channel = {name!r}: the rig has {', '.join(channels) or 'none'}")
        if level > channels[name].max_level:
            raise ValueError(f"{name} = {level:g}: at most {channels[name].max_level:g} is allowed")


def _check_settings(step: Step, mode: SensorMode) -> None:
    times = step.exposures if isinstance(step.exposures, tuple) else ()
    if isinstance(step.exposures, AutoExposure):
        times = (max(step.exposures.longest, mode.min_exposure),)
    for time in times:
        if not mode.min_exposure <= time <= mode.max_exposure:
            raise ValueError(
                f"exposure = {time:g} s is outside [{mode.min_exposure:g}, "
                f"{mode.max_exposure:g}] s of mode {mode.name}"
            )
    if step.gain > mode.max_gain:
        raise ValueError(f"gain = {step.gain:g}: at most {mode.max_gain:g} in mode {mode.name}")
    if isinstance(step.region, Roi):
        step.region.check_inside(mode.shape)
    if isinstance(step.region, Spot):
        Roi(0, 0, step.region.height, step.region.width).check_inside(mode.shape)
