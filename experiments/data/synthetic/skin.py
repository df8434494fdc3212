"""Colour of the face: skin and its marks, lips, nostrils, brows and beard."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.data.synthetic import noise
from experiments.data.synthetic.identity import Identity
from experiments.data.synthetic.layout import Layout
from experiments.data.synthetic.raster import Floats, Ints
from experiments.data.synthetic.shot import Expression

AnyFloats = NDArray[np.floating[Any]]

_PALE = np.array([0.79, 0.56, 0.45])  # linear reflectance of the lightest skin
_MELANIN = np.array([1.75, 2.25, 2.60])  # absorbance of the darkest skin
_BLOOD = np.array([0.05, 0.42, 0.36])


@dataclass(slots=True)
class Paint:
    """Surface points being coloured; the arrays change in place.

    Attributes
    ----------
    x, y, z : ndarray of float32, shape (P,)
        Position in the head frame [face widths].
    albedo : ndarray of float32, shape (3, P)
        Linear reflectance.
    gloss : ndarray of float32, shape (P,)
        Strength of the highlight.
    soft : float
        Width of edges, about one pixel [face widths].
    """

    x: Floats
    y: Floats
    z: Floats
    albedo: Floats
    gloss: Floats
    soft: float

    def blend(self, where: Ints, colour: AnyFloats, weight: AnyFloats) -> None:
        """Mix `colour`, (3,) or (3, K), into the K points `where` with `weight`, 0 to 1."""
        weight = np.asarray(weight, np.float32)
        for channel, new in zip(self.albedo, np.asarray(colour, np.float32), strict=True):
            old = channel[where]
            channel[where] = old + (new - old) * weight

    def darken(self, where: Ints, amount: AnyFloats) -> None:
        """Multiply the colour of the points `where` by 1 - amount."""
        keep = 1 - np.asarray(amount, np.float32)
        for channel in self.albedo:
            channel[where] *= keep

    def box(self, left: float, right: float, top: float, bottom: float) -> Ints:
        """Return the points in front of the head within a frontal rectangle."""
        x, y = self.x, self.y
        inside = (x > left) & (x < right) & (y > top) & (y < bottom) & (self.z > 0)
        return np.flatnonzero(inside)


def step(edge: AnyFloats, soft: float) -> Floats:
    """Smooth step from 0 to 1 as `edge` goes from -soft to soft."""
    t = np.clip(edge * np.float32(0.5 / soft) + np.float32(0.5), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def skin_colour(identity: Identity) -> NDArray[np.float64]:
    """Linear reflectance (3,) of the person's skin."""
    absorbance = identity.melanin * _MELANIN + (0.12 + 0.5 * identity.redness) * _BLOOD * (
        1 - 0.5 * identity.melanin
    )
    absorbance = absorbance + identity.yellow * np.array([0.0, 0.02, 0.22])
    return np.asarray(_PALE * np.exp(-absorbance))


def paint_skin(paint: Paint, identity: Identity, layout: Layout, expression: Expression) -> None:
    """Colour bare skin with its patches, marks and folds."""
    x, y = paint.x, paint.y
    base = skin_colour(identity).astype(np.float32)
    t = identity.texture.astype(np.float32)
    cloud = noise.sample("cloud", x * 0.55 + t[0], y * 0.55 + t[1])
    grain = noise.sample("grain", x * 0.9 + t[2], y * 0.9 + t[3])
    tone = 1 + np.float32(0.035) * cloud + np.float32(0.025) * grain
    cheek = np.exp(-(((np.abs(x) - 0.28) / 0.13) ** 2) - ((y - 0.24) / 0.12) ** 2)
    nose = np.exp(-((x / 0.09) ** 2) - ((y - layout.nose_tip_y) / 0.08) ** 2)
    red = identity.blush * (0.75 * cheek + 0.6 * nose) * (1 - 0.55 * identity.melanin)
    red += np.float32(0.05) * noise.sample("cloud", x * 0.8 + t[4], y * 0.8 + t[5])
    np.multiply(base[:, None], tone, out=paint.albedo)
    paint.albedo[1] *= 1 - 0.40 * red
    paint.albedo[2] *= 1 - 0.34 * red
    paint.gloss[:] = identity.shine * (0.5 + 0.8 * nose + 0.5 * (y < -0.15))
    if identity.freckles > 0.05:
        spots = noise.sample("grain", x * 0.55 + t[6], y * 0.55 + t[7]) > 1.1
        zone = np.exp(-((x / 0.36) ** 2) - ((y - 0.16) / 0.17) ** 2)
        amount = np.float32(0.40 * min(identity.freckles, 1)) * spots * zone
        paint.albedo *= 1 - amount * np.array([[0.6], [1.0], [1.1]], np.float32)
    for mx, my, radius, dark in identity.moles:
        where = paint.box(mx - 0.03, mx + 0.03, my - 0.03, my + 0.03)
        distance = np.hypot(x[where] - mx, y[where] - my)
        paint.darken(where, dark * step(radius - distance, paint.soft))
    _folds(paint, identity, layout, expression)


def _folds(paint: Paint, identity: Identity, layout: Layout, expression: Expression) -> None:
    """Darken wrinkles, the folds beside the mouth and the hollows under the eyes."""
    x, y = paint.x, paint.y
    mouth, age = layout.mouth, identity.wrinkles
    t = identity.texture
    fold = 0.10 + 0.5 * age + 0.35 * max(expression.smile, 0)
    top, bottom = layout.nose_y - 0.03, mouth.y + 0.03
    where = paint.box(-0.30, 0.30, top - 0.02, bottom + 0.04)
    down = np.clip((y[where] - top) / (bottom - top), 0, 1.3)
    middle = (
        layout.nose_half_width
        + 0.012
        + (mouth.half_width + 0.045 - layout.nose_half_width) * down**1.1
    )
    line = (
        np.exp(-(((np.abs(x[where]) - middle) / 0.014) ** 2))
        * np.sin(np.pi * np.clip(down / 1.3, 0, 1)) ** 0.6
    )
    paint.darken(where, np.float32(0.30 * min(fold, 1)) * line)
    if age > 0.15 or expression.brow_raise > 0.015:
        strength = 0.22 * min(1.0, age + 12 * max(expression.brow_raise, 0))
        where = paint.box(-0.34, 0.34, -0.42, -0.19)
        wave = 0.014 * np.sin(x[where] * 7 + 6 * t[6]) + 0.03 * x[where] ** 2
        phase = (y[where] + wave) / (0.055 + 0.02 * t[7])
        line = np.exp(-(((phase - np.round(phase)) / 0.11) ** 2)) * np.exp(
            -((x[where] / 0.24) ** 4)
        )
        paint.darken(where, np.float32(strength) * line)
    for eye in layout.eyes:
        bag = 0.10 + 0.32 * identity.eye_bags
        where = paint.box(eye.x - 0.13, eye.x + 0.13, 0.0, 0.16)
        s, below = eye.local(x[where], y[where])
        edge = eye.lower + 0.042
        shadow = np.exp(-(((below - edge + 0.012) / 0.022) ** 2)) * np.clip(
            1 - (s + 0.15) ** 2, 0, 1
        )
        line = np.exp(-(((below - edge) / 0.009) ** 2)) * np.clip(1 - (s + 0.2) ** 2, 0, 1)
        paint.darken(where, np.float32(bag) * (0.45 * shadow + 0.3 * line))
        if age > 0.2:
            left, right = sorted((eye.side * 0.32, eye.side * 0.45))
            where = paint.box(left, right, -0.06, 0.10)
            s, below = eye.local(x[where], y[where])
            ray = np.arctan2(below, s - 0.75) * 5.5
            line = (
                np.exp(-(((ray - np.round(ray)) / 0.16) ** 2)) * np.clip(1.9 - s, 0, 1) * (s > 1.08)
            )
            paint.darken(where, np.float32(0.22 * age) * line)


def paint_lips(paint: Paint, identity: Identity, layout: Layout) -> None:
    """Colour the lips, and teeth and dark between them."""
    mouth = layout.mouth
    w = mouth.half_width
    where = paint.box(-w * 1.12, w * 1.12, mouth.y - 0.14, mouth.y + 0.20 + mouth.gap)
    x, y, soft = paint.x[where], paint.y[where], paint.soft
    s = x / np.float32(w)
    outer_upper, inner_upper, inner_lower, outer_lower = mouth.curves(np.clip(s, -1, 1))
    skin = skin_colour(identity)
    natural = skin * np.array([0.90, 0.58, 0.62]) ** (0.7 + 0.3 * identity.redness)
    painted = np.array([0.42, 0.055, 0.075]) * (0.4 + 0.6 * float(skin[0]) / 0.7)
    colour = natural + (painted - natural) * identity.lip_colour * 0.8
    edge = np.minimum(y - outer_upper, outer_lower - y)
    ends = step(1.0 - np.abs(s), 0.05)
    streak = noise.sample("strand", x * 1.2 + np.float32(identity.texture[0]), y * 0.2)
    tint = (1 + 0.05 * streak) * np.where(y < (inner_upper + inner_lower) / 2, 0.86, 1.04)
    tint = colour[:, None] * tint
    paint.blend(where, tint, 0.88 * step(edge, 0.007 + soft) * ends)
    paint.gloss[where] += 0.7 * step(edge, 0.01) * (0.4 + identity.lip_colour)
    if mouth.gap > 0.004:
        inside = step(np.minimum(y - inner_upper, inner_lower - y), soft) * (np.abs(s) < 1)
        paint.blend(where, np.array([0.030, 0.010, 0.010]), inside)
        tooth = np.minimum(inner_upper + 0.050 * (1 - 0.5 * s * s), inner_lower - 0.15 * mouth.gap)
        gap = np.abs((s * 5.5) - np.round(s * 5.5))
        enamel = (1 - 0.35 * np.exp(-((gap / 0.09) ** 2))) * (0.9 - 0.5 * s * s)
        enamel = np.array([[0.66], [0.60], [0.50]]) * enamel
        shown = inside * step(tooth - y, soft) * step(0.80 - np.abs(s), 0.1)
        paint.blend(where, enamel, 0.9 * shown)
    else:
        width = 0.008 + 0.5 * soft
        seam = np.exp(-(((y - inner_upper) / width) ** 2)) * step(1.03 - np.abs(s), 0.05)
        paint.darken(where, np.float32(0.72) * seam)
    corner = np.exp(
        -(((np.abs(s) - 1.0) / 0.07) ** 2) - ((y - mouth.line(np.sign(s))) / 0.014) ** 2
    )
    paint.darken(where, np.float32(0.45) * corner)


def paint_nostrils(paint: Paint, layout: Layout) -> None:
    """Darken the nostrils, the creases around the wings and the shadow under the nose."""
    w, base = layout.nose_half_width, layout.nose_y
    where = paint.box(-0.2, 0.2, base - 0.10, base + 0.06)
    x, y = np.abs(paint.x[where]), paint.y[where]
    dx, dy = (x - 0.46 * w) / (0.26 * w), (y - base + 0.007 - 0.06 * (x - 0.46 * w)) / 0.0115
    hole = step(1 - np.sqrt(dx * dx + dy * dy), 0.35)
    paint.blend(where, np.array([0.030, 0.012, 0.010]), 0.75 * hole)
    around = np.hypot((x - 0.70 * w) / (0.36 * w), (y - base + 0.030) / 0.040)
    crease = np.exp(-(((around - 1) / 0.16) ** 2)) * step(x - 0.74 * w, 0.02)
    paint.darken(where, np.float32(0.42) * crease)
    under = np.exp(-(((y - base - 0.012) / 0.016) ** 2)) * step(0.85 * w - x, 0.02)
    paint.darken(where, np.float32(0.20) * under)


def paint_brows(paint: Paint, identity: Identity, layout: Layout) -> None:
    """Draw the eyebrows as tapered strokes of single hairs."""
    colour = 0.6 * identity.hair + 0.012 * np.array([1.0, 0.7, 0.5])
    colour = np.minimum(colour, 0.55 * skin_colour(identity))
    for brow in layout.brows:
        left, right = sorted((brow.side * (brow.inner - 0.03), brow.side * (brow.outer + 0.03)))
        where = paint.box(left, right, brow.y - 0.11, brow.y + 0.10)
        x, y = paint.x[where], paint.y[where]
        s = brow.along(x)
        off = y - brow.centre(s)
        half = brow.thick * np.clip(1.0 - 0.75 * np.clip(s - 0.35, 0, 1) ** 1.2, 0.2, 1)
        lean = x * np.float32(brow.side) * 1.0 + off * (1.6 - 1.4 * np.clip(s, 0, 1))
        hairs = noise.sample("strand", lean * 1.6 + np.float32(identity.texture[2]), off * 0.8)
        ragged = half * (1 + 0.16 * hairs)
        body = step(ragged - np.abs(off), 0.006 + paint.soft)
        ends = step(s + 0.02 + 0.05 * hairs, 0.09) * step(1.02 - s, 0.06)
        weight = identity.brow_dark * body * ends * np.clip(0.92 + 0.12 * hairs, 0.55, 1)
        paint.blend(where, colour, weight.astype(np.float32))


def paint_beard(paint: Paint, identity: Identity, layout: Layout) -> None:
    """Draw beard hair or its stubble on chin, cheeks and upper lip."""
    if identity.beard_style == "none":
        return
    mouth = layout.mouth
    where = paint.box(-0.6, 0.6, layout.nose_y - 0.15, 1.3)
    where = where[paint.z[where] > 0.02]
    x, y = paint.x[where], paint.y[where]
    t = identity.texture.astype(np.float32)
    ragged = 0.018 * noise.sample("cloud", x * 1.2 + t[1], y * 1.2 + t[2])
    a = np.abs(x)
    droop = 0.5 * np.clip(a - 0.85 * mouth.half_width, 0, 1)
    lip = np.minimum(y - layout.nose_y - 0.028, mouth.y + 0.012 + droop - y)
    lip = np.minimum(lip, mouth.half_width + 0.028 - a)
    cheek_edge = (
        mouth.y
        + 0.02
        + identity.beard_top
        - 1.5 * np.clip(a - 0.26, 0, 1)
        + 0.10 * np.clip(0.26 - a, 0, 0.1)
    )
    jaw = np.minimum(y - cheek_edge, layout.chin_y + 0.10 - y)
    below = mouth.y + mouth.gap + 0.75 * mouth.lower + 0.022
    jaw = np.minimum(jaw, np.maximum(a - mouth.half_width - 0.012, y - below))
    chin = np.minimum(np.minimum(y - below, 0.145 - a), layout.chin_y + 0.06 - y)
    side = np.minimum(
        0.03 - np.abs(a - mouth.half_width - 0.022), np.minimum(y - mouth.y, below + 0.04 - y)
    )
    field = {
        "stubble": np.maximum(lip, jaw),
        "moustache": lip,
        "goatee": np.maximum(np.maximum(lip, chin), side),
        "full": np.maximum(lip, jaw),
    }[identity.beard_style]
    soft = 0.045 if identity.beard_style == "stubble" else 0.022
    neck = (paint.z[where] < 0.22) & (y > 0.5)
    cover = step(field + ragged, soft) * ~neck
    hairs = noise.sample("strand", x * 1.1 + t[3] + 0.3 * ragged, y * 0.5 + t[4])
    fine = noise.sample("grain", x * 1.3 + t[5], y * 1.3)
    if identity.beard_style == "stubble":
        weight = cover * np.clip(0.30 + 0.22 * identity.beard_full + 0.10 * fine, 0, 0.8)
    else:
        weight = cover * np.clip(identity.beard_full + 0.12 * hairs + 0.06 * fine, 0, 0.97)
    colour = identity.beard[:, None] * (1 + 0.22 * hairs.clip(-2, 2))
    paint.blend(where, np.minimum(colour, 0.7), weight)
    paint.gloss[where] *= 1 - 0.7 * weight
