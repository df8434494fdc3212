"""Figures of attacks: what is found against the number of shots and their light."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from experiments.report.drawing import (
    QUIET,
    Drawing,
    Missing,
    house_style,
    new_figure,
)

Conditions = Mapping[str, Mapping[str, float]]

_CONDITION = re.compile(r"^(.+?)_frames_\d+(?:_([\d.]+)ke)?$")
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#5b5b5b", "#e69f00")
_KNOWN = {  # what an attacker knows: in words, line, marker
    "exact": ("PSF known", "-", "o"),
    "known_masks": ("mask of every shot known", "--", "s"),
    "unknown_masks": ("masks known, not which when", "-", "^"),
}


@dataclass(frozen=True)
class _Line:
    title: str
    knowledge: str
    points: list[Mapping[str, float]]


def success_curves(found: Mapping[str, Conditions]) -> Drawing | Missing:
    """Draw what an inversion finds against shots, one panel for each exposure.

    Parameters
    ----------
    found : mapping
        By the title of a defence: numbers by condition, as attacks that undo a lens give them,
        with "frames" and "exposure_e" among them.
    """
    panels: dict[str, dict[tuple[str, str], _Line]] = {}
    for title, conditions in found.items():
        for name, values in conditions.items():
            match = _CONDITION.match(name)
            if match is None or "frames" not in values:
                continue
            lines = panels.setdefault(match[2] or "", {})
            key = (title, match[1])
            lines.setdefault(key, _Line(*key, [])).points.append(values)
    panels = {
        light: long
        for light, lines in panels.items()
        if (long := {key: line for key, line in lines.items() if len(line.points) > 1})
    }
    if not panels:
        return Missing("shots", "No attack tried several numbers of shots.")
    titles = list(dict.fromkeys(title for lines in panels.values() for title, _ in lines))
    order = sorted(panels, key=lambda light: -float(light or "inf"))
    with house_style():
        figure = new_figure(max(6.4, 4.0 * len(order)), 4.8)
        for axes, light in zip(
            figure.subplots(1, len(order), sharey=True, squeeze=False)[0], order, strict=True
        ):
            for line in panels[light].values():
                _draw(axes, line, _COLOURS[titles.index(line.title) % len(_COLOURS)])
            _finish(axes, list(panels[light].values()), light)
        figure.axes[0].set_ylabel("AUC of the recogniser that finds most")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        columns = 2 if len(order) > 2 else 1  # the lines have long names
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    return Drawing(
        "shots",
        figure,
        alt="AUC after the best inversion against the number of shots, for each exposure: "
        f"{', '.join(titles)}.",
        caption="The best linear inversion of so many shots of a scene that holds still, with 95 % "
        "intervals over people; 0.5 is chance. The mean of shots through many masks is one "
        "picture through their mean PSF, which everybody knows.",
        full=True,
    )


def _draw(axes: Axes, line: _Line, colour: str) -> None:
    words, dash, marker = _KNOWN.get(line.knowledge, (line.knowledge.replace("_", " "), ":", "D"))
    points = sorted(line.points, key=lambda values: values["frames"])
    shots = [values["frames"] for values in points]
    auc, low, high = (np.array([v[key] for v in points]) for key in ("auc", "auc_lo", "auc_hi"))
    axes.plot(
        shots, auc, color=colour, linestyle=dash, marker=marker, markersize=5, linewidth=1.5,
        label=f"{line.title}: {words}",
    )  # fmt: skip
    axes.fill_between(shots, low, high, color=colour, alpha=0.12, linewidth=0)


def _finish(axes: Axes, lines: list[_Line], light: str) -> None:
    shots = sorted({values["frames"] for line in lines for values in line.points})
    axes.axhline(0.5, color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([float(count) for count in shots]))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_title(f"{light} ke- per pixel" if light else "the camera's own light")
    axes.set_xlabel("shots")
