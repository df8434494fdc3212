"""Facial landmark geometry: groups, mirroring, similarity fits and aligned face crops.

Landmarks are (..., K, 2) as (x, y) in pixels, x to the right and y down, with the centre of the
first pixel at (0, 0). Sixty-eight points follow the iBUG order; left and right are the viewer's.
Images are linear light (B, 3, H, W). Everything is differentiable in the image.
"""

import math
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

GROUPS: MappingProxyType[str, range] = MappingProxyType(
    {
        "contour": range(0, 17),
        "brows": range(17, 27),
        "nose": range(27, 36),
        "eyes": range(36, 48),
        "mouth": range(48, 68),
    }
)
"""Indices of the 68 points by part of the face."""

FLIP68 = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *range(27, 31),
    *range(35, 30, -1),
    *(45, 44, 43, 42, 47, 46),
    *(39, 38, 37, 36, 41, 40),
    *range(54, 47, -1),
    *range(59, 54, -1),
    *range(64, 59, -1),
    *(67, 66, 65),
)
"""Index of the mirror image of each of the 68 points."""

# fmt: off
CANONICAL68: Tensor = torch.tensor(
    [
        (-0.500, -0.264), (-0.489, -0.130), (-0.466, -0.005), (-0.443, 0.110),
        (-0.400, 0.234), (-0.332, 0.327), (-0.253, 0.384), (-0.153, 0.437),
        (0.000, 0.472), (0.153, 0.437), (0.253, 0.384), (0.332, 0.327),
        (0.400, 0.234), (0.443, 0.110), (0.466, -0.005), (0.489, -0.130),
        (0.500, -0.264), (-0.395, -0.408), (-0.340, -0.455), (-0.261, -0.472),
        (-0.192, -0.467), (-0.128, -0.447), (0.128, -0.447), (0.192, -0.467),
        (0.261, -0.472), (0.340, -0.455), (0.395, -0.408), (0.000, -0.307),
        (0.000, -0.225), (0.000, -0.149), (0.000, -0.076), (-0.078, -0.012),
        (-0.043, -0.004), (0.000, 0.004), (0.043, -0.004), (0.078, -0.012),
        (-0.296, -0.305), (-0.253, -0.330), (-0.189, -0.331), (-0.132, -0.299),
        (-0.183, -0.281), (-0.249, -0.281), (0.132, -0.299), (0.189, -0.331),
        (0.253, -0.330), (0.296, -0.305), (0.249, -0.281), (0.183, -0.281),
        (-0.168, 0.165), (-0.108, 0.125), (-0.036, 0.094), (0.000, 0.103),
        (0.036, 0.094), (0.108, 0.125), (0.168, 0.165), (0.105, 0.195),
        (0.054, 0.212), (0.000, 0.217), (-0.054, 0.212), (-0.105, 0.195),
        (-0.155, 0.162), (-0.050, 0.144), (0.000, 0.142), (0.050, 0.144),
        (0.155, 0.162), (0.049, 0.155), (0.000, 0.156), (-0.049, 0.155),
    ]
)
# fmt: on
"""Mean frontal shape, float32 (68, 2) in face widths: points 0 and 16 are 1 apart, the origin is
the centre of the bounding box, and the shape is its own mirror image."""

ARCFACE112: Tensor = torch.tensor(
    [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ]
)
"""Eyes, nose tip and mouth corners in the 112 px crop most recognisers expect, (5, 2) [px]."""

_SHRINK_LIMIT = 1.5  # above this, bilinear sampling alone would skip pixels
_MAX_SAMPLES = 16  # per output pixel and axis; bounds the memory of a huge photograph


def flip_landmarks(landmarks: Tensor, width: int) -> Tensor:
    """Return the landmarks of the mirrored image.

    Parameters
    ----------
    landmarks : Tensor
        (..., 68, 2) [px].
    width : int
        Width of the image [px].
    """
    _check_points("landmarks", landmarks, 68)
    mirrored = landmarks[..., list(FLIP68), :]
    return torch.stack((width - 1 - mirrored[..., 0], mirrored[..., 1]), dim=-1)


def five_points(landmarks: Tensor) -> Tensor:
    """Return eye centres, nose tip and mouth corners (..., 5, 2) of 68 points (..., 68, 2)."""
    _check_points("landmarks", landmarks, 68)
    eyes = [landmarks[..., 36:42, :].mean(dim=-2), landmarks[..., 42:48, :].mean(dim=-2)]
    return torch.stack((*eyes, *(landmarks[..., i, :] for i in (30, 48, 54))), dim=-2)


def fit_similarity(source: Tensor, target: Tensor) -> Tensor:
    r"""Fit the rotation, scale and shift that carry `source` onto `target`.

    Least squares over the points [1]_. In the plane, a rotation with scale is one complex factor,

    .. math:: c = \frac{\sum_k \bar a_k b_k}{\sum_k |a_k|^2},

    with :math:`a, b` the centred points as complex numbers, so that reflections cannot occur.

    Parameters
    ----------
    source, target : Tensor
        Points (..., K, 2) with K >= 2; leading dimensions broadcast.

    Returns
    -------
    Tensor
        Affine matrices (..., 2, 3): ``target = matrix[..., :2] @ source + matrix[..., 2]``.

    Raises
    ------
    ValueError
        If the points of a source all coincide.

    References
    ----------
    .. [1] S. Umeyama, "Least-squares estimation of transformation parameters between two point
       patterns", IEEE Trans. Pattern Anal. Mach. Intell. 13, 376 (1991), eqs. 39-43.
    """
    _check_points("source", source, None)
    _check_points("target", target, source.shape[-2])
    source_mean, target_mean = source.mean(dim=-2), target.mean(dim=-2)
    a, b = source - source_mean.unsqueeze(-2), target - target_mean.unsqueeze(-2)
    power = a.square().sum(dim=(-2, -1))  # of the source alone, it broadcasts
    if bool((power <= 0).any()):
        raise ValueError(
            "source has all its points at one place, so no scale can be fitted; "
            "check the landmarks of this face"
        )
    real = (a * b).sum(dim=(-2, -1)) / power
    imag = (a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]).sum(dim=-1) / power
    linear = torch.stack((real, -imag, imag, real), dim=-1).reshape(*real.shape, 2, 2)
    shift = target_mean - (linear @ source_mean.unsqueeze(-1)).squeeze(-1)
    return torch.cat((linear, shift.unsqueeze(-1)), dim=-1)


def invert_similarity(matrix: Tensor) -> Tensor:
    """Return the inverse (..., 2, 3) of similarities (..., 2, 3)."""
    linear = matrix[..., :2]
    inverse = linear.transpose(-1, -2) / similarity_scale(matrix).square()[..., None, None]
    return torch.cat((inverse, -(inverse @ matrix[..., 2:])), dim=-1)


def apply_similarity(matrix: Tensor, points: Tensor) -> Tensor:
    """Carry points (..., K, 2) through affine matrices (..., 2, 3)."""
    return points @ matrix[..., :2].transpose(-1, -2) + matrix[..., 2].unsqueeze(-2)


def similarity_scale(matrix: Tensor) -> Tensor:
    """Return the scale (...) of similarities (..., 2, 3): target length over source length."""
    return (matrix[..., 0, 0].square() + matrix[..., 1, 0].square()).sqrt()


def face_frame(landmarks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Locate faces by fitting the canonical shape to their landmarks.

    The fit uses all 68 points, so a turned head, whose cheeks close up, keeps its size to first
    order; the plain distance of points 0 and 16 would not.

    Parameters
    ----------
    landmarks : Tensor
        (..., 68, 2) [px].

    Returns
    -------
    centre : Tensor
        Centre of the face (..., 2) as (x, y) [px].
    width : Tensor
        Face width (...) [px].
    roll : Tensor
        Rotation in the image plane (...), positive clockwise on the screen [rad].
    """
    _check_points("landmarks", landmarks, 68)
    matrix = fit_similarity(CANONICAL68.to(landmarks), landmarks)
    roll = torch.atan2(matrix[..., 1, 0], matrix[..., 0, 0])
    return matrix[..., 2], similarity_scale(matrix), roll


def align_faces(images: Tensor, landmarks: Tensor, size: int = 112) -> Tensor:
    """Warp faces so that eyes, nose and mouth lie where recognisers expect them.

    Bilinear sampling; a face larger than the crop is averaged over the area that each output
    pixel covers. Outside the image the border is continued. Differentiable in `images`.

    Parameters
    ----------
    images : Tensor
        Linear light (B, 3, H, W).
    landmarks : Tensor
        (B, 68, 2), or (B, 5, 2) in the order of `ARCFACE112` [px].
    size : int, default 112
        Side of the square crop [px]; the template is scaled with it.

    Returns
    -------
    Tensor
        (B, 3, size, size).
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images is {tuple(images.shape)}, expected (B, 3, H, W)")
    if landmarks.ndim != 3 or len(landmarks) != len(images):
        raise ValueError(
            f"landmarks is {tuple(landmarks.shape)}, expected ({len(images)}, 68 or 5, 2): "
            f"one set for each image"
        )
    if size < 8:
        raise ValueError(f"size = {size} px, expected at least 8")
    points = landmarks.to(images)
    if points.shape[1] != len(ARCFACE112):
        points = five_points(points)
    template = (ARCFACE112.to(images) + 0.5) * (size / 112) - 0.5
    # from the crop to the image, by inverting the fit into the crop (errors count in crop pixels)
    matrix = invert_similarity(fit_similarity(points, template))
    return warp_area(images, matrix, (size, size))


def warp_area(images: Tensor, matrix: Tensor, shape: tuple[int, int]) -> Tensor:
    """Resample images through a similarity, averaging over area when they shrink.

    Parameters
    ----------
    images : Tensor
        (B, C, H, W).
    matrix : Tensor
        Similarities (B, 2, 3) from output pixels to input pixels, (x, y) order.
    shape : tuple of int
        Output rows and columns [px].

    Returns
    -------
    Tensor
        (B, C, H, W) of the output `shape`; each image's result depends on that image alone.
    """
    scale = similarity_scale(matrix.detach())
    if not bool(torch.isfinite(scale).all()):
        raise ValueError("matrix has entries that are not finite; check the landmarks")
    samples = [_samples_per_pixel(s) for s in scale.tolist()]
    if len(set(samples)) == 1:
        return _warp_supersampled(images, matrix, shape, samples[0])
    out = images.new_empty((len(images), images.shape[1], *shape))
    for n in sorted(set(samples)):
        rows = torch.tensor([i for i, k in enumerate(samples) if k == n], device=images.device)
        warped = _warp_supersampled(images[rows], matrix[rows], shape, n)
        out = out.index_copy(0, rows, warped)
    return out


def _samples_per_pixel(scale: float) -> int:
    """Count samples per output pixel and axis so that no input pixel is skipped."""
    return 1 if scale <= _SHRINK_LIMIT else min(math.ceil(scale), _MAX_SAMPLES)


def _warp_supersampled(images: Tensor, matrix: Tensor, shape: tuple[int, int], n: int) -> Tensor:
    """Warp with n x n bilinear samples per output pixel and average them."""
    height, width = images.shape[-2:]
    axes = [
        (torch.arange(k * n, device=images.device, dtype=images.dtype) + 0.5) / n - 0.5
        for k in shape
    ]
    y, x = torch.meshgrid(*axes, indexing="ij")
    source = apply_similarity(matrix, torch.stack((x, y), dim=-1).reshape(1, -1, 2))
    # grid_sample without align_corners: -1 and 1 are the outer edges of the image
    size = torch.tensor([width, height], device=images.device, dtype=images.dtype)
    grid = ((2 * source + 1) / size - 1).reshape(len(images), *y.shape, 2)
    fine = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return fine if n == 1 else F.avg_pool2d(fine, n)


def _check_points(name: str, points: Tensor, count: int | None) -> None:
    """Raise unless `points` is (..., count, 2); any count >= 2 if None."""
    k = "K >= 2" if count is None else count
    bad_count = points.ndim >= 2 and (
        points.shape[-2] < 2 if count is None else points.shape[-2] != count
    )
    if points.ndim < 2 or points.shape[-1] != 2 or bad_count:
        raise ValueError(f"{name} is {tuple(points.shape)}, expected (..., {k}, 2) as (x, y)")
    if not points.is_floating_point():
        raise TypeError(f"{name} is {points.dtype}, expected a floating type [px]")
