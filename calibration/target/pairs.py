r"""PSF of a coded camera from pictures that a clear one took of the same scenes at the same time.

The pixel (r, s) of the coded picture sees what the clear one sees at H (r, s), a homography that
holds for flat or distant scenes; both are free of distortion or were freed of it. **What comes out
is the coded PSF relative to the clear one**: with a blur g of the clear camera it is the h of
:math:`g * h = h_{coded}`, the coded PSF itself only as far as g is a point. Natural scenes have
little at high frequencies, and there the prior decides: the more pairs, the less.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from calibration.errors import CalibrationError
from calibration.geometry.camera import split_orientation
from calibration.geometry.plane import PlaneMap, fit_plane, projected
from calibration.target.kernel import Exposure, KernelFit, fit_kernel
from calibration.target.registration import block_shifts
from calibration.target.scene import Sampling, binned, radius_of

Array = NDArray[np.float64]

_COARSE = 96  # pixels of the picture in which orientations are compared
_TURNS = 5
_SETTLED = 0.02  # [pixel]
_MOST_MOVE = 1.0  # of a block in one turn [pixel]
_NOISE_ROUNDS = 2  # to find a noise that is not given
_LEAST_EXPLAINED = 0.3
_LEAST_LEAD = 0.02  # of the best orientation over the next, in share explained
_IDENTITY = np.eye(3)


@dataclass(frozen=True, eq=False)
class Pair:
    """Simultaneous pictures of one scene, linear in the light, black level taken off.

    Attributes
    ----------
    clear : ndarray
        (h, w) of the clear camera, well exposed: its noise is taken as none.
    coded : ndarray
        (H, W) of the coded camera.
    variance : ndarray or None
        (H, W) of `coded`; if None the noise is taken as even, and as large as what the fit leaves:
        that then says nothing of how well the model holds.
    """

    clear: Array
    coded: Array
    variance: Array | None = None


@dataclass(frozen=True, eq=False)
class PairPsf:
    """A coded PSF relative to a clear camera.

    Attributes
    ----------
    kernel : KernelFit
        The PSF on the pixels of the coded camera.
    matrix : ndarray
        (3, 3) homography from (row, column, 1) of the coded picture to the clear one.
    mirrored : bool
        Whether one of the pictures is mirrored against the other.
    quarter_turns : int
        By how often the clear picture is turned against the coded one, 90 deg from columns
        towards rows each, after the mirror.
    """

    kernel: KernelFit
    matrix: Array
    mirrored: bool
    quarter_turns: int


def psf_of_pairs(
    pairs: Sequence[Pair],
    reach: int,
    *,
    guess: ArrayLike | None = None,
    orientations: Literal["given", "all"] = "given",
    surround: Literal["unknown", "dark"] = "unknown",
    refine: bool = True,
    positive: bool = False,
) -> PairPsf:
    """Return the PSF that takes clear pictures to coded ones.

    Parameters
    ----------
    pairs : sequence of Pair
        One or more, both cameras at rest against each other.
    reach : int
        Half the window [pixel of the coded camera].
    guess : array_like, optional
        (3, 3) homography from the coded pixels (row, column, 1) to the clear ones, right to a
        pixel or so but for a displacement and the orientation; by default the middles and longer
        sides of both pictures are laid on each other.
    orientations : {"given", "all"}
        Whether to try all mirror images and quarter turns of the guess.
    surround : {"unknown", "dark"}
        What lies beyond the clear picture: unknown light makes the pixels that it could reach not
        count, a dark room lets all count.
    refine : bool, default True
        Whether to refine the guess by the displacements of blocks.
    positive : bool, default False
        Keep the PSF at zero or above.

    Raises
    ------
    CalibrationError
        The pictures do not belong together, or leave the orientation open.
    """
    if not pairs:
        raise ValueError("pairs is empty: one pair or more is needed")
    for pair in pairs[1:]:
        if pair.clear.shape != pairs[0].clear.shape or pair.coded.shape != pairs[0].coded.shape:
            raise ValueError("pairs have pictures of different sizes: group them by size")
    if reach < 1:
        raise ValueError(f"reach = {reach}: one pixel or more is needed")
    coded, clear = pairs[0].coded.shape, pairs[0].clear.shape
    first = _laid(coded, clear) if guess is None else np.asarray(guess, np.float64)
    search = _Search(pairs, reach, surround)
    matrix = search.oriented(first) if orientations == "all" else first
    if refine:
        matrix = search.refined(matrix)
    kernel = search.fitted(matrix, positive=positive)
    if kernel.explained < _LEAST_EXPLAINED:
        raise CalibrationError(
            f"the clear pictures explain {kernel.explained:.0%} of the coded ones, "
            f"{_LEAST_EXPLAINED:.0%} is needed: check the guess, the window, and "
            f"the orientation (try orientations='all')"
        )
    middle = _derivative(matrix, coded)
    mirrored, quarters, _ = split_orientation(middle)
    return PairPsf(kernel, matrix, mirrored, quarters)


class _Search:
    def __init__(
        self, pairs: Sequence[Pair], reach: int, surround: Literal["unknown", "dark"]
    ) -> None:
        self.pairs, self.reach, self.dark = pairs, reach, surround == "dark"

    def fitted(self, matrix: Array, factor: int = 1, *, positive: bool = False) -> KernelFit:
        """Return the PSF of pictures binned by `factor`."""
        exposures = [self._exposure(pair, matrix, factor) for pair in self.pairs]
        reach = math.ceil(self.reach / factor)
        fit = fit_kernel(exposures, reach, positive=positive)
        if all(pair.variance is not None for pair in self.pairs):
            return fit
        for _ in range(_NOISE_ROUNDS):
            exposures = [
                e if pair.variance is not None else _reweighted(e, fit.models[i])
                for i, (e, pair) in enumerate(zip(exposures, self.pairs, strict=True))
            ]
            fit = fit_kernel(exposures, reach, positive=positive)
        return fit

    def oriented(self, matrix: Array) -> Array:
        """Return the guess, mirrored and turned so that the clear pictures explain most."""
        shape, clear = self.pairs[0].coded.shape, self.pairs[0].clear.shape
        factor = max(1, round(max(shape) / _COARSE))
        tried: list[tuple[float, Array]] = []
        middle = (np.array(clear) - 1) / 2
        for mirrored in (False, True):
            for turns in range(4):
                about = np.eye(3)
                turn = np.linalg.matrix_power(np.array([[0, 1], [-1, 0]]), turns)
                about[:2, :2] = turn @ np.diag([1, -1 if mirrored else 1])
                about[:2, 2] = middle - about[:2, :2] @ middle
                candidate = about @ matrix
                try:
                    score = self.fitted(candidate, factor).explained
                except CalibrationError:
                    score = 0.0
                tried.append((score, candidate))
        tried.sort(key=lambda t: -t[0])
        if tried[0][0] - tried[1][0] < _LEAST_LEAD:
            raise CalibrationError(
                f"the orientation is open: the best explains {tried[0][0]:.1%} of the coded "
                f"pictures, the next {tried[1][0]:.1%}; take more pairs or give the orientation"
            )
        return tried[0][1]

    def refined(self, matrix: Array) -> Array:
        """Return the homography that leaves no displacements of blocks but one of all alike."""
        shape = self.pairs[0].coded.shape
        centre = ((shape[0] - 1) / 2, (shape[1] - 1) / 2)
        corners = np.array([[0, 0], [0, shape[1]], [shape[0], 0], [shape[0], shape[1]]], float)
        for _ in range(_TURNS):
            exposures = [self._exposure(pair, matrix, 1) for pair in self.pairs]
            kernel = fit_kernel(exposures, self.reach)
            places, shifts, sigma = block_shifts(exposures, kernel)
            shifts = shifts - np.average(shifts, axis=0, weights=sigma**-2)
            fit = fit_plane(
                projected(matrix, places),
                places + np.clip(shifts, -_MOST_MOVE, _MOST_MOVE),
                sigma,
                centre=centre,
                radius=radius_of(shape),
                terms=0,
            )
            after = np.linalg.inv(fit.map.matrix)
            moved = np.abs(projected(fit.map.matrix, projected(matrix, corners)) - corners).max()
            matrix = after / after[2, 2]
            if moved < _SETTLED:
                break
        return matrix

    def _exposure(self, pair: Pair, matrix: Array, factor: int) -> Exposure:
        weight = np.ones(pair.coded.shape) if pair.variance is None else 1 / pair.variance
        picture, weight = binned(pair.coded, weight, factor)
        sampling, reach = Sampling().binned(factor), math.ceil(self.reach / factor)
        axes = [
            sampling.first[i] + factor * np.arange(-reach, n + reach)
            for i, n in enumerate(picture.shape)
        ]
        at = projected(matrix, np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1))
        # a pixel of the scene is as wide as `factor` coded ones
        wide = factor * math.sqrt(abs(float(np.linalg.det(_derivative(matrix, pair.coded.shape)))))
        clear = ndimage.uniform_filter(pair.clear, wide) if wide > 1.5 else pair.clear
        places = [at[..., 0], at[..., 1]]
        scene = ndimage.map_coordinates(clear, places, order=3, mode="constant", cval=0.0)
        if not self.dark:
            high = [n - 1 for n in clear.shape]
            inside = (at >= 0).all(axis=-1) & (at[..., 0] <= high[0]) & (at[..., 1] <= high[1])
            seen = ndimage.minimum_filter(inside, 2 * reach + 1, mode="constant", cval=0)
            weight = weight * seen[reach:-reach, reach:-reach]
            if not weight.any():
                raise CalibrationError(
                    f"every coded pixel may see light from beyond the clear picture, within "
                    f"{self.reach} pixels: use a smaller window, or surround='dark' if it was"
                )
        return Exposure(picture, weight, scene)


def _reweighted(exposure: Exposure, model: Array) -> Exposure:
    """Give the pixels that count an even weight by what the model leaves."""
    counts = exposure.weight > 0
    variance = float(np.mean((exposure.picture - model)[counts] ** 2))
    return Exposure(exposure.picture, counts / variance, exposure.scene)


def _laid(coded: tuple[int, ...], clear: tuple[int, ...]) -> Array:
    """Homography that lays middles and longer sides on each other."""
    scale = max(clear) / max(coded)
    out = _IDENTITY * [scale, scale, 1]
    out[:2, 2] = (np.array(clear) - 1) / 2 - scale * (np.array(coded) - 1) / 2
    return np.asarray(out)


def _derivative(matrix: Array, shape: tuple[int, ...]) -> Array:
    """Return the derivative (2, 2) of a homography in the middle of a picture."""
    middle = np.array([(shape[0] - 1) / 2, (shape[1] - 1) / 2, 1.0])
    plane = PlaneMap(
        matrix @ np.array([[1, 0, middle[0]], [0, 1, middle[1]], [0, 0, 1]]), (0, 0), 1
    )
    out: Array = plane.linear / plane.matrix[2, 2] ** 2
    return out
