"""Crops of annotated faces by the pose that fits them best, as the PRO-Face family made its data.

Five points of a face are carried onto one of five templates, from left to right profile, so that
a turned head is neither stretched nor moved out. Faces that fit the frontal template best serve
as strangers for `FaceSwap`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from anonymizer.alignment import apply_similarity, fit_similarity, invert_similarity, warp_area

POSES = ("left profile", "left", "frontal", "right", "right profile")
"""Names of the templates; "left" is the side of the picture to which the nose points."""

# fmt: off
_TEMPLATES = torch.tensor([
    [(51.642, 50.115), (57.617, 49.990), (35.740, 69.007), (51.157, 89.050), (57.025, 89.702)],
    [(45.031, 50.118), (65.568, 50.872), (39.677, 68.111), (45.177, 86.190), (64.246, 86.758)],
    [(39.730, 51.138), (72.270, 51.138), (56.000, 68.493), (42.463, 87.010), (69.537, 87.010)],
    [(46.845, 50.872), (67.382, 50.118), (72.737, 68.111), (48.167, 86.758), (67.236, 86.190)],
    [(54.796, 49.990), (60.771, 50.115), (76.673, 69.007), (55.388, 89.702), (61.257, 89.050)],
])
# fmt: on


def nearest_poses(points: Tensor, size: int = 224) -> tuple[Tensor, Tensor]:
    """Fit the five templates to annotated faces.

    Parameters
    ----------
    points : Tensor
        (B, 5, 2): eyes, nose tip and mouth corners, each from left to right in the picture, as
        (x, y) [px].
    size : int
        Side of the crop for which the templates are scaled [px].

    Returns
    -------
    pose : Tensor of int64
        (B,): index into `POSES` of the template with the least sum of distances.
    matrix : Tensor
        (B, 2, 3): similarity from the picture to the crop.
    """
    if points.ndim != 3 or tuple(points.shape[1:]) != (5, 2):
        raise ValueError(f"points is {tuple(points.shape)}, expected (B, 5, 2) as (x, y) [px]")
    templates = _TEMPLATES.to(points) * (size / 112)
    matrix = fit_similarity(points[:, None], templates)  # (B, 5, 2, 3)
    away = apply_similarity(matrix, points[:, None].expand(-1, len(POSES), -1, -1)) - templates
    pose = away.norm(dim=-1).sum(dim=-1).argmin(dim=1)
    return pose, matrix[torch.arange(len(points), device=points.device), pose]


def crop_by_pose(images: Tensor, points: Tensor, size: int = 224) -> tuple[Tensor, Tensor]:
    """Return crops (B, 3, size, size) of images (B, 3, H, W), and the pose (B,) of each.

    Beyond the picture the crops are black. Values are interpolated as they are given, so linear
    light is right; the published crops were made of sRGB.
    """
    pose, matrix = nearest_poses(points.to(images), size)
    # a black frame one pixel wide, which the resampling continues
    framed = F.pad(images, [1] * 4)
    inverse = invert_similarity(matrix)
    inverse = torch.cat((inverse[..., :2], inverse[..., 2:] + 1), dim=-1)
    return warp_area(framed, inverse, (size, size)), pose
