"""Spectral responses from files of comma-separated values.

The first line names the columns. The wavelengths carry their unit in the name, in brackets::

    wavelength [nm], red, green, blue
    400, 0.01, 0.02, 0.30
    405, 0.01, 0.03, 0.36

Lines that start with # are skipped; semicolons and tabs separate as well.
"""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from configs.quantities import UNITS
from experiments.data.errors import DataError
from optics.sensor import TableBand

_WAVELENGTH = re.compile(r"\s*(?:wavelength|lambda|wl)\s*[\[(]\s*(?P<unit>\S+?)\s*[\])]\s*", re.I)
_LARGEST = 16 * 2**20  # bytes; a table is a few kilobytes


def read_bands(
    file: Path, columns: Sequence[str] = ("red", "green", "blue")
) -> tuple[TableBand, ...]:
    """Read the response of each colour channel.

    Parameters
    ----------
    file : Path
        Table of wavelengths and responses.
    columns : sequence of str
        Names of the channels' columns, upper or lower case; one for a monochrome sensor.

    Raises
    ------
    DataError
        The file is missing, has no such column or unit, or holds something else than rising
        wavelengths and responses of at least zero.
    """
    try:
        if file.stat().st_size > _LARGEST:
            raise DataError(f"{file} is larger than {_LARGEST} bytes: it is no spectral table")
        lines = file.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read as text: {error}") from error
    kept = [
        (n, line)
        for n, line in enumerate(lines, 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if len(kept) < 3:
        raise DataError(f"{file} holds {len(kept)} lines; a header and two entries are needed")
    separator = max(",;\t", key=kept[0][1].count)
    header, *rows = csv.reader((line for _, line in kept), delimiter=separator)
    place, factor = _wavelength_column(file, header)
    names = [name.strip().lower() for name in header]
    chosen = []
    for column in columns:
        if names.count(column.strip().lower()) != 1:
            raise DataError(
                f"{file}: {names.count(column.strip().lower())} columns are called {column!r}, "
                f"one is needed; there are {', '.join(map(repr, names))}"
            )
        chosen.append(names.index(column.strip().lower()))
    table: list[list[float]] = []
    for (number, _), row in zip(kept[1:], rows, strict=True):
        try:
            table.append([float(row[n]) for n in (place, *chosen)])
        except (ValueError, IndexError) as error:
            raise DataError(
                f"{file}, line {number}: {separator.join(row)!r:.80} does not hold a number in "
                f"every column that is read"
            ) from error
    waves = [row[0] * factor for row in table]
    try:
        return tuple(TableBand(waves, [row[k] for row in table]) for k in range(1, len(chosen) + 1))
    except ValueError as error:
        raise DataError(f"{file}: {error}") from error


def _wavelength_column(file: Path, header: Sequence[str]) -> tuple[int, float]:
    """Place of the wavelengths and metres per unit."""
    found = [(n, m) for n, name in enumerate(header) if (m := _WAVELENGTH.fullmatch(name))]
    units = {name: float(size) for name, size in UNITS["length"].items()}
    if len(found) != 1 or found[0][1]["unit"] not in units:
        raise DataError(
            f"{file}: no column gives the wavelength with its unit; name it 'wavelength [nm]' "
            f"(or um); there are {', '.join(repr(name.strip()) for name in header)}"
        )
    return found[0][0], units[found[0][1]["unit"]]
