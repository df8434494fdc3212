"""Landmark heatmaps: targets, boundary map, and coordinates read back from maps.

Landmarks are (B, K, 2) as (x, y) in pixels of the network's square input, pixel centres at whole
numbers. A heatmap of side M over an input of side S covers the same square: input pixel x lies at
(x + 1/2) M / S - 1/2.
"""

import torch
from torch import Tensor

#: iBUG-68 polylines that make the boundary map: contour, brows, nose, eyes, lips.
IBUG68_CURVES: tuple[tuple[int, ...], ...] = (
    tuple(range(17)),
    tuple(range(17, 22)),
    tuple(range(22, 27)),
    tuple(range(27, 31)),
    tuple(range(31, 36)),
    (*range(36, 42), 36),
    (*range(42, 48), 42),
    (*range(48, 60), 48),
    (*range(60, 68), 60),
)


def to_map(landmarks: Tensor, size: int, map_size: int) -> Tensor:
    """Input pixels of a `size` square -> pixels of a `map_size` square over it."""
    return (landmarks + 0.5) * (map_size / size) - 0.5


def from_map(landmarks: Tensor, size: int, map_size: int) -> Tensor:
    """Pixels of a `map_size` square -> input pixels of the `size` square under it."""
    return (landmarks + 0.5) * (size / map_size) - 0.5


def _offsets(positions: Tensor, samples: int) -> Tensor:
    """Differences (..., samples) of every sample to each position (...)."""
    grid = torch.arange(samples, dtype=positions.dtype, device=positions.device)
    return grid - positions[..., None]


def gaussian_heatmaps(landmarks: Tensor, map_size: int, *, sigma: float = 1.0) -> Tensor:
    """One Gaussian of peak 1 per landmark.

    Parameters
    ----------
    landmarks : Tensor
        (B, K, 2) in pixels of the map.
    map_size : int
        Side of the square maps.
    sigma : float, default 1.0
        Standard deviation in pixels of the map.

    Returns
    -------
    Tensor
        (B, K, map_size, map_size) in [0, 1].
    """
    lines = torch.exp(-_offsets(landmarks, map_size).square() / (2 * sigma**2))
    return lines[:, :, 1, :, None] * lines[:, :, 0, None, :]


def boundary_map(landmarks: Tensor, map_size: int, *, sigma: float = 1.0, steps: int = 4) -> Tensor:
    """Ridge of height 1 along the facial curves through iBUG-68 `landmarks`.

    Parameters
    ----------
    landmarks : Tensor
        (B, 68, 2) in pixels of the map.
    map_size : int
        Side of the square map.
    sigma : float, default 1.0
        Half width of the ridge in pixels of the map.
    steps : int, default 4
        Points per segment of each curve.

    Returns
    -------
    Tensor
        (B, 1, map_size, map_size) in [0, 1].
    """
    pairs = [(c[i], c[i + 1]) for c in IBUG68_CURVES for i in range(len(c) - 1)]
    start, end = (torch.tensor(t, device=landmarks.device) for t in zip(*pairs, strict=True))
    share = torch.arange(steps, dtype=landmarks.dtype, device=landmarks.device) / steps
    points = torch.lerp(
        landmarks[:, start, None, :], landmarks[:, end, None, :], share[:, None]
    ).flatten(1, 2)
    points = torch.cat((points, landmarks[:, [c[-1] for c in IBUG68_CURVES]]), 1)
    lines = torch.exp(-_offsets(points, map_size).square() / (2 * sigma**2))
    out = [
        (column[:, :, None] * row[:, None, :]).amax(0)
        for column, row in zip(lines[:, :, 1], lines[:, :, 0], strict=True)
    ]
    return torch.stack(out)[:, None]


def soft_argmax(probability: Tensor) -> Tensor:
    """Return the mean position under maps of sum 1: (B, K, M, M') -> (B, K, 2) [map px]."""
    rows, columns = probability.shape[-2:]
    y = torch.arange(rows, dtype=probability.dtype, device=probability.device)
    x = torch.arange(columns, dtype=probability.dtype, device=probability.device)
    return torch.stack(((probability.sum(-2) * x).sum(-1), (probability.sum(-1) * y).sum(-1)), -1)


def normalised_mean_error(predicted: Tensor, true: Tensor) -> Tensor:
    """NME per face: mean point error over the distance of the outer eye corners (36, 45).

    Parameters
    ----------
    predicted, true : Tensor
        (B, 68, 2) in one frame.

    Returns
    -------
    Tensor
        (B,), dimensionless; a face with non-finite predictions counts as 1.
    """
    span = (true[:, 36] - true[:, 45]).norm(dim=-1)
    error = (predicted - true).norm(dim=-1).mean(-1) / span
    return torch.where(error.isfinite(), error, torch.ones_like(error))
