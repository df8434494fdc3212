"""Mean and variance of a stack of raw frames, without holding the stack.

Samples are whole numbers, so their sums and the sums of their squares are kept as whole numbers:
nothing is rounded before the end, the order of the frames does not matter, and the difference of
large numbers that spoils the one-pass formula in floating point is exact here.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.bayer import places, plane_names

# n^2 (2^16 - 1)^2 has to stay below 2^64
_MOST_FRAMES = 65_535

_BAND = 64  # rows at a time, so that what is between stays in the cache


@dataclass(frozen=True)
class TemporalNoise:
    """What changes from frame to frame in one plane; variances per frame.

    Attributes
    ----------
    pixel, row, frame : float
        Of each pixel by itself, of what a row shares, and of what the frame shares, such as
        flicker; chance may make the last two negative [DN^2].
    pixel_uncertainty : float
        Standard uncertainty of `pixel`, for normal noise [DN^2].
    """

    pixel: float
    row: float
    frame: float
    pixel_uncertainty: float


class FrameStatistics:
    """Mean and variance maps of raw frames taken under the same conditions.

    Memory: 12 bytes a pixel, whatever the number of frames.

    Parameters
    ----------
    cfa : str
        Colours of the top-left 2 x 2 block, row by row; "" is a monochrome sensor.
    """

    def __init__(self, cfa: str) -> None:
        plane_names(cfa)
        self.cfa = cfa
        self.count = 0
        self._step = 2 if cfa else 1
        self._sum = np.zeros((0, 0), np.uint32)
        self._squares = np.zeros((0, 0), np.uint64)
        # of the row means, each colour by itself, by Welford's rule
        self._row_mean = np.zeros((0, 0))
        self._row_scatter = np.zeros((0, 0))
        self._frame_scatter = np.zeros((self._step, self._step))

    def add(self, mosaic: NDArray[Any]) -> None:
        """Take in a frame, uint16 (H, W)."""
        if mosaic.dtype != np.uint16 or mosaic.ndim != 2:
            raise TypeError(
                f"mosaic is {mosaic.dtype} {mosaic.shape}, expected raw samples: uint16 (H, W)"
            )
        if self.count == 0:
            places(mosaic, self.cfa)
            rows = (mosaic.shape[0], self._step)
            self._sum = np.zeros(mosaic.shape, np.uint32)
            self._squares = np.zeros(mosaic.shape, np.uint64)
            self._row_mean, self._row_scatter = np.zeros(rows), np.zeros(rows)
        if mosaic.shape != self._sum.shape:
            raise ValueError(
                f"mosaic is {mosaic.shape}, the frames before it {self._sum.shape}; collect each "
                f"mode by itself"
            )
        if self.count == _MOST_FRAMES:
            raise ValueError(f"a stack holds {_MOST_FRAMES} frames at most; start another")
        self.count += 1
        means = np.empty_like(self._row_mean)
        for top in range(0, mosaic.shape[0], _BAND):
            band = slice(top, top + _BAND)
            samples = mosaic[band].astype(np.uint32)
            self._sum[band] += samples
            self._squares[band] += samples * samples
            for column in range(self._step):
                means[band, column] = samples[:, column :: self._step].mean(1)
        change = means - self._row_mean
        of_frame = self._by_place(change)
        self._row_mean += change / self.count
        self._row_scatter += change * (means - self._row_mean)
        self._frame_scatter += of_frame**2 * (1 - 1 / self.count)

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels (H, W) of the frames."""
        return self._sum.shape[0], self._sum.shape[1]

    def mean(self) -> NDArray[np.float64]:
        """Mean of each pixel (H, W) [DN]."""
        self._need(1)
        return np.divide(self._sum, self.count, dtype=np.float64)

    def variance(self) -> NDArray[np.float64]:
        """Variance of each pixel over the frames (H, W) [DN^2]; all kinds of noise."""
        self._need(2)
        total = self._sum.astype(np.uint64)
        total *= total
        scatter = self._squares * np.uint64(self.count) - total
        variance: NDArray[np.float64] = scatter / (self.count * (self.count - 1.0))
        return variance

    def temporal(self, keep: NDArray[np.bool_] | None = None) -> dict[str, TemporalNoise]:
        """Tell the kinds of noise apart, for each plane by its name.

        Parameters
        ----------
        keep : ndarray of bool, optional
            (H, W) pixels whose noise counts, such as those that are not hot; all without it.
        """
        self._need(2)
        out = {}
        variance = self.variance()
        for name, (rows, columns) in places(variance, self.cfa):
            total = variance[rows, columns]
            height, width = total.shape
            place = (rows.start or 0, columns.start or 0)
            counted = total if keep is None else total[keep[rows, columns]]
            out[name] = self._noise(float(counted.mean()), height, width, place)
        return out

    def _noise(
        self, total: float, height: int, width: int, place: tuple[int, int]
    ) -> TemporalNoise:
        """Analysis of variance: pixels within rows, rows within frames, frames."""
        if height < 2 or width < 2:
            raise ValueError(f"a plane has {height} x {width} pixels; 2 x 2 or more are needed")
        free = self.count - 1
        row_scatter = float(self._row_scatter[place[0] :: self._step, place[1]].sum()) / free
        frame_scatter = float(self._frame_scatter[place]) / free
        pixel = (total * height - row_scatter) * width / (height * (width - 1))
        of_rows = (row_scatter - height * frame_scatter) / (height - 1)
        return TemporalNoise(
            pixel=pixel,
            row=of_rows - pixel / width,
            frame=frame_scatter - of_rows / height,
            pixel_uncertainty=pixel * float(np.sqrt(2 / (free * height * (width - 1)))),
        )

    def _by_place(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean over the rows of each place of the block."""
        out: NDArray[np.float64] = rows.reshape(-1, self._step, self._step).mean(0)
        return out

    def _need(self, frames: int) -> None:
        if self.count < frames:
            raise ValueError(f"the stack has {self.count} frames; {frames} or more are needed")
