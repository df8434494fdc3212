"""Unit phasors of real phases."""

import torch
from torch import Tensor


def cis(phase: Tensor) -> Tensor:
    """Return exp(i phase) for a real `phase` [rad], as complex(cos, sin): far faster on a CPU."""
    return torch.complex(torch.cos(phase), torch.sin(phase))
