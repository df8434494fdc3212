"""poppy (github.com/spacetelescope/poppy): matrix transform to the detector, Fresnel, Zernike.

Double precision in numpy, without gradients (but for the sum of modes, which is linear).
"""

import logging
import math
from importlib.metadata import version
from typing import Any

import numpy as np
import poppy
import torch
from astropy import units
from poppy.matrixDFT import matrix_dft

from experiments.benchmarks.contestants import Contestant, Work, Works
from experiments.benchmarks.scenes import PropagateScene, PsfScene, ZernikeScene

for _talkative in ("poppy", "numexpr"):
    logging.getLogger(_talkative).setLevel(logging.ERROR)


class Peer(Contestant):
    """poppy."""

    name = "poppy"

    def version(self) -> str:
        return version("poppy")

    def psf(self, scene: PsfScene, device: torch.device) -> Works:
        amplitude, height = scene.amplitude.numpy(), scene.height.numpy()
        radius2 = scene.radius2.numpy()
        rates = [2 * math.pi * t for t in scene.turns_per_metre.tolist()]
        shape = (len(scene.curvatures), len(rates), scene.points, scene.points)

        def forward() -> Any:
            out = np.empty(shape)
            for d, curvature in enumerate(scene.curvatures):
                for w, wave in enumerate(scene.wavelengths):
                    phase = rates[w] * height + math.pi * curvature / wave * radius2
                    pupil = amplitude * np.exp(-1j * phase)  # its time runs the other way
                    side = scene.samples * scene.spacing
                    elements = scene.points * scene.pitch * side / (wave * scene.distance)
                    field = matrix_dft(pupil, elements, scene.points, centering="ADJUSTABLE")
                    # its transform is unitary, ours a density
                    out[d, w] = abs(field) ** 2 * (scene.spacing / scene.pitch) ** 2
            return out

        return {"c128": Work(forward, None)}

    def propagate(self, scene: PropagateScene, device: torch.device) -> Works:
        n = scene.samples
        field = scene.field.numpy()

        def forward() -> Any:
            wave = poppy.FresnelWavefront(
                beam_radius=n * scene.spacing / 2 * units.m,
                wavelength=scene.wavelength * units.m,
                npix=n,
                oversample=2,
            )
            wave.wavefront = np.zeros((2 * n, 2 * n), dtype=np.complex128)
            wave.wavefront[n // 2 : n // 2 + n, n // 2 : n // 2 + n] = field
            wave.propagate_fresnel(scene.distance * units.m)
            return wave.wavefront[n // 2 : n // 2 + n, n // 2 : n // 2 + n]

        return {"c128": Work(forward, None)}

    def zernike(self, scene: ZernikeScene, device: torch.device) -> Works:
        r, t = (a.numpy() for a in scene.polar)
        coefficients, weights = scene.coefficients.numpy(), scene.weights.numpy()

        def basis() -> Any:
            return poppy.zernike.zernike_basis(scene.modes, rho=r, theta=t, outside=0.0)

        kept = basis() if scene.kept else None

        def forward() -> tuple[Any, Any]:
            modes = basis() if kept is None else kept
            return np.tensordot(coefficients, modes, 1), modes

        return {
            "c128": Work(
                forward, lambda found: np.tensordot(found[1], weights, 2), lambda found: found[0]
            )
        }
