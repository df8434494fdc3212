"""Peak memory of one call (forward and backward), in a process of its own.

    python -m experiments.benchmarks.memory <contestant> <case> <scale> <threads>

prints the peaks by variant as JSON. On a CPU it is the resident high-water mark of the process,
set back just before the call, less what was resident then; every block above 64 KiB is mapped
on its own there, so that memory freed earlier is not taken for free. Linux only.
"""

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from experiments.benchmarks.contestants import Work, present
from experiments.benchmarks.scenes import CASES

MIB = 2**20
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
#: glibc: map large blocks, and give them back; MKL: keep no pool of its own.
_PLAIN_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "MKL_DISABLE_FAST_MM": "1",
}


def peaks(contestant: str, case: str, *, scale: float, threads: int) -> dict[str, float | None]:
    """Peak memory of a contestant by variant [MiB], measured in a child process.

    None where it cannot be measured: no Linux, or the child failed.
    """
    if not _CLEAR.exists():
        return {}
    command = [sys.executable, "-m", __name__, contestant, case, repr(scale), str(threads)]
    child = subprocess.run(
        command,
        env=os.environ | _PLAIN_MEMORY,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        found: dict[str, float | None] = json.loads(child.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        return {}
    return found


def gpu_peak(work: Work, device: torch.device) -> float:
    """Peak memory of one call on a GPU [MiB], less what was there before."""
    _call(work)
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    _call(work)
    torch.cuda.synchronize(device)
    return (torch.cuda.max_memory_allocated(device) - before) / MIB


def _call(work: Work) -> None:
    output = work.forward()
    if work.backward is not None:
        work.backward(output)


def _resident(field: str) -> int:
    """Entry of /proc/self/status [KiB]."""
    for line in _STATUS.read_text("utf-8").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise ValueError(f"{_STATUS} has no {field}")


def _peak(work: Work) -> float | None:
    _call(work)  # tables that are kept are not a call's own
    gc.collect()
    try:
        _CLEAR.write_text("5", "utf-8")
    except OSError:
        return None
    before = _resident("VmRSS")
    _call(work)
    return max(0, _resident("VmHWM") - before) / 1024


def _main() -> None:
    name, case, scale, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    chosen = CASES[case]
    works = present()[name].works(chosen.kind, chosen.make(float(scale)), torch.device("cpu"))
    found = {variant: _peak(work) for variant, work in works.items()}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    _main()
