"""The same scenes in torch as most people write it: pad, transform, multiply, interpolate.

No care is taken of phases in single precision, of complex exponentials or of memory: this is
what the other numbers are compared with.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from experiments.benchmarks.contestants import PLAIN, Contestant, Works, torch_work
from experiments.benchmarks.scenes import BlurScene, PropagateScene, PsfScene, ZernikeScene


class Plain(Contestant):
    """About twenty lines of torch per scene."""

    name = PLAIN
    accelerated = True

    def version(self) -> str:
        return torch.__version__

    def psf(self, scene: PsfScene, device: torch.device) -> Works:
        amplitude = scene.amplitude.to(device, torch.float32)
        radius2 = scene.radius2.to(device, torch.float32)
        kernels = [
            _transfer(2 * scene.samples, scene.spacing, wave, scene.distance, device)
            for wave in scene.wavelengths
        ]
        side = scene.points * scene.pitch / (2 * scene.samples * scene.spacing)
        line = torch.linspace(-1, 1, scene.points, device=device)
        line = line * side * (scene.points - 1) / scene.points
        grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)[None]

        def plane(height: Tensor, w: int, curvature: float) -> Tensor:
            wave = scene.wavelengths[w]
            lens = math.pi / wave * (curvature - 1 / scene.distance) * radius2
            phase = 2 * math.pi * float(scene.turns_per_metre[w]) * height + lens
            pupil = amplitude * torch.exp(1j * phase)
            field = _pad_and_propagate(pupil, kernels[w], crop=False)
            light = field.abs() ** 2
            taken: Tensor = functional.grid_sample(
                light[None, None], grid, mode="bicubic", align_corners=False
            )
            return taken[0, 0]

        def psf(height: Tensor) -> Tensor:
            return torch.stack(
                [
                    torch.stack([plane(height, w, c) for w in range(len(scene.wavelengths))])
                    for c in scene.curvatures
                ]
            )

        weights = scene.weights.to(device, torch.float32)
        return {"": torch_work(psf, scene.height.to(device, torch.float32), weights)}

    def propagate(self, scene: PropagateScene, device: torch.device) -> Works:
        def propagate(field: Tensor) -> Tensor:
            kernel = _transfer(
                2 * scene.samples, scene.spacing, scene.wavelength, scene.distance, device
            )
            return _pad_and_propagate(field, kernel, crop=True)

        field = scene.field.to(device, torch.complex64)
        return {"": torch_work(propagate, field, scene.weights.to(device, torch.float32))}

    def zernike(self, scene: ZernikeScene, device: torch.device) -> Works:
        kept = _basis(scene, device) if scene.kept else None

        def surface(coefficients: Tensor) -> Tensor:
            basis = _basis(scene, device) if kept is None else kept
            out: Tensor = torch.tensordot(coefficients, basis, 1)
            return out

        coefficients = scene.coefficients.to(device, torch.float32)
        return {"": torch_work(surface, coefficients, scene.weights.to(device, torch.float32))}

    def blur(self, scene: BlurScene, device: torch.device) -> Works:
        pictures = scene.pictures.to(device, torch.float32)
        length = scene.side + scene.kernel - 1
        half = scene.kernel // 2

        def blur(psf: Tensor) -> Tensor:
            spectrum = torch.fft.rfft2(pictures, s=(length, length))
            spectrum = spectrum * torch.fft.rfft2(psf, s=(length, length))
            full: Tensor = torch.fft.irfft2(spectrum, s=(length, length))
            return full[..., half : half + scene.side, half : half + scene.side]

        psfs = scene.psfs[0, 0].to(device, torch.float32)
        return {"": torch_work(blur, psfs, scene.weights.to(device, torch.float32))}

    def varying(self, scene: BlurScene, device: torch.device) -> Works:
        from experiments.benchmarks.patch_blur import blur_patches

        pictures = scene.pictures.to(device, torch.float32)
        psfs = scene.psfs.to(device, torch.float32)
        weights = scene.weights.to(device, torch.float32)
        return {"": torch_work(lambda p: blur_patches(pictures, p), psfs, weights)}


def _transfer(
    samples: int, spacing: float, wavelength: float, distance: float, device: torch.device
) -> Tensor:
    """Transfer function of free space in single precision."""
    f = torch.fft.fftfreq(samples, spacing, device=device)
    k = 2 * math.pi / wavelength
    kz = k * torch.sqrt((1 - (wavelength * f[:, None]) ** 2 - (wavelength * f) ** 2).clamp(min=0))
    return torch.exp(1j * kz * distance)


def _pad_and_propagate(field: Tensor, kernel: Tensor, *, crop: bool) -> Tensor:
    n = field.shape[-1]
    padded = functional.pad(field, (n // 2,) * 4)
    out: Tensor = torch.fft.ifft2(torch.fft.fft2(padded) * kernel)
    return out[n // 2 : n // 2 + n, n // 2 : n // 2 + n] if crop else out


def _basis(scene: ZernikeScene, device: torch.device) -> Tensor:
    """Every mode (J, N, N) by the sum over factorials (Noll 1976, eq. 2), in double precision."""
    rho, theta = (t.to(device) for t in scene.polar)
    inside = rho <= 1 + 1e-12
    modes = []
    for n, m in scene.orders:
        order = abs(m)
        radial = torch.zeros_like(rho)
        for s in range((n - order) // 2 + 1):
            factor = math.factorial(n - s) / (
                math.factorial(s)
                * math.factorial((n + order) // 2 - s)
                * math.factorial((n - order) // 2 - s)
            )
            radial += (-1) ** s * factor * rho ** (n - 2 * s)
        around = torch.sin(order * theta) if m < 0 else torch.cos(order * theta)
        norm = math.sqrt((n + 1) * (2 if m else 1))
        modes.append((inside * norm * radial * around).to(torch.float32))
    return torch.stack(modes)
