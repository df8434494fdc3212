r"""What one light level tells: mean, temporal noise and how even and steady it was.

A sample of pixel (i, j) in frame k is taken as

.. math:: y_{ijk} = \mu_{ij} + f_k + \rho_{ik} + \varepsilon_{ijk}

a fixed image, flicker of the whole frame, noise that a row shares, and noise of the pixel. The
variances of the last two are told apart by analysis of variance, so that neither fixed pattern,
uneven light, flicker nor row noise enters the photon transfer curve.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Level:
    """Statistics of two or more frames of the same plane under the same light.

    Attributes
    ----------
    light : float
        Anything proportional to the light a pixel collects; zero in the dark.
    exposure : float
        Exposure time [s].
    frames, rows, columns : int
        How many there are.
    mean : float
        Over pixels and frames [DN].
    variance : float
        Noise of the pixel, per frame [DN^2].
    row_variance : float
        Noise that a row shares, per frame; chance may make it negative [DN^2].
    sum_variance : float
        Variance of the sums of 2 x 2 pixels, over four: that of one pixel where the noise of
        neighbours is independent [DN^2].
    spatial_variance : float
        Variance over the pixels of the mean image [DN^2].
    gradient : float
        Rise of the plane through the mean image, from its lowest to its highest corner [DN].
    drift : float
        Largest difference between the means of two frames [DN].
    zeros : float
        Share of samples that are zero.
    """

    light: float
    exposure: float
    frames: int
    rows: int
    columns: int
    mean: float
    variance: float
    row_variance: float
    sum_variance: float
    spatial_variance: float
    gradient: float
    drift: float
    zeros: float

    @property
    def degrees(self) -> int:
        """Degrees of freedom of `variance`."""
        return (self.frames - 1) * self.rows * (self.columns - 1)

    @property
    def variance_uncertainty(self) -> float:
        """Standard uncertainty of `variance`, for normal noise [DN^2]."""
        return self.variance * math.sqrt(2 / self.degrees)

    @property
    def row_variance_uncertainty(self) -> float:
        """Standard uncertainty of `row_variance` [DN^2]."""
        total = max(self.row_variance, 0.0) + self.variance / self.columns
        return total * math.sqrt(2 / ((self.frames - 1) * (self.rows - 1)))

    @property
    def mean_uncertainty(self) -> float:
        """Standard uncertainty of `mean` as that of all such pixels in all such frames [DN]."""
        pixels = self.spatial_variance / (self.rows * self.columns)
        rows = max(self.row_variance, 0.0) / (self.frames * self.rows)
        return math.sqrt(pixels + rows)


def level_of(frames: NDArray[Any], *, exposure: float, light: float | None = None) -> Level:
    """Reduce frames of one light level to their statistics.

    Parameters
    ----------
    frames : ndarray
        (n, H, W) samples of one colour plane [DN]: two frames or more, of 4 x 4 pixels or more.
    exposure : float
        Exposure time [s].
    light : float, optional
        Anything proportional to the light a pixel collects, such as lamp power times exposure;
        without it, the exposure. Zero in the dark.
    """
    if frames.ndim != 3 or frames.shape[0] < 2 or min(frames.shape[1:]) < 4:
        raise ValueError(
            f"frames is {frames.shape}, expected (n, H, W) with two frames or more of at least "
            f"4 x 4 pixels: noise is what differs between frames of the same light"
        )
    if not (math.isfinite(exposure) and exposure > 0):
        raise ValueError(f"exposure = {exposure:g} s: a time above zero is needed")
    light = exposure if light is None else light
    if not (math.isfinite(light) and light >= 0):
        raise ValueError(f"light = {light:g}: zero (dark) or more is needed")
    samples = frames.astype(np.float64)
    if not np.isfinite(samples).all():
        raise ValueError("frames: not all samples are finite numbers")
    count, height, width = samples.shape
    image = samples.mean(0)
    samples -= image
    frame_means = samples.mean((1, 2))
    variance, row_variance = _pixel_and_row(samples)
    sums = samples[:, : height // 2 * 2, : width // 2 * 2]
    sums = sums.reshape(count, height // 2, 2, width // 2, 2).sum((2, 4))
    return Level(
        light=float(light),
        exposure=float(exposure),
        frames=count,
        rows=height,
        columns=width,
        mean=float(image.mean()),
        variance=variance,
        row_variance=row_variance,
        sum_variance=_pixel_and_row(sums)[0] / 4,
        spatial_variance=float(image.var(ddof=1)),
        gradient=_gradient(image),
        drift=float(np.ptp(frame_means)),
        zeros=float(np.mean(frames == 0)),
    )


def _pixel_and_row(deviation: NDArray[np.float64]) -> tuple[float, float]:
    """Variance of the pixels and of the rows, from the deviations from the mean image."""
    count, height, width = deviation.shape
    rows = deviation.mean(2)
    # sum of squares about the row means, without another copy of the stack
    inner = np.square(deviation).sum() - width * np.square(rows).sum()
    pixel = inner / ((count - 1) * height * (width - 1))
    about = rows - rows.mean(1, keepdims=True)
    of_means = np.square(about).sum() / ((count - 1) * (height - 1))
    return float(pixel), float(of_means - pixel / width)


def _gradient(image: NDArray[np.float64]) -> float:
    """Rise of the least-squares plane from corner to corner."""
    rise = 0.0
    for profile in (image.mean(0), image.mean(1)):
        x = np.arange(len(profile)) - (len(profile) - 1) / 2
        rise += abs(float(x @ profile / (x @ x))) * (len(profile) - 1)
    return rise
