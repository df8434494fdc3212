"""A small training in float64, alone or as one of several processes."""

import os
from pathlib import Path

import torch
from torch import nn

from experiments import composing, settings
from experiments.checkpoints import TrainingState
from experiments.distributed import distributed, wait_for_all
from experiments.launch import run_job
from experiments.sampling import Batches
from experiments.store import save_json
from experiments.training import Stage, descend, fit, moving_average


def train(folder: Path, batch: int, steps: int = 12) -> nn.Module:
    processes = distributed("cpu")
    torch.manual_seed(processes.rank)  # on purpose not equal: the first one's must win
    net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2)).double()
    torch.manual_seed(0)
    if processes.first:
        net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2)).double()
    average = moving_average(net, 0.5)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    data = torch.randn(21, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    batches = Batches(len(data), batch, seed=2, processes=processes)

    def step(done):
        x = data[batches.next()]
        noise = processes.share(0.1 * torch.randn(batch, 5, dtype=torch.float64))
        loss = (net(x + noise) - x[:, :2]).square().mean()
        descend(loss, optimizer, step=done, max_norm=1.0)
        average.update_parameters(net)
        return {"error": loss}

    state = TrainingState({"net": net, "average": average}, {"optimizer": optimizer, "b": batches})
    fit(
        Stage("s", step, state),
        steps,
        folder=folder,
        checkpoint_every=5,
        log_every=1,
        progress=False,
    )
    return average


def train_as(variables: dict[str, str], folder: Path, batch: int) -> None:
    """Train as the process that `variables` of torchrun describe."""
    os.environ.update(variables)
    torch.set_num_threads(1)
    train(folder, batch)


def shine_as(variables: dict[str, str], folder: Path) -> None:
    """Run the example job as the process that `variables` of torchrun describe."""
    os.environ.update(variables)
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    for module in (settings, composing):
        module.OWN_PACKAGES = (*settings.OWN_PACKAGES, "tests")
    run_job("shine", only_first, config_module="tests.experiments.example", arguments=[])


def only_first(settings: settings.Settings, folder: Path) -> None:
    if distributed("cpu").first:
        save_json(folder / "metrics.json", settings["steps"])
    wait_for_all()
