"""Raw frames: one exposure as the sensor delivered it, and what the sensor says about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

BAYER = ("RGGB", "BGGR", "GRBG", "GBRG")


@dataclass(frozen=True)
class Roi:
    """A rectangle of sensor pixels.

    Attributes
    ----------
    row, column : int
        Its first pixel, counted from the first of the full frame.
    height, width : int
        Its size in pixels.
    """

    row: int
    column: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.row < 0 or self.column < 0 or self.height < 1 or self.width < 1:
            raise ValueError(f"roi = {self}: row, column >= 0 and height, width >= 1 are needed")

    def check_inside(self, shape: tuple[int, int]) -> None:
        """Raise ValueError unless the rectangle lies in a frame of `shape` (H, W)."""
        if self.row + self.height > shape[0] or self.column + self.width > shape[1]:
            raise ValueError(
                f"roi = rows {self.row} to {self.row + self.height}, columns {self.column} to "
                f"{self.column + self.width}: the frame has {shape[0]} x {shape[1]} pixels"
            )

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the rectangle in a full frame."""
        rows = slice(self.row, self.row + self.height)
        return rows, slice(self.column, self.column + self.width)


def shifted_cfa(cfa: str, row: int, column: int) -> str:
    """Return the colours of the 2 x 2 block that begins at (row, column) of a mosaic `cfa`.

    >>> shifted_cfa("RGGB", 1, 0)
    'GBRG'
    """
    if not cfa:
        return ""
    return "".join(cfa[2 * ((row + i) % 2) + (column + j) % 2] for i in (0, 1) for j in (0, 1))


@dataclass(frozen=True, eq=False)
class RawFrame:
    """One exposure as the sensor delivered it: no demosaicing, gamma or denoising.

    Attributes
    ----------
    mosaic : ndarray of uint16, shape (H, W)
        Sensor values, right-justified: at most 2**bits - 1; black level not removed [DN].
    cfa : str
        Colours of the 2 x 2 block at the top left of `mosaic`, row by row, e.g. "RGGB"; "" for a
        mono sensor.
    bits : int
        Resolution of the values.
    black_level : tuple of 4 floats
        Value in the dark at the positions (0, 0), (0, 1), (1, 0), (1, 1) of that block, as the
        sensor reports it [DN].
    white_level : float
        Value at saturation [DN].
    exposure : float
        Exposure time the sensor reports, not the one asked for [s].
    gain : float
        Analogue gain the sensor reports.
    timestamp : int
        When the first row began to be read, in the sensor's own clock, which never goes back [ns].
    asked_exposure, asked_gain : float
        What was asked for [s]; a bracket is sorted by them.
    confirmed : bool
        Whether the sensor itself reported `exposure` and `gain` for this very frame.
    origin : tuple of int
        Row and column of `mosaic`'s first pixel in the full frame of the sensor mode.
    taken : datetime
        Date and time of arrival, UTC; for people, as it may jump.
    metadata : mapping
        Everything else the device told about this frame: numbers, texts, booleans and lists.
    """

    mosaic: NDArray[np.uint16]
    cfa: str
    bits: int
    black_level: tuple[float, float, float, float]
    white_level: float
    exposure: float
    gain: float
    timestamp: int
    asked_exposure: float
    asked_gain: float
    confirmed: bool = True
    origin: tuple[int, int] = (0, 0)
    taken: datetime = field(default_factory=lambda: datetime.now(UTC))
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.mosaic.ndim != 2 or self.mosaic.dtype != np.uint16:
            raise ValueError(
                f"mosaic is {self.mosaic.dtype} {self.mosaic.shape}, expected uint16 (H, W)"
            )
        if self.cfa not in ("", *BAYER):
            raise ValueError(f"cfa = {self.cfa!r}, expected one of {', '.join(BAYER)}, or ''")

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels (H, W)."""
        height, width = self.mosaic.shape
        return height, width

    @property
    def clipped(self) -> float:
        """Share of the pixels at the white level or above."""
        return float(np.count_nonzero(self.mosaic >= self.white_level) / self.mosaic.size)

    def crop(self, roi: Roi) -> "RawFrame":
        """Return a part of the frame; `origin`, `cfa` and `black_level` go with it."""
        roi.check_inside(self.shape)
        row, column = roi.row % 2, roi.column % 2
        black = np.roll(np.reshape(self.black_level, (2, 2)), (-row, -column), axis=(0, 1))
        return replace(
            self,
            mosaic=np.ascontiguousarray(self.mosaic[roi.slices]),
            cfa=shifted_cfa(self.cfa, row, column),
            black_level=(black[0, 0], black[0, 1], black[1, 0], black[1, 1]),
            origin=(self.origin[0] + roi.row, self.origin[1] + roi.column),
        )
