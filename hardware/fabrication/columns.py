"""Calibration tables: CSV files whose first line names the columns with their units."""

import csv
from pathlib import Path

import numpy as np

from hardware.errors import HardwareError
from hardware.fabrication.design import Map


def read_columns(path: Path | str, names: tuple[str, ...]) -> tuple[Map, ...]:
    """Columns of a CSV file, in the order of `names`.

    Lines that are empty or start with ``#`` are left out; columns that are not asked for, too.

    Raises
    ------
    HardwareError
        The file cannot be read, lacks a column, holds something that is no finite number, or has
        fewer than two rows.
    """
    expected = f"expected a header with {', '.join(names)} and at least 2 rows of numbers"
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise HardwareError(f"{path}: cannot be read ({error}); {expected}") from error
    lines = [line for line in text.splitlines() if line.strip() and line.lstrip()[0] != "#"]
    rows = list(csv.reader(lines))
    header = [word.strip() for word in rows[0]] if rows else []
    missing = [name for name in names if name not in header]
    if missing or len(rows) < 3:
        what = f"no column {missing[0]}" if missing else f"{len(rows) - 1} rows"
        raise HardwareError(f"{path}: {what}; {expected}")
    try:
        table = np.array(
            [[float(row[header.index(name)]) for name in names] for row in rows[1:]], np.float64
        )
    except (ValueError, IndexError) as error:
        raise HardwareError(f"{path}: {error}; {expected}") from error
    if not np.isfinite(table).all():
        raise HardwareError(f"{path}: a number is not finite; {expected}")
    return tuple(np.ascontiguousarray(column) for column in table.T)


def check_monotone(path: Path | str, name: str, values: Map, *, rising: bool = False) -> None:
    """Raise if the column does not rise (or, unless `rising`, fall) from row to row.

    Raises
    ------
    HardwareError
        Two rows are equal or turn back; names the first of them.
    """
    change = np.diff(values)
    wrong = change <= 0 if rising or change[0] > 0 else change >= 0
    if wrong.any():
        row = int(np.argmax(wrong))
        raise HardwareError(
            f"{path}: {name} = {values[row + 1]:g} follows {values[row]:g}: the column must "
            f"{'rise' if rising else 'rise or fall'} from row to row, so that it can be inverted; "
            f"sort or smooth the calibration"
        )
