r"""Scenes from measurements, the PSF known: for lensless cameras, and for who attacks a camera.

The sensor sees a part of what the scene's light reaches,

.. math:: y = C (h * x) ,

with the crop C to its pixels. The scene x is as large as the sensor and a margin around it, never
negative, and dark beyond; the convolution is linear. `fista` knows no more than that, `admm_tv`
prefers scenes whose edges are sparse, `richardson_lucy` takes the noise as that of photons.
(`optics.quality.wiener` is the linear inversion of a measurement that was not cropped.)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from optics.imaging.convolution import fast_length
from optics.units import check_count, check_positive

_CURVATURES = (1.0, 0.1, 1.0)  # of the splittings (sensor, edges, sign) over the mean power of h
Watch = Callable[[int, float], object]


@dataclass(frozen=True, eq=False)
class CroppedBlur:
    """The camera as a linear operator from scenes to measurements, and its adjoint.

    Attributes
    ----------
    psf : Tensor
        (C, h, w), odd sides, centred on the middle pixel, in any unit; noise may be below zero.
    size : tuple of int
        Pixels (H, W) of the sensor.
    margin : int
        Pixels by which the scene goes beyond the sensor on every side.
    """

    psf: Tensor
    size: tuple[int, int]
    margin: int = 0
    otf: Tensor = field(init=False)
    grid: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        check_count("margin", self.margin, 0)
        if self.psf.ndim != 3 or not (self.psf.shape[-2] % 2 and self.psf.shape[-1] % 2):
            raise ValueError(
                f"psf is {tuple(self.psf.shape)}, expected (C, h, w) with odd sides, so that its "
                f"centre is a pixel"
            )
        if not float(self.psf.sum((-2, -1)).min()) > 0:  # nor NaN
            raise ValueError("psf: every colour needs light, and values that are finite")
        sides = zip(self.scene_size, self.psf.shape[-2:], strict=True)
        grid = tuple(fast_length(scene + kernel - 1) for scene, kernel in sides)
        object.__setattr__(self, "grid", grid)
        object.__setattr__(self, "otf", torch.fft.rfft2(self.psf, s=grid))

    @property
    def scene_size(self) -> tuple[int, int]:
        """Pixels of the scene."""
        return self.size[0] + 2 * self.margin, self.size[1] + 2 * self.margin

    def __call__(self, scene: Tensor) -> Tensor:
        """Measure a scene (B, C, H + 2 margin, W + 2 margin): (B, C, H, W)."""
        return self.crop(self.convolve(self.pad(scene)))

    def adjoint(self, measurement: Tensor) -> Tensor:
        """Apply the adjoint to a measurement (B, C, H, W)."""
        return self.cut(self.correlate(self.uncrop(measurement)))

    # on the grid, which is periodic and wide enough not to show it

    def convolve(self, picture: Tensor) -> Tensor:
        """Convolve on the grid (..., P, Q)."""
        return self._filter(picture, self.otf)

    def correlate(self, picture: Tensor) -> Tensor:
        """Adjoint of `convolve`."""
        return self._filter(picture, self.otf.conj())

    def pad(self, scene: Tensor) -> Tensor:
        """Put a scene on the grid."""
        rows, columns = (n - s for n, s in zip(self.grid, scene.shape[-2:], strict=True))
        return torch.nn.functional.pad(scene, (0, columns, 0, rows))

    def cut(self, picture: Tensor) -> Tensor:
        """Take the scene from the grid: adjoint of `pad`."""
        rows, columns = self.scene_size
        return picture[..., :rows, :columns]

    def crop(self, picture: Tensor) -> Tensor:
        """Take the sensor from the grid."""
        row, column = self._first
        return picture[..., row : row + self.size[0], column : column + self.size[1]]

    def uncrop(self, measurement: Tensor) -> Tensor:
        """Put a measurement on the grid: adjoint of `crop`."""
        out = measurement.new_zeros(*measurement.shape[:-2], *self.grid)
        self.crop(out).copy_(measurement)
        return out

    @property
    def _first(self) -> tuple[int, int]:
        """First pixel of the sensor on the grid."""
        rows, columns = self.psf.shape[-2:]
        return self.margin + rows // 2, self.margin + columns // 2

    def _filter(self, picture: Tensor, response: Tensor) -> Tensor:
        out: Tensor = torch.fft.irfft2(torch.fft.rfft2(picture) * response, s=self.grid)
        return out

    def check(self, measurement: Tensor) -> None:
        """Raise ValueError unless `measurement` is what this camera gives."""
        wanted = (self.psf.shape[0], *self.size)
        if measurement.ndim != 4 or tuple(measurement.shape[1:]) != wanted:
            raise ValueError(
                f"measurement is {tuple(measurement.shape)}, expected (B, {wanted[0]}, "
                f"{wanted[1]}, {wanted[2]})"
            )
        if not bool(torch.isfinite(measurement).all()):
            raise ValueError("measurement holds values that are not finite; mend bad pixels first")


def relative_residual(camera: CroppedBlur, scene: Tensor, measurement: Tensor) -> float:
    """Return what a scene leaves of a measurement: norm of the difference over its own norm."""
    return float((camera(scene) - measurement).norm() / measurement.norm())


@torch.no_grad()
def fista(
    measurement: Tensor, camera: CroppedBlur, *, steps: int = 150, watch: Watch | None = None
) -> Tensor:
    r"""Least squares without negative light, by accelerated projected gradients.

    .. math:: \hat x = \arg\min_{x \ge 0} \| C (h * x) - y \|^2

    Parameters
    ----------
    measurement : Tensor
        (B, C, H, W), background taken off.
    camera : CroppedBlur
        What took it.
    steps : int
        Iterations; fewer of them regularise.
    watch : callable, optional
        Called with the step and the relative residual before it.

    Returns
    -------
    Tensor
        (B, C, H + 2 margin, W + 2 margin), in the unit of the measurement over that of the PSF.

    References
    ----------
    A. Beck, M. Teboulle, SIAM J. Imaging Sci. 2, 183 (2009), eqs. 4.1 to 4.3.
    """
    camera.check(measurement)
    check_count("steps", steps)
    slope = 1 / camera.otf.abs().square().amax((-2, -1))[:, None, None]
    scene = measurement.new_zeros(*measurement.shape[:2], *camera.scene_size)
    ahead, pace = scene, 1.0
    for step in range(steps):
        rest = camera(ahead) - measurement
        if watch is not None:
            watch(step, float(rest.norm() / measurement.norm()))
        moved = (ahead - slope * camera.adjoint(rest)).clamp(min=0)
        faster = (1 + math.sqrt(1 + 4 * pace**2)) / 2
        ahead = moved + (pace - 1) / faster * (moved - scene)
        scene, pace = moved, faster
    return scene


@torch.no_grad()
def richardson_lucy(measurement: Tensor, camera: CroppedBlur, *, steps: int = 100) -> Tensor:
    """Maximum likelihood for photon noise, by expectation maximisation.

    Parameters
    ----------
    measurement, camera, steps
        As for `fista`; measurements and PSFs below zero count as no light.

    References
    ----------
    L. A. Shepp, Y. Vardi, IEEE Trans. Med. Imaging 1, 113 (1982), eq. 2.13.
    """
    camera.check(measurement)
    check_count("steps", steps)
    camera = replace(camera, psf=camera.psf.clamp(min=0))
    light = measurement.clamp(min=0)
    rounding = 10 * torch.finfo(light.dtype).eps  # of the transforms, relative
    seen = camera.adjoint(torch.ones_like(light))  # share of each scene point that is measured
    seen = torch.where(seen > rounding * seen.max(), seen, torch.inf)
    floor = rounding * light.amax((-2, -1), keepdim=True).clamp(min=torch.finfo(light.dtype).tiny)
    level = light.mean((-2, -1), keepdim=True) / camera.psf.sum((-2, -1))[:, None, None]
    scene = level.expand(*level.shape[:2], *camera.scene_size).clone()
    for _ in range(steps):
        ratio = light / camera(scene).clamp(min=floor)
        scene = scene * camera.adjoint(ratio).clamp(min=0) / seen
    return scene


@torch.no_grad()
def admm_tv(measurement: Tensor, camera: CroppedBlur, *, weight: float, steps: int = 100) -> Tensor:
    r"""Least squares without negative light, edges sparse, by alternating directions.

    .. math:: \hat x = \arg\min_{x \ge 0} \tfrac12 \| C (h * x) - y \|^2
              + w \sum_i \big( |\partial_y x_i| + |\partial_x x_i| \big)

    split into sensor, edges and sign, so that every step is a division: the crop in pixels, the
    convolution and the differences in frequencies.

    Parameters
    ----------
    measurement, camera, steps
        As for `fista`.
    weight : float
        w over the standard deviation of ``adjoint(measurement)``; 1e-3 to 1e-1 are usual.

    References
    ----------
    M. S. C. Almeida, M. Figueiredo, IEEE Trans. Image Process. 22, 3074 (2013), section III.
    N. Antipa et al., Optica 5, 1 (2018), eqs. 5 to 9.
    """
    camera.check(measurement)
    check_count("steps", steps)
    check_positive("weight", weight, "")
    power = camera.otf.abs().square()
    unit = power.mean((-2, -1))[:, None, None]
    sharp, flat, sign = _CURVATURES[0], _CURVATURES[1] * unit, _CURVATURES[2] * unit
    threshold = weight * camera.adjoint(measurement).std() / flat
    steep = sum(_steepness(n, k, camera.otf) for k, n in enumerate(camera.grid))
    inverse = 1 / (sharp * power + flat * steep + sign)
    inside = camera.uncrop(torch.ones_like(measurement))
    given = camera.uncrop(measurement)
    support = camera.pad(measurement.new_ones(camera.scene_size))
    scene = measurement.new_zeros(*measurement.shape[:2], *camera.grid)
    image, edges = scene, _edges(scene)
    duals = (torch.zeros_like(scene), torch.zeros_like(edges), torch.zeros_like(scene))
    for _ in range(steps):
        seen = (given + sharp * (image + duals[0])) / (inside + sharp)
        sparse = _shrunk(edges + duals[1], threshold)
        bright = (scene + duals[2]).clamp(min=0) * support
        wanted = sharp * camera.correlate(seen - duals[0]) + sign * (bright - duals[2])
        wanted = wanted + flat * _edges_adjoint(sparse - duals[1])
        scene = camera._filter(wanted, inverse)
        image, edges = camera.convolve(scene), _edges(scene)
        duals = (duals[0] + image - seen, duals[1] + edges - sparse, duals[2] + scene - bright)
    return camera.cut(bright)


def _edges(picture: Tensor) -> Tensor:
    """Differences to the next pixel down and right, periodic (2, ...)."""
    return torch.stack([picture.roll(-1, axis) - picture for axis in (-2, -1)])


def _edges_adjoint(edges: Tensor) -> Tensor:
    return sum(
        (edge.roll(1, axis) - edge for edge, axis in zip(edges, (-2, -1), strict=True)),
        torch.zeros_like(edges[0]),
    )


def _steepness(count: int, axis: int, like: Tensor) -> Tensor:
    """Power of the differences along one axis in frequencies, beside those of `rfft2`."""
    turns = torch.fft.fftfreq(count) if axis == 0 else torch.fft.rfftfreq(count)
    power = 2 - 2 * torch.cos(2 * math.pi * turns)
    return (power[:, None] if axis == 0 else power[None]).to(like.real)


def _shrunk(value: Tensor, by: Tensor) -> Tensor:
    """Bring values nearer to zero."""
    return value.sign() * (value.abs() - by).clamp(min=0)
