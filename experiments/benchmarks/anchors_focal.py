"""Anchors of the way from the pupil to the sensor, and of the Zernike sum.

`ANCHORS` maps a name to a function of the precision (True: float64) that returns the error and
the bar it must not exceed.
"""

import math
from collections.abc import Callable
from functools import lru_cache, partial

import torch
from torch import Tensor

from experiments.benchmarks.scenes import Answer, PsfScene, ZernikeScene
from optics.grids import coordinates, disc_coverage
from optics.propagation import cis, relief_spots, to_sensor
from optics.zernike import zernike_surface

_RGB = (640e-9, 550e-9, 440e-9)
_DEPTHS = tuple(torch.linspace(-2.2, 2.2, 16).tolist())


def _real(double: bool) -> torch.dtype:
    return torch.float64 if double else torch.float32


def _distance(value: Tensor, answer: Tensor) -> float:
    wide = torch.complex128 if answer.is_complex() else torch.float64
    return float((value.detach().to(wide) - answer).norm() / answer.norm())


@lru_cache(maxsize=4)
def _scene(samples: int, points: int, waves: tuple[float, ...], depths: int) -> PsfScene:
    """Return a scene, kept: its float64 answer takes longer than what is judged by it."""
    return PsfScene(samples, points, waves, _DEPTHS if depths > 1 else (0.0,))


def _psf(scene: PsfScene, height: Tensor, depths: slice = slice(None)) -> Tensor:
    curvature = torch.tensor(scene.curvatures[depths], dtype=torch.float64)[:, None]
    return relief_spots(
        height,
        turns_per_metre=scene.turns_per_metre,
        amplitude=scene.amplitude.to(height.dtype),
        spacing=scene.spacing,
        wavelength=scene.waves,
        distance=scene.distance,
        points=(scene.points, scene.points),
        pitch=scene.pitch,
        curvature=curvature.expand(-1, len(scene.wavelengths)),
    )


@lru_cache(maxsize=8)
def _solved(scene: PsfScene, double: bool) -> Answer:
    height = scene.height.to(_real(double), copy=True).requires_grad_()
    psf = _psf(scene, height)
    (slope,) = torch.autograd.grad((psf * scene.weights.to(psf.dtype)).sum(), height)
    return Answer(psf.detach(), slope)


def psf_error(double: bool, depths: int = 1) -> tuple[float, float]:
    """PSF of a relief against matrices in float64."""
    scene = _scene(512, 128, _RGB if depths == 1 else _RGB[1:2], depths)
    # rounding over 2.6e5 terms; 3e-7 is what single precision allows (research/03)
    return _distance(_solved(scene, double).output, scene.answer.output), (
        1e-12 if double else 3e-7
    )


def psf_gradient(double: bool, depths: int = 1) -> tuple[float, float]:
    """Gradient of its weighted sum to the height map, by hand there, by matrices here."""
    scene = _scene(512, 128, _RGB if depths == 1 else _RGB[1:2], depths)
    return _distance(_solved(scene, double).gradient, scene.answer.gradient), (
        1e-11 if double else 1e-5
    )


def depths_together(double: bool) -> tuple[float, float]:
    """Sixteen depths at once equal sixteen calls."""
    scene = _scene(64, 24, _RGB, 16)
    height = scene.height.to(_real(double))
    alone = [_psf(scene, height, slice(d, d + 1)) for d in range(16)]
    error = _distance(_psf(scene, height), torch.cat(alone).to(torch.float64))
    return error, 1e-13 if double else 5e-7  # rounding: one goes by matrices, all by chirps


def chirp_equals_matrix(double: bool) -> tuple[float, float]:
    """Both transforms against a sum of plane waves, the worse of the two."""
    pupil = _noise(torch.Size((3, *_SHAPE)), double, seed=7)
    exact = _direct(pupil.to(torch.complex128))
    worst = max(_distance(_sensor(pupil, method), exact) for method in ("chirp", "matrix"))
    return worst, 1e-12 if double else 5e-7  # rounding of a few FFTs


def adjoint(double: bool) -> tuple[float, float]:
    """Adjoint by dot products, <A x, y> = <x, A* y>, taken in float64."""
    x = _noise(torch.Size((3, *_SHAPE)), double, seed=7).requires_grad_()
    there = _sensor(x, "chirp")
    other = _noise(there.shape, double, seed=8)
    (back,) = torch.autograd.grad(there, x, grad_outputs=other)
    left, right = (
        torch.vdot(a.detach().to(torch.complex128).flatten(), b.to(torch.complex128).flatten())
        for a, b in ((there, other), (x, back))
    )
    size = there.detach().norm().double() * other.norm().double()
    return float((left - right).abs() / size), 1e-12 if double else 1e-5


def finite_differences(double: bool) -> tuple[float, float]:
    """Slope of the weighted PSF along its steepest ascent, by central differences."""
    scene = _scene(64, 24, _RGB, 16)
    step = scene.answer.gradient / scene.answer.gradient.abs().max()
    height = scene.height.to(_real(double), copy=True).requires_grad_()
    loss = (_psf(scene, height) * scene.weights.to(height.dtype)).sum()
    (slope,) = torch.autograd.grad(loss, height)
    size = 1e-10  # [m]; truncation (k h)^2 / 6 ~ 1e-7, rounding 1e-16 / (k h)

    def at(sign: float) -> float:
        moved = scene.height + sign * size * step
        return float((_psf(scene, moved) * scene.weights).sum())

    expected = (8 * (at(0.5) - at(-0.5)) - (at(1.0) - at(-1.0))) / (6 * size)
    error = abs(float((slope.to(torch.float64) * step).sum()) / expected - 1)
    return error, 1e-8 if double else 1e-5


def parseval(double: bool) -> tuple[float, float]:
    """Energy over one period of the sensor plane, 2048 points across."""
    samples, spacing, wave, distance = 1024, 2e-6, 550e-9, 50e-3
    pupil = _noise(torch.Size((1, samples, samples)), double, seed=5)
    pitch = wave * distance / (2 * samples * spacing)
    field = to_sensor(
        pupil, spacing=spacing, wavelength=_waves(wave), distance=distance,
        points=(2 * samples, 2 * samples), pitch=pitch,
    )  # fmt: skip
    ratio = _energy(field) * pitch**2 / (_energy(pupil) * spacing**2)
    return abs(ratio - 1), 1e-12 if double else 1e-6


def parseval_fft_2048(double: bool) -> tuple[float, float]:
    """Unscaled FFT pair of 2048 x 2048, as everything here uses it; scaled ones may be wrong."""
    plane = _noise(torch.Size((2048, 2048)), double, seed=6)
    spectrum = torch.fft.fft2(plane)
    back = torch.fft.ifft2(spectrum, norm="forward") / plane.numel()
    there = abs(_energy(spectrum) / plane.numel() / _energy(plane) - 1)
    return max(there, _distance(back, plane.to(torch.complex128))), 1e-12 if double else 1e-6


def blaze(levels: int, double: bool) -> tuple[float, float]:
    """First-order efficiency of an N-level blaze, one sample per level times the pixel's sinc.

    sinc^2(1/N): G. J. Swanson, MIT Lincoln Laboratory TR-854 (1989), eq. 8.
    """
    samples, spacing, wave, distance = 16 * levels, 8e-6, 550e-9, 50e-3
    column = torch.arange(samples, dtype=torch.float64)
    stairs = cis(2 * math.pi * (column % levels) / levels).expand(samples, samples)
    order = wave * distance / (levels * spacing)
    at = partial(
        to_sensor, spacing=spacing, wavelength=_waves(wave), distance=distance, points=(1, 1),
        pitch=1e-6,
    )  # fmt: skip
    kind = _real(double).to_complex()
    flat = at(torch.ones(1, samples, samples, dtype=kind))
    lit = at(stairs[None].to(kind), offset=(0.0, order))
    sinc2 = float(torch.sinc(torch.tensor(1 / levels, dtype=torch.float64))) ** 2
    efficiency = float((lit.abs() / flat.abs()).double() ** 2) * sinc2
    # in single precision: the rounding of a sum of up to 65 536 equal terms, squared
    return abs(efficiency - sinc2), 1e-12 if double else 5e-6


def defocus_strehl(double: bool) -> tuple[float, float]:
    """On-axis light at W20 = lambda / 4 of defocus: (sin pi W / pi W)^2 = 0.81057."""
    samples, diameter, wave, distance = 1024, 2e-3, 550e-9, 50e-3
    spacing = diameter / samples
    stop = disc_coverage((samples, samples), spacing, diameter).to(_real(double))
    curvature = 2 * wave / 4 / (diameter / 2) ** 2  # W20 = c a^2 / 2
    light = relief_spots(
        torch.zeros(samples, samples, dtype=stop.dtype),
        turns_per_metre=_waves(1 / wave),
        amplitude=stop,
        spacing=spacing,
        wavelength=_waves(wave),
        distance=distance,
        points=(1, 1),
        pitch=1e-6,
        curvature=torch.tensor([[0.0], [curvature]], dtype=torch.float64),
    ).flatten()
    expected = (math.sin(math.pi / 4) / (math.pi / 4)) ** 2
    return abs(float(light[1] / light[0]) - expected), 1e-4  # the stop's rim, a^2 to 1e-5


@lru_cache(maxsize=1)
def _modes() -> ZernikeScene:
    return ZernikeScene(72, 350)


def zernike_350(double: bool) -> tuple[float, float]:
    """Sum of 350 Noll modes against scipy's Jacobi polynomials."""
    scene = _modes()
    surface = zernike_surface(scene.coefficients.to(_real(double)), scene.samples)
    return _distance(surface, scene.answer.output), 1e-12 if double else 1e-6


def zernike_350_gradient(double: bool) -> tuple[float, float]:
    """Its gradient: inner products with the same modes."""
    scene = _modes()
    given = scene.coefficients.to(_real(double), copy=True).requires_grad_()
    surface = zernike_surface(given, scene.samples)
    loss = (surface * scene.weights.to(surface.dtype)).sum()
    (slope,) = torch.autograd.grad(loss, given)
    return _distance(slope, scene.answer.gradient), 1e-12 if double else 1e-6


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _noise(shape: torch.Size, double: bool, *, seed: int) -> Tensor:
    kind = _real(double).to_complex()
    return torch.randn(shape, dtype=torch.complex128, generator=_seeded(seed)).to(kind)


def _waves(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _energy(field: Tensor) -> float:
    return float(field.abs().to(torch.float64).square().sum())


_SHAPE, _POINTS, _SPACING, _PITCH, _FOCUS = (150, 171), (37, 90), 10e-6, 2.5e-6, 50e-3


def _sensor(pupil: Tensor, method: str) -> Tensor:
    return to_sensor(
        pupil, spacing=_SPACING, wavelength=_waves(*_RGB), distance=_FOCUS, points=_POINTS,
        pitch=_PITCH, method=method,
    )  # fmt: skip


def _direct(pupil: Tensor) -> Tensor:
    """Sum of plane waves, as matrices."""
    planes = []
    for plane, wave in zip(pupil, _RGB, strict=True):
        turn = -2j * math.pi / (wave * _FOCUS)
        rows, columns = (
            torch.exp(turn * coordinates(points, _PITCH)[:, None] * coordinates(samples, _SPACING))
            for points, samples in zip(_POINTS, _SHAPE, strict=True)
        )
        planes.append(rows @ plane @ columns.T * _SPACING**2 / (wave * _FOCUS))
    return torch.stack(planes)


ANCHORS: dict[str, Callable[[bool], tuple[float, float]]] = {
    "psf": psf_error,
    "psf_gradient": psf_gradient,
    "psf_16_depths": partial(psf_error, depths=16),
    "psf_16_depths_gradient": partial(psf_gradient, depths=16),
    "depths_together": depths_together,
    "chirp_equals_matrix": chirp_equals_matrix,
    "adjoint": adjoint,
    "finite_differences": finite_differences,
    "parseval_sensor_2048": parseval,
    "parseval_fft_2048": parseval_fft_2048,
    "blaze_2_levels": partial(blaze, 2),
    "blaze_4_levels": partial(blaze, 4),
    "blaze_8_levels": partial(blaze, 8),
    "blaze_16_levels": partial(blaze, 16),
    "defocus_strehl": defocus_strehl,
    "zernike_350": zernike_350,
    "zernike_350_gradient": zernike_350_gradient,
}
