"""Small networks trained on what is shown of other people, at work on clear pictures.

Whoever may only collect protected pictures wants to learn something from them. A network counts
only if it works on the protected pictures of the tuning people; one that does not is never put to
work, and its answers are chance.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from anonymizer.metrics import head_pose, over_people
from anonymizer.recognition.curves import Estimate, auc
from anonymizer.regressors import standardise
from experiments.anonymizer_identity import Numbers, estimate, missing
from experiments.attacks import Clear, Defence, Faces, Trial
from experiments.data.crops import FaceCrops
from experiments.judging import limit
from experiments.sampling import Batches, derive_seed
from experiments.scene import generator_for, load_scenes, network_view, reframe
from experiments.stages import Schedule
from experiments.training import descend
from experiments.utility.landmarks import mouth_opening
from experiments.utility.utility import Utility

_SIDE = 32  # of what the networks see [px]
_LEAST = 8  # pictures of each kind
_DRAWS = 400
_FRONTAL = 5.0  # heads turned by less count for neither side [deg]

Task = Literal["yaw", "mouth"]


class Downstream(Utility):
    """How well a task is learned from protected pictures, as AUC on clear ones of test people.

    "yaw" is to which side a head is turned, "mouth" whether it is more open than that of most.
    "_clear" is the same learned from clear pictures.

    Parameters
    ----------
    task : {"yaw", "mouth"}
    training : Schedule
        Of each network.
    pictures : int
        Protected pictures learned from, at most.
    """

    def __init__(self, task: Task, training: Schedule, pictures: int = 400) -> None:
        if pictures < 4 * _LEAST:
            raise ValueError(f"pictures = {pictures}, expected at least {4 * _LEAST}")
        self.task, self.training, self.pictures = task, training, pictures

    def run(self, trial: Trial, name: str) -> Numbers:
        """Train on `learn`, check on `tune`, measure on clear pictures of `test`."""
        crops = limit(trial.learn, self.pictures)
        border = _border(self.task, crops)
        key, out = f"downstream_{self.task}", Numbers()
        for ending, defence in (("", trial.defence), ("_clear", Clear())):
            sets = {
                part: _examples(trial, chosen, shown, (name, part))
                for part, chosen, shown in (
                    ("learn", crops, defence),
                    ("tune", trial.tune, defence),
                    ("test", trial.test, Clear()),
                )
            }
            labels = {
                part: _labels(self.task, points, border) for part, (_, points) in sets.items()
            }
            if min(int((y == k).sum()) for y in labels.values() for k in (0, 1)) < _LEAST:
                out |= missing(f"{key}{ending}", f"fewer than {_LEAST} pictures of a kind")
                continue
            network = self._trained(trial, name, sets["learn"][0], labels["learn"])
            works = _score(network, sets["tune"][0], labels["tune"], trial.tune, trial.seed)
            found = _score(network, sets["test"][0], labels["test"], trial.test, trial.seed)
            if works.low <= 0.5:
                found = Estimate(0.5, 0.5, 0.5)
            counted = int((labels["test"] >= 0).sum())
            out |= estimate(f"{key}{ending}", found, counted)
            out[f"{key}_works{ending}"] = works.value
        return out

    def _trained(self, trial: Trial, name: str, pictures: Tensor, labels: Tensor) -> nn.Module:
        seed = derive_seed(trial.seed, name)
        torch.manual_seed(seed)
        network = _network().to(trial.device)
        known = labels >= 0
        pictures, labels = pictures[known], labels[known].float()
        plan = self.training
        batches = Batches(len(labels), min(plan.batch, len(labels)), seed=seed)
        optimizer = torch.optim.Adam(network.parameters(), lr=plan.learning_rate)
        for step in range(plan.steps):
            rows = batches.next()
            for group in optimizer.param_groups:
                group["lr"] = plan.learning_rate * plan.pace(step)
            seen = pictures[rows].to(trial.device)
            answer = network(seen)[:, 0]
            loss = functional.binary_cross_entropy_with_logits(
                answer, labels[rows].to(trial.device)
            )
            descend(loss, optimizer, step=step, max_norm=5.0)
        return network.requires_grad_(False).eval()


def _network() -> nn.Sequential:
    layers: list[nn.Module] = []
    for inside, outside in ((3, 16), (16, 32), (32, 48)):
        layers += [
            nn.Conv2d(inside, outside, 3, stride=2, padding=1),
            nn.GroupNorm(8, outside),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(48 * (_SIDE // 8) ** 2, 1))


@torch.no_grad()
def _examples(
    trial: Trial, crops: FaceCrops, defence: Defence, key: tuple[str, str]
) -> tuple[Tensor, Tensor]:
    """Return pictures (N, 3, 32, 32) as a defence shows them, and their landmarks (N, 68, 2)."""
    framing = replace(trial.framing, flip=key[1] == "learn" and trial.framing.flip)
    pictures, points = [], []
    for start in range(0, len(crops), trial.batch):
        rows = np.arange(start, min(start + trial.batch, len(crops)))
        noise = [generator_for(trial.seed, *key, int(row)) for row in rows]
        scenes = reframe(load_scenes(crops, rows), framing, noise).to(trial.device)
        seen = defence.show(Faces(scenes, torch.from_numpy(crops.person[rows]), noise))
        pictures.append(standardise(network_view(seen, _SIDE)).cpu())
        points.append(scenes.landmarks.cpu())
    return torch.cat(pictures), torch.cat(points)


def _border(task: Task, crops: FaceCrops) -> float:
    """Return what divides the two answers."""
    if task == "yaw":
        return 0.0
    return float(mouth_opening(torch.from_numpy(np.asarray(crops.landmarks))).median())


def _labels(task: Task, points: Tensor, border: float) -> Tensor:
    """Return 0 or 1 for each face, -1 where the answer is neither (N,)."""
    if task == "mouth":
        return (mouth_opening(points) > border).long()
    yaw = head_pose(points)[:, 0].rad2deg()
    return torch.where(yaw.abs() < _FRONTAL, -1, (yaw > border).long())


@torch.no_grad()
def _score(
    network: nn.Module, pictures: Tensor, labels: Tensor, crops: FaceCrops, seed: int
) -> Estimate:
    """Return the AUC over all pictures whose answer is known, with its interval over people."""
    device = next(network.parameters()).device
    known = labels >= 0
    answers = network(pictures[known].to(device))[:, 0].cpu().double().numpy()
    truth = labels[known].numpy() == 1
    found = over_people(
        _area(answers, truth), crops.person[known.numpy()], resamples=_DRAWS, seed=seed
    )
    return Estimate(found.value, max(0.0, found.low), min(1.0, found.high))


def _area(
    answers: NDArray[np.float64], truth: NDArray[np.bool_]
) -> Callable[[NDArray[np.int64]], float]:
    def number(rows: NDArray[np.int64]) -> float:
        yes, no = answers[rows][truth[rows]], answers[rows][~truth[rows]]
        return auc(yes, no) if yes.size and no.size else 0.5

    return number
