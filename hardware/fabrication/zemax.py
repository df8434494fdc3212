"""Zemax OpticStudio: grid sag (.DAT) and Zernike Standard Sag coefficients.

Grid Sag file: one line ``nx ny delx dely unitflag xdec ydec`` (flag 0 mm, 1 cm, 2 in, 3 m), then
for every point a line ``z dz/dx dz/dy d2z/dxdy nodata``, from the upper left corner (-x, +y) along
the rows. Derivatives that are all zero are fitted by the program.

Zernike Standard Sag uses Noll's modes of unit RMS over the disc of the normalisation radius.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from hardware.errors import HardwareError
from hardware.fabrication.design import HeightMap, MaskDesign
from hardware.fabrication.lens_text import (
    LensFile,
    capped,
    lens_notes,
    resampled,
    sag_sign,
    zernike_notes,
)
from hardware.fabrication.target import Estimate, Written
from hardware.fabrication.zernike_fit import MOST_NOLL, Fit, noll_orders

_DECIMALS = 9  # of a sag in millimetres: a picometre
_UNITS = {0: 1e-3, 1: 1e-2, 2: 25.4e-3, 3: 1.0}  # metres of the unit flag


@dataclass(frozen=True)
class Zemax(LensFile):
    """Grid sag of the map and the Zernike sag nearest to it.

    Attributes
    ----------
    most, modes, faces
        As for `LensFile`. Noll modes of the Zernike file, 1 to 231.
    """

    name: ClassVar[str] = "zemax"
    most_modes: ClassVar[tuple[int, str]] = (MOST_NOLL, "Noll modes")

    def meant(self, design: MaskDesign) -> HeightMap:
        grid = capped(design, self.most)
        return HeightMap(np.round(grid.height * 1e3, _DECIMALS) * 1e-3, grid.spacing)

    def step(self, design: MaskDesign) -> float:
        return 1e-3 * 10.0**-_DECIMALS

    def estimate(self, design: MaskDesign) -> Estimate:
        grid = capped(design, self.most)
        return Estimate(22 * grid.height.size, grid.height.size, resampled(design, grid))

    def write(self, design: MaskDesign, folder: Path) -> Written:
        grid = capped(design, self.most)
        sag_file, zernike_file = (
            folder / f"{design.name}.DAT",
            folder / f"{design.name}_zernike.txt",
        )
        pitch = repr(grid.spacing * 1e3)
        rows, columns = grid.shape
        line = f"%.{_DECIMALS}f 0 0 0 0\n" * columns
        # + 0.0 turns a negative zero into zero
        sag = sag_sign(self.faces) * np.round(grid.height * 1e3, _DECIMALS) + 0.0
        with sag_file.open("w", encoding="ascii", newline="\n") as file:
            file.write(f"{columns} {rows} {pitch} {pitch} 0 0 0\n")
            file.writelines(line % tuple(row) for row in sag)
        fit = self.fit(design)
        zernike_file.write_text(self._listing(design, fit), encoding="ascii", newline="\n")
        notes = lens_notes(design, grid, self.faces) | {
            "unit": "millimetre",
            "derivatives": "all 0: the program fits its own",
        }
        notes |= zernike_notes(fit)
        return Written([sag_file, zernike_file], notes)

    def read(self, folder: Path, written: Written) -> HeightMap:
        sag = read_grid_sag(folder / written.files[0].name)
        return HeightMap(sag_sign(self.faces) * sag.height, sag.spacing)

    @staticmethod
    def orders(number: int) -> tuple[int, int]:
        return noll_orders(number)

    def _listing(self, design: MaskDesign, fit: Fit) -> str:
        lines = [
            "! Zernike Standard Sag: Noll order, unit RMS over the pupil, x right, y up, mm",
            f"! fitted within the clear diameter, residual {fit.residual * 1e6:.6e} mm RMS",
            f"NORM_RADIUS_MM {design.diameter / 2 * 1e3!r}",
            f"TERMS {len(fit.orders)}",
        ]
        lines += [f"Z {j:3d} {sag * 1e3:.12e}" for j, sag in enumerate(self.sags(fit), 1)]
        return "\n".join(lines) + "\n"


def read_grid_sag(path: Path) -> HeightMap:
    """Read the sag of a Grid Sag file, y down, in metres; samples without data are refused.

    Raises
    ------
    HardwareError
        The file is damaged, not square in its spacing, decentred or has gaps.
    """
    expected = "expected 'nx ny delx dely unitflag xdec ydec', then nx * ny lines of 4 or 5 numbers"
    try:
        with path.open(encoding="ascii") as file:
            words = file.readline().split()
            columns, rows, flag = int(words[0]), int(words[1]), int(words[4])
            across, down = float(words[2]), float(words[3])
            moved = [float(word) for word in words[5:7]]
            table = np.loadtxt(file, dtype=np.float64, ndmin=2)
        unit = _UNITS[flag]
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise HardwareError(f"{path}: {error!r}; {expected}") from error
    if table.shape[0] != rows * columns or table.shape[1] not in (4, 5):
        raise HardwareError(f"{path}: {table.shape} numbers for {columns} x {rows}; {expected}")
    if not np.isclose(across, down, rtol=1e-9, atol=0) or any(moved):
        raise HardwareError(f"{path}: delx and dely differ or the grid is decentred")
    if table.shape[1] == 5 and table[:, 4].any():
        raise HardwareError(f"{path}: {int((table[:, 4] != 0).sum())} points without data")
    # the first row of the file is the upper one, as in our maps
    return HeightMap(table[:, 0].reshape(rows, columns) * unit, across * unit)
