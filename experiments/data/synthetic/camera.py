"""The camera of a synthetic picture: exposure, white balance, blur, shot noise and sRGB."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from experiments.data.synthetic.raster import Floats
from experiments.data.synthetic.shot import Shot

_LEVELS = 1 << 14
_READ_NOISE = 6.0  # [e- rms]


def photograph(linear: Floats, shot: Shot, face_width: float) -> NDArray[np.uint8]:
    """Photograph `linear` light (3, S, S) as an sRGB picture (S, S, 3).

    Parameters
    ----------
    linear : ndarray of float32, shape (3, S, S)
        Light from the scene.
    shot : Shot
        Camera settings and source of the noise.
    face_width : float
        Face width on the image [px].
    """
    size = linear.shape[-1]
    middle = linear[:, size // 4 : 3 * size // 4, size // 4 : 3 * size // 4]
    # automatic exposure that, like a real one, leaves dark skin darker and light skin lighter
    level = float(middle.mean()) + 1e-3
    gain = 0.27 * (level / 0.27) ** 0.35 / level * shot.exposure
    image = linear * (gain * shot.white_balance).astype(np.float32)[:, None, None]
    sigma = shot.blur * face_width
    if sigma > 0.2:
        image = gaussian_filter(image, (0, sigma, sigma), mode="nearest", truncate=3.0)
    image = image.clip(0, 4)
    if float(image.max()) > 0.8:  # soft shoulder
        bright = image > 0.8
        image[bright] = 0.8 + 0.2 * np.tanh((image[bright] - 0.8) / 0.2)
    noise = shot.rng.standard_normal(image.shape, dtype=np.float32)
    deviation = np.sqrt(image / shot.electrons + (_READ_NOISE / shot.electrons) ** 2)
    image = (image + noise * deviation.astype(np.float32)).clip(0, 1)
    encoded = _srgb_table()[(image * np.float32(_LEVELS - 1) + np.float32(0.5)).astype(np.int32)]
    return np.ascontiguousarray(encoded.transpose(1, 2, 0))


@cache
def _srgb_table() -> NDArray[np.uint8]:
    """Encode _LEVELS equal steps of linear light; fine enough to be exact to half a level."""
    linear = np.linspace(0, 1, _LEVELS)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (encoded * 255 + 0.5).astype(np.uint8)
