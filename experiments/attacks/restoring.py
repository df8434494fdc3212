"""Learned inversion: a network that learns to bring faces back, for public recognisers to read."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from anonymizer.alignment import align_faces
from anonymizer.colour import decode_srgb, encode_srgb
from anonymizer.regressors import standardise
from experiments.attacks.defence import Faces
from experiments.attacks.learning import Best, train
from experiments.attacks.trial import Attack, Outcome, Trial, numbers
from experiments.sampling import derive_seed
from experiments.stages import Schedule

_GROUP = 8  # channels normalised together


class RestorationNet(nn.Module):
    """U-Net from what is shown to a face, both (B, 3, S, S) in linear light.

    Parameters
    ----------
    widths : tuple of int
        Channels at full side, half, a quarter and so on; multiples of 8.
    """

    def __init__(self, widths: tuple[int, ...] = (24, 48, 96, 144)) -> None:
        super().__init__()
        widths = tuple(widths)
        if len(widths) < 2 or any(w < _GROUP or w % _GROUP for w in widths):
            raise ValueError(f"widths = {widths}: two or more, each a multiple of {_GROUP}")
        self.stem = _block(3, widths[0])
        self.down = nn.ModuleList(_block(a, b) for a, b in pairwise(widths))
        self.up = nn.ModuleList(_block(a + b, a) for a, b in pairwise(widths))
        self.end = nn.Conv2d(widths[0], 3, 1)

    def forward(self, seen: Tensor) -> Tensor:
        """Return what the network believes in [0, 1]."""
        x = self.stem(standardise(seen))
        passed = []
        for block in self.down:
            passed.append(x)
            x = block(functional.avg_pool2d(x, 2))
        for block, before in zip(reversed(self.up), reversed(passed), strict=True):
            grown = functional.interpolate(
                x, before.shape[-2:], mode="bilinear", align_corners=False
            )
            x = block(torch.cat((before, grown), 1))
        out: Tensor = decode_srgb(torch.sigmoid(self.end(x)))
        return out


def _block(channels_in: int, channels_out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (channels_in, channels_out):
        layers += [
            nn.Conv2d(channels, channels_out, 3, padding=1, bias=False),
            nn.GroupNorm(channels_out // _GROUP, channels_out),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


class LearnedInversion(Attack):
    """Train `RestorationNet` on pairs of other people, then let public recognisers look.

    The loss is the mean difference of sRGB values, and how little the strongest recogniser finds
    of the person in the reconstruction.

    Parameters
    ----------
    training : Schedule
        Steps, batch and peak learning rate.
    widths : tuple of int
        As in `RestorationNet`.
    identity : float
        Weight of the second term.
    points : int
        Points of the learning curve after the start.
    """

    actor = "A1"

    def __init__(
        self,
        training: Schedule,
        widths: tuple[int, ...] = (24, 48, 96, 144),
        identity: float = 0.5,
        points: int = 4,
    ) -> None:
        if not identity >= 0 or points < 1:
            raise ValueError(f"identity = {identity:g}, points = {points}: expected >= 0 and >= 1")
        RestorationNet(widths)
        self.training, self.widths = training, tuple(widths)
        self.identity, self.points = identity, points

    def budget(self) -> dict[str, Any]:
        """Return steps, pictures that are shown in them, and the size of the network."""
        weights = sum(p.numel() for p in RestorationNet(self.widths).parameters())
        steps, batch = self.training.steps, self.training.batch
        return {"steps": steps, "pictures_shown": steps * batch, "weights": weights}

    def run(self, trial: Trial, name: str) -> Outcome:
        """Train on `learn`, choose on `tune`, measure once on `test`."""
        torch.manual_seed(derive_seed(trial.seed, name))
        network = RestorationNet(self.widths).to(trial.device)
        reader = trial.pool[trial.strongest]

        def loss(faces: Faces, seen: Tensor, rows: Tensor) -> Tensor:
            found, clear = network(seen), faces.scenes.light
            pixels = (encode_srgb(found) - encode_srgb(clear)).abs().mean()
            points = faces.scenes.landmarks
            with torch.no_grad():
                wanted = reader(align_faces(clear, points))
            likeness = (reader(align_faces(found, points)) * wanted).sum(1).mean()
            out: Tensor = pixels + self.identity * (1 - likeness)
            return out

        best = Best(
            trial.folder / f"{name}.safetensors",
            network,
            lambda: trial.tuned(trial.look(trial.tuning, trial.lookers(), restore=network)),
        )
        train(trial, name, best, loss, self.training, points=self.points)
        found = trial.verify(trial.look(trial.held, trial.lookers(), restore=network))
        curve = tuple(
            {"pictures": steps * self.training.batch, "auc_tune": value}
            for steps, value in best.curve
        )
        return Outcome(
            {"frames_1": numbers(found)},
            {"auc_tune": best.value},
            curve,
            {"frames_1": self._pictures(trial, network)},
        )

    @staticmethod
    @torch.no_grad()
    def _pictures(trial: Trial, network: nn.Module) -> Tensor:
        faces = trial.faces(trial.held, trial.shown, 1)
        out: Tensor = network(trial.defence.show(faces))
        return out.cpu()
