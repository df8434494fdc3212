"""CODE V interferogram files (.INT) of a surface: a grid, and Fringe coefficients.

Lines of at most 80 characters: comments with "!", a title, then ``GRD nx ny SUR WVL w SSZ s NDA
-32768`` and nx * ny integers from the upper left corner along the rows, or ``ZFR n SUR WVL w SSZ
s`` and n Fringe coefficients (each 1 on the rim). A number over SSZ is a sag in units of WVL.

WVL is 1 micrometre here, so that SSZ counts steps in a micrometre and no reader can mistake the
wavelength of the design for it. Integers have 16 bits: the step is 1/65534 of the range.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

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
from hardware.fabrication.zernike_fit import (
    MOST_FRINGE,
    Fit,
    fringe_orders,
    rim_value,
)

_WAVE = 1e-6  # the file's WVL [m]
_LARGEST = 32767  # of the integers; -32768 stands for a missing sample
_PER_LINE = 11  # numbers of up to 6 characters and a space: 77 of 80


@dataclass(frozen=True)
class CodeV(LensFile):
    """Grid and Fringe coefficients of the sag.

    Attributes
    ----------
    most, modes, faces
        As for `LensFile`. Terms of the Fringe file, 1 to 37.
    """

    name: ClassVar[str] = "codev"
    most_modes: ClassVar[tuple[int, str]] = (MOST_FRINGE, "Fringe terms")

    def meant(self, design: MaskDesign) -> HeightMap:
        grid = capped(design, self.most)
        per_wave, counts = self._counts(grid)
        return HeightMap(sag_sign(self.faces) * counts / per_wave * _WAVE, grid.spacing)

    def step(self, design: MaskDesign) -> float:
        return _WAVE / self._counts(capped(design, self.most))[0]

    def estimate(self, design: MaskDesign) -> Estimate:
        grid = capped(design, self.most)
        step = np.ptp(grid.height) / (2 * _LARGEST)
        remark = f"16-bit integers: steps of {step * 1e9:.3g} nm, 1/65534 of the range"
        said = resampled(design, grid)
        return Estimate(
            7 * grid.height.size, grid.height.size, f"{remark}; {said}" if said else remark
        )

    def write(self, design: MaskDesign, folder: Path) -> Written:
        grid = capped(design, self.most)
        rows, columns = grid.shape
        per_wave, counts = self._counts(grid)
        grid_file = folder / f"{design.name}.int"
        with grid_file.open("w", encoding="ascii", newline="\n") as file:
            file.write("! sag of a mask; first number upper left, x right, y up\n")
            file.write(f"! pitch {grid.spacing * 1e3:.9g} mm\n{design.name[:60]}\n")
            file.write(f"GRD {columns} {rows} SUR WVL 1.0 SSZ {per_wave!r} NDA -32768\n")
            numbers = [str(value) for value in counts.ravel().tolist()]
            for start in range(0, len(numbers), _PER_LINE):
                file.write(" ".join(numbers[start : start + _PER_LINE]) + "\n")
        fit = self.fit(design)
        zernike_file = folder / f"{design.name}_fringe.int"
        zernike_file.write_text(self._listing(design, fit), encoding="ascii", newline="\n")
        notes = lens_notes(design, grid, self.faces) | {
            "height_step_nm": _WAVE / per_wave * 1e9,
            "quantisation": "16-bit integers: the step is 1/65534 of the range; piston is removed",
            "grid_width_mm": (columns - 1) * grid.spacing * 1e3,
            "grid_height_mm": (rows - 1) * grid.spacing * 1e3,
            "grid_extent": "from first to last sample: give the program this size for the grid",
        }
        notes |= zernike_notes(fit)
        return Written([grid_file, zernike_file], notes)

    def read(self, folder: Path, written: Written) -> HeightMap:
        sag = read_grid_int(folder / written.files[0].name)
        pitch = written.notes["pitch_mm"]
        if not isinstance(pitch, float):
            raise HardwareError(f"{written.files[0]}: the notes lack pitch_mm")
        return HeightMap(sag_sign(self.faces) * sag, pitch * 1e-3)

    def _counts(self, grid: HeightMap) -> tuple[float, NDArray[np.int64]]:
        """SSZ, and the integers (H, W) of the sag about the middle of its range."""
        low, high = float(grid.height.min()), float(grid.height.max())
        # a flat map: any step does. Rounding SSZ down keeps the ends of the range within 16 bits
        wanted = 2 * _LARGEST * _WAVE / (high - low) if high > low else 1e6
        per_wave = float(f"{wanted * (1 - 1e-9):.9g}")
        sag = sag_sign(self.faces) * (grid.height - (low + high) / 2)
        return per_wave, np.round(sag / _WAVE * per_wave).astype(np.int64)

    @staticmethod
    def orders(number: int) -> tuple[int, int]:
        return fringe_orders(number)

    def _listing(self, design: MaskDesign, fit: Fit) -> str:
        values = [
            sag * rim_value(n, m) / _WAVE
            for (n, m), sag in zip(fit.orders, self.sags(fit), strict=True)
        ]
        lines = [
            "! Fringe coefficients of a sag, each 1 on the rim; x right, y up; waves of 1 um",
            f"! radius {design.diameter / 2 * 1e3:.9g} mm, residual {fit.residual / _WAVE:.6e} RMS",
            design.name[:60],
            f"ZFR {len(values)} SUR WVL 1.0 SSZ 1.0",
            *(f"{value:.12e}" for value in values),
        ]
        return "\n".join(lines) + "\n"


def read_grid_int(path: Path) -> NDArray[np.float64]:
    """Sag (H, W) of a grid .INT file of a surface, y down [m].

    Raises
    ------
    HardwareError
        The file is damaged, of another kind, or has missing samples.
    """
    expected = "expected a title, 'GRD nx ny SUR WVL w SSZ s NDA -32768' and nx * ny integers"
    try:
        lines = [line for line in path.read_text("ascii").splitlines() if not line.startswith("!")]
        words = lines[1].upper().split()
        known = {key: words[words.index(key) + 1] for key in ("GRD", "WVL", "SSZ", "NDA")}
        columns, rows = int(known["GRD"]), int(words[words.index("GRD") + 2])
        counts = np.array(" ".join(lines[2:]).split(), np.int64)
        scale = float(known["WVL"]) * 1e-6 / float(known["SSZ"])
    except (OSError, ValueError, IndexError, ZeroDivisionError) as error:
        raise HardwareError(f"{path}: {error!r}; {expected}") from error
    if "SUR" not in words or len(counts) != rows * columns:
        raise HardwareError(f"{path}: {len(counts)} numbers after {lines[1]!r}; {expected}")
    if (counts == int(known["NDA"])).any():
        raise HardwareError(f"{path}: samples are missing; {expected}")
    return np.asarray(counts.reshape(rows, columns) * scale, np.float64)
