"""Smooth light on a picture: polynomials of the place for what is added and what is multiplied."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Light:
    """Smooth maps of the light of a picture ``background + gain * image``.

    Attributes
    ----------
    background, gain : ndarray
        (H, W), in units of the picture.
    """

    background: Array
    gain: Array

    def scaled(self, factor: float) -> "Light":
        """Return the light with its gain multiplied by `factor`."""
        return replace(self, gain=self.gain * factor)


class Smooth:
    """The smooth part of a picture, by weighted least squares.

    Parameters
    ----------
    weight : ndarray
        (H, W) inverse variance of the picture.
    degree : int
        Of the polynomials.
    """

    def __init__(self, weight: Array, degree: int) -> None:
        terms = polynomials(weight.shape, degree)
        self._terms: Array = terms.reshape(len(terms), -1)
        self._weighted: Array = self._terms * weight.ravel()
        self._inverse = np.asarray(
            np.linalg.pinv(self._weighted @ self._terms.T, hermitian=True), np.float64
        )

    def left(self, picture: Array) -> Array:
        """Return a picture (H, W) less its smooth part."""
        values = self._inverse @ (self._weighted @ picture.ravel())
        out: Array = picture - (values @ self._terms).reshape(picture.shape)
        return out


def fitted_light(picture: Array, weight: Array, image: Array, degree: int) -> Light:
    """Fit the light of a picture by weighted least squares.

    Parameters
    ----------
    picture, weight : ndarray
        (H, W) and its inverse variance.
    image : ndarray
        (H, W) that the gain multiplies.
    degree : int
        Of both polynomials.
    """
    terms = polynomials(picture.shape, degree)
    flat = np.concatenate([terms, terms * image]).reshape(2 * len(terms), -1)
    scale = np.sqrt(np.mean(flat**2, axis=1)) + np.finfo(float).tiny
    flat = flat / scale[:, None]
    weighted = flat * weight.ravel()
    values = np.linalg.lstsq(weighted @ flat.T, weighted @ picture.ravel(), rcond=1e-10)[0] / scale
    background: Array = np.tensordot(values[: len(terms)], terms, 1)
    return Light(background, np.tensordot(values[len(terms) :], terms, 1))


def polynomials(shape: tuple[int, ...], degree: int) -> Array:
    """Return products of Legendre polynomials of y and x up to a total degree, (n, H, W)."""
    y, x = (np.polynomial.legendre.legvander(np.linspace(-1, 1, size), degree).T for size in shape)
    return np.stack(
        [
            y[i][:, None] * x[j]
            for total in range(degree + 1)
            for i in range(total, -1, -1)
            for j in [total - i]
        ]
    )
