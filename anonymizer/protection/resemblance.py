r"""How much of a picture shows in another, whatever its brightness, contrast or colours.

Eyes, and any attacker, undo gain and offset, negatives and false colours, and they see a face in
noise that is louder where the face is dark. Both are measured as squared correlations,

.. math:: r^2 = \frac{\mathrm{cov}(x, w)^2}{\mathrm{var}(x)\,\mathrm{var}(w)},

from 0 (nothing shows) to 1 (all of it). Pictures are (B, 3, H, W), sRGB, unbounded: what is cut
off at black and white can be had from values that were never cut.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_WINDOW = 8  # samples a side
_SCALES = 3  # each half as fine as the one before
_QUIET = 1e-4  # variance of sRGB (1 % of its range, squared) in which nothing can show
_FLOOR = 1e-6  # of variances of `found`, as a share of their mean: its contrast must not count


def structure_shown(found: Tensor, original: Tensor) -> Tensor:
    """Return how much of the original's structure shows in `found`, (B,) from 0 to 1.

    The mean over small windows, three scales and the colours of `found` of its squared correlation
    with the mean of the original's colours; windows in which the original is even count as 0.
    """
    wanted = original.mean(dim=1, keepdim=True)
    shares = []
    for scale in range(_SCALES):
        if scale:
            wanted, found = F.avg_pool2d(wanted, 2), F.avg_pool2d(found, 2)
        shares.append(_windowed(found, wanted).flatten(1).mean(dim=1))
    return torch.stack(shares).mean(dim=0)


def loudness_shown(found: Tensor, original: Tensor) -> Tensor:
    """Return how much of the original shows in how strongly `found` varies, (B,) from 0 to 1.

    The mean squared correlation, over the whole picture, of the logarithm of the variance of each
    colour of `found` in cells of 4 px, with the original's mean there, that mean's distance from
    the whole picture's, and the logarithm of its own variance.
    """
    wanted = original.mean(dim=1, keepdim=True)
    mean, variance = _cells(wanted)
    middle = mean.mean(dim=(-2, -1), keepdim=True)
    seen = torch.cat((mean, (mean - middle).abs(), (variance + _QUIET).log()), dim=1).flatten(2)
    loud = _floored(_cells(found)[1]).log().flatten(2)
    seen, loud = (x - x.mean(dim=-1, keepdim=True) for x in (seen, loud))
    seen, loud = (F.normalize(x, dim=-1, eps=1e-6) for x in (seen, loud))
    return (seen @ loud.mT).square().mean(dim=(1, 2))


def _windowed(found: Tensor, wanted: Tensor) -> Tensor:
    """Return the squared correlations of windows, (B, 3, h, w)."""

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, min(_WINDOW, *x.shape[-2:]), stride=_WINDOW // 2)

    # differences of the whole picture's mean, so that products keep their digits
    x, w = (v - v.mean(dim=(-2, -1), keepdim=True) for v in (wanted, found))
    mean_x, mean_w = mean(x), mean(w)
    var_x = (mean(x * x) - mean_x.square()).clamp(min=0)
    var_w = (mean(w * w) - mean_w.square()).clamp(min=0)
    both = mean(x * w) - mean_x * mean_w
    return both.square() / ((var_x + _QUIET) * _floored(var_w))


def _floored(variance: Tensor) -> Tensor:
    return variance + _FLOOR * variance.mean(dim=(-2, -1), keepdim=True) + 1e-20


def _cells(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of cells of 4 px."""
    mean = F.avg_pool2d(x, 4)
    coarse = F.interpolate(mean, scale_factor=4, mode="nearest")
    rows, columns = coarse.shape[-2:]
    return mean, F.avg_pool2d((x[..., :rows, :columns] - coarse).square(), 4)
