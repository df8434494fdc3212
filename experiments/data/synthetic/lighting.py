"""Reflected light of the surfaces: soft Lambert shading with warm shadow edges and a highlight."""

import numpy as np
from numpy.typing import NDArray

from experiments.data.synthetic.raster import Floats
from experiments.data.synthetic.shot import Light

_WRAP = np.array([0.34, 0.20, 0.15], np.float32)  # red light travels furthest under the skin


def lit(
    albedo: Floats, normal: Floats, shade: Floats, light: Light, gloss: Floats | float
) -> Floats:
    """Return the light (3, P) that the points send to the viewer.

    Parameters
    ----------
    albedo : ndarray of float32, shape (3, P)
        Linear reflectance.
    normal : ndarray of float32, shape (3, P)
        Unit normals in viewer coordinates.
    shade : ndarray of float32, shape (P,)
        Fraction of the surroundings that each point sees.
    light : Light
        The lamps.
    gloss : float or ndarray of float32, shape (P,)
        Strength of the highlight.
    """
    up = np.float32(0.5) - np.float32(0.5) * normal[1]
    sky, ground = light.sky.astype(np.float32), light.ground.astype(np.float32)
    around: Floats = ground[:, None] + up * (sky - ground)[:, None]
    around *= shade
    open_ = np.float32(0.35) + np.float32(0.65) * shade
    for direction, colour in ((light.key, light.key_colour), (light.fill, light.fill_colour)):
        cosine = dot(normal, direction)
        for channel, wrap, strength in zip(around, _WRAP, colour, strict=True):
            wrapped = np.maximum(cosine + np.float32(wrap), 0)
            channel += wrapped * open_ * np.float32(strength / (1 + wrap))
    around *= albedo
    halfway = light.key + np.array([0.0, 0.0, 1.0])
    cosine = np.maximum(dot(normal, halfway / np.linalg.norm(halfway)), 0)
    power = cosine * cosine
    power = power * power
    power = power * power  # 8
    wide = power * power * np.float32(0.5) + power * power * power * power * np.float32(0.5)
    wide *= gloss * shade * np.float32(0.3)
    for channel, strength in zip(around, light.key_colour, strict=True):
        channel += wide * np.float32(strength)
    return around


def dot(normal: Floats, direction: NDArray[np.float64]) -> Floats:
    """Scalar product of vectors (3, P) with one direction (3,)."""
    x, y, z = direction.astype(np.float32)
    return np.asarray(normal[0] * x + normal[1] * y + normal[2] * z)
