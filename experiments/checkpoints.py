"""Checkpoints of training: all the state there is, without pickle, whole or not there at all.

A checkpoint is a folder `step_000123/` with `weights.safetensors` (modules),
`training.safetensors` (optimisers, random numbers), `state.json` (everything that is no tensor)
and `manifest.json` (sizes and SHA-256). It is written under a temporary name and renamed, so
what bears a final name is complete; the newest one that verifies is the one to go on from.
"""

import logging
import random
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from experiments.store import (
    ArtifactError,
    load_tensors,
    read_json,
    save_json,
    save_tensors,
    sync_folder,
    verify,
    write_manifest,
)

FORMAT = 1
KEEP = 2  # newest checkpoints that verify; older ones are removed
_NAME = re.compile(r"step_(\d{6,})")

log = logging.getLogger(__name__)


class Stateful(Protocol):
    """Anything whose state is a dictionary: optimisers, schedulers, gradient scalers, batches."""

    def state_dict(self) -> Any:
        """Return the state."""

    def load_state_dict(self, state: Any) -> Any:
        """Take over a state."""


@dataclass(frozen=True)
class TrainingState:
    """Everything that decides how training goes on.

    Attributes
    ----------
    modules : mapping of str to nn.Module
        Networks, masks and their moving averages.
    others : mapping of str to Stateful
        Optimisers, schedulers, gradient scalers and batches.
    generators : mapping of str to torch.Generator or numpy.random.Generator
        Random number generators of the stage's own. The global ones of Python, numpy, torch and
        the GPUs are always included.
    """

    modules: Mapping[str, nn.Module]
    others: Mapping[str, Stateful] = field(default_factory=dict)
    generators: Mapping[str, torch.Generator | np.random.Generator] = field(default_factory=dict)


def save_checkpoint(
    folder: Path, state: TrainingState, step: int, extra: Mapping[str, Any] | None = None
) -> Path:
    """Write the checkpoint of `step` below `folder` and remove the ones no longer needed.

    Parameters
    ----------
    folder : Path
        Folder of this stage's checkpoints.
    state : TrainingState
        What to save.
    step : int
        Steps done.
    extra : mapping, optional
        What else to remember, as JSON values.

    Raises
    ------
    ResourceError
        The disk is full or failing; earlier checkpoints are untouched.
    """
    weights = {
        f"{name}/{key}": tensor
        for name, module in state.modules.items()
        for key, tensor in module.state_dict().items()
    }
    tensors: dict[str, Tensor] = {}
    others = {
        "others": {name: other.state_dict() for name, other in state.others.items()},
        "random": _random_state(state),
    }
    record = {
        "format": FORMAT,
        "step": step,
        "torch": torch.__version__,
        "extra": dict(extra or {}),
        "state": _encode(others, "", tensors),
    }
    final = folder / f"step_{step:06d}"
    temporary = folder / f".{final.name}.{secrets.token_hex(4)}.tmp"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        temporary.mkdir()
        save_tensors(temporary / "weights.safetensors", weights, {"step": str(step)})
        save_tensors(temporary / "training.safetensors", tensors, {"step": str(step)})
        save_json(temporary / "state.json", record)
        write_manifest(temporary)
        sync_folder(temporary)
        if final.exists():  # damaged, or written by a run that was then cut back
            shutil.rmtree(final)
        temporary.rename(final)
        sync_folder(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _prune(folder)
    return final


def load_checkpoint(folder: Path, state: TrainingState) -> tuple[int, dict[str, Any]]:
    """Restore the newest sound checkpoint below `folder` into `state`.

    A damaged one is reported in the log and the one before it is taken.

    Returns
    -------
    step : int
        Steps done; 0 if there is no checkpoint, and then nothing is changed.
    extra : dict
        What `save_checkpoint` was given.

    Raises
    ------
    ArtifactError
        All checkpoints are damaged, or the newest belongs to another model or program version.
    """
    clear_leftovers(folder)
    found = list(_newest_first(folder))
    for path in found:
        try:
            verify(path)
            record = read_json(path / "state.json")
            weights, _ = load_tensors(path / "weights.safetensors")
            tensors, _ = load_tensors(path / "training.safetensors", finite=False)
        except ArtifactError as error:
            log.warning("checkpoint %s is damaged (%s); trying the one before it", path, error)
            continue
        if record.get("format") != FORMAT:
            raise ArtifactError(
                f"{path} has format {record.get('format')}, this program reads {FORMAT}; go on "
                "with the version that wrote it"
            )
        _restore(path, state, record, weights, tensors)
        return int(record["step"]), dict(record["extra"])
    if found:
        raise ArtifactError(
            f"no checkpoint in {folder} is sound; remove that folder to start this stage afresh"
        )
    return 0, {}


def clear_leftovers(folder: Path) -> None:
    """Remove what a killed writer left unfinished."""
    for path in folder.glob(".step_*.tmp"):
        shutil.rmtree(path, ignore_errors=True)


def _newest_first(folder: Path) -> Iterator[Path]:
    steps = {p: int(m[1]) for p in folder.glob("step_*") if (m := _NAME.fullmatch(p.name))}
    yield from sorted(steps, key=lambda path: steps[path], reverse=True)


def _prune(folder: Path) -> None:
    """Remove checkpoints older than the `KEEP` newest sound ones."""
    sound = 0
    for path in _newest_first(folder):
        if sound >= KEEP:
            shutil.rmtree(path, ignore_errors=True)
            continue
        try:
            verify(path)
            sound += 1
        except ArtifactError as error:
            log.warning("checkpoint %s is damaged: %s", path, error)


def _restore(
    path: Path,
    state: TrainingState,
    record: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
) -> None:
    wanted = {
        f"{name}/{key}": _describe(tensor)
        for name, module in state.modules.items()
        for key, tensor in module.state_dict().items()
    }
    stored = {key: _describe(tensor) for key, tensor in weights.items()}
    saved = _decode(record["state"], tensors)
    difference = _difference(wanted, stored)
    difference += _difference(
        dict.fromkeys(state.others, "state"), dict.fromkeys(saved["others"], "state")
    )
    generators = {f"generator {name}" for name in state.generators}
    difference += _difference(
        dict.fromkeys(generators, "state"),
        dict.fromkeys((k for k in saved["random"] if k.startswith("generator ")), "state"),
    )
    if difference:
        raise ArtifactError(
            f"{path} belongs to another model than the settings describe: "
            + "; ".join(difference[:8])
            + (f"; and {len(difference) - 8} more" if len(difference) > 8 else "")
        )
    for name, module in state.modules.items():
        own = {
            k.removeprefix(f"{name}/"): v for k, v in weights.items() if k.startswith(f"{name}/")
        }
        module.load_state_dict(own)
    for name, other in state.others.items():
        try:
            other.load_state_dict(saved["others"][name])
        except (ValueError, KeyError) as error:
            raise ArtifactError(f"{path}: {name} does not fit: {error}") from error
    _set_random_state(state, saved["random"])


def _describe(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _difference(wanted: Mapping[str, object], stored: Mapping[str, object]) -> list[str]:
    lines = []
    for key in sorted(set(wanted) | set(stored)):
        if wanted.get(key) != stored.get(key):
            have, need = stored.get(key, "nothing"), wanted.get(key, "nothing")
            lines.append(f"{key}: stored {have}, expected {need}")
    return lines


# Random numbers


def _random_state(state: TrainingState) -> dict[str, Any]:
    kind, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - the state itself
    found: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": [str(kind), torch.from_numpy(np.asarray(keys, np.int64)), *map(_plain, rest)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    for name, generator in state.generators.items():
        own = (
            generator.get_state()
            if isinstance(generator, torch.Generator)
            else generator.bit_generator.state
        )
        found[f"generator {name}"] = own
    return found


def _plain(number: Any) -> int | float:
    return float(number) if isinstance(number, (float, np.floating)) else int(number)


def _set_random_state(state: TrainingState, saved: Mapping[str, Any]) -> None:
    random.setstate(saved["python"])
    kind, keys, *rest = saved["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(saved["torch"])
    if torch.cuda.is_available():
        if len(saved["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(saved["cuda"])
        else:
            log.warning("the checkpoint was made with %d GPUs: not bit-exact", len(saved["cuda"]))
    for name, generator in state.generators.items():
        own = saved[f"generator {name}"]
        if isinstance(generator, torch.Generator):
            generator.set_state(own)
        else:
            generator.bit_generator.state = own


# JSON with tensors beside it


def _encode(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Return `value` as JSON; its tensors go to `tensors` under their path."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Tensor):
        tensors[path] = value
        return {"tensor": path}
    if isinstance(value, (list, tuple)):
        kind = "list" if isinstance(value, list) else "tuple"
        items = [_encode(item, f"{path}/{i}", tensors) for i, item in enumerate(value)]
        return {kind: items}
    if isinstance(value, Mapping):
        return {"dict": [[k, _encode(v, f"{path}/{k}", tensors)] for k, v in value.items()]}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        tensors[path] = torch.from_numpy(value.astype(np.int64))
        return {"array": path, "dtype": str(value.dtype)}
    raise TypeError(f"{path} is a {type(value).__name__}, which a checkpoint cannot hold")


def _decode(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    if "array" in value:
        return tensors[value["array"]].numpy().astype(value["dtype"])
    if "dict" in value:
        return {key: _decode(item, tensors) for key, item in value["dict"]}
    if "tuple" in value:
        return tuple(_decode(item, tensors) for item in value["tuple"])
    return [_decode(item, tensors) for item in value["list"]]
