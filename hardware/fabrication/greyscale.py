"""Grey image for laser writers and other greyscale lithography: TIFF, PNG or BMP.

A grey stands for a depth below the upper surface of the resist. Heights are written as they are,
not wrapped, with the highest point at `surface_depth`. Pixels are cells, the upper left one first.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from hardware.errors import HardwareError
from hardware.fabrication.columns import check_monotone, read_columns
from hardware.fabrication.design import HeightMap, Map, MaskDesign
from hardware.fabrication.raster import ENDINGS, Format, Grey, read_image, write_image
from hardware.fabrication.target import Estimate, Plain, Target, Written


@dataclass(frozen=True)
class _Scale:
    """Depths [m], rising, and the grey that makes each of them; straight lines between."""

    depths: Map
    greys: Map

    def grey(self, depth: Map) -> Map:
        return np.asarray(np.floor(np.interp(depth, self.depths, self.greys) + 0.5), np.float64)

    def depth(self, grey: Map) -> Map:
        rising = slice(None, None, 1 if self.greys[-1] > self.greys[0] else -1)
        return np.asarray(np.interp(grey, self.greys[rising], self.depths[rising]), np.float64)

    @property
    def step(self) -> float:
        """Largest change of depth from one grey to the next [m]."""
        return float(np.abs(np.diff(self.depths) / np.diff(self.greys)).max())


@dataclass(frozen=True)
class Greyscale(Target):
    """Grey image of the depth.

    Attributes
    ----------
    bits : {8, 16}
        Bits of a pixel.
    format : {"tiff", "png", "bmp"}
        File format; BMP has 8 bits only.
    polarity : {"deep_is_bright", "deep_is_dark"}
        Which end of the scale is deep.
    full_depth : float or None
        Depth between the first and the last grey [m]; None takes the relief of the map. Not
        together with `curve`.
    surface_depth : float
        Depth of the highest point of the map below the resist's surface [m].
    curve : Path or None
        CSV of the process with columns ``depth_nm`` and ``grey``, straight lines between; None
        is a grey in proportion to the depth.
    """

    name: ClassVar[str] = "greyscale"

    bits: int = 16
    format: Format = "tiff"
    polarity: Literal["deep_is_bright", "deep_is_dark"] = "deep_is_bright"
    full_depth: float | None = None
    surface_depth: float = 0.0
    curve: Path | str | None = None

    def __post_init__(self) -> None:
        if self.bits not in (8, 16):
            raise ValueError(f"bits = {self.bits}: an image has 8 or 16 bits")
        if self.format not in ENDINGS:
            raise ValueError(f"format = {self.format!r}: one of {', '.join(ENDINGS)} is needed")
        if self.format == "bmp" and self.bits != 8:
            raise ValueError(f"bits = {self.bits}: a BMP has 8; use format = 'tiff' or 'png'")
        if self.polarity not in ("deep_is_bright", "deep_is_dark"):
            raise ValueError(
                f"polarity = {self.polarity!r}: 'deep_is_bright' or 'deep_is_dark' is needed"
            )
        if self.full_depth is not None and not 0 < self.full_depth < 1e-2:
            raise ValueError(f"full_depth = {self.full_depth:g} m: 0 to 0.01 m are allowed")
        if self.full_depth is not None and self.curve is not None:
            raise ValueError("full_depth and curve are both given: the curve has its own range")
        if not 0 <= self.surface_depth < 1e-2:
            raise ValueError(f"surface_depth = {self.surface_depth:g} m: 0 to 0.01 m are allowed")

    def meant(self, design: MaskDesign) -> HeightMap:
        scale, deepest = self._scale(design)
        depth = scale.depth(scale.grey(deepest - (design.height - design.height.min())))
        return HeightMap(deepest - depth, design.spacing)

    def step(self, design: MaskDesign) -> float:
        return self._scale(design)[0].step

    def estimate(self, design: MaskDesign) -> Estimate:
        scale, _ = self._scale(design)
        remark = ""
        if scale.step > design.turn_height / 64:
            remark = (
                f"one grey is {scale.step * 1e9:.3g} nm, more than 1/64 of the "
                f"{design.turn_height * 1e9:.4g} nm that delay one wavelength; use 16 bits or wrap"
            )
        return Estimate(design.height.size * self.bits // 8, design.height.size, remark)

    def write(self, design: MaskDesign, folder: Path) -> Written:
        scale, deepest = self._scale(design)
        level = scale.grey(deepest - (design.height - design.height.min()))
        grey: Grey = level.astype(np.uint8) if self.bits == 8 else level.astype(np.uint16)
        path = folder / f"{design.name}{ENDINGS[self.format]}"
        write_image(path, grey, self.format, design.spacing)
        notes: dict[str, Plain] = {
            "orientation": "first pixel is upper left, rows run down, seen towards the relief",
            "pixel": "one cell; the image is flat within it",
            "pitch_m": design.spacing,
            "bits": self.bits,
            "polarity": self.polarity,
            "curve": "linear" if self.curve is None else Path(self.curve).name,
            "full_depth_nm": float(scale.depths[-1]) * 1e9,
            "surface_depth_nm": self.surface_depth * 1e9,
            "deepest_nm": deepest * 1e9,
            "grey_step_nm": scale.step * 1e9,
            "wrapped": "no: heights are written as they are",
        }
        if self.format == "bmp":
            notes["remark"] = "a BMP does not hold the pitch: set pitch_m on the machine"
        return Written([path], notes)

    def read(self, folder: Path, written: Written) -> HeightMap:
        path = folder / written.files[0].name
        grey, pitch = read_image(path, self.bits)
        said = written.notes["pitch_m"]
        full, deepest = written.notes["full_depth_nm"], written.notes["deepest_nm"]
        if not (isinstance(said, float) and isinstance(full, float) and isinstance(deepest, float)):
            raise HardwareError(f"{path}: the notes lack pitch_m, full_depth_nm or deepest_nm")
        scale = self._curve() if self.curve is not None else self._linear(full * 1e-9)
        height = deepest * 1e-9 - scale.depth(grey.astype(np.float64))
        return HeightMap(height, pitch or said)

    def _scale(self, design: MaskDesign) -> tuple[_Scale, float]:
        """Scale of the process, and the depth of the lowest point of the map [m]."""
        deepest = self.surface_depth + float(np.ptp(design.height))
        if self.curve is not None:
            scale = self._curve()
        elif deepest == 0 and self.full_depth is None:
            raise ValueError("full_depth = None: the map is flat; give the depth of the last grey")
        else:
            scale = self._linear(deepest if self.full_depth is None else self.full_depth)
        low, high = scale.depths[0], scale.depths[-1]
        # 1e-9 of the range: a full depth that was typed with all digits of the relief
        if self.surface_depth < low - 1e-9 * high or deepest > high * (1 + 1e-9):
            raise ValueError(
                f"depths of {self.surface_depth * 1e9:.6g} to {deepest * 1e9:.6g} nm are needed, "
                f"the greys make {low * 1e9:.6g} to {high * 1e9:.6g} nm: wrap the design, change "
                f"surface_depth or use a curve (full_depth) that reaches further"
            )
        return scale, deepest

    def _linear(self, full: float) -> _Scale:
        ends = [0.0, 2.0**self.bits - 1]
        if self.polarity == "deep_is_dark":
            ends.reverse()
        return _Scale(np.array([0.0, full]), np.array(ends))

    def _curve(self) -> _Scale:
        path = Path(self.curve or "")
        depth, grey = read_columns(path, ("depth_nm", "grey"))
        check_monotone(path, "depth_nm", depth, rising=True)
        check_monotone(path, "grey", grey)
        if grey.min() < 0 or grey.max() > 2**self.bits - 1:
            raise HardwareError(
                f"{path}: greys of {grey.min():g} to {grey.max():g}; {self.bits} bits hold 0 to "
                f"{2**self.bits - 1}"
            )
        if (grey[-1] > grey[0]) != (self.polarity == "deep_is_bright"):
            raise HardwareError(
                f"{path}: grey {'rises' if grey[-1] > grey[0] else 'falls'} with depth, against "
                f"polarity = {self.polarity!r}; set the other polarity if the curve is right"
            )
        return _Scale(depth * 1e-9, grey)
