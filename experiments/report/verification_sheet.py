"""The page of a verification: which recogniser tells how many pairs apart, and where it fails."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from anonymizer.recognition import Estimate, PairVerification
from experiments.data.pairs.base import FacePairs
from experiments.report.drawing import Drawing, house_style, new_figure
from experiments.report.sheet import Section, Sheet, Table

_GENUINE, _IMPOSTOR = "#0072b2", "#d55e00"
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#5b5b5b", "#a6761d", "#56b4e9", "#7570b3")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))


def verification_sheet(
    found: Mapping[str, PairVerification],
    scores: Mapping[str, NDArray[np.float64]],
    faces: FacePairs,
    *,
    fused: bool,
) -> Sheet:
    """Lay out the page.

    Parameters
    ----------
    found : mapping of str to PairVerification
        Recogniser to its numbers.
    scores : mapping of str to ndarray
        Recogniser to the likeness of each pair (n,).
    faces : FacePairs
        The pairs.
    fused : bool
        Whether each face was embedded together with its mirror image.
    """
    best = max(found, key=lambda name: found[name].accuracy.value)
    one = found[best]
    lead = [
        f"{one.n_genuine} matched and {one.n_impostor} mismatched pairs of {len(faces.names)} "
        f"pictures in {len(one.folds)} folds; the threshold of each fold is the best of the "
        f"others (the rule of LFW's View 2; the recognisers were trained on labelled pictures from "
        f"elsewhere). Score: cosine of embeddings"
        f"{', each summed with that of the mirror image' if fused else ''}.",
        f"Intervals are 95 %, over {one.n_people} people drawn with replacement."
        if faces.named
        else "The list names nobody: intervals are 95 % over pairs as if they were independent, "
        "and so too narrow.",
    ]
    sections = [
        Section("Accuracy", tables=[_numbers(found)]),
        Section("Rates", figures=[_curves(found)]),
        Section("Scores", figures=[_scores(scores, found, faces.same)]),
        Section("Folds", tables=[_folds(found)]),
    ]
    headline = f"{best} decides {one.accuracy.value:.2%} of the pairs rightly"
    return Sheet(headline=headline, lead=lead, sections=sections)


def _numbers(found: Mapping[str, PairVerification]) -> Table:
    rates = sorted({rate for one in found.values() for rate in one.tar}, reverse=True)
    columns = ["recogniser", "accuracy", "standard error", "AUC", "equal error rate"]
    columns += [f"true accepts at {rate:g}" for rate in rates]
    rows = [
        [
            name,
            _percent(one.accuracy),
            f"{one.standard_error:.2%}",
            f"{one.auc.value:.4f} [{one.auc.low:.4f}, {one.auc.high:.4f}]",
            _percent(one.eer),
            *(_percent(one.tar[rate]) if rate in one.tar else "" for rate in rates),
        ]
        for name, one in sorted(found.items(), key=lambda item: -item[1].accuracy.value)
    ]
    note = (
        "Standard error over folds. True accepts stand only where at least 30 false accepts "
        "support the rate."
    )
    return Table(columns, rows, note)


def _folds(found: Mapping[str, PairVerification]) -> Table:
    count = max(len(one.folds) for one in found.values())
    rows = [
        [
            str(fold + 1),
            *(f"{one.folds[fold]:.2%} at {one.thresholds[fold]:.3f}" for one in found.values()),
        ]
        for fold in range(count)
    ]
    note = "Accuracy of each fold, and the threshold that the others gave it."
    return Table(["fold", *found], rows, note)


def _percent(estimate: Estimate) -> str:
    return f"{estimate.value:.2%} [{estimate.low:.2%}, {estimate.high:.2%}]"


def _curves(found: Mapping[str, PairVerification]) -> Drawing:
    def draw(width: float, height: float) -> Figure:
        figure = new_figure(width, height)
        axes = figure.add_subplot()
        fewest = min(one.n_impostor for one in found.values())
        for i, (name, one) in enumerate(found.items()):
            # between two thresholds the upper one is used; less than half of one false accept
            # has no place on a logarithmic axis
            far = np.maximum(one.curve.far, 0.5 / one.n_impostor)
            axes.step(
                far, 1 - one.curve.tar, where="pre", label=name,
                color=_COLOURS[i % len(_COLOURS)], linestyle=_DASHES[i % len(_DASHES)],
            )  # fmt: skip
        lowest = min(1 / one.n_genuine for one in found.values())
        axes.axvspan(0.5 / fewest, min(30 / fewest, 1.0), color="#eef1f4", zorder=0)
        axes.set(
            xscale="log", yscale="log", xlim=(0.5 / fewest, 1), ylim=(lowest / 2, 1),
            xlabel="false accepts", ylabel="false rejects",
        )  # fmt: skip
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda rate, _: f"{100 * rate:g} %")
        axes.plot([1e-6, 1], [1e-6, 1], color="#9aa3ae", linewidth=0.8, linestyle=":")
        figure.legend(loc="outside lower center", ncols=3 if width > 5 else 2)
        return figure

    with house_style():
        wide, narrow = draw(7.4, 5.2), draw(4.6, 5.4)
    return Drawing(
        "roc", wide, "False rejects over false accepts of every recogniser, both logarithmic.",
        "Receiver operating characteristic, lower left is better; errors are equal on the dotted "
        "line. In the grey zone fewer than 30 false accepts stand behind a point.",
        narrow=narrow, full=True,
    )  # fmt: skip


def _scores(
    scores: Mapping[str, NDArray[np.float64]],
    found: Mapping[str, PairVerification],
    same: NDArray[np.bool_],
) -> Drawing:
    def draw(columns: int, width: float) -> Figure:
        rows = -(-len(scores) // columns)
        figure = new_figure(width, 0.6 + 1.9 * rows)
        grid = figure.subplots(rows, columns, sharex=True, squeeze=False)
        for axes in grid.flat[len(scores) :]:
            axes.set_visible(False)
        edges = np.linspace(-0.6, 1, 65)
        for axes, (name, s) in zip(grid.flat, scores.items(), strict=False):
            for kind, colour, label in (
                (~same, _IMPOSTOR, "two people"),
                (same, _GENUINE, "one person"),
            ):
                share = np.histogram(s[kind].clip(-0.6, 1), edges)[0] / kind.sum()
                axes.stairs(share, edges, fill=True, alpha=0.35, color=colour)
                axes.stairs(share, edges, color=colour, label=label)
            axes.axvline(float(np.mean(found[name].thresholds)), color="#1f2933", linewidth=1)
            axes.set_title(name)
            axes.set_yticks([])
        for axes in grid[-1]:
            axes.set_xlabel("cosine")
        handles, labels = grid.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
        return figure

    with house_style():
        wide, narrow = draw(min(3, len(scores)), 10.6), draw(1, 4.6)
    return Drawing(
        "scores", wide, "Histograms of scores of matched and mismatched pairs by recogniser.",
        "Shares of scores; the line is the mean threshold over the folds.",
        narrow=narrow, full=True,
    )  # fmt: skip
