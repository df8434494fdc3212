"""Is it still the same set-up? What a session must not change, and whether the light drifted."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.cameras.base import GrantedSettings
from hardware.errors import HardwareError
from hardware.frames import RawFrame
from hardware.rig import Rig
from hardware.session.searching import NEARLY_FULL

#: Largest change of the signal between the parts of a session, beyond three times its noise.
SIGNAL_CHANGE = 0.02
#: Largest shift of the centroid [pixels].
SHIFT = 0.5
#: Pixels above this share of the brightest are compared.
COMPARED = 0.1


class SessionChanged(HardwareError):
    """The rig, the camera, the plan or the light is not what the session began with."""


def identity(rig: Rig, granted: GrantedSettings) -> dict[str, Any]:
    """Return what has to stay the same over all parts of a session, as plain data."""
    info = rig.camera.info
    return {
        "rig": rig.name,
        "camera": {
            "model": info.model,
            "serial": info.serial,
            "pixel_pitch": info.pixel_pitch,
            "shape": list(info.shape),
            "mode": {**asdict(granted.mode), "shape": list(granted.mode.shape)},
            "format": granted.format,
            "defect_correction": granted.defect_correction,
        },
        "axes": {name: asdict(axis) for name, axis in rig.axes.items()},
        "lights": {
            name: asdict(channel)
            for light in rig.lights.values()
            for name, channel in light.channels.items()
        },
    }


def refuse_changes(stored: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise SessionChanged, with the difference, unless both are the same."""
    old, new = _flat(stored), _flat(now)
    changed = [
        f"{key}: {old.get(key)!r} -> {new.get(key)!r}"
        for key in sorted(set(old) | set(new))
        if old.get(key) != new.get(key)
    ]
    if changed:
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise SessionChanged(
            f"the session was begun with something else ({'; '.join(changed[:5])}{more})",
            hint="restore that, or begin a session of its own",
        )


@dataclass(frozen=True)
class Drift:
    """How two frames of the same thing differ.

    Attributes
    ----------
    signal : float
        Relative change of the signal.
    shift : float
        Distance between their centroids [pixels].
    signal_noise, shift_noise : float
        Standard deviations of both by the noise of the frames.
    """

    signal: float
    shift: float
    signal_noise: float
    shift_noise: float


def drift(stored: RawFrame, fresh: tuple[RawFrame, RawFrame]) -> Drift | None:
    """Compare a stored frame with two new ones; None where there is no signal to compare.

    Two are needed for the noise: the squared difference of two frames is twice the variance of
    one. Which pixels are compared is told by all three alike, so that noise favours none of them.
    """
    before, a, b = (_signal(frame) for frame in (stored, *fresh))
    full = NEARLY_FULL * (stored.white_level - max(stored.black_level))
    whole = np.all([signal < full for signal in (before, a, b)], axis=0)
    mean = (before + a + b) / 3
    bright = whole & (mean > COMPARED * mean[whole].max(initial=0.0))
    total = float(before[bright].sum())
    if not total > 0:
        return None
    places = np.argwhere(bright)
    centre = _centroid(mean[bright], places)
    moved = _centroid(before[bright], places) - _centroid((a + b)[bright], places)
    # of the difference between one frame and the mean of two
    variance = 1.5 * (a - b)[bright] ** 2 / 2
    distance = ((places - centre) ** 2).sum(axis=1)
    return Drift(
        float((a + b)[bright].sum()) / 2 / total - 1,
        float(np.hypot(*moved)),
        float(np.sqrt(variance.sum())) / total,
        float(np.sqrt((variance * distance).sum())) / total,
    )


def refuse_drift(found: Drift, step: str) -> None:
    """Raise SessionChanged where the light or the spot is not where it was."""
    dimmed = abs(found.signal) > SIGNAL_CHANGE + 3 * found.signal_noise
    if dimmed or found.shift > SHIFT + 3 * found.shift_noise:
        raise SessionChanged(
            f"step {step}: the signal changed by {found.signal:+.1%} and moved by "
            f"{found.shift:.2f} pixels since it was recorded; at most {SIGNAL_CHANGE:.0%} and "
            f"{SHIFT} pixels are allowed beyond the noise",
            hint="let it warm up, look for what moved, or begin a session of its own",
        )


def _signal(frame: RawFrame) -> NDArray[np.float64]:
    height, width = frame.shape
    black = np.tile(np.reshape(frame.black_level, (2, 2)), ((height + 1) // 2, (width + 1) // 2))
    signal: NDArray[np.float64] = frame.mosaic - black[:height, :width]
    return signal


def _centroid(signal: NDArray[np.float64], places: NDArray[np.int_]) -> NDArray[np.float64]:
    centre: NDArray[np.float64] = signal @ places / signal.sum()
    return centre


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        parts = {f"{path}.{key}" if path else str(key): item for key, item in value.items()}
    elif isinstance(value, (list, tuple)):
        parts = {f"{path}[{number}]": item for number, item in enumerate(value)}
    else:
        return {path: value}
    result: dict[str, Any] = {}
    for name, item in parts.items():
        result |= _flat(item, name)
    return result
