"""Our own functions on the scenes of the benchmark, called as a user calls them."""

from functools import partial
from importlib.metadata import version

import torch
from torch import Tensor

from experiments.benchmarks.contestants import OURS, Contestant, Works, torch_work
from experiments.benchmarks.scenes import BlurScene, PropagateScene, PsfScene, ZernikeScene
from optics import imaging, propagation, zernike


class Ours(Contestant):
    """The package `optics`."""

    name = OURS
    accelerated = True

    def version(self) -> str:
        return version("veilens")

    def psf(self, scene: PsfScene, device: torch.device) -> Works:
        curvature = torch.tensor(scene.curvatures, dtype=torch.float64)[:, None]
        spots = partial(
            propagation.relief_spots,
            turns_per_metre=scene.turns_per_metre.to(device),
            amplitude=scene.amplitude.to(device, torch.float32),
            spacing=scene.spacing,
            wavelength=scene.waves,
            distance=scene.distance,
            points=(scene.points, scene.points),
            pitch=scene.pitch,
            curvature=curvature.expand(-1, len(scene.wavelengths)) if curvature.any() else None,
        )
        weights = scene.weights.to(device, torch.float32)
        return {"": torch_work(spots, scene.height.to(device, torch.float32), weights)}

    def propagate(self, scene: PropagateScene, device: torch.device) -> Works:
        make = partial(
            propagation.FreeSpace,
            (scene.samples, scene.samples),
            scene.spacing,
            scene.wavelength,
            scene.distance,
            padding=2.0,
        )
        ready = make().to(device)
        field = scene.field.to(device, torch.complex64)
        weights = scene.weights.to(device, torch.float32)
        return {
            "": torch_work(ready, field, weights),
            "kernel rebuilt": torch_work(lambda f: make().to(device)(f), field, weights),
        }

    def zernike(self, scene: ZernikeScene, device: torch.device) -> Works:
        def surface(coefficients: Tensor) -> Tensor:
            if not scene.kept:
                zernike._disc.cache_clear()
            return zernike.zernike_surface(coefficients, scene.samples)

        coefficients = scene.coefficients.to(device, torch.float32)
        return {"": torch_work(surface, coefficients, scene.weights.to(device, torch.float32))}

    def blur(self, scene: BlurScene, device: torch.device) -> Works:
        pictures = scene.pictures.to(device, torch.float32)
        psfs = scene.psfs[0, 0].to(device, torch.float32)
        weights = scene.weights.to(device, torch.float32)
        return {"": torch_work(partial(imaging.blur, pictures), psfs, weights)}

    def varying(self, scene: BlurScene, device: torch.device) -> Works:
        pictures = scene.pictures.to(device, torch.float32)
        psfs = scene.psfs.to(device, torch.float32)
        weights = scene.weights.to(device, torch.float32)
        return {"": torch_work(partial(imaging.blur_varying, pictures), psfs, weights)}
