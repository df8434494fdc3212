"""Captures of a random target, rendered finer than the estimators do, with a PSF that is known."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.interpolate import RectBivariateSpline

from calibration.geometry import PlaneMap
from calibration.target.registration import TargetPicture
from calibration.target.scene import Sampling, radius_of
from optics.imaging import blur

FINE = 4  # samples of scene and PSF per pixel
GAIN, READ, BLACK = 0.47, 3.0, 256.0


def plane_of(
    shape, pixels_per_metre, *, turn=0.06, mirrored=False, keystone=(0.25, -0.2), k=(0, 0)
):
    """A plane seen a few degrees off, its middle near that of the frame."""
    c, s = math.cos(turn) * pixels_per_metre, math.sin(turn) * pixels_per_metre
    matrix = np.array([[c, s, shape[0] / 2 + 3.3], [-s, c, shape[1] / 2 - 2.7], [*keystone, 1.0]])
    if mirrored:
        matrix = matrix @ np.diag([1.0, -1.0, 1.0])
    middle = ((shape[0] - 1) / 2, (shape[1] - 1) / 2)
    return PlaneMap(matrix, middle, radius_of(shape), k)


def aperture(values, axis):
    """Integrate over a pixel, by the trapezoid rule."""
    weights = np.ones(FINE + 1)
    weights[[0, -1]] = 0.5
    return np.apply_along_axis(np.convolve, axis, values, weights / FINE, mode="same")


@dataclass
class Truth:
    """A PSF sampled FINE times per pixel, without the pixel, odd sides."""

    fine: np.ndarray

    def __post_init__(self):
        self.fine = self.fine / self.fine.sum()
        padded = np.pad(self.fine, FINE)
        self.pixel = aperture(aperture(padded, 0), 1)

    def samples(self, reach, oversampling=1):
        """What an estimate has to be."""
        step, middle = FINE // oversampling, len(self.pixel) // 2
        count = reach * oversampling
        far = step * count + 1
        whole = np.pad(self.pixel, max(0, far - middle))
        middle = len(whole) // 2
        at = middle + step * np.arange(-count, count + 1)
        out = whole[np.ix_(at, at)]
        return out / out.sum()

    @property
    def centroid(self):
        axis = (np.arange(len(self.fine)) - len(self.fine) // 2) / FINE
        return np.array([self.fine.sum(1) @ axis, self.fine.sum(0) @ axis])


def irradiance(target, plane, shape, truth, *, contrast=0.97):
    """Light on the pixels, 0 to 1: the target through the PSF and the pixels."""
    margin = len(truth.fine) // 2 + FINE
    axes = [
        (np.arange(FINE * n + 2 * margin) - margin - (FINE - 1) / 2 - 0.5) / FINE for n in shape
    ]
    nodes = [np.linspace(axis[0], axis[-1], 64) for axis in axes]
    places = plane.to_plane(np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1))
    y, x = (RectBivariateSpline(*nodes, places[..., i])(*axes) for i in (0, 1))
    (yy, yx), (xy, xx) = np.gradient(y), np.gradient(x)
    side = np.sqrt(np.abs(yy * xx - yx * xy))
    scene = 1 - contrast * (1 - target.luminance(np.stack([y, x], axis=-1), side))
    image = blur(torch.from_numpy(scene)[None, None], torch.from_numpy(truth.fine)[None])[0, 0]
    image = image.numpy()
    weights = np.ones(FINE + 1)
    weights[[0, -1]] = 0.5
    first = margin + FINE // 2
    for axis in (0, 1):
        taps = [
            w / FINE * np.take(image, first + i - FINE // 2 + FINE * np.arange(shape[axis]), axis)
            for i, w in enumerate(weights)
        ]
        image = sum(taps)
    return image


def captured(light, *, frames=1, white=5700.0, seed=0, stray=20.0):
    """Mean of frames of a 12-bit sensor under a lamp that is brighter on one side."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : light.shape[0] * 1j, -1 : 1 : light.shape[1] * 1j]
    electrons = white * light * (1 + 0.12 * x - 0.08 * y - 0.1 * (x**2 + y**2)) + stray
    total = np.zeros(light.shape)
    for _ in range(frames):
        charge = rng.poisson(electrons) + READ * rng.normal(size=light.shape)
        total += np.rint(charge * GAIN + BLACK).clip(0, 4095)
    return total / frames - BLACK, (GAIN * GAIN * (electrons + READ**2) + 1 / 12) / frames


def picture_of(light, **settings):
    """Return the capture as a picture of a monochrome sensor."""
    picture, variance = captured(light, **settings)
    return TargetPicture(picture, variance, np.ones(light.shape, bool), Sampling(), light.shape)


def relative_error(found, true):
    return float(np.linalg.norm(found - true) / np.linalg.norm(true))
