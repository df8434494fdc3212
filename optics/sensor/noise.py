"""Draws of sensor noise with useful gradients, and the moments of what saturates.

Every draw takes one generator for a whole batch, or one per picture: then the noise of a picture
does not depend on the batch it is in.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

#: One source of noise for a batch, or one per picture.
Generators = torch.Generator | Sequence[torch.Generator]


def normal(like: Tensor, generator: Generators) -> Tensor:
    """Draw standard normals of the shape of `like` (B, ...), where the generator lives."""
    if isinstance(generator, torch.Generator):
        draw = torch.randn(
            like.shape, generator=generator, dtype=like.dtype, device=generator.device
        )
    else:
        shape = like.shape[1:]
        draw = torch.stack(
            [torch.randn(shape, generator=g, dtype=like.dtype, device=g.device) for g in generator]
        )
    return draw.to(like.device)


def shot_noise(electrons: Tensor, generator: Generators) -> Tensor:
    """Poisson counts of mean `electrons`; normal above 200 e-, where the skew is under 0.07."""
    mean = electrons.detach()
    counts = mean + mean.sqrt() * normal(mean, generator)
    each = [generator] if isinstance(generator, torch.Generator) else generator
    for part, expected, source in zip(
        counts.chunk(len(each)), mean.chunk(len(each)), each, strict=True
    ):
        few = expected < 200
        if bool(few.any()):
            few_means = expected[few].to(source.device)
            part[few] = torch.poisson(few_means, generator=source).to(part)
    # pathwise: the deviation grows with the square root of the mean
    slope = 1 + (counts - mean) / (2 * mean.clamp(min=1))
    return counts + slope * (electrons - mean)


def round_straight_through(value: Tensor) -> Tensor:
    """Nearest whole number, with the gradient of the identity."""
    return value + (value.round() - value).detach()


def fixed_pattern(shape: Sequence[int], seed: int, like: Tensor) -> Tensor:
    """Draw standard normals that are the same at every call, for arithmetic with `like`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float64).to(like)


def censored_moments(
    mean: Tensor, variance: Tensor, low: Tensor | float, high: Tensor | float
) -> tuple[Tensor, Tensor]:
    r"""Mean and variance of a normal variable of which all beyond `low` and `high` sits there.

    With :math:`\alpha, \beta` the limits in standard deviations from the mean,

    .. math::
        E z &= \alpha \Phi(\alpha) + \beta \Phi(-\beta) + \phi(\alpha) - \phi(\beta) \\
        E z^2 &= \alpha^2 \Phi(\alpha) + \beta^2 \Phi(-\beta) + \Phi(\beta) - \Phi(\alpha)
                 + \alpha \phi(\alpha) - \beta \phi(\beta)

    Parameters
    ----------
    mean, variance : Tensor
        Of the variable before the limits; any shape and unit.
    low, high : Tensor or float
        Limits, low < high.

    Returns
    -------
    tuple of Tensor
        Mean and variance after the limits, same shape, float64.

    References
    ----------
    J. Tobin, "Estimation of relationships for limited dependent variables", Econometrica 26, 24
    (1958); W. H. Greene, *Econometric Analysis*, theorem 19.3 for the censored moments.
    """
    mean = mean.to(torch.float64)
    # no noise at all would divide by zero; 1e-6 electrons are none
    sigma = variance.to(torch.float64).clamp(min=1e-12).sqrt()
    # 40 deviations beyond the mean nothing is left, and infinity times zero is not a number
    alpha = ((low - mean) / sigma).clamp(min=-40)
    beta = ((high - mean) / sigma).clamp(max=40)
    below, above = torch.special.ndtr(alpha), torch.special.ndtr(-beta)
    inside = torch.special.ndtr(beta) - below
    at_low, at_high = _density(alpha), _density(beta)
    first = alpha * below + beta * above + at_low - at_high
    second = alpha**2 * below + beta**2 * above + inside + alpha * at_low - beta * at_high
    return mean + sigma * first, sigma**2 * (second - first**2).clamp(min=0)


def saturating_moments(
    mean: Tensor,
    variance: Tensor,
    *,
    full_well: Tensor | float,
    later_variance: Tensor | float,
    low: Tensor | float,
    high: Tensor | float,
    step: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Return the moments of a normal charge cut by a well, then of noise, rounding and limits.

    Parameters
    ----------
    mean, variance : Tensor
        Charge before the well [e-], [e-^2].
    full_well : Tensor or float
        The well keeps no more than this [e-].
    later_variance : Tensor or float
        Noise added after the well [e-^2].
    low, high : Tensor or float
        Limits of the converter [e-].
    step : float
        Step of the converter, whose numbers `low` and `high` are [e-].

    Returns
    -------
    tuple of Tensor
        Mean [e-] and variance [e-^2], float64.

    Notes
    -----
    Where the well is never full, or lies beyond the converter, all noise is one normal variable
    and the result exact. Elsewhere a full well is one case, exact again, and the other charges
    are averaged over the later noise by Gauss-Hermite quadrature of 16 nodes. Rounding enters to
    second order of the step (Euler-Maclaurin): exact to a hundredth of it with a noise of half a
    step or more.
    """
    mean, variance = mean.to(torch.float64), variance.to(torch.float64)

    def like(value: Tensor | float) -> Tensor:
        return torch.as_tensor(value, dtype=torch.float64, device=mean.device)

    well, later, low, high = like(full_well), like(later_variance), like(low), like(high)
    alone = _one_normal(mean, variance + later, low, high, step)
    deviation = variance.detach().sqrt()
    free = (well - mean.detach() >= 8 * deviation) | (well - high >= 8 * later.sqrt())
    if bool(free.all()):
        return alone
    # charges at the well's edge, whose noise meets the corner of the converter, in closed form
    full = torch.special.ndtr((mean - well) / variance.clamp(min=1e-12).sqrt())
    edge = _one_normal(well, later, low, high, step)
    reference = edge[0].detach()
    total = full * (edge[0] - reference)
    square = full * (edge[1] + (edge[0] - reference) ** 2)
    # the others by quadrature over the later noise
    nodes, weights = np.polynomial.hermite_e.hermegauss(16)
    for node, weight in zip(nodes.tolist(), (weights / weights.sum()).tolist(), strict=True):
        q = later.sqrt() * node
        top = torch.maximum(torch.minimum(well, high - q), low - q)
        first, second = censored_moments(mean, variance, low - q, top)
        own = torch.minimum(torch.maximum(well + q, low), high) - reference
        off = first + q - reference
        total = total + weight * (off - full * own)
        square = square + weight * (second + off**2 - full * own**2)
    spread = (square - total**2 + step**2 / 12 * (1 - full)).clamp(min=0)
    total = total + reference
    return torch.where(free, alone[0], total), torch.where(free, alone[1], spread)


def _one_normal(
    mean: Tensor, variance: Tensor, low: Tensor, high: Tensor, step: float
) -> tuple[Tensor, Tensor]:
    """Moments of a normal variable that the converter rounds and clips.

    A whole number that is at least k is a value above k - 1/2: its moments are midpoint sums over
    the tail, and the next term of their expansion is that of the slopes at the two limits.
    """
    first, second = censored_moments(mean, variance, low, high)
    if not step:
        return first, second
    sigma = variance.clamp(min=step**2 / 100).sqrt()  # less noise than that is not smooth
    alpha, beta = (low - mean) / sigma, (high - mean) / sigma
    inside = torch.special.ndtr(beta) - torch.special.ndtr(alpha)
    at_low, at_high = _density(alpha) / sigma, _density(beta) / sigma
    slopes = (high - first) * at_high + (first - low) * at_low
    return (
        first + step**2 / 24 * (at_high - at_low),
        second + step**2 / 12 * (inside + slopes),
    )


def _density(x: Tensor) -> Tensor:
    return torch.exp(-(x**2) / 2) * 0.3989422804014327  # 1 / sqrt(2 pi)
