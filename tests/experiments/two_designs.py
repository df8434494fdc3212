"""A joint and a clear stage in float64, alone or as one of several processes."""

import os
from pathlib import Path

import torch

from anonymizer.regressors import CompactRegressor
from experiments import scene
from experiments.adversary import Attacker, embed_clear
from experiments.cameras import Maker
from experiments.distributed import distributed
from experiments.joint import Design, joint_stage, start_average
from experiments.objectives import (
    HeatmapTerm,
    IdentityTerm,
    InversionTerm,
    ManufacturabilityTerm,
    Objective,
    ScenePower,
)
from experiments.scene import load_scenes
from experiments.stages import JointSchedule, MaskSchedule, Schedule, clear_stage
from experiments.training import fit
from tests.experiments.tiny_codesign import (
    REFERENCE,
    TinyRecognizer,
    rough,
    tiny_camera,
    tiny_crops,
    tiny_setting,
)


def in_double() -> None:
    """Let pictures enter in float64, so that sums in another order differ by 1e-16 only."""
    torch.set_default_dtype(torch.float64)
    scene._LINEAR = scene._LINEAR.double()


def joint_run(folder: Path, steps: int = 3) -> dict[str, torch.Tensor]:
    """Weights of mask, regressor and adversary after a few steps on batches of four."""
    processes = distributed("cpu")
    setting = tiny_setting(processes)
    crops = tiny_crops(people=3, each=4)
    camera = rough(tiny_camera(double=True))
    camera.mask.turns.data = camera.mask.turns.data.double()
    regressor = CompactRegressor(widths=(4, 4)).double()
    if not processes.first:  # on purpose not equal: the first one's must win
        regressor.head.weight.data += 1
    recognizer = TinyRecognizer().double()
    attacker = Attacker(recognizer)
    attacker.enrol(embed_clear(recognizer, crops), torch.from_numpy(crops.person))
    objective = Objective(
        terms={
            "landmarks": HeatmapTerm(),
            "identity": IdentityTerm(weight=2.0),
            "inversion": InversionTerm(),
            "manufacture": ManufacturabilityTerm(),
        }
    )
    power = ScenePower.measure(load_scenes(crops, range(len(crops))))
    objective.prepare(camera, power, REFERENCE)
    design = Design(Maker(camera, camera), regressor, start_average(regressor), objective, attacker)
    plan = JointSchedule(steps=steps, batch=4, learning_rate=1e-3)
    pace = MaskSchedule(steps=0, nodes=1, every=1)
    stage = joint_stage(design, crops, plan, pace, setting, name="joint")
    fit(stage, steps, folder=folder, checkpoint_every=100, log_every=1, progress=False)
    return {
        f"{name}/{key}": value
        for name, module in stage.state.modules.items()
        for key, value in module.state_dict().items()
    }


def clear_run(folder: Path, steps: int = 3) -> dict[str, torch.Tensor]:
    """Weights of the regressor after a few steps on clear pictures."""
    setting = tiny_setting(distributed("cpu"))
    regressor = CompactRegressor(widths=(4, 4)).double()
    plan = Schedule(steps=steps, batch=4, learning_rate=1e-3)
    stage = clear_stage(regressor, HeatmapTerm(), tiny_crops(people=3, each=4), plan, setting)
    fit(stage, steps, folder=folder, checkpoint_every=100, log_every=1, progress=False)
    return {f"regressor/{k}": v for k, v in regressor.state_dict().items()}


def design_as(variables: dict[str, str], folder: Path) -> None:
    """Run both as the process that `variables` of torchrun describe."""
    os.environ.update(variables)
    torch.set_num_threads(1)
    alone(folder)


def alone(folder: Path) -> dict[str, torch.Tensor]:
    """Run both stages from equal starts."""
    before = torch.get_default_dtype(), scene._LINEAR
    in_double()
    try:
        torch.manual_seed(0)
        joint_weights = joint_run(folder)
        torch.manual_seed(1)
        return joint_weights | {f"clear/{k}": v for k, v in clear_run(folder).items()}
    finally:
        torch.set_default_dtype(before[0])
        scene._LINEAR = before[1]
