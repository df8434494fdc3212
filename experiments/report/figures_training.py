"""Curves of every term that was logged, one small chart per term."""

from collections import defaultdict

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.report.drawing import (
    INK,
    Drawing,
    Missing,
    camera_colour,
    house_style,
    new_figure,
)
from experiments.report.record import LEARNED, RunRecord
from experiments.report.wording import camera_label, prose

_NOT_TERMS = ("stage", "step", "time")
_POINTS = 400  # per curve
_CHARTS = 24  # per figure

Curves = dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]  # term -> stage -> steps, values


def curves(record: RunRecord, *, attackers: bool) -> Curves:
    """Return every logged number as curves over the step.

    Parameters
    ----------
    record : RunRecord
        The run.
    attackers : bool
        Whether to return the attackers' training or everything else.
    """
    points: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for entry in record.history:
        stage = str(entry.get("stage", "training"))
        if stage.startswith("attacker") is not attackers:
            continue
        one = RunRecord("", "", entry)
        step = one.number("step")
        for term in entry:
            value = one.number(term)
            if term not in _NOT_TERMS and step is not None and value is not None:
                points[term][stage].append((step, value))
    found: Curves = {}
    for term in sorted(points, key=_term_order):
        found[term] = {}
        for stage, pairs in points[term].items():
            steps, values = np.array(sorted(pairs)).T
            keep = np.unique(np.linspace(0, len(steps) - 1, _POINTS).round().astype(int))
            found[term][stage] = (steps[keep], values[keep])
    return found


def _term_order(term: str) -> tuple[int, str]:
    """Order the total first, then the terms of the loss, validation, the rest."""
    if term == "loss/total":
        return 0, term
    return (1 if term.startswith("loss/") else 2 if term.startswith("val/") else 3), term


def _stage_camera(stage: str, cameras: tuple[str, ...]) -> tuple[str, str] | None:
    """Return the camera a stage belongs to, and its role."""
    for prefix in ("baseline_", "attacker_"):
        rest = stage.removeprefix(prefix)
        if rest == stage:
            continue
        matches = [c for c in cameras if rest == c or rest.startswith(f"{c}_")]
        if matches:
            return max(matches, key=len), prefix.rstrip("_")
    return None


def _stage_style(stage: str, cameras: tuple[str, ...]) -> tuple[str, str, str]:
    """Return colour, line style and legend entry of a stage."""
    belongs = _stage_camera(stage, cameras)
    if belongs is not None:
        camera, _ = belongs
        return camera_colour(camera, cameras), "-", camera_label(camera)
    if stage == "joint":
        return camera_colour(LEARNED, cameras), "-", "joint, learned mask"
    if stage == "regressor":
        return INK, "-", "regressor on clear pictures"
    return "#8a8f98", "-", stage.replace("_", " ")


def training_charts(record: RunRecord) -> list[Drawing | Missing]:
    """Draw the curves of the cameras' training and, apart, of the attackers'."""
    found: list[Drawing | Missing] = []
    for attackers, name, caption in (
        (
            False,
            "training",
            "Every term that was logged, over the steps of its stage: pale is as logged, "
            "strong is a running mean, and val. marks values on validation "
            "people. A term that still falls at its right end was stopped early.",
        ),
        (
            True,
            "attackers",
            "The attackers' own training, one line per recogniser in the colour of the camera "
            "it attacks. An attacker whose curve still falls is weaker than it could be.",
        ),
    ):
        terms = curves(record, attackers=attackers)
        if terms:
            found.append(_sheet(record, terms, name, caption))
        else:
            noun = "attackers" if attackers else "training"
            found.append(Missing(name, f"No curves of the {noun} were logged in this run."))
    return found


def _sheet(record: RunRecord, terms: Curves, name: str, caption: str) -> Drawing:
    left_out = list(terms)[_CHARTS:]
    shown = {term: terms[term] for term in list(terms)[:_CHARTS]}
    if left_out:
        caption += f" {len(left_out)} further terms are in metrics.jsonl."
    with house_style():
        wide = _charts(record, shown, min(4, len(shown)), 2.55)
        narrow = _charts(record, shown, min(2, len(shown)), 2.1)
    return Drawing(
        name,
        wide,
        alt=f"Small charts of {len(shown)} logged terms over the training step.",
        caption=caption,
        narrow=narrow,
        full=True,
    )


def _charts(record: RunRecord, terms: Curves, columns: int, width: float) -> Figure:
    rows = -(-len(terms) // columns)
    stages = {_stage_style(s, record.cameras) for t in terms.values() for s in t}
    legend_rows = -(-len(stages) // max(1, columns - (columns > 2)))
    figure = new_figure(width * columns, 1.85 * rows + 0.22 * legend_rows + 0.1)
    sheet = figure.subplots(rows, columns, squeeze=False).ravel()
    handles = {}
    for axes in sheet[len(terms) :]:
        axes.set_visible(False)
    for i, (term, by_stage) in enumerate(terms.items()):
        axes = sheet[i]
        for stage, (steps, values) in by_stage.items():
            colour, line, label = _stage_style(stage, record.cameras)
            handles[label] = _curve(axes, steps, values, colour, line)
        group, _, rest = term.partition("/")
        name = ("val. " if group == "val" else "") + prose(rest or group)
        axes.set_title(name, loc="left", fontsize=9, pad=4)
        axes.tick_params(labelsize=7.5)
        axes.locator_params(axis="x", nbins=4)
        everything = np.concatenate([values for _, values in by_stage.values()])
        if everything.min() > 0 and everything.max() > 30 * everything.min():
            axes.set_yscale("log")
        if i + columns >= len(terms):
            axes.set_xlabel("step", fontsize=8.5)
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower center",
        ncols=max(1, columns - (columns > 2)),
        fontsize=8.5,
    )
    return figure


def _curve(axes: Axes, steps: np.ndarray, values: np.ndarray, colour: str, line: str) -> Line2D:
    """Draw one curve: as it is if short, else pale under its running mean."""
    if len(steps) < 40:
        marker = "o" if len(steps) == 1 else ""
        return axes.plot(steps, values, color=colour, ls=line, lw=1.5, marker=marker, ms=4)[0]
    axes.plot(steps, values, color=colour, lw=0.6, alpha=0.3)
    span = max(3, len(values) // 25)
    padded = np.pad(values, (span // 2, span - 1 - span // 2), mode="edge")
    mean = np.convolve(padded, np.full(span, 1 / span), mode="valid")
    return axes.plot(steps, mean, color=colour, ls=line, lw=1.5)[0]
