"""Where the features of a face are: eye, brow, mouth and jaw curves of one person and expression.

The same curves place the landmarks, shape the relief and draw the texture, so that all three
agree. Coordinates are those of the head frame (x right, y down) in face widths.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.data.synthetic.identity import Identity
from experiments.data.synthetic.shot import Expression

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

# mean jaw line, points 0 to 8 (ear to chin): half-width, y over chin_y, depth
_JAW_X = np.array([0.500, 0.491, 0.471, 0.440, 0.392, 0.320, 0.232, 0.130, 0.0])
_JAW_Y = np.array([0.04, 0.205, 0.370, 0.527, 0.682, 0.806, 0.904, 0.975, 1.0])
_JAW_Z = np.array([0.02, 0.03, 0.07, 0.14, 0.245, 0.375, 0.50, 0.585, 0.615])


@dataclass(frozen=True, slots=True)
class Eye:
    """One eye: lid curves over s, -1 at the inner corner and 1 at the outer one."""

    side: int  #: -1 for the eye at the viewer's left, 1 for the other
    x: float
    y: float
    half_width: float
    upper: float  #: height of the upper lid above the corners' line
    lower: float  #: depth of the lower lid below it
    open_upper: float  #: `upper` of the same eye fully open
    tilt: float  #: rise of the outer corner per half-width
    peak: float  #: where the upper lid is highest

    def local(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return s and the distance below the line through the corners [face widths]."""
        s = (x - self.x) * (self.side / self.half_width)
        return s, y - self.y + (self.tilt * self.half_width) * s

    def lid_upper(self, s: Floats) -> Floats:
        """Offset of the upper lid's edge from the corners' line, down positive."""
        inside = np.maximum(1.0 - s * s, 0.0)
        arch = np.sqrt(inside) * (0.35 + 0.65 * inside)
        return np.asarray(-self.upper * arch * (1 + self.peak * s))

    def lid_lower(self, s: Floats) -> Floats:
        """Offset of the lower lid's edge from the corners' line, down positive."""
        inside = np.maximum(1.0 - s * s, 0.0)
        return np.asarray(self.lower * np.sqrt(inside) * (0.5 + 0.5 * inside) * (1 + 0.25 * s))

    def points(self) -> Doubles:
        """Six landmarks (6, 2): outer corner, two upper, inner corner, two lower."""
        s = np.array([1.0, 0.36, -0.36, -1.0, -0.36, 0.36], np.float32)
        upper, lower = self.lid_upper(s), self.lid_lower(s)
        offset = np.array([0, upper[1], upper[2], 0, lower[4], lower[5]])
        x = self.x + self.side * self.half_width * s
        return np.stack([x, self.y - self.tilt * self.half_width * s + offset], -1)


@dataclass(frozen=True, slots=True)
class Brow:
    """One eyebrow: a tapered stroke over s, 0 at the inner end and 1 at the outer one."""

    side: int
    inner: float
    outer: float
    y: float
    arch: float
    tilt: float
    inner_drop: float
    thick: float

    def along(self, x: Floats) -> Floats:
        """Return s at x; below 0 and above 1 beyond the ends."""
        return (x * self.side - self.inner) / (self.outer - self.inner)

    def centre(self, s: Floats) -> Floats:
        """Height y of the stroke's centre line at s."""
        t = np.clip(s, -0.2, 1.2)
        curve = np.sin(np.pi * np.clip(t, 0, 1) ** 1.35)
        drop = self.inner_drop * np.clip(1 - 2 * t, 0, 1)
        return np.asarray(self.y - self.arch * curve - self.tilt * (t - 0.4) + drop)

    def points(self) -> Doubles:
        """Five landmarks (5, 2) from the outer end to the inner one."""
        s = np.array([1.0, 0.77, 0.51, 0.25, 0.0], np.float32)
        x = self.side * (self.inner + s * (self.outer - self.inner))
        return np.stack([x, self.centre(s)], -1)


@dataclass(frozen=True, slots=True)
class Mouth:
    """Lips: four curves over s, -1 at the viewer's left corner and 1 at the right one."""

    y: float
    half_width: float
    lift: float  #: rise of the corners above the middle
    upper: float
    lower: float
    bow: float
    gap: float

    def line(self, s: Floats) -> Floats:
        """Height y of the closed mouth's line."""
        return np.asarray(self.y - self.lift * s * s)

    def curves(self, s: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Heights y of outer upper, inner upper, inner lower and outer lower edge."""
        inside = np.maximum(1.0 - s * s, 0.0)
        round_, sharp = np.sqrt(inside), inside**0.8
        line = self.line(s)
        peaks, dip = np.exp(-(((np.abs(s) - 0.24) / 0.16) ** 2)), np.exp(-((s / 0.13) ** 2))
        bow = 1 + self.bow * (peaks - dip)
        inner_upper = line - 0.25 * self.gap * round_ + 0.004 * np.exp(-((s / 0.2) ** 2))
        inner_lower = line + 0.75 * self.gap * round_ + 0.004 * np.exp(-((s / 0.2) ** 2))
        outer_upper = line - 0.25 * self.gap * round_ - self.upper * sharp * bow
        outer_upper = np.minimum(outer_upper, inner_upper)
        outer_lower = inner_lower + self.lower * round_ * (0.45 + 0.55 * inside)
        return outer_upper, inner_upper, inner_lower, outer_lower

    def points(self) -> Doubles:
        """Twenty landmarks (20, 2): 48-59 outer, 60-67 inner."""
        s = np.array([-1, -0.60, -0.24, 0, 0.24, 0.60, 1, 0.62, 0.30, 0, -0.30, -0.62], np.float32)
        s = np.append(s, np.array([-0.86, -0.30, 0, 0.30, 0.86, 0.30, 0, -0.30], np.float32))
        outer_upper, inner_upper, inner_lower, outer_lower = self.curves(s)
        parts = (outer_upper[:7], outer_lower[7:12], inner_upper[12:17], inner_lower[17:])
        y = np.concatenate(parts)
        y[[0, 6, 12, 16]] = self.line(s[[0, 6, 12, 16]])
        return np.stack([s * self.half_width, y], -1)


@dataclass(frozen=True, slots=True)
class Layout:
    """All feature curves of a face.

    Attributes
    ----------
    eyes, brows : tuple
        At the viewer's left and right.
    mouth : Mouth
        The lips.
    nose_y, nose_tip_y, nose_half_width : float
        Base and tip height of the nose, half-width over the wings.
    jaw : ndarray of float, shape (17, 3)
        The jaw line, contour points 0 to 16.
    chin_y : float
        Height of the chin.
    """

    eyes: tuple[Eye, Eye]
    brows: tuple[Brow, Brow]
    mouth: Mouth
    nose_y: float
    nose_tip_y: float
    nose_half_width: float
    jaw: Doubles
    chin_y: float

    def front_points(self) -> Doubles:
        """x, y of landmarks 17 to 67, (51, 2) [face widths]."""
        left, right = self.brows
        top = 0.02
        ridge = np.linspace(top, self.nose_tip_y, 4)
        w, y = self.nose_half_width, self.nose_y
        base = np.array([(-0.8 * w, y - 0.012), (-0.42 * w, y + 0.004), (0, y + 0.014)])
        mirrored = base[1::-1] * np.array([-1, 1])
        eye_left, eye_right = self.eyes[0].points(), self.eyes[1].points()
        return np.concatenate(
            [
                left.points(),
                right.points()[::-1],
                np.stack([np.zeros(4), ridge], -1),
                base,
                mirrored,
                eye_left,
                eye_right[[3, 2, 1, 0, 5, 4]],
                self.mouth.points(),
            ]
        )


def lay_out(identity: Identity, expression: Expression) -> Layout:
    """Place the features of `identity` making `expression`."""
    p, e = identity.shape, expression
    drop = 0.85 * e.open  # of the chin
    smile, skew = e.smile, p["asymmetry"]
    chin = p["chin_y"] + drop
    jaw = _jaw_line(p, drop)
    upper = p["eye_upper"] + 0.25 * e.brow_raise - 0.004 * max(smile, 0) - 0.004 * e.frown
    lower = p["eye_lower"] - 0.006 * max(smile, 0)
    eyes, brows = [], []
    for side in (-1, 1):
        lid = upper + 0.5 * side * skew
        eyes.append(
            Eye(
                side=side,
                x=side * p["eye_x"],
                y=0.5 * side * skew,
                half_width=p["eye_width"],
                upper=lid - e.closed * (lid + 0.8 * lower),
                lower=lower,
                open_upper=lid,
                tilt=p["eye_tilt"],
                peak=p["eye_peak"],
            )
        )
        brows.append(
            Brow(
                side=side,
                inner=p["brow_inner"] - 0.008 * e.frown,
                outer=p["brow_outer"],
                y=p["brow_y"] - e.brow_raise + side * skew,
                arch=p["brow_arch"],
                tilt=p["brow_tilt"],
                inner_drop=0.026 * e.frown,
                thick=p["brow_thick"],
            )
        )
    thinner = 1 - 0.22 * max(smile, 0)
    mouth = Mouth(
        y=p["nose_y"] + p["mouth_gap"] - 0.010 * max(smile, 0),
        half_width=p["mouth_width"] * (1 + 0.22 * smile) - 0.12 * e.open,
        lift=p["lip_corner"] + 0.034 * smile,
        upper=p["lip_upper"] * thinner,
        lower=p["lip_lower"] * thinner,
        bow=p["lip_bow"],
        gap=e.open,
    )
    return Layout(
        eyes=(eyes[0], eyes[1]),
        brows=(brows[0], brows[1]),
        mouth=mouth,
        nose_y=p["nose_y"],
        nose_tip_y=p["nose_y"] - p["nose_turn"],
        nose_half_width=p["nose_width"] * (1 + 0.08 * smile),
        jaw=jaw,
        chin_y=chin,
    )


def _jaw_line(p: dict[str, float], drop: float) -> Doubles:
    """Return the 17 contour points (17, 3) with the chin lowered by `drop`."""
    k = np.arange(9)
    low = np.clip((k - 2) / 6, 0, 1)
    middle = np.exp(-(((k - 4.3) / 1.6) ** 2))
    near_chin = np.exp(-(((k - 6.6) / 1.1) ** 2))
    x = _JAW_X * (1 + (p["jaw_width"] - 1) * np.clip(k / 2, 0, 1))
    x = x + p["jaw_angle"] * middle + 0.13 * (p["chin_width"] - 1) * near_chin
    x[0] = 0.5 * p["head_width"]
    y = _JAW_Y * p["chin_y"] + 0.4 * p["jaw_angle"] * middle + drop * low**1.2
    z = _JAW_Z + p["chin_depth"] * low - 0.25 * drop * low
    half = np.stack([x, y, z], -1)
    return np.concatenate([half * np.array([-1, 1, 1]), half[-2::-1]])
