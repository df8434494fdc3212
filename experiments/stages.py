"""What the stages of a co-design run do in one step.

clear       the regressor learns on clear pictures
baseline    the clear regressor adapts to another camera
attacker    a recogniser learns to see through one finished camera

(the mask's own stages are in `experiments.joint`)

Each maker returns a `Stage` for `experiments.training.fit`. All random draws of a step depend on
(seed, stage, step, picture) alone, so a step can be made again anywhere, on any number of
processes.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from anonymizer.regressors import Heatmaps
from experiments.adversary import Attacker
from experiments.checkpoints import Stateful, TrainingState
from experiments.data.crops import FaceCrops
from experiments.distributed import Processes
from experiments.objectives import HeatmapTerm
from experiments.sampling import Batches, derive_seed
from experiments.scene import (
    Framing,
    Scenes,
    generator_for,
    load_scenes,
    network_view,
    observe,
    reframe,
)
from experiments.training import Stage, autocast, descend
from optics import Camera


def warm_cosine(step: int, steps: int) -> float:
    """Factor on a learning rate: linear over the first 5 % of `steps`, then a half cosine."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))) + 1e-3


@dataclass(frozen=True)
class Schedule:
    """Length and pace of one stage.

    Attributes
    ----------
    steps : int
        Optimisation steps.
    batch : int
        Pictures per step, over all processes.
    learning_rate : float
        Peak learning rate of the network; warms up over 5 % of the steps, then falls as a cosine.
    """

    steps: int
    batch: int
    learning_rate: float

    def __post_init__(self) -> None:
        if self.steps < 0 or self.batch < 1 or not 0 < self.learning_rate < 1:
            raise ValueError(
                f"steps = {self.steps}, batch = {self.batch}, learning_rate = "
                f"{self.learning_rate:g}: steps >= 0, batch >= 1 and 0 < learning_rate < 1"
            )

    def pace(self, step: int) -> float:
        """Factor on the learning rate after `step` steps."""
        return warm_cosine(step, self.steps)


@dataclass(frozen=True)
class MaskSchedule:
    """Pace of a mask.

    Attributes
    ----------
    steps : int
        Steps on the mask alone, before any picture is looked at.
    height_rate : float
        Learning rate of the free heights [turns].
    spread_rate : float
        Learning rate of the logarithm of the spread, and of other coefficients.
    nodes : int
        Random wavelengths per colour channel in a step.
    every : int
        Beside the networks, the mask moves in every so many steps; they need many small ones, it
        a few well-determined ones.
    """

    steps: int
    height_rate: float = 1e-2
    spread_rate: float = 2e-3
    nodes: int = 4
    every: int = 4

    def __post_init__(self) -> None:
        if self.steps < 0 or self.nodes < 1 or self.every < 1:
            raise ValueError(
                f"steps = {self.steps}, nodes = {self.nodes}, every = {self.every}: steps >= 0, "
                f"nodes >= 1 and every >= 1"
            )
        if min(self.height_rate, self.spread_rate) < 0:
            raise ValueError(
                f"height_rate = {self.height_rate:g}, spread_rate = {self.spread_rate:g}: zero or "
                f"positive rates are needed"
            )

    def groups(self, camera: Camera, scale: float = 1.0) -> list[dict[str, Any]]:
        """Optimiser groups of the mask's parameters, rates times `scale`."""
        heights: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for name, parameter in camera.mask.named_parameters():
            (heights if name == "turns" else others).append(parameter)
        pairs = ((heights, self.height_rate), (others, self.spread_rate))
        return [{"params": p, "lr": scale * rate} for p, rate in pairs if p]


@dataclass(frozen=True)
class JointSchedule(Schedule):
    """Pace of the joint stage.

    Attributes
    ----------
    mask_scale : float
        The mask's learning rates, relative to those on its own.
    adversary_rate : float
        Learning rate of the adversary.
    adversary_steps : int
        Adversary steps per step.
    """

    mask_scale: float = 0.2
    adversary_rate: float = 2e-4
    adversary_steps: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.mask_scale, self.adversary_rate) < 0 or self.adversary_steps < 1:
            raise ValueError(
                f"mask_scale = {self.mask_scale:g}, adversary_rate = {self.adversary_rate:g}, "
                f"adversary_steps = {self.adversary_steps}: rates >= 0 and adversary_steps >= 1"
            )


@dataclass(frozen=True)
class Setting:
    """What every stage of one run shares.

    Attributes
    ----------
    framing : Framing
        How faces are framed.
    nearest, farthest : float
        Range of distances, drawn log-uniformly [m].
    reference : float
        Distance at which results are compared [m].
    field : float
        Largest tangent of the chief ray to a face; training draws it evenly over the disc.
    seed : int
        Seed of the run.
    processes : Processes
        Who computes where.
    """

    framing: Framing
    nearest: float
    farthest: float
    reference: float
    field: float
    seed: int
    processes: Processes

    def __post_init__(self) -> None:
        if not 0 <= self.field < 1:
            raise ValueError(
                f"field = {self.field:g}: a tangent from 0 (faces on the axis) to below 1 is needed"
            )
        if not 0 < self.nearest <= self.reference <= self.farthest:
            raise ValueError(
                f"nearest = {self.nearest:g} m, reference_distance = {self.reference:g} m, "
                f"farthest = {self.farthest:g} m: they must be positive and in this order"
            )

    def batch(self, crops: FaceCrops, rows: Tensor, stage: str, step: int) -> "Batch":
        """Load, frame and place the pictures `rows` for one step."""
        sources = [generator_for(self.seed, stage, step, int(row)) for row in rows]
        scenes = reframe(load_scenes(crops, rows.numpy()), self.framing, sources)
        return Batch(scenes.to(self.processes.device), sources, rows.to(self.processes.device))

    def grid(self, count: int = 5) -> list[float]:
        """Distances spread evenly in their logarithm over the range [m]."""
        ratio = self.farthest / self.nearest
        return [self.nearest * ratio ** (i / (count - 1)) for i in range(count)]

    def field_point(self, generator: torch.Generator) -> tuple[float, float]:
        """Draw one field point (y, x), even over the disc of the field."""
        if self.field == 0:
            return 0.0, 0.0
        area, turn = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
        radius = self.field * math.sqrt(area)
        return radius * math.sin(2 * math.pi * turn), radius * math.cos(2 * math.pi * turn)

    def distance(self, generator: torch.Generator) -> float:
        """Draw one distance, uniform in its logarithm [m]."""
        share = torch.rand((), generator=generator).item()
        return float(self.nearest * (self.farthest / self.nearest) ** share)


@dataclass(frozen=True)
class Batch:
    """Pictures of one step, their noise sources and their rows in the data."""

    scenes: Scenes
    sources: Sequence[torch.Generator]
    rows: Tensor


@dataclass(frozen=True)
class StaticCamera:
    """A finished camera with its PSFs at fixed distances.

    Attributes
    ----------
    camera : Camera
        Scale and sensor.
    psfs : mapping of float to Tensor
        PSF (3, h, w) by distance [m].
    """

    camera: Camera
    psfs: Mapping[float, Tensor]

    def look(self, batch: "Batch", generator: torch.Generator, favourite: float | None) -> Tensor:
        """Measure `batch` (B, 3, S, S) at a random distance, half of the time at `favourite`."""
        distances = sorted(self.psfs)
        pick, fair = torch.rand(2, generator=generator).tolist()
        distance = distances[int(pick * len(distances))]
        if favourite is not None and fair < 0.5:
            distance = favourite
        with torch.no_grad():
            seen = observe(self.camera, self.psfs[distance], batch.scenes, distance, batch.sources)
            return network_view(seen, batch.scenes.size)


class Recorder(Protocol):
    """Records batches: a finished camera, or one with something behind it."""

    def look(self, batch: Batch, generator: torch.Generator, favourite: float | None) -> Tensor:
        """Return what became of `batch` (B, 3, S, S), as `StaticCamera.look` does."""
        ...


def clear_stage(
    regressor: nn.Module, utility: HeatmapTerm, crops: FaceCrops, plan: Schedule, setting: Setting
) -> Stage:
    """Stage "clear": landmarks on clear pictures, as the networks see them."""

    def look(batch: Batch, generator: torch.Generator) -> Tensor:
        return batch.scenes.light

    return _regressor_stage("clear", regressor, utility, crops, plan, setting, look)


def baseline_stage(
    name: str,
    fixed: StaticCamera,
    regressor: nn.Module,
    utility: HeatmapTerm,
    crops: FaceCrops,
    plan: Schedule,
    setting: Setting,
) -> Stage:
    """Stage "baseline_<name>": landmarks on the measurements of a fixed camera."""

    def look(batch: Batch, generator: torch.Generator) -> Tensor:
        return fixed.look(batch, generator, None)

    return _regressor_stage(f"baseline_{name}", regressor, utility, crops, plan, setting, look)


def _regressor_stage(
    name: str,
    regressor: nn.Module,
    utility: HeatmapTerm,
    crops: FaceCrops,
    plan: Schedule,
    setting: Setting,
    look: Callable[[Batch, torch.Generator], Tensor],
) -> Stage:
    batches = shuffled(len(crops), plan, setting, name)
    optimizer, scheduler, state = _learner("regressor", regressor, plan, batches)

    def step(done: int) -> Mapping[str, Tensor]:
        batch = setting.batch(crops, batches.next(), name, done)
        with torch.no_grad():
            seen = look(batch, generator_for(setting.seed, name, done))
        with autocast(setting.processes.device):
            heatmaps: Heatmaps = regressor(seen)
        loss = utility.compare(heatmaps, batch.scenes.landmarks, batch.scenes.size)
        descend(loss, optimizer, step=done, max_norm=5.0)
        scheduler.step()
        return {"landmarks": loss}

    return Stage(name, step, state)


def attacker_stage(
    name: str,
    fixed: Recorder,
    attacker: Attacker,
    crops: FaceCrops,
    plan: Schedule,
    setting: Setting,
) -> Stage:
    """Stage `name`: fine-tune a recogniser on measurements of a finished camera.

    Half of the steps are at the reference distance, the others anywhere in the range. `attacker`
    is enrolled with `crops` in their order.
    """
    batches = shuffled(len(crops), plan, setting, name)
    optimizer, scheduler, state = _learner("attacker", attacker, plan, batches)

    def step(done: int) -> Mapping[str, Tensor]:
        batch = setting.batch(crops, batches.next(), name, done)
        draw = generator_for(setting.seed, name, done)
        seen = fixed.look(batch, draw, setting.reference)
        loss = attacker(seen, batch.scenes.landmarks, batch.rows)
        descend(loss, optimizer, step=done, max_norm=5.0)
        scheduler.step()
        return {"identity": loss}

    return Stage(name, step, state)


@torch.no_grad()
def attack_loss(
    attacker: Attacker, fixed: StaticCamera, crops: FaceCrops, setting: Setting, most: int = 192
) -> float:
    """Mean cross entropy of an attacker at the reference distance, on `most` pictures [nat].

    The pictures, their framing and their noise are the same for every attacker.
    """
    chosen = torch.linspace(0, len(crops) - 1, min(most, len(crops))).round().long()
    psf = fixed.psfs[setting.reference]
    losses = []
    for number, rows in enumerate(torch.split(chosen, 32)):
        batch = setting.batch(crops, rows, "attack_loss", number)
        seen = observe(fixed.camera, psf, batch.scenes, setting.reference, batch.sources)
        seen = network_view(seen, batch.scenes.size)
        losses.append(float(attacker(seen, batch.scenes.landmarks, batch.rows)))
    return sum(losses) / len(losses)


def _learner(
    role: str, network: nn.Module, plan: Schedule, batches: Batches
) -> tuple[torch.optim.Adam, LambdaLR, TrainingState]:
    """Return optimiser, schedule and everything a stage with one network must keep."""
    optimizer = torch.optim.Adam(network.parameters(), lr=plan.learning_rate)
    scheduler = LambdaLR(optimizer, plan.pace)
    others: dict[str, Stateful] = {
        "optimizer": optimizer,
        "scheduler": scheduler,
        "batches": batches,
    }
    return optimizer, scheduler, TrainingState({role: network}, others)


def shuffled(examples: int, plan: Schedule, setting: Setting, name: str) -> Batches:
    """Batches of a stage in its own order, at most as large as the data."""
    return Batches(
        examples,
        min(plan.batch, examples),
        seed=derive_seed(setting.seed, name),
        processes=setting.processes,
    )
