r"""PSF between known scenes and their pictures, by least squares with a prior of its own scale.

Each picture is :math:`y = B + L \, (s * h) + n`: the scene s less its mean, the PSF h, smooth
maps B and L of the light (polynomials of the place), and noise n of known variance. B and L take
the illumination, stray light and what comes from outside the window. h is a Gaussian field whose
power falls with frequency,

.. math:: P(f) = \tau^2 \, (1 + f^2 / f_0^2)^{-2}

with :math:`\tau` and :math:`f_0` those that make the data most probable (type II maximum
likelihood): the noise alone decides how strongly h is smoothed. What h is then known to follows
from the same numbers; it holds both the noise and what the prior takes away.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft, optimize

from calibration.errors import CalibrationError
from calibration.target.illumination import Light, Smooth, fitted_light
from calibration.target.scene_convolution import Array, SceneConvolution, lag_products
from calibration.target.stationary import Stationary, conjugate_gradients, filtered

_TOLERANCE = 5e-4  # of the residual of the normal equations
_MOST_STEPS = 60
_WEAK = 0.01  # of the mean precision: the first prior
_POSITIVE_STEPS = 150


@dataclass(frozen=True, eq=False)
class Exposure:
    """One picture of a known scene.

    Attributes
    ----------
    picture : ndarray
        (H, W), linear in the light, black level taken off.
    weight : ndarray
        (H, W) inverse variance of `picture`; 0 where a pixel does not count.
    scene : ndarray
        As for `SceneConvolution`; its scale sets that of the light.
    """

    picture: Array
    weight: Array
    scene: Array


@dataclass(frozen=True, eq=False)
class KernelFit:
    """A PSF and how well it is known.

    Attributes
    ----------
    psf : ndarray
        (window, window) samples of the PSF, sum 1.
    oversampling : int
        Samples per pixel of the picture.
    sigma : float
        Expected error of a sample, noise and prior together.
    relative_error : float
        Expected relative L2 error of `psf`.
    chi_square : float
        Mean squared residual in its expected deviations; 1 where noise is all that is left.
    explained : float
        Share of what the smooth light leaves, in expected deviations, that the PSF explains; noise
        keeps it below 1.
    corner : float
        Frequency f_0 of the prior [cycles/pixel]; infinite where it is white.
    lights : tuple of Light
        Illumination of each picture.
    models : tuple of ndarray
        Each picture as the fit has it.
    """

    psf: Array
    oversampling: int
    sigma: float
    relative_error: float
    chi_square: float
    explained: float
    corner: float
    lights: tuple[Light, ...]
    models: tuple[Array, ...]

    @property
    def centroid(self) -> tuple[float, float]:
        """Centroid (y, x) from the middle of the window [pixel of the picture]."""
        axis = (np.arange(len(self.psf)) - len(self.psf) // 2) / self.oversampling
        return float(self.psf.sum(1) @ axis), float(self.psf.sum(0) @ axis)


def fit_kernel(
    exposures: Sequence[Exposure],
    reach: int,
    *,
    oversampling: int = 1,
    positive: bool = False,
    degree: int = 2,
    rounds: int = 3,
) -> KernelFit:
    """Return the PSF that takes scenes to their pictures.

    Parameters
    ----------
    exposures : sequence of Exposure
        One or more, all by the same PSF.
    reach : int
        Half the window: farthest that light goes from its place [pixel].
    oversampling : int, default 1
        Samples of the PSF per pixel.
    positive : bool, default False
        Keep the PSF at zero or above; `relative_error` then is that without.
    degree : int, default 2
        Of the polynomials of the light.
    rounds : int, default 3
        Of PSF and light in turn; one will do for even light.

    Raises
    ------
    CalibrationError
        The pictures hold no structure, or none that the scenes explain.
    """
    if not exposures:
        raise ValueError("exposures is empty: one picture or more is needed")
    return _Solver(exposures, reach, oversampling, degree).solved(rounds, positive=positive)


class _Solver:
    def __init__(
        self, exposures: Sequence[Exposure], reach: int, oversampling: int, degree: int
    ) -> None:
        self.exposures, self.degree = exposures, degree
        self.level = _level(exposures)
        self.operators = [
            SceneConvolution(e.scene - self.level, reach, oversampling) for e in exposures
        ]
        for e, operator in zip(exposures, self.operators, strict=True):
            if e.picture.shape != operator.shape or e.weight.shape != operator.shape:
                raise ValueError(
                    f"picture is {e.picture.shape} and weight {e.weight.shape}, expected "
                    f"{operator.shape} as the scene has it"
                )
        self.side, self.oversampling = self.operators[0].window, oversampling
        if sum(np.count_nonzero(e.weight) for e in exposures) < self.side**2 / oversampling**2:
            raise CalibrationError(
                f"fewer pixels count than the PSF's window of {2 * reach + 1} pixels has: choose a "
                f"smaller window or a larger part of the picture"
            )
        self.smooth = [Smooth(e.weight, degree) for e in exposures]
        self.lags = [lag_products(e.scene - self.level, self.side - 1) for e in exposures]

    def solved(self, rounds: int, *, positive: bool) -> KernelFit:
        plain = sum(
            float(np.sum(e.weight * smooth.left(e.picture) ** 2))
            for e, smooth in zip(self.exposures, self.smooth, strict=True)
        )
        gains = [np.full(e.picture.shape, float(e.picture.mean())) for e in self.exposures]
        psf = np.zeros((self.side, self.side))
        penalty: Array | None = None
        for _ in range(rounds):
            lags, right = self._data(gains)
            if penalty is None:
                middle = float(lags[self.side - 1, self.side - 1])
                penalty = np.full(psf.shape, _WEAK * middle)
            near = Stationary(lags, penalty)
            psf = self._least_squares(gains, right, near, psf)
            prior, corner = _likely_prior(near.power, psf, penalty, self.oversampling)
            penalty = 1 / prior
            near = Stationary(lags, penalty)
            psf = self._least_squares(gains, right, near, psf)
            blurred = [operator.picture(psf) for operator in self.operators]
            lights = [
                fitted_light(e.picture, e.weight, image, self.degree)
                for e, image in zip(self.exposures, blurred, strict=True)
            ]
            gains = [light.gain for light in lights]
        if positive:
            psf = _nearest_positive(psf, near)
            blurred = [operator.picture(psf) for operator in self.operators]
        models = [x.background + x.gain * b for x, b in zip(lights, blurred, strict=True)]
        total = float(psf.sum())
        left = self._misfit(models)
        if not (total > 0 and left < plain):
            raise CalibrationError(
                "the scenes do not explain their pictures at all: check that they belong together "
                "and lie on each other, or lengthen the exposure"
            )
        sigma = math.sqrt(float(np.mean(prior / (1 + near.power * prior)))) / total
        psf = psf / total
        error = sigma * self.side
        norm = math.sqrt(max(float(np.sum(psf**2)), error**2))
        count = sum(np.count_nonzero(e.weight) for e in self.exposures)
        return KernelFit(
            psf,
            self.oversampling,
            sigma,
            error / norm,
            left / count,
            (plain - left) / plain,
            corner,
            tuple(light.scaled(total) for light in lights),
            tuple(models),
        )

    def _misfit(self, models: Sequence[Array]) -> float:
        return sum(
            float(np.sum(e.weight * (e.picture - m) ** 2))
            for e, m in zip(self.exposures, models, strict=True)
        )

    def _data(self, gains: Sequence[Array]) -> tuple[Array, Array]:
        """Return lags of the normal equations, as of a stationary scene, and their right side."""
        lags = np.zeros((2 * self.side - 1, 2 * self.side - 1))
        right = np.zeros((self.side, self.side))
        for e, operator, gain, smooth, products in zip(
            self.exposures, self.operators, gains, self.smooth, self.lags, strict=True
        ):
            lags += float(np.sum(e.weight * gain**2)) * products
            right += operator.adjoint(e.weight * gain * smooth.left(e.picture))
        return lags, right

    def _least_squares(
        self, gains: Sequence[Array], right: Array, near: Stationary, start: Array
    ) -> Array:
        """Solve the normal equations, the light's background eliminated from them.

        Those of a stationary scene are the preconditioner.
        """
        parts = [(e.weight * g, g) for e, g in zip(self.exposures, gains, strict=True)]

        def normal(x: Array) -> Array:
            out = filtered(x, near.penalty)
            for operator, smooth, (weight, gain) in zip(
                self.operators, self.smooth, parts, strict=True
            ):
                out = out + operator.adjoint(weight * smooth.left(gain * operator.picture(x)))
            return out

        return conjugate_gradients(normal, near.solved, right, start, _TOLERANCE, _MOST_STEPS)


def _level(exposures: Sequence[Exposure]) -> float:
    """Mean of all scenes."""
    return float(np.mean([e.scene.mean() for e in exposures]))


def _likely_prior(
    power: Array, psf: Array, penalty: Array, oversampling: int
) -> tuple[Array, float]:
    """Return the power P of the PSF at each frequency, and its corner [cycles/pixel].

    Frequencies are taken as independent (Whittle): a PSF found under another `penalty`, times
    (power + penalty), has the variance power * (power * P + 1). The right-hand side itself has
    that too, but not to the edges of the window: cut off there, its low frequencies would leak.
    """
    side = len(power)
    seen = np.abs((power + penalty) * fft.fft2(psf)) ** 2 / side**2
    f = fft.fftfreq(side) * oversampling
    squared = f[:, None] ** 2 + f**2

    def shape(corner: float) -> Array:
        out: Array = (1 + squared / corner**2) ** -2.0
        return out

    def surprise(log_scale: float, profile: Array) -> float:
        ratio = power * profile * math.exp(log_scale) + 1
        return float(np.sum(np.log(ratio) + seen / (power * ratio)))

    # where the noise would be that of a PSF known to 1, and far below and above
    centre = math.log(float(np.mean(seen / power**2)) + 1e-300)
    best: tuple[float, float, float] | None = None
    for corner in [*np.geomspace(1 / side, 1.0, 10) * oversampling, math.inf]:
        profile = shape(float(corner))
        middle = centre - math.log(float(profile.mean()))
        found = optimize.minimize_scalar(
            surprise, bounds=(middle - 15, middle + 5), args=(profile,), method="bounded"
        )
        if best is None or found.fun < best[0]:
            best = (float(found.fun), float(corner), float(found.x))
    if best is None:
        raise CalibrationError("no prior was tried")
    _, corner, log_scale = best
    return math.exp(log_scale) * shape(corner), corner


def _nearest_positive(psf: Array, near: Stationary) -> Array:
    """Return the non-negative PSF that the data and the prior put nearest to `psf`.

    Accelerated projected gradients (Beck and Teboulle, SIAM J. Imaging Sci. 2, 2009).
    """
    rate = 1 / float((near.power + near.penalty).max())
    x = np.maximum(psf, 0)
    ahead, weight = x, 1.0
    for _ in range(_POSITIVE_STEPS):
        new = np.maximum(ahead - rate * near.product(ahead - psf), 0)
        later = (1 + math.sqrt(1 + 4 * weight**2)) / 2
        ahead = new + (weight - 1) / later * (new - x)
        x, weight = new, later
    return x
