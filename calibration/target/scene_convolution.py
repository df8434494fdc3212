"""The linear operator from a PSF to a picture of a known scene, and its adjoint.

The scene is sampled `oversampling` times finer than the picture, and so is the PSF; a pixel of
the picture is at every `oversampling`-th sample of the scene. No light wraps around: the scene
has `reach` more pixels on every side than the picture.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Array = NDArray[np.float64]


class SceneConvolution:
    r"""Pictures of one scene by any PSF: :math:`y_i = \sum_a h_a \, s(q (i + m) - a)`.

    Parameters
    ----------
    scene : ndarray
        (q (H + 2 m), q (W + 2 m)) samples; pixel i of the picture is at sample q (i + m).
    reach : int
        Farthest that light goes from its place, m [pixel].
    oversampling : int
        Samples per pixel, q.
    """

    def __init__(self, scene: Array, reach: int, oversampling: int) -> None:
        q = oversampling
        padded = (scene.shape[0] // q, scene.shape[1] // q)
        self.shape = (padded[0] - 2 * reach, padded[1] - 2 * reach)
        if min(self.shape) < 1 or (padded[0] * q, padded[1] * q) != scene.shape:
            raise ValueError(
                f"scene is {scene.shape}: whole pixels of {q} x {q} samples are needed, and more "
                f"than {2 * reach} of them each way"
            )
        self.reach, self.oversampling = reach, q
        self._size = (
            fft.next_fast_len(padded[0], real=True),
            fft.next_fast_len(padded[1], real=True),
        )
        # A picture is a sum over the q * q places in a pixel; each is a convolution of its own.
        front = np.pad(scene, ((q, 0), (q, 0)))
        phases = np.stack(
            [
                np.stack(
                    [front[q - a :: q, q - b :: q][: padded[0], : padded[1]] for b in range(q)]
                )
                for a in range(q)
            ]
        )
        self._scene = fft.rfft2(phases, self._size)

    @property
    def window(self) -> int:
        """Samples of a PSF along one side, odd."""
        return 2 * self.reach * self.oversampling + 1

    def picture(self, psf: Array) -> Array:
        """Return the picture (H, W) by a PSF (window, window)."""
        q, taps = self.oversampling, 2 * self.reach + 1
        whole = np.zeros((taps * q, taps * q))
        whole[: self.window, : self.window] = psf
        phases = whole.reshape(taps, q, taps, q).transpose(1, 3, 0, 2)
        spectrum = np.einsum("abij,abij->ij", fft.rfft2(phases, self._size), self._scene)
        first, (rows, columns) = 2 * self.reach, self.shape
        out: Array = fft.irfft2(spectrum, self._size)[first : first + rows, first : first + columns]
        return out

    def adjoint(self, picture: Array) -> Array:
        """Return the correlation (window, window) of a picture (H, W) with the scene."""
        q, taps, first = self.oversampling, 2 * self.reach + 1, 2 * self.reach
        placed = np.zeros(self._size)
        placed[first : first + self.shape[0], first : first + self.shape[1]] = picture
        spectrum = self._scene.conj() * fft.rfft2(placed)
        phases = fft.irfft2(spectrum, self._size)[..., :taps, :taps]
        whole = phases.transpose(2, 0, 3, 1).reshape(taps * q, taps * q)
        out: Array = whole[: self.window, : self.window]
        return out


def lag_products(scene: Array, most: int) -> Array:
    """Return the mean product of samples of a scene (H, W) at all lags up to `most` each way.

    Samples outside are zero, so that the matrix of these products has no negative eigenvalue.

    Returns
    -------
    ndarray
        (2 most + 1, 2 most + 1), lag (0, 0) in the middle.
    """
    size = [fft.next_fast_len(n + most, real=True) for n in scene.shape]
    sums = fft.irfft2(np.abs(fft.rfft2(scene, size)) ** 2, size)
    lags = np.arange(-most, most + 1)
    out: Array = sums[np.ix_(lags, lags)] / scene.size
    return out
