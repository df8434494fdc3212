"""The one loop that trains every protection; what a method wants to lessen is its own affair."""

import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from anonymizer.checkpoints import fill
from anonymizer.protection import Protection
from anonymizer.protection.training import FaceBatch, Trainable
from experiments.checkpoints import Stateful, TrainingState
from experiments.data.crops import FaceCrops
from experiments.distributed import distributed
from experiments.faces_in_pictures import Square, cut_squares
from experiments.judging import join, open_crops
from experiments.runs import find_run
from experiments.sampling import derive_seed
from experiments.settings import Settings, SettingsError, build
from experiments.stages import Schedule
from experiments.store import load_tensors, save_tensors
from experiments.training import Stage, descend, fit, moving_average

NAME = "protection"
WEIGHTS = "protection.safetensors"


def train(
    settings: Settings, network: Protection, size: int, frame: float, run: Path
) -> dict[str, Any]:
    """Train a method on the training people of `data`, and write its averaged weights.

    Returns
    -------
    dict
        Numbers for `metrics.json`.
    """
    torch.manual_seed(derive_seed(settings["seed"], NAME))
    parts = open_crops(settings["data"], settings).split()
    crops = join(parts["train"], parts["attacker"])
    trainable = build_trainable(settings, network)
    plan: Schedule = build(settings["training"])
    stage = training_stage(trainable, crops, size, frame, settings)
    fit(
        stage,
        plan.steps,
        folder=run,
        seed=settings["seed"],
        checkpoint_every=settings["checkpoint_every"],
        log_every=settings["log_every"],
        progress=settings["progress"],
    )
    average = stage.state.modules["average"].get_submodule("module")
    weights = average.state_dict()
    save_tensors(run / WEIGHTS, weights, {"method": type(network).__name__, "size": str(size)})
    people = len(np.unique(crops.person))
    return {
        "steps": plan.steps,
        "n_images": len(crops),
        "n_people": people,
        "weights_bytes": (run / WEIGHTS).stat().st_size,
    }


def build_trainable(settings: Mapping[str, Any], network: Protection) -> Trainable:
    """Build what trains a method; SettingsError if it trains another kind of method."""
    if "trainable" not in settings:
        raise SettingsError(
            "method: nothing of that name is there to train it with; methods that learn have a "
            "file in configs/trainable, such as method=proface_s"
        )
    node = Settings(settings["trainable"], "trainable")
    target = build(Settings({**node, "_partial_": True}, "trainable")).func
    wanted = typing.get_type_hints(target.__init__)["protection"]
    if not isinstance(network, wanted):
        raise SettingsError(
            f"trainable: {target.__name__} trains a {wanted.__name__}, but method is a "
            f"{type(network).__name__}; choose both alike, such as method=proface_s "
            f"trainable=proface_s"
        )
    trainable: Trainable = build(node, protection=network)
    return trainable


def training_stage(
    trainable: Trainable, crops: FaceCrops, size: int, frame: float, settings: Settings
) -> Stage:
    """Stage "protection": in every step each player lessens its losses on the same faces."""
    plan: Schedule = build(settings["training"])
    processes = distributed(settings["device"])
    trainable.protection.requires_grad_(True)
    trainable.to(processes.device).train()
    person = torch.from_numpy(np.unique(crops.person, return_inverse=True)[1])
    average = moving_average(trainable.protection.learned, settings["average"])
    players = trainable.players()
    optimizers = {
        name: torch.optim.Adam(module.parameters(), lr=plan.learning_rate, betas=(0.5, 0.999))
        for name, module in players.items()
    }
    paces = {name: LambdaLR(one, plan.pace) for name, one in optimizers.items()}

    def step(done: int) -> Mapping[str, Tensor]:
        chance = torch.Generator().manual_seed(derive_seed(settings["seed"], f"{NAME} {done}"))
        rows = trainable.draw(person, plan.batch, chance)
        batch = load_batch(crops, person, processes.share(rows), size, frame)
        here = FaceBatch(batch.faces.to(processes.device), batch.person.to(processes.device))
        terms: dict[str, Tensor] = {}
        for name, optimizer in optimizers.items():
            own = trainable.losses(here, chance, player=name)
            descend(torch.stack(list(own.values())).sum(), optimizer, step=done, max_norm=5.0)
            paces[name].step()
            terms |= {term if name == NAME else f"{name}/{term}": v for term, v in own.items()}
        average.update_parameters(trainable.protection.learned)
        return terms

    others: dict[str, Stateful] = {f"optimizer_{name}": one for name, one in optimizers.items()}
    others |= {f"pace_{name}": one for name, one in paces.items()}
    return Stage(NAME, step, TrainingState({"trainable": trainable, "average": average}, others))


def load_batch(
    crops: FaceCrops, person: Tensor, rows: Tensor, size: int, frame: float
) -> FaceBatch:
    """Return the faces of `rows` (B, P), squares of `size` px around their true landmarks."""
    faces = []
    for row in rows.flatten().tolist():
        square = Square.around(torch.from_numpy(crops.landmarks[row]), frame=frame)
        faces.append(cut_squares(crops.images[row], [square], size)[0])
    shape = (*rows.shape, 3, size, size)
    return FaceBatch(torch.stack(faces).reshape(shape), person[rows])


def untrained(node: Mapping[str, Any]) -> Protection:
    """Build the method of `node` without the weights that the node may name."""
    network: Protection = build(node.get("method", node))
    return network


class NoWeights(SettingsError):
    """A method that learns has learned nothing."""


def require_weights(network: Protection) -> None:
    """Refuse a method that learns and has learned nothing.

    Raises
    ------
    NoWeights
        Its numbers are random still: whoever loads weights freezes them.
    """
    if any(weight.requires_grad for weight in network.learned.parameters()):
        raise NoWeights(
            f"method: no weights of this {type(network).__name__} come with the package; train "
            f"it (what=train, then trained=<run>), or choose one of configs/method that names a "
            f"file"
        )


def load_trained(network: Protection, which: str) -> None:
    """Fill a method with the weights of a run of what=train: its folder, or latest."""
    path = find_run("protect", which) / WEIGHTS
    tensors, _ = load_tensors(path)
    fill(network.learned, network.translate(tensors), path)
