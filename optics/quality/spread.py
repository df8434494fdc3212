"""Where the energy of a PSF lies."""

import torch
from torch import Tensor

from optics.grids import coordinates


def energy_inside(psf: Tensor) -> Tensor:
    """Energy fraction inside the window (..., H, W) -> (...)."""
    return psf.sum((-2, -1))


def rms_radius(psf: Tensor) -> Tensor:
    """Root-mean-square distance from the centroid (..., H, W) -> (...), in pixels."""
    y = coordinates(psf.shape[-2], 1.0).to(psf)
    x = coordinates(psf.shape[-1], 1.0).to(psf)
    total = psf.sum((-2, -1))
    mean_y = (psf.sum(-1) * y).sum(-1) / total
    mean_x = (psf.sum(-2) * x).sum(-1) / total
    square = (psf.sum(-1) * y**2).sum(-1) + (psf.sum(-2) * x**2).sum(-1)
    return (square / total - mean_y**2 - mean_x**2).clamp(min=0).sqrt()


def encircled_energy(psf: Tensor, radius: float) -> Tensor:
    """Share of the window's energy within `radius` pixels of its centre, (..., H, W) -> (...)."""
    y = coordinates(psf.shape[-2], 1.0).to(psf)
    x = coordinates(psf.shape[-1], 1.0).to(psf)
    inside = (y[:, None] ** 2 + x[None, :] ** 2 <= radius**2).to(psf)
    return (psf * inside).sum((-2, -1)) / psf.sum((-2, -1))


def encircled_radius(psf: Tensor, fraction: float = 0.8) -> Tensor:
    """Radius about the window's centre that holds `fraction` of the window's energy, in pixels.

    Parameters
    ----------
    psf : Tensor
        (..., H, W), zero or more, not all zero.
    fraction : float
        Share of the energy in (0, 1).

    Returns
    -------
    Tensor
        (...). Differentiable.

    Notes
    -----
    A pixel at the rim counts with the share of it that lies inside, to second order of the
    rim's curvature, so that the radius changes smoothly; below one pixel it means little.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction = {fraction:g} is outside (0, 1); it is a share of the energy")
    y = coordinates(psf.shape[-2], 1.0).to(psf)[:, None]
    x = coordinates(psf.shape[-1], 1.0).to(psf)[None, :]
    distance = torch.hypot(y, x)
    # extent of a unit square seen along the direction to the centre
    depth = torch.where(distance > 0, (y.abs() + x.abs()) / distance.clamp(min=0.5), 1.0)
    # a rim that is curved inwards passes the pixel's centre before half of it is inside
    distance = distance + depth.square() / (24 * distance.clamp(min=0.5))
    energy = psf / psf.sum((-2, -1), keepdim=True)

    def surplus(radius: Tensor) -> Tensor:
        inside = ((radius[..., None, None] - distance) / depth + 0.5).clamp(0, 1)
        return (energy * inside).sum((-2, -1)) - fraction

    with torch.no_grad():
        low = torch.zeros(psf.shape[:-2], dtype=psf.dtype, device=psf.device)
        high = low + float(distance.max()) + 1
        for _ in range(50):  # halves 2^50 times: rounding decides before that
            middle = (low + high) / 2
            short = surplus(middle) < 0
            low, high = torch.where(short, middle, low), torch.where(short, high, middle)
        radius = (low + high) / 2
        rim = (((radius[..., None, None] - distance) / depth).abs() <= 0.5) / depth
        slope = (energy * rim).sum((-2, -1)).clamp(min=torch.finfo(psf.dtype).tiny)
    # one Newton step: no change of the value, but the gradient of the implicit function
    return radius - surplus(radius) / slope
