"""The benchmark on the terminal and as a page."""

import math
from collections.abc import Mapping, Sequence

from experiments.benchmarks.accuracy import Found
from experiments.benchmarks.contestants import OURS, PLAIN
from experiments.benchmarks.judging import Row, best_right_peer, metrics
from experiments.benchmarks.scenes import CASES, Case
from experiments.report.drawing import Drawing, house_style, legend_below, new_figure
from experiments.report.sheet import Section, Sheet, Table

_COLUMNS = (
    "",
    "forward [ms]",
    "backward [ms]",
    "both, over ours",
    "error",
    "gradient error",
    "MiB",
)
_COLOURS = {"ours": "#0072b2", "plain": "#5b5b5b", "right": "#009e73", "wrong": "#d55e00"}


def lines(table: Table) -> list[str]:
    """Return a table as text, columns aligned."""
    rows = [list(table.columns), *[list(row) for row in table.rows]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.columns))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


# Speed


def speed_table(case: Case, rows: Sequence[Row]) -> Table:
    """Return times, errors and memory of everybody on one case."""
    ours = next((r for r in rows if (r.contestant, r.variant) == (OURS, "")), None)
    cells = [_speed_row(row, ours) for row in rows if row.time is not None]
    out = "; ".join(f"{row.label}: {row.reason}" for row in rows if row.reason)
    best = best_right_peer(rows)
    note = f"Fastest right peer: {best.label}." if isinstance(best, Row) else f"No ratio: {best}."
    return Table(_COLUMNS, cells, f"{note} Not taking part: {out}." if out else note)


def _speed_row(row: Row, ours: Row | None) -> list[str]:
    time = row.time
    whole = time.both if time else None
    base = ours.time.both if ours and ours.time else None
    return [
        row.label + ("" if row.right else " (wrong)"),
        _milliseconds(time.forward if time else None),
        _milliseconds(time.backward if time else None),
        "-" if whole is None or base is None else f"{whole / base:.2f}",
        _short(row.relative_error),
        _short(row.gradient_error),
        "-" if row.peak is None else f"{row.peak:.0f}",
    ]


def speed_sheet(found: Mapping[str, Sequence[Row]], setting: str) -> Sheet:
    """Page of a comparison; `setting` says how it was measured."""
    flat: dict[str, float | None] = {}
    for name, rows in found.items():
        flat |= metrics(name, rows)
    ratios = [
        value for key, value in flat.items() if key.endswith("right_peer") and value is not None
    ]
    headline = f"{len(found)} cases timed; no right peer with a gradient took part"
    if ratios:
        headline = (
            f"{min(ratios):.1f} to {max(ratios):.1f} times as fast as the fastest peer that is "
            f"right, over {len(ratios)} of {len(found)} cases"
        )
    summary = Table(
        ("case", "forward [ms]", "backward [ms]", "best right peer / ours", "plain torch / ours",
         "error", "gradient error", "MiB"),
        [_summary_row(CASES[name], flat) for name in found],
        "Times are medians. A ratio is theirs over ours, forward and backward together.",
    )  # fmt: skip
    sections = [Section("Summary", setting, tables=[summary])]
    for name, rows in found.items():
        case = CASES[name]
        figures = [speed_figure(case, rows)] if any(r.time for r in rows) else []
        sections.append(Section(case.title, figures=figures, tables=[speed_table(case, rows)]))
    lead = (
        "Everybody computes the same quantity from the same inputs, side by side in one process. "
        "Errors are relative L2 distances from a float64 answer that shares no code with anybody; "
        "a peer is right where its output is within 1 %. A right output does not prove a right "
        "gradient, so that error stands beside it."
    )
    return Sheet(headline, [lead], sections)


def _summary_row(case: Case, flat: Mapping[str, float | None]) -> list[str]:
    def get(key: str) -> float | None:
        return flat[f"{case.name}/{key}"]

    def plain(key: str, digits: int) -> str:
        value = get(key)
        return "-" if value is None else f"{value:.{digits}f}"

    return [
        case.name,
        plain("ms_forward", 1),
        plain("ms_backward", 1),
        plain("ratio_to_best_right_peer", 2),
        plain("ratio_to_plain_torch", 2),
        _short(get("relative_error")),
        _short(get("gradient_error")),
        plain("peak_mib", 0),
    ]


def speed_figure(case: Case, rows: Sequence[Row]) -> Drawing:
    """Bars of forward and backward time."""
    timed = [row for row in rows if row.time is not None]
    with house_style():
        figure = new_figure(7.6, 0.9 + 0.3 * len(timed))
        axes = figure.add_subplot()
        for place, row in enumerate(timed):
            if row.time is None:
                continue
            colour, forward = _COLOURS[_group(row)], row.time.forward * 1e3
            axes.barh(place, forward, color=colour)
            if row.time.backward is not None:
                back = row.time.backward * 1e3
                axes.barh(place, back, left=forward, color=colour, alpha=0.5)
        axes.set_yticks(range(len(timed)), [row.label for row in timed])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("time of a call [ms]")
    fastest = ", ".join(f"{row.label} {_milliseconds(_whole(row))} ms" for row in timed)
    return Drawing(
        case.name,
        figure,
        f"Bars of time per call: {fastest}.",
        "Full colour: forward; pale: backward. Blue: ours; grey: plain torch; green: peers within "
        "1 % of the answer; orange: peers that are not.",
        full=True,
    )


def _group(row: Row) -> str:
    if row.contestant == OURS:
        return "ours"
    if row.contestant == PLAIN:
        return "plain"
    return "right" if row.right else "wrong"


def _whole(row: Row) -> float | None:
    if row.time is None:
        return None
    return row.time.forward if row.time.both is None else row.time.both


# Accuracy


def accuracy_table(found: Sequence[Found]) -> Table:
    """Error and bar of every anchor."""
    rows = [
        [
            item.name,
            "float64" if item.double else "float32",
            _short(item.error),
            _short(item.bar),
            "ok" if item.ok else (item.reason or "FAILED"),
        ]
        for item in found
    ]
    return Table(("anchor", "precision", "error", "bar", ""), rows)


def accuracy_sheet(found: Sequence[Found]) -> Sheet:
    """Page of the anchors."""
    failed = [item for item in found if not item.ok]
    headline = f"All {len(found)} anchors hold"
    if failed:
        headline = f"{len(failed)} of {len(found)} anchors fail"
    lead = (
        "Each anchor is a closed form, a conservation law, an adjoint or an independent float64 "
        "computation, with the largest error it may have, in float64 and float32 apart."
    )
    figure = accuracy_figure(found)
    return Sheet(headline, [lead], [Section("Anchors", "", [figure], [accuracy_table(found)])])


def accuracy_figure(found: Sequence[Found]) -> Drawing:
    """Errors as fractions of their bars."""
    names = list(dict.fromkeys(item.name for item in found))
    with house_style():
        figure = new_figure(7.6, 1.0 + 0.24 * len(names))
        axes = figure.add_subplot()
        for double, marker, colour in ((True, "o", "#0072b2"), (False, "s", "#e69f00")):
            shown = [i for i in found if i.double is double and math.isfinite(i.error)]
            axes.plot(
                [max(item.error / item.bar, 1e-6) for item in shown],
                [names.index(item.name) for item in shown],
                marker,
                color=colour,
                label="float64" if double else "float32",
            )
        axes.axvline(1.0, color=_COLOURS["wrong"])
        axes.set_xscale("log")
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("error over bar")
        axes.set_ylim(len(names) - 0.4, -0.6)
        legend_below(figure, axes)
    worst = max((i.error / i.bar for i in found if math.isfinite(i.error)), default=math.nan)
    return Drawing(
        "anchors",
        figure,
        f"Errors as fractions of their bars; the largest is {worst:.2g}.",
        "Left of the line: the anchor holds. Errors below a millionth of the bar are drawn there.",
        full=True,
    )


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.1f}"


def _short(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.1e}"
