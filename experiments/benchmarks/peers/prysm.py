"""prysm (github.com/brandondube/prysm): matrix transforms to chosen points, in numpy.

The released version has no adjoint of its propagation; the one of the matrix transform is
chained here by hand, from the matrices that prysm keeps, as its unreleased version does itself.
"""

import math
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from prysm.conf import config
from prysm.convolution import conv
from prysm.fttools import MatrixDFTExecutor
from prysm.polynomials import zernike_nm_sequence
from prysm.propagation import (
    angular_spectrum,
    angular_spectrum_transfer_function,
)

from experiments.benchmarks.contestants import Contestant, Work, Works
from experiments.benchmarks.scenes import BlurScene, PropagateScene, PsfScene, ZernikeScene

_PRECISIONS = {"c64": 32, "c128": 64}


class Peer(Contestant):
    """prysm."""

    name = "prysm"

    def version(self) -> str:
        return version("prysm")

    def psf(self, scene: PsfScene, device: torch.device) -> Works:
        return {
            f"{label}, adjoint by hand": _psf(scene, bits) for label, bits in _PRECISIONS.items()
        }

    def propagate(self, scene: PropagateScene, device: torch.device) -> Works:
        return {label: _propagate(scene, bits) for label, bits in _PRECISIONS.items()}

    def zernike(self, scene: ZernikeScene, device: torch.device) -> Works:
        r, t = (a.numpy() for a in scene.polar)
        inside = r <= 1 + 1e-12
        coefficients, weights = scene.coefficients.numpy(), scene.weights.numpy()

        def basis() -> Any:
            return np.array(list(zernike_nm_sequence(scene.orders, r, t))) * inside

        kept = basis() if scene.kept else None

        def forward() -> tuple[Any, Any]:
            modes = basis() if kept is None else kept
            return np.tensordot(coefficients, modes, 1), modes

        return {
            "c128": Work(
                forward, lambda found: np.tensordot(found[1], weights, 2), lambda found: found[0]
            )
        }

    def blur(self, scene: BlurScene, device: torch.device) -> Works:
        # one picture and colour at a time, and both as large as the padded picture
        side, half = scene.side + scene.kernel - 1, scene.kernel // 2
        pictures, psfs = scene.pictures.numpy(), scene.psfs[0, 0].numpy()
        centre = side // 2
        near = slice(centre - half, centre + half + 1)

        def forward() -> Any:
            out = np.empty_like(pictures)
            for c, psf in enumerate(psfs):
                wide = np.zeros((side, side))
                wide[near, near] = psf
                for b, picture in enumerate(pictures[:, c]):
                    padded = np.zeros((side, side))
                    padded[half : half + scene.side, half : half + scene.side] = picture
                    full = conv(padded, wide)
                    out[b, c] = full[half : half + scene.side, half : half + scene.side]
            return out

        return {"c128": Work(forward, None)}


def _set(bits: int) -> tuple[Any, Any]:
    config.precision = bits
    return (np.float32, np.complex64) if bits == 32 else (np.float64, np.complex128)


def _psf(scene: PsfScene, bits: int) -> Work:
    real, kind = _set(bits)
    amplitude, height = scene.amplitude.numpy().astype(real), scene.height.numpy().astype(real)
    radius2 = scene.radius2.numpy().astype(real)
    weights = scene.weights.numpy().astype(real)
    rates = [2 * math.pi * t for t in scene.turns_per_metre.tolist()]
    # prysm counts samples from N // 2, this scene from (N - 1) / 2
    shift = -0.5 * (1 - scene.samples % 2)
    points = (scene.points, scene.points)
    # what `focus_fixed_sampling` calls; one of its own, since it keeps matrices by geometry alone
    # and would serve those of one precision to the other
    executor = MatrixDFTExecutor()

    def forward() -> Any:
        _set(bits)
        planes = []
        for curvature in scene.curvatures:
            for wave, rate in zip(scene.wavelengths, rates, strict=True):
                phase = real(rate) * height + real(math.pi * curvature / wave) * radius2
                pupil = amplitude * np.exp(1j * phase)
                q = _oversampling(scene, wave)
                field = executor.dft2(pupil, q, points, (shift, shift))
                # its own scale differs by a constant
                scale = kind(_scale(scene, wave))
                planes.append((pupil, scale, field * scale))
        return planes

    def value(planes: Any) -> Any:
        shape = (len(scene.curvatures), len(scene.wavelengths), *points)
        return np.array([abs(field) ** 2 for _, _, field in planes]).reshape(shape)

    def backward(planes: Any) -> Any:
        total = np.zeros_like(height)
        flat = weights.reshape(-1, *points)
        for number, (pupil, scale, field) in enumerate(planes):
            wave = scene.wavelengths[number % len(rates)]
            key = ((_oversampling(scene, wave),) * 2, pupil.shape, points, (shift, shift))
            left, right = executor.Eout_fwd[key], executor.Ein_fwd[key]
            back = left.conj().T @ (flat[number] * field * scale.conj()) @ right.conj().T
            total += real(2 * rates[number % len(rates)]) * (pupil.conj() * back).imag
        return total

    return Work(forward, backward, value)


def _oversampling(scene: PsfScene, wave: float) -> float:
    """Sensor points per resolution element, prysm's Q."""
    return wave * scene.distance / (scene.samples * scene.spacing * scene.pitch)


def _scale(scene: PsfScene, wave: float) -> float:
    """Factor from its transform to the field on the sensor."""
    whole = scene.samples * _oversampling(scene, wave)
    return scene.spacing**2 / (wave * scene.distance) * whole


def _propagate(scene: PropagateScene, bits: int) -> Work:
    real, kind = _set(bits)
    n = scene.samples
    field = scene.field.numpy().astype(kind)
    weights = scene.weights.numpy().astype(real)
    micrometres, millimetres = scene.wavelength * 1e6, scene.spacing * 1e3
    kernel = angular_spectrum_transfer_function(
        (2 * n, 2 * n), micrometres, millimetres, scene.distance * 1e3
    ).astype(kind)
    kernel_conj = kernel.conj()

    def send(plane: Any, tf: Any) -> Any:
        padded = np.zeros((2 * n, 2 * n), dtype=kind)
        padded[:n, :n] = plane
        return angular_spectrum(padded, micrometres, millimetres, 0.0, tf=tf)[:n, :n]

    return Work(lambda: send(field, kernel), lambda there: 2 * send(weights * there, kernel_conj))
