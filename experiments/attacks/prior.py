r"""Inversion with a generative model of faces: the likeliest face, given what was measured.

The model is probabilistic principal component analysis: a face is its mean, plus components of
known spread learned from other people, plus detail that the model does not know. Through a linear
lens the posterior mean is exact, so nothing is lost to a search:

.. math:: \hat z = (A^T A + s \sigma^2 \Lambda^{-1})^{-1} A^T (y - A \mu), \qquad
          \hat x = \mu + U \hat z

with the camera A, the components U of variances Lambda and the noise power sigma^2.

References
----------
M. E. Tipping, C. M. Bishop, "Probabilistic principal component analysis", J. R. Stat. Soc. B 61,
611 (1999). M. Turk, A. Pentland, "Eigenfaces for recognition", J. Cogn. Neurosci. 3, 71 (1991).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.attacks.defence import CameraDefence
from experiments.attacks.dynamic import PerShotCamera
from experiments.attacks.recognising import FRAMES, check_frames
from experiments.attacks.trial import Attack, Outcome, Trial, numbers
from experiments.protocol import Metrics, TestSet
from experiments.scene import (
    Scenes,
    blur_each,
    crop_pixels,
    generator_for,
    load_scenes,
    network_view,
    observe,
    reframe,
)
from optics import resize

_LEAST = 1e-6  # variance of a colour that the model is never surer of, of linear light


@dataclass(frozen=True)
class FaceModel:
    """Mean (3, S, S), components (K, 3, S, S) of unit length, and their variances (K,)."""

    mean: Tensor
    components: Tensor
    variances: Tensor

    @classmethod
    def learn(cls, pictures: Tensor, most: int) -> "FaceModel":
        """Learn from pictures (N, 3, S, S): at most `most` components."""
        mean = pictures.mean(0)
        count = min(most, len(pictures) - 1)
        _, scale, right = torch.linalg.svd((pictures - mean).flatten(1), full_matrices=False)
        variances = scale[:count].square() / (len(pictures) - 1)
        return cls(mean, right[:count].reshape(count, *mean.shape), variances.clamp(min=_LEAST))

    def first(self, count: int) -> "FaceModel":
        """Return the model with its first `count` components."""
        return FaceModel(self.mean, self.components[:count], self.variances[:count])


class GenerativePrior(Attack):
    """Find the likeliest face of a model of faces, then let public recognisers look.

    Parameters
    ----------
    components : sequence of int
        Sizes of the model that are tried on the tuning people.
    strengths : sequence of float
        Noise powers tried, relative to the true one.
    frames : sequence of int
        Shots averaged.
    pictures : int
        Of other people that the model is learned from, at most.
    """

    actor = "A3"

    def __init__(
        self,
        components: Sequence[int] = (64, 256),
        strengths: Sequence[float] = (1.0, 10.0, 100.0),
        frames: Sequence[int] = FRAMES,
        pictures: int = 1000,
    ) -> None:
        if not components or min(components) < 1 or not strengths or min(strengths) <= 0:
            raise ValueError(
                f"components = {list(components)}, strengths = {list(strengths)}: one or more of "
                f"each, positive"
            )
        if pictures < 8:
            raise ValueError(f"pictures = {pictures}, expected at least 8")
        self.components, self.strengths = tuple(components), tuple(strengths)
        self.frames, self.pictures = check_frames(frames), pictures

    def budget(self) -> dict[str, Any]:
        """Return shots, inversions tried and pictures learned from."""
        tries = len(self.components) * len(self.strengths)
        return {
            "frames": list(self.frames),
            "inversions_tried": tries,
            "pictures_shown": self.pictures,
        }

    def run(self, trial: Trial, name: str) -> Outcome:
        """Learn the model from `learn`, choose on `tune`, measure once on `test`."""
        camera = trial.defence
        if not isinstance(camera, CameraDefence):
            return Outcome(reason="the defence has no lens through which a model could be fitted")
        model = self._model(trial, name)
        conditions: dict[str, Metrics] = {}
        chosen: dict[str, float] = {}
        pictures: dict[str, Tensor] = {}
        looker = {trial.strongest: trial.lookers()[trial.strongest]}
        for frames in self.frames:
            best, value = None, -1.0
            for count in sorted({min(count, len(model.variances)) for count in self.components}):
                for strength in self.strengths:
                    search = _Search(camera, model.first(count), frames, strength, trial.device)
                    found = search.probes(trial, trial.tuning, looker)
                    if (auc := trial.tuned(found)) > value:
                        best, value = search, auc
            if best is None:
                raise RuntimeError("no search was tried")
            key = f"frames_{frames}"
            conditions[key] = numbers(trial.verify(best.probes(trial, trial.held, trial.lookers())))
            chosen |= {f"{key}_components": float(len(best.model.variances))}
            chosen |= {f"{key}_strength": best.strength}
            scenes = trial.held.scenes(trial.shown, trial.device)
            noise = trial.held.noise(trial.shown, "prior", frames)
            pictures[key] = best.restore(scenes, noise).cpu()
        return Outcome(conditions, chosen, pictures=pictures)

    def _model(self, trial: Trial, name: str) -> FaceModel:
        crops = trial.learn
        rows = np.linspace(0, len(crops) - 1, min(self.pictures, len(crops))).round().astype(int)
        noise = [generator_for(trial.seed, name, int(row)) for row in rows]
        scenes = reframe(load_scenes(crops, rows), trial.framing, noise)
        light = scenes.light - scenes.surround[:, :, None, None]
        return FaceModel.learn(light.to(trial.device), max(self.components))


class _Search:
    """The likeliest face behind one camera, for a number of shots."""

    def __init__(
        self,
        camera: CameraDefence,
        model: FaceModel,
        frames: int,
        strength: float,
        device: torch.device,
    ) -> None:
        self.camera, self.model, self.frames, self.strength = camera, model, frames, strength
        self.distance = camera.protocol.reference
        self.psf = camera.psf().to(device)
        context = camera.scene_power.context
        self.pixels = crop_pixels(camera.fixed.camera, self.distance, context)
        faces = torch.cat((model.mean[None], model.components))
        seen = torch.cat([self._through(part) for part in torch.split(faces, 32)]).flatten(1)
        self.mean, self.seen = seen[0], seen[1:]

    def _through(self, light: Tensor) -> Tensor:
        """Return pictures through the lens, without noise, before a black backdrop."""
        small = resize(light, (self.pixels, self.pixels))
        dark = light.new_zeros(len(light), 3)
        return blur_each(small, self.psf.to(light), surround=dark, extent="full")

    def restore(self, scenes: Scenes, noise: list[torch.Generator]) -> Tensor:
        """Measure `scenes` and return the likeliest faces (B, 3, S, S)."""
        camera = self.camera
        psf = self.psf
        if isinstance(camera, PerShotCamera):
            psf = camera.mean_psfs(noise, self.frames)
        seen = observe(
            camera.fixed.camera, psf, scenes, self.distance, noise, frames=self.frames,
            extent="full",
        )  # fmt: skip
        back = scenes.surround[:, :, None, None]
        level = psf.to(seen).sum((-2, -1))[..., None, None]
        rest = (seen - back * level).flatten(1) - self.mean
        mean = scenes.light.mean((0, 2, 3))[:, None, None]
        power = camera.fixed.camera.sensor.mean_and_variance(mean)[1].mean() / self.frames
        grid = self.seen @ self.seen.T
        grid = grid + torch.diag(self.strength * float(power) / self.model.variances)
        weights = torch.linalg.solve(grid.double(), (rest @ self.seen.T).double().T).T.to(rest)
        found = self.model.mean + torch.einsum("bk,kchw->bchw", weights, self.model.components)
        return network_view(found + back, scenes.size).clamp(0, 1)

    @torch.no_grad()
    def probes(self, trial: Trial, people: TestSet, lookers: dict[str, Any]) -> dict[str, Tensor]:
        """Return embeddings of the likeliest faces by recogniser."""
        rows_of: dict[str, list[Tensor]] = {name: [] for name in lookers}
        for rows in people.batches(trial.batch):
            scenes = people.scenes(rows, trial.device)
            found = self.restore(scenes, people.noise(rows, "prior", self.frames))
            for name, look in lookers.items():
                rows_of[name].append(look(found, scenes.landmarks).cpu())
        return {name: torch.cat(parts) for name, parts in rows_of.items()}
