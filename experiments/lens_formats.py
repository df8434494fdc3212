"""Text formats in which lens design programs write wavefronts: numbers as they stand in the file.

Meaning (signs, axes, units) is added in `experiments.lens_files`. Formats:

- Zemax OpticStudio, "Save as text" of *Zernike Standard Coefficients*, *Zernike Fringe
  Coefficients* and *Wavefront Map*. A map of N x N samples holds (N - 1) x (N - 1) over the pupil,
  -1 to 1, and an empty first row and column, so that its centre is sample N / 2 + 1; outside the
  pupil stands zero.
- CODE V interferogram file: comments with "!", a title, one line of three-letter words (GRD nx ny,
  ZFR n or ZRN n; WFR; WVL in micrometres; SSZ, the value of one wave; NDA, the value of a missing
  sample), then numbers in any arrangement. A grid reaches from edge to edge of the pupil.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Literal, NoReturn

from experiments.data.errors import DataError

_LARGEST = 256 * 2**20  # bytes; a map of 4096 x 4096 in 13 columns each is 218 MB
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?"
_MICRO = r"(?:µm|μm|um|micrometers|microns)"
_COEFFICIENT = re.compile(rf"\s*Z\s*(\d+)\s+({_NUMBER})\s*(?::|$)")
_WAVELENGTH = re.compile(rf"\s*Wavelength[^:]*:\s*({_NUMBER})\s*{_MICRO}", re.IGNORECASE)
_FIELD = re.compile(rf"\s*Field[^:]*:\s*({_NUMBER})(?:\s*,\s*({_NUMBER}))?\s*\(?(\w+)\)?")
_MAP_PLACE = re.compile(
    rf"\s*({_NUMBER})\s*{_MICRO}\s+at\s+({_NUMBER})(?:\s*,\s*({_NUMBER}))?\s*\(?(\w+)",
    re.IGNORECASE,
)
_GRID = re.compile(r"\s*Pupil grid size:\s*(\d+)\s*by\s*(\d+)", re.IGNORECASE)
_CENTRE = re.compile(
    r"\s*Cent(?:er|re) point is:\s*(?:Col\w*\s*)?(\d+)\s*,\s*(?:Row\s*)?(\d+)", re.IGNORECASE
)

Kind = Literal["standard", "fringe", "code_v", "map"]


@dataclass(frozen=True)
class Listing:
    """What a file says.

    Attributes
    ----------
    path : Path
        The file.
    kind : {"standard", "fringe", "code_v", "map"}
        Coefficients of Zemax's Standard (Noll, RMS), the Fringe or CODE V's standard set (both
        values at the rim), or a map.
    values : list of float or list of list of float
        Coefficients from the first on, or the rows of the map [waves]; NaN is missing.
    wavelength : float
        Vacuum wavelength [m].
    angles : tuple of float or None
        Field angles (x, y) [rad]; None if the file has none.
    radius : float
        Pupil radius in samples of the map; 0 for coefficients.
    centre : tuple of float
        Centre (row, column) of the pupil in the map, from 0.
    """

    path: Path
    kind: Kind
    values: list[float] | list[list[float]]
    wavelength: float
    angles: tuple[float, float] | None = None
    radius: float = 0.0
    centre: tuple[float, float] = (0.0, 0.0)


def read_listing(path: Path) -> Listing:
    """Numbers of the file, whichever of the formats it is in.

    Raises
    ------
    DataError
        Not a readable file of one of the formats; names the line and what was expected.
    """
    lines = _text(path).splitlines()
    head = "\n".join(lines[:60]).lower()
    if "listing of" in head or "using zernike" in head:
        if "wavefront map" in head:
            return _zemax_map(path, lines)
        if "zernike standard" in head:
            return _zemax_zernike(path, lines, "standard")
        if "zernike fringe" in head:
            return _zemax_zernike(path, lines, "fringe")
        raise DataError(
            f"{path}: a listing of Zemax, but neither of Zernike Standard or Fringe Coefficients "
            f"nor of a Wavefront Map; export one of these with 'Save as text'"
        )
    for number, line in enumerate(lines[:200]):
        words = line.upper().split()
        if words and words[0] in ("GRD", "ZFR", "ZRN"):
            return _code_v(path, words, lines[number + 1 :], number + 1)
    raise DataError(
        f"{path}: neither a text listing of Zemax ('Listing of Zernike Standard Coefficient Data') "
        f"nor an interferogram file of CODE V (a line that starts with GRD, ZFR or ZRN)"
    )


def _text(path: Path) -> str:
    try:
        status = path.stat()
        if not S_ISREG(status.st_mode):
            raise DataError(f"{path}: not a file")
        if status.st_size > _LARGEST:
            raise DataError(f"{path}: {status.st_size} bytes; at most {_LARGEST} are read")
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    elif raw[:3] == b"\xef\xbb\xbf":
        encoding = "utf-8-sig"
    else:
        encoding = "utf-16-le" if b"\x00" in raw[:200] else "utf-8"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        if encoding != "utf-8":
            raise DataError(f"{path}: begins as {encoding} text but does not go on so") from None
        return raw.decode("latin-1")  # the micro sign of an older Windows


def _fail(path: Path, line: int, text: str, expected: str) -> NoReturn:
    raise DataError(f"{path}, line {line}: {text.strip()[:60]!r}; expected {expected}")


def _angles(
    path: Path, line: int, text: str, first: str, second: str | None, unit: str
) -> tuple[float, float] | None:
    """Field angles (x, y) [rad]; None for heights. One number alone is y, as Zemax writes it."""
    if not unit.lower().startswith("deg"):
        return None
    x, y = (0.0, _number(first)) if second is None else (_number(first), _number(second))
    if max(abs(x), abs(y)) >= 90:
        _fail(path, line, text, "field angles below 90 degrees")
    return math.radians(x), math.radians(y)


def _number(text: str) -> float:
    return float(text.replace("d", "e").replace("D", "e"))


def _metres(path: Path, line: int, text: str, micrometres: str) -> float:
    value = _number(micrometres)
    if not 0.2 <= value <= 20:
        _fail(path, line, text, "a wavelength of 0.2 to 20 micrometres")
    return value * 1e-6


def _zemax_zernike(path: Path, lines: list[str], kind: Kind) -> Listing:
    found: dict[int, float] = {}
    wavelength, angles = 0.0, None
    for number, line in enumerate(lines, 1):
        if match := _COEFFICIENT.match(line):
            j = int(match[1])
            if j in found:
                _fail(path, number, line, f"each coefficient once: one field per file, Z {j} again")
            if j != len(found) + 1:
                _fail(path, number, line, f"Z {len(found) + 1} after Z {len(found)}")
            found[j] = _number(match[2])
        elif re.match(r"\s*Z\s*\d+\s", line):
            expected = "a coefficient with a decimal point"
            _fail(path, number, line, expected + " (not a comma)" * bool(re.search(r"\d,\d", line)))
        elif match := _WAVELENGTH.match(line):
            wavelength = _metres(path, number, line, match[1])
        elif match := _FIELD.match(line):
            angles = _angles(path, number, line, match[1], match[2], match[3])
    if not wavelength:
        raise DataError(
            f"{path}: no line 'Wavelength : 0.5876 µm', without which waves mean nothing"
        )
    if not found:
        raise DataError(f"{path}: no line 'Z 1 ...': the listing has no coefficients")
    if kind == "fringe" and len(found) > 37:
        raise DataError(f"{path}: {len(found)} Fringe coefficients; the set has 37")
    return Listing(path, kind, list(found.values()), wavelength, angles)


def _zemax_map(path: Path, lines: list[str]) -> Listing:
    wavelength, angles = 0.0, None
    size: tuple[int, int] | None = None
    centre: tuple[float, float] | None = None
    rows: list[list[float]] = []
    for number, line in enumerate(lines, 1):
        if match := _MAP_PLACE.match(line):
            wavelength = _metres(path, number, line, match[1])
            angles = _angles(path, number, line, match[2], match[3], match[4])
        elif match := _GRID.match(line):
            size = int(match[2]), int(match[1])
        elif match := _CENTRE.match(line):
            centre = int(match[2]) - 1.0, int(match[1]) - 1.0
        elif size and centre and line.strip() and len(rows) < size[0]:
            rows.append(_row(path, number, line, size[1]))
    if not wavelength:
        raise DataError(f"{path}: no line such as '0.5876 µm at 0.0000, 14.0000 (deg)'")
    if size is None or centre is None:
        raise DataError(f"{path}: no lines 'Pupil grid size: 64 by 64' and 'Center point is: ...'")
    if size[0] != size[1] or size[0] < 8:
        raise DataError(
            f"{path}: a pupil grid of {size[1]} by {size[0]}; expected a square, 8 or more"
        )
    if len(rows) != size[0]:
        raise DataError(f"{path}: {len(rows)} rows of the map, expected {size[0]}; the file is cut")
    # N even: N - 1 samples from edge to edge. N odd: all N.
    radius = size[0] / 2 - 1 if size[0] % 2 == 0 else (size[0] - 1) / 2
    return Listing(path, "map", _without_zeros(rows, centre), wavelength, angles, radius, centre)


def _row(path: Path, number: int, line: str, count: int) -> list[float]:
    words = line.split()
    try:
        values = [_number(word) for word in words]
    except ValueError:
        _fail(path, number, line, f"{count} numbers with a decimal point")
    if len(values) != count:
        _fail(path, number, line, f"{count} numbers, found {len(values)}")
    return values


def _without_zeros(rows: list[list[float]], centre: tuple[float, float]) -> list[list[float]]:
    """Rows with NaN for the zeros that stand for blocked rays; the chief ray's own zero stays."""
    if not any(value for row in rows for value in row):
        return rows
    own = int(centre[0]), int(centre[1])
    return [
        [value if value or (i, j) == own else math.nan for j, value in enumerate(row)]
        for i, row in enumerate(rows)
    ]


def _code_v(path: Path, words: list[str], rest: list[str], line: int) -> Listing:
    header = " ".join(words)
    kind, counts = words[0], 2 if words[0] == "GRD" else 1
    known: dict[str, float] = {}
    try:
        size = [int(word) for word in words[1 : 1 + counts]]
        place = 1 + counts
        while place < len(words):
            if words[place] in ("WVL", "SSZ", "NDA"):
                known[words[place]] = float(words[place + 1])
                place += 1
            elif words[place] in ("SUR", "FIL"):
                what = {"SUR": "a surface", "FIL": "a filter"}[words[place]]
                _fail(path, line, header, f"WFR, a wavefront; {words[place]} is {what}")
            elif words[place] not in ("WFR", "NNB"):
                _fail(path, line, header, f"WFR, WVL, SSZ or NDA instead of {words[place]}")
            place += 1
    except (ValueError, IndexError):
        _fail(path, line, header, "'GRD nx ny', 'ZFR n' or 'ZRN n', then WFR WVL x SSZ x NDA x")
    if "WVL" not in known or not known.get("SSZ", 1.0):
        _fail(path, line, header, "WVL, the wavelength in micrometres, and SSZ other than 0")
    numbers: list[float] = []
    for number, text in enumerate(rest, line + 1):
        if not text.lstrip().startswith("!"):
            numbers += _row(path, number, text, len(text.split()))
    if len(numbers) != math.prod(size):
        raise DataError(
            f"{path}: {len(numbers)} numbers after line {line}, expected {math.prod(size)}; the "
            f"file is cut or damaged"
        )
    wavelength = _metres(path, line, header, str(known["WVL"]))
    missing = known.get("NDA", math.nan)
    scale = known.get("SSZ", 1.0)
    waves = [math.nan if v == missing and kind == "GRD" else v / scale for v in numbers]
    if kind != "GRD":
        if kind == "ZFR" and size[0] > 37:
            raise DataError(f"{path}: {size[0]} Fringe coefficients; the set has 37")
        return Listing(path, "fringe" if kind == "ZFR" else "code_v", waves, wavelength)
    columns, count = size
    if columns != count or columns < 4:
        _fail(path, line, header, "a square grid of 4 or more (nx = ny)")
    rows = [waves[columns * i : columns * (i + 1)] for i in range(count)]
    middle = (count - 1) / 2
    return Listing(path, "map", rows, wavelength, None, middle, (middle, middle))
