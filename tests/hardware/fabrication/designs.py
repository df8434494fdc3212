"""Masks for tests: small, not square, and with an upright F that no mirror or turn leaves alone."""

import numpy as np

from hardware.fabrication.design import MaskDesign, asymmetric_letter


def blazed(rows: int = 40, columns: int = 56, *, cell: float = 4e-6) -> MaskDesign:
    """Wrapped prism and lens in fused silica with an F in the upper left quarter."""
    y, x = np.mgrid[:rows, :columns].astype(float)
    turns = (0.043 * x + 0.11 * y + 2e-3 * (x - columns / 3) ** 2) % 1.0
    letter = asymmetric_letter(16)
    turns[2:18, 2:18][letter] = 0.9
    return design_of(turns * 540e-9 / 0.4604, cell=cell)


def design_of(height: np.ndarray, *, cell: float = 4e-6, **changes: object) -> MaskDesign:
    """Fused silica at 540 nm, clear over the whole shorter side."""
    settings: dict[str, object] = {
        "wavelength": 540e-9,
        "index": 1.4604,
        "material": "fused_silica",
        "index_source": "Malitson 1965",
        "diameter": min(height.shape) * cell,
    }
    return MaskDesign(height, cell, **(settings | changes))
