"""Weights drawn from their tensors' names, as the stored reference vectors were made.

No published weights are needed to compare a network with its original: both are filled by one
rule that depends only on each tensor's name and shape, so equal outputs mean equal names,
shapes and arithmetic.
"""

import math
import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn


def hashed_uniform(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the numbers in [0, 1) that the rule draws for a tensor, float64 of this shape."""
    x = np.uint64(zlib.crc32(name.encode()) << 32) + np.arange(math.prod(shape), dtype=np.uint64)
    x += np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return ((x >> np.uint64(11)) * 2.0**-53).reshape(shape)


def hashed_tensor(name: str, tensor: Tensor, gain: float) -> Tensor:
    """Return the values that the rule gives a state-dict tensor of this name, shape and type.

    Variances lie in 0.5..1.5, means and biases in -0.1..0.1, other vectors (gains, slopes) in
    0.5..1.5; kernels are uniform with `gain` / sqrt(inputs per output) as their RMS.
    """
    shape, last = tuple(tensor.shape), name.rsplit(".", 1)[-1]
    if last == "num_batches_tracked":
        return torch.zeros_like(tensor)
    u = hashed_uniform(name, shape)
    if last in ("running_mean", "bias"):
        u = 0.1 * (2 * u - 1)
    elif last == "running_var" or len(shape) <= 1:
        u = 0.5 + u
    else:
        u = (2 * u - 1) * gain * math.sqrt(3 / math.prod(shape[1:]))
    return torch.from_numpy(np.asarray(u)).to(tensor.dtype)


def fill_by_name(module: nn.Module, gain: float, names: Mapping[str, str] | None = None) -> None:
    """Fill every tensor of a module's state dict by its name.

    Parameters
    ----------
    module : nn.Module
        The network; filled in place.
    gain : float
        RMS of a kernel times the root of its inputs per output.
    names : mapping of str, optional
        The published name of each state-dict tensor whose name here differs from it.
    """
    names = names or {}
    module.load_state_dict(
        {k: hashed_tensor(names.get(k, k), v, gain) for k, v in module.state_dict().items()}
    )
