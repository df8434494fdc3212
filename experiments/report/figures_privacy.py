"""Privacy against utility, distance and exposure."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from experiments.report.drawing import (
    INK,
    QUIET,
    Drawing,
    Missing,
    camera_colour,
    camera_marker,
    house_style,
    legend_below,
    new_figure,
)
from experiments.report.record import LEARNED, RunRecord, Value
from experiments.report.verdict import LITTLE
from experiments.report.wording import camera_label

_EXPOSURES = (("", None), ("_10ke", 10e3), ("_1ke", 1e3))  # key suffix, [e- per binned pixel]


def _guides(axes: Axes) -> None:
    """Draw guessing and the weak-attack line, each named where it is."""
    for level, text in ((0.5, "guess"), (LITTLE, f"{LITTLE:.2f}")):
        axes.axhline(level, color=QUIET, lw=1.0, ls=(0, (5, 4)) if level > 0.5 else "-", zorder=1)
        axes.annotate(
            text,
            (1.0, level),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            ha="left",
            va="center",
            fontsize=8,
            color=QUIET,
        )


def _auc_axis(axes: Axes, values: Sequence[Value], name: str = "AUC of the attacker") -> None:
    lowest = min([0.5, *(v.low if v.low is not None else v.value for v in values)])
    axes.set_ylim(min(0.45, lowest - 0.03), 1.02)
    axes.set_title(f"{name} (lower is more private)", loc="left")


def _bars(value: Value) -> list[list[float]] | None:
    if value.low is None or value.high is None:
        return None
    return [[max(value.value - value.low, 0.0)], [max(value.high - value.value, 0.0)]]


def _trade_off(record: RunRecord) -> list[tuple[str, float, Value]]:
    """Return (weight, NME in per cent, AUC) of the sweep, least error first."""
    points = []
    for entry in record.trade_off:
        sweep = RunRecord("", "", entry)
        error, attack = sweep.number("landmark_nme"), sweep.value("reid_auc_retrained")
        if attack is not None and attack.low is None:
            low, high = sweep.number("_lo"), sweep.number("_hi")
            if low is not None and high is not None:
                attack = Value(attack.value, low, high)
        weight = sweep.number("weight")
        if error is not None and attack is not None:
            points.append((f"{weight:g}" if weight is not None else "", 100 * error, attack))
    return sorted(points, key=lambda point: point[1])


def scatter(record: RunRecord) -> Drawing | Missing:
    """Draw the attacker's success over the landmark error, one point per camera."""
    points = [
        (name, error, attack)
        for name in record.cameras
        if (error := record.value("landmark_nme", camera=name))
        and (attack := record.value("reid_auc_retrained", camera=name))
    ]
    sweep = _trade_off(record)
    if not points and not sweep:
        return Missing(
            "privacy_utility", "Landmark error and retrained attacker were not both measured."
        )
    with house_style():
        figure = new_figure(5.2, 4.5)
        axes = figure.subplots()
        _guides(axes)
        if sweep:
            axes.plot(
                [x for _, x, _ in sweep],
                [v.value for _, _, v in sweep],
                color=camera_colour(LEARNED, record.cameras),
                lw=1.0,
                alpha=0.55,
                zorder=2,
            )
            for i, (weight, x, attack) in enumerate(sweep):
                axes.errorbar(
                    [x],
                    [attack.value],
                    yerr=_bars(attack),
                    fmt="o",
                    ms=5,
                    mfc="white",
                    color=camera_colour(LEARNED, record.cameras),
                    elinewidth=1.0,
                    alpha=0.85,
                    label="learned, other weights" if i == 0 else None,
                    zorder=3,
                )
                axes.annotate(
                    weight,
                    (x, attack.value),
                    xytext=(5, 4),
                    textcoords="offset points",
                    fontsize=8,
                    color=camera_colour(LEARNED, record.cameras),
                )
        for name, error, attack in points:
            scaled = Value(
                100 * error.value,
                None if error.low is None else 100 * error.low,
                None if error.high is None else 100 * error.high,
            )
            axes.errorbar(
                [scaled.value],
                [attack.value],
                xerr=_bars(scaled),
                yerr=_bars(attack),
                fmt=camera_marker(name, record.cameras),
                ms=9 if name == LEARNED else 7,
                color=camera_colour(name, record.cameras),
                mec="white",
                mew=0.8,
                elinewidth=1.6,
                capsize=3,
                label=camera_label(name),
                zorder=5 if name == LEARNED else 4,
            )
        clear = record.value("landmark_nme_clear"), record.value("reid_auc_clear")
        if clear[0] and clear[1]:
            axes.plot(
                [100 * clear[0].value],
                [clear[1].value],
                "*",
                ms=11,
                color=INK,
                label="clear pictures",
                ls="none",
            )
        errors = [100 * e.value for _, e, _ in points] + [x for _, x, _ in sweep]
        axes.set_xlim(left=0.0, right=1.15 * max(errors))
        _auc_axis(axes, [v for *_, v in points] + [v for *_, v in sweep], "AUC, retrained attacker")
        axes.set_xlabel("landmark error [% of eye-corner distance] (lower is more useful)")
        legend_below(figure, axes, [camera_label(c) for c in record.cameras])
    caption = (
        "Privacy against utility: down is more private, left is more useful, so the lower left "
        "corner is where a camera should be"
    )
    if any(attack.low is not None for *_, attack in points):
        caption += "; bars are 95 % intervals"
    caption += (
        "; open circles are the learned mask trained with other privacy weights."
        if sweep
        else ". No sweep over privacy weights belongs to this run."
    )
    return Drawing(
        "privacy_utility",
        figure,
        alt="Scatter of attacker AUC over landmark error with one point per camera.",
        caption=caption,
    )


def over_distance(record: RunRecord) -> list[Drawing | Missing]:
    """Draw the attacker's success and the landmark error over the distance."""
    return [
        _distance_chart(
            record,
            "distance_privacy",
            ("reid_auc_retrained", "reid_auc_offtheshelf"),
            "The attacker over the distance of the person: the same mask blurs a far, small face "
            "more. ",
        ),
        _distance_chart(
            record,
            "distance_utility",
            ("landmark_nme",),
            "The landmark error over the distance: what the protection costs where the person "
            "stands. ",
        ),
    ]


def _distance_chart(
    record: RunRecord, name: str, keys: tuple[str, ...], caption: str
) -> Drawing | Missing:
    is_auc = keys[0].startswith("reid_auc")
    what = "attacks" if is_auc else "landmark errors"
    key = next((k for k in keys if any(_series(record, k, c) for c in record.cameras)), keys[0])
    series = {c: s for c in record.cameras if (s := _series(record, key, c))}
    if not series:
        return Missing(name, f"No {what} over distance were measured.")
    attack = "retrained attacker" if key == "reid_auc_retrained" else "off-the-shelf attacker"
    with house_style():
        figure = new_figure()
        axes = figure.subplots()
        scale = 1.0 if is_auc else 100.0
        if is_auc:
            _guides(axes)
        for camera in reversed(list(series)):
            _line(axes, record, camera, [(x, v) for x, v in series[camera]], scale)
        if is_auc:
            _auc_axis(axes, [v for s in series.values() for _, v in s], f"AUC, {attack}")
        else:
            axes.set_ylim(bottom=0.0)
            axes.set_title("landmark error [%] (lower is more useful)", loc="left")
        axes.set_xscale("log")
        ticks = sorted({x for s in series.values() for x, _ in s})
        axes.set_xticks(ticks)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("distance [m]")
        legend_below(figure, axes, [camera_label(c) for c in series])
    alone = LEARNED in series and len(series) == 1
    only = "Only the learned mask was measured over distance. " if alone else ""
    bounded = any(v.low is not None for s in series.values() for _, v in s)
    tail = "In per cent of the outer-eye-corner distance. " if not is_auc else ""
    tail += "Shaded and barred: 95 % intervals." if bounded else "No intervals were stored."
    return Drawing(
        name,
        figure,
        alt=f"Lines of {what} over distance, one per camera.",
        caption=caption + only + tail,
    )


def _series(record: RunRecord, key: str, camera: str) -> list[tuple[float, Value]]:
    return [
        (float(distance[:-1]), value)
        for distance in record.distances
        if (value := record.value(key, camera=camera, distance=distance))
    ]


def _line(
    axes: Axes,
    record: RunRecord,
    camera: str,
    points: list[tuple[float, Value]],
    scale: float = 1.0,
) -> None:
    """Draw one camera: the learned one strong with a band, baselines thinner."""
    colour = camera_colour(camera, record.cameras)
    x = [p for p, _ in points]
    learned = camera == LEARNED
    axes.plot(
        x,
        [scale * v.value for _, v in points],
        color=colour,
        marker=camera_marker(camera, record.cameras),
        ms=6 if learned else 4.5,
        mec="white",
        mew=0.7,
        lw=2.4 if learned else 1.4,
        label=camera_label(camera),
        zorder=5 if learned else 3,
    )
    limits = [(p, v.low, v.high) for p, v in points if v.low is not None and v.high is not None]
    if limits and learned:
        axes.fill_between(
            [p for p, *_ in limits],
            [scale * low for _, low, _ in limits],
            [scale * high for *_, high in limits],
            color=colour,
            alpha=0.15,
            lw=0,
        )
    elif limits:
        for p, low, high in limits:
            axes.plot([p, p], [scale * low, scale * high], color=colour, lw=1.0, alpha=0.6)


def over_exposure(record: RunRecord) -> list[Drawing | Missing]:
    """Draw the inverting attacker over the exposure, for 1 frame and for 100."""
    return [_exposure_chart(record, frames) for frames in (1, 100)]


def _exposure_chart(record: RunRecord, frames: int) -> Drawing | Missing:
    name = f"inversion_{frames}"
    noun = "one frame" if frames == 1 else f"the mean of {frames} frames"
    short = "1 frame" if frames == 1 else f"{frames} frames"
    full = record.number("exposure_e")
    series = {}
    for camera in record.cameras:
        points = [
            (charge or full, value)
            for suffix, charge in _EXPOSURES
            if (value := record.value(f"reid_auc_inverted_{frames}{suffix}", camera=camera))
        ]
        known = sorted(((x, v) for x, v in points if x is not None), key=lambda p: p[0])
        if known:
            series[camera] = known
    if not series:
        return Missing(name, f"No inversion of {noun} was attacked, or its exposure not stored.")
    with house_style():
        figure = new_figure()
        axes = figure.subplots()
        _guides(axes)
        for camera in reversed(list(series)):
            _line(axes, record, camera, series[camera])
        axes.set_xscale("log")
        axes.set_xlabel("exposure [electrons per binned pixel]")
        _auc_axis(axes, [v for s in series.values() for _, v in s], f"AUC, inverting {short}")
        legend_below(figure, axes, [camera_label(c) for c in series])
    return Drawing(
        name,
        figure,
        alt=f"Lines of attacker AUC after inversion of {noun} over exposure.",
        caption=f"Recognition after inverting {noun} with the exact PSF. More light means less "
        "noise and a better inversion; a mask protects where its line stays low to the right.",
    )
