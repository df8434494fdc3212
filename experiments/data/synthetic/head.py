"""The head as a surface: a grid of points lofted from skull to jaw to neck, with facial relief.

Rows run from the crown down, columns around the head from the viewer's left to the right. Row
`JAW_ROW` is the jaw line, so that the contour landmarks are points of the grid.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import uniform_filter

from experiments.data.synthetic.identity import Identity
from experiments.data.synthetic.layout import Layout
from experiments.data.synthetic.raster import Floats, Ints, grid_triangles

COLUMNS = 87
SKULL_ROWS, FACE_ROWS, UNDER_ROWS, NECK_ROWS = 10, 54, 6, 5
JAW_ROW = SKULL_ROWS + FACE_ROWS - 1
ROWS = SKULL_ROWS + FACE_ROWS + UNDER_ROWS + NECK_ROWS
_FRONT = slice(10, -10)  # columns of the front half, where x grows with the column
BROW_LEVEL = -0.2  # y where the dome of the skull ends and the face begins
_NECK_END = 1.7


@dataclass(frozen=True, slots=True)
class Surface:
    """A grid of vertices in head coordinates.

    Attributes
    ----------
    points, normals : ndarray of float32, shape (V, 3)
        Positions [face widths] and outward unit normals.
    shade : ndarray of float32, shape (V,)
        Fraction of the surroundings seen from the vertex, 0 to 1.
    triangles : ndarray of int64, shape (T, 3)
        Vertex indices.
    """

    points: Floats
    normals: Floats
    shade: Floats
    triangles: Ints


@cache
def column_angles() -> NDArray[np.float64]:
    """Azimuth of the columns, 0 in front, denser there [rad]."""
    s = np.linspace(-1, 1, COLUMNS)
    return np.asarray(np.radians(125.0) * (0.45 * s + 0.55 * s**3))


@cache
def _jaw_weights() -> NDArray[np.float64]:
    """Cubic spline through the 17 contour points, as a matrix (columns, 17)."""
    knots = np.linspace(-np.pi / 2, np.pi / 2, 17)
    inside = np.clip(column_angles(), -np.pi / 2, np.pi / 2)
    return np.asarray(CubicSpline(knots, np.eye(17), bc_type="natural")(inside))


@cache
def head_triangles() -> Ints:
    """Triangles of the head's grid."""
    return grid_triangles(ROWS, COLUMNS)


def contour_columns() -> NDArray[np.float64]:
    """Fractional column of each of the 17 contour points."""
    return np.interp(np.linspace(-np.pi / 2, np.pi / 2, 17), column_angles(), np.arange(COLUMNS))


def skull_profile(identity: Identity, y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Width of the skull at height y above the brows relative to its widest, 0 to 1."""
    height = identity.shape["skull_height"]
    return (1 - np.clip((BROW_LEVEL - y) / height, 0, 1) ** 2.3) ** (1 / 2.3)


def _loft(identity: Identity, layout: Layout) -> NDArray[np.float64]:
    """Positions (rows, columns, 3) of the head without features."""
    p = identity.shape
    angle = column_angles()
    across, ahead = np.sin(angle), np.cos(angle)
    jaw = _jaw_weights() @ layout.jaw  # (columns, 3)
    behind = np.abs(angle) > np.pi / 2
    jaw[behind, 0] = 0.5 * p["head_width"] * across[behind]
    jaw[behind, 2] = layout.jaw[0, 2] + 0.62 * ahead[behind]
    half, depth = 0.522 * p["head_width"], p["forehead_depth"]

    rise = np.sin(np.linspace(0, np.pi / 2, SKULL_ROWS, endpoint=False))[:, None]
    skull_y = BROW_LEVEL - p["skull_height"] * (1 - rise**1.5)
    size = skull_profile(identity, skull_y)
    skull = np.stack(
        np.broadcast_arrays(
            half * size * across, skull_y, depth * size * ahead - 0.02 * (1 - size)
        ),
        -1,
    )

    t = np.linspace(0, 1, FACE_ROWS)[:, None]
    side, front = t**1.7, t**1.9
    face_x = half * across * (1 - side) + jaw[:, 0] * side
    face_y = BROW_LEVEL + t * (jaw[:, 1] - BROW_LEVEL)
    face_z = depth * ahead * (1 - front) + jaw[:, 2] * front
    fullness = p["cheek_full"] * np.sin(np.pi * t) ** 2 * across**2
    face = np.stack([face_x * (1 + fullness), face_y, face_z + 0.5 * fullness], -1)

    ring = np.stack([p["neck_width"] * across, np.zeros(COLUMNS), -0.06 + 0.30 * ahead], -1)
    turn = np.linspace(0, np.pi / 2, UNDER_ROWS + 1)[1:, None, None]
    under = jaw + (ring - jaw) * (1 - np.cos(turn))
    under_height = 0.06 + 0.05 * np.clip(ahead, 0, 1)
    under[..., 1] = jaw[:, 1] + under_height * np.sin(turn[..., 0])
    down = np.linspace(0, 1, NECK_ROWS + 1)[1:, None]
    neck_x = ring[:, 0] * (1 + 0.7 * down**2.5)
    neck_y = under[-1, :, 1] + down * (_NECK_END - under[-1, :, 1])
    neck_z = ring[:, 2] * np.ones_like(down)
    neck = np.stack([neck_x, neck_y, neck_z], -1)
    return np.concatenate([skull, face, under, neck])


def _bump(x: Floats, y: Floats, at: tuple[float, float], wide: float, tall: float) -> Floats:
    """Gaussian of height 1 centred at `at`, on both sides of the face if it is off the midline."""
    dx = (np.abs(x) if at[0] > 0 else x) - np.float32(at[0])
    dy = y - np.float32(at[1])
    return np.exp(-(dx * dx) * np.float32(1 / wide**2) - dy * dy * np.float32(1 / tall**2))


def _relief(identity: Identity, layout: Layout, smile: float, x: Floats, y: Floats) -> Floats:
    """Features raised above the loft at frontal positions x, y [face widths]."""
    p = identity.shape
    base, tip = layout.nose_y, layout.nose_tip_y
    mouth = layout.mouth
    ex, ew = p["eye_x"], p["eye_width"]
    cheerful = max(smile, 0.0)
    bumps = [
        (p["brow_ridge"] + 0.012, (0.20, p["brow_y"] + 0.02), 0.17, 0.055),
        (p["glabella"], (0, -0.10), 0.08, 0.06),
        (-0.022, (0, 0.0), 0.06, 0.055),
        (-p["eye_depth"], (ex - 0.015, 0.0), 0.115, 0.075),
        (p["cheekbone"] + 0.016 * cheerful, (0.31, 0.155 - 0.02 * cheerful), 0.13, 0.09),
        (0.022 * cheerful, (0.25, 0.27), 0.09, 0.08),
        (p["cheek_full"], (0.30, 0.40), 0.13, 0.15),
        (-0.02, (0.50, -0.16), 0.10, 0.14),
        (p["maxilla"], (0, mouth.y - 0.02), 0.20, 0.15),
        (-0.028, (0, mouth.y + 0.155 + mouth.gap), 0.13, 0.045),
        (p["chin_bump"], (0, layout.chin_y - 0.085), 0.11, 0.075),
        (-0.016, (mouth.half_width + 0.015, mouth.y - mouth.lift), 0.035, 0.05),
        (
            -0.012 * identity.wrinkles - 0.014 * cheerful,
            (0.175, (base + mouth.y) / 2 - 0.01),
            0.03,
            0.07,
        ),
        (-0.010, (0, base + 0.06), 0.018, 0.04),
        (0.35 * p["nose_height"], (0.72 * layout.nose_half_width, base - 0.030), 0.038, 0.036),
        (0.30 * p["nose_height"], (0, tip + 0.008), p["nose_tip"] + 0.014, 0.048),
    ]
    z = np.zeros_like(x)
    for height, at, wide, tall in bumps:
        z += np.float32(height) * _bump(x, y, at, wide, tall)
    # nose: a ridge rising from the root to the tip and falling steeply to the base
    t = np.clip((y - np.float32(0.0)) / np.float32(tip), 0, 1.6)
    rise = p["nose_root"] + (p["nose_height"] * 0.80 - p["nose_root"]) * np.minimum(t, 1) ** 1.15
    rise = rise + p["nose_hump"] * np.exp(-(((t - 0.45) / 0.22) ** 2))
    rise = rise * np.clip((y + 0.10) / 0.10, 0, 1)
    end = base - 0.016 - 1.6 * x * x
    fall = 1 / (1 + np.exp(np.clip((y - end) / 0.0105, -30, 30)))
    wide = p["nose_bridge"] + (p["nose_tip"] + 0.012 - p["nose_bridge"]) * np.clip(t, 0, 1) ** 2
    centre = p["nose_bend"] * np.sin(np.pi * np.clip(t, 0, 1))
    z += rise * fall * np.exp(-(np.abs((x - centre) / (wide * 1.15)) ** 2.2))
    # lips
    s = x / np.float32(mouth.half_width)
    outer_upper, inner_upper, inner_lower, outer_lower = mouth.curves(s)
    for above, below in ((outer_upper, inner_upper), (inner_lower, outer_lower)):
        middle, half = (above + below) / 2, np.maximum((below - above) / 2, 0.008)
        z += (
            p["lip_depth"]
            * np.exp(-(((y - middle) / (half * 1.15)) ** 2))
            * np.maximum(1 - s * s, 0)
        )
    if mouth.gap > 0.004:
        middle, half = (
            (inner_upper + inner_lower) / 2,
            np.maximum((inner_lower - inner_upper) / 2, 0.004),
        )
        z -= 0.03 * np.exp(-(((y - middle) / half) ** 4)) * (np.abs(s) < 1)
    # eyeballs under the lids
    for eye in layout.eyes:
        r2 = ((x - np.float32(eye.x)) ** 2 + (y - np.float32(eye.y)) ** 2) / np.float32(
            (1.1 * ew) ** 2
        )
        z += np.float32(p["eye_bulge"]) * np.maximum(1 - r2, 0) ** 1.3
    return z


def shape_head(identity: Identity, layout: Layout, smile: float) -> Surface:
    """Build the head of `identity` with the expression in `layout`."""
    grid = _loft(identity, layout).astype(np.float32)
    rows = slice(SKULL_ROWS - 4, JAW_ROW + 1)
    columns = np.flatnonzero(np.abs(column_angles()) < np.radians(86))
    block = grid[rows, columns[0] : columns[-1] + 1]
    fade = np.cos(column_angles()[columns]).clip(0, 0.3).astype(np.float32) / np.float32(0.3)
    lift = _relief(identity, layout, smile, block[..., 0], block[..., 1]) * fade
    lift *= _smooth_end(lift.shape[0])[:, None]
    block[..., 2] += lift
    normals = grid_normals(grid)
    return Surface(
        points=grid.reshape(-1, 3),
        normals=normals.reshape(-1, 3),
        shade=_openness(grid).reshape(-1),
        triangles=head_triangles(),
    )


@cache
def _smooth_end(rows: int) -> Floats:
    """Weight that takes the relief to zero on the jaw line, so that contour points stay put."""
    left = np.arange(rows - 1, -1, -1)
    return np.clip(left / 4, 0, 1).astype(np.float32)


def grid_normals(grid: Floats) -> Floats:
    """Outward unit normals of a grid (rows, columns, 3)."""
    down = np.empty_like(grid)
    down[1:-1] = grid[2:] - grid[:-2]
    down[0], down[-1] = grid[1] - grid[0], grid[-1] - grid[-2]
    right = np.empty_like(grid)
    right[:, 1:-1] = grid[:, 2:] - grid[:, :-2]
    right[:, 0], right[:, -1] = grid[:, 1] - grid[:, 0], grid[:, -1] - grid[:, -2]
    normal = np.empty_like(grid)
    # x right, y down, z to the viewer is left-handed: right x down points at the viewer
    normal[..., 0] = right[..., 1] * down[..., 2] - right[..., 2] * down[..., 1]
    normal[..., 1] = right[..., 2] * down[..., 0] - right[..., 0] * down[..., 2]
    normal[..., 2] = right[..., 0] * down[..., 1] - right[..., 1] * down[..., 0]
    normal /= np.sqrt((normal * normal).sum(-1, keepdims=True)) + np.float32(1e-9)
    return normal


def _openness(grid: Floats) -> Floats:
    """Estimate ambient occlusion: darker where the surface lies below its surroundings."""
    depth = grid[..., 2]
    hollow = uniform_filter(depth, (7, 7), mode="nearest") - depth
    wide = uniform_filter(depth, (15, 13), mode="nearest") - depth
    shade = 1 - 5.0 * np.clip(hollow, 0, 0.06) - 3.0 * np.clip(wide, 0, 0.1)
    under = np.zeros((ROWS, 1), np.float32)
    under[JAW_ROW + 1 :] = np.linspace(0.25, 0.45, ROWS - JAW_ROW - 1)[:, None]
    under[JAW_ROW + UNDER_ROWS :] = np.linspace(0.5, 0.2, ROWS - JAW_ROW - UNDER_ROWS)[:, None]
    return np.asarray(np.clip(shade - under, 0.15, 1), np.float32)


def landmarks_on(surface: Surface, layout: Layout) -> NDArray[np.float64]:
    """Return the 68 landmarks on the head's surface (68, 3) [face widths]."""
    grid = surface.points.reshape(ROWS, COLUMNS, 3).astype(np.float64)
    contour = _sample(grid, np.full(17, float(JAW_ROW)), contour_columns())
    target = layout.front_points()
    # invert the grid's frontal map (row, column) -> (y, x) by Newton steps on its bilinear cells
    row = np.interp(target[:, 1], grid[:, COLUMNS // 2, 1], np.arange(ROWS))
    column = np.interp(
        target[:, 0] / 0.52, np.sin(column_angles()[_FRONT]), np.arange(COLUMNS)[_FRONT]
    )
    for _ in range(8):
        here = _sample(grid, row, column)
        error = target - here[:, :2]
        if np.abs(error).max() < 1e-7:
            break
        by_row = _sample(grid, row + 0.25, column) - _sample(grid, row - 0.25, column)
        by_column = _sample(grid, row, column + 0.25) - _sample(grid, row, column - 0.25)
        a, b = 2 * by_column[:, 0], 2 * by_row[:, 0]
        c, d = 2 * by_column[:, 1], 2 * by_row[:, 1]
        scale = 1 / (a * d - b * c)
        column = (column + scale * (d * error[:, 0] - b * error[:, 1])).clip(1, COLUMNS - 2)
        row = (row + scale * (a * error[:, 1] - c * error[:, 0])).clip(1, ROWS - 2)
    return np.concatenate([contour, _sample(grid, row, column)])


def _sample(
    grid: NDArray[np.float64], row: NDArray[np.float64], column: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Bilinear interpolation of `grid` at fractional rows and columns."""
    i = np.clip(np.floor(row).astype(np.int64), 0, grid.shape[0] - 2)
    j = np.clip(np.floor(column).astype(np.int64), 0, grid.shape[1] - 2)
    a, b = (row - i)[:, None], (column - j)[:, None]
    top = grid[i, j] * (1 - b) + grid[i, j + 1] * b
    bottom = grid[i + 1, j] * (1 - b) + grid[i + 1, j + 1] * b
    return np.asarray(top * (1 - a) + bottom * a)
