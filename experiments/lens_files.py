"""Lenses from the files of lens design programs, and pupils from poppy.

Read are text listings of Zemax (Zernike Standard and Fringe Coefficients, Wavefront Map; UTF-16
or UTF-8) and interferogram files of CODE V (.INT: ZFR, ZRN and GRD). What these programs write
becomes what `optics` uses, in one place:

- waves become metres by the wavelength in the file;
- a wavefront that is ahead of the reference sphere is positive there (Zemax, CODE V; J. C. Wyant,
  K. Creath, *Applied Optics and Optical Engineering* XI, ch. 1) and negative here, where a longer
  path is positive; ``positive="lags"`` is for files with the other sign;
- x points right and y up there, y points down the rows here: sine modes change their sign, maps
  are read from their upper row on; ``first_row="bottom"`` is for maps that start below;
- angles run from +x towards +y in all of them; Fringe coefficients are values at the rim, here
  they are RMS contributions in Noll order.

A field angle is that of the chief ray, positive for an image at positive x or y.
"""

import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from experiments.data.errors import DataError
from experiments.lens_formats import Listing, read_listing
from optics import Lens, MappedLens, TabulatedLens
from optics.grids import squared_radius
from optics.lenses import FieldGrid, FieldLayout, FieldPoints, FieldRadius
from optics.zernike import nm_to_noll, noll_to_nm, to_noll

_SAME = 1e-6  # tangents that differ by less are one; listings have four digits of a degree


@dataclass(frozen=True)
class Wavefront:
    """A wavefront in the conventions of `optics`.

    Attributes
    ----------
    opd : Tensor
        Float64; (J,) RMS contributions of Noll modes 1 to J, or a map (H, W) centred on the
        pupil, y down the rows, NaN outside; positive delays [m].
    radius : float
        Pupil radius in samples of the map; 0 for coefficients.
    wavelength : float
        Vacuum wavelength [m].
    field : tuple of float or None
        Tangents (y, x) of the chief ray; None if the file does not say.
    path : Path
        Where it came from.
    """

    opd: Tensor
    radius: float
    wavelength: float
    field: tuple[float, float] | None
    path: Path


def read_wavefront(
    path: Path | str,
    *,
    positive: Literal["leads", "lags"] = "leads",
    first_row: Literal["top", "bottom"] = "top",
) -> Wavefront:
    """Read one file of Zemax or CODE V, whichever it is.

    Parameters
    ----------
    path : Path
        Text file; its content says what it is, not its name.
    positive : {"leads", "lags"}
        What a positive number in the file means.
    first_row : {"top", "bottom"}
        Which row of a map comes first in the file.

    Raises
    ------
    DataError
        The file is missing, damaged or of another kind; names the file, the line and what was
        expected there.
    """
    if positive not in ("leads", "lags"):
        raise ValueError(f"positive = {positive!r}: use 'leads' or 'lags'")
    if first_row not in ("top", "bottom"):
        raise ValueError(f"first_row = {first_row!r}: use 'top' or 'bottom'")
    listing = read_listing(Path(path))
    values = torch.tensor(listing.values, dtype=torch.float64)
    if listing.kind == "map":
        opd = _pupil_square(listing, values)
        opd = opd if first_row == "top" else opd.flip(0)
    else:
        opd = _noll(listing.kind, values)
        # y up becomes y down: cos(m angle) stays, sin(m angle) changes its sign
        signs = [-1.0 if noll_to_nm(j + 1)[1] < 0 else 1.0 for j in range(len(opd))]
        opd = opd * torch.tensor(signs, dtype=torch.float64)
    sign = -1.0 if positive == "leads" else 1.0
    field = listing.angles and (-math.tan(listing.angles[1]), math.tan(listing.angles[0]))
    return Wavefront(
        sign * listing.wavelength * opd,
        listing.radius,
        listing.wavelength,
        field,
        listing.path,
    )


def lens_from_files(
    paths: str | Sequence[str],
    base: Lens,
    *,
    aperture_diameter: float,
    symmetric: bool = True,
    fields: Sequence[tuple[float, float]] | None = None,
    positive: Literal["leads", "lags"] = "leads",
    first_row: Literal["top", "bottom"] = "top",
) -> TabulatedLens | MappedLens:
    """Lens whose wavefronts are in files, one for each field point (and wavelength).

    Parameters
    ----------
    paths : str or sequence of str
        Files, or patterns such as "wavefronts/*.txt"; read in the order of their names.
    base : Lens
        Ideal lens of the same focal length, which brings the dispersion of the focus.
    aperture_diameter : float
        Pupil diameter the wavefronts refer to [m].
    symmetric : bool, default True
        The files lie along one radius of a lens with rotational symmetry: the wavefronts are
        turned to other azimuths. Otherwise the field points span an area of their own.
    fields : sequence of tuple of float, optional
        Tangents (y, x) of the chief rays, file by file, where the files do not name angles.
    positive, first_row
        See `read_wavefront`.

    Raises
    ------
    DataError
        A file cannot be used, or the files do not belong together.
    """
    waves = [read_wavefront(p, positive=positive, first_row=first_row) for p in _found(paths)]
    if fields is not None:
        if len(fields) != len(waves):
            raise ValueError(f"{len(fields)} fields for {len(waves)} files: give one for each")
        waves = [
            replace(w, field=(float(f[0]), float(f[1]))) for w, f in zip(waves, fields, strict=True)
        ]
    for wave in waves:
        if wave.field is None:
            raise DataError(
                f"{wave.path}: the file names no field angle; give fields=, the tangents (y, x) "
                f"of the chief ray of each file, y down"
            )
        if (wave.opd.ndim, wave.radius) != (waves[0].opd.ndim, waves[0].radius):
            raise DataError(
                f"{wave.path} and {waves[0].path} differ in kind or sampling: export all field "
                f"points with the same analysis and settings"
            )
    points = [wave.field for wave in waves if wave.field is not None]
    layout, order = _layout(waves, points, symmetric)
    wavelengths = sorted({wave.wavelength for wave in waves})
    table = [[_pick(waves, point, w) for point in order] for w in wavelengths]
    if waves[0].opd.ndim == 2:
        if len(wavelengths) > 1:
            raise DataError(
                f"{len(waves)} maps of {len(wavelengths)} wavelengths: maps are used at one; "
                f"export Zernike coefficients for several"
            )
        return MappedLens(
            base,
            spacing=aperture_diameter / 2 / waves[0].radius,
            fields=layout,
            maps=torch.stack([wave.opd for wave in table[0]]),
        )
    longest = max(len(wave.opd) for wave in waves)
    coefficients = torch.zeros(len(wavelengths), len(order), longest, dtype=torch.float64)
    for i, row in enumerate(table):
        for j, wave in enumerate(row):
            coefficients[i, j, : len(wave.opd)] = wave.opd
    return TabulatedLens(
        base,
        aperture_diameter=aperture_diameter,
        fields=layout,
        coefficients=coefficients,
        wavelengths=wavelengths,
    )


def from_poppy(
    optic: Any, *, samples: int, spacing: float, wavelength: float
) -> tuple[Tensor, Tensor]:
    """Amplitude and wavefront of a poppy optic, on our grid and in our conventions.

    Both packages have sample centres at (n - (N - 1) / 2) * spacing. poppy's y runs up, and a
    positive path difference is an advance there.

    Parameters
    ----------
    optic : poppy.OpticalElement
        Element of a pupil plane.
    samples : int
        Samples along each side.
    spacing : float
        Sample spacing in the pupil [m].
    wavelength : float
        Vacuum wavelength [m].

    Returns
    -------
    tuple of Tensor
        Amplitude transmission and `opd` [m], float64 (samples, samples), y down the rows.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # poppy and astropy deprecations
        import poppy

        wave = poppy.Wavefront(wavelength=wavelength, npix=samples, diam=samples * spacing)
        amplitude = torch.tensor(optic.get_transmission(wave), dtype=torch.float64)
        opd = torch.tensor(optic.get_opd(wave), dtype=torch.float64)
    shape = (samples, samples)
    return amplitude.expand(shape).flip(0), -opd.expand(shape).flip(0)


def _found(paths: str | Sequence[str]) -> list[Path]:
    """List the files that the names and patterns stand for."""
    out: list[Path] = []
    for pattern in [paths] if isinstance(paths, str) else paths:
        path = Path(pattern)
        matches = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        if not matches and re.search(r"[*?\[]", pattern) and not path.exists():
            raise DataError(f"{pattern}: no file matches; check the folder and the ending")
        out += matches or [path]  # a missing file is reported when it is read
    if not out:
        raise DataError("no files given: name the wavefront files of the lens")
    return out


def _pupil_square(listing: Listing, values: Tensor) -> Tensor:
    """Cut the square around the centre of the pupil; NaN outside the pupil."""
    row, column = listing.centre
    half = min(row, column, len(values) - 1 - row, values.shape[1] - 1 - column)
    if half < listing.radius:
        raise DataError(
            f"{listing.path}: the centre of the pupil at row {row + 1:g}, column {column + 1:g} "
            f"leaves {half:g} samples to the edge, expected {listing.radius:g}"
        )
    top, left, side = round(row - half), round(column - half), round(2 * half) + 1
    square = values[top : top + side, left : left + side]
    outside = squared_radius((side, side), 1.0) > (listing.radius * (1 + 1e-9)) ** 2
    square = torch.where(outside, torch.nan, square)
    if not bool(square.isfinite().any()):
        raise DataError(f"{listing.path}: the map has no value inside the pupil")
    return square


def _noll(kind: str, values: Tensor) -> Tensor:
    """Noll coefficients, RMS, of a set in a file; unit and axes unchanged."""
    if kind == "standard":
        return values
    if kind == "fringe":
        return to_noll(values, "fringe")
    # CODE V's standard set: n = 0, 1, ...; m = n, n - 2, ..., -n; values at the rim
    out = torch.zeros((len(values) + 1) * 2, dtype=torch.float64)
    longest = 0
    for place, value in enumerate(values.tolist()):
        n = (math.isqrt(8 * place + 1) - 1) // 2
        m = n - 2 * (place - n * (n + 1) // 2)
        j = nm_to_noll(n, m)
        out[j - 1] = value / math.sqrt((n + 1) * (2 if m else 1))
        longest = max(longest, j)
    return out[:longest]


def _layout(
    waves: Sequence[Wavefront], points: list[tuple[float, float]], symmetric: bool
) -> tuple[FieldLayout, list[tuple[float, float]]]:
    """Layout of the distinct field points, and these in its order."""
    distinct: list[tuple[float, float]] = []
    for point in points:
        if not any(_same(point, other) for other in distinct):
            distinct.append(point)
    if symmetric:
        distinct.sort(key=lambda p: math.hypot(*p))
        edge = distinct[-1]
        length = math.hypot(*edge)
        for point in distinct:
            across = edge[0] * point[1] - edge[1] * point[0]
            along = edge[0] * point[0] + edge[1] * point[1]
            if abs(across) > _SAME * length or along < -_SAME * length:
                raise DataError(
                    f"{waves[0].path} and others: the field points {_show(point)} and "
                    f"{_show(edge)} do not lie along one radius from the axis; export one radius, "
                    f"or set symmetric=false and cover the field"
                )
        if math.hypot(*distinct[0]) > _SAME:
            raise DataError(
                f"{waves[0].path} and others: no field point on the axis (the nearest is "
                f"{_show(distinct[0])}, tangents); export it as well"
            )
        radii = [math.hypot(*point) for point in distinct]
        radii[0] = 0.0
        return FieldRadius(radii, azimuth=math.atan2(edge[0], edge[1])), distinct
    rows, columns = (_levels([point[axis] for point in distinct]) for axis in (0, 1))
    grid = [(y, x) for y in rows for x in columns]
    if len(grid) == len(distinct) and len(rows) > 1 and len(columns) > 1:
        return FieldGrid(rows, columns), grid
    try:
        return FieldPoints(distinct), distinct
    except ValueError as error:
        raise DataError(f"{waves[0].path} and others: {error}") from error


def _levels(values: list[float]) -> list[float]:
    """Values in order, those that agree to rounding once."""
    out: list[float] = []
    for value in sorted(values):
        if not out or value - out[-1] > _SAME:
            out.append(value)
    return out


def _same(one: tuple[float, float] | None, other: tuple[float, float]) -> bool:
    return one is not None and math.dist(one, other) <= 2 * _SAME


def _show(point: tuple[float, float]) -> str:
    return f"(y, x) = ({point[0]:.4g}, {point[1]:.4g})"


def _pick(waves: list[Wavefront], point: tuple[float, float], wavelength: float) -> Wavefront:
    """Return the one file of a field point and wavelength."""
    found = [w for w in waves if w.wavelength == wavelength and _same(w.field, point)]
    if len(found) != 1:
        names = " and ".join(str(w.path) for w in found) or "no file"
        raise DataError(
            f"{names} for the field point {_show(point)} at {wavelength * 1e9:.1f} nm; expected "
            f"one for every field point and wavelength"
        )
    return found[0]
