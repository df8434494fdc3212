"""Plug-and-play inversion: the lens undone in turns with a denoiser that knows faces.

Half-quadratic splitting: a least-squares step towards what was measured, then the denoiser, at
noise levels that fall from step to step.

References
----------
K. Zhang, Y. Li, W. Zuo, L. Zhang, L. Van Gool, R. Timofte, "Plug-and-play image restoration with
deep denoiser prior", IEEE Trans. Pattern Anal. Mach. Intell. 44, 6360 (2022), eqs. 6 and 10.
K. Zhang, W. Zuo, L. Zhang, "FFDNet: toward a fast and flexible solution for CNN-based image
denoising", IEEE Trans. Image Process. 27, 4608 (2018): a level map, and pixels four at a time.
"""

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from experiments.attacks.deconvolving import Deconvolution
from experiments.attacks.defence import CameraDefence, Clear, Faces
from experiments.attacks.learning import Best, train
from experiments.attacks.recognising import FRAMES
from experiments.attacks.trial import Outcome, Trial
from experiments.inversion import Inversion
from experiments.sampling import derive_seed
from experiments.scene import Scenes
from experiments.stages import Schedule
from optics.quality import wiener

NOISIEST = 0.3
"""Strongest noise that the denoiser learns to remove, rms of linear light."""
_FIRST, _LEAST = 0.2, 0.01  # level of the first turn, and the lowest of the last one, rms


class Denoiser(nn.Module):
    """Removes white noise of a known level from pictures (B, 3, H, W) in linear light.

    Parameters
    ----------
    width : int
        Channels.
    depth : int
        Convolutions, at least 2.
    """

    def __init__(self, width: int = 48, depth: int = 5) -> None:
        super().__init__()
        if width < 1 or depth < 2:
            raise ValueError(f"width = {width}, depth = {depth}: at least 1 and 2")
        layers: list[nn.Module] = []
        for place in range(depth):
            inside = 13 if place == 0 else width
            layers.append(nn.Conv2d(inside, 12 if place == depth - 1 else width, 3, padding=1))
            if place < depth - 1:
                layers.append(nn.ReLU())
        self.layers = nn.Sequential(*layers)

    def forward(self, noisy: Tensor, level: Tensor) -> Tensor:
        """Return the pictures without noise of `level` (B,), rms."""
        high, wide = noisy.shape[-2:]
        whole = functional.pad(noisy, (0, wide % 2, 0, high % 2), mode="replicate")
        parts = functional.pixel_unshuffle(whole, 2)
        plane = level.to(parts)[:, None, None, None].expand(-1, 1, *parts.shape[-2:])
        found = parts - self.layers(torch.cat((parts, plane), 1))
        out: Tensor = functional.pixel_shuffle(found, 2)[..., :high, :wide]
        return out


class PlugAndPlay(Deconvolution):
    """Undo the lens with a denoiser trained on clear pictures of other people.

    Parameters
    ----------
    training : Schedule
        Of the denoiser.
    strengths : sequence of float
        Noise powers tried, relative to the true one.
    frames, errors, guesses, exposures
        As for `Deconvolution`.
    steps : int
        Turns of inversion and denoiser.
    width, depth : int
        Of the denoiser.
    """

    def __init__(
        self,
        training: Schedule,
        strengths: Sequence[float],
        frames: Sequence[int] = FRAMES,
        errors: Sequence[float] = (0.0,),
        guesses: Sequence[float] = (),
        exposures: Sequence[float | None] = (None,),
        *,
        steps: int = 6,
        width: int = 48,
        depth: int = 5,
    ) -> None:
        super().__init__(strengths, frames, errors, guesses, exposures)
        if steps < 2:
            raise ValueError(f"steps = {steps}, expected at least 2")
        Denoiser(width, depth)
        self.training, self.steps, self.width, self.depth = training, steps, width, depth

    def budget(self) -> dict[str, Any]:
        """Return what the inversion may spend, and the training of its denoiser."""
        steps, batch = self.training.steps, self.training.batch
        weights = sum(p.numel() for p in Denoiser(self.width, self.depth).parameters())
        return super().budget() | {
            "steps": steps,
            "pictures_shown": steps * batch,
            "weights": weights,
        }

    def run(self, trial: Trial, name: str) -> Outcome:
        """Train the denoiser on `learn`, then undo the lens with it."""
        if not isinstance(trial.defence, CameraDefence):
            return super().run(trial, name)
        denoiser, turns = self.denoiser(trial, name), self.steps

        class Alternating(_Alternating):
            network, steps = denoiser, turns

        armed = copy.copy(self)
        armed.kind = Alternating
        return Deconvolution.run(armed, trial, name)

    def denoiser(self, trial: Trial, name: str) -> Denoiser:
        """Return the denoiser, trained on clear pictures under noise of all levels."""
        torch.manual_seed(derive_seed(trial.seed, name))
        network = Denoiser(self.width, self.depth).to(trial.device)

        def loss(faces: Faces, seen: Tensor, rows: Tensor) -> Tensor:
            level = torch.stack([torch.rand((), generator=g) for g in faces.noise]) * NOISIEST
            out: Tensor = (network(*_noisy(seen, level, faces)) - seen).abs().mean()
            return out

        def judge() -> float:
            with torch.no_grad():
                errors = []
                for rows in trial.tuning.batches(trial.batch):
                    faces = trial.faces(trial.tuning, rows, name)
                    clear = faces.scenes.light
                    level = torch.full((len(rows),), NOISIEST / 3)
                    errors.append(network(*_noisy(clear, level, faces)) - clear)
            return 1 - float(torch.cat(errors).square().mean().sqrt())

        best = Best(trial.folder / f"{name}_denoiser.safetensors", network, judge)
        train(trial, f"{name}_denoiser", best, loss, self.training, points=4, defence=Clear())
        return network


def _noisy(clear: Tensor, level: Tensor, faces: Faces) -> tuple[Tensor, Tensor]:
    """Return pictures under noise of `level` (B,), and the level."""
    noise = torch.stack([torch.randn(clear.shape[1:], generator=g) for g in faces.noise])
    level = level.to(clear)
    return clear + level[:, None, None, None] * noise.to(clear), level


class _Alternating(Inversion):
    network: Denoiser
    steps: int

    def invert(self, measured: Tensor, scenes: Scenes, strength: float) -> Tensor:
        noise = self.noise_power(scenes).to(measured) / self.frames * strength
        size = measured.shape[-2:]
        otf = torch.fft.rfft2(self.assumed.to(measured), s=size)
        pull = otf.conj() * torch.fft.rfft2(measured)
        power = otf.abs().square()
        back = scenes.surround[:, :, None, None]
        found = wiener(measured, self.assumed, scene_power=self.power, noise_power=noise)
        light = found[..., : self.pixels, : self.pixels] + back
        rest = self.size - self.pixels
        levels = self._levels(float(noise.mean().sqrt()))
        for level in levels:
            calm = self.network(light, torch.full((len(light),), level))
            guess = functional.pad(calm - back, (0, rest, 0, rest))
            weight = noise[:, None, None] / level**2
            spectrum = (pull + weight * torch.fft.rfft2(guess)) / (power + weight)
            light = torch.fft.irfft2(spectrum, s=size)[..., : self.pixels, : self.pixels] + back
        last = self.network(light, torch.full((len(light),), levels[-1]))
        return self.picture(functional.pad(last - back, (0, rest, 0, rest)), scenes)

    def _levels(self, noise: float) -> list[float]:
        """Return levels for the denoiser that fall evenly in their logarithm to that of `noise`."""
        last = min(max(noise, _LEAST), NOISIEST)
        start, end = math.log(max(_FIRST, last)), math.log(last)
        return [math.exp(start + (end - start) * i / (self.steps - 1)) for i in range(self.steps)]
