"""The best linear inversion of a camera, and what recognisers find in it."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn import functional

from anonymizer.alignment import align_faces
from anonymizer.colour import encode_srgb
from anonymizer.recognition import Recognizer
from experiments.objectives import ScenePower
from experiments.protocol import Metrics, Protocol, TestSet, verification, worst_of
from experiments.scene import Scenes, crop_pixels, network_view, observe
from optics import Camera
from optics.quality import wiener

Drawn = Callable[[Sequence[torch.Generator], int], Tensor]
"""Mean PSFs (B, 3, h, w) of so many shots of each picture, by the picture's source of noise."""


class Inversion:
    """Wiener inversion, then the recognisers as they are.

    Parameters
    ----------
    camera : Camera
        The camera under attack.
    psf : Tensor
        (3, h, w) its exact PSF at the reference distance.
    scene_power : ScenePower
        What the attacker expects of faces.
    protocol : Protocol
        Distances and regularisation.
    frames : int
        Frames averaged.
    exposure : float or None
        Electrons of scene white per binned pixel; None is the camera's own [e-].
    distance : float, optional
        Where the face is; the reference distance if left out [m].
    assumed : Tensor, optional
        (3, h, w) what the attacker takes for the PSF; the exact one if left out.
    drawn : callable, optional
        Gives each picture its own mean PSF (B, 3, h, w), from its source of noise and the number
        of frames; `psf` serves all if left out.
    """

    def __init__(
        self,
        camera: Camera,
        psf: Tensor,
        scene_power: ScenePower,
        protocol: Protocol,
        frames: int,
        exposure: float | None,
        *,
        distance: float | None = None,
        assumed: Tensor | None = None,
        drawn: Drawn | None = None,
    ) -> None:
        self.camera, self.psf, self.frames = camera, psf, frames
        self.assumed = psf if assumed is None else assumed
        self.protocol, self.drawn = protocol, drawn
        self.distance = protocol.reference if distance is None else distance
        self.exposure = exposure
        own = camera.sensor.binned_white_electrons
        self.white = camera.sensor.white_electrons * (1.0 if exposure is None else exposure / own)
        self.pixels = crop_pixels(camera, self.distance, scene_power.context)
        self.size = next_fast_len(self.pixels + psf.shape[-1] - 1, real=True)
        self.power = scene_power.on_grid(pixels=self.pixels, size=self.size).to(torch.float32)

    @property
    def suffix(self) -> str:
        """Ending of the keys: frames, then the exposure if it is not the camera's own."""
        extra = "" if self.exposure is None else f"_{self.exposure / 1e3:g}ke"
        return f"_{self.frames}{extra}"

    def measure(self, test: TestSet, rows: NDArray[np.int64], scenes: Scenes) -> Tensor:
        """All that the light of `scenes` reached, less the backdrop: (B, 3, P, P), zero outside."""
        sources = self.sources(test, rows)
        psf = self.psf if self.drawn is None else self.drawn(sources, self.frames)
        return self.record(psf, scenes, sources, self.frames)

    def sources(self, test: TestSet, rows: NDArray[np.int64]) -> list[torch.Generator]:
        """Return the sources of noise of the pictures `rows`."""
        return test.noise(rows, "inversion", self.distance, self.frames, self.exposure)

    def record(
        self, psf: Tensor, scenes: Scenes, sources: Sequence[torch.Generator], frames: int
    ) -> Tensor:
        """Record what `measure` returns by a PSF (3, h, w), or one of each picture."""
        seen = observe(
            self.camera,
            psf,
            scenes,
            self.distance,
            sources,
            white_electrons=self.white,
            frames=frames,
            extent="full",
        )
        # the backdrop is taken as known to the attacker
        level = psf.to(seen).sum((-2, -1))[..., None, None]
        rest = self.size - seen.shape[-1]
        return functional.pad(seen - scenes.surround[:, :, None, None] * level, (0, rest, 0, rest))

    def invert(self, measured: Tensor, scenes: Scenes, strength: float) -> Tensor:
        """Invert what `measure` gave: (B, 3, S, S) linear light, clipped to [0, 1]."""
        power = self.noise_power(scenes).to(measured) / self.frames * strength
        found = wiener(measured, self.assumed, scene_power=self.power, noise_power=power)
        return self.picture(found, scenes)

    def noise_power(self, scenes: Scenes) -> Tensor:
        """Return the variance that an attacker expects of one frame, by colour (3,)."""
        level = scenes.light.mean((0, 2, 3))[:, None, None]
        noise = self.camera.sensor.mean_and_variance(level, white_electrons=self.white)[1]
        return noise.flatten()

    def picture(self, found: Tensor, scenes: Scenes) -> Tensor:
        """Return inverted measurements less the backdrop (B, 3, P, P) as pictures."""
        light = found[..., : self.pixels, : self.pixels] + scenes.surround[:, :, None, None]
        return network_view(light, scenes.size).clamp(0, 1)

    def restore(
        self, test: TestSet, rows: NDArray[np.int64], device: torch.device, strength: float
    ) -> Tensor:
        """Measure and invert the pictures `rows`: (B, 3, S, S) linear light in [0, 1]."""
        return self.attempt(test, rows, test.scenes(rows, device), strength)

    def attempt(
        self, test: TestSet, rows: NDArray[np.int64], scenes: Scenes, strength: float
    ) -> Tensor:
        """Measure and invert `scenes`, the pictures `rows`: (B, 3, S, S) linear light."""
        return self.invert(self.measure(test, rows, scenes), scenes, strength)

    def look(
        self,
        recognizers: Mapping[str, Recognizer],
        test: TestSet,
        device: torch.device,
        strengths: Sequence[float],
    ) -> dict[float, Metrics]:
        """PSNR and identity after inversion, for each regularisation."""
        probes: dict[tuple[float, str], list[Tensor]] = {}
        decibels: dict[float, list[Tensor]] = {}
        with torch.no_grad():
            for rows in test.batches(self.protocol.batch):
                scenes = test.scenes(rows, device)
                measured = self.measure(test, rows, scenes)
                for strength in strengths:
                    light = self.invert(measured, scenes, strength)
                    decibels.setdefault(strength, []).append(psnr(light, scenes.light))
                    faces = align_faces(light, scenes.landmarks)
                    for name, recognizer in recognizers.items():
                        probes.setdefault((strength, name), []).append(recognizer(faces).cpu())
        out = {}
        for strength in strengths:
            out[strength] = {"psnr": float(torch.cat(decibels[strength]).mean())}
            if test.has_identities:
                found = {
                    name: verification(torch.cat(probes[strength, name]), test, name)
                    for name in recognizers
                }
                out[strength] |= worst_of("auc", found)
        return out

    def judge(
        self,
        recognizers: Mapping[str, Recognizer],
        test: TestSet,
        device: torch.device,
        strength: float,
    ) -> Metrics:
        """Keys of the run: PSNR, identity and the regularisation used."""
        pool = recognizers if test.has_identities else {}
        found = self.look(pool, test, device, [strength])[strength]
        out = {f"inversion_strength{self.suffix}": strength}
        for key, value in found.items():
            name = "inversion_psnr" if key == "psnr" else "reid_auc_inverted"
            ending = "" if key == "psnr" else key.removeprefix("auc")
            out[f"{name}{self.suffix}{ending}"] = value
        return out

    def tune(
        self, recognizers: Mapping[str, Recognizer], tuning: TestSet, device: torch.device
    ) -> float:
        """Regularisation with which the first recogniser finds most, on other people.

        Without identities it is the one of the highest PSNR.
        """
        strengths = self.protocol.regularisation
        if len(strengths) == 1:
            return strengths[0]
        first = dict(list(recognizers.items())[:1]) if tuning.has_identities else {}
        found = self.look(first, tuning, device, strengths)
        return max(strengths, key=lambda s: (found[s].get("auc", 0.0), found[s]["psnr"]))


def psnr(found: Tensor, true: Tensor) -> Tensor:
    """Peak signal-to-noise ratio per picture of sRGB values in [0, 1] (B,) [dB]."""
    error = (encode_srgb(found) - encode_srgb(true)).square().mean((1, 2, 3))
    return -10 * error.clamp(min=1e-12).log10()
