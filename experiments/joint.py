"""The stages that move the mask: alone first, then together with regressor and adversary."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from anonymizer.regressors import Heatmaps
from experiments.adversary import Attacker, measure_identity
from experiments.cameras import Maker
from experiments.checkpoints import Stateful, TrainingState
from experiments.data.crops import FaceCrops
from experiments.objectives import HeatmapTerm, MaskView, Objective, StepView
from experiments.scene import generator_for, network_view, observe
from experiments.stages import JointSchedule, MaskSchedule, Setting, shuffled, warm_cosine
from experiments.training import Stage, autocast, descend, moving_average


@dataclass(frozen=True)
class Design:
    """What is learned together.

    Attributes
    ----------
    maker : Maker
        Makes the camera whose mask is learned, with the errors of its process.
    regressor : nn.Module
        Landmark network.
    average : nn.Module
        Moving average of the regressor, the one that is kept.
    objective : Objective
        What is minimised.
    attacker : Attacker or None
        Identity adversary, enrolled with the training pictures in their order.
    """

    maker: Maker
    regressor: nn.Module
    average: AveragedModel
    objective: Objective
    attacker: Attacker | None


def mask_stage(
    maker: Maker, objective: Objective, plan: MaskSchedule, setting: Setting, *, name: str
) -> Stage:
    """Stage `name`: shape the mask alone, by the terms that need no picture.

    Half of the steps are at the reference distance, the others anywhere in the range. Finding
    the spot first and teaching the networks afterwards beats starting both at once.
    """
    mask = maker.design.mask
    optimizer = torch.optim.Adam(plan.groups(maker.design), betas=(0.9, 0.99))
    scheduler = LambdaLR(optimizer, lambda step: warm_cosine(step, plan.steps))

    def step(done: int) -> Mapping[str, Tensor]:
        draw = generator_for(setting.seed, name, done)
        distance = setting.distance(draw) if done % 2 else setting.reference
        field = setting.field_point(draw)
        mask.anneal(0.5 * done / plan.steps)  # the joint stage has the other half
        camera = maker.draw(draw)
        psf = camera.psf([distance], fields=[field], nodes=plan.nodes, generator=draw)[0, 0]
        terms = objective.of_mask(MaskView(camera, psf))
        total = torch.stack([value.to(torch.float32) for value in terms.values()]).sum()
        descend(total, optimizer, step=done)
        scheduler.step()
        return {"total": total, **terms}

    others: dict[str, Stateful] = {"optimizer": optimizer, "scheduler": scheduler}
    return Stage(name, step, TrainingState({"mask": mask}, others))


def joint_stage(
    design: Design,
    crops: FaceCrops,
    plan: JointSchedule,
    pace: MaskSchedule,
    setting: Setting,
    *,
    name: str,
) -> Stage:
    """Stage `name`: PrivHAR's alternation, at a random distance and random wavelengths.

    Per step: one descent of the regressor, in every few steps together with the mask on the
    whole objective; then the adversary's own descents on the same measurement, without the
    mask's gradient.
    """
    maker, attacker, objective = design.maker, design.attacker, design.objective
    batches = shuffled(len(crops), plan, setting, name)
    networks = {"params": list(design.regressor.parameters()), "lr": plan.learning_rate}
    optimizer = torch.optim.Adam([*pace.groups(maker.design, plan.mask_scale), networks])
    scheduler = LambdaLR(optimizer, plan.pace)
    others: dict[str, Stateful] = {
        "optimizer": optimizer,
        "scheduler": scheduler,
        "batches": batches,
    }
    modules = {
        "mask": maker.design.mask,
        "regressor": design.regressor,
        "average": design.average,
    }
    if attacker is not None:
        learner = torch.optim.Adam(attacker.parameters(), lr=plan.adversary_rate)
        others["adversary"] = learner
        modules["adversary"] = attacker
    utility = HeatmapTerm()

    def step(done: int) -> Mapping[str, Tensor]:
        draw = generator_for(setting.seed, name, done)
        distance = setting.distance(draw)
        batch = setting.batch(crops, batches.next(), name, done)
        field = [setting.field_point(draw)]
        maker.design.mask.anneal(0.5 + 0.5 * done / plan.steps)
        camera = maker.draw(draw)
        moves = (done + 1) % pace.every == 0
        with torch.set_grad_enabled(moves):
            nodes = pace.nodes if moves else 1
            psf = camera.psf([distance], fields=field, nodes=nodes, generator=draw)[0, 0]
            seen = observe(camera, psf, batch.scenes, distance, batch.sources)
            seen = network_view(seen, batch.scenes.size)
        with autocast(setting.processes.device):
            heatmaps: Heatmaps = design.regressor(seen)
        terms: dict[str, Tensor] = {}
        if moves:
            chance = attacker.chance if attacker is not None else 1.0
            identity = None
            if attacker is not None:
                identity = measure_identity(attacker, seen, batch.scenes, batch.rows)
            terms = objective(
                StepView(
                    camera=camera,
                    psf=psf,
                    scenes=batch.scenes,
                    measurement=seen,
                    heatmaps=heatmaps,
                    identity_loss=identity,
                    identity_chance=chance,
                )
            )
            total = torch.stack([value.to(torch.float32) for value in terms.values()]).sum()
            terms = {"total": total, **terms}
        else:
            total = utility.compare(heatmaps, batch.scenes.landmarks, batch.scenes.size)
            terms = {"regressor": total}
        descend(total, optimizer, step=done, max_norm=10.0)
        scheduler.step()
        design.average.update_parameters(design.regressor)
        if attacker is not None:
            fixed = seen.detach()
            for _ in range(plan.adversary_steps):
                loss = attacker(fixed, batch.scenes.landmarks, batch.rows)
                descend(loss, learner, step=done, max_norm=5.0)
            terms["adversary"] = loss.detach() / attacker.chance
        return terms

    return Stage(name, step, TrainingState(modules, others))


def start_average(regressor: nn.Module, decay: float = 0.99) -> AveragedModel:
    """Return a moving average that starts as a copy of `regressor`."""
    return moving_average(copy.deepcopy(regressor), decay)
