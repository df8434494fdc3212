"""Processes that compute cells, one after another, until all are done."""

import logging
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch

from experiments.comparison.bench import Bench
from experiments.comparison.cells import Cache, Cell
from experiments.contestants import Absent
from experiments.settings import Settings

log = logging.getLogger(__name__)


class CellsFailed(RuntimeError):
    """Cells of a comparison failed; the others are in the table."""


Finished = tuple[Cell, str, str]
"""A cell, "done", "not run" or "failed", and why."""


def compute_all(
    settings: Settings, bench: Bench, cells: Sequence[Cell], processes: int
) -> Iterator[Finished]:
    """Compute cells into the cache, and yield each as it is finished.

    One process computes them itself. Several get a bench of their own each; the results are the
    same as long as every process computes with the same number of threads.

    Raises
    ------
    CellsFailed
        A process died.
    """
    if min(processes, len(cells)) <= 1:
        for cell in cells:
            yield _compute(bench, cell)
        return
    crew = ProcessPoolExecutor(
        min(processes, len(cells)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(settings, os.getpid()),
    )
    try:
        waiting = {crew.submit(_work, cell) for cell in cells}
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for one in done:
                yield one.result()
    except BrokenProcessPool as error:
        raise CellsFailed(
            "a process of the comparison was ended from outside, or memory ran out; what was "
            "finished is kept: give the same command again, with processes=1 if memory is short"
        ) from error
    except BaseException:
        workers = list((crew._processes or {}).values())
        crew.shutdown(wait=False, cancel_futures=True)
        for worker in workers:  # what they are at is begun anew next time
            worker.terminate()
        raise
    crew.shutdown()


# In a process of the crew

_bench: Bench | None = None
_given: Settings | None = None


def _begin(settings: Settings, parent: int) -> None:
    """Make this process a worker that a Ctrl-C leaves to its parent, and that never outlives it."""
    global _given
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(settings["threads"])
    logging.getLogger().setLevel(logging.ERROR)
    _given = Settings({**settings, "progress": False}, settings.path)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _work(cell: Cell) -> Finished:
    global _bench
    if _bench is None:
        if _given is None:
            raise RuntimeError("this process was not begun as one of a crew")
        _bench = Bench.open(_given)
    return _compute(_bench, cell)


def _compute(bench: Bench, cell: Cell) -> Finished:
    """Compute one cell into the cache; what goes wrong is said, and the others go on."""
    cache = Cache(Path(bench.settings["cache"]))
    if cache.has(cell.key):
        return cell, "done", ""
    workshop = cache.workshop(cell.key, os.getpid())
    try:
        cache.keep(cell.key, workshop, bench.compute(cell, workshop))
    except Absent as error:
        return cell, "not run", str(error)
    except Exception as error:
        log.debug("%s", cell.place, exc_info=True)
        return cell, "failed", f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    return cell, "done", ""
