r"""Scenes in depth: layers with their own PSFs, nearer ones in front of farther ones.

Layers run from back to front. With the light :math:`l_k` and the coverage :math:`\alpha_k` of
layer k, its PSF :math:`h_k` and the normaliser :math:`E_k`,

.. math:: y = \sum_k \tilde l_k \prod_{j > k} (1 - \tilde\alpha_j) , \quad
          \tilde l_k = \frac{h_k * (\alpha_k l_k)}{E_k} , \quad
          \tilde\alpha_k = \frac{h_k * \alpha_k}{E_k} , \quad
          E_k = h_k * \sum_{j \le k} \alpha_j ,

so that a layer goes on, as an average of what is seen of it, behind those in front of it: a
defocused foreground lets the background through its soft edge and makes no dark seam around
itself (Ikoma et al. 2021). Where a PSF is too narrow to see anything of the layer, nothing would
be left to divide by; there the layer goes on as a smooth extension of itself.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from optics.imaging.uniform import blur, check_sides, surround_light
from optics.units import check_count, check_length

# How much the extension counts beside what is seen. Small, so that what is seen decides wherever
# the PSF reaches it; large enough to divide rounding errors of a blur (1e-7) by it.
_GUESS = 0.01


def layer_distances(nearest: float, farthest: float, count: int) -> list[float]:
    """Distances of `count` layers at equal steps in dioptres, back to front [m].

    Defocus is proportional to the vergence 1 / d, so equal steps in it are equal steps in blur.

    Examples
    --------
    >>> layer_distances(0.5, 2.0, 4)
    [2.0, 1.0, 0.6666666666666666, 0.5]
    """
    check_length("object_distance", nearest)
    check_length("object_distance", farthest)
    check_count("count", count, 2)
    if nearest >= farthest:
        raise ValueError(
            f"nearest = {nearest:g} m, farthest = {farthest:g} m: the nearest layer must be nearer"
        )
    low, high = 1 / farthest, 1 / nearest
    inner = [1 / (low + (high - low) * k / (count - 1)) for k in range(1, count - 1)]
    return [farthest, *inner, nearest]


def layer_coverage(depth: Tensor, distances: Sequence[float]) -> Tensor:
    """Slice a depth map into layers: soft, adding up to one, linear in dioptres.

    Parameters
    ----------
    depth : Tensor
        (B, 1, H, W) distance of every pixel [m]; beyond the outer layers it belongs to those.
    distances : sequence of float
        L layers, back to front, strictly decreasing [m].

    Returns
    -------
    Tensor
        (L, B, 1, H, W) coverage; a pixel between two layers is shared by their vergence.
    """
    if depth.ndim != 4 or depth.shape[1] != 1:
        raise ValueError(f"depth is {tuple(depth.shape)}, expected (B, 1, H, W)")
    layers = [check_length("object_distance", d) for d in distances]
    if not layers or any(a <= b for a, b in pairwise(layers)):
        raise ValueError(
            f"distances = {layers} m: at least one, strictly decreasing from back to front"
        )
    if not bool((depth > 0).all()):
        raise ValueError(
            f"depth = {float(depth.min()):g} m at its nearest: distances along the axis are "
            f"positive; replace missing values first"
        )
    if len(layers) == 1:
        return torch.ones_like(depth)[None]
    vergence = depth.reciprocal()
    # share of the nearer one of two neighbours, over every gap
    rises = [
        ((vergence - 1 / far) / (1 / near - 1 / far)).clamp(0, 1) for far, near in pairwise(layers)
    ]
    reached = [torch.ones_like(depth), *rises, torch.zeros_like(depth)]
    return torch.stack([a - b for a, b in pairwise(reached)])


def blur_layers(
    light: Tensor,
    coverage: Tensor,
    psfs: Tensor,
    *,
    surround: Tensor | None = None,
) -> Tensor:
    """Irradiance of a layered scene, each layer through its own PSF, with occlusion.

    Parameters
    ----------
    light : Tensor
        (L, B, C, H, W) linear light of the layers, back to front, not multiplied by their
        coverage; (B, C, H, W) if all are seen in one picture.
    coverage : Tensor
        (L, B, 1, H, W) in [0, 1]: the share of a pixel that a layer takes. Shares of a picture
        that was sliced add up to one (`layer_coverage`); with layers known behind each other the
        sum is above one, and nothing has to be guessed.
    psfs : Tensor
        (L, C, h, w), odd sides: the PSF of every layer.
    surround : Tensor, optional
        (B, C) linear light outside the scene, behind all layers; black if left out.

    Returns
    -------
    Tensor
        (B, C, H, W). With one PSF for all layers of a sliced picture it is `blur` of that picture
        and conserves its light (to the weight of the extension, 1 %); with PSFs that differ, light
        is hidden and uncovered, as it is.

    Notes
    -----
    Where no layer covers a pixel, the picture goes on from what is around. Blurred edges that
    lie over each other in different layers are taken as statistically independent. A layer in
    front ends at the border of the scene, where the surround begins.

    References
    ----------
    H. Ikoma, C. M. Nguyen, C. A. Metzler, Y. Peng, G. Wetzstein, "Depth from defocus with learned
    optics for imaging and occlusion-aware depth estimation", ICCP 2021: the nonlinear model.
    """
    light = _check_layers(light, coverage, psfs)
    back = surround_light(light[0], surround)
    seen = torch.zeros_like(coverage[0])
    image = torch.zeros_like(light[0])
    for index in range(len(light)):
        seen = (seen + coverage[index]).clamp(max=1)
        behind = index == 0
        shown, covered = _through(
            light[index], coverage[index], seen, psfs[index], back=back if behind else None
        )
        image = shown if behind else image * (1 - covered) + shown
    return image


def _through(
    light: Tensor, coverage: Tensor, seen: Tensor, psf: Tensor, *, back: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Light and coverage of one layer on the sensor, each (B, C, H, W).

    `seen` is the share not hidden by what is in front, `back` the light of the surround if this
    is the layer that goes on there; the backmost, whose coverage hides nothing.
    """
    batch, colours = light.shape[:2]
    hidden = _GUESS * (1 - seen)
    guess = extend(torch.cat([coverage * light, coverage], 1), seen)
    planes = [
        coverage * light + hidden * guess[:, :colours],
        (coverage + hidden * guess[:, colours:]).expand_as(light),
        (seen + hidden).expand_as(light),
    ]
    outside = light.new_zeros(3, batch, colours)
    outside[2] = 1
    if back is not None:
        outside[0] = back.expand(batch, colours, 1, 1)[:, :, 0, 0]
    blurred = blur(torch.cat(planes), psf, surround=outside.flatten(0, 1))
    shown, covered, weight = blurred.chunk(3)
    return shown / weight * psf.sum((-2, -1))[:, None, None], covered / weight


def extend(values: Tensor, weight: Tensor) -> Tensor:
    """Continue a picture smoothly to where its weight is zero.

    Parameters
    ----------
    values : Tensor
        (B, C, H, W), already multiplied by the weight.
    weight : Tensor
        (B, 1, H, W) in [0, 1].

    Returns
    -------
    Tensor
        (B, C, H, W): `values` where the weight is one, what is around elsewhere; zero if the
        weight is zero everywhere.

    References
    ----------
    S. J. Gortler, R. Grzeszczuk, R. Szeliski, M. F. Cohen, "The Lumigraph", SIGGRAPH 1996:
    pull and push.
    """
    size = (values.shape[-2], values.shape[-1])
    if size == (1, 1):
        return torch.where(weight > 0, values / weight.where(weight > 0, 1), 0 * values)
    coarse = extend(_halve(values), _halve(weight))
    around = functional.interpolate(coarse, size=size, mode="bilinear", align_corners=False)
    return values + (1 - weight) * around


def _halve(values: Tensor) -> Tensor:
    """Mean of every 2 x 2 block, or of what there is of it at an odd end."""
    return functional.avg_pool2d(values, 2, ceil_mode=True, count_include_pad=False)


def _check_layers(light: Tensor, coverage: Tensor, psfs: Tensor) -> Tensor:
    """Refuse shapes that do not fit; return `light` as (L, B, C, H, W)."""
    if light.ndim == 4:
        light = light.expand(len(coverage), *light.shape)
    fits = (
        light.ndim == 5
        and coverage.shape == (*light.shape[:2], 1, *light.shape[-2:])
        and psfs.ndim == 4
        and psfs.shape[:2] == (light.shape[0], light.shape[2])
    )
    if not fits:
        raise ValueError(
            f"light is {tuple(light.shape)}, coverage {tuple(coverage.shape)} and psfs "
            f"{tuple(psfs.shape)}, expected (L, B, C, H, W), (L, B, 1, H, W) and (L, C, h, w)"
        )
    check_sides("psfs", psfs, "same")
    # a partition of unity may be off by its rounding
    if bool((coverage < -1e-6).any() | (coverage > 1 + 1e-6).any()):
        raise ValueError(
            f"coverage is within [{float(coverage.min()):g}, {float(coverage.max()):g}]: shares "
            f"from 0 to 1 are needed"
        )
    return light
