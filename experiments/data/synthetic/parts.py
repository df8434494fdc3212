"""Ears, shoulders and glasses as surfaces of their own."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from experiments.data.synthetic.head import Surface, grid_normals
from experiments.data.synthetic.identity import Identity
from experiments.data.synthetic.raster import Floats, Ints, grid_triangles

_RINGS, _SPOKES = 10, 19


@cache
def _ear_triangles() -> Ints:
    return grid_triangles(_RINGS, _SPOKES)


def shape_ear(identity: Identity, side: int) -> Surface:
    """Build the ear at the viewer's left (side -1) or right (1)."""
    p = identity.shape
    r = np.linspace(0, 1, _RINGS)[:, None]
    turn = np.linspace(0, 2 * np.pi, _SPOKES)
    tall = 0.92 * p["ear_size"]
    wide = 0.56 * tall
    up = -np.cos(turn)  # -1 at the top of the ear
    narrow = 1 - 0.28 * np.clip(up, 0, 1)
    back = wide * (1.0 + r * np.sin(turn) * narrow)  # from the front edge
    y = 0.075 + tall * r * up
    rim = 0.030 * np.exp(-(((r - 0.86) / 0.10) ** 2)) - 0.040 * np.exp(-((r / 0.5) ** 2))
    rim = (
        rim - 0.03 * (r > 0.97) + 0.016 * np.exp(-(((r - 0.55) / 0.1) ** 2)) * (np.sin(turn) > -0.3)
    )
    swing = p["ear_angle"]
    x = 0.485 * p["head_width"] + back * np.sin(swing) + rim * np.cos(swing)
    z = 0.03 - back * np.cos(swing) + rim * np.sin(swing)
    grid = np.stack(np.broadcast_arrays(side * x, y + 0 * turn, z), -1).astype(np.float32)
    normals = grid_normals(grid)
    outward = np.array([side * np.cos(swing), 0, np.sin(swing)], np.float32)
    normals *= np.where((normals @ outward) < 0, -1, 1)[..., None]
    shade = np.broadcast_to(0.92 - 0.55 * np.exp(-(((r - 0.25) / 0.33) ** 2)), grid.shape[:2])
    return Surface(
        points=grid.reshape(-1, 3),
        normals=normals.reshape(-1, 3).astype(np.float32),
        shade=shade.astype(np.float32).reshape(-1),
        triangles=_ear_triangles(),
    )


def shape_shoulders(identity: Identity) -> Surface:
    """Build neck base, shoulders and chest, in coordinates that do not turn with the head."""
    width = 1.25 + 0.12 * (0.5 - identity.female)
    x = np.linspace(-1.5, 1.5, 31)
    t = np.linspace(0, 1, 6)[:, None]
    slope = (
        1.03
        + 0.24 * np.clip(np.abs(x) / width, 0, 1.2) ** 1.6
        + 0.5 * np.clip(np.abs(x) - width + 0.25, 0, 1)
    )
    neckline = 0.16 * np.exp(-((x / 0.30) ** 2))
    y = slope + neckline + 1.1 * t
    z = -0.30 + 0.55 * np.sin(t * np.pi / 2) * np.cos(np.clip(x / width, -1, 1) * 1.2) + 0.0 * x
    grid = np.stack(np.broadcast_arrays(x + 0 * t, y, z), -1).astype(np.float32)
    return Surface(
        points=grid.reshape(-1, 3),
        normals=grid_normals(grid).reshape(-1, 3),
        shade=np.full(grid.shape[0] * grid.shape[1], 0.8, np.float32),
        triangles=grid_triangles(6, 31),
    )


@dataclass(frozen=True, slots=True)
class Frame:
    """Spectacle frame: vertices (V, 3) in head coordinates and their triangles (T, 3)."""

    points: Floats
    triangles: Ints


def shape_glasses(identity: Identity, bridge_z: float) -> Frame:
    """Build rims, bridge and temples resting at depth `bridge_z` on the nose [face widths]."""
    w = identity.glasses_size
    round_ = identity.glasses_style == "round"
    h = w * (0.92 if round_ else identity.glasses_aspect)
    power = 2.0 if round_ else 3.4
    rim = identity.frame_width * (1.9 if identity.glasses_style == "heavy" else 1.0)
    centre = max(identity.shape["eye_x"], w + 0.035)
    turn = np.linspace(0, 2 * np.pi, 41)
    c, s = np.cos(turn), np.sin(turn)
    radius = (np.abs(c) ** power + np.abs(s) ** power) ** (-1 / power)
    points: list[NDArray[np.float64]] = []
    triangles: list[Ints] = []

    def ribbon(first: NDArray[np.float64], second: NDArray[np.float64]) -> None:
        offset = sum(len(p) for p in points)
        points.append(np.concatenate([first, second]))
        triangles.append(grid_triangles(2, len(first)) + offset)

    for side in (-1, 1):

        def ring(scale_x: float, scale_y: float, side: int = side) -> NDArray[np.float64]:
            x = side * centre + scale_x * radius * c
            y = 0.025 + scale_y * radius * s
            return np.stack([x, y, bridge_z - 0.16 * x**2 / 0.4 + 0 * x], -1)

        ribbon(ring(w - rim, h - rim), ring(w, h))
        outer = side * (centre + w - 0.3 * rim)
        hinge = np.array([outer, -0.25 * h, bridge_z - 0.4 * outer**2])
        ear = np.array([side * 0.515 * identity.shape["head_width"], -0.05, -0.05])
        line = hinge + (ear - hinge) * np.linspace(0, 1, 9)[:, None] ** np.array([0.75, 1, 1])
        down = np.array([0, rim * 0.7, 0])
        ribbon(line - down, line + down)
    across = np.linspace(-1, 1, 9)
    gap = centre - w + 0.6 * rim
    arch = np.stack([gap * across, -0.015 * (1 - across**2), bridge_z + 0 * across], -1)
    half = np.array([0, rim * 0.5, 0])
    ribbon(arch - half, arch + half)
    return Frame(np.concatenate(points).astype(np.float32), np.concatenate(triangles))
