"""Figures of a comparison: privacy against utility, curves of the attackers, the picture wall."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, ScalarFormatter

from experiments.comparison.cells import PICTURES, label
from experiments.comparison.table import WORST, Row
from experiments.report.drawing import (
    INK,
    QUIET,
    Drawing,
    Missing,
    bare,
    camera_colour,
    house_style,
    legend_below,
    new_figure,
    to_display,
)
from experiments.store import load_arrays

UTILITY = "landmark_gain"
"""What the plane shows of utility: 0 tells nothing of the landmarks, 1 tells all."""

_COLOURS = {
    "camera": ("#56b4e9", "#7570b3", "#004c6d", "#1b9e77", "#c51b7d", "#808000"),
    "anonymizer": ("#e6007a",),
    "protection": ("#a6761d", "#5b5b5b", "#b30000", "#66a61e", "#e7298a", "#8da0cb"),
}
_CAMERAS = {  # the same cameras have the same colours on every page
    "learned": "learned",
    "bare_lens": "in_focus",
    "defocused": "defocused",
    "low_resolution": "low_resolution",
    "random_mask": "random_mask",
}
_MARKERS = {"camera": "o^DvPX", "anonymizer": "*", "protection": "s<>dph"}
_TILE, _ABREAST = 1.05, 6  # of the wall: side of a face [in], faces in a row
_FRAMES = re.compile(r"^(.*?)_?frames_(\d+)$")


def style_of(row: Row, rows: Sequence[Row]) -> tuple[str, str]:
    """Return colour and marker of a method, the same in all figures."""
    names = list(dict.fromkeys(one.method for one in rows if one.kind == row.kind))
    place = names.index(row.method)
    colours, markers = _COLOURS[row.kind], _MARKERS[row.kind]
    known = _CAMERAS.get(row.method)
    colour = camera_colour(known, ()) if known else colours[place % len(colours)]
    return colour, markers[place % len(markers)]


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return which points (AUC, utility) no other is better than in both, by rising AUC."""
    best, out = -np.inf, []
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if points[i][1] > best:
            best = points[i][1]
            out.append(i)
    return out


def plane(
    rows: Sequence[Row], floor: Mapping[str, float], ceiling: Mapping[str, float]
) -> Drawing | Missing:
    """Draw what the strongest attack finds against what is left of the landmarks."""
    known = [row for row in rows if WORST in row.numbers and UTILITY in row.numbers]
    if not known:
        return Missing("plane", "No method has both a number of privacy and one of utility.")
    points = [(row.numbers[WORST], row.numbers[UTILITY]) for row in known]
    front = pareto(points)
    with house_style():
        figure = new_figure(8.2, 5.6)
        axes = figure.subplots()
        for value, name in ((floor["auc"], "noise"), (ceiling["auc"], "clear faces")):
            axes.axvline(value, color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
            axes.annotate(
                name, (value, 1.01), xycoords=("data", "axes fraction"), color=QUIET,
                fontsize=8, ha="center",
            )  # fmt: skip
        line = np.array([points[i] for i in front])
        axes.step(
            line[:, 0], line[:, 1], where="post", color=QUIET, linewidth=1.2, zorder=1,
            label="nobody is better in both",
        )  # fmt: skip
        for row, (x, y) in zip(known, points, strict=True):
            colour, marker = style_of(row, rows)
            axes.errorbar(
                [x], [y], xerr=_reach(row, WORST), yerr=_reach(row, UTILITY), fmt=marker,
                color=colour, markersize=8, elinewidth=1, label=row.title, zorder=2,
            )  # fmt: skip
        axes.set_xlabel("AUC of the attack that finds most (0.5 is chance)")
        axes.set_ylabel("landmarks kept (0 none, 1 exact)")
        axes.set_ylim(-0.04, 1.04)
        legend_below(figure, axes)
    best = ", ".join(known[i].title for i in front)
    return Drawing(
        "plane",
        figure,
        alt=f"Privacy against utility of {len(known)} methods; on the front: {best}.",
        caption=f"Bars are 95 % intervals over people. On the front, from private to useful: "
        f"{best}. Landmarks are read by the camera's own network where it has one.",
        full=True,
    )


def _reach(row: Row, key: str) -> np.ndarray:
    """Return the lengths of the bars below and above a number (2, 1)."""
    value = row.numbers[key]
    low, high = (row.numbers.get(f"{key}{end}", value) for end in ("_lo", "_hi"))
    return np.array([[max(0.0, value - low)], [max(0.0, high - value)]])


def roc_curves(rows: Sequence[Row]) -> Drawing | Missing:
    """Draw the ROC of each method's strongest attack."""
    known = [row for row in rows if row.worst and row.attacks[row.worst].get("roc")]
    if not known:
        return Missing("roc", "No attack left a curve.")

    def draw(axes: Axes, row: Row, colour: str, marker: str) -> None:
        curve = row.attacks[row.worst]["roc"]
        axes.plot(
            curve["far"], curve["tar"], color=colour, marker=marker, markevery=16, markersize=5,
            linewidth=1.4, label=row.title,
        )  # fmt: skip

    figure, axes = _lines(rows, known, draw)
    far = np.array(known[0].attacks[known[0].worst]["roc"]["far"])
    with house_style():
        axes.plot(far, far, color=QUIET, linewidth=1, linestyle=(0, (4, 3)), label="chance")
        axes.set_xscale("log")
        axes.set_xlabel("false accepts")
        axes.set_ylabel("true accepts")
        legend_below(figure, axes)
    return Drawing(
        "roc",
        figure,
        alt="Receiver operating characteristics of the strongest attack on each method.",
        caption="Of each method the attack that finds most, by the recogniser that finds most.",
    )


def learning_curves(rows: Sequence[Row]) -> Drawing | Missing:
    """Draw what trained attackers find of the tuning people as they learn."""
    known = [
        (row, name, one) for row in rows for name, one in row.attacks.items() if one.get("curve")
    ]
    if not known:
        return Missing("learning", "No attack that learns was run.")
    with house_style():
        figure = new_figure(6.4, 4.8)
        axes = figure.subplots()
        for row, name, one in known:
            colour, marker = style_of(row, rows)
            points = _best_rate(one["curve"])
            several = len({n for _, n, _ in known}) > 1
            axes.plot(
                [p for p, _ in points], [v for _, v in points], color=colour, marker=marker,
                markersize=5, linewidth=1.4,
                label=f"{row.title}, {name.replace('_', ' ')}" if several else row.title,
            )  # fmt: skip
        axes.axhline(0.5, color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_xlabel("pictures seen in training")
        axes.set_ylabel("AUC on the people it chooses on")
        legend_below(figure, axes)
    return Drawing(
        "learning",
        figure,
        alt="AUC of trained attackers against the pictures they have seen.",
        caption="Attackers that are trained on what each method shows of other people, at the "
        "learning rate that served them best. A curve that still rises is no limit.",
    )


def _best_rate(curve: Sequence[Mapping[str, float]]) -> list[tuple[float, float]]:
    """Return pictures and AUC at the rate whose best AUC is highest."""
    by: dict[float, list[tuple[float, float]]] = {}
    for point in curve:
        by.setdefault(point.get("rate", 1.0), []).append((point["pictures"], point["auc_tune"]))
    return max(by.values(), key=lambda points: max(value for _, value in points))


def over_frames(rows: Sequence[Row]) -> Drawing | Missing:
    """Draw what is found in the mean of several shots."""
    series: dict[str, list[tuple[Row, list[tuple[int, Mapping[str, float]]]]]] = {}
    for row in rows:
        for name, one in row.attacks.items():
            if "exposures_e" in one["budget"]:  # shots and light have a figure of their own
                continue
            counted: dict[str, list[tuple[int, Mapping[str, float]]]] = {}
            for condition, values in one["conditions"].items():
                if match := _FRAMES.match(condition):
                    what = f"{name} {match[1]}".replace("_", " ").strip()
                    counted.setdefault(what, []).append((int(match[2]), values))
            for what, points in counted.items():
                if len(points) > 1:
                    series.setdefault(what, []).append((row, sorted(points, key=lambda p: p[0])))
    if not series:
        return Missing("frames", "No attack averaged shots.")
    with house_style():
        across = min(3, len(series))
        down = -(-len(series) // across)
        figure = new_figure(4.2 * across, 1.2 + 3.6 * down)
        panels = figure.subplots(down, across, sharey=True, squeeze=False).ravel()
        for axes in panels[len(series) :]:
            axes.set_axis_off()
        for axes, (what, own) in zip(panels, series.items(), strict=False):
            counts = sorted({count for _, points in own for count, _ in points})
            for row, points in own:
                colour, marker = style_of(row, rows)
                value = np.array([v["auc"] for _, v in points])
                ends = np.array(
                    [[v["auc_lo"] for _, v in points], [v["auc_hi"] for _, v in points]]
                )
                axes.errorbar(
                    [c for c, _ in points], value, yerr=np.abs(ends - value), color=colour,
                    marker=marker, markersize=6, elinewidth=1, linewidth=1.4, label=row.title,
                )  # fmt: skip
            axes.axhline(0.5, color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
            axes.set_xscale("log")
            _plain_ticks(axes, counts)
            axes.set_title(what)
            axes.set_xlabel("shots averaged")
        for axes in panels[::across]:
            axes.set_ylabel("AUC")
        legend_below(figure, panels[0])
    return Drawing(
        "frames",
        figure,
        alt="AUC against the number of shots averaged, for each camera.",
        caption="A scene that holds still gives its noise away: what attackers find in the mean "
        "of several shots.",
        full=len(series) > 1,
    )


def over_distance(rows: Sequence[Row]) -> Drawing | Missing:
    """Draw what one attack finds from near and far."""
    distances = sorted({row.distance for row in rows if row.attacks})
    names = [set(row.attacks) for row in rows if row.attacks and row.kind != "protection"]
    common = set.intersection(*names) if names else set()
    if len(distances) < 2 or not common:
        return Missing("distance", "Nothing was attacked at several distances.")
    name = sorted(common)[0]
    methods = list(dict.fromkeys(row.method for row in rows if row.kind != "protection"))
    with house_style():
        figure = new_figure(6.4, 4.8)
        axes = figure.subplots()
        for method in methods:
            own = sorted(
                (row for row in rows if row.method == method and name in row.attacks),
                key=lambda row: row.distance,
            )
            if not own:
                continue
            colour, marker = style_of(own[0], rows)
            found = [row.attacks[name]["result"] for row in own]
            value = np.array([one["auc"] for one in found])
            ends = np.array([[one["auc_lo"] for one in found], [one["auc_hi"] for one in found]])
            axes.errorbar(
                [row.distance for row in own], value, yerr=np.abs(ends - value), color=colour,
                marker=marker, markersize=6, elinewidth=1, linewidth=1.4, label=own[0].title,
            )  # fmt: skip
        axes.axhline(0.5, color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_xscale("log")
        _plain_ticks(axes, distances)
        axes.set_xlabel("distance [m]")
        axes.set_ylabel(f"AUC, {name.replace('_', ' ')}")
        legend_below(figure, axes)
    return Drawing(
        "distance",
        figure,
        alt=f"AUC of {name.replace('_', ' ')} against distance, for each camera.",
        caption="Privacy is a matter of distance: the same face covers fewer pixels further off.",
    )


def _plain_ticks(axes: Axes, values: Sequence[float]) -> None:
    axes.xaxis.set_major_locator(FixedLocator(list(values)))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _lines(
    rows: Sequence[Row], known: Sequence[Row], draw: Callable[[Axes, Row, str, str], None]
) -> tuple[Figure, Axes]:
    with house_style():
        figure = new_figure(6.4, 4.8)
        axes = figure.subplots()
        for row in known:
            draw(axes, row, *style_of(row, rows))
    return figure, axes


def wall(run: Path, rows: Sequence[Row]) -> Drawing | Missing:
    """Draw the same people as they are, as each method shows them, and as attacks bring back."""
    strips: list[tuple[str, np.ndarray]] = []
    for row in rows:
        place = run / row.method / label(row.distance)
        if not (place / "shown" / PICTURES).is_file():
            continue
        arrays = load_arrays(place / "shown" / PICTURES)
        if not strips:
            strips.append(("original", arrays["original"]))
        strips.append((row.title, arrays["shown"]))
        if found := _brought_back(place, row.attacks):
            strips.append(found)
    if not strips:
        return Missing("wall", "No method showed a picture.")
    count = min(_ABREAST, *(len(faces) for _, faces in strips))
    with house_style():
        figure = new_figure(_TILE * count + 2.2, _TILE * len(strips), pad=0.02)
        tiles = figure.subplots(len(strips), count, squeeze=False)
        for i, (title, faces) in enumerate(strips):
            for j in range(count):
                tiles[i][j].imshow(to_display(faces[j]))
                bare(tiles[i][j])
            quiet = title.startswith("brought back")
            tiles[i][0].set_ylabel(
                title, color=QUIET if quiet else INK, fontsize=8, rotation=0, ha="right",
                va="center",
            )  # fmt: skip
    return Drawing(
        "wall",
        figure,
        alt="Rows of the same test people: " + "; ".join(t.replace("\n", " ") for t, _ in strips),
        caption="The same test people in every row. Brought back: by the attack on the method "
        "above that leaves pictures and finds most.",
        photographic=True,
        full=True,
    )


def _brought_back(
    place: Path, attacks: Mapping[str, Mapping[str, Any]]
) -> tuple[str, np.ndarray] | None:
    """Return the pictures of the attack and condition that find most, with their title."""
    best: tuple[float, str, np.ndarray] | None = None
    for name, one in attacks.items():
        path = place / name / PICTURES
        if not path.is_file():
            continue
        for condition, faces in load_arrays(path).items():
            auc = one["conditions"].get(condition, one["result"])["auc"]
            if best is None or auc > best[0]:
                words = f"{name}\n{condition}".replace("_", " ")
                best = auc, f"brought back by\n{words}", faces
    return None if best is None else (best[1], best[2])
