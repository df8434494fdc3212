"""Landmark networks at work: a camera's own, or one that learned on clear pictures."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from anonymizer.heatmaps import normalised_mean_error
from anonymizer.regressors import CompactRegressor, Heatmaps
from experiments.attacks import Clear, Defence, Faces, Trial
from experiments.attacks.learning import Best, train
from experiments.objectives import HeatmapTerm
from experiments.sampling import derive_seed
from experiments.stages import Schedule
from experiments.utility.utility import clear_scenes

STILL = 1e-3
"""Movement of what is read over all pictures below which nothing is read, rms [px]."""


def own_reader(trial: Trial) -> nn.Module | None:
    """Return the landmark network that belongs to the defence, if one does."""
    found: Any = getattr(trial.defence, "reader", None)
    return found if isinstance(found, nn.Module) else None


def clear_reader(trial: Trial, name: str, training: Schedule, widths: tuple[int, ...]) -> nn.Module:
    """Return a landmark network of clear pictures: the trial's, else one trained on `learn`."""
    if trial.reader is not None:
        return trial.reader
    torch.manual_seed(derive_seed(trial.seed, name))
    network = CompactRegressor(widths=widths).to(trial.device)
    _train(trial, f"{name}_reader", network, training, Clear())
    return network


def adapted_reader(trial: Trial, name: str, clear: nn.Module, training: Schedule) -> nn.Module:
    """Return the network of clear pictures, trained further on what is shown of `learn`."""
    network = copy.deepcopy(clear).requires_grad_(True).train()
    _train(trial, f"{name}_adapted", network, training, trial.defence)
    return network


def _train(
    trial: Trial, name: str, network: nn.Module, training: Schedule, defence: Defence
) -> None:
    """Train a landmark network on what a defence shows; the best on the tuning people is kept."""
    term = HeatmapTerm()

    def loss(faces: Faces, seen: Tensor, rows: Tensor) -> Tensor:
        heatmaps: Heatmaps = network(seen)
        return term.compare(heatmaps, faces.scenes.landmarks, heatmaps.size)

    def judge() -> float:
        with torch.no_grad():
            errors = []
            for rows in trial.tuning.batches(trial.batch):
                faces = trial.faces(trial.tuning, rows, 1)
                found = network(defence.show(faces)).landmarks()
                errors.append(normalised_mean_error(found, faces.scenes.landmarks))
        return 1 - float(torch.cat(errors).mean())

    best = Best(trial.folder / f"{name}.safetensors", network, judge)
    train(trial, name, best, loss, training, points=4, defence=defence)


@torch.no_grad()
def read(reader: nn.Module, pictures: Tensor, trial: Trial) -> Tensor:
    """Return the landmarks (N, 68, 2) in pictures (N, 3, S, S) [px].

    A network that answers the same whatever it is shown has read nothing: its points are not
    numbers, and every face counts as failed.
    """
    parts = [
        reader(part.to(trial.device)).landmarks().cpu()
        for part in torch.split(pictures, trial.batch)
    ]
    points = torch.cat(parts)
    moved = (points - points.mean(0)).square().mean().sqrt()
    return points if moved > STILL else torch.full_like(points, torch.nan)


def mean_shape(trial: Trial) -> Tensor:
    """Return the mean landmarks (68, 2) of the tuning people: what is known of a face unseen."""
    tuning = trial.tuning
    rows = [tuning.scenes(some, torch.device("cpu")) for some in tuning.batches(trial.batch)]
    return torch.cat([scenes.landmarks for scenes in rows]).mean(0)


def true_landmarks(trial: Trial) -> Tensor:
    """Return the landmarks (N, 68, 2) of the test pictures [px]."""
    return clear_scenes(trial).landmarks
