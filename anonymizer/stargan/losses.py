"""Losses of generator and discriminator as plain functions."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def score_loss(scores: Tensor, *, real: bool) -> Tensor:
    """Binary cross entropy of discriminator scores (B,), each called real or not [nat]."""
    return F.softplus(-scores if real else scores).mean()


def gradient_penalty(discriminator: Callable[[Tensor], Tensor], pictures: Tensor) -> Tensor:
    """R1: half the squared gradient of the scores at real pictures, summed over a picture.

    References
    ----------
    L. Mescheder, A. Geiger, S. Nowozin, "Which Training Methods for GANs do actually Converge?",
    ICML 2018, eq. 9.
    """
    pictures = pictures.detach().requires_grad_(True)
    scores = discriminator(pictures).sum()
    (gradient,) = torch.autograd.grad(scores, pictures, create_graph=True)
    return 0.5 * gradient.square().sum((1, 2, 3)).mean()


def hinge(values: Tensor, limit: float) -> Tensor:
    """Mean excess of `values` over `limit`; zero, and without gradient, where there is none."""
    return (values - limit).clamp(min=0).mean()


def fixed(module: nn.Module, *arguments: Any) -> Any:
    """Call `module` with its weights held fixed: gradients reach the arguments alone."""
    frozen = {name: value.detach() for name, value in module.named_parameters()}
    return torch.func.functional_call(module, frozen, arguments)
