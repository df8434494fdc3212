r"""The light under a spot: a smooth surface through the pixels around it, and how sure it is.

A plane or a polynomial of second order is fitted by weighted least squares. Pixels far off on
*either* side are left out: to leave out bright ones alone would pull the surface down. Nothing is
clipped, so noise stays as often negative as positive.

The wings of a spot do not end. Where they still shine in the pixels around it, they are fitted
along, as :math:`r^{-p}` about its centre: 3 for diffraction by a sharp aperture, about 2 for
scatter by rough surfaces. Stray light that is even cannot be told from a background by anyone.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label, uniform_filter

from calibration.errors import CalibrationError

_FAR = 4.0  # deviations, on either side
_HUBER = 1.345  # deviations from which residuals count linearly, in the first guess
_ROUNDS = 10
_CLOSE = 1e-3  # deviations of a pixel by which a first guess may still move
_WINDOWS = (3, 9, 27)  # sides of the windows in which faint light is looked for
_ABOVE = 4.0  # deviations of their mean
_FEWEST = 64  # pixels
_LEAST = 1 / 6  # of a region that the background is fitted to
_ENOUGH = 4096  # pixels for a level to look above


@dataclass(frozen=True, eq=False)
class Background:
    """A smooth surface over an image.

    Attributes
    ----------
    terms : tuple of tuple
        Powers (of y, of x) of each coefficient; y and x run from -1 to 1 over the image.
    coefficients : ndarray
        (n,) in the units of the image; with a wing, one more follows in ``wing``.
    covariance : ndarray
        (n, n) of the coefficients.
    shape : tuple of int
        Pixels (H, W) of the image.
    used : ndarray of bool
        (H, W) pixels that it was fitted to.
    chi_square : float
        Per degree of freedom. Where above 1, the covariance was widened by it.
    scatter : float
        Standard deviation of those pixels about it, in the units of the image.
    wing : float
        Light of the spot's wing at the mean distance of the pixels used; 0 without one.
    """

    terms: tuple[tuple[int, int], ...]
    coefficients: NDArray[np.float64]
    covariance: NDArray[np.float64]
    shape: tuple[int, int]
    used: NDArray[np.bool_]
    chi_square: float
    scatter: float
    wing: float

    def surface(self) -> NDArray[np.float64]:
        """Value in every pixel (H, W); the wing is the spot's, and not in it."""
        return np.asarray(np.tensordot(self.coefficients, _basis(self.terms, self.shape), 1))

    def variance(self) -> NDArray[np.float64]:
        """Variance of `surface` in every pixel (H, W); their errors go together."""
        basis = _basis(self.terms, self.shape)
        return np.asarray(np.einsum("iyx,ij,jyx->yx", basis, self.covariance, basis))

    def sum_uncertainty(self, weight: NDArray[np.floating] | NDArray[np.bool_]) -> float:
        """Return the standard uncertainty of the sum of `surface` times weights (H, W)."""
        sums = np.tensordot(_basis(self.terms, self.shape), np.asarray(weight, np.float64), 2)
        return math.sqrt(max(float(sums @ self.covariance @ sums), 0.0))


def fit_background(
    image: NDArray[np.floating],
    variance: NDArray[np.floating],
    outside: NDArray[np.bool_],
    *,
    order: int = 1,
    wing: tuple[float, float] | None = None,
    falls: float = 3.0,
) -> Background:
    """Fit a smooth surface to the pixels around a spot.

    Parameters
    ----------
    image, variance : ndarray
        (H, W); only the pixels `outside` need be finite.
    outside : ndarray of bool
        (H, W) pixels to use, such as those of `annulus` or `outside_spot`.
    order : {0, 1, 2}, default 1
        Of the polynomial: a constant, a plane, a surface of second order.
    wing : tuple of float, optional
        Centre (row, column) of the spot [pixels]; with it, its wing is fitted along.
    falls : float, default 3.0
        Power p of the wing.

    Raises
    ------
    CalibrationError
        Too few pixels, or they do not determine the surface.
    """
    height, width = image.shape
    if image.shape != variance.shape or image.shape != outside.shape:
        raise ValueError(
            f"image is {image.shape}, variance {variance.shape}, outside {outside.shape}: they are "
            f"alike"
        )
    if (count := int(np.count_nonzero(outside))) < _FEWEST:
        raise CalibrationError(
            f"{count} pixels lie outside of the spot, {_FEWEST} or more are needed: capture a "
            f"larger region around it"
        )
    terms = _terms(order)
    design = _basis(terms, (height, width))[:, outside].T
    if wing is not None:
        y, x = (np.arange(n) - c for n, c in zip((height, width), wing, strict=True))
        radius = np.hypot(y[:, None], x)[outside]
        tail = (np.maximum(radius, 1.0) / radius.mean()) ** -falls
        design = np.column_stack([design, tail])
    values = image[outside].astype(np.float64)
    sigma = np.sqrt(variance[outside])
    if not (np.isfinite(values).all() and (sigma > 0).all() and np.isfinite(sigma).all()):
        raise ValueError("pixels outside of the spot need finite values and variances above zero")
    fit, good = _robust(design, values, sigma)
    weighted = design[good] / sigma[good, None]
    normal = weighted.T @ weighted
    if np.linalg.cond(normal) > 1e10:
        raise CalibrationError(
            "the pixels outside of the spot do not determine the surface: capture a larger region, "
            "or take a lower order"
        )
    residual = values[good] - design[good] @ fit
    chi_square = float(((residual / sigma[good]) ** 2).sum()) / max(good.sum() - len(fit), 1)
    covariance = np.linalg.inv(normal) * max(1.0, chi_square)
    used = np.zeros(image.shape, np.bool_)
    used[outside] = good
    n = len(terms)
    return Background(
        terms=terms,
        coefficients=fit[:n],
        covariance=covariance[:n, :n],
        shape=(height, width),
        used=used,
        chi_square=chi_square,
        scatter=float(residual.std(ddof=len(fit))),
        wing=float(fit[n]) if wing is not None else 0.0,
    )


def annulus(
    shape: tuple[int, int], centre: tuple[float, float], inner: float, outer: float
) -> NDArray[np.bool_]:
    """Pixels (H, W) between two radii about a centre (row, column) [pixels]."""
    if not 0 <= inner < outer:
        raise ValueError(f"inner = {inner:g}, outer = {outer:g} pixels: 0 <= inner < outer")
    radius = np.hypot(*(np.arange(n)[s] - c for n, c, s in _axes(shape, centre)))
    return np.asarray((radius >= inner) & (radius <= outer))


def outside_spot(
    image: NDArray[np.floating],
    variance: NDArray[np.floating],
    valid: NDArray[np.bool_],
    centre: tuple[float, float],
    *,
    order: int = 1,
) -> NDArray[np.bool_]:
    """Find the pixels beyond the circle that holds all visible light of a spot.

    Light is looked for in the means of windows of several sizes, which show it where single
    pixels do not. It decides on the circle alone: to leave out just those pixels in which light
    is seen would leave the ones that chance made darker.

    Parameters
    ----------
    image, variance : ndarray
        (H, W); only valid pixels need be finite.
    valid : ndarray of bool
        (H, W).
    centre : tuple of float
        Row and column of the spot [pixels].
    order : {0, 1, 2}, default 1
        Of the background, a polynomial.

    Returns
    -------
    ndarray of bool
        (H, W): at least a sixth of the region, if need be with light of the spot in it, whose
        wing is then to be fitted along; none where no spot is seen.
    """
    values, noise = (np.where(valid, a, 0.0) for a in (image, variance))
    radius = np.hypot(*(np.arange(n)[s] - c for n, c, s in _axes(valid.shape, centre)))
    farthest = float(np.quantile(radius, 1 - _LEAST))
    # the level to look above: a large spot leaves nothing dark but the farthest pixels
    level = _level(values, noise, valid & (radius >= farthest), _terms(order))
    above = np.where(valid, values - level, 0.0)
    seen = np.zeros(valid.shape, np.bool_)
    for side in _WINDOWS:
        # the mean of n pixels has their mean variance over n; running sums of nothing may end
        # a little below zero
        error = np.sqrt(np.maximum(uniform_filter(noise, side, mode="constant"), 0.0)) / side
        seen |= (uniform_filter(above, side, mode="constant") > _ABOVE * error) & (error > 0)
    pieces, _ = label(seen & valid, np.ones((3, 3)))
    at = pieces[round(centre[0]), round(centre[1])]
    if at == 0:
        return np.zeros(valid.shape, np.bool_)
    reach = min(float(radius[pieces == at].max()) + 1, farthest)
    return np.asarray(valid & (radius >= reach))


def _robust(
    design: NDArray[np.float64], values: NDArray[np.float64], sigma: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Fit, and say which values are not far off."""
    certain = 1 / sigma**2
    fit = _solve(design, values, certain)
    good = np.ones(len(values), np.bool_)
    spread = 1.0
    for _ in range(_ROUNDS):
        pull = (values - design @ fit) / sigma
        # that of a normal distribution; noise that is larger than foretold is no reason to clip
        spread = max(1.4826 * float(np.median(np.abs(pull - np.median(pull)))), 1.0)
        weight = np.minimum(1.0, _HUBER * spread / np.maximum(np.abs(pull), 1e-12))
        earlier, fit = fit, _solve(design, values, certain * weight)
        if np.abs(design @ (fit - earlier)).max() < _CLOSE * sigma.min():
            break
    for _ in range(_ROUNDS):
        before, good = good, np.abs((values - design @ fit) / sigma) <= _FAR * spread
        fit = _solve(design, values, certain * good)
        if (good == before).all():
            break
    return fit, good


def _solve(
    design: NDArray[np.float64], values: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weighted least squares by the normal equations: few terms, all of order one."""
    weighted = design * weight[:, None]
    return np.asarray(np.linalg.lstsq(weighted.T @ design, weighted.T @ values, rcond=None)[0])


def _level(
    values: NDArray[np.float64],
    variance: NDArray[np.float64],
    left: NDArray[np.bool_],
    terms: tuple[tuple[int, int], ...],
) -> NDArray[np.float64]:
    """Surface through the pixels that are left, from a part of them that is quick to fit."""
    basis = _basis(terms, (values.shape[0], values.shape[1]))
    some = np.flatnonzero(left)
    some = some[:: max(1, len(some) // _ENOUGH)]
    design = basis.reshape(len(terms), -1)[:, some].T
    fit, _ = _robust(design, values.ravel()[some], np.sqrt(variance.ravel()[some]))
    return np.asarray(np.tensordot(fit, basis, 1))


def _terms(order: int) -> tuple[tuple[int, int], ...]:
    if order not in (0, 1, 2):
        raise ValueError(f"order = {order}: 0, 1 or 2 are allowed")
    return tuple((i, j) for i in range(order + 1) for j in range(order + 1 - i))


def _basis(terms: tuple[tuple[int, int], ...], shape: tuple[int, int]) -> NDArray[np.float64]:
    y, x = (np.linspace(-1, 1, n) for n in shape)
    return np.array([np.multiply.outer(y**i, x**j) for i, j in terms])


def _axes(
    shape: tuple[int, int], centre: tuple[float, float]
) -> list[tuple[int, float, tuple[slice | None, ...]]]:
    return [
        (shape[0], centre[0], (slice(None), None)),
        (shape[1], centre[1], (None, slice(None))),
    ]
