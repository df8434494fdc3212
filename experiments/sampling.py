"""Which examples make up which batch: shuffled, seeded, and able to go on where it stopped."""

import hashlib
from typing import Any

import torch
from torch import Tensor

from experiments.distributed import Processes


class Batches:
    """Shuffled batches of indices without end.

    Every epoch has its own permutation, drawn from (seed, epoch) alone; examples that do not
    fill the last batch of an epoch are left out of that epoch.

    Parameters
    ----------
    examples : int
        How many examples there are.
    batch : int
        How many make a batch, over all processes together.
    seed : int
        Seed of the permutations.
    processes : Processes, optional
        Where several processes train, each gets its share of the same batch.

    Examples
    --------
    >>> batches = Batches(5, 2, seed=0)
    >>> [len(batches.next()) for _ in range(3)], batches.epoch
    ([2, 2, 2], 1)
    """

    def __init__(
        self, examples: int, batch: int, *, seed: int, processes: Processes | None = None
    ) -> None:
        if not 1 <= batch <= examples:
            raise ValueError(
                f"batch = {batch}, but there are {examples} examples; expected 1 to {examples}"
            )
        if processes is not None and batch % processes.world:
            raise ValueError(
                f"batch = {batch} cannot be shared equally by {processes.world} processes; "
                f"make it a multiple of {processes.world}"
            )
        self.examples, self.batch, self.seed = examples, batch, seed
        self.epoch, self.position = 0, 0
        self._processes = processes
        self._order = self._permutation()

    def next(self) -> Tensor:
        """Return the indices (batch / processes,) of the next batch, int64."""
        if self.position + self.batch > self.examples:
            self.epoch, self.position = self.epoch + 1, 0
            self._order = self._permutation()
        batch = self._order[self.position : self.position + self.batch]
        self.position += self.batch
        return batch if self._processes is None else self._processes.share(batch)

    def _permutation(self) -> Tensor:
        generator = torch.Generator().manual_seed(derive_seed(self.seed, f"epoch {self.epoch}"))
        return torch.randperm(self.examples, generator=generator)

    def state_dict(self) -> dict[str, Any]:
        """Return the position, and what it is a position in."""
        names = ("examples", "batch", "seed", "epoch", "position")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a position; ValueError if it was taken in other data or another order."""
        for name in ("examples", "batch", "seed"):
            if state[name] != getattr(self, name):
                raise ValueError(
                    f"{name} = {getattr(self, name)}, but the checkpoint was made with "
                    f"{state[name]}"
                )
        self.epoch, self.position = int(state["epoch"]), int(state["position"])
        self._order = self._permutation()


def derive_seed(seed: int, purpose: str) -> int:
    """Return a seed of its own for `purpose`, the same on every machine.

    Examples
    --------
    >>> derive_seed(0, "a") == derive_seed(0, "a") != derive_seed(0, "b")
    True
    """
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:4], "big")  # numpy's legacy generator takes 32 bits
