"""Several processes training as one, under torchrun: who am I, and what do we all agree on.

Every process draws the same random numbers, sees its own rows of the same global batch
(`Processes.share`), and averages its gradients with the others before each optimiser step, so
that the result is that of one process on the whole batch. One process needs none of this: all
functions then do nothing.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Processes:
    """The processes of this job.

    Attributes
    ----------
    rank : int
        Number of this process; 0 writes the files.
    world : int
        How many there are.
    device : torch.device
        Where this process computes.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes logs and files."""
        return self.rank == 0

    def share(self, batch: Tensor) -> Tensor:
        """Return this process's rows of a global batch (B, ...), whose B they divide."""
        if len(batch) % self.world:
            raise ValueError(
                f"batch = {len(batch)} cannot be shared equally by {self.world} processes; "
                f"make it a multiple of {self.world}"
            )
        return batch[self.rank :: self.world]


def distributed(device: str = "auto") -> Processes:
    """Join the other processes of a torchrun launch, or be the only one.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda"}
        Where to compute; "auto" takes a GPU if there is one.

    Raises
    ------
    ValueError
        "cuda" without a usable GPU.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device = {device!r}, expected auto, cpu or cuda")
    gpu = torch.cuda.is_available()
    if device == "cuda" and not gpu:
        raise ValueError("device = 'cuda', but this machine has no usable GPU; use device=cpu")
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if gpu and device != "cpu":
        place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(place)
    else:
        place = torch.device("cpu")
    _join(world)
    return Processes(rank, world, place)


def _join(world: int) -> None:
    if world > 1 and not dist.is_initialized():
        # Both at once: tensors of either device can be exchanged, whatever the job computes on.
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")


def agreed_time() -> datetime:
    """Return the time of the first process, to the second, in every process (UTC)."""
    _join(int(os.environ.get("WORLD_SIZE", "1")))
    now = torch.tensor([int(datetime.now(UTC).timestamp())])
    if world_size() > 1:
        dist.broadcast(now, 0)
    return datetime.fromtimestamp(now.item(), UTC)


def world_size() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Return whether this process is the one that writes."""
    return not dist.is_initialized() or dist.get_rank() == 0


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace every gradient by its mean over the processes."""
    _average([p.grad for p in parameters if p.grad is not None])


def average(values: Tensor) -> Tensor:
    """Return the mean of `values` over the processes."""
    values = values.detach().clone()
    _average([values])
    return values


def _average(tensors: list[Tensor]) -> None:
    world = world_size()
    if world == 1:
        return
    for kind in {(t.dtype, t.device) for t in tensors}:
        same = [t for t in tensors if (t.dtype, t.device) == kind]
        flat = torch.cat([_real(t).flatten() for t in same])
        dist.all_reduce(flat)
        flat /= world
        position = 0
        for tensor in same:
            real = _real(tensor)
            real.copy_(flat[position : position + real.numel()].view_as(real))
            position += real.numel()


def _real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def start_equal(modules: Iterable[nn.Module]) -> None:
    """Give every process the parameters and buffers of the first."""
    if world_size() == 1:
        return
    for module in modules:
        for tensor in (*module.parameters(), *module.buffers()):
            dist.broadcast(tensor.detach(), 0)


def any_of(flag: bool, device: torch.device) -> bool:
    """Return whether `flag` is true in any process."""
    if world_size() == 1:
        return flag
    shared = torch.tensor([float(flag)], device=device)
    dist.all_reduce(shared, op=dist.ReduceOp.MAX)
    return bool(shared.item())


def wait_for_all() -> None:
    """Return when every process has come here."""
    any_of(False, torch.device("cpu"))
