"""What the files for lens design programs share: axes, the sign of a sag, the cap on samples.

In those programs x points right, y up and z along the light, so a file holds the map with its
first row at the largest y, and sine modes change their sign. A sag is the z of the surface: more
material in front of the glass (a relief that faces the object) moves it against the light.
The map must be the one seen along the light, whichever way the relief faces.
"""

from typing import Literal

from hardware.fabrication.design import HeightMap, MaskDesign
from hardware.fabrication.resampling import coarsen
from hardware.fabrication.target import Plain
from hardware.fabrication.zernike_fit import Fit

Faces = Literal["object", "sensor"]


def check_lens_options(most: int, faces: str) -> None:
    """Raise ValueError if the options that these formats share mean nothing."""
    if not 5 <= most <= 4096:
        raise ValueError(f"most = {most}: 5 to 4096 samples on a side are allowed")
    if faces not in ("object", "sensor"):
        raise ValueError(f"faces = {faces!r}, expected 'object' or 'sensor'")


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
    return (
        f"averaged from {design.shape[1]} x {design.shape[0]} cells of "
        f"{design.spacing * 1e6:.4g} um to {grid.shape[1]} x {grid.shape[0]} of "
        f"{grid.spacing * 1e6:.4g} um; jumps of a wrapped relief are averaged, too"
    )
