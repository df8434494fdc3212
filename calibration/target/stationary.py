"""Linear systems that are nearly block Toeplitz, by conjugate gradients."""

from collections.abc import Callable

import numpy as np
from scipy import fft

from calibration.target.scene_convolution import Array

_FAIR = 0.02  # tolerance of a fair solution
_MOST_STEPS = 60


class Stationary:
    """The normal equations of a scene whose statistics are the same everywhere.

    Parameters
    ----------
    lags : ndarray
        (2 n - 1, 2 n - 1) entries of the block Toeplitz matrix.
    penalty : ndarray
        (n, n) precision of the prior at each frequency.
    """

    def __init__(self, lags: Array, penalty: Array) -> None:
        self.side, self.penalty = len(penalty), penalty
        self.power = circulant(lags)
        self._size = fft.next_fast_len(len(lags), real=True)
        placed = np.zeros((self._size, self._size))
        at = np.arange(1 - self.side, self.side)
        placed[np.ix_(at, at)] = lags
        self._spectrum = fft.rfft2(placed).real

    def product(self, x: Array) -> Array:
        """Return the matrix times x."""
        size = (self._size, self._size)
        out = fft.irfft2(self._spectrum * fft.rfft2(x, size), size)[: self.side, : self.side]
        whole: Array = out + filtered(x, self.penalty)
        return whole

    def solved(self, right: Array) -> Array:
        """Return a fair solution."""
        inverse = 1 / (self.power + self.penalty)
        return conjugate_gradients(
            self.product, lambda r: filtered(r, inverse), right, None, _FAIR, _MOST_STEPS
        )


def circulant(lags: Array) -> Array:
    """Return the eigenvalues (n, n) of the circulant matrix nearest to a block Toeplitz one.

    T. Chan, "An optimal circulant preconditioner for Toeplitz systems", SIAM J. Sci. Stat.
    Comput. 9, 1988: the power of the scene as seen through a triangular window.
    """
    side = (len(lags) + 1) // 2
    at = np.arange(1 - side, side)
    taper = 1 - np.abs(at) / side
    row = np.zeros((side, side))
    np.add.at(row, np.ix_(at % side, at % side), lags * np.outer(taper, taper))
    power = fft.fft2(row).real
    # rounding alone makes one negative
    out: Array = np.maximum(power, 1e-12 * power.max())
    return out


def conjugate_gradients(
    matrix: Callable[[Array], Array],
    preconditioner: Callable[[Array], Array],
    right: Array,
    start: Array | None,
    tolerance: float,
    most: int,
) -> Array:
    """Solve a symmetric positive system by flexible conjugate gradients.

    Parameters
    ----------
    matrix, preconditioner : callable
        Products with the matrix, and with about its inverse; the latter need not be linear.
    right : ndarray
        Right-hand side.
    start : ndarray or None
        First guess.
    tolerance : float
        Of the residual, in the norm of the preconditioner, relative to that of the right side.
    most : int
        Steps.
    """
    x = np.zeros_like(right) if start is None else start.copy()
    residual = right - matrix(x) if start is not None else right.copy()
    ahead = preconditioner(residual)
    step, slope = ahead, float(np.sum(residual * ahead))
    goal = tolerance**2 * (slope if start is None else float(np.sum(right * preconditioner(right))))
    for _ in range(most):
        if slope <= goal:
            break
        image = matrix(step)
        length = slope / float(np.sum(step * image))
        x += length * step
        before, residual = residual, residual - length * image
        ahead = preconditioner(residual)
        turn = float(np.sum((residual - before) * ahead)) / slope
        slope = float(np.sum(residual * ahead))
        step = ahead + turn * step
    return x


def filtered(values: Array, transfer: Array) -> Array:
    """Multiply the transform of values by a real, even transfer function of the same shape."""
    half = transfer[:, : transfer.shape[1] // 2 + 1]
    out: Array = fft.irfft2(fft.rfft2(values) * half, values.shape)
    return out
