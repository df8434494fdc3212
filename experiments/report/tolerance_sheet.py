"""The page of a tolerance analysis: scatter, ranking, yield."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from torch import Tensor

from experiments.report.drawing import Drawing, bare, house_style, new_figure
from experiments.report.sheet import Section, Sheet, Table
from experiments.tolerancing import Bench, Sensitivity

_DESIGN, _MADE, _SLOPE = "#d55e00", "#0072b2", "#9bbbd4"
_NAMES = {
    "etch_scale": "depth error",
    "blur_spread": "lateral blur",
    "overlay": "overlay",
    "tilt": "wedge",
    "decentre": "decentre",
    "gap": "mask-lens gap",
    "wavelength_shift": "wavelength",
    "temperature": "temperature",
}
_UNITS = {
    "etch_scale": (100.0, "%"),
    "blur_spread": (1e6, "um"),
    "overlay": (1e6, "um"),
    "tilt": (1e3, "mrad"),
    "decentre": (1e6, "um"),
    "gap": (1e6, "um"),
    "wavelength_shift": (1e9, "nm"),
    "temperature": (1.0, "K"),
}
Ranked = Mapping[str, Mapping[str, Sensitivity]]
Yields = Mapping[float, Mapping[str, float]]


def tolerance_sheet(
    bench: Bench,
    *,
    values: Mapping[str, Sequence[float]],
    design: Mapping[str, float],
    nominal: Mapping[str, float],
    ranked: Ranked,
    yields: Yields,
    allowed: float,
    psfs: Mapping[str, Tensor],
    source: str,
) -> Sheet:
    """Lay out the page."""
    draws = len(next(iter(values.values())))
    worst = max(ranked, key=lambda error: _weight(error, ranked, design))
    full = min(yields, key=lambda scale: abs(scale - 1))
    lead = [
        f"Design: run {source}, object at {bench.distance:g} m. Every one of {draws} masks has all "
        f"errors at once, independent and normal. The regressor is that of the design; it was "
        f"not trained again.",
        f"A mask fails where a number is worse than the design's by more than {allowed:.0%}.",
    ]
    shares = [f"{share:.0%} ({bench.measures[n].label})" for n, share in yields[full].items()]
    return Sheet(
        headline=f"The {_NAMES.get(worst, worst)} moves this mask's numbers most",
        lead=[*lead, f"At the full tolerances pass: {', '.join(shares)}."],
        sections=[
            Section("Scatter", "", [_scatter(bench, values, design, nominal)]),
            Section(
                "Which error matters",
                "Each error on its own: the root-mean-square change when it is drawn, and what "
                "its slope alone predicts. Where the two differ the answer is not linear.",
                [_ranking(bench, ranked, design)],
                [_table(bench, ranked)],
            ),
            Section("Yield against the tolerances", "", [_yield(bench, yields)]),
            Section("PSFs as made", "", [_spots(psfs)]),
        ],
    )


def _weight(error: str, ranked: Ranked, design: Mapping[str, float]) -> float:
    """Largest change of any number relative to the design's."""
    return max(s.alone / (abs(design[n]) or 1.0) for n, s in ranked[error].items())


def _scatter(
    bench: Bench,
    values: Mapping[str, Sequence[float]],
    design: Mapping[str, float],
    nominal: Mapping[str, float],
) -> Drawing:
    def draw(columns: int, width: float) -> Figure:
        rows = -(-len(values) // columns)
        figure = new_figure(width, 2.5 * rows)
        for place, (name, sample) in enumerate(values.items(), 1):
            axes = figure.add_subplot(rows, columns, place)
            axes.hist(sample, bins=max(6, len(sample) // 6), color=_MADE, alpha=0.85)
            axes.axvline(design[name], color=_DESIGN, label="design")
            axes.axvline(
                nominal[name], color=_DESIGN, linestyle=(0, (4, 3)), label="process, no scatter"
            )
            axes.set_xlabel(_wrapped(bench.measures[name].label))
            axes.set_ylabel("masks")
            axes.margins(x=0.06)
            axes.locator_params(axis="x", nbins=5)
            if place == 1:
                axes.legend(loc="best", fontsize=8)
        return figure

    with house_style():
        wide, narrow = draw(3, 10.6), draw(1, 4.2)
    return Drawing(
        "scatter", wide, "Histograms of every number over the masks, with the design's value.",
        "Every number over the masks as made. Line: the design; dashed: what the process does "
        "even without scatter, such as rounding and blur.",
        narrow=narrow, full=True,
    )  # fmt: skip


def _ranking(bench: Bench, ranked: Ranked, design: Mapping[str, float]) -> Drawing:
    def draw(columns: int, width: float) -> Figure:
        names = list(bench.measures)
        rows = -(-len(names) // columns)
        figure = new_figure(width, (0.9 + 0.42 * len(ranked)) * rows)
        for place, name in enumerate(names, 1):
            axes = figure.add_subplot(rows, columns, place)
            order = sorted(ranked, key=lambda error: ranked[error][name].alone)
            at = np.arange(len(order))
            axes.barh(at + 0.2, [ranked[e][name].alone for e in order], 0.4, color=_MADE,
                      label="drawn")  # fmt: skip
            axes.barh(at - 0.2, [ranked[e][name].first_order for e in order], 0.4, color=_SLOPE,
                      label="slope alone")  # fmt: skip
            axes.set_yticks(at, [_NAMES.get(e, e) for e in order])
            axes.set_xlabel("change, " + _wrapped(bench.measures[name].label))
            axes.locator_params(axis="x", nbins=5)
            axes.grid(visible=False, axis="y")
            if place == 1:
                axes.legend(loc="lower right", fontsize=8)
        return figure

    with house_style():
        wide, narrow = draw(2, 10.6), draw(1, 4.6)
    return Drawing(
        "ranking", wide, "Bars of the effect of each error on every number, largest on top.",
        "Root-mean-square effect of each error on its own, largest on top.",
        narrow=narrow, full=True,
    )  # fmt: skip


def _yield(bench: Bench, yields: Yields) -> Drawing:
    with house_style():
        figure = new_figure(6.4, 3.8)
        axes = figure.add_subplot()
        scales = sorted(yields)
        for number, name in enumerate(bench.measures):
            axes.plot(
                scales, [100 * yields[s][name] for s in scales], marker="os^DvP"[number % 6],
                label=_wrapped(bench.measures[name].label, 44),
            )  # fmt: skip
        axes.set_xscale("log")
        axes.set_xticks(scales, [f"{s:g}" for s in scales])
        axes.minorticks_off()
        axes.set_ylim(-4, 104)
        axes.set_xlabel("tolerances, relative to the process")
        axes.set_ylabel("masks that pass [%]")
        figure.legend(loc="outside lower center", ncols=1)
    return Drawing(
        "yield", figure, "Share of masks that pass, against the scale of all tolerances.",
        "Share of masks that pass when all tolerances are tightened or loosened together.",
    )  # fmt: skip


def _spots(psfs: Mapping[str, Tensor]) -> Drawing:
    def draw(columns: int, width: float) -> Figure:
        rows = -(-len(psfs) // columns)
        figure = new_figure(width, rows * (width / columns + 0.3), pad=0.03)
        top = max(float(psf[1].max()) for psf in psfs.values())
        norm = LogNorm(top * 1e-3, top)
        for place, (name, psf) in enumerate(psfs.items(), 1):
            axes = figure.add_subplot(rows, columns, place)
            shown = axes.imshow(psf[1].numpy().clip(top * 1e-3), norm=norm, cmap="magma")
            axes.set_title(name)
            bare(axes)
        figure.colorbar(shown, ax=figure.axes, label="energy per pixel", shrink=0.8)
        return figure

    with house_style():
        wide, narrow = draw(len(psfs), 10.6), draw(2, 4.6)
    return Drawing(
        "psfs", wide, "PSF of the design and of three masks as made, green channel.",
        "Green channel, one logarithmic scale for all.", narrow=narrow, full=True,
    )  # fmt: skip


def _table(bench: Bench, ranked: Ranked) -> Table:
    rows = []
    for error, effects in ranked.items():
        factor, unit = _UNITS.get(error, (1.0, ""))
        tolerance = getattr(bench.fabrication, error) * factor
        cells = [f"{s.alone:.3g} ({s.first_order:.3g})" for s in effects.values()]
        rows.append([_NAMES.get(error, error), f"{tolerance:.3g} {unit}", *cells])
    return Table(
        ["error", "tolerance (1 sigma)", *(m.label for m in bench.measures.values())],
        rows,
        "Root-mean-square change when only this error is drawn; in brackets, first order.",
    )


def _wrapped(label: str, width: int = 30) -> str:
    """Break a long label into lines."""
    lines = [""]
    for word in label.split():
        if len(lines[-1]) + len(word) >= width and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
