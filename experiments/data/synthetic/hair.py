"""Scalp hair: a shell around the skull whose lower edge is the hairline."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from experiments.data.synthetic import noise
from experiments.data.synthetic.head import BROW_LEVEL, grid_normals, skull_profile
from experiments.data.synthetic.identity import Identity
from experiments.data.synthetic.raster import Floats, Ints, grid_triangles
from experiments.data.synthetic.skin import step

_COLUMNS, _ROWS, _DOME_ROWS = 91, 44, 18
_LENGTH = {"bob": 0.60, "long": 1.6}  # y where hanging hair ends
_MARGIN = 0.03  # how far beyond the hairline the shell is still drawn


@dataclass(frozen=True, slots=True)
class HairShell:
    """The hair's surface in head coordinates.

    Attributes
    ----------
    points, normals : ndarray of float32, shape (V, 3)
        Positions [face widths] and outward unit normals.
    cover : ndarray of float32, shape (V,)
        Distance inside the hairline, negative outside [face widths].
    angle : ndarray of float32, shape (V,)
        Azimuth around the head [rad].
    triangles : ndarray of int64, shape (T, 3)
        Those that carry hair.
    """

    points: Floats
    normals: Floats
    cover: Floats
    angle: Floats
    triangles: Ints


@cache
def _grid() -> Ints:
    return grid_triangles(_ROWS, _COLUMNS)


def _ramp(value: NDArray[np.float64], start: float, end: float) -> NDArray[np.float64]:
    t = np.clip((value - start) / (end - start), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def hairline(identity: Identity, angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Height y of the lower edge of the hair at each azimuth [face widths].

    Parameters
    ----------
    identity : Identity
        Whose hair.
    angle : ndarray of float
        Azimuth, 0 in front, positive to the viewer's right [rad].
    """
    p, style = identity.shape, identity.hair_style
    a = np.abs(np.degrees(angle))
    front = p["hairline_y"] + p["hairline_peak"] * np.exp(-((a / 11) ** 2))
    front = front - p["hairline_recess"] * np.exp(-(((a - 34) / 13) ** 2))
    ear, nape, sideburn = -0.06, 0.40, 0.02 + 0.14 * (identity.female < 0.5)
    if style == "bald":
        front = front - 0.6
        ear, sideburn = (0.0, -0.02) if identity.age > 45 else (-2.0, -2.0)
        nape = 0.3 if identity.age > 45 else -2.0
    if style == "fringe" or (style in ("bob", "long") and identity.hair_volume > 0.62):
        sweep = 0.0022 * identity.parting * np.degrees(angle) * (a < 60)
        front = np.maximum(front, identity.fringe_y + sweep - 0.0001 * a**1.6)
    if style in _LENGTH:
        hang = _LENGTH[style]
        start = 50 + 8 * (1 - identity.hair_volume)
        middle = front + (hang - front) * _ramp(a, start, start + 9)
        return np.asarray(middle)
    temple = _ramp(a, 48, 62)
    if style == "bald":
        temple = _ramp(a, 66, 84)
    side = sideburn + (ear - sideburn) * _ramp(a, 74, 86) + (nape - ear) * _ramp(a, 108, 125)
    return np.asarray(front + (side - front) * temple)


def grow_hair(identity: Identity) -> HairShell | None:
    """Build the shell of the person's hair; None without any."""
    p, style = identity.shape, identity.hair_style
    if style == "bald" and identity.age <= 45:
        return None
    angle = np.linspace(-np.pi, np.pi, _COLUMNS)
    bottom = _LENGTH.get(style, 0.6)
    dome = BROW_LEVEL - p["skull_height"] * (
        1 - np.sin(np.linspace(0, np.pi / 2, _DOME_ROWS)) ** 1.5
    )
    y = np.concatenate([dome, np.linspace(BROW_LEVEL, bottom + 0.08, _ROWS - _DOME_ROWS + 1)[1:]])[
        :, None
    ]
    size = skull_profile(identity, y)
    edge = hairline(identity, angle)
    slope = np.gradient(edge, angle) / 0.52
    cover = (edge - y) / np.sqrt(1 + slope**2)

    v = identity.hair_volume
    thick = {
        "bald": 0.010,
        "buzz": 0.014,
        "short": 0.035 + 0.06 * v,
        "fringe": 0.05 + 0.06 * v,
        "bob": 0.06 + 0.07 * v,
        "long": 0.055 + 0.06 * v,
        "tied": 0.022 + 0.02 * v,
        "curly": 0.10 + 0.18 * v,
    }[style]
    crown = thick * (1.0 + (0.9 * v if style in ("short", "fringe") else 0.2))
    waves = identity.hair_wave if style in ("bob", "long", "curly") else 0.25 * identity.hair_wave
    lumps = noise.sample(
        "cloud",
        (angle / (2 * np.pi) + identity.texture[3]).astype(np.float32)[None]
        + np.zeros_like(y, np.float32),
        (0.35 * y + identity.texture[4]).astype(np.float32) + np.zeros_like(angle, np.float32),
    )
    fill = _ramp(cover, -0.01, 0.10 + 0.4 * thick) * (1 + 0.14 * waves * lumps)
    out = thick * fill + 0.004
    lift = crown * fill
    half, depth = 0.522 * p["head_width"], p["forehead_depth"]
    hang = np.clip(y - BROW_LEVEL, 0, 2)
    flare = 1 + (0.10 * hang * np.clip(1.2 - hang, -0.3, 1.2) if style in _LENGTH else -0.12 * hang)
    ripple = 0.02 * waves * np.sin(14 * y + 9 * identity.texture[5]) * (y > BROW_LEVEL)
    x = (half * size + out * np.maximum(size, 0.3) + ripple) * np.sin(angle) * flare
    z = (depth * size + out * np.maximum(size, 0.3)) * np.cos(angle) - 0.02 * (1 - size)
    height = y - lift * np.sqrt(np.clip(1 - size**2, 0, 1)) - 0.0 * angle
    grid = np.stack([x, height, z], -1).astype(np.float32)
    cover = np.broadcast_to(cover, x.shape).astype(np.float32).reshape(-1)
    triangles = _grid()
    triangles = triangles[(cover[triangles] > -_MARGIN).any(1)]
    return HairShell(
        points=grid.reshape(-1, 3),
        normals=grid_normals(grid).reshape(-1, 3),
        cover=cover,
        angle=np.broadcast_to(angle, x.shape).astype(np.float32).reshape(-1),
        triangles=triangles,
    )


def colour_hair(
    identity: Identity, angle: Floats, y: Floats, cover: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return colour (3, P), opacity (P,) and strand noise (P,) of points on the shell."""
    t = identity.texture.astype(np.float32)
    wave = np.float32(0.05 * identity.hair_wave) * np.sin(y * 13 + 8 * t[6])
    if identity.hair_style == "curly":
        strands = 0.8 * noise.sample("grain", angle * 0.16 + t[6], y * 0.45 + t[7])
        strands += 0.7 * noise.sample("cloud", angle * 0.6 + t[6], y * 1.7 + t[7])
    elif identity.hair_style in ("buzz", "bald"):
        strands = noise.sample("grain", angle * 0.3 + t[6], y * 0.6 + t[7])
    else:
        sweep = angle * 0.32 + wave * 0.6 + t[6] + np.float32(0.12 * identity.parting) * y
        strands = noise.sample("strand", sweep, y * 0.22 + t[7])
    ragged = 0.012 if identity.hair_style in ("buzz", "bald", "tied") else 0.028
    opacity = step(cover + np.float32(ragged) * strands, 0.022)
    if identity.hair_style in ("buzz", "bald"):
        opacity *= np.clip(0.72 + 0.12 * strands, 0, 1)
    colour = identity.hair.astype(np.float32)[:, None] * np.exp(np.float32(0.30) * strands)
    return colour, opacity, strands
