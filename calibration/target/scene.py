"""What a camera without blur would see of a random target."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage
from scipy.interpolate import RectBivariateSpline

from calibration.geometry.plane import PlaneMap
from calibration.target.random_target import RandomTarget

Array = NDArray[np.float64]

_FINER = 2  # samples across one of the scene, before frequencies beyond it are taken out
_EDGE = 8  # samples beyond the scene, so that these frequencies do not wrap around
_NODES = 48  # of the spline that stands for the map, each way


@dataclass(frozen=True)
class Sampling:
    """Where the pixels of a picture lie in the full mosaic.

    Attributes
    ----------
    first : tuple of float
        Place (row, column) of the picture's first pixel [pixel of the mosaic].
    step : float
        From one of its pixels to the next: 2 for a plane of a Bayer mosaic, the binning factor
        for a binned picture.
    """

    first: tuple[float, float] = (0.0, 0.0)
    step: float = 1.0

    def places(self, axis: int, count: int) -> Array:
        """Return the places of rows (axis 0) or columns (axis 1) in the mosaic."""
        return np.asarray(self.first[axis] + self.step * np.arange(count))

    def binned(self, factor: int) -> "Sampling":
        """Return the sampling after `factor` x `factor` pixels have been made one."""
        middle = (factor - 1) / 2 * self.step
        return Sampling((self.first[0] + middle, self.first[1] + middle), self.step * factor)

    def part(self, row: int, column: int) -> "Sampling":
        """Return the sampling of the part that begins at a row and column of the picture."""
        first = (self.first[0] + row * self.step, self.first[1] + column * self.step)
        return Sampling(first, self.step)


def rendered(
    target: RandomTarget,
    plane: PlaneMap,
    sampling: Sampling,
    shape: tuple[int, int],
    reach: int,
    oversampling: int,
) -> tuple[Array, NDArray[np.bool_]]:
    """Return the target sampled for `SceneConvolution`, and the pixels that see nothing else.

    The scene holds no frequencies beyond those of its samples: a PSF that has none either is
    sampled without error.

    Parameters
    ----------
    target : RandomTarget
        What is seen.
    plane : PlaneMap
        From the target to pixels of the mosaic.
    sampling : Sampling
        Of the picture.
    shape : tuple of int
        Pixels (H, W) of the picture.
    reach : int
        Farthest that light goes from its place [pixel of the picture].
    oversampling : int
        Samples per pixel.
    """
    fine = oversampling * _FINER
    axes = [
        sampling.first[i]
        + sampling.step
        * (np.arange(fine * (n + 2 * reach) + 2 * _EDGE * _FINER) / fine
           - reach - _EDGE / oversampling)
        for i, n in enumerate(shape)
    ]  # fmt: skip
    nodes = [np.linspace(axis[0], axis[-1], _NODES) for axis in axes]
    lattice = plane.to_plane(np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1))
    down, across = (np.gradient(lattice, nodes[i], axis=i) for i in (0, 1))
    area = np.abs(down[..., 0] * across[..., 1] - down[..., 1] * across[..., 0])
    points = np.stack([RectBivariateSpline(*nodes, lattice[..., i])(*axes) for i in (0, 1)], -1)
    step = sampling.step / fine
    side = RectBivariateSpline(*nodes, np.sqrt(area), kx=1, ky=1)(*axes) * step
    scene = _band_limited(target.luminance(points, side))[_EDGE:-_EDGE, _EDGE:-_EDGE]
    edge = [n / 2 for n in target.size]
    inside = (np.abs(points[..., 0]) < edge[0]) & (np.abs(points[..., 1]) < edge[1])
    skipped = _EDGE * _FINER
    seen = inside[skipped:-skipped:fine, skipped:-skipped:fine]
    seen = ndimage.minimum_filter(seen, 2 * reach + 1, mode="constant", cval=0)
    if reach:
        seen = seen[reach:-reach, reach:-reach]
    return np.ascontiguousarray(scene), seen


def _band_limited(values: Array) -> Array:
    """Return means over squares as samples `_FINER` times coarser, frequencies beyond taken out."""
    rows, columns = (n // _FINER for n in values.shape)
    spectrum = fft.rfft2(values)
    high = (rows + 1) // 2
    kept = np.zeros((rows, columns // 2 + 1), complex)
    kept[:high] = spectrum[:high, : columns // 2 + 1]
    kept[high - rows :] = spectrum[high - rows :, : columns // 2 + 1]
    # the mean over a square is that of the scene times its transform
    fy, fx = fft.fftfreq(rows) / _FINER, fft.rfftfreq(columns) / _FINER
    kept /= np.sinc(fy)[:, None] * np.sinc(fx)
    out: Array = fft.irfft2(kept, (rows, columns)) / _FINER**2
    return out


def binned(picture: Array, weight: Array, factor: int) -> tuple[Array, Array]:
    """Return means of `factor` x `factor` pixels and their inverse variances; 0 if one is 0."""
    rows, columns = (n // factor for n in picture.shape)

    def blocks(values: Array) -> Array:
        cut = values[: rows * factor, : columns * factor]
        out: Array = cut.reshape(rows, factor, columns, factor).swapaxes(1, 2)
        return out.reshape(rows, columns, -1)

    every = blocks(weight)
    good = every.min(axis=-1) > 0
    variance = (1 / np.where(every > 0, every, 1.0)).sum(axis=-1) / factor**4
    mean: Array = blocks(picture).mean(axis=-1)
    return mean, np.where(good, 1 / variance, 0.0)


def radius_of(shape: tuple[int, int]) -> float:
    """Half the diagonal of a frame [pixel]."""
    return math.hypot(*shape) / 2
