"""One picture: project the surfaces, colour and light what is seen, and photograph it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anonymizer.alignment import CANONICAL68
from experiments.data.synthetic.backdrop import draw_backdrop
from experiments.data.synthetic.camera import photograph
from experiments.data.synthetic.eyes import paint_eyes
from experiments.data.synthetic.hair import HairShell, colour_hair, grow_hair, hairline
from experiments.data.synthetic.head import (
    COLUMNS,
    ROWS,
    Surface,
    column_angles,
    landmarks_on,
    shape_head,
)
from experiments.data.synthetic.identity import Identity
from experiments.data.synthetic.layout import Layout, lay_out
from experiments.data.synthetic.lighting import dot, lit
from experiments.data.synthetic.parts import shape_ear, shape_glasses, shape_shoulders
from experiments.data.synthetic.raster import Floats, Fragments, rasterise
from experiments.data.synthetic.shot import Shot
from experiments.data.synthetic.skin import (
    Paint,
    paint_beard,
    paint_brows,
    paint_lips,
    paint_nostrils,
    paint_skin,
    skin_colour,
)

PIVOT = np.array([0.0, 0.85, -0.05])  # the head turns about the neck [face widths]


@dataclass(frozen=True, slots=True)
class View:
    """Map from head coordinates to pixels: rotation, perspective, scale and shift."""

    rotation: NDArray[np.float64]
    distance: float
    scale: float
    shift: NDArray[np.float64]

    def project(self, points: NDArray[np.floating], *, turn: bool = True) -> NDArray[np.float64]:
        """Return column, row [px] and depth [face widths] of `points` (..., 3)."""
        local = np.asarray(points, np.float64) - PIVOT
        if turn:
            local = local @ self.rotation.T
        away = self.distance / (self.distance - local[..., 2:])
        pixel = local[..., :2] * away * self.scale + self.shift
        return np.concatenate([pixel, local[..., 2:]], -1)

    def zoomed(self, factor: int) -> "View":
        """Return the same view on an image with `factor` times as many pixels."""
        shift = (self.shift + 0.5) * factor - 0.5
        return View(self.rotation, self.distance, self.scale * factor, shift)


def frame_face(points: NDArray[np.float64], shot: Shot, size: int, context: float) -> View:
    """Choose the view whose crop is `context` face widths wide, by the fit to the mean shape.

    Parameters
    ----------
    points : ndarray of float, shape (68, 3)
        Landmarks in head coordinates.
    shot : Shot
        Pose, distance and jitter.
    size : int
        Image side [px].
    context : float
        Side of the crop [face widths].
    """
    unit = View(shot.pose.matrix(), shot.distance, 1.0, np.zeros(2))
    flat = unit.project(points)[:, :2]
    a = flat - flat.mean(0)
    mean = CANONICAL68.numpy().astype(np.float64)
    b = mean - mean.mean(0)
    u, v = a[:, 0] + 1j * a[:, 1], b[:, 0] + 1j * b[:, 1]
    factor = np.vdot(u, v) / np.vdot(u, u).real  # mean shape = factor * projected points
    # the mean shape's origin, seen in the projected points
    origin = -mean.mean(0)
    back = complex(origin[0], origin[1]) / factor
    centre = flat.mean(0) + np.array([back.real, back.imag])
    scale = float(abs(factor)) * size / context
    middle = (size - 1) / 2 + np.array(shot.jitter) * size / context
    return View(unit.rotation, shot.distance, scale, middle - centre * scale)


def render_image(
    identity: Identity, shot: Shot, size: int, context: float
) -> tuple[NDArray[np.uint8], Floats]:
    """Return the picture (size, size, 3) in sRGB and its landmarks (68, 2) [px]."""
    layout = lay_out(identity, shot.expression)
    head = shape_head(identity, layout, shot.expression.smile)
    points = landmarks_on(head, layout)
    view = frame_face(points, shot, size, context)
    factor = max(2, round(256 / size))
    colour, cover = _draw(identity, shot, layout, head, view.zoomed(factor), size * factor)
    backdrop = draw_backdrop(shot, size)
    linear = _shrink(colour, factor) + (1 - _shrink(cover[None], factor)) * backdrop
    image = photograph(linear, shot, size / context)
    return image, view.project(points)[:, :2].astype(np.float32)


def _shrink(channels: Floats, factor: int) -> Floats:
    """Average squares of `factor` pixels: (C, N) at full resolution to (C, S, S)."""
    side = round(channels.shape[-1] ** 0.5)
    square = channels.reshape(len(channels), side, side)
    rows = square[:, ::factor].copy()
    for i in range(1, factor):
        rows += square[:, i::factor]
    total = rows[:, :, ::factor].copy()
    for i in range(1, factor):
        total += rows[:, :, i::factor]
    total *= np.float32(1 / factor**2)
    return total


class _Canvas:
    """What has been drawn so far, for each pixel at full resolution."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.colour = np.zeros((3, size * size), np.float32)  # light times cover
        self.cover = np.zeros(size * size, np.float32)
        self.depth = np.full(size * size, -1e9, np.float32)

    def put(self, hits: Fragments, colour: Floats) -> None:
        """Draw opaque fragments."""
        for channel, new in zip(self.colour, colour, strict=True):
            channel[hits.pixel] = new
        self.cover[hits.pixel] = 1
        self.depth[hits.pixel] = hits.depth

    def blend(self, hits: Fragments, colour: Floats, opacity: Floats) -> None:
        """Draw fragments over what is there."""
        for channel, new in zip(self.colour, colour, strict=True):
            old = channel[hits.pixel]
            channel[hits.pixel] = old + (new - old) * opacity
        self.cover[hits.pixel] += (1 - self.cover[hits.pixel]) * opacity
        solid = opacity > 0.5
        self.depth[hits.pixel[solid]] = hits.depth[solid]


def _draw(
    identity: Identity, shot: Shot, layout: Layout, head: Surface, view: View, size: int
) -> tuple[Floats, Floats]:
    """Draw the person at full resolution: light times cover (3, N) and cover (N,)."""
    canvas = _Canvas(size)
    _draw_body(identity, shot, view, canvas)
    _draw_ears(identity, shot, view, canvas)
    shell = grow_hair(identity)
    _draw_head(identity, shot, layout, head, view, canvas, hairy=shell is not None)
    if shell is not None:
        _draw_hair(identity, shell, shot, view, canvas)
    if identity.glasses_style != "none" and shot.glasses:
        _draw_glasses(identity, shot, head, view, canvas)
    return canvas.colour, canvas.cover


def _pixels(view: View, points: Floats, *, turn: bool = True) -> Floats:
    return view.project(points, turn=turn).astype(np.float32)


def _turn(shot: Shot, normal: Floats) -> Floats:
    """Rotate normals (3, P) from head to viewer coordinates."""
    # without a matrix product, whose threads would fight over the cores with other workers
    return np.stack([dot(normal, row) for row in shot.pose.matrix()])


def _draw_body(identity: Identity, shot: Shot, view: View, canvas: _Canvas) -> None:
    body = shape_shoulders(identity)
    hits = rasterise(_pixels(view, body.points, turn=False), body.triangles, canvas.size)
    values = hits.interpolate(np.vstack([body.normals.T, body.shade]))
    cloth = shot.clothes.astype(np.float32)[:, None]
    canvas.put(hits, lit(cloth, values[:3], values[3], shot.light, 0.0))


def _draw_ears(identity: Identity, shot: Shot, view: View, canvas: _Canvas) -> None:
    albedo = (skin_colour(identity) * np.array([1.0, 0.88, 0.86])).astype(np.float32)
    for side in (-1, 1):
        if side * shot.pose.yaw > 0.35:  # behind the head
            continue
        ear = shape_ear(identity, side)
        hits = rasterise(_pixels(view, ear.points), ear.triangles, canvas.size, cull=False)
        hits = hits.nearer_than(canvas.depth)
        values = hits.interpolate(np.vstack([ear.normals.T, ear.shade]))
        light = lit(albedo[:, None], _turn(shot, values[:3]), values[3], shot.light, 0.1)
        canvas.put(hits, light)


def _draw_head(
    identity: Identity,
    shot: Shot,
    layout: Layout,
    head: Surface,
    view: View,
    canvas: _Canvas,
    *,
    hairy: bool,
) -> None:
    hits = rasterise(_pixels(view, head.points), head.triangles, canvas.size)
    hits = hits.nearer_than(canvas.depth)
    angles = column_angles()
    shade = head.shade
    if hairy:  # the hair's shadow on the forehead
        edge = np.tile(hairline(identity, angles), ROWS).astype(np.float32)
        gap = np.clip(head.points[:, 1] - edge, 0, 1)
        shade = shade * (1 - np.float32(0.35) * np.exp(-gap / np.float32(0.05)))
    table = np.vstack([head.points.T, head.normals.T, shade])
    values = hits.interpolate(table)
    paint = Paint(
        values[0],
        values[1],
        values[2],
        np.empty((3, hits.pixel.size), np.float32),
        np.empty(hits.pixel.size, np.float32),
        1.0 / view.scale,
    )
    lamp = shot.light.key @ shot.pose.matrix()  # in head coordinates
    paint_skin(paint, identity, layout, shot.expression)
    paint_nostrils(paint, layout)
    paint_beard(paint, identity, layout)
    paint_lips(paint, identity, layout)
    catch = (0.45 * float(lamp[0]), 0.45 * float(lamp[1]))
    wet, reflection = paint_eyes(paint, identity, layout, shot.expression, catch)
    paint_brows(paint, identity, layout)
    gloss = np.float32(0.35) * paint.gloss * (1 - wet)
    light = lit(paint.albedo, _turn(shot, values[3:6]), values[6], shot.light, gloss)
    strength = (0.25 + 0.5 * shot.light.key_colour).astype(np.float32)
    light += reflection * strength[:, None]
    canvas.put(hits, light)


def _draw_hair(
    identity: Identity, shell: HairShell, shot: Shot, view: View, canvas: _Canvas
) -> None:
    points = _pixels(view, shell.points)
    table = np.vstack([shell.points[:, 1], shell.normals.T, shell.cover, shell.angle])
    matt = identity.hair_style in ("curly", "buzz", "bald")
    # the inside of hanging hair first, then the outside over it
    for triangles, facing in ((shell.triangles[:, ::-1], -1.0), (shell.triangles, 1.0)):
        hits = rasterise(points, triangles, canvas.size).nearer_than(canvas.depth)
        values = hits.interpolate(table)
        albedo, opacity, strands = colour_hair(identity, values[5], values[0], values[4])
        normal = _turn(shot, values[1:4]) * np.float32(facing)
        normal[0] += np.float32(0.18) * strands
        normal /= np.sqrt((normal * normal).sum(0)) + np.float32(1e-6)
        shade = np.clip(1 + np.float32(0.18) * strands, 0.4, 1.4)
        shade *= np.float32(0.9 if facing > 0 else 0.22)
        gloss = 0.0 if facing < 0 else 0.05 if matt else 0.22
        canvas.blend(hits, lit(albedo, normal, shade, shot.light, gloss), opacity)


def _draw_glasses(
    identity: Identity, shot: Shot, head: Surface, view: View, canvas: _Canvas
) -> None:
    middle = head.points.reshape(ROWS, COLUMNS, 3)[:, COLUMNS // 2]
    bridge = float(np.interp(0.02, middle[:, 1], middle[:, 2])) + 0.012
    frame = shape_glasses(identity, bridge)
    hits = rasterise(_pixels(view, frame.points), frame.triangles, canvas.size, cull=False)
    hits = hits.nearer_than(canvas.depth - np.float32(0.03))
    strength = 0.55 * shot.light.sky + 0.4 * shot.light.key_colour
    colour = (identity.frame * strength).astype(np.float32)[:, None]
    canvas.put(hits, np.broadcast_to(colour, (3, hits.pixel.size)))
