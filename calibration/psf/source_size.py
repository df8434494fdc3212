r"""The size of the pinhole taken out of its image.

A pinhole of diameter d at distance z shows as a disc of :math:`w = d\,z'/z` on a sensor at
:math:`z'`, and blurs the point-spread function by the transfer function

.. math:: T(f) = \frac{2 J_1(\pi w f)}{\pi w f}

which has its first zero at :math:`f = 1.22 / w`. What it took away is amplified again by the
regularised inverse

.. math:: D(f) = \frac{(1 + \alpha^2)\, T}{T^2 + \alpha^2}, \qquad D(0) = 1

so noise grows, and is no longer independent from pixel to pixel. A disc below half a pixel needs
none of this. The inverse holds for what the samples resolve: detail finer than two pixels stands
at another frequency in them, and is amplified by too little.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import j1

from calibration.errors import CalibrationError
from calibration.psf.registration import filled

_SMALLEST = 0.1  # of the transfer within the band; beyond, noise is all that comes back
_PAD = 16  # pixels by which edges are carried on, more than the inverse reaches


@dataclass(frozen=True, eq=False)
class Deconvolved:
    """An image without the disc of its source.

    Attributes
    ----------
    image : ndarray of float64
        (H, W) in the units of the input.
    variance : ndarray of float64
        (H, W) of `image`, for independent noise before; neighbours' noise goes together now.
    noise_gain : float
        Standard deviation of white noise after over before.
    smallest : float
        Transfer function of the disc at the end of the band.
    """

    image: NDArray[np.float64]
    variance: NDArray[np.float64]
    noise_gain: float
    smallest: float


def disc_width(
    diameter: float, *, object_distance: float, image_distance: float, spacing: float
) -> float:
    """Width of a pinhole's image in samples.

    Parameters
    ----------
    diameter : float
        Of the pinhole [m].
    object_distance, image_distance : float
        From it to the lens, from the lens to the sensor [m].
    spacing : float
        Distance of the samples: twice the pixel pitch in a plane of a colour mosaic [m].
    """
    given = {
        "diameter": (diameter, 0.0, 0.1),
        "object_distance": (object_distance, 1e-4, 1e3),
        "image_distance": (image_distance, 1e-4, 10.0),
        "spacing": (spacing, 1e-7, 1e-3),
    }
    for name, (value, low, high) in given.items():
        if not low <= value <= high:
            raise ValueError(
                f"{name} = {value:g} m is outside [{low:g}, {high:g}] m; lengths are metres, so "
                f"100 um is 100e-6"
            )
    return diameter * image_distance / object_distance / spacing


def disc_transfer(shape: tuple[int, int], width: float) -> NDArray[np.float64]:
    """Transfer function (H, W) of a disc of `width` samples, zero frequency first."""
    v = math.pi * width * _frequency(shape)
    safe = np.where(v > 1e-6, v, 1.0)
    return np.asarray(np.where(v > 1e-6, 2 * j1(safe) / safe, 1.0))


def without_disc(
    image: NDArray[np.floating],
    variance: NDArray[np.floating],
    width: float,
    *,
    valid: NDArray[np.bool_] | None = None,
    alpha: float = 0.05,
    band: float = 0.5,
) -> Deconvolved:
    """Take the disc of the source out of an image.

    Parameters
    ----------
    image, variance : ndarray
        (H, W), background subtracted.
    width : float
        Diameter of the disc [pixels of the image]; see `disc_width`.
    valid : ndarray of bool, optional
        (H, W) pixels that were measured; the others are filled from their neighbours, and are
        not worth more afterwards.
    alpha : float, default 0.05
        Transfer below which it is no longer inverted: 0 (plain inverse) to 0.5.
    band : float, default 0.5
        Highest frequency of the image [cycles/pixel]; 0.5 is that of the samples. Where the
        aperture resolves less, less.

    Raises
    ------
    CalibrationError
        The disc takes frequencies within the band away for good.
    """
    if image.ndim != 2 or image.shape != variance.shape:
        raise ValueError(f"image is {image.shape}, variance {variance.shape}: (H, W) both")
    if not 0 <= width <= min(image.shape) / 2:
        raise ValueError(f"width = {width:g} pixels is outside [0, {min(image.shape) / 2:g}]")
    if not 0 <= alpha <= 0.5 or not 0 < band <= 0.5:
        raise ValueError(
            f"alpha = {alpha:g}, band = {band:g}: 0 to 0.5 and above 0 to 0.5 are allowed"
        )
    v = math.pi * width * band
    smallest = 2 * float(j1(v)) / v if v > 1e-6 else 1.0
    if v > 3.8317 or smallest < _SMALLEST:  # the first zero of J1
        raise CalibrationError(
            f"width = {width:.3g} pixels: the disc of the source passes {max(smallest, 0):.2f} of "
            f"the contrast at {band:g} cycles/pixel, {_SMALLEST:g} is the least that can be put "
            f"back; take a smaller pinhole or a larger distance"
        )
    if valid is not None:
        image, variance = filled(image, valid), filled(variance, valid)
    padded = np.pad(np.asarray(image, np.float64), _PAD, mode="edge")
    shape = (padded.shape[0], padded.shape[1])
    transfer = disc_transfer(shape, width)
    # beyond the band the inverse stays at what it is at its end, and noise does not grow further
    transfer = np.where(_frequency(shape) > band, max(smallest, _SMALLEST), transfer)
    inverse = (1 + alpha**2) * transfer / (transfer**2 + alpha**2)
    cut = (slice(_PAD, -_PAD),) * 2
    kernel = np.fft.ifft2(inverse).real
    spread = np.pad(np.asarray(variance, np.float64), _PAD, mode="edge")
    noise = np.fft.ifft2(np.fft.fft2(kernel**2) * np.fft.fft2(spread)).real
    return Deconvolved(
        image=np.fft.ifft2(np.fft.fft2(padded) * inverse).real[cut],
        variance=np.maximum(noise[cut], np.finfo(np.float64).tiny),
        noise_gain=math.sqrt(float(np.mean(inverse**2))),
        smallest=smallest,
    )


def _frequency(shape: tuple[int, int]) -> NDArray[np.float64]:
    fy, fx = (np.fft.fftfreq(n) for n in shape)
    return np.asarray(np.hypot(fy[:, None], fx))
