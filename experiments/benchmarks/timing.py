"""Times of several contestants on one case, taken side by side so that they share the machine.

Round by round, each contestant makes one call that is not timed and one that is; medians are
kept. Memory that a call frees stays with the process, for all of them: on virtual machines the
first touch of fresh pages costs more than the arithmetic on them.
"""

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from experiments.benchmarks.contestants import Work

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # of mallopt, malloc.h
T = TypeVar("T")


@dataclass(frozen=True)
class Time:
    """Medians of one contestant [s]; `backward` is None where there is no gradient."""

    forward: float
    backward: float | None

    @property
    def both(self) -> float | None:
        """Forward and backward together [s]."""
        return None if self.backward is None else self.forward + self.backward


def keep_freed_memory() -> bool:
    """Have malloc keep what is freed instead of giving it back; False where it cannot be told."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc
        return False
    done = [
        mallopt(_M_MMAP_MAX, 0),
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1),
        mallopt(_M_TOP_PAD, 64 * 2**20),
    ]
    return all(done)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Use `count` threads in torch, and set back what was."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def compare(
    works: Mapping[T, Work], *, rounds: int, device: torch.device, patience: float = 30.0
) -> dict[T, Time]:
    """Return the times of `works`, interleaved.

    Parameters
    ----------
    works : mapping
        What to time, by any key.
    rounds : int
        Timed calls of each.
    device : torch.device
        Where the torch contestants run; it is waited for.
    patience : float
        Time after which a slow contestant is left out of further rounds, but for two [s].
    """
    taken: dict[T, list[tuple[float, float | None]]] = {key: [] for key in works}
    spent = dict.fromkeys(works, 0.0)
    for number in range(rounds):
        for key, work in works.items():
            if number >= 2 and spent[key] > patience:
                continue
            gc.collect()
            start = time.perf_counter()
            _once(work, device)
            taken[key].append(_once(work, device))
            spent[key] += time.perf_counter() - start
    return {key: _median(calls) for key, calls in taken.items()}


def _once(work: Work, device: torch.device) -> tuple[float, float | None]:
    forward, output = _timed(work.forward, device)
    if work.backward is None:
        return forward, None
    step = work.backward
    backward, _ = _timed(lambda: step(output), device)
    return forward, backward


def _timed(call: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    result = call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start, result


def _median(calls: list[tuple[float, float | None]]) -> Time:
    back = [b for _, b in calls if b is not None]
    return Time(statistics.median(f for f, _ in calls), statistics.median(back) if back else None)
