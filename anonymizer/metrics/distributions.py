"""How far two sets of pictures are apart, by the features (N, D) that a network sees in them.

The numbers are named after the network: FID and KID belong to Inception-v3 alone. Both are by
torchmetrics. The Frechet distance grows as pictures become few and compares only between sets of
one size; the kernel distance has no such bias.

References
----------
M. Heusel et al., "GANs trained by a two time-scale update rule", NeurIPS 2017.
M. Binkowski et al., "Demystifying MMD GANs", ICLR 2018: polynomial kernel of degree 3.
"""

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import poly_mmd


class _AsTheyAre(nn.Module):
    """Stands for the network where features have been computed already."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.num_features = size

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet_distance(real: Tensor, made: Tensor) -> float:
    """Return the Frechet distance of Gaussians fitted to features (N, D) and (M, D)."""
    _check(real, made)
    metric = FrechetInceptionDistance(feature=_AsTheyAre(real.shape[1]))
    metric.set_dtype(torch.float64)
    metric.update(real.double(), real=True)
    metric.update(made.double(), real=False)
    return max(0.0, float(metric.compute()))  # rounding alone takes it below


def kernel_distance(real: Tensor, made: Tensor) -> float:
    """Return the unbiased squared MMD of features (N, D) and (M, D); all are compared at once."""
    _check(real, made)
    count = min(len(real), len(made))
    out: Tensor = poly_mmd(real[:count].double(), made[:count].double())
    return float(out)


def _check(real: Tensor, made: Tensor) -> None:
    if real.ndim != 2 or made.ndim != 2 or real.shape[1] != made.shape[1]:
        raise ValueError(f"features are {tuple(real.shape)} and {tuple(made.shape)}, one width")
    if min(len(real), len(made)) < 2:
        raise ValueError(f"there are {len(real)} and {len(made)} pictures, at least 2 each")
