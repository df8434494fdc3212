"""Train a linear layer in float64, alone or under torchrun's variables: FOLDER BATCH."""

import sys
from pathlib import Path

import torch
from torch import nn

from experiments.checkpoints import TrainingState
from experiments.distributed import distributed
from experiments.sampling import Batches
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


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(Path(sys.argv[1]), int(sys.argv[2]))
