"""Landmarks that stand beside the pictures.

Either ``landmarks.csv`` in the root, with the columns ``file, x0, y0, ..., x67, y67`` (files below
the root; pixel centres at whole numbers, the first at 0), or ``<picture>.pts`` in the format of
300-W (which counts the first pixel as 1). Both are in pixels of the upright picture.
"""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.data.errors import DataError

TABLE = "landmarks.csv"
_POINTS = 68
_LARGEST = 4 * 2**30  # bytes
_LARGEST_PTS = 64 * 2**10  # bytes
_FARTHEST = 1e5  # px; a coordinate beyond is a mistake


def read_table(root: Path) -> dict[str, NDArray[np.float32]]:
    """Return the landmarks (68, 2) of each file in ``landmarks.csv``; none without that file [px].

    Raises
    ------
    DataError
        A line has not 136 finite numbers, or a file comes twice; the message names the line.
    """
    path = root / TABLE
    if not path.is_file():
        return {}
    if path.stat().st_size > _LARGEST:
        raise DataError(f"{path} has more than {_LARGEST} bytes; is it a table of landmarks?")
    out: dict[str, NDArray[np.float32]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.reader(file), start=1):
                if not row or (number == 1 and row[0].strip().lower() == "file"):
                    continue
                name = row[0].strip()
                if name in out:
                    raise DataError(f"{path}, line {number}: {name} comes a second time")
                out[name] = _points(row[1:], f"{path}, line {number}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    return out


def read_pts(path: Path) -> NDArray[np.float32] | None:
    """Return the landmarks (68, 2) in ``<picture>.pts`` beside a picture, if it is there [px]."""
    beside = path.with_suffix(".pts")
    if not beside.is_file():
        return None
    if beside.stat().st_size > _LARGEST_PTS:
        raise DataError(f"{beside} has more than {_LARGEST_PTS} bytes; it is no list of 68 points")
    try:
        text = beside.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{beside} cannot be read: {error}") from error
    start, end = text.find("{"), text.find("}")
    if not 0 <= start < end:
        raise DataError(f"{beside}: expected 'n_points: 68' and the points in braces")
    return _points(text[start + 1 : end].split(), str(beside)) - 1  # 300-W counts from 1


def _points(values: list[str], where: str) -> NDArray[np.float32]:
    try:
        points = np.array([float(v) for v in values], dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{where}: {error}; expected {2 * _POINTS} numbers") from error
    if len(points) != 2 * _POINTS:
        raise DataError(f"{where}: {len(points)} numbers, expected {2 * _POINTS} (x0 y0 x1 ...)")
    if not np.isfinite(points).all() or np.abs(points).max() > _FARTHEST:
        raise DataError(f"{where}: a coordinate is not finite or beyond {_FARTHEST:g} px")
    return points.reshape(_POINTS, 2).astype(np.float32)
