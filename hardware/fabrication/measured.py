"""Surfaces as an instrument measured them: tables, matrices and stored arrays.

Heights come out as (H, W) with NaN where nothing was measured, rows y down. Instruments do not
agree on which way y runs: say so with `y`, or let the registration try the mirror images. Zygo's
files are read by `hardware.fabrication.zygo`; `read_measured` finds the format by itself.
"""

import io
import math
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from hardware.errors import HardwareError
from hardware.fabrication.design import MOST_CELLS, Map, positions

_UNITS = {"m": 1.0, "mm": 1e-3, "um": 1e-6, "µm": 1e-6, "nm": 1e-9, "pm": 1e-12, "å": 1e-10}
_COLUMN = re.compile(r"\s*([xyz])\w*\s*[\[(]\s*([^\])\s]+)\s*[\])]\s*", re.IGNORECASE)
_SETTING = re.compile(r"#\s*(\w+)\s*[=:]\s*(.+?)\s*")
_MISSING = {"", "nan", "bad", "***", "---", "n/a", "na", "null"}
_JITTER = 0.1  # of the pitch, by which positions of a table may be off its grid


class MeasurementError(HardwareError):
    """A file of a measured surface is damaged or does not say what it means."""


@dataclass(frozen=True)
class Measured:
    """A measured surface on a rectangular grid.

    Attributes
    ----------
    height : ndarray
        (H, W) float64, NaN where nothing was measured, positive towards more material [m].
    spacing_x, spacing_y : float
        Distance of neighbouring columns and of neighbouring rows [m].
    source : str
        File and format it comes from.
    """

    height: Map
    spacing_x: float
    spacing_y: float
    source: str

    def __post_init__(self) -> None:
        height = np.asarray(self.height, np.float64)
        object.__setattr__(self, "height", height)
        if height.ndim != 2 or min(height.shape) < 2 or max(height.shape) > MOST_CELLS:
            raise MeasurementError(
                f"{self.source}: the map has shape {height.shape}; 2 x 2 to {MOST_CELLS} x "
                f"{MOST_CELLS} points are needed"
            )
        if np.isinf(height).any():
            raise MeasurementError(
                f"{self.source}: {int(np.isinf(height).sum())} heights are infinite; a point that "
                f"was not measured is NaN"
            )
        if not np.isfinite(height).any():
            raise MeasurementError(
                f"{self.source}: not one of {height.size} points was measured; check the "
                f"instrument's threshold"
            )
        for key in ("spacing_x", "spacing_y"):
            value = getattr(self, key)
            if not (math.isfinite(value) and 1e-10 <= value <= 1e-1):
                raise MeasurementError(
                    f"{self.source}: {key} = {value:g} m; 0.1 nm to 100 mm are allowed: check the "
                    f"instrument's lateral calibration and the unit"
                )

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Points (H, W) that were measured."""
        return np.isfinite(self.height)

    def axes(self) -> tuple[Map, Map]:
        """Positions x (W,) and y (H,) of the points, y down, 0 in the middle [m]."""
        rows, columns = self.height.shape
        return positions(columns, self.spacing_x), positions(rows, self.spacing_y)

    def oriented(self, *, mirrored: bool, quarter_turns: int) -> Self:
        """Return the map mirrored left to right if asked, then turned from x towards -y."""
        height = self.height[:, ::-1] if mirrored else self.height
        height = np.rot90(height, quarter_turns)
        across, along = self.spacing_x, self.spacing_y
        if quarter_turns % 2:
            across, along = along, across
        return type(self)(np.ascontiguousarray(height), across, along, self.source)


def read_measured(path: Path, *, y: Literal["down", "up"] = "down") -> Measured:
    """Read a measured surface in any of the known formats.

    Parameters
    ----------
    path : Path
        Zygo binary or ASCII data, ``.npz`` (`height_m`, `spacing_m`), a table with the columns x,
        y and z, or a matrix of heights, the last two with their units in the header:
        ``x [um], y [um], z [nm]``, or ``# spacing = 1.5 um`` and ``# unit = nm``.
    y : {"down", "up"}
        Which way y runs along the rows of the file.

    Raises
    ------
    MeasurementError
        The file is missing, damaged, or does not name its units.
    """
    from hardware.fabrication import zygo

    if y not in ("down", "up"):
        raise ValueError(f"y = {y!r}, expected 'down' or 'up'")
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise MeasurementError(f"{path} cannot be read: {error.strerror}") from error
    if start[:3] == zygo.MAGIC:
        found = zygo.read_zygo_binary(path)
    elif start.startswith(zygo.TITLE.encode()):
        found = zygo.read_zygo_ascii(path)
    elif start[:2] == b"PK":
        found = read_npz(path)
    else:
        found = read_text(path)
    if y == "up":
        return Measured(found.height[::-1].copy(), found.spacing_x, found.spacing_y, found.source)
    return found


def read_npz(path: Path) -> Measured:
    """Read `height_m` (H, W) and `spacing_m`, one number or (x, y)."""
    try:
        # From memory: numpy leaves a damaged file open.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            missing = {"height_m", "spacing_m"} - set(stored.files)
            if missing:
                raise MeasurementError(
                    f"{path.name}: {', '.join(sorted(missing))} is missing; height_m (H, W) and "
                    f"spacing_m are needed, it holds {', '.join(stored.files) or 'nothing'}"
                )
            height = np.asarray(stored["height_m"], np.float64)
            spacing = np.asarray(stored["spacing_m"], np.float64).ravel()
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise MeasurementError(f"{path.name} is no readable .npz file: {error}") from error
    if spacing.size not in (1, 2):
        raise MeasurementError(
            f"{path.name}: spacing_m has {spacing.size} numbers; one, or one for x and one for y, "
            f"are needed"
        )
    return Measured(height, float(spacing[0]), float(spacing[-1]), f"{path.name} (npz)")


def read_text(path: Path) -> Measured:
    """Read a table of x, y and z, or a matrix of heights."""
    try:
        text = path.read_text(encoding="utf-8-sig").replace("\u03bc", "µ")
    except (OSError, UnicodeDecodeError) as error:
        raise MeasurementError(f"{path.name} is no text in UTF-8: {error}") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    settings: dict[str, str] = {}
    while lines and lines[0].startswith("#"):
        match = _SETTING.fullmatch(lines[0])
        if match:
            settings[match[1].lower()] = match[2]
        elif _COLUMN.search(lines[0]):
            break
        lines.pop(0)
    if len(lines) < 2:
        raise MeasurementError(f"{path.name}: {len(lines)} lines of data; the file is cut short")
    separator = next((s for s in (";", "\t", ",") if s in lines[1]), None)
    cells = lines[0].lstrip("# ").split(separator)
    if separator is None:  # "x [um] y [um] z [nm]": the units stand apart from their names
        cells = re.findall(r"[A-Za-z]\w*\s*[\[(][^\])]*[\])]", lines[0]) or cells
    names = [_COLUMN.fullmatch(cell) for cell in cells]
    if any(names):
        columns = {m[1].lower(): (n, _unit(m[2], path.name)) for n, m in enumerate(names) if m}
        if set(columns) != {"x", "y", "z"}:
            raise MeasurementError(
                f"{path.name}: the header names {', '.join(sorted(columns))} with a unit; x, y "
                f"and z are needed, as in 'x [um], y [um], z [nm]'"
            )
        return _table(_numbers(lines[1:], separator, path.name), columns, path.name)
    if not settings and re.match(r"[A-Za-z]", cells[0].strip()):
        raise MeasurementError(
            f"{path.name}: the header {lines[0][:60]!r} names no units; write 'x [um], y [um], "
            f"z [nm]'"
        )
    spacing = settings.get("spacing", settings.get("pitch"))
    across, along = settings.get("spacing_x", spacing), settings.get("spacing_y", spacing)
    if across is None or along is None or "unit" not in settings:
        raise MeasurementError(
            f"{path.name}: a matrix of heights needs '# spacing = 1.5 um' and '# unit = nm' above "
            f"it, a table the header 'x [um], y [um], z [nm]'"
        )
    height = _numbers(lines, separator, path.name) * _unit(settings["unit"], path.name)
    return Measured(
        height, _length(across, path.name), _length(along, path.name), f"{path.name} (matrix)"
    )


def _table(values: Map, columns: dict[str, tuple[int, float]], name: str) -> Measured:
    if max(n for n, _ in columns.values()) >= values.shape[1]:
        raise MeasurementError(
            f"{name}: {values.shape[1]} columns of numbers, the header names more"
        )
    x, y, z = (values[:, n] * unit for n, unit in (columns[key] for key in "xyz"))
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise MeasurementError(f"{name}: a position x or y is missing; only z may be")
    column, spacing_x, width = _grid(x, "x", name)
    row, spacing_y, depth = _grid(y, "y", name)
    place = row * width + column
    if len(np.unique(place)) != len(place):
        raise MeasurementError(f"{name}: two points stand at the same place; remove one")
    height = np.full(depth * width, np.nan)
    height[place] = z
    return Measured(height.reshape(depth, width), spacing_x, spacing_y, f"{name} (table)")


def _grid(position: Map, axis: str, name: str) -> tuple[NDArray[np.int64], float, int]:
    """Return the index of every position, the pitch [m] and the number of places."""
    ordered = np.unique(position)
    gaps = np.diff(ordered)
    if not len(gaps) or ordered[-1] == ordered[0]:
        raise MeasurementError(
            f"{name}: all points have the same {axis}; a surface needs at least two rows and two "
            f"columns (the pitch along {axis} is 0)"
        )
    # Positions with jitter lie close together; the pitch is the usual gap of all others.
    pitch = float(np.median(gaps[gaps > 0.5 * np.quantile(gaps, 0.9)]))
    count = round(float((ordered[-1] - ordered[0]) / pitch))
    if count >= MOST_CELLS:
        raise MeasurementError(f"{name}: {count + 1} places along {axis}, {MOST_CELLS} are allowed")
    pitch = float((ordered[-1] - ordered[0]) / count)
    place = (position - ordered[0]) / pitch
    index = np.round(place).astype(np.int64)
    worst = float(np.abs(place - index).max())
    if worst > _JITTER:
        raise MeasurementError(
            f"{name}: {axis} is not on a regular grid (off by {worst:.2f} of a pitch of "
            f"{pitch:g} m); resample the measurement first"
        )
    return index, pitch, count + 1


def _numbers(lines: Sequence[str], separator: str | None, name: str) -> Map:
    """Return rows of numbers, NaN where one is missing."""
    comma = separator == ";" and not any("." in line for line in lines[:100])
    rows: list[list[float]] = []
    for number, line in enumerate(lines, start=1):
        text = line.replace(",", ".") if comma else line
        cells = [
            cell.strip()
            for cell in text.rstrip("\t,;" if separator != "," else "").split(separator)
        ]
        try:
            row = [math.nan if c.lower() in _MISSING else float(c) for c in cells]
        except ValueError as error:
            raise MeasurementError(f"{name}, data line {number}: {error}") from error
        if rows and len(row) != len(rows[0]):
            raise MeasurementError(
                f"{name}, data line {number}: {len(row)} numbers, {len(rows[0])} in the first "
                f"line; the file is cut short or has two tables"
            )
        rows.append(row)
    values = np.array(rows)
    if values.shape[1] < 2:
        raise MeasurementError(
            f"{name}: one column of numbers; a surface needs x, y and z, or a matrix"
        )
    return values


def _unit(text: str, name: str) -> float:
    unit = _UNITS.get(text.strip().lower())
    if unit is None:
        raise MeasurementError(
            f"{name}: unit = {text!r}; {', '.join(list(_UNITS)[:3])}, nm, pm are known"
        )
    return unit


def _length(text: str, name: str) -> float:
    match = re.fullmatch(r"([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*([^\d\s.]\S*)", text)
    try:
        number = float(match[1]) if match else math.nan
    except ValueError:
        number = math.nan
    if match is None or math.isnan(number):
        raise MeasurementError(f"{name}: spacing = {text!r}; write a number and a unit: 1.5 um")
    return number * _unit(match[2], name)
