r"""What the benchmark computes: scenes, cases, and the float64 answers they are judged by.

Conventions as in `optics`. The references are written out here with matrices and plain FFTs in
float64 and share no code with what they judge.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import scipy.fft
import torch
from scipy.special import eval_jacobi
from torch import Tensor

from optics.grids import coordinates, disc_coverage
from optics.materials import material
from optics.zernike import noll_to_nm

RGB = (640e-9, 550e-9, 440e-9)
STOP, FOCAL_LENGTH = 2e-3, 50e-3


@dataclass(frozen=True)
class Answer:
    """Output of a case and its gradient, both on the CPU in double precision."""

    output: Tensor
    gradient: Tensor


@dataclass(frozen=True)
class PsfScene:
    r"""Mask and thin lens: an N x N pupil to 128 x 128 sensor points of 4 um.

    A 2 mm stop with a fused silica relief in front of an ideal 50 mm lens. What is judged is the
    energy fraction per point, (D, W, P, P), and the gradient of its weighted sum to the height
    map (N, N).

    Attributes
    ----------
    samples, points : int
        Pupil samples and sensor points along a side.
    wavelengths : tuple of float
        Vacuum wavelengths [m].
    curvatures : tuple of float
        Residual curvature of the wavefront, one per object distance; 0 is in focus [1/m].
    """

    samples: int
    points: int
    wavelengths: tuple[float, ...]
    curvatures: tuple[float, ...] = (0.0,)
    pitch: float = 4e-6
    distance: float = FOCAL_LENGTH

    @property
    def spacing(self) -> float:
        """Sample spacing in the pupil [m]."""
        return STOP / self.samples

    @cached_property
    def height(self) -> Tensor:
        """Smooth random relief, float64 (N, N) [m]: 0.4 um RMS, features of 0.1 mm."""
        return _single(2e-6 + 0.4e-6 * smooth_noise(self.samples, 100e-6 / self.spacing, seed=1))

    @cached_property
    def amplitude(self) -> Tensor:
        """Stop, float64 (N, N), scaled so that ``abs(field) ** 2`` is the PSF."""
        stop = disc_coverage((self.samples, self.samples), self.spacing, STOP)
        return _single(stop * self.pitch / (self.spacing * float(stop.square().sum()) ** 0.5))

    @cached_property
    def waves(self) -> Tensor:
        """Wavelengths, float64 (W,) [m]."""
        return torch.tensor(self.wavelengths, dtype=torch.float64)

    @cached_property
    def turns_per_metre(self) -> Tensor:
        """Turns of phase per metre of relief, float64 (W,)."""
        return (material("fused_silica").index(self.waves) - 1) / self.waves

    @cached_property
    def radius2(self) -> Tensor:
        """Squared distance from the axis, float64 (N, N) [m^2]."""
        x = coordinates(self.samples, self.spacing)
        return x[:, None] ** 2 + x**2

    @cached_property
    def weights(self) -> Tensor:
        """Weights of the loss, float64 (D, W, P, P)."""
        shape = (len(self.curvatures), len(self.wavelengths), self.points, self.points)
        return _single(torch.rand(shape, dtype=torch.float64, generator=_seeded(2)))

    @cached_property
    def answer(self) -> Answer:
        """Matrix Fourier transform, plane by plane (Soummer et al. 2007)."""
        n, m = coordinates(self.samples, self.spacing), coordinates(self.points, self.pitch)
        output, total = torch.empty_like(self.weights), torch.zeros_like(self.height)
        for w, wave in enumerate(self.wavelengths):
            kernel = torch.exp(-2j * math.pi / (wave * self.distance) * m[:, None] * n)
            scale = self.spacing**2 / (wave * self.distance)
            rate = 2 * math.pi * self.turns_per_metre[w]
            for d, curvature in enumerate(self.curvatures):
                phase = rate * self.height + math.pi * curvature / wave * self.radius2
                pupil = scale * self.amplitude * torch.exp(1j * phase)
                field = kernel @ pupil @ kernel.T
                output[d, w] = field.abs() ** 2
                back = kernel.mH @ (self.weights[d, w] * field) @ kernel.conj()
                total += 2 * rate * (pupil.conj() * back).imag
        return Answer(output, total)


@dataclass(frozen=True)
class PropagateScene:
    """Free space over 20 mm to the same grid, 4 um apart, padded to twice the side.

    What is judged is the field (N, N) up to one constant phase, and the gradient of the weighted
    sum of its intensity to the field that goes in.
    """

    samples: int
    spacing: float = 4e-6
    wavelength: float = 550e-9
    distance: float = 20e-3

    @cached_property
    def field(self) -> Tensor:
        """Gaussian beam with a smooth random phase, complex128 (N, N); dark at the rim."""
        x = coordinates(self.samples, 1 / self.samples)
        beam = torch.exp(-((x[:, None] ** 2 + x**2) / 0.15**2))
        return _single(torch.polar(beam, smooth_noise(self.samples, 20.0, seed=1)))

    @cached_property
    def weights(self) -> Tensor:
        """Weights of the loss, float64 (N, N); smooth, so that paraxial answers stay right."""
        return _single(1 + 0.3 * smooth_noise(self.samples, 20.0, seed=2))

    @cached_property
    def answer(self) -> Answer:
        """Angular spectrum with twice the side, without carrier, in complex128."""
        padded = 2 * self.samples
        f = torch.fft.fftfreq(padded, self.spacing, dtype=torch.float64) * self.wavelength
        s = f[:, None] ** 2 + f**2
        turns = -self.distance / self.wavelength * s / (1 + (1 - s).sqrt())
        kernel = torch.polar(torch.ones_like(turns), 2 * math.pi * (turns - turns.round()))
        # scipy's transforms: torch's scaled ones are among what is judged
        field = self._through(self.field, kernel)
        return Answer(field, 2 * self._through(self.weights * field, kernel.conj()))

    def _through(self, field: Tensor, kernel: Tensor) -> Tensor:
        shape = (2 * self.samples, 2 * self.samples)
        spectrum = torch.from_numpy(scipy.fft.fft2(field.numpy(), s=shape, workers=2))
        back = torch.from_numpy(scipy.fft.ifft2((spectrum * kernel).numpy(), workers=2))
        return back[: self.samples, : self.samples].clone()


@dataclass(frozen=True)
class ZernikeScene:
    """A surface of Noll modes 1 to J on an N x N grid, and the gradient of a weighted sum.

    Attributes
    ----------
    kept : bool
        Whether what does not depend on the coefficients (a basis, radii of the grid) may be kept
        from call to call.
    """

    samples: int
    modes: int
    kept: bool = False

    @cached_property
    def coefficients(self) -> Tensor:
        """Float64 (J,)."""
        return _single(torch.randn(self.modes, dtype=torch.float64, generator=_seeded(3)))

    @cached_property
    def orders(self) -> list[tuple[int, int]]:
        """Radial and azimuthal order of every mode."""
        return [noll_to_nm(j + 1) for j in range(self.modes)]

    @cached_property
    def polar(self) -> tuple[Tensor, Tensor]:
        """Radius in pupil radii and angle from +x towards +y, float64 (N, N)."""
        x = coordinates(self.samples, 2 / self.samples)
        y = x[:, None].expand(self.samples, self.samples)
        return (x**2 + y**2).sqrt(), torch.atan2(y, x.expand_as(y))

    @cached_property
    def weights(self) -> Tensor:
        """Weights of the loss, float64 (N, N)."""
        shape = (self.samples, self.samples)
        return _single(torch.rand(shape, dtype=torch.float64, generator=_seeded(4)))

    @cached_property
    def answer(self) -> Answer:
        """Jacobi polynomials of scipy, mode by mode (Born & Wolf, sec. 9.2)."""
        rho, theta = self.polar
        x = (2 * rho**2 - 1).numpy()
        inside = (rho <= 1 + 1e-12).to(torch.float64)
        surface, gradient = torch.zeros_like(rho), torch.zeros_like(self.coefficients)
        radials: dict[tuple[int, int], Tensor] = {}
        for j, (n, m) in enumerate(self.orders):
            order = abs(m)
            if (n, order) not in radials:  # sine and cosine share it
                polynomial = torch.from_numpy(eval_jacobi((n - order) // 2, 0, order, x))
                radials = {(n, order): polynomial * rho**order}
            radial = radials[n, order]
            around = torch.sin(order * theta) if m < 0 else torch.cos(order * theta)
            mode = inside * math.sqrt((n + 1) * (2 if m else 1)) * radial * around
            surface += self.coefficients[j] * mode
            gradient[j] = (mode * self.weights).sum()
        return Answer(surface, gradient)


@dataclass(frozen=True)
class BlurScene:
    """Pictures (B, 3, S, S) through PSFs (3, K, K), or a grid of them; gradient to the PSFs.

    Attributes
    ----------
    grid : int
        PSFs along each side of the field; 1 is one PSF for the whole picture.
    """

    side: int
    kernel: int
    batch: int = 8
    grid: int = 1

    @cached_property
    def pictures(self) -> Tensor:
        """Linear light, float64 (B, 3, S, S)."""
        shape = (self.batch, 3, self.side, self.side)
        return _single(torch.rand(shape, dtype=torch.float64, generator=_seeded(5)))

    @cached_property
    def psfs(self) -> Tensor:
        """Float64 (G, G, 3, K, K), sum 1: ovals that turn and grow with the field."""
        x = coordinates(self.kernel, 1.0)
        y = x[:, None]
        planes = []
        for gy in coordinates(self.grid, 2 / self.grid).tolist():
            for gx in coordinates(self.grid, 2 / self.grid).tolist():
                angle, size = math.atan2(gy, gx), 1 + math.hypot(gx, gy)
                along = x * math.cos(angle) + y * math.sin(angle)
                across = y * math.cos(angle) - x * math.sin(angle)
                for colour in (1.1, 1.0, 0.9):
                    width = self.kernel / 20 * size * colour
                    plane = torch.exp(-((along / width) ** 2) - (across / width * 1.5) ** 2)
                    planes.append(plane / plane.sum())
        shape = (self.grid, self.grid, 3, self.kernel, self.kernel)
        return _single(torch.stack(planes).reshape(shape))

    @cached_property
    def weights(self) -> Tensor:
        """Weights of the loss, float64 (B, 3, S, S)."""
        generator = _seeded(6)
        return _single(torch.rand(self.pictures.shape, dtype=torch.float64, generator=generator))

    def windows(self) -> Tensor:
        """Share of every PSF at every pixel, float64 (G, G, S, S): bilinear between centres."""
        centres = (torch.arange(self.grid, dtype=torch.float64) + 0.5) * self.side / self.grid
        place = torch.arange(self.side, dtype=torch.float64) + 0.5
        place = place.clamp(float(centres[0]), float(centres[-1]))
        hat = (1 - (place - centres[:, None]).abs() * self.grid / self.side).clamp(min=0)
        return hat[:, None, :, None] * hat[None, :, None, :]

    @cached_property
    def answer(self) -> Answer:
        """Every pixel's light through its own PSF: linear, in float64, PSF by PSF."""
        length = self.side + self.kernel - 1
        half = self.kernel // 2
        inner = slice(half, half + self.side)
        output = torch.zeros_like(self.pictures)
        gradient = torch.empty_like(self.psfs)
        light = torch.fft.rfft2(self.weights, s=(length, length))
        windows = self.windows()
        for gy in range(self.grid):
            for gx in range(self.grid):
                scene = torch.fft.rfft2(self.pictures * windows[gy, gx], s=(length, length))
                kernel = torch.fft.rfft2(self.psfs[gy, gx], s=(length, length))
                full = torch.fft.irfft2(scene * kernel, s=(length, length))
                output += full[..., inner, inner]
                lag = torch.fft.irfft2((scene.conj() * light).sum(0), s=(length, length))
                lag = lag.roll((half, half), (-2, -1))
                gradient[gy, gx] = lag[..., : self.kernel, : self.kernel]
        return Answer(output, gradient)


Scene = PsfScene | PropagateScene | ZernikeScene | BlurScene


@dataclass(frozen=True)
class Case:
    """One line of the benchmark.

    Attributes
    ----------
    name : str
        Key in the metrics.
    title : str
        What it is, for people.
    kind : str
        The method of a contestant that works on it: psf, propagate, zernike, blur, varying.
    make : callable
        Scene of a fraction of the full size.
    """

    name: str
    title: str
    kind: str
    make: Callable[[float], Scene]


def _scaled(size: int, scale: float, least: int = 16) -> int:
    return max(least, 2 * round(size * scale / 2))


def _psf(samples: int, waves: tuple[float, ...], depths: int = 1) -> Callable[[float], Scene]:
    bent = torch.linspace(-2.2, 2.2, depths).tolist() if depths > 1 else [0.0]
    return lambda scale: PsfScene(_scaled(samples, scale), _scaled(128, scale), waves, tuple(bent))


def _propagate(samples: int) -> Callable[[float], Scene]:
    # the distance shrinks with the plane: its angles, and so its sampling, stay
    return lambda scale: PropagateScene(_scaled(samples, scale), distance=20e-3 * scale)


def _blur(grid: int) -> Callable[[float], Scene]:
    def make(scale: float) -> Scene:
        kernel = _scaled(64, scale, 4) + 1
        return BlurScene(_scaled(256, scale, 8 * grid), kernel, grid=grid)

    return make


_SPECTRUM = tuple(torch.linspace(400e-9, 700e-9, 31, dtype=torch.float64).tolist())

CASES: Mapping[str, Case] = {
    case.name: case
    for case in (
        Case("psf_512x3", "PSF, 512² pupil, 3 wavelengths", "psf", _psf(512, RGB)),
        Case("psf_1024x3", "PSF, 1024² pupil, 3 wavelengths", "psf", _psf(1024, RGB)),
        Case("psf_512x31wl", "PSF, 512² pupil, 31 wavelengths", "psf", _psf(512, _SPECTRUM)),
        Case("psf_512x16z", "PSF, 512² pupil, 16 depths", "psf", _psf(512, (550e-9,), 16)),
        Case(
            "propagate_1024",
            "Free space, 1024², padded to twice the side",
            "propagate",
            _propagate(1024),
        ),
        Case(
            "propagate_2048",
            "Free space, 2048², padded to twice the side",
            "propagate",
            _propagate(2048),
        ),
        Case(
            "zernike_350",
            "350 Zernike modes on 512², nothing kept between calls",
            "zernike",
            lambda scale: ZernikeScene(_scaled(512, scale), _scaled(350, scale)),
        ),
        Case(
            "zernike_350_kept",
            "350 Zernike modes on 512², basis or radii kept",
            "zernike",
            lambda scale: ZernikeScene(_scaled(512, scale), _scaled(350, scale), kept=True),
        ),
        Case("blur_uniform", "Blur, 8 × 3 × 256², PSFs of 65²", "blur", _blur(1)),
        Case("blur_varying_7x7", "Blur that varies over 7 × 7 fields", "varying", _blur(7)),
    )
}


def smooth_noise(samples: int, feature: float, *, seed: int) -> Tensor:
    """Gaussian random field of unit variance, float64 (N, N); features of `feature` samples."""
    white = torch.randn(samples, samples, dtype=torch.float64, generator=_seeded(seed))
    f = torch.fft.fftfreq(samples, dtype=torch.float64)
    low = torch.exp(-((math.pi * feature / 2) ** 2) * (f[:, None] ** 2 + f**2))
    field = torch.fft.ifft2(torch.fft.fft2(white) * low).real
    field = field - field.mean()
    unit: Tensor = field / field.std()
    return unit


def _single(value: Tensor) -> Tensor:
    """Round to what single precision holds, so that every precision gets the same inputs."""
    single = torch.complex64 if value.is_complex() else torch.float32
    return value.to(single).to(value.dtype)


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
