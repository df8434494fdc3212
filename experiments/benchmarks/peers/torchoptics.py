"""torchoptics (github.com/MatthewFilipovich/torchoptics): `Field.propagate`, profiles, functional.

The propagated field is interpolated to the sensor's points, bicubic here; "direct" convolves
with the sampled impulse response, "spectrum" pads to twice the side. Precision is a global
setting of the library, so every call sets it.
"""

import math
from importlib.metadata import version

import torch
import torchoptics
from torch import Tensor
from torch.nn import functional
from torchoptics.functional import conv2d_fft
from torchoptics.profiles import zernike

from experiments.benchmarks.contestants import Contestant, Work, Works, torch_work
from experiments.benchmarks.scenes import BlurScene, PropagateScene, PsfScene, ZernikeScene

_PRECISIONS = {"c64": torch.float32, "c128": torch.float64}


class Peer(Contestant):
    """torchoptics."""

    name = "torchoptics"
    accelerated = True

    def version(self) -> str:
        return version("torchoptics")

    def psf(self, scene: PsfScene, device: torch.device) -> Works:
        return {
            f"{method}, {label}": _psf(scene, device, method, dtype)
            for method in ("direct", "spectrum")
            for label, dtype in _PRECISIONS.items()
        }

    def propagate(self, scene: PropagateScene, device: torch.device) -> Works:
        return {label: _propagate(scene, device, dtype) for label, dtype in _PRECISIONS.items()}

    def zernike(self, scene: ZernikeScene, device: torch.device) -> Works:
        kept = _basis(scene, device) if scene.kept else None

        def surface(coefficients: Tensor) -> Tensor:
            basis = _basis(scene, device) if kept is None else kept
            out: Tensor = torch.tensordot(coefficients, basis, 1)
            return out

        weights = scene.weights.to(device)
        return {"c128": torch_work(surface, scene.coefficients.to(device), weights)}

    def blur(self, scene: BlurScene, device: torch.device) -> Works:
        half = scene.kernel // 2
        pictures = functional.pad(scene.pictures.to(device, torch.float32), (half,) * 4)
        psfs = scene.psfs[0, 0].to(device, torch.float32)
        weights = scene.weights.to(device, torch.float32)
        return {"": torch_work(lambda psf: conv2d_fft(pictures, psf).real, psfs, weights)}


def _psf(scene: PsfScene, device: torch.device, method: str, dtype: torch.dtype) -> Work:
    amplitude, radius2 = scene.amplitude.to(device, dtype), scene.radius2.to(device, dtype)
    settings = (
        {"propagation_method": "DIM"}
        if method == "direct"
        else {
            "propagation_method": "ASM",
            "asm_pad": (scene.samples // 2, scene.samples // 2),
        }
    )

    def plane(height: Tensor, w: int, curvature: float) -> Tensor:
        wave = scene.wavelengths[w]
        lens = math.pi / wave * (curvature - 1 / scene.distance) * radius2
        phase = 2 * math.pi * float(scene.turns_per_metre[w]) * height + lens
        pupil = amplitude * torch.exp(1j * phase)
        field = torchoptics.Field(pupil, wave, 0, scene.spacing).to(device)
        shape = (scene.points, scene.points)
        there = field.propagate(
            shape, scene.distance, scene.pitch, interpolation_mode="bicubic", **settings
        )
        light: Tensor = there.intensity()
        return light

    def psf(height: Tensor) -> Tensor:
        torchoptics.set_default_dtype(dtype)
        waves = range(len(scene.wavelengths))
        rows = [torch.stack([plane(height, w, c) for w in waves]) for c in scene.curvatures]
        return torch.stack(rows)

    return torch_work(psf, scene.height.to(device, dtype), scene.weights.to(device, dtype))


def _propagate(scene: PropagateScene, device: torch.device, dtype: torch.dtype) -> Work:
    def propagate(data: Tensor) -> Tensor:
        torchoptics.set_default_dtype(dtype)
        field = torchoptics.Field(data, scene.wavelength, 0, scene.spacing).to(device)
        pad = (scene.samples // 2, scene.samples // 2)
        there = field.propagate_to_z(scene.distance, propagation_method="ASM", asm_pad=pad)
        out: Tensor = there.data
        return out

    field = scene.field.to(device, dtype.to_complex())
    return torch_work(propagate, field, scene.weights.to(device, dtype))


def _basis(scene: ZernikeScene, device: torch.device) -> Tensor:
    torchoptics.set_default_dtype(torch.float64)
    shape = (scene.samples, scene.samples)
    modes = []
    for n, m in scene.orders:
        norm = math.sqrt((n + 1) * (2 if m else 1))
        # its first axis is x, ours is y
        modes.append(norm * zernike(shape, n, m, 1.0, 2 / scene.samples).T)
    return torch.stack(modes).to(device)
