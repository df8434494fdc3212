"""Attacks that train on pictures of other people, shown through the same defence."""

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from anonymizer.recognition import CompactRecognizer, Recognizer
from experiments.adversary import Attacker
from experiments.attacks.defence import Defence, Faces
from experiments.attacks.trial import Attack, Look, Outcome, Trial, numbers
from experiments.checkpoints import Stateful, TrainingState
from experiments.sampling import Batches, derive_seed
from experiments.scene import generator_for, load_scenes, reframe
from experiments.stages import Schedule
from experiments.store import load_tensors, save_tensors
from experiments.training import Stage, descend, fit

Loss = Callable[[Faces, Tensor, Tensor], Tensor]
"""Scalar of clear faces, what is shown of them (B, 3, S, S), and their rows in `learn` (B,)."""


@dataclass
class Best:
    """The state of a network that found most on the tuning people, and the way there.

    Attributes
    ----------
    path : Path
        Where its weights are kept; a training that goes on compares with what is there.
    network : nn.Module
        What is trained.
    judge : callable
        AUC on the tuning people.
    curve : list of (int, float)
        Steps done and AUC.
    """

    path: Path
    network: nn.Module
    judge: Callable[[], float]
    curve: list[tuple[int, float]] = field(default_factory=list)

    def look(self, steps: int) -> dict[str, float]:
        """Judge the network, and keep it if it is the best so far."""
        self.network.eval()
        value = self.judge()
        self.network.train()
        self.curve.append((steps, value))
        if not self.path.exists() or value > self.value:
            notes = {"auc": repr(value), "steps": str(steps)}
            save_tensors(self.path, self.network.state_dict(), notes)
        return {"auc": value}

    @property
    def value(self) -> float:
        """AUC of what is kept."""
        return float(load_tensors(self.path)[1]["auc"])

    def restore(self) -> None:
        """Give the network the best weights."""
        self.network.load_state_dict(load_tensors(self.path)[0])
        self.network.eval().requires_grad_(False)


def train(
    trial: Trial,
    name: str,
    best: Best,
    loss: Loss,
    plan: Schedule,
    *,
    points: int,
    defence: Defence | None = None,
) -> None:
    """Train the network of `best` on what the defence shows of `trial.learn`.

    Parameters
    ----------
    trial : Trial
        Defence and people.
    name : str
        Of the stage.
    best : Best
        Network and judge; its best state is restored at the end.
    loss : callable
        What is made smaller.
    plan : Schedule
        Length and pace.
    points : int
        Judgements on the way, beside the one before the first step.
    defence : Defence, optional
        Instead of the one attacked.
    """
    crops, network = trial.learn, best.network
    shown = (defence or trial.defence).show
    batches = Batches(len(crops), min(plan.batch, len(crops)), seed=derive_seed(trial.seed, name))
    optimizer = torch.optim.Adam(network.parameters(), lr=plan.learning_rate)
    scheduler = LambdaLR(optimizer, plan.pace)
    others: dict[str, Stateful] = {
        "optimizer": optimizer,
        "scheduler": scheduler,
        "batches": batches,
    }
    done = 0

    def step(number: int) -> Mapping[str, Tensor]:
        nonlocal done
        rows = batches.next()
        noise = [generator_for(trial.seed, name, number, int(row)) for row in rows]
        scenes = reframe(load_scenes(crops, rows.numpy()), trial.framing, noise)
        faces = Faces(scenes.to(trial.device), torch.from_numpy(crops.person[rows.numpy()]), noise)
        with torch.no_grad():
            seen = shown(faces)
        value = loss(faces, seen, rows.to(trial.device))
        descend(value, optimizer, step=number, max_norm=5.0)
        scheduler.step()
        done = number + 1
        return {"loss": value}

    best.look(0)
    fit(
        Stage(name, step, TrainingState({"attack": network}, others)),
        plan.steps,
        folder=trial.folder,
        seed=trial.seed,
        checkpoint_every=trial.checkpoint_every,
        log_every=trial.log_every,
        validate=lambda: best.look(done),
        validate_every=max(1, plan.steps // points),
        progress=trial.progress,
    )
    best.restore()


class Trained(Attack):
    """What attacks that train a probe network against a clear gallery have in common.

    Parameters
    ----------
    training : Schedule
        Steps, batch and peak learning rate.
    rates : sequence of float
        Learning rates tried, times that of `training`: too fast a rate can lose all that a
        recogniser knew, and a failed attack must not pass for protection.
    points : int
        Points of the learning curve after the start.
    """

    actor = "A1"

    def __init__(
        self, training: Schedule, rates: Sequence[float] = (1.0,), points: int = 4
    ) -> None:
        if not rates or min(rates) <= 0 or points < 1:
            raise ValueError(f"rates = {list(rates)}, points = {points}: positive numbers")
        self.training, self.rates, self.points = training, tuple(rates), points

    def budget(self) -> dict[str, Any]:
        """Return steps, and the pictures that are shown in them."""
        steps, batch = self.training.steps, self.training.batch
        return {"steps": steps, "pictures_shown": steps * batch, "rates": list(self.rates)}

    @abstractmethod
    def start(self, trial: Trial) -> Mapping[str, Recognizer]:
        """Return the networks to begin with, by the recogniser whose gallery they are to meet."""

    def run(self, trial: Trial, name: str) -> Outcome:
        """Train on `learn`, choose on `tune`, measure once on `test`."""
        probes: dict[str, Tensor] = {}
        chosen: dict[str, float] = {}
        curve: list[Mapping[str, float]] = []
        people = torch.from_numpy(trial.learn.person).to(trial.device)
        for label, network in self.start(trial).items():
            gallery = trial.gallery(label, trial.learn).to(trial.device)
            tries: list[tuple[float, float, Look]] = []
            for number, rate in enumerate(self.rates):
                attacker = Attacker(network).to(trial.device)
                attacker.enrol(gallery, people)
                stage = f"{name}_{label}_{number}"
                best = Best(
                    trial.folder / f"{stage}.safetensors",
                    attacker,
                    lambda label=label, attacker=attacker: trial.tuned(  # type: ignore[misc]
                        trial.look(trial.tuning, {label: attacker.embed})
                    ),
                )
                plan = replace(self.training, learning_rate=self.training.learning_rate * rate)
                train(trial, stage, best, _identity(attacker), plan, points=self.points)
                tries.append((best.value, rate, attacker.embed))
                curve += [
                    {"rate": rate, "pictures": steps * plan.batch, "auc_tune": value}
                    for steps, value in best.curve
                ]
            value, rate, look = max(tries, key=lambda one: one[0])
            chosen |= {f"{label}_rate": rate, f"{label}_auc_tune": value}
            probes |= trial.look(trial.held, {label: look})
        return Outcome({"frames_1": numbers(trial.verify(probes))}, chosen, tuple(curve))


def _identity(attacker: Attacker) -> Loss:
    def loss(faces: Faces, seen: Tensor, rows: Tensor) -> Tensor:
        out: Tensor = attacker(seen, faces.scenes.landmarks, rows)
        return out

    return loss


class FineTuned(Trained):
    """Public recognisers, each trained further on what is shown of other people."""

    def start(self, trial: Trial) -> Mapping[str, Recognizer]:
        """Return copies of the pool."""
        return {name: copy.deepcopy(network) for name, network in trial.pool.items()}


class FromScratch(Trained):
    """A network that has never seen a clear face, trained on what is shown of other people."""

    def start(self, trial: Trial) -> Mapping[str, Recognizer]:
        """Return a new network for the gallery of the strongest recogniser."""
        name = trial.strongest
        torch.manual_seed(derive_seed(trial.seed, "from scratch"))
        return {name: self.network(trial.pool[name].dimension).to(trial.device)}

    def network(self, dimension: int) -> Recognizer:
        """Return an untrained network with embeddings of `dimension`."""
        return CompactRecognizer(dimension=dimension)
