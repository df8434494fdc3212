"""The parts every training loop shares; what one step does is the job's own affair.

`fit` repeats a step function, keeps checkpoints, goes on from them bit-exactly on the same
machine, writes `metrics.jsonl` and shows progress. A step function ends in `descend`, which
refuses a loss or gradient that is not finite before the optimiser can use it.
"""

import json
import logging
import math
import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from experiments.checkpoints import KEEP, TrainingState, load_checkpoint, save_checkpoint
from experiments.distributed import (
    any_of,
    average,
    average_gradients,
    is_first,
    start_equal,
    wait_for_all,
)
from experiments.sampling import derive_seed
from experiments.store import (
    ResourceError,
    append_jsonl,
    atomic_write,
    read_jsonl,
    require_space,
)

METRICS = "metrics.jsonl"
_ATTEMPTS, _PAUSE = 3, 2.0  # tries to save a checkpoint, and the wait between them [s]

log = logging.getLogger(__name__)


class TrainingDiverged(RuntimeError):
    """A loss, a gradient or a weight is no longer finite.

    Attributes
    ----------
    step : int
        Steps done before the one that failed.
    term : str
        What is not finite.
    value : float
        Its value.
    """

    def __init__(self, step: int, term: str, value: float) -> None:
        super().__init__(
            f"{term} = {value} at step {step}: training has diverged. The last checkpoint is "
            "sound; start again with a lower learning rate"
        )
        self.step, self.term, self.value = step, term, value


class TrainingStopped(KeyboardInterrupt):
    """A signal ended the training after a whole step, which is saved.

    Attributes
    ----------
    stage : str
        Where it stopped.
    step : int
        Steps done.
    terminated : bool
        Whether a scheduler asked (SIGTERM) rather than a person (Ctrl-C).
    """

    def __init__(self, stage: str, step: int, *, terminated: bool) -> None:
        super().__init__(f"stopped after step {step} of stage {stage!r}; it is saved")
        self.stage, self.step, self.terminated = stage, step, terminated


@dataclass(frozen=True)
class Stage:
    """One training within a run.

    Attributes
    ----------
    name : str
        Names its checkpoints and its lines in metrics.jsonl; letters, digits, "_" and "-".
    step : callable
        Does one optimisation step, given the number of steps done, and returns the terms of the
        loss by name (scalars).
    state : TrainingState
        Everything the step changes.
    """

    name: str
    step: Callable[[int], Mapping[str, Tensor]]
    state: TrainingState


def fit(
    stage: Stage,
    steps: int,
    *,
    folder: Path,
    seed: int = 0,
    checkpoint_every: int = 500,
    log_every: int = 10,
    validate: Callable[[], Mapping[str, float]] | None = None,
    validate_every: int = 500,
    progress: bool = True,
) -> None:
    """Train `stage` until `steps` steps are done, going on from its newest checkpoint.

    Parameters
    ----------
    stage : Stage
        What to train.
    steps : int
        Steps in all; nothing happens if they are done already.
    folder : Path
        Run folder; checkpoints go to `checkpoints/<stage>/`, values to `metrics.jsonl`.
    seed : int
        The global random numbers start from it and the stage's name.
    checkpoint_every, log_every, validate_every : int
        Steps between two checkpoints, two lines of values, two validations.
    validate : callable, optional
        Returns values to log as `val/<name>`; also called after the last step.
    progress : bool
        Show a progress bar where there is a terminal.

    Raises
    ------
    TrainingDiverged
        Something is not finite; nothing of that step is saved.
    TrainingStopped
        Ctrl-C or SIGTERM arrived; the last whole step is saved.
    """
    place = folder / "checkpoints" / stage.name
    seed_everything(derive_seed(seed, stage.name))
    start_equal(stage.state.modules.values())
    done, extra = load_checkpoint(place, stage.state)
    before, started = float(extra.get("time", 0.0)), time.monotonic()
    if done:
        log.info("%s: %d of %d steps are done", stage.name, done, steps)
    if is_first():
        require_space(place, 3 * (KEEP + 1) * _size(stage.state))  # weights and two moments
        _cut_back(folder / METRICS, stage.name, done)
    wait_for_all()
    device, stop = _device(stage.state), False

    def write(values: Mapping[str, float]) -> None:
        if is_first():
            now = round(before + time.monotonic() - started, 3)
            head = {"stage": stage.name, "step": done, "time": now}
            append_jsonl(folder / METRICS, {**head, **values})

    def save() -> None:
        _check_weights(stage.state, done)
        if is_first():
            _save(place, stage.state, done, {"time": before + time.monotonic() - started})
        wait_for_all()

    silent = None if progress and is_first() else True  # None: silent where there is no terminal
    with (
        _Signals() as signals,
        logging_redirect_tqdm(),
        tqdm(total=steps, initial=done, desc=stage.name, unit="step", disable=silent) as bar,
    ):
        while done < steps:
            terms = stage.step(done)
            check_finite(terms, done)
            done += 1
            last = done == steps
            if last or done % log_every == 0:
                values = _values(terms)
                write(values)
                bar.set_postfix({name: f"{value:.4g}" for name, value in list(values.items())[:3]})
            if validate is not None and (last or done % validate_every == 0):
                write({_prefixed("val", name): value for name, value in validate().items()})
            bar.update()
            stop = any_of(signals.received is not None, device)
            if last or stop or done % checkpoint_every == 0:
                save()
            if stop:
                break
    if stop or signals.received is not None:
        raise TrainingStopped(stage.name, done, terminated=signals.received == signal.SIGTERM)


def descend(
    loss: Tensor,
    optimizer: Optimizer,
    *,
    step: int,
    scaler: torch.amp.GradScaler | None = None,
    max_norm: float = math.inf,
) -> None:
    """Take one step of `optimizer` down the gradient of `loss`, averaged over all processes.

    Parameters
    ----------
    loss : Tensor
        Scalar to be made smaller.
    optimizer : Optimizer
        Its parameters are moved; their old gradients are dropped first.
    step : int
        Steps done, for the message.
    scaler : GradScaler, optional
        For half precision; it skips steps whose scaled gradients overflow.
    max_norm : float
        Longer gradients are shortened to this norm.

    Raises
    ------
    TrainingDiverged
        The loss or its gradient is not finite; the optimiser has not moved.
    """
    check_finite({"total": loss}, step)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    optimizer.zero_grad(set_to_none=True)
    (loss if scaler is None else scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]
    average_gradients(parameters)
    if scaler is not None:
        scaler.unscale_(optimizer)
    norm = nn.utils.clip_grad_norm_(parameters, max_norm)
    if scaler is not None and scaler.is_enabled():
        scaler.step(optimizer)
        scaler.update()
        return
    if not torch.isfinite(norm):
        raise TrainingDiverged(step, "the norm of the gradient", norm.item())
    optimizer.step()


def check_finite(terms: Mapping[str, Tensor], step: int) -> None:
    """Raise TrainingDiverged, naming the term, unless every term of the loss is finite."""
    if not terms:
        return
    values = torch.stack([value.detach().double().reshape(()) for value in terms.values()])
    if not torch.isfinite(values).all():
        for name, value in zip(terms, values.tolist(), strict=True):
            if not math.isfinite(value):
                raise TrainingDiverged(step, f"loss term {name!r}", value)


def moving_average(module: nn.Module, decay: float) -> AveragedModel:
    """Return the exponential moving average of a module's parameters.

    Call its `update_parameters(module)` after each optimiser step, and list it among the modules
    of the TrainingState.
    """
    if not 0.0 <= decay < 1.0:
        raise ValueError(f"decay = {decay:g}, expected 0 to 1 (excluded), such as 0.999")
    average_of = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(module, multi_avg_fn=average_of)


def autocast(device: torch.device) -> torch.autocast:
    """Return the context for mixed precision on a GPU; it does nothing on a CPU."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


def seed_everything(seed: int) -> None:
    """Seed the global random numbers of Python, numpy, torch and the GPUs."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries draw from it
    torch.manual_seed(seed)


class _Signals:
    """Remembers Ctrl-C and SIGTERM until the step is done; a second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._count = 0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._previous[number] = signal.signal(number, self._handle)
            except ValueError:  # not the main thread: whoever runs it deals with signals
                break
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        if number != signal.SIGINT:
            return
        self._count += 1
        if self._count == 1:  # os.write: a handler may interrupt any other write
            os.write(2, b"\nfinishing this step and saving; Ctrl-C again stops at once\n")
        elif self._count == 2:
            raise KeyboardInterrupt
        else:
            os._exit(130)


def _values(terms: Mapping[str, Tensor]) -> dict[str, float]:
    if not terms:
        return {}
    values = average(torch.stack([v.detach().double().reshape(()) for v in terms.values()]))
    return {_prefixed("loss", n): v for n, v in zip(terms, values.tolist(), strict=True)}


def _prefixed(prefix: str, name: str) -> str:
    return name if "/" in name else f"{prefix}/{name}"


def _device(state: TrainingState) -> torch.device:
    parameters = (p for module in state.modules.values() for p in module.parameters())
    return next((p.device for p in parameters), torch.device("cpu"))


def _size(state: TrainingState) -> int:
    """Return the size of all modules [bytes]."""
    tensors = (t for module in state.modules.values() for t in module.state_dict().values())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _check_weights(state: TrainingState, step: int) -> None:
    for name, module in state.modules.items():
        for key, tensor in module.state_dict().items():
            if not torch.isfinite(tensor).all():
                raise TrainingDiverged(step, f"weight {name}.{key}", math.nan)


def _save(place: Path, state: TrainingState, step: int, extra: Mapping[str, Any]) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            save_checkpoint(place, state, step, extra)
        except ResourceError as error:
            if attempt == _ATTEMPTS:
                raise
            log.warning("%s (attempt %d of %d)", error, attempt, _ATTEMPTS)
            time.sleep(_PAUSE)
        else:
            return


def _cut_back(path: Path, stage: str, step: int) -> None:
    """Remove the lines of `stage` beyond `step`, which will be written again."""
    if not path.exists():
        return
    kept = [r for r in read_jsonl(path) if r.get("stage") != stage or r.get("step", 0) <= step]
    atomic_write(path, "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in kept).encode())
