"""Cameras beside what was measured: numbers by depth and colour, what they come to, and lights."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from calibration.compare import Likeness, Pair, compare_mosaic
from calibration.errors import CalibrationError
from calibration.psf.stack import PsfStack
from calibration.uncertainty import Uncertain
from experiments.settings import SettingsError
from experiments.twinning import Laid

Light = Literal["green", "yellow", "red"]

#: Whether more is better, of the quantities that get a light; of changes, the size counts.
MORE_IS_BETTER = {
    "ncc": True,
    "relative_l2": False,
    "chi2_per_pixel": False,
    "mtf50_change": False,
    "width_change": False,
    "radius_50_change": False,
    "radius_80_change": False,
    "strehl_change": False,
    "drift_px": False,
    "dynamic_range_db": True,
}
_GREENS = ("Gr", "Gb", "mono")


@dataclass(frozen=True, eq=False)
class Row:
    """One colour plane at one depth.

    Attributes
    ----------
    field, depth : int
        Which stack, and which of its depths, from 0.
    distance : float
        Of the source [m].
    plane : str
        Name of the colour plane.
    likeness : Likeness
        Measured against expected.
    """

    field: int
    depth: int
    distance: float
    plane: str
    likeness: Likeness


def compare_laid(stacks: Sequence[PsfStack], laid: Sequence[Laid]) -> list[Row]:
    """Compare every plane of every depth with what a camera shows there."""
    rows = []
    for field, (stack, one) in enumerate(zip(stacks, laid, strict=True)):
        for depth in range(stack.depths):
            found = compare_mosaic(
                stack.rate[depth] - one.ambient, stack.variance[depth], stack.valid[depth],
                one.expected[depth], cfa=stack.cfa,
            )  # fmt: skip
            distance = float(stack.readings[depth])
            rows += [Row(field, depth, distance, name, like) for name, like in found.items()]
    return rows


def summary(rows: Sequence[Row]) -> dict[str, float]:
    """Return what rows come to: means over depths, fields and planes.

    Changes are means of their sizes, `relative_l2` a root mean square; drift and Strehl ratio are
    those of the greens.
    """
    if not rows:
        raise CalibrationError("nothing was compared")
    all_of = [row.likeness for row in rows]
    greens = [row.likeness for row in rows if row.plane in _GREENS] or all_of
    out = {
        "ncc": float(np.mean([one.ncc.value for one in all_of])),
        "ncc_worst": min(one.ncc.value for one in all_of),
        "relative_l2": math.sqrt(float(np.mean([one.relative_l2.value**2 for one in all_of]))),
        "chi2_per_pixel": float(
            np.average([one.chi_square for one in all_of], weights=[one.pixels for one in all_of])
        ),
        "width_change": _size(one.width for one in all_of),
        "radius_50_change": _size(one.radii[0.5] for one in all_of),
        "radius_80_change": _size(one.radii[0.8] for one in all_of),
        "strehl_change": float(np.mean([abs(one.strehl.value - 1) for one in greens])),
    }
    falls = [one.mtf50 for one in greens if one.mtf50 is not None]
    if falls:
        out["mtf50_cy_per_px"] = float(np.mean([pair.measured.value for pair in falls]))
        out["mtf50_change"] = _size(falls)
    drifts = [one.drift for one in greens if one.drift is not None]
    if drifts:
        out["drift_px"] = max(math.hypot(y.value, x.value) for y, x in drifts)
    return out


def sheet(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return rows as plain values, for a file; curves are left out."""
    return [
        {
            "field": row.field,
            "depth": row.depth,
            "distance_m": row.distance,
            "plane": row.plane,
            "ncc": _plain(row.likeness.ncc),
            "relative_l2": _plain(row.likeness.relative_l2),
            "chi_square_per_pixel": row.likeness.chi_square,
            "pixels": row.likeness.pixels,
            "strehl_to_expected": _plain(row.likeness.strehl),
            "drift_px": row.likeness.drift and [_plain(one) for one in row.likeness.drift],
            "width_px": _pair(row.likeness.width),
            "mtf50_cy_per_px": row.likeness.mtf50 and _pair(row.likeness.mtf50),
            **{f"radius_{s:.0%}_px": _pair(p) for s, p in row.likeness.radii.items()},
        }
        for row in rows
    ]


def light(name: str, value: float, thresholds: Mapping[str, Mapping[str, float]]) -> Light | None:
    """Return the light of a number; None where the profile has no threshold for it."""
    if name not in thresholds:
        return None
    limits, sign = thresholds[name], 1 if MORE_IS_BETTER[name] else -1
    for colour in ("green", "yellow"):
        if sign * value >= sign * limits[colour]:
            return "green" if colour == "green" else "yellow"
    return "red"


def check_thresholds(thresholds: Mapping[str, Mapping[str, float]]) -> None:
    """Refuse thresholds of unknown quantities, or that run the wrong way."""
    for name, limits in thresholds.items():
        if name not in MORE_IS_BETTER:
            raise SettingsError(f"thresholds.{name}: there are {', '.join(MORE_IS_BETTER)}")
        if set(limits) != {"green", "yellow"}:
            raise SettingsError(f"thresholds.{name} needs green and yellow, and nothing else")
        above = limits["green"] >= limits["yellow"]
        if above != MORE_IS_BETTER[name] and limits["green"] != limits["yellow"]:
            raise SettingsError(
                f"thresholds.{name}: green = {limits['green']:g}, yellow = {limits['yellow']:g} "
                f"run the wrong way; {'more' if MORE_IS_BETTER[name] else 'less'} is better"
            )


def worse(before: Mapping[str, float], after: Mapping[str, float]) -> list[str]:
    """Say in which respects `after` is worse than `before`: correlation, or fit to the noise."""
    out = []
    for name, text in (("ncc", "NCC"), ("chi2_per_pixel", "chi-square per pixel")):
        sign = 1 if MORE_IS_BETTER[name] else -1
        if sign * after[name] < sign * before[name]:
            out.append(f"{text} {after[name]:.4g} after, {before[name]:.4g} before")
    return out


def _size(pairs: Any) -> float:
    changes = [abs(pair.change) for pair in pairs]
    return float(np.mean(changes))


def _plain(value: Uncertain) -> dict[str, float]:
    return {"value": value.value, "uncertainty": value.uncertainty}


def _pair(pair: Pair) -> dict[str, Any]:
    return {"measured": _plain(pair.measured), "expected": pair.expected}
