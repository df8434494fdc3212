r"""How far two sets of pictures are apart, by the features (N, D) that a network sees in them.

The numbers are named after the network: FID and KID belong to Inception-v3 alone. The Frechet
distance grows as pictures become few and compares only between sets of one size; the kernel
distance has no such bias.

.. math:: d^2 = |\mu_r - \mu_m|^2 + \mathrm{tr}\,S_r + \mathrm{tr}\,S_m
              - 2\,\mathrm{tr}\sqrt{S_r S_m}

The last trace is the sum of the singular values of the product of the two centred sets, which
needs no root of a matrix and is exact however few the pictures are.

References
----------
M. Heusel et al., "GANs trained by a two time-scale update rule", NeurIPS 2017, eq. 6.
M. Binkowski et al., "Demystifying MMD GANs", ICLR 2018: polynomial kernel of degree 3.
"""

import math

import torch
from torch import Tensor
from torchmetrics.image.kid import poly_mmd


def frechet_distance(real: Tensor, made: Tensor) -> float:
    """Return the squared Frechet distance of Gaussians fitted to features (N, D) and (M, D)."""
    _check(real, made)
    a, b = real.double(), made.double()
    apart = (a.mean(0) - b.mean(0)).square().sum()
    a = (a - a.mean(0)) / math.sqrt(len(a) - 1)
    b = (b - b.mean(0)) / math.sqrt(len(b) - 1)
    small = [torch.linalg.qr(x, mode="r").R for x in (a, b)]  # the same covariances
    common = torch.linalg.svdvals(small[0] @ small[1].T).sum()
    return max(0.0, float(apart + a.square().sum() + b.square().sum() - 2 * common))


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
