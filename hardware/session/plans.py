"""Plans of the captures that a calibration needs.

Darks come last and take every exposure, over every region, that the steps before them took.
"""

import math
from collections.abc import Mapping, Sequence

from hardware.frames import Roi
from hardware.session.plan import AutoExposure, Exposures, Plan, Region, Spot, Step

#: Where flats end: far from both ends of the range, where the response is straight.
FLAT = AutoExposure(low=0.40, high=0.60, count=1)


def psf_stack(
    axis: str,
    nearest: float,
    farthest: float,
    *,
    depths: int = 6,
    zero_distance: float = 0.0,
    direction: int = 1,
    light: Mapping[str, float] | None = None,
    exposure_times: Sequence[float] | None = None,
    auto: AutoExposure | None = None,
    repeats: int = 8,
    flat_light: Mapping[str, float] | None = None,
    flat_repeats: int = 32,
    dark_repeats: int = 32,
    size: tuple[int, int] | None = (512, 512),
    gain: float = 1.0,
    settle: float = 0.5,
    mode: str = "",
) -> Plan:
    """Return a stack of PSFs at distances uniform in their reciprocal, with flats and darks.

    The flats cover the regions of the PSFs: they tell the gain and the response of these pixels.

    Parameters
    ----------
    axis : str
        Axis that moves the point source along the optical axis.
    nearest, farthest : float
        Range of distances of the source [m].
    depths : int, default 6
        Distances, 2 or more.
    zero_distance : float
        Distance of the source where the axis reads zero [m].
    direction : {1, -1}
        Whether the distance grows (1) or shrinks (-1) with the reading of the axis.
    light : mapping of str to float, optional
        Levels of the channels, by default "point" at 1.
    exposure_times : sequence of float, optional
        Exposures [s], by default those found by `auto`.
    auto : AutoExposure, optional
        How exposures are found, by default six from the brightest unclipped one up.
    flat_light : mapping of str to float, optional
        Levels of the channels for the flats, by default "panel" at 1.
    repeats, flat_repeats, dark_repeats : int
        Frames per exposure; no flats if `flat_repeats` is 0.
    size : tuple of int or None
        Region (H, W) around the spot [pixels]; None keeps whole frames.
    gain : float
        Analogue gain.
    settle : float
        Wait after each move [s].
    mode : str
        Mode of the camera.
    """
    if not 0 < nearest < farthest:
        raise ValueError(f"nearest = {nearest:g} m, farthest = {farthest:g} m: 0 < nearest < "
                         "farthest is needed")  # fmt: skip
    if depths < 2 or direction not in (1, -1):
        raise ValueError(f"depths = {depths}, direction = {direction}: 2 or more, and 1 or -1")
    region: Region = Spot(*size) if size else "full"
    steps = []
    for number in range(depths):
        share = number / (depths - 1)
        distance = 1 / ((1 - share) / nearest + share / farthest)
        steps.append(
            Step(
                f"psf-{number + 1:02d}",
                "psf",
                _exposures(exposure_times, auto),
                repeats,
                position={axis: direction * (distance - zero_distance)},
                light={"point": 1.0} if light is None else light,
                gain=gain,
                region=region,
                distance=distance,
            )
        )
    if flat_repeats:
        steps.append(_flat(FLAT, flat_repeats, flat_light, gain, "before"))
    return Plan("psf_stack", (*steps, _darks(dark_repeats, gain)), mode, settle)


def darks(
    exposure_times: Sequence[float],
    *,
    repeats: int = 32,
    gain: float = 1.0,
    roi: Roi | None = None,
    mode: str = "",
) -> Plan:
    """Return darks of the given exposures [s]."""
    step = Step("dark", "dark", tuple(exposure_times), repeats, gain=gain, region=roi or "full")
    return Plan("darks", (step,), mode)


def flats(
    *,
    light: Mapping[str, float] | None = None,
    auto: AutoExposure | None = None,
    repeats: int = 32,
    dark_repeats: int = 32,
    gain: float = 1.0,
    roi: Roi | None = None,
    settle: float = 1.0,
    mode: str = "",
) -> Plan:
    """Return flats at about half of the range, with darks.

    Parameters
    ----------
    light : mapping of str to float, optional
        Levels of the channels, by default "panel" at 1.
    auto : AutoExposure, optional
        How the exposure is found, by default 40 to 60 % of the range.
    repeats, dark_repeats : int
        Frames of each.
    gain : float
        Analogue gain.
    roi : Roi, optional
        Region to keep, by default all.
    settle : float
        Wait after the light is switched [s].
    mode : str
        Mode of the camera.
    """
    step = _flat(auto or FLAT, repeats, light, gain, roi or "full")
    return Plan("flats", (step, _darks(dark_repeats, gain)), mode, settle)


def photon_transfer(
    saturation: float,
    *,
    levels: int = 24,
    refined: int = 8,
    light: Mapping[str, float] | None = None,
    repeats: int = 2,
    gain: float = 1.0,
    roi: Roi | None = None,
    settle: float = 1.0,
    mode: str = "",
) -> Plan:
    """Return pairs of flats from dark to saturation, and pairs of darks.

    Parameters
    ----------
    saturation : float
        Exposure at which the panel saturates the sensor, roughly [s].
    levels : int
        Exposures evenly spaced up to that one; 20 or more are usual.
    refined : int
        Further exposures from 0.9 to 1.15 of it, where the variance has its maximum.
    light : mapping of str to float, optional
        Levels of the channels, by default "panel" at 1.
    repeats : int
        Frames of each exposure, 2 or more.
    gain : float
        Analogue gain.
    roi : Roi, optional
        Evenly lit region in the middle, by default all.
    settle : float
        Wait after the light is switched [s].
    mode : str
        Mode of the camera.
    """
    if not (math.isfinite(saturation) and saturation > 0) or levels < 2 or refined < 0:
        raise ValueError(
            f"saturation = {saturation:g} s, levels = {levels}, refined = {refined}: a positive "
            "time, 2 or more and 0 or more are needed"
        )
    if repeats < 2:
        raise ValueError(f"repeats = {repeats}: noise is the difference of 2 frames or more")
    even = {saturation * (n + 1) / levels for n in range(levels)}
    fine = {saturation * (0.9 + 0.25 * n / refined) for n in range(1, refined + 1)}
    times = tuple(sorted({float(f"{time:.6g}") for time in even | fine}))
    step = _flat(times, repeats, light, gain, roi or "full")
    return Plan("photon_transfer", (step, _darks(repeats, gain)), mode, settle)


def single(
    *,
    exposure_times: Sequence[float] | None = None,
    auto: AutoExposure | None = None,
    repeats: int = 1,
    light: Mapping[str, float] | None = None,
    gain: float = 1.0,
    roi: Roi | None = None,
    settle: float = 0.0,
    mode: str = "",
) -> Plan:
    """Return frames of what is in front of the camera.

    Parameters
    ----------
    exposure_times : sequence of float, optional
        Exposures [s], by default the one found by `auto`.
    auto : AutoExposure, optional
        How the exposure is found, by default 70 to 85 % of the range.
    repeats : int
        Frames of each.
    light : mapping of str to float, optional
        Levels of the channels, by default all dark.
    gain : float
        Analogue gain.
    roi : Roi, optional
        Region to keep, by default all.
    settle : float
        Wait after the light is switched [s].
    mode : str
        Mode of the camera.
    """
    found = _exposures(exposure_times, auto or AutoExposure(count=1))
    region: Region = roi or "full"
    step = Step("scene", "scene", found, repeats, light=light or {}, gain=gain, region=region)
    return Plan("single", (step,), mode, settle)


def _exposures(times: Sequence[float] | None, auto: AutoExposure | None) -> Exposures:
    return auto or AutoExposure() if times is None else tuple(times)


def _flat(
    exposures: Exposures,
    repeats: int,
    light: Mapping[str, float] | None,
    gain: float,
    region: Region,
) -> Step:
    levels = {"panel": 1.0} if light is None else light
    return Step("flat", "flat", exposures, repeats, light=levels, gain=gain, region=region)


def _darks(repeats: int, gain: float) -> Step:
    return Step("dark", "dark", "before", repeats, gain=gain, region="before")
