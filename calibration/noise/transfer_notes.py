"""What makes the light levels of a photon transfer curve doubtful, in sentences."""

from collections.abc import Sequence

from calibration.noise.levels import Level
from calibration.uncertainty import Uncertain

#: Bright levels from the dark to beyond saturation that are advised.
ADVISED = 20

_UNEVEN = 0.03  # gradient over signal
_UNSTEADY = 0.01  # change of light between frames, over signal
_BRIGHT = 0.5  # share of the brightest level from which on light is judged: noise is small there
_COARSE = 0.05  # step of the signal at saturation, over saturation
_UNRESOLVED = 0.24  # dark variance below which rounding is no longer noise [DN^2]
_ZEROS = 1e-3  # share of dark samples at zero


def notes_on_light(levels: Sequence[Level], signal: Sequence[float], taken: int) -> list[str]:
    """Judge how many levels there are, and how even and steady the light was.

    Parameters
    ----------
    levels : sequence of Level
        Those of the fit, from dark to bright.
    signal : sequence of float
        Of each above the dark [DN].
    taken : int
        Bright levels in all.
    """
    notes = []
    if taken < ADVISED:
        notes.append(f"{taken} light levels; {ADVISED} or more are advised")
    judged = [
        (level, s) for level, s in zip(levels, signal, strict=True) if s >= _BRIGHT * max(signal)
    ]
    uneven = max(level.gradient / s for level, s in judged)
    unsteady = max(level.drift / s for level, s in judged)
    if uneven > _UNEVEN:
        notes.append(
            f"the light rises by {uneven:.1%} across the pixels; below {_UNEVEN:.0%} is advised: "
            f"use fewer pixels, or a diffuser"
        )
    if unsteady > _UNSTEADY:
        notes.append(
            f"frames of one level differ by {unsteady:.1%}; below {_UNSTEADY:.0%} is advised: "
            f"let the lamp warm up, or expose for whole periods of the mains"
        )
    return notes


def notes_on_saturation(signal: Sequence[float], saturation: Uncertain | None) -> list[str]:
    """Judge how finely the levels meet saturation; `signal` in the order of light."""
    if saturation is None:
        return ["no level saturates, so the full well is unknown: take brighter levels"]
    below = max((i for i, s in enumerate(signal) if s < 0.95 * saturation.value), default=0)
    step = (signal[min(below + 1, len(signal) - 1)] - signal[below]) / saturation.value
    if step <= _COARSE:
        return []
    return [
        f"levels are {step:.1%} of saturation apart where it begins; {_COARSE:.0%} or less is "
        f"advised: take more levels there"
    ]


def notes_on_dark(dark: Level) -> list[str]:
    """Judge whether the dark shows all of its noise."""
    notes = []
    if dark.zeros > _ZEROS:
        notes.append(
            f"{dark.zeros:.1%} of the dark samples are zero: the converter cuts the noise off, so "
            f"that black level and read noise are wrong; raise the black level"
        )
    if dark.variance < _UNRESOLVED:
        notes.append(
            f"the dark variance is {dark.variance:.3f} DN^2: below {_UNRESOLVED} DN^2 rounding "
            f"hides the read noise; take a higher analogue gain"
        )
    return notes
