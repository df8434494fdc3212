"""The rows of the page: learned against baselines, key numbers, counts, versions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.report.drawing import camera_colour
from experiments.report.record import LEARNED, RunRecord, Value
from experiments.report.verdict import strongest_attack
from experiments.report.wording import (
    ABSENT,
    ATTACKS,
    COUNTS,
    camera_label,
    electrons,
    number,
    percent,
    prose,
)


@dataclass(frozen=True)
class Cell:
    """One number of a table: its text, its interval, whether it is the best of its column."""

    text: str
    interval: str = ""
    best: bool = False


@dataclass(frozen=True)
class Row:
    """One camera of the comparison."""

    name: str
    colour: str
    cells: tuple[Cell, ...]
    learned: bool = False


@dataclass(frozen=True)
class Tile:
    """One key number: what it is, the number, its interval or unit."""

    label: str
    text: str
    note: str = ""


@dataclass(frozen=True)
class _Column:
    title: str
    key: str
    digits: int = 3
    lower_is_better: bool = True
    scale: float = 1.0


_COLUMNS = (
    _Column("Landmark error [%]", "landmark_nme", 2, scale=100.0),
    *(_Column(f"AUC {name}", key) for key, (name, _) in ATTACKS.items()),
    _Column("PSNR, 1 frame [dB]", "inversion_psnr_1", 1),
    _Column("PSNR, 100 frames [dB]", "inversion_psnr_100", 1),
    _Column("PSF spread [faces]", "psf_spread_face_widths", 3, lower_is_better=False),
    _Column("Light inside [%]", "psf_energy_inside", 1, lower_is_better=False, scale=100.0),
)
_UNMARKED = ("psf_spread_face_widths", "psf_energy_inside")  # neither better nor worse


def comparison(record: RunRecord) -> tuple[list[str], list[Row]]:
    """Return column titles and rows of the learned camera and every baseline.

    Columns that no camera has a number for are left out; the best number of a column, the
    lowest one, is marked on every camera that reaches it at the digits shown.
    """
    cameras = record.cameras
    values = {
        column.key: [record.value(column.key, camera=name) for name in cameras]
        for column in _COLUMNS
    }
    shown = [column for column in _COLUMNS if any(values[column.key])]
    rows = [
        Row(
            camera_label(name),
            camera_colour(name, cameras),
            tuple(_cell(values[column.key], i, column) for column in shown),
            learned=name == LEARNED,
        )
        for i, name in enumerate(cameras)
    ]
    clear = _clear_row(record, shown)
    return [column.title for column in shown], rows + ([clear] if clear else [])


def _cell(values: list[Value | None], index: int, column: _Column) -> Cell:
    value = values[index]
    if value is None:
        return Cell(ABSENT)
    text = number(value.value * column.scale, column.digits)
    known = [v.value * column.scale for v in values if v is not None]
    best = (
        column.key not in _UNMARKED and len(known) > 1 and text == number(min(known), column.digits)
    )
    interval = ""
    if value.low is not None and value.high is not None:
        low, high = (
            number(limit * column.scale, column.digits) for limit in (value.low, value.high)
        )
        interval = f"[{low}, {high}]"
    return Cell(text, interval, best)


def _clear_row(record: RunRecord, shown: list[_Column]) -> Row | None:
    """Return clear pictures as the reference row: no column of theirs is marked."""
    keys = {"landmark_nme": "landmark_nme_clear", "reid_auc_offtheshelf": "reid_auc_clear"}
    values = {key: record.value(stored) for key, stored in keys.items()}
    if not any(values.values()):
        return None
    cells = [_cell([values.get(column.key)], 0, column) for column in shown]
    return Row("clear pictures", "#8a8f98", tuple(cells))


def tiles(record: RunRecord) -> list[Tile]:
    """Return the key numbers of the learned camera, those that were measured."""
    found = []
    if strongest := strongest_attack(record):
        key, value = strongest
        found.append(
            Tile(f"Strongest attack: {ATTACKS[key][0]}", number(value.value), _auc_note(value))
        )
    retrained = record.value("reid_auc_retrained")
    if retrained and strongest and strongest[0] != "reid_auc_retrained":
        found.append(Tile("Retrained attacker", number(retrained.value), _auc_note(retrained)))
    if error := record.value("landmark_nme"):
        clear = record.value("landmark_nme_clear")
        note = "of the outer-eye-corner distance"
        if clear:
            note += f"; clear {percent(clear.value)}"
        found.append(Tile("Landmark error", percent(error.value), note))
    if (spread := record.number("psf_spread_face_widths")) is not None:
        found.append(Tile("PSF spread", number(spread), "face widths"))
    if (exposure := record.number("exposure_e")) is not None:
        found.append(Tile("Exposure", electrons(exposure), "per binned pixel, scene white"))
    return found


def _auc_note(value: Value) -> str:
    if value.low is None or value.high is None:
        return "AUC, no interval"
    return f"AUC [{number(value.low)}, {number(value.high)}]"


def counts(record: RunRecord) -> list[tuple[str, str]]:
    """Return everything that was counted: people, pictures, pairs."""
    found: dict[str, str] = {}
    stored = record.data.get("counts")
    for source in (stored if isinstance(stored, Mapping) else {}, record.metrics):
        for key, value in source.items():
            is_count = source is not record.metrics or key.startswith("n_")
            if is_count and isinstance(value, int | float) and value == value:
                name = COUNTS.get(key) or prose(key.removeprefix("n_"))
                found[name] = f"{value:,.0f}"
    return list(found.items())


def refused(record: RunRecord) -> list[tuple[str, str]]:
    """Return the refused files by their own name, with the reason."""
    stored = record.data.get("refused")
    return [
        (str(item.get("file", "")).replace("\\", "/").rsplit("/", 1)[-1], str(item.get("reason")))
        for item in (stored if isinstance(stored, list) else [])
        if isinstance(item, Mapping)
    ]


def versions(record: RunRecord) -> list[tuple[str, str]]:
    """Return the versions as flat pairs."""
    return list(_flatten(record.versions).items())


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key} ")
        elif value is not None:
            flat[f"{prefix}{key}"] = str(value)
    return flat
