"""Every contestant on one case: right or wrong, how fast, how much memory; and what follows.

A peer is right where its output is within 1 % of the float64 answer. Ratios are its time over
ours, forward and backward together, so that a peer without a gradient gives none.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from experiments.benchmarks import memory, timing
from experiments.benchmarks.contestants import (
    OURS,
    PLAIN,
    Absent,
    Contestant,
    Work,
    everyone,
    to_tensor,
)
from experiments.benchmarks.scenes import Answer, Case

RIGHT = 0.01  #: largest relative error of an output that counts as right
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """One contestant on one case; what could not be had is None.

    Attributes
    ----------
    contestant, variant, version : str
        Who; "" is the plain variant.
    time : Time or None
        Medians [s].
    relative_error, gradient_error : float or None
        Relative L2 distance from the float64 answer.
    peak : float or None
        Peak memory of a call, forward and backward [MiB].
    reason : str
        Why it takes no part.
    """

    contestant: str
    variant: str = ""
    version: str = ""
    time: timing.Time | None = None
    relative_error: float | None = None
    gradient_error: float | None = None
    peak: float | None = None
    reason: str = ""

    @property
    def label(self) -> str:
        """Contestant and variant."""
        return f"{self.contestant} ({self.variant})" if self.variant else self.contestant

    @property
    def right(self) -> bool:
        """Whether the output is within 1 % of the answer."""
        return self.relative_error is not None and self.relative_error <= RIGHT

    @property
    def peer(self) -> bool:
        """Whether it is somebody else's library."""
        return self.contestant not in (OURS, PLAIN)


def judge(
    case: Case, *, scale: float, rounds: int, threads: int, device: torch.device, memory_too: bool
) -> list[Row]:
    """Return a row per contestant and variant, ours first.

    Parameters
    ----------
    case : Case
        What to compute.
    scale : float
        Fraction of the full size.
    rounds : int
        Timed calls of each.
    threads : int
        Threads of torch.
    device : torch.device
        CPU, or a GPU, which CPU-only libraries then sit out.
    memory_too : bool
        Whether to measure peak memory: a process per contestant.
    """
    scene, rows = case.make(scale), []
    works: dict[tuple[str, str], Work] = {}
    versions: dict[str, str] = {}
    for contestant in everyone():
        try:
            found = _enter(contestant, case, scene, device)
        except Exception as error:  # a library that breaks does not end the comparison
            found = Absent(contestant.name, f"failed ({type(error).__name__}: {error})")
        if isinstance(found, Absent):
            rows.append(Row(found.name, reason=found.reason))
            continue
        versions[contestant.name], ways = found
        works |= {(contestant.name, variant): work for variant, work in ways.items()}
    errors: dict[tuple[str, str], tuple[float, float | None]] = {}
    for key, work in list(works.items()):
        try:
            errors[key] = _errors(work, scene.answer)
        except Exception as error:
            del works[key]
            rows.append(Row(*key, reason=f"failed ({type(error).__name__}: {error})"))
    with timing.threads(threads):
        times = timing.compare(works, rounds=rounds, device=device)
    peaks = _peaks(works, case, scale, threads, device) if memory_too else {}
    rows += [Row(*key, versions[key[0]], times[key], *errors[key], peaks.get(key)) for key in works]
    return sorted(rows, key=_order)


def _enter(
    contestant: Contestant | Absent, case: Case, scene: Any, device: torch.device
) -> Absent | tuple[str, Mapping[str, Work]]:
    """Version and ways of a contestant, or why it takes no part."""
    if isinstance(contestant, Absent):
        return contestant
    if device.type != "cpu" and not contestant.accelerated:
        return Absent(contestant.name, "runs on a CPU only")
    ways = contestant.works(case.kind, scene, device)
    if not ways:
        return Absent(contestant.name, "has no such function")
    return contestant.version(), ways


def _errors(work: Work, answer: Answer) -> tuple[float, float | None]:
    found = work.forward()
    output = to_tensor(work.value(found))
    error = _distance(_same_phase(output, answer.output), answer.output)
    if work.backward is None:
        return error, None
    return error, _distance(to_tensor(work.backward(found)), answer.gradient)


def _same_phase(output: Tensor, answer: Tensor) -> Tensor:
    """Turn a field by the constant phase that brings it nearest to the answer."""
    if not output.is_complex():
        return output
    overlap = torch.vdot(output.flatten(), answer.flatten())
    return output * (overlap / overlap.abs()) if overlap.abs() > 0 else output


def _distance(value: Tensor, answer: Tensor) -> float:
    if value.numel() != answer.numel():
        raise ValueError(f"{tuple(value.shape)} came out, expected {tuple(answer.shape)}")
    difference = value.flatten() - answer.flatten()
    return float(difference.norm() / answer.norm())


def _peaks(
    works: Mapping[tuple[str, str], Work],
    case: Case,
    scale: float,
    threads: int,
    device: torch.device,
) -> dict[tuple[str, str], float | None]:
    if device.type == "cuda":
        return {key: memory.gpu_peak(work, device) for key, work in works.items()}
    found: dict[tuple[str, str], float | None] = {}
    for name in {name for name, _ in works}:
        measured = memory.peaks(name, case.name, scale=scale, threads=threads)
        found |= {(name, variant): peak for variant, peak in measured.items()}
    return found


def _order(row: Row) -> tuple[int, float]:
    """Ours, plain torch, then the peers from fast to slow, then those that took no part."""
    group = 2 if row.peer else (0 if row.contestant == OURS else 1)
    if row.time is None:
        return 3, 0.0
    whole = row.time.both
    return group, row.time.forward if whole is None else whole


# What follows


def best_right_peer(rows: Sequence[Row]) -> Row | str:
    """Return the fastest right peer with a gradient, or why there is none."""
    peers = [row for row in rows if row.peer]
    able = [row for row in peers if row.right and row.time is not None and row.time.both]
    if able:
        return min(able, key=lambda row: _both(row))
    told = []
    for row in peers:
        if row.reason:
            told.append(f"{row.label}: {row.reason}")
        elif not row.right:
            told.append(f"{row.label}: off by {row.relative_error:.1%}")
        else:
            told.append(f"{row.label}: no gradient")
    return "no peer is right to 1 % with a gradient: " + "; ".join(told)


def metrics(case: str, rows: Sequence[Row]) -> dict[str, float | None]:
    """Return the flat numbers of a case; None where there is nothing to compare with."""
    ours = next((r for r in rows if (r.contestant, r.variant) == (OURS, "")), Row(OURS))
    plain = next((r for r in rows if (r.contestant, r.variant) == (PLAIN, "")), Row(PLAIN))
    best = best_right_peer(rows)
    time = ours.time
    found = {
        "ms_forward": time.forward * 1e3 if time else None,
        "ms_backward": time.backward * 1e3 if time and time.backward is not None else None,
        "ratio_to_best_right_peer": _ratio(best, ours) if isinstance(best, Row) else None,
        "ratio_to_plain_torch": _ratio(plain, ours),
        "relative_error": _finite(ours.relative_error),
        "gradient_error": _finite(ours.gradient_error),
        "peak_mib": ours.peak,
    }
    return {f"{case}/{key}": value for key, value in found.items()}


def record(case: Case, rows: Sequence[Row]) -> dict[str, Any]:
    """Return all rows of a case as plain data, with the reason where a ratio is missing."""
    best = best_right_peer(rows)
    return {
        "title": case.title,
        "best_right_peer": best.label if isinstance(best, Row) else None,
        "ratio_reason": "" if isinstance(best, Row) else best,
        "rows": [
            {
                "contestant": row.contestant,
                "variant": row.variant,
                "version": row.version,
                "ms_forward": row.time.forward * 1e3 if row.time else None,
                "ms_backward": (
                    row.time.backward * 1e3 if row.time and row.time.backward is not None else None
                ),
                "relative_error": _finite(row.relative_error),
                "gradient_error": _finite(row.gradient_error),
                "peak_mib": row.peak,
                "right": row.right,
                "reason": row.reason,
            }
            for row in rows
        ],
    }


def _both(row: Row) -> float:
    whole = row.time.both if row.time else None
    return math.inf if whole is None else whole


def _ratio(row: Row, ours: Row) -> float | None:
    top, bottom = _both(row), _both(ours)
    return top / bottom if math.isfinite(top) and math.isfinite(bottom) else None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
