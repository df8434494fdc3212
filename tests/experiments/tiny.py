"""A small training that uses every kind of state."""

import os
import random
import threading
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from experiments.checkpoints import TrainingState
from experiments.sampling import Batches
from experiments.training import Stage, descend, fit, moving_average

DATA = torch.randn(23, 3, 6, 4, generator=torch.Generator().manual_seed(5))


class Tiny:
    """Convolution, batch norm, dropout, AdamW, cosine schedule, average, four random sources."""

    def __init__(self) -> None:
        torch.manual_seed(1)
        self.net = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.3), nn.Conv2d(4, 3, 1)
        )
        self.average = moving_average(self.net, 0.9)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), 1e-2)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 60)
        self.batches = Batches(len(DATA), 4, seed=3)
        self.noise = torch.Generator().manual_seed(7)
        self.draws = np.random.default_rng(11)

    @property
    def state(self) -> TrainingState:
        return TrainingState(
            {"net": self.net, "average": self.average},
            {"optimizer": self.optimizer, "schedule": self.schedule, "batches": self.batches},
            {"noise": self.noise, "draws": self.draws},
        )

    def step(self, step: int) -> dict[str, torch.Tensor]:
        images = DATA[self.batches.next()]
        images = images.flip(-1) if random.random() < 0.5 else images
        images = images + 0.1 * torch.randn(images.shape, generator=self.noise)
        scale = 1 + 0.1 * float(self.draws.normal()) + 0.1 * np.random.standard_normal()  # noqa: NPY002
        loss = (self.net(images * scale) - images).square().mean()
        descend(loss, self.optimizer, step=step)
        self.schedule.step()
        self.average.update_parameters(self.net)
        return {"error": loss}

    def weights(self) -> torch.Tensor:
        """Return everything that was learned as one vector."""
        modules = (self.net, self.average)
        return torch.cat([t.double().flatten() for m in modules for t in m.state_dict().values()])


def train(folder: Path, steps: int, every: int = 5) -> Tiny:
    torch.set_num_threads(1)
    tiny = Tiny()
    fit(
        Stage("tiny", tiny.step, tiny.state),
        steps,
        folder=folder,
        checkpoint_every=every,
        log_every=1,
        progress=False,
    )
    return tiny


def train_unsynced(folder: Path, steps: int, every: int) -> None:
    """Train in a process that will be killed; the disk need not be waited for."""
    os.fsync = lambda handle: None
    tqdm.set_lock(threading.RLock())  # its own lock would be left behind
    train(folder, steps, every)
