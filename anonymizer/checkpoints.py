"""Find, verify and read weight files, our own and those other authors published.

This is the only module that opens PyTorch's pickled files, and only with `weights_only=True`,
which refuses everything but tensors and plain containers.
"""

import hashlib
import json
import pickle
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

BUNDLED = Path(__file__).with_name("weights")
"""Folder of the weights that come with the package; always searched last."""

_NAMES_SHOWN = 4


class WeightsError(RuntimeError):
    """A weight file is absent, altered or does not fit its network."""


def find_weights(name: str, sha256: str, search: Iterable[str | Path] = ()) -> Path:
    """Find a weight file and verify its content.

    Parameters
    ----------
    name : str
        File name, with folders below a search folder if any: "recognition/edgeface_xs.npz".
    sha256 : str
        Expected SHA-256 of the content, 64 hexadecimal digits.
    search : iterable of path
        Folders in order of preference; the package's own follows.

    Returns
    -------
    Path
        The first file of that name whose content has that hash.

    Raises
    ------
    WeightsError
        If there is none; the message lists the places and what to do.
    """
    if len(sha256) != 64 or set(sha256.lower()) - set("0123456789abcdef"):
        raise ValueError(f"sha256 = {sha256!r} for {name}, expected 64 hexadecimal digits")
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError(f"name = {name!r}, expected a path below the search folders")
    folders = [*(Path(folder) for folder in search), BUNDLED]
    altered = []
    for folder in folders:
        path = folder / name
        if not path.is_file():
            continue
        found = hash_file(path)
        if found == sha256.lower():
            return path
        altered.append(f"{path} has SHA-256 {found}")
    places = ", ".join(str(folder) for folder in folders)
    if altered:
        raise WeightsError(
            f"weights {name}: {'; '.join(altered)}, expected {sha256}. The file is damaged or "
            f"another version; replace it, or correct sha256 in the config if you trust it"
        )
    raise WeightsError(
        f"weights {name} (SHA-256 {sha256}) not found; looked in {places}. Put the file into one "
        f"of these folders, or add its folder to weights_path"
    )


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_state(path: Path) -> dict[str, Tensor]:
    """Read named tensors from a weight file onto the CPU.

    Parameters
    ----------
    path : Path
        `.safetensors`; `.npz` of arrays; `.pt`, `.pth` or `.ckpt` as PyTorch saves a state dict,
        bare or under one of the usual keys.

    Raises
    ------
    WeightsError
        If the file cannot be read, holds anything but tensors, or has another extension.
    """
    readers: dict[str, Callable[[Path], dict[str, Tensor]]] = {
        ".safetensors": load_file,
        ".npz": _read_npz,
        ".pt": _read_torch,
        ".pth": _read_torch,
        ".ckpt": _read_torch,
    }
    if path.suffix not in readers:
        raise WeightsError(f"weights {path}: expected one of {', '.join(readers)}")
    try:
        return readers[path.suffix](path)
    except (OSError, EOFError, ValueError, KeyError, RuntimeError) as error:
        raise WeightsError(f"weights {path} cannot be read: {error}") from error
    except (pickle.UnpicklingError, zipfile.BadZipFile, SafetensorError) as error:
        raise WeightsError(f"weights {path} cannot be read: {error}") from error


def read_nested_states(path: Path) -> dict[str, dict[str, Tensor]]:
    """Read a PyTorch file of several networks: the state dict of each by its name.

    A file that is itself one state dict has it under the name "".

    Raises
    ------
    WeightsError
        If the file cannot be read or holds anything but state dicts.
    """
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
        raise WeightsError(f"weights {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise WeightsError(f"weights {path} hold a {type(content).__name__}, expected state dicts")
    if content and all(isinstance(value, Tensor) for value in content.values()):
        content = {"": content}
    states = {
        str(name): {str(key): tensor for key, tensor in state.items()}
        for name, state in content.items()
        if isinstance(state, dict) and all(isinstance(v, Tensor) for v in state.values())
    }
    if not states:
        raise WeightsError(f"weights {path} hold no state dict; name a file of networks")
    return states


def read_quantized(values: Path, manifest: Path) -> dict[str, Tensor]:
    """Read tensors stored as bytes with a scale and an offset each (TensorFlow.js, face-api).

    Parameters
    ----------
    values : Path
        One byte for each number, tensor after tensor.
    manifest : Path
        JSON list of groups; each has "weights", and each of these "name", "shape" and
        "quantization" with "scale" and "min": value = byte * scale + min.

    Raises
    ------
    WeightsError
        If the two files do not fit each other.
    """
    tensors: dict[str, Tensor] = {}
    try:
        data = np.frombuffer(values.read_bytes(), dtype=np.uint8)
        start = 0
        for entry in (w for group in json.loads(manifest.read_text()) for w in group["weights"]):
            shape, coding = tuple(int(n) for n in entry["shape"]), entry["quantization"]
            end = start + int(np.prod(shape))
            block = data[start:end].reshape(shape).astype(np.float32)
            numbers = block * np.float32(coding["scale"]) + np.float32(coding["min"])
            tensors[entry["name"]] = torch.from_numpy(numbers)
            start = end
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"weights {values} with {manifest.name}: {error}") from error
    if start != data.size:
        raise WeightsError(
            f"weights {values} has {data.size} bytes, {manifest.name} describes {start}; "
            f"use the two files of one release"
        )
    return tensors


def fill(network: nn.Module, state: Mapping[str, Tensor], source: Path) -> None:
    """Copy `state` into `network`, which must have exactly these tensors.

    Raises
    ------
    WeightsError
        If names or shapes differ; the message names `source` and the first differences.
    """
    own = network.state_dict()
    counters = {name for name in own if name.endswith("num_batches_tracked")}
    missing = own.keys() - state.keys() - counters  # counters do not affect what is computed
    unknown = state.keys() - own.keys()
    misshapen = {n for n in own.keys() & state.keys() if own[n].shape != state[n].shape}
    problems = [
        f"{what} {', '.join(sorted(names)[:_NAMES_SHOWN])} ({len(names)})"
        for what, names in (("lacks", missing), ("has unknown", unknown), ("misfits", misshapen))
        if names
    ]
    if problems:
        raise WeightsError(
            f"weights {source} do not fit {type(network).__name__}: it {'; '.join(problems)}. "
            f"Check that the config names the file and the variant that belong together"
        )
    network.load_state_dict({**{n: own[n] for n in counters}, **state}, strict=True)


def _read_npz(path: Path) -> dict[str, Tensor]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def _read_torch(path: Path) -> dict[str, Tensor]:
    content: Any = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("net_state_dict", "state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError("expected a state dict of tensors")
    return dict(content)
