"""Accuracy anchors of free-space propagation: closed forms, and how far the package is from them.

Every function takes `double` (complex128 or complex64) and returns (error, bar): errors are
relative unless the docstring says otherwise, and the bar is what must hold at that precision.
Lengths in metres.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from scipy.special import fresnel as fresnel_integrals
from torch import Tensor

from optics.grids import coordinates, disc_coverage, squared_radius
from optics.propagation import (
    FreeSpace,
    cis,
    fresnel_to_points,
    fresnel_transfer,
    propagate,
    propagate_to_points,
    rayleigh_sommerfeld,
    to_sensor,
    transfer_function,
)

RED, GREEN = 633e-9, 550e-9


def square_aperture(
    double: bool, *, fresnel_number: float, padding: float | str, bar: float
) -> tuple[float, float]:
    """Intensity behind a square hole half as wide as the grid, rms over the hole."""
    samples = 256 if fresnel_number < 1 else 512 if fresnel_number < 10 else 768
    half = 1e-3
    spacing = 4 * half / samples  # the rim lies between two samples
    distance = half**2 / (RED * fresnel_number)
    x = coordinates(samples, spacing)
    hole = (x.abs() < half).to(torch.float64)
    field = propagate(
        (hole[:, None] * hole).to(_dtype(double)), spacing=spacing, wavelength=RED,
        distance=distance, padding=padding, extent=2 * half,
    )  # fmt: skip
    scale = math.sqrt(2 / (RED * distance))
    upper, lower = (fresnel_integrals((scale * (x + s * half)).numpy()) for s in (1, -1))
    line = ((upper[1] - lower[1]) ** 2 + (upper[0] - lower[0]) ** 2) / 2
    expected = torch.outer(*(torch.from_numpy(line),) * 2)
    inside = hole.bool()
    error = (_intensity(field) - expected)[inside][:, inside]
    return float(error.norm() / expected[inside][:, inside].norm()), bar


def talbot_revival(double: bool) -> tuple[float, float]:
    """Field of a cosine grating at its exact self-imaging distance."""
    period, samples = 50e-6, (160, 96)
    spacing = period / 32
    y, x = (coordinates(n, spacing) for n in samples)
    grating = (1 + torch.cos(2 * math.pi / period * y))[:, None] * torch.ones_like(x)
    field = grating.to(_dtype(double))
    length = RED / (1 - math.sqrt(1 - (RED / period) ** 2))
    back = propagate(field, spacing=spacing, wavelength=RED, distance=length, padding="periodic")
    return _relative(back, grating.to(torch.complex128)), 1e-12 if double else 1e-6


def poisson_spot(double: bool) -> tuple[float, float]:
    """Light on the axis behind a disc in a Gaussian beam, against the open beam.

    The integral along the radius gives exp(-2 a^2 / w^2): 0.88250 for w = 4 a.
    """
    samples, spacing, distance, radius = 767, 5.5e-6, 0.15, 0.2e-3  # odd: a sample on the axis
    shape = (samples, samples)
    beam = torch.exp(-squared_radius(shape, spacing) / (4 * radius) ** 2)
    blocked = beam * (1 - disc_coverage(shape, spacing, 2 * radius))
    here = [
        _intensity(
            propagate_to_points(
                f.to(_dtype(double)), spacing=spacing, wavelength=RED, distance=distance,
                points=(1, 1), pitch=spacing,
            )
        )
        for f in (blocked, beam)
    ]  # fmt: skip
    return abs(float(here[0] / here[1]) - math.exp(-0.125)), 2e-3


def gaussian_waist(double: bool) -> tuple[float, float]:
    """Width of a Gaussian beam at half, one and two Rayleigh lengths; the worst of them."""
    waist, shape, spacing = 50e-6, (320, 300), 3.4e-6
    rayleigh = math.pi * waist**2 / RED
    field = torch.exp(-squared_radius(shape, spacing) / waist**2).to(_dtype(double))
    x2 = coordinates(shape[1], spacing) ** 2
    worst = 0.0
    for q in (0.5, 1.0, 2.0):
        light = _intensity(propagate(field, spacing=spacing, wavelength=RED, distance=q * rayleigh))
        width = 2 * math.sqrt(float((light * x2).sum() / light.sum()))
        worst = max(worst, abs(width / (waist * math.sqrt(1 + q**2)) - 1))
    return worst, 1e-5 if double else 2e-5


def energy(double: bool) -> tuple[float, float]:
    """Energy on a periodic grid; in complex64 at 2048 x 2048, where scaled transforms fail."""
    samples = 512 if double else 2048
    field = torch.randn(
        samples, samples, dtype=_dtype(double), generator=torch.Generator().manual_seed(0)
    )
    there = propagate(field, spacing=4e-6, wavelength=GREEN, distance=20e-3, padding="periodic")
    ratio = float(_intensity(there).sum() / _intensity(field).sum())
    return abs(ratio - 1), 1e-12 if double else 1e-6


def direct_sum(double: bool) -> tuple[float, float]:
    """Field of a tilted beam: complex128 against the Rayleigh-Sommerfeld sum, complex64 against it.

    The sum's own error is that of the midpoint rule on a smooth beam; what is left is the light
    that the beam has beyond the grid.
    """
    shape, spacing, distance, waist = (128, 112), 1e-6, 0.5e-3, 14e-6
    y, x = (coordinates(n, spacing) for n in shape)
    beam = torch.exp(-((y[:, None] - 5e-6) ** 2 + (x + 4e-6) ** 2) / waist**2)
    field = beam * cis(2 * math.pi / GREEN * 0.04 * x)  # 2.3 degrees
    here = partial(propagate, spacing=spacing, wavelength=GREEN, distance=distance)
    exact = here(field)
    if not double:
        return _relative(here(field.to(torch.complex64)), exact), 3e-7
    rows, columns = torch.arange(2, shape[0], 7), torch.arange(3, shape[1], 9)
    grid = torch.meshgrid(y[rows], x[columns], indexing="ij")
    points = torch.stack([*grid, torch.full_like(grid[0], distance)], dim=-1)
    summed = rayleigh_sommerfeld(field, points, spacing=spacing, wavelength=GREEN)
    return _relative(exact[rows][:, columns], summed), 1e-6


def oblique_wave(double: bool) -> tuple[float, float]:
    """Phase of plane waves up to 48 degrees, k z (cos theta - 1), largest error [rad]."""
    samples, spacing, distance = 256, 0.3e-6, 50e-6
    here = FreeSpace((samples, 8), spacing, RED, distance, padding="periodic", dtype=_dtype(double))
    worst = 0.0
    y = coordinates(samples, spacing)
    for index in (0, 40, 90):
        sine = index / (samples * spacing) * RED
        wave = cis(2 * math.pi * sine / RED * y)[:, None].expand(-1, 8)
        moved = here(wave.to(_dtype(double))).to(torch.complex128) * wave.conj()
        expected = 2 * math.pi / RED * distance * (math.sqrt(1 - sine**2) - 1)
        turn = moved / cis(torch.tensor(expected, dtype=torch.float64))
        worst = max(worst, float(turn.angle().abs().max()))
    return worst, 1e-9 if double else 2e-6


def float_phase(double: bool) -> tuple[float, float]:
    """Kernel at 0.9 m, where a float32 phase is off by a tenth: modulus of the difference."""
    make = partial(transfer_function, (96, 80), 4e-6, RED, 0.9, reach=(math.inf, math.inf))
    f = torch.fft.fftfreq(96, 4e-6, dtype=torch.float64)
    column = make(dtype=_dtype(double))[:, 0].to(torch.complex128)
    s = (f * RED) ** 2
    turns = -0.9 / RED * s / (1 + (1 - s).sqrt())
    error = (column - cis(2 * math.pi * turns.remainder(1.0))).abs().max()
    return float(error), 1e-9 if double else 5e-7


def focus_gradient(double: bool) -> tuple[float, float]:
    """Gradient of a weighted PSF to the phase in a lens, against the direct transform.

    Without its band limit the same model is off by its own size (Matsushima's trap: the sensor
    asks for frequencies that the kernel folds back into the stop).
    """
    samples, stop, focal = 512, 2e-3, 50e-3
    spacing = stop / samples
    generator = torch.Generator().manual_seed(3)
    smooth = torch.randn(9, 9, dtype=torch.float64, generator=generator)
    mask = torch.nn.functional.interpolate(
        smooth[None, None], (samples, samples), mode="bicubic", align_corners=True
    )[0, 0]
    weights = torch.rand(64, 64, dtype=torch.float64, generator=generator)
    cover = disc_coverage((samples, samples), spacing, stop)
    lens = cis(-math.pi / (GREEN * focal) * squared_radius((samples, samples), spacing))

    def slope(complex_type: torch.dtype, send: Callable[[Tensor], Tensor]) -> Tensor:
        phase = mask.clone().to(complex_type.to_real()).requires_grad_()
        light = send(cover.to(phase) * cis(phase)).abs().square()
        loss = (light * weights.to(phase)).sum()
        (out,) = torch.autograd.grad(loss, phase)
        return out

    common = {"spacing": spacing, "distance": focal, "points": (64, 64), "pitch": 4e-6}
    ours = slope(
        _dtype(double),
        lambda p: propagate_to_points(p * lens.to(p), wavelength=GREEN, **common),  # type: ignore[arg-type]
    )
    wave = torch.tensor([GREEN], dtype=torch.float64)
    exact = slope(
        torch.complex128,
        lambda p: to_sensor(p[None], wavelength=wave, **common)[0],  # type: ignore[arg-type]
    )
    return _relative(ours, exact), 3.5e-2


def zone_plate(double: bool) -> tuple[float, float]:
    """Peak behind 45 zones of phase 0 and pi, against an ideal lens: 4 / pi^2."""
    zones, focal, spacing, fine = 45, 50e-3, 1.4e-6, 4
    radius = math.sqrt(zones * RED * focal)
    half = math.ceil(radius / spacing) + 1
    shape = (2 * half, 2 * half)
    stop = disc_coverage(shape, spacing, 2 * radius)
    r2 = (torch.arange(half * fine, dtype=torch.float64) + 0.5).mul(spacing / fine) ** 2
    sign = 1 - 2 * ((r2[:, None] + r2) / (RED * focal)).floor_().remainder_(2)
    quarter = torch.nn.functional.avg_pool2d(sign[None], fine)[0]  # shares of zones in a sample
    below = torch.cat([quarter.flip(1), quarter], 1)
    plate = stop * torch.cat([below.flip(0), below])
    here = partial(
        fresnel_to_points, spacing=spacing, wavelength=RED, distance=focal, points=(1, 1),
        pitch=spacing,
    )  # fmt: skip
    peak = _intensity(here(plate.to(_dtype(double))))
    best = _intensity(here(stop.to(_dtype(double)), curvature=-1 / focal))
    return abs(float(peak / best) - 4 / math.pi**2), 3e-3


def diffractive_focus(double: bool) -> tuple[float, float]:
    """Focus of a kinoform at another wavelength: f0 wavelength0 / wavelength.

    z^2 I(z) on the axis is even in 1/z about the focus (paraxial), so three points find it.
    """
    focal, samples, spacing = 50e-3, 400, 4e-6
    shape = (samples, samples)
    r2 = squared_radius(shape, spacing)
    stop = disc_coverage(shape, spacing, samples * spacing * 0.98)
    field = (stop * cis(-math.pi / (GREEN * focal) * r2)).to(_dtype(double))
    expected = focal * GREEN / RED

    def height(power: float) -> float:
        u = fresnel_to_points(
            field, spacing=spacing, wavelength=RED, distance=1 / power, points=(1, 1), pitch=spacing
        )
        return float(_intensity(u)) / power**2

    step, vertex = 0.4, 1.02 / expected  # starts 2 % off
    for _ in range(6):  # the parabola through three points is exact once it is centred
        low, middle, high = (height(vertex + d * step) for d in (-1, 0, 1))
        vertex += 0.5 * step * (low - high) / (low - 2 * middle + high)
    return abs(1 / vertex / expected - 1), 1e-6


def poppy_fresnel(double: bool) -> tuple[float, float]:
    """Field behind a stop, against poppy's plane-to-plane Fresnel propagator."""
    import astropy.units as u
    import poppy

    wavefront = poppy.FresnelWavefront(0.4 * u.mm, wavelength=RED * u.m, npix=128, oversample=2)
    wavefront *= poppy.CircularAperture(radius=0.3e-3 * u.m)
    spacing = float(wavefront.pixelscale.to_value(u.m / u.pixel))
    given = torch.from_numpy(wavefront.wavefront.copy())
    distance = 40e-3
    wavefront._propagate_ptp(distance * u.m)
    theirs = torch.from_numpy(wavefront.wavefront.copy())
    ours = fresnel_transfer(
        given.to(_dtype(double)), spacing=spacing, wavelength=RED, distance=distance,
        padding="periodic",
    )  # fmt: skip
    scale = torch.vdot(theirs.flatten(), ours.to(theirs).flatten())
    turned = ours.to(theirs) * (scale.conj() / scale.abs())  # poppy keeps a constant phase
    return _relative(turned, theirs), 1e-5


def _dtype(double: bool) -> torch.dtype:
    return torch.complex128 if double else torch.complex64


def _intensity(field: Tensor) -> Tensor:
    return field.to(torch.complex128).abs().square()


def _relative(ours: Tensor, exact: Tensor) -> float:
    return float((ours.to(exact.dtype) - exact).norm() / exact.norm())


#: Name of the anchor: function of `double` that returns (error, bar).
ANCHORS: dict[str, Callable[[bool], tuple[float, float]]] = {
    **{
        f"square_aperture_{number:g}_{name}": partial(
            square_aperture, fresnel_number=number, padding=padding, bar=bar
        )
        for name, padding, bars in (
            ("pad2", 2.0, (2e-2, 2e-3, 3e-3)),
            ("auto", "auto", (3e-3, 3e-3, 3e-3)),
        )
        for number, bar in zip((0.5, 5.0, 20.0), bars, strict=True)
    },
    "talbot_revival": talbot_revival,
    "poisson_spot": poisson_spot,
    "gaussian_waist": gaussian_waist,
    "energy_periodic": energy,
    "direct_sum": direct_sum,
    "oblique_wave": oblique_wave,
    "kernel_phase": float_phase,
    "focus_gradient": focus_gradient,
    "zone_plate": zone_plate,
    "diffractive_focus": diffractive_focus,
    "poppy_fresnel": poppy_fresnel,
}
