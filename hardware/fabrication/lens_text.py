"""What the files for lens design programs share: axes, the sign of a sag, the cap on samples.

In those programs x points right, y up and z along the light, so a file holds the map with its
first row at the largest y, and sine modes change their sign. A sag is the z of the surface: more
material in front of the glass (a relief that faces the object) moves it against the light.
The map must be the one seen along the light, whichever way the relief faces.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from hardware.fabrication.design import Faces, HeightMap, MaskDesign, check_faces
from hardware.fabrication.resampling import averaged, coarsen
from hardware.fabrication.target import Plain, Target
from hardware.fabrication.zernike_fit import Fit, fit_modes


@dataclass(frozen=True)
class LensFile(Target):
    """What files for lens design programs have in common.

    Attributes
    ----------
    most : int
        Most samples on a side, 5 to 4096; larger maps are averaged.
    modes : int
        Modes of the Zernike file.
    faces : {"object", "sensor"}
        Which way the relief faces; gives the sign of the sag. Not a mirror: the map is that seen
        along the light in both cases.
    """

    seen_along_light: ClassVar[bool] = True
    #: Most modes, and what they are called.
    most_modes: ClassVar[tuple[int, str]]

    most: int = 1024
    modes: int = 37
    faces: Faces = "object"

    def __post_init__(self) -> None:
        if not 5 <= self.most <= 4096:
            raise ValueError(f"most = {self.most}: 5 to 4096 samples on a side are allowed")
        check_faces(self.faces)
        largest, kind = self.most_modes
        if not 1 <= self.modes <= largest:
            raise ValueError(f"modes = {self.modes}: 1 to {largest} {kind} are allowed")

    @staticmethod
    @abstractmethod
    def orders(number: int) -> tuple[int, int]:
        """Orders (n, m) of mode `number`, counted from 1."""

    def fit(self, design: MaskDesign) -> Fit:
        """Zernike modes nearest to the map."""
        orders = [self.orders(j) for j in range(1, self.modes + 1)]
        return fit_modes(design, design.diameter, orders)

    def sags(self, fit: Fit) -> list[float]:
        """Amplitudes of the modes as a sag with y up, where sine modes turn over [m]."""
        sign = sag_sign(self.faces)
        return [
            sign * (-a if m < 0 else a)
            for (_, m), a in zip(fit.orders, fit.amplitudes, strict=True)
        ]


def sag_sign(faces: Faces) -> int:
    """Sign of the sag of a point that stands out of the material."""
    return -1 if faces == "object" else 1


def lens_notes(design: MaskDesign, grid: HeightMap, faces: Faces) -> dict[str, Plain]:
    """Return notes on axes, sign and sampling."""
    notes: dict[str, Plain] = {
        "orientation": "x right, y up, first number at the upper left; map seen along the light",
        "sign": (
            "sag = -height: the relief faces the object, material lies behind the surface"
            if faces == "object"
            else "sag = height: the relief faces the sensor, material lies before the surface"
        ),
        "rows": grid.shape[0],
        "columns": grid.shape[1],
        "pitch_mm": grid.spacing * 1e3,
        "diameter_mm": design.diameter * 1e3,
        "index": f"{design.index:.6f} at {design.wavelength * 1e9:.4g} nm, {design.material}",
    }
    if remark := resampled(design, grid):
        notes["resampled"] = remark
    return notes


def zernike_notes(fit: Fit) -> dict[str, Plain]:
    """Return notes on the modes of a Zernike file."""
    notes: dict[str, Plain] = {
        "zernike_terms": len(fit.orders),
        "zernike_residual_rms_nm": fit.residual * 1e9,
        "map_rms_nm": fit.rms * 1e9,
    }
    if fit.residual > 0.1 * fit.rms:
        notes["zernike_remark"] = (
            "the modes do not describe this map (a wrapped relief is not smooth): use the grid"
        )
    return notes


def capped(design: MaskDesign, most: int) -> HeightMap:
    """Map with at most `most` samples on a side."""
    if min(design.shape) < 5:
        raise ValueError(f"map of {design.shape} samples: lens design programs need 5 on a side")
    return coarsen(design, most)


def resampled(design: MaskDesign, grid: HeightMap) -> str:
    """Sentence on the resampling, "" if there was none."""
    if grid.shape == design.shape:
        return ""
    return f"{averaged(design, grid)}; jumps of a wrapped relief are averaged, too"
