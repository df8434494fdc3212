"""Masks for the high-pass skips, and maps of the facial structure.

`group_masks` serves any landmark scheme; `wflw_masks` is the published hand-tuned builder for the
98 heatmaps of the published landmark network. Heatmaps are (B, K, H, H); rows run down.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from anonymizer.alignment import GROUPS
from anonymizer.heatmaps import boundary_map, gaussian_heatmaps
from anonymizer.stargan.generator import Masks

COARSE = ("brows", "eyes", "nose", "mouth")
FINE = ("eyes", "nose")

_NOISE = 0.1  # heatmap values below it are no landmark
_UNIT = 256  # side of the heatmaps in which the published shifts count [px]


def group_masks(
    peaks: Tensor, groups: Mapping[str, Sequence[int]] = GROUPS, *, growth: int = 1
) -> Masks:
    """Return where the landmarks of brows, eyes, nose and mouth are.

    Parameters
    ----------
    peaks : Tensor
        (B, K, M, M) landmark maps of peak 1.
    groups : mapping of str to sequence of int
        Landmarks of each part of the face; the 68 points by default.
    growth : int, default 1
        Map pixels by which each landmark is widened, so that lines between two are covered.
    """
    if growth:
        side = 2 * growth + 1
        peaks = torch.nn.functional.max_pool2d(peaks, side, stride=1, padding=growth)

    def sum_of(names: Sequence[str]) -> Tensor:
        rows = [k for name in names for k in groups[name]]
        return peaks[:, rows].sum(1, keepdim=True).clamp(0, 1)

    return Masks(sum_of(COARSE), sum_of(FINE))


def structure_maps(landmarks: Tensor, size: int) -> Tensor:
    """Draw 68 landmarks: a map for each group of points and one of the facial curves.

    The maps know nothing but the coordinates: whatever else a regressor has seen ends here.

    Parameters
    ----------
    landmarks : Tensor
        (B, 68, 2) in pixels of a `size` square.
    size : int
        Side of the maps.

    Returns
    -------
    Tensor
        (B, 6, size, size) in [0, 1], in the order of `GROUPS`, then the curves.
    """
    spread = max(0.7, size / 64)
    points = gaussian_heatmaps(landmarks, size, sigma=spread)
    drawn = [points[:, list(group)].amax(1, keepdim=True) for group in GROUPS.values()]
    return torch.cat([*drawn, boundary_map(landmarks, size, sigma=0.7 * spread, steps=3)], 1)


def clean_heatmaps(heatmaps: Tensor) -> Tensor:
    """Drop values below 0.1 and stretch each map to [0, 1]; a map of one value becomes 0."""
    kept = torch.where(heatmaps < _NOISE, 0.0, heatmaps)
    low, high = kept.amin((-2, -1), keepdim=True), kept.amax((-2, -1), keepdim=True)
    return ((kept - low) / (high - low)).nan_to_num(0.0)


def wflw_masks(heatmaps: Tensor) -> Masks:
    """Build the published masks from 98 heatmaps.

    Parameters
    ----------
    heatmaps : Tensor
        (B, 98, H, H) in the WFLW order, at the side of the pictures; through `clean_heatmaps`
        first as StarGAN v2 does, as they are in the face de-identification of 2024.

    Notes
    -----
    The shifts are circular and, but for the eyes, scale with the side.
    """
    if heatmaps.ndim != 4 or heatmaps.shape[1] != 98:
        raise ValueError(f"heatmaps is {tuple(heatmaps.shape)}, expected (B, 98, H, H)")
    side = heatmaps.shape[-1]
    h = heatmaps.clone()

    def up(maps: Tensor, rows: float) -> Tensor:
        return maps.roll(-int(rows * side / _UNIT), -2)

    h[:, 8:25] = h[:, 8:25] ** 3
    for group, rows, power in (
        (slice(33, 51), -7, 2),  # brows
        (slice(55, 60), 8, 4),  # nostrils
        (slice(77, 82), -8, 4),  # upper lip
        (slice(83, 88), 8, 4),  # lower lip
        (slice(88, 96), -2, 3),  # inner lip
    ):
        h[:, group] = up(h[:, group], rows) ** power
    h[:, [*range(8), *range(25, 33), 33, 46, 76, 82]] = 0
    h[:, 52:60] = up(h[:, 52:60], 4)
    eyes = h[:, 60:76]
    h[:, 60:76] = eyes.roll(8, -2) ** 3 + eyes.roll(24, -2)
    h = h.nan_to_num(0.0)
    coarse = h.sum(1, keepdim=True).clamp(0, 1)
    h[:, [*range(51), *range(76, 96)]] = 0
    return Masks(coarse, h.sum(1, keepdim=True).clamp(0, 1))
