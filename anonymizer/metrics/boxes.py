"""Where a detector finds the face of a source and that of its output.

Boxes are (4,) as left, top, right, bottom, points (5, 2) as (x, y) in the order of
`anonymizer.detection.Detection`, both in pixels of pictures of one size.

References
----------
J. Lopez et al., "Privacy-preserving face anonymization with learned lenses", CVPR 2024: LM and
BB are `landmark_distance` and `box_distance` in pixels of 256 x 256; neither knows how large the
face is, and both leave out what is not found. The corrected pair is `eye_error` and `box_overlap`.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def landmark_distance(source: ArrayLike, output: ArrayLike) -> float:
    """Return LM as published: mean absolute difference of all coordinates (K, 2) [px]."""
    a, b = _pair("landmarks", source, output)
    return float(np.abs(a - b).mean())


def box_distance(source: ArrayLike, output: ArrayLike) -> float:
    """Return BB as published: distance of the centres of two boxes [px]."""
    a, b = _boxes(source, output)
    return float(np.linalg.norm((a[:2] + a[2:]) / 2 - (b[:2] + b[2:]) / 2))


def box_overlap(source: ArrayLike, output: ArrayLike) -> float:
    """Return the intersection over the union of two boxes, 0 to 1."""
    a, b = _boxes(source, output)
    common = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    whole = (a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - common
    return float(common / whole)


def eye_error(source: ArrayLike, output: ArrayLike) -> float:
    """Return the mean error of points (5, 2) over the distance of the source's eyes."""
    a, b = _pair("points", source, output)
    eyes = float(np.linalg.norm(a[1] - a[0]))
    if eyes == 0:
        raise ValueError("points has both eyes of the source in one place")
    return float(np.linalg.norm(a - b, axis=1).mean() / eyes)


def _boxes(source: ArrayLike, output: ArrayLike) -> tuple[Floats, Floats]:
    a, b = _pair("box", source, output)
    for box in (a, b):
        if box.shape != (4,) or not (box[2:] > box[:2]).all():
            raise ValueError(f"box = {box.tolist()}, expected left < right and top < bottom")
    return a, b


def _pair(name: str, source: ArrayLike, output: ArrayLike) -> tuple[Floats, Floats]:
    a, b = np.asarray(source, np.float64), np.asarray(output, np.float64)
    if a.shape != b.shape or not a.size:
        raise ValueError(f"{name} is {a.shape} in the source and {b.shape} in the output")
    return a, b
