"""A first guess of where a blurred random target lies: its four dark corners and its field."""

import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from calibration.errors import CalibrationError
from calibration.geometry.plane import PlaneMap, homography
from calibration.target.kernel import Exposure, fit_kernel
from calibration.target.random_target import RandomTarget
from calibration.target.scene import Sampling, radius_of, rendered

Array = NDArray[np.float64]

_SPOTS = 9  # darkest that may be markers
_MOST_UNEVEN = 1.35  # largest over smallest scale of a plane seen at a few degrees
_MOST_KEYSTONE = 0.25  # change of the scale across the target
_LEAST_SIDE = 0.2  # of the frame's diagonal
_LEAST_LEAD = 0.05  # of the right placing over the next, in share of the structure explained
_PLENTY = 0.2
_TRIED = 12  # placings of four markers


def located(
    picture: Array,
    weight: Array,
    sampling: Sampling,
    frame: tuple[int, int],
    target: RandomTarget,
    reach: int,
) -> tuple[float, PlaneMap]:
    """Find the target in a coarse picture, turned and mirrored in any way.

    Parameters
    ----------
    picture, weight : ndarray
        (H, W) and its inverse variance.
    sampling : Sampling
        Of the picture.
    frame : tuple of int
        Pixels of the mosaic.
    target : RandomTarget
        What is looked for.
    reach : int
        Half the window of the PSF [pixel of the picture].

    Returns
    -------
    (float, PlaneMap)
        Share of the field's structure that it explains beyond what the next way does; the map.

    Raises
    ------
    CalibrationError
        No four dark spots are the markers of this target.
    """
    best: tuple[float, PlaneMap] | None = None
    for corners in itertools.islice(_quadruples(picture, target), _TRIED):
        tried = [
            (_explained(picture, weight, sampling, plane, target, reach), plane)
            for plane in _placings(corners, target, sampling, frame)
        ]
        tried.sort(key=lambda t: -t[0])
        # the other ways to lay it there say what chance explains
        if len(tried) > 1 and (best is None or tried[0][0] - tried[1][0] > best[0]):
            best = (tried[0][0] - tried[1][0], tried[0][1])
        if best is not None and best[0] > _PLENTY:
            break
    if best is None or best[0] < _LEAST_LEAD:
        found = "no four dark spots lie as its markers do"
        if best is not None:
            found = f"no way to lay it on its markers explains {_LEAST_LEAD:.0%} more than the next"
        raise CalibrationError(
            f"the target was not found: {found}; show all of it with its quiet zone, use markers "
            f"wider than the blur, expose longer, or give the pixels of the corners"
        )
    return best


def placed(corners: Array, target: RandomTarget, frame: tuple[int, int]) -> PlaneMap:
    """Return the map that takes the markers to pixels (4, 2) of the mosaic, in their order."""
    middle = ((frame[0] - 1) / 2, (frame[1] - 1) / 2)
    return PlaneMap(homography(target.markers, corners), middle, radius_of(frame))


def _quadruples(picture: Array, target: RandomTarget) -> Iterator[Array]:
    """Places (4, 2) of dark spots around a convex quadrangle, darkest first."""
    marker = target.marker / max(target.shape) * max(picture.shape)  # as if it filled the frame
    spots: list[tuple[float, float, float]] = []
    for width in (marker, marker / 2):
        sigma = max(width / 3, 1.0)
        smooth = ndimage.gaussian_filter(picture, sigma, mode="nearest")
        around = ndimage.gaussian_filter(picture, 3 * sigma, mode="nearest")
        depth = smooth / np.maximum(around, 1e-3 * float(around.max()))
        lowest = depth == ndimage.minimum_filter(depth, round(3 * sigma) | 1, mode="nearest")
        edge = max(1, round(sigma / 2))
        lowest[:edge] = lowest[-edge:] = False
        lowest[:, :edge] = lowest[:, -edge:] = False
        found = sorted((float(depth[i, j]), i, j) for i, j in np.argwhere(lowest))[:_SPOTS]
        spots += [(d, *_refined(smooth, i, j, round(width / 2))) for d, i, j in found]
    quadruples = []
    for width_spots in (spots[:_SPOTS], spots[_SPOTS:]):
        for four in itertools.combinations(width_spots, 4):
            corners = _ordered(np.array([s[1:] for s in four]))
            if _convex(corners) and _sides(corners).min() > _LEAST_SIDE * math.hypot(
                *picture.shape
            ):
                quadruples.append((sum(s[0] for s in four), corners))
    for _, corners in sorted(quadruples, key=lambda q: q[0]):
        yield corners


def _refined(smooth: Array, row: int, column: int, half: int) -> tuple[float, float]:
    """Centroid of the darkness around a minimum."""
    top, left = max(0, row - half), max(0, column - half)
    part = smooth[top : row + half + 1, left : column + half + 1]
    dark = np.maximum(float(np.median(part)) - part, 0)
    if dark.sum() == 0:
        return float(row), float(column)
    y, x = np.indices(part.shape)
    return top + float((dark * y).sum() / dark.sum()), left + float((dark * x).sum() / dark.sum())


def _ordered(corners: Array) -> Array:
    """Around their middle, from negative to positive angles."""
    away = corners - corners.mean(axis=0)
    out: Array = corners[np.argsort(np.arctan2(away[:, 0], away[:, 1]))]
    return out


def _sides(corners: Array) -> Array:
    return np.asarray(np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1))


def _convex(corners: Array) -> bool:
    side = np.roll(corners, -1, axis=0) - corners
    after = np.roll(side, -1, axis=0)
    turn = side[:, 1] * after[:, 0] - side[:, 0] * after[:, 1]
    return bool((turn > 0).all())


def _placings(
    corners: Array, target: RandomTarget, sampling: Sampling, frame: tuple[int, int]
) -> Iterator[PlaneMap]:
    """Yield the possible maps of the eight ways in which markers may lie on the corners."""
    pixels = np.asarray(sampling.first) + sampling.step * corners
    for order in (corners_ := np.arange(4), corners_[::-1]):
        for turns in range(4):
            plane = placed(pixels[np.roll(order, turns)], target, frame)
            scales = np.linalg.svd(plane.linear, compute_uv=False)
            keystone = np.abs(plane.matrix[2, :2]) @ np.asarray(target.size)
            if scales[0] < _MOST_UNEVEN * scales[1] and keystone < _MOST_KEYSTONE:
                yield plane


def _explained(
    picture: Array,
    weight: Array,
    sampling: Sampling,
    plane: PlaneMap,
    target: RandomTarget,
    reach: int,
) -> float:
    """Return the share of the random field's structure that the target explains."""
    scene, inside = rendered(target, plane, sampling, picture.shape, reach, 1)
    rows = sampling.places(0, picture.shape[0])
    columns = sampling.places(1, picture.shape[1])
    points = plane.to_plane(np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1))
    in_field = inside & (
        (np.abs(points[..., 0]) < target.rows * target.cell / 2)
        & (np.abs(points[..., 1]) < target.columns * target.cell / 2)
    )
    count = int(np.count_nonzero(in_field & (weight > 0)))
    if count < 4 * (2 * reach + 1) ** 2:
        return 0.0
    try:
        fit = fit_kernel([Exposure(picture, weight * in_field, scene)], reach, rounds=1)
    except CalibrationError:
        return 0.0
    return fit.explained
