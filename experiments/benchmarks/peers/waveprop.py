"""waveprop (github.com/ebezzam/waveprop): band-limited angular spectrum, also to other points.

The lens is a phase in the pupil. What comes back on other points lies one sample too far in both
axes: two more are asked for and the first two left out. Grids are counted from N // 2, hence the
shift by half the difference of the spacings.
"""

import math
from importlib.metadata import version

import torch
from torch import Tensor
from waveprop.rs import angular_spectrum

from experiments.benchmarks.contestants import Contestant, Works, torch_work
from experiments.benchmarks.scenes import PropagateScene, PsfScene


class Peer(Contestant):
    """waveprop."""

    name = "waveprop"

    def version(self) -> str:
        return version("waveprop")

    def psf(self, scene: PsfScene, device: torch.device) -> Works:
        amplitude, radius2 = scene.amplitude.float(), scene.radius2

        def plane(height: Tensor, w: int, curvature: float) -> Tensor:
            wave = scene.wavelengths[w]
            # the path of an ideal lens, so that the exact wave comes to a point
            path = (radius2 + scene.distance**2).sqrt() - scene.distance
            lens = 2 * math.pi / wave * (curvature * radius2 / 2 - path)
            phase = 2 * math.pi * float(scene.turns_per_metre[w]) * height + lens.float()
            pupil = amplitude * torch.exp(1j * phase)
            there, _, _ = angular_spectrum(
                pupil, wave, scene.spacing, scene.distance, d2=scene.pitch,
                N_out=scene.points + 2, out_shift=(scene.pitch - scene.spacing) / 2,
                device="cpu", dtype=torch.float32,
            )  # fmt: skip
            light: Tensor = there[2:, 2:].abs().square()
            return light

        def psf(height: Tensor) -> Tensor:
            waves = range(len(scene.wavelengths))
            rows = [torch.stack([plane(height, w, c) for w in waves]) for c in scene.curvatures]
            return torch.stack(rows)

        return {"c64": torch_work(psf, scene.height.float(), scene.weights.float())}

    def propagate(self, scene: PropagateScene, device: torch.device) -> Works:
        works = {}
        for label, dtype in (("c64", torch.float32), ("c128", torch.float64)):
            field = scene.field.to(dtype.to_complex())
            kernel = angular_spectrum(
                field, scene.wavelength, scene.spacing, scene.distance, device="cpu",
                dtype=dtype, return_H=True,
            )  # fmt: skip

            def propagate(data: Tensor, kernel: Tensor = kernel) -> Tensor:
                there: Tensor = angular_spectrum(
                    data, scene.wavelength, scene.spacing, scene.distance, device="cpu", H=kernel
                )[0]
                return there

            works[label] = torch_work(propagate, field, scene.weights.to(dtype))
        return works
