"""A picture of a random target laid on the target, from coarse to fine.

Which pixel sees which place on the target, and by which PSF, is found in turns: given the map, the
PSF by least squares; given the PSF, the displacement that remains in each of many blocks, and the
map that takes these away. A displacement of all blocks alike is a displacement of the PSF: by
convention the PSF is centred on its centroid, and the map tells where the centroid of the image
of a point lies.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibration.errors import CalibrationError
from calibration.geometry.camera import split_orientation
from calibration.geometry.plane import PlaneFit, PlaneMap, fit_plane
from calibration.target.kernel import Exposure, KernelFit, fit_kernel
from calibration.target.markers import located, placed
from calibration.target.random_target import RandomTarget
from calibration.target.scene import Sampling, binned, rendered

Array = NDArray[np.float64]

_COARSE = 200  # pixels of the picture in which the markers are looked for
_BLOCKS = 10  # along the shorter side
_TURNS = 5  # of PSF and map at each scale
_MOST_MOVE = 0.75  # of a block in one turn [pixel of the picture]
_UNSURE = 3.0  # blocks whose shift is less certain than the median by this say nothing
_FLAT = 1e-3  # slope of a block that shows nothing, of the mean one's square
_SETTLED = 0.02  # [pixel of the picture]


@dataclass(frozen=True, eq=False)
class TargetPicture:
    """A picture of the target: one plane of a mosaic, or a monochrome frame.

    Attributes
    ----------
    picture : ndarray
        (H, W) mean of the frames, black level taken off, linear in the light.
    variance : ndarray
        (H, W) of `picture`, from a noise model: that of few frames is too noisy for weights.
    valid : ndarray of bool
        (H, W) pixels that are neither clipped nor defective.
    sampling : Sampling
        Where the pixels lie in the mosaic.
    frame : tuple of int
        Pixels (rows, columns) of the mosaic.
    """

    picture: Array
    variance: Array
    valid: NDArray[np.bool_]
    sampling: Sampling
    frame: tuple[int, int]

    def __post_init__(self) -> None:
        shape = self.picture.shape
        if len(shape) != 2 or self.variance.shape != shape or self.valid.shape != shape:
            raise ValueError(
                f"picture is {shape}, variance {self.variance.shape} and valid "
                f"{self.valid.shape}, expected (H, W) all three"
            )
        worst = float(self.variance[self.valid].min(initial=math.inf))
        if not worst > 0:
            raise ValueError(f"variance goes down to {worst:g} where valid: above zero is needed")

    @property
    def weight(self) -> Array:
        """(H, W) inverse variance, 0 where not valid."""
        return np.where(self.valid, 1 / np.where(self.valid, self.variance, 1.0), 0.0)


@dataclass(frozen=True, eq=False)
class TargetRegistration:
    """Where the target lies in the picture.

    Attributes
    ----------
    map : PlaneMap
        From the target [m] to the centroid of the image of a point [pixel of the mosaic].
    fit : PlaneFit
        Of the last turn, with the covariance of the map less its displacement.
    residual : float
        Displacement of the blocks that the map leaves, rms [pixel of the mosaic].
    expected : float
        The same from noise alone.
    """

    map: PlaneMap
    fit: PlaneFit
    residual: float
    expected: float

    @property
    def mirrored(self) -> bool:
        """Whether the picture shows the target as in a mirror."""
        return self.map.mirrored

    @property
    def quarter_turns(self) -> int:
        """How often it is turned by 90 deg from x towards y, after a mirror of x, 0 to 3."""
        return split_orientation(self.map.linear)[1]


def register_target(
    picture: TargetPicture,
    target: RandomTarget,
    reach: int,
    *,
    corners: ArrayLike | None = None,
    terms: int = 2,
) -> TargetRegistration:
    """Lay a picture of a target on it.

    Parameters
    ----------
    picture : TargetPicture
        What was captured.
    target : RandomTarget
        What was shown.
    reach : int
        Half the window of the PSF [pixel of the picture].
    corners : array_like, optional
        (4, 2) pixels of the mosaic at which the middles of the markers are seen, in their order;
        looked for if left out.
    terms : {0, 1, 2}
        Terms of the radial distortion.

    Raises
    ------
    CalibrationError
        The target was not found, or the map does not settle.
    """
    weight = picture.weight
    levels = _levels(picture.picture.shape)
    values, precision = binned(picture.picture, weight, levels[0])
    if corners is None:
        _, plane = located(
            values,
            precision,
            picture.sampling.binned(levels[0]),
            picture.frame,
            target,
            math.ceil(reach / levels[0]) + 1,
        )
    else:
        given = np.asarray(corners, np.float64)
        if given.shape != (4, 2):
            raise ValueError(f"corners is {given.shape}, expected (4, 2) pixels")
        plane = placed(given, target, picture.frame)
    for level in levels:
        values, precision = binned(picture.picture, weight, level)
        sampling = picture.sampling.binned(level)
        # a map that is not yet right moves light beyond the PSF
        wide = math.ceil(reach / level) + (1 if level > 1 else 0)
        for _ in range(_TURNS):
            outcome = _turned(
                values, precision, sampling, plane, target, wide, terms if level == 1 else 0
            )
            moved = float(np.abs(outcome[0].to_pixels(target.markers)
                                 - plane.to_pixels(target.markers)).max())  # fmt: skip
            plane = outcome[0]
            if moved < _SETTLED * sampling.step:
                break
    plane, fit, shifts, sigma = outcome
    residual = math.sqrt(float(np.mean(np.sum(shifts**2, axis=1)))) * sampling.step
    expected = math.sqrt(2 * float(np.mean(sigma**2))) * sampling.step
    return TargetRegistration(plane, fit, residual, expected)


def _levels(shape: tuple[int, ...]) -> list[int]:
    """Binning factors from coarse to fine."""
    factor, out = 1, [1]
    while max(shape) / factor > _COARSE:
        factor *= 2
        out.append(factor)
    return out[::-1]


def _turned(
    values: Array,
    weight: Array,
    sampling: Sampling,
    plane: PlaneMap,
    target: RandomTarget,
    reach: int,
    terms: int,
) -> tuple[PlaneMap, PlaneFit, Array, Array]:
    """Return the next map, its fit, and the shifts of blocks before it, with their errors."""
    scene, inside = rendered(target, plane, sampling, values.shape, reach, 1)
    exposure = Exposure(values, weight * inside, scene)
    kernel = fit_kernel([exposure], reach, rounds=2)
    places, shifts, sigma = block_shifts([exposure], kernel)
    seen = np.asarray(sampling.first) + sampling.step * places
    fit = fit_plane(
        plane.to_plane(seen),
        seen + sampling.step * np.clip(shifts, -_MOST_MOVE, _MOST_MOVE),
        sampling.step * sigma,
        centre=plane.centre,
        radius=plane.radius,
        terms=terms,
    )
    centroid = np.array(kernel.centroid) * sampling.step
    moved = fit.map.moved(centroid)
    # the lens's centre stays where it is: the displacement is that of the plane
    plane = PlaneMap(moved.matrix, plane.centre, plane.radius, fit.map.radial)
    return plane, fit, shifts, sigma


def block_shifts(exposures: Sequence[Exposure], kernel: KernelFit) -> tuple[Array, Array, Array]:
    """Return middles (n, 2) of blocks, displacements (n, 2) of their pictures from the models.

    Displacements come with their standard errors (n,); blocks without structure are left out.
    """
    places, shifts, sigmas = [], [], []
    for exposure, model, light in zip(exposures, kernel.models, kernel.lights, strict=True):
        slope = np.stack([np.gradient(model - light.background, axis=i) for i in (0, 1)])
        power = float(np.mean(slope**2))
        left = exposure.picture - model
        side = max(8, min(left.shape) // _BLOCKS)
        for row in range(0, left.shape[0] - side + 1, side):
            for column in range(0, left.shape[1] - side + 1, side):
                part = (slice(row, row + side), slice(column, column + side))
                w = exposure.weight[part]
                if np.count_nonzero(w) < 0.5 * w.size:
                    continue
                g = slope[(slice(None), *part)]
                normal = np.einsum("aij,bij,ij->ab", g, g, w)
                if np.linalg.eigvalsh(normal)[0] <= _FLAT * w.sum() * power:
                    continue
                covariance = np.linalg.inv(normal)
                shifts.append(-covariance @ np.einsum("aij,ij,ij->a", g, left[part], w))
                sigmas.append(math.sqrt(float(np.trace(covariance)) / 2))
                y, x = np.nonzero(w)
                places.append((row + y.mean(), column + x.mean()))
    if len(places) < 8:
        raise CalibrationError(
            f"{len(places)} parts of the picture show structure, 8 are needed: show more of the "
            f"scene, or expose longer"
        )
    sigma = np.array(sigmas)
    sure = sigma < _UNSURE * float(np.median(sigma))
    return np.array(places)[sure], np.array(shifts)[sure], sigma[sure]
