"""A colour mosaic taken apart into its four planes, and where their pixels lie.

The greens are told apart: "Gr" shares its rows with red, "Gb" with blue; they have their own
offset in the converter and their own neighbours. A monochrome frame is one plane, "mono".
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)

_NAMES = {
    "RGGB": ("R", "Gr", "Gb", "B"),
    "BGGR": ("B", "Gb", "Gr", "R"),
    "GRBG": ("Gr", "R", "B", "Gb"),
    "GBRG": ("Gb", "B", "R", "Gr"),
    "": ("mono",),
}


def plane_names(cfa: str) -> tuple[str, ...]:
    """Names of the planes in the order of their places in the block, row by row.

    Parameters
    ----------
    cfa : {"RGGB", "BGGR", "GRBG", "GBRG", ""}
        Colours of the top-left 2 x 2 block, row by row; "" is a monochrome sensor.
    """
    if cfa not in _NAMES:
        raise ValueError(
            f"cfa = {cfa!r}: the colours of the top-left 2 x 2 block, row by row, are one of "
            f"RGGB, BGGR, GRBG, GBRG, or '' for a monochrome sensor"
        )
    return _NAMES[cfa]


def planes(mosaic: NDArray[T], cfa: str) -> dict[str, NDArray[T]]:
    """Take a mosaic apart; the planes are views, so that nothing is copied.

    Parameters
    ----------
    mosaic : ndarray
        (..., H, W); H and W even with a colour mosaic.
    cfa : str
        As for `plane_names`.

    Returns
    -------
    dict
        Name to (..., H/2, W/2), or "mono" to the mosaic itself.
    """
    return {name: mosaic[..., rows, columns] for name, (rows, columns) in places(mosaic, cfa)}


def places(mosaic: NDArray[Any], cfa: str) -> list[tuple[str, tuple[slice, slice]]]:
    """Name each plane with the rows and columns of the mosaic that it takes."""
    names = plane_names(cfa)
    if mosaic.ndim < 2 or 0 in mosaic.shape[-2:]:
        raise ValueError(f"mosaic is {mosaic.shape}, expected (..., H, W)")
    if not cfa:
        return [(names[0], (slice(None), slice(None)))]
    if mosaic.shape[-2] % 2 or mosaic.shape[-1] % 2:
        raise ValueError(
            f"mosaic is {mosaic.shape}: a colour mosaic has an even number of rows and columns; "
            f"cut it at a whole 2 x 2 block"
        )
    return [
        (name, (slice(place // 2, None, 2), slice(place % 2, None, 2)))
        for place, name in enumerate(names)
    ]


def offsets(cfa: str) -> dict[str, tuple[float, float]]:
    """Where the pixels of each plane lie in their 2 x 2 block.

    Returns
    -------
    dict
        Name to (down, right) from the middle of the block, -0.5 or 0.5 [pixel of the mosaic];
        half as much in pixels of the plane. (0, 0) for "mono".
    """
    names = plane_names(cfa)
    if not cfa:
        return {names[0]: (0.0, 0.0)}
    return {name: (place // 2 - 0.5, place % 2 - 0.5) for place, name in enumerate(names)}


def by_plane(values: Sequence[float], cfa: str) -> dict[str, float]:
    """Name four values that are given by place in the 2 x 2 block, row by row.

    Parameters
    ----------
    values : sequence of float
        Four, such as the black levels in the header of a raw frame; four equal ones for "mono".
    cfa : str
        As for `plane_names`.
    """
    names = plane_names(cfa)
    if len(values) != 4:
        raise ValueError(f"values has {len(values)} entries; the 2 x 2 block has four places")
    if not cfa and len(set(values)) > 1:
        raise ValueError(f"values = {tuple(values)}: a monochrome sensor has one value")
    return {name: float(value) for name, value in zip(names, values, strict=False)}


def centre(plane: NDArray[T], side: int = 256) -> NDArray[T]:
    """Cut the middle out of a plane, where the light is most even.

    Parameters
    ----------
    plane : ndarray
        (..., H, W).
    side : int, default 256
        Rows and columns to keep; a smaller plane is kept whole.
    """
    if side < 1:
        raise ValueError(f"side = {side}: one pixel or more is needed")
    top, left = (max(0, (size - side) // 2) for size in plane.shape[-2:])
    return plane[..., top : top + side, left : left + side]
