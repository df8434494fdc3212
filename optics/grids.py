"""The one grid of the package: sample centres at (n - (N - 1) / 2) * spacing."""

import torch
from torch import Tensor


def coordinates(samples: int, spacing: float, *, device: torch.device | None = None) -> Tensor:
    """Coordinates of `samples` sample centres, symmetric about zero.

    Parameters
    ----------
    samples : int
        Number of samples.
    spacing : float
        Distance of neighbouring centres [m].
    device : torch.device, optional
        Where the result lives.

    Returns
    -------
    Tensor
        Float64 (samples,) [m].
    """
    return (torch.arange(samples, dtype=torch.float64, device=device) - (samples - 1) / 2) * spacing


def squared_radius(shape: tuple[int, int], spacing: float) -> Tensor:
    """Squared distance of every sample from the axis, float64 (H, W) [m^2]."""
    y, x = (coordinates(n, spacing) for n in shape)
    return y[:, None] ** 2 + x[None, :] ** 2


def disc_coverage(
    shape: tuple[int, int],
    spacing: float,
    diameter: float,
    *,
    centre: tuple[float, float] = (0.0, 0.0),
) -> Tensor:
    """Share of every sample's square that lies inside a disc.

    An area-weighted ("grey") rim brings the Airy pattern of a sampled stop an order of
    magnitude closer to the closed form than a binary one.

    Parameters
    ----------
    shape : tuple of int
        Samples (H, W).
    spacing : float
        Sample side [m].
    diameter : float
        Disc diameter [m].
    centre : tuple of float
        Where the disc stands, (y, x) from the middle of the grid [m].

    Returns
    -------
    Tensor
        Float64 (H, W) in [0, 1].
    """
    radius = diameter / 2
    down, across = (coordinates(n, spacing) - c for n, c in zip(shape, centre, strict=True))
    distance = (down[:, None] ** 2 + across**2).sqrt()
    cover = (distance <= radius).to(torch.float64)
    rim = (distance - radius).abs() < 0.75 * spacing  # half a diagonal is 0.7071
    rows, columns = rim.nonzero(as_tuple=True)
    parts = 32
    offset = coordinates(parts, spacing / parts)
    y = down[rows, None, None] + offset[:, None]
    # along x the chord is known exactly; only y is summed
    half_chord = (radius**2 - y[:, :, 0] ** 2).clamp(min=0).sqrt()
    middle = across[columns, None]
    low = torch.maximum(-half_chord, middle - spacing / 2)
    high = torch.minimum(half_chord, middle + spacing / 2)
    cover[rows, columns] = ((high - low).clamp(min=0) / spacing).mean(-1)
    return cover
