"""Effects of a process on a height map (H, W), each a differentiable function.

Lengths in metres; y down the rows; a positive shift moves the surface to larger rows and columns.
Beyond its edges a surface goes on with its edge value, for the blur with its mirror image.
"""

import math

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from optics.units import check_positive


def round_levels(height: Tensor, *, level_height: float, levels: int) -> Tensor:
    """Heights on `levels` levels, straight-through: the gradient is that of the height given.

    Parameters
    ----------
    height : Tensor
        Real (H, W), rounded to the nearest level; level `levels` is level 0 [m].
    level_height : float
        Height of one level above the one below [m].
    levels : int
        Number of levels.
    """
    steps = (height.detach() / check_positive("level_height", level_height, "m")).round()
    return steps.remainder(levels) * level_height + (height - height.detach())


def minimum_feature(height: Tensor, *, cells: int) -> Tensor:
    """Remove ridges, then gaps, that no square of `cells` x `cells` fits into.

    A grey-scale opening (the largest surface below `height` made of such squares) followed by a
    closing (the smallest above the result). The gradient goes to the cells that set the minimum
    and the maximum.

    Parameters
    ----------
    height : Tensor
        Real (H, W) [m].
    cells : int
        Side of the square; 1 changes nothing.

    References
    ----------
    J. Serra, *Image Analysis and Mathematical Morphology* (1982), ch. XII.
    """
    if cells <= 1:
        return height
    return -_opened(-_opened(height, cells), cells)


def lateral_blur(height: Tensor, *, sigma: Tensor, cell: float, pixelated: bool) -> Tensor:
    r"""Surface convolved with a Gaussian, mirrored at its edges.

    Flat cells: the mean over every cell of the blurred flat cells, with the weights

    .. math:: K_d = F(d + 1) - 2 F(d) + F(d - 1), \qquad
              F(t) = t \, \Phi(t / s) + s \, \phi(t / s), \quad s = \sigma / \text{cell}

    per axis, where phi and Phi are the normal density and its integral. Smooth surfaces: the factor
    exp(-2 pi^2 sigma^2 f^2) on the cosine transform, exact for what the samples stand for.

    Parameters
    ----------
    height : Tensor
        Real (H, W) [m].
    sigma : Tensor
        Scalar standard deviation, 0 or more [m].
    cell : float
        Cell side or sample spacing [m].
    pixelated : bool
        Whether the samples are flat cells, as of `optics.Mask`.
    """
    if float(sigma.detach()) < 0:
        raise ValueError(f"blur = {float(sigma.detach()):g} m: a standard deviation is 0 or more")
    if not pixelated:
        return _smooth_blur(height, sigma.to(height) / cell)
    return _cell_blur(_cell_blur(height, sigma.to(height) / cell).mT, sigma.to(height) / cell).mT


def decentre_smooth(height: Tensor, shift: Tensor) -> Tensor:
    """Smooth surface (H, W) shifted by (2,) samples: cubic convolution.

    The error is of third order in the spacing (R. G. Keys, IEEE Trans. ASSP 29, 1153 (1981),
    eq. 15).
    """
    for dim in (0, 1):
        whole = shift[dim].detach().floor()
        u = 1 - (shift[dim] - whole)  # from the sample before
        weights = (
            ((-u + 2) * u - 1) * u / 2,
            ((3 * u - 5) * u * u + 2) / 2,
            ((-3 * u + 4) * u + 1) * u / 2,
            (u - 1) * u * u / 2,
        )
        # the four samples around n - shift: n - whole - 2, ..., n - whole + 1
        taps = [moved(height, int(whole) + 2 - k, dim) * w for k, w in enumerate(weights)]
        height = torch.stack(taps).sum(0)
    return height


def decentre_cells(height: Tensor, shift: Tensor, *, wrap_height: float) -> Tensor:
    """Flat cells (H, W) shifted by (2,) cells, rounded to whole ones.

    Between whole cells the mean height says nothing of the light at a wrap. The gradient is that
    of the mean slope to both neighbours, each taken modulo the wrap.
    """
    whole = shift.detach().round()
    for dim in (0, 1):
        height = moved(height, int(whole[dim]), dim)
    if not carries_gradient(shift):
        return height
    gradient_only = shift - shift.detach()
    slopes = []
    for dim in (0, 1):
        held = height.detach()
        steps = [moved(held, -1, dim) - held, held - moved(held, 1, dim)]
        slopes.append(sum(s - (s / wrap_height).round() * wrap_height for s in steps) / 2)
    return height - gradient_only[0] * slopes[0] - gradient_only[1] * slopes[1]


def carries_gradient(value: Tensor) -> bool:
    """Whether a derivative of `value` is wanted, backwards or forwards."""
    dual = forward_ad.unpack_dual(value)  # type: ignore[no-untyped-call]
    return value.requires_grad or dual.tangent is not None


def mirrored(index: Tensor, size: int) -> Tensor:
    """Cells that stand for those at `index` beyond either end of `size` cells."""
    index = torch.where(index < 0, -1 - index, index)
    return torch.where(index >= size, 2 * size - 1 - index, index)


def moved(values: Tensor, cells: int, dim: int) -> Tensor:
    """Values shifted by whole cells towards larger numbers; the edge value moves in."""
    size = values.shape[dim]
    source = (torch.arange(size, device=values.device) - cells).clamp(0, size - 1)
    return values.index_select(dim, source)


def _opened(height: Tensor, cells: int) -> Tensor:
    """Largest surface below `height` made of flat squares: erosion, then dilation."""
    reach = cells - 1
    padded = nn.functional.pad(height[None, None], (reach,) * 4, mode="replicate")
    eroded = -nn.functional.max_pool2d(-padded, cells, stride=1)
    out: Tensor = nn.functional.max_pool2d(eroded, cells, stride=1)[0, 0]
    return out


def _cell_blur(height: Tensor, sigma: Tensor) -> Tensor:
    """Blur of flat cells along the rows' direction (dim 0); `sigma` in cells."""
    size = height.shape[0]
    reach = math.ceil(5 * float(sigma.detach())) + 1  # 6e-7 of a Gaussian lies beyond
    if reach > size:
        raise ValueError(
            f"blur of {float(sigma.detach()):.3g} cells reaches over all {size} of them; use "
            f"less than {size / 5:.3g} cells"
        )
    spread = sigma + 1e-12  # a number at 0, where the limit is the identity
    place = torch.arange(reach + 2, dtype=height.dtype, device=height.device) / spread
    density = torch.exp(-place.square() / 2) / math.sqrt(2 * math.pi)
    # F(t) for t >= 0, and F(-t) = F(t) - t
    once = spread * (place * torch.special.ndtr(place) + density)
    weights = torch.cat(
        [(2 * once[1] - 1 - 2 * once[0])[None], once[2:] - 2 * once[1:-1] + once[:-2]]
    )
    weights = weights / (weights[0] + 2 * weights[1:].sum())
    index = torch.arange(-reach, size + reach, device=height.device)
    padded = height.index_select(0, mirrored(index, size))
    out = weights[0] * padded[reach : reach + size]
    for d in range(1, reach + 1):
        pair = padded[reach - d : reach - d + size] + padded[reach + d : reach + d + size]
        out = out + weights[d] * pair
    return out


def _smooth_blur(height: Tensor, sigma: Tensor) -> Tensor:
    """Blur of a smooth surface by its cosine transform; `sigma` in samples."""
    rows, columns = height.shape
    mirrored = torch.cat([height, height.flip(0)])
    mirrored = torch.cat([mirrored, mirrored.flip(1)], dim=1)
    fy = torch.fft.fftfreq(2 * rows, dtype=height.dtype, device=height.device)
    fx = torch.fft.rfftfreq(2 * columns, dtype=height.dtype, device=height.device)
    low = torch.exp(-2 * (math.pi * sigma) ** 2 * (fy[:, None] ** 2 + fx**2))
    spectrum = torch.fft.rfft2(mirrored) * (low / (4 * rows * columns))  # unscaled transforms
    out: Tensor = torch.fft.irfft2(spectrum, s=mirrored.shape, norm="forward")
    return out[:rows, :columns]
