"""Eyes: lids, lashes, sclera, iris, pupil and the reflection on the cornea."""

import numpy as np

from experiments.data.synthetic import noise
from experiments.data.synthetic.identity import Identity
from experiments.data.synthetic.layout import Layout
from experiments.data.synthetic.raster import Floats
from experiments.data.synthetic.shot import Expression
from experiments.data.synthetic.skin import Paint, step


def paint_eyes(
    paint: Paint,
    identity: Identity,
    layout: Layout,
    expression: Expression,
    catch: tuple[float, float],
) -> tuple[Floats, Floats]:
    """Draw both eyes.

    Parameters
    ----------
    paint : Paint
        Surface points.
    identity, layout, expression
        Whose eyes, where, and how far open.
    catch : tuple of float
        Offset of the lamp's reflection from the pupil, right and down [iris radii].

    Returns
    -------
    wet, reflection : ndarray of float32, shape (P,)
        How much of each point is eyeball, and the brightness of the lamp in it, 0 to 1.
    """
    wet = np.zeros_like(paint.x)
    reflection = np.zeros_like(paint.x)
    soft = paint.soft
    for eye in layout.eyes:
        where = paint.box(eye.x - 0.17, eye.x + 0.17, eye.y - 0.13, eye.y + 0.12)
        x, y = paint.x[where], paint.y[where]
        s, below = eye.local(x, y)
        clipped = np.clip(s, -1, 1)
        upper, lower = eye.lid_upper(clipped), eye.lid_lower(clipped)
        edge = np.minimum(below - upper, lower - below)
        edge = np.minimum(edge, (1 - np.abs(s)) * np.float32(eye.half_width))
        opening = step(edge, 0.6 * soft)
        # lid shadow and fold
        fold = eye.open_upper + identity.shape["lid_fold"]
        crease = -fold * np.sqrt(np.maximum(1 - (0.82 * s) ** 2, 0)) + 0.35 * (
            eye.open_upper - eye.upper
        )
        inside = np.clip(1.18 - np.abs(s), 0, 0.25) * 4
        line = np.exp(-(((below - crease) / (0.007 + 0.4 * soft)) ** 2)) * inside
        paint.darken(where, np.float32(0.40) * line)
        lid = step(below - crease, 0.02) * step(upper - below, 0.01) * inside
        paint.darken(where, np.float32(0.16 + 0.15 * identity.lashes) * lid)
        # eyeball
        gx = eye.x + expression.gaze[0] * eye.half_width * 0.9
        gy = eye.y + (expression.gaze[1] * eye.half_width) - 0.12 * eye.open_upper
        radius = identity.shape["iris_radius"]
        distance = np.hypot(x - np.float32(gx), y - np.float32(gy)) / np.float32(radius)
        white = np.array([[0.50], [0.45], [0.42]]) * (1 - 0.34 * clipped**2)
        white = white * (
            1 - np.array([[0.0], [0.3], [0.3]]) * np.exp(-(((clipped + 0.95) / 0.12) ** 2))
        )
        angle = np.arctan2(y - np.float32(gy), x - np.float32(gx))
        rays = noise.sample("strand", angle * np.float32(1 / (2 * np.pi)) + 1, distance * 0.05 + 1)
        iris = (1 + 0.18 * rays) * (0.75 + 0.55 * np.clip(distance, 0, 1))
        iris = identity.iris[:, None] * (iris * (1 - 0.65 * step(distance - 0.88, 0.14)))
        width = soft / radius
        colour = white + (iris - white) * step(1 - distance, width)
        colour = colour * (1 - 0.97 * step(0.40 - distance, width))
        shade = 1 - 0.55 * np.exp(-np.clip(below - upper, 0, 1) / 0.014)
        paint.blend(where, (colour * shade).astype(np.float32), opening)
        wet[where] = np.maximum(wet[where], opening)
        spot = np.hypot(x - gx - catch[0] * radius, y - gy - catch[1] * radius)
        reflection[where] += opening * step(0.19 * radius - spot, 0.012 + 0.5 * soft)
        # lashes: a dark rim on the upper lid, thicker outwards; a faint one below
        beyond = step(1.10 - s, 0.06) * step(s + 1.02, 0.06)
        thick = (0.006 + 0.011 * identity.lashes) * (0.75 + 0.35 * clipped) + 0.4 * soft
        rim = np.exp(-(((below - upper + 0.3 * thick) / thick) ** 2)) * beyond
        paint.blend(where, np.array([0.012, 0.009, 0.008]), (0.55 + 0.4 * identity.lashes) * rim)
        faint = np.exp(-(((below - lower) / (0.006 + 0.4 * soft)) ** 2)) * beyond
        paint.darken(where, np.float32(0.22 + 0.2 * identity.lashes) * faint)
    return wet, reflection
