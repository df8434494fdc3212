"""An anonymizer, people and a camera so small that a step takes tens of milliseconds."""

import os
import threading
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from anonymizer.regressors import Heatmaps
from anonymizer.stargan import Anonymizer, Discriminator
from anonymizer.stargan.terms import Judges
from experiments import anonymize
from experiments.anonymizing import Trainee, anonymizer_stage, build_recipe, make_trainee
from experiments.composing import compose
from experiments.distributed import distributed
from experiments.launch import run_job
from experiments.observer import Observer, Resized
from experiments.scene import Framing
from experiments.settings import to_si
from experiments.stages import Schedule, StaticCamera
from experiments.style_sources import People
from experiments.training import fit
from tests.experiments.tiny_codesign import (
    SIZE,
    TinyRecognizer,
    tiny_camera,
    tiny_crops,
    tiny_regressor,
    tiny_setting,
)

SIDE = 64

#: The real job on the pictures and the camera of the tiny co-design run.
OVERRIDES = [
    "budget=small", "width=0.03125", "hidden=8", "data.people=8", "data.images_per_person=3",
    "data.workers=1", "training.steps=3", "training.batch=2", "samples=2", "samples_every=3",
    "references=1", "recipe.passes.mixture.references=2", "recipe.penalty_every=2",
    "checkpoint_every=1", "log_every=1", "progress=false", "device=cpu", "cache=cache",
]  # fmt: skip


class Sharp(nn.Module):
    """A landmark network that is sure of what it sees, untrained as it is."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, pictures):
        seen = self.network(pictures)
        return Heatmaps(40 * seen.logits, seen.boundary, seen.size)


class Shift(nn.Module):
    """A motion that follows the brightness of two pictures, for want of a flow network."""

    def forward(self, first, second):
        difference = (second - first).mean(1, keepdim=True)
        return torch.cat((difference, 2 * difference), 1)


class Distance(nn.Module):
    """Mean absolute difference, for want of a perceptual network."""

    def forward(self, first, second):
        return (first - second).abs().mean((1, 2, 3))


def recipe(name: str, **changes):
    settings = to_si(compose("anonymize", [f"recipe={name}", "budget=small"]))
    settings["recipe"].pop("ramps", None)  # all terms from the first step on
    node = settings["recipe"]
    node.update(changes)
    if name == "veilens":
        node["passes"]["mixture"]["references"] = 2
    return settings, build_recipe(node)


def observer() -> Observer:
    """The tiny camera, its regressor and its landmark network of clear pictures."""
    camera = tiny_camera()
    with torch.no_grad():
        psfs = camera.psf([0.75, 1.5])
    regressors = [tiny_regressor(seed).requires_grad_(False).eval() for seed in (0, 1)]
    return Observer(
        camera=StaticCamera(camera, {0.75: psfs[0], 1.5: psfs[1]}),
        regressor=Sharp(regressors[0]),
        clear=Resized(Sharp(regressors[1]), SIZE),
        regressor_size=SIZE,
        pool={"tiny": TinyRecognizer()},
        name="tiny",
    )


def people(domains: int = 1) -> People:
    crops = tiny_crops(people=4, each=3, size=SIDE)
    return People(crops, np.asarray(crops.person % domains))


def trainee(name: str, made, *, domains: int = 1, judges: Judges | None = None) -> Trainee:
    settings, _ = recipe(name)
    described = dict(settings["networks"]) | {"width": 1 / 32, "hidden": 8, "domains": domains}
    described.pop("_target_")
    torch.manual_seed(0)
    anonymizer = Anonymizer(**described)
    discriminator = Discriminator(size=SIDE, width=1 / 32, domains=domains)
    looks = observer()
    judges = judges or Judges(looks.pool["tiny"], looks.clear, Shift(), Distance())
    return make_trainee(anonymizer, discriminator, judges, made)


def stage(name: str, *, batch: int = 2, domains: int = 1, **changes):
    """Stage of a recipe, and its networks."""
    _, made = recipe(name, **changes)
    networks = trainee(name, made, domains=domains)
    setting = tiny_setting(distributed("cpu"), framing=Framing(0.02, 0.02, 0.02, flip=True))
    plan = Schedule(steps=4, batch=batch, learning_rate=1e-3)
    return anonymizer_stage(networks, made, observer(), people(domains), plan, setting), networks


def train(folder: Path, steps: int = 3, name: str = "veilens"):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    made, networks = stage(name, batch=4)
    fit(made, steps, folder=folder, checkpoint_every=1, log_every=1, progress=False)
    return networks


def train_as(variables: dict[str, str], folder: Path) -> None:
    """Train as the process that `variables` of torchrun describe."""
    os.environ.update(variables)
    train(folder)


def train_unsynced(folder: Path, steps: int) -> None:
    """Train in a process that will be killed; the disk need not be waited for."""
    os.fsync = lambda handle: None
    tqdm.set_lock(threading.RLock())  # its own lock would be left behind
    train(folder, steps)


def run(folder: Path, arguments: list[str]) -> None:
    """Run the job."""
    os.fsync = lambda handle: None
    torch.set_num_threads(1)
    tqdm.set_lock(threading.RLock())
    os.chdir(folder)
    run_job("anonymize", anonymize.main, check=anonymize.check, arguments=arguments)
