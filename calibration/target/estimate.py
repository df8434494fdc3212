"""PSF of a camera from pictures of a random target, one plane of the mosaic at a time.

What is found is the response to a point of the target, pixel included, as samples `oversampling`
times finer than the pixels of the plane; one sample per pixel is enough for a PSF without
frequencies beyond those of the pixels. The camera's axis and a displacement of the PSF look the
same on a target: the PSF is centred by the registration of one plane, and another plane's PSF by
the same registration keeps its lateral colour. Light from beyond the window counts as background.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from calibration.bayer import places
from calibration.errors import CalibrationError
from calibration.noise.model import NoiseModel
from calibration.target.kernel import Exposure, KernelFit, fit_kernel
from calibration.target.random_target import RandomTarget
from calibration.target.registration import TargetPicture, TargetRegistration
from calibration.target.scene import Sampling, rendered

Array = NDArray[np.float64]

_SMOOTHED = 3.0  # signal before its variance is taken, so that noise does not weigh itself [pixel]
_MOST_CLIPPED = 0.01  # of the pixels
_MOST_RESIDUAL = 0.1  # of a registration beyond its noise [pixel of the plane]
_MOST_CHI_SQUARE = 1.5
_MOST_ERROR = 0.25  # expected, of the PSF
_LEAST_RATIO = 2.0  # pixels per sample of the PSF


@dataclass(frozen=True, eq=False)
class Capture:
    """A picture of a target and where that lies in it."""

    picture: TargetPicture
    target: RandomTarget
    registration: TargetRegistration


@dataclass(frozen=True, eq=False)
class TargetPsf:
    """A PSF from pictures of random targets.

    Attributes
    ----------
    kernel : KernelFit
        The PSF, its expected error and how well it explains the pictures.
    spacing : float
        Of its samples [pixel of the mosaic].
    residual : float
        Of the worst registration beyond its noise [pixel of the mosaic].
    """

    kernel: KernelFit
    spacing: float
    residual: float

    @property
    def psf(self) -> Array:
        """(n, n) samples of the PSF, sum 1."""
        return self.kernel.psf

    @property
    def centroid(self) -> tuple[float, float]:
        """Centroid (y, x) from the middle of the window [pixel of the mosaic]."""
        step = self.spacing * self.kernel.oversampling
        y, x = self.kernel.centroid
        return y * step, x * step


def target_pictures(
    frames: NDArray[Any], noise: NoiseModel, exposure: float, *, white_level: float
) -> dict[str, TargetPicture]:
    """Return the planes of equal frames as pictures of a target, by name.

    Parameters
    ----------
    frames : ndarray
        (N, H, W) raw mosaics [DN].
    noise : NoiseModel
        Of the sensor at this gain.
    exposure : float
        Exposure time [s].
    white_level : float
        From which on a sample counts as clipped [DN].

    Raises
    ------
    CalibrationError
        Too many pixels are clipped.
    """
    if frames.ndim != 3 or 0 in frames.shape:
        raise ValueError(f"frames is {frames.shape}, expected (N, H, W)")
    out = {}
    for name, (rows, columns) in places(frames, noise.cfa):
        plane = frames[:, rows, columns]
        mean = plane.mean(axis=0, dtype=np.float64)
        valid = plane.max(axis=0) < white_level
        clipped = 1 - float(valid.mean())
        if clipped > _MOST_CLIPPED:
            raise CalibrationError(
                f"{clipped:.1%} of the {name} pixels are at the white level of {white_level:g} or "
                f"above, {_MOST_CLIPPED:.0%} is allowed: shorten the exposure"
            )
        model = noise.planes[name]
        variance = model.variance(ndimage.gaussian_filter(mean, _SMOOTHED), exposure) / len(frames)
        step = rows.step or 1
        out[name] = TargetPicture(
            mean - model.black_level.value,
            variance,
            valid,
            Sampling((float(rows.start or 0), float(columns.start or 0)), float(step)),
            (int(frames.shape[1]), int(frames.shape[2])),
        )
    return out


def psf_of_target(
    captures: Sequence[Capture],
    reach: int,
    *,
    oversampling: int = 1,
    positive: bool = False,
    region: tuple[slice, slice] | None = None,
) -> TargetPsf:
    """Return the PSF that took targets to their pictures.

    Parameters
    ----------
    captures : sequence of Capture
        One or more, of the same plane and PSF.
    reach : int
        Half the window [pixel of the plane]; 1 to 256.
    oversampling : {1, 2, 3, 4}
        Samples per pixel of the plane.
    positive : bool, default False
        Keep the PSF at zero or above.
    region : tuple of slice, optional
        Rows and columns of the picture over which the PSF is taken to be the same; all.

    Raises
    ------
    CalibrationError
        The targets do not say what the PSF is: the message tells why.
    """
    if not 1 <= reach <= 256:
        raise ValueError(f"reach = {reach}: 1 to 256 pixels are allowed")
    if oversampling not in (1, 2, 3, 4):
        raise ValueError(f"oversampling = {oversampling}: 1 to 4 samples per pixel are allowed")
    if not captures:
        raise ValueError("captures is empty: one picture or more is needed")
    exposures = [_exposure(c, reach, oversampling, region) for c in captures]
    step = captures[0].picture.sampling.step
    residual = max(_beyond_noise(c.registration) for c in captures)
    if residual > _MOST_RESIDUAL * step:
        raise CalibrationError(
            f"the registration leaves {residual / step:.2f} pixels beyond its noise, "
            f"{_MOST_RESIDUAL:g} is allowed: flatten the target, or fit more of the distortion"
        )
    samples = (2 * reach * oversampling + 1) ** 2
    count = sum(int(np.count_nonzero(e.weight)) for e in exposures)
    if count < _LEAST_RATIO * samples:
        raise CalibrationError(
            f"{count} pixels see nothing but the target, for {samples} samples of the PSF; "
            f"{_LEAST_RATIO:g} times as many are needed: use a smaller window or a larger target"
        )
    kernel = fit_kernel(exposures, reach, oversampling=oversampling, positive=positive)
    if kernel.relative_error > _MOST_ERROR:
        raise CalibrationError(
            f"the PSF would be known to {kernel.relative_error:.0%} only, {_MOST_ERROR:.0%} is "
            f"needed: take more frames or light, a smaller window, fewer samples per pixel, or a "
            f"target with finer cells"
        )
    if kernel.chi_square > _MOST_CHI_SQUARE:
        raise CalibrationError(
            f"chi^2 per pixel is {kernel.chi_square:.2f}, up to {_MOST_CHI_SQUARE:g} is allowed: "
            f"the PSF changes over the region, is larger than the window or finer than its "
            f"samples, or the noise model is not that of these frames"
        )
    return TargetPsf(kernel, step / oversampling, residual)


def _beyond_noise(registration: TargetRegistration) -> float:
    return math.sqrt(max(registration.residual**2 - registration.expected**2, 0.0))


def _exposure(
    capture: Capture, reach: int, oversampling: int, region: tuple[slice, slice] | None
) -> Exposure:
    picture = capture.picture
    rows, columns = region or (slice(None), slice(None))
    first = (rows.indices(picture.picture.shape[0])[0],
             columns.indices(picture.picture.shape[1])[0])  # fmt: skip
    values = picture.picture[rows, columns]
    scene, inside = rendered(
        capture.target,
        capture.registration.map,
        picture.sampling.part(*first),
        (values.shape[0], values.shape[1]),
        reach,
        oversampling,
    )
    return Exposure(values, picture.weight[rows, columns] * inside, scene)
