r"""Phase images for a spatial light modulator, at the resolution of its panel.

A height h becomes the phase

.. math:: \varphi = 2\pi \, (n - 1) \, h / \lambda

wrapped at the wavelength at which the panel is operated, after a wavefront correction was added.
Pixels are seen along the light, the upper left one first.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from hardware.errors import HardwareError
from hardware.fabrication.design import HeightMap, Map, MaskDesign
from hardware.fabrication.raster import ENDINGS, Grey, read_image, write_image
from hardware.fabrication.resampling import nearest
from hardware.fabrication.target import Estimate, Plain, Target, Written
from hardware.modulators.correction import read_correction
from hardware.modulators.response import TURN, Response, proportional, read_response


@dataclass(frozen=True)
class Slm(Target):
    """Grey image for a phase modulator.

    Attributes
    ----------
    columns, rows : int
        Pixels of the panel.
    pixel_pitch : float
        Side of a pixel [m].
    wavelength : float
        Vacuum wavelength at which the panel is operated [m].
    index : float or None
        Refractive index of the designed material at that wavelength; None takes the design's.
    keep : {"path", "phase"}
        "path" shows the delay that the mask has at the operating wavelength. "phase" shows the
        phases of the design wavelength, which keeps the jumps of a wrapped relief whole turns.
    bits : int
        Bits of a grey, 1 to 16; above 8 the image is a 16-bit PNG.
    format : {"png", "bmp"}
        File format; BMP has 8 bits.
    turn_grey : int or None
        Grey of a phase of one turn, for a response in proportion; None is 2^bits. Not together
        with `lut`.
    lut : Path or None
        CSV of the panel with columns ``grey`` and ``phase_rad``, straight lines between.
    correction : Path or None
        Grey image of the panel's size that is added before wrapping (flatness of the panel).
    correction_turn_grey : int or None
        Grey of one turn in that image; None is 256, or 65536 if it has 16 bits.
    resample : {"nearest", "refuse"}
        What happens if cells and pixels do not coincide.
    """

    name: ClassVar[str] = "slm"
    units: ClassVar[Mapping[str, str]] = {"index": "ratio"}
    seen_along_light: ClassVar[bool] = True
    flat_cells: ClassVar[bool | None] = True

    columns: int = 1920
    rows: int = 1080
    pixel_pitch: float = 8e-6
    wavelength: float = 540e-9
    index: float | None = None
    keep: Literal["path", "phase"] = "path"
    bits: int = 8
    format: Literal["png", "bmp"] = "png"
    turn_grey: int | None = None
    lut: Path | str | None = None
    correction: Path | str | None = None
    correction_turn_grey: int | None = None
    resample: Literal["nearest", "refuse"] = "nearest"

    def __post_init__(self) -> None:
        if not (2 <= self.columns <= 16384 and 2 <= self.rows <= 16384):
            raise ValueError(
                f"columns, rows = {self.columns}, {self.rows}: 2 to 16384 pixels are allowed"
            )
        if not 1e-7 <= self.pixel_pitch <= 1e-3:
            raise ValueError(f"pixel_pitch = {self.pixel_pitch:g} m: 1e-7 to 1e-3 m are allowed")
        if not 1e-7 <= self.wavelength <= 2e-5:
            raise ValueError(f"wavelength = {self.wavelength:g} m: 1e-7 to 2e-5 m are allowed")
        if self.index is not None and not 1 < self.index < 5:
            raise ValueError(f"index = {self.index:g}: a number above 1 and below 5 is needed")
        if self.keep not in ("path", "phase"):
            raise ValueError(f"keep = {self.keep!r}: 'path' or 'phase' is needed")
        if not 1 <= self.bits <= 16:
            raise ValueError(f"bits = {self.bits}: 1 to 16 are allowed")
        if self.format not in ("png", "bmp") or (self.format == "bmp" and self.bits > 8):
            raise ValueError(f"format = {self.format!r}: 'png', or 'bmp' with 8 bits, is needed")
        if self.turn_grey is not None and self.lut is not None:
            raise ValueError("turn_grey and lut are both given: the table has its own turn")
        if self.turn_grey is not None and not 2 <= self.turn_grey <= 2**self.bits:
            raise ValueError(f"turn_grey = {self.turn_grey}: 2 to {2**self.bits} are allowed")
        if self.correction_turn_grey is not None and self.correction_turn_grey < 2:
            raise ValueError(
                f"correction_turn_grey = {self.correction_turn_grey}: 2 or more is needed"
            )
        if self.resample not in ("nearest", "refuse"):
            raise ValueError(f"resample = {self.resample!r}: 'nearest' or 'refuse' is needed")

    def meant(self, design: MaskDesign) -> HeightMap:
        response, turn = self._response(), self._turn_height(design)
        places = self._places(design, response)
        return self._surface(response.phases[places], turn)

    def step(self, design: MaskDesign) -> float:
        return self._response().gap / TURN * self._turn_height(design)

    def estimate(self, design: MaskDesign) -> Estimate:
        pixels = self.rows * self.columns
        gap = self._response().gap
        remarks = [self._resampled(design)]
        if gap > math.pi / 4:
            remarks.append(
                f"the panel leaves a gap of {gap:.3g} rad at {self.wavelength * 1e9:.4g} nm: "
                f"phases are off by up to {gap / 2:.3g} rad"
            )
        remark = "; ".join(text for text in remarks if text)
        return Estimate(pixels * (1 if self.bits <= 8 else 2), pixels, remark)

    def write(self, design: MaskDesign, folder: Path) -> Written:
        response = self._response()
        level = response.greys[self._places(design, response)]
        grey: Grey = level.astype(np.uint8) if self.bits <= 8 else level.astype(np.uint16)
        path = folder / f"{design.name}{ENDINGS[self.format]}"
        write_image(path, grey, self.format, self.pixel_pitch)
        notes: dict[str, Plain] = {
            "orientation": "first pixel is upper left, rows run down, seen along the light",
            "wavelength_nm": self.wavelength * 1e9,
            "turn_height_nm": self._turn_height(design) * 1e9,
            "keep": self.keep,
            "bits": self.bits,
            "pitch_m": self.pixel_pitch,
            "response": "linear" if self.lut is None else Path(self.lut).name,
            "phase_error_rad": response.gap / 2,
            "correction": "none" if self.correction is None else Path(self.correction).name,
            "outside": "pixels beyond the map have the phase of height 0",
        }
        if self.lut is None:
            notes["turn_grey"] = self.turn_grey or 2**self.bits
        if remark := self._resampled(design):
            notes["resampled"] = remark
        return Written([path], notes)

    def read(self, folder: Path, written: Written) -> HeightMap:
        path = folder / written.files[0].name
        grey, _ = read_image(path, 8 if self.bits <= 8 else 16)
        turn = written.notes["turn_height_nm"]
        if not isinstance(turn, float):
            raise HardwareError(f"{path}: the notes lack turn_height_nm")
        if grey.shape != (self.rows, self.columns):
            raise HardwareError(f"{path}: {grey.shape} pixels, the panel has {self._panel()}")
        response = self._response()
        known = np.full(2**self.bits, math.nan)
        known[response.greys] = response.phases
        phase = known[grey]
        if np.isnan(phase).any():
            raise HardwareError(f"{path}: {int(np.isnan(phase).sum())} pixels beyond one turn")
        return self._surface(phase, turn * 1e-9)

    def _surface(self, phase: Map, turn: float) -> HeightMap:
        """Heights (rows, columns) within one turn that a shown phase stands for."""
        return HeightMap(np.mod(phase - self._correction(), TURN) / TURN * turn, self.pixel_pitch)

    def _turn_height(self, design: MaskDesign) -> float:
        """Height that becomes a phase of one turn [m]."""
        if self.keep == "phase":
            return design.turn_height
        return self.wavelength / ((self.index or design.index) - 1)

    def _places(self, design: MaskDesign, response: Response) -> NDArray[np.int64]:
        """Places (rows, columns) in the response that show the design."""
        shape = (self.rows, self.columns)
        size = min(shape) * self.pixel_pitch
        if design.diameter > size * (1 + 1e-9):
            raise ValueError(
                f"diameter = {design.diameter * 1e3:g} mm is larger than the panel's "
                f"{self.columns * self.pixel_pitch * 1e3:g} x "
                f"{self.rows * self.pixel_pitch * 1e3:g} mm: relay the pupil at "
                f"{design.diameter / size:.3g}:1, that is, design for a smaller mask"
            )
        remark = self._resampled(design)
        if remark and self.resample == "refuse":
            raise ValueError(f"resample = 'refuse': {remark}; use a cell of the panel's pitch")
        shown = nearest(design, shape, self.pixel_pitch, 0.0)
        phase = shown.height / self._turn_height(design) * TURN
        return response.nearest(phase + self._correction())

    def _resampled(self, design: MaskDesign) -> str:
        """Sentence on cells that are no pixels, "" if all are."""
        ratio = self.pixel_pitch / design.spacing
        if abs(ratio - 1) > 1e-6:
            lost = "; finer cells are lost" if ratio > 1 else ""
            return (
                f"cells of {design.spacing * 1e6:.4g} um are shown by the nearest of the pixels "
                f"of {self.pixel_pitch * 1e6:.4g} um{lost}"
            )
        rows, columns = design.shape
        if (rows - self.rows) % 2 or (columns - self.columns) % 2:
            return "odd and even sides: the map is shifted by half a pixel"
        return ""

    def _panel(self) -> tuple[int, int]:
        return self.rows, self.columns

    def _response(self) -> Response:
        if self.lut is None:
            return proportional(self.bits, self.turn_grey).first_turn()
        response = read_response(self.lut, self.bits).first_turn()
        if response.gap > math.pi:
            raise HardwareError(
                f"{self.lut}: the panel makes {response.range:.3g} rad, half of a turn "
                f"({TURN:.3g} rad) or less; use a shorter wavelength or the other video setting"
            )
        return response

    def _correction(self) -> Map | float:
        """Phase (rows, columns) that is added [rad]."""
        if self.correction is None:
            return 0.0
        turn = self.correction_turn_grey
        return read_correction(self.correction, self._panel(), self.wavelength, turn).phase
