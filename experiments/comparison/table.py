"""Numbers of a comparison: flat metrics, and the same as CSV and LaTeX."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.attacks.trial import of_source
from experiments.comparison.cells import Result, label

WORST = "attacked_auc"
"""AUC of the attack that finds most at one place."""
NOT_RUN = "not run"
_ENDS = ("_lo", "_hi", "_n")


@dataclass(frozen=True)
class Row:
    """One contestant at one distance.

    Attributes
    ----------
    method, title, kind : str
        Name, words, and what hides.
    distance : float
        Of the faces [m].
    numbers : mapping of str to float
        Flat, with `_lo`, `_hi` and `_n`.
    attacks : mapping of str to mapping
        What `attack.json` holds, of the attacks that were run.
    worst : str
        Name of the attack that finds most, "" if none was run.
    missing : mapping of str to str
        Why other cells have no number, by the name of the attack or the measure.
    """

    method: str
    title: str
    kind: str
    distance: float
    numbers: Mapping[str, float]
    attacks: Mapping[str, Mapping[str, Any]]
    worst: str
    missing: Mapping[str, str]

    @property
    def identifies(self) -> bool | None:
        """Whether an attack found more than chance and noise; None if none was run."""
        return bool(self.attacks[self.worst]["identifies"]) if self.worst else None


def make_rows(results: Sequence[Result], titles: Mapping[str, tuple[str, str]]) -> list[Row]:
    """Gather cells into rows, in the order in which they come.

    Parameters
    ----------
    results : sequence of Result
        Of all cells.
    titles : mapping of str to (str, str)
        Title and kind of each contestant.
    """
    places: dict[tuple[str, float], list[Result]] = {}
    for one in results:
        places.setdefault((one.cell.method, one.cell.distance), []).append(one)
    return [_row(method, distance, own, titles) for (method, distance), own in places.items()]


def _row(
    method: str, distance: float, own: Sequence[Result], titles: Mapping[str, tuple[str, str]]
) -> Row:
    numbers: dict[str, float] = {}
    attacks: dict[str, Mapping[str, Any]] = {}
    missing: dict[str, str] = {}
    for one in own:
        name = one.cell.name
        if one.state != "done":
            missing[name] = f"failed: {one.reason}" if one.state == "failed" else one.reason
        elif one.cell.part == "attack":
            if one.record["result"] is None:
                missing[name] = str(one.record["reason"])
                continue
            attacks[name] = one.record
            numbers |= _of_attack(name, one.record)
        elif one.cell.part == "utility":
            found = one.record["numbers"]
            numbers |= {key: value for key, value in found.items() if _is_number(value)}
            missing |= {
                key.removesuffix("_reason"): str(value)
                for key, value in found.items()
                if key.endswith("_reason")
            }
    leaks = [name for name, found in attacks.items() if of_source(found)]
    worst = max(leaks, key=lambda n: attacks[n]["result"]["auc"], default="")
    if worst:
        result = attacks[worst]["result"]
        ahead = {f"{WORST}{end}": result[f"auc{end}"] for end in ("", *_ENDS)}
        ahead["identified"] = float(bool(attacks[worst]["identifies"]))
        numbers = ahead | numbers
    title, kind = titles[method]
    return Row(method, title, kind, distance, numbers, attacks, worst, missing)


def _of_attack(name: str, record: Mapping[str, Any]) -> dict[str, float]:
    out = {f"{name}_{key}": value for key, value in record["result"].items() if _is_number(value)}
    for condition, values in record["conditions"].items():
        for key in ("auc", "psnr"):
            for end in ("", *_ENDS):
                if _is_number(values.get(f"{key}{end}")):
                    out[f"{name}_{condition}_{key}{end}"] = values[f"{key}{end}"]
    return out


def _is_number(value: object) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value)  # type: ignore[arg-type]


def flat(rows: Sequence[Row], floor: Mapping[str, float], ceiling: Mapping[str, float]) -> dict[
    str, float
]:  # fmt: skip
    """Return all numbers as `<method>/<distance>/<number>`, floor and ceiling beside them."""
    out = {f"floor/{key}": value for key, value in floor.items()}
    out |= {f"ceiling/{key}": value for key, value in ceiling.items()}
    for row in rows:
        place = f"{row.method}/{label(row.distance)}"
        out |= {f"{place}/{key}": value for key, value in row.numbers.items()}
    return out


def as_csv(rows: Sequence[Row]) -> str:
    """Return one line for each row with every number; what has none is "not run"."""
    columns = list(dict.fromkeys(key for row in rows for key in row.numbers))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("method", "distance_m", "kind", "worst_attack", *columns))
    for row in rows:
        numbers = (row.numbers.get(column, NOT_RUN) for column in columns)
        head = (row.method, f"{row.distance:g}", row.kind, row.worst or NOT_RUN)
        writer.writerow((*head, *numbers))
    return text.getvalue()


@dataclass(frozen=True)
class Column:
    """One column of the table for readers: heading, number, digits."""

    title: str
    key: str
    digits: int = 3


def columns(rows: Sequence[Row]) -> list[Column]:
    """Return what readers are shown: the worst attack, each attack, the measures of utility.

    Of an attack with several conditions the first and the last are shown.
    """
    out = [Column("strongest attack, AUC", WORST)]
    conditions: dict[str, dict[str, None]] = {}
    for row in rows:
        for name, record in row.attacks.items():
            conditions.setdefault(name, {}).update(dict.fromkeys(record["conditions"]))
    for name, found in conditions.items():
        there = list(found)
        for condition in dict.fromkeys((there[0], there[-1])):
            words = f"{name} {condition}".replace("_", " ")
            out.append(Column(f"{words}, AUC", f"{name}_{condition}_auc"))
    numbers = {key for row in rows for key in row.numbers}
    return out + [column for column in UTILITIES if column.key in numbers]


UTILITIES = (
    Column("landmark error (NME)", "nme"),
    Column("landmarks kept", "landmark_gain", 2),
    Column("yaw, r", "yaw_r", 2),
    Column("mouth, r", "mouth_r", 2),
    Column("faces detected", "detection_mtcnn", 2),
    Column("PSNR [dB]", "psnr", 1),
    Column("SSIM", "ssim", 2),
    Column("recognition where wanted, AUC", "recognition_auc"),
    Column("trained on it: yaw", "downstream_yaw", 2),
    Column("trained on it: mouth", "downstream_mouth", 2),
)


def text_of(row: Row, column: Column, *, interval: str = " [{}, {}]") -> str:
    """Return one cell in words, with its interval where it has one."""
    value = row.numbers.get(column.key)
    if value is None:
        return NOT_RUN
    shown = f"{value:.{column.digits}f}"
    low, high = (row.numbers.get(f"{column.key}{end}") for end in ("_lo", "_hi"))
    if low is None or high is None:
        return shown
    return shown + interval.format(*(f"{end:.{column.digits}f}" for end in (low, high)))


_TEX = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}"}


def as_tex(rows: Sequence[Row]) -> str:
    """Return the table for readers as a LaTeX tabular; intervals stand below their numbers."""
    shown = columns(rows)
    head = [r"method", r"distance", *(_tex(column.title) for column in shown)]
    lines = [
        rf"\begin{{tabular}}{{ll{'r' * len(shown)}}}",
        r"\hline",
        " & ".join(head) + r" \\",
        r"\hline",
    ]
    for row in rows:
        cells = [text_of(row, column, interval=r" {{\scriptsize [{}, {}]}}") for column in shown]
        place = rf"{row.distance:g}\,m"
        lines.append(" & ".join([_tex(row.title), place, *cells]) + r" \\")
    return "\n".join([*lines, r"\hline", r"\end{tabular}", ""])


def _tex(words: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in words)
