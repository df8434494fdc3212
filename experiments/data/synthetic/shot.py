"""What differs between two pictures of one person: pose, expression, light, background, camera."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Expression:
    """Momentary state of the face; 0 everywhere is neutral with open eyes.

    Attributes
    ----------
    smile : float
        -0.5 (sad) to 1 (broad smile).
    open : float
        Gap between the lips [face widths].
    brow_raise : float
        Upward shift of the brows [face widths].
    frown : float
        How far the inner brows are drawn down, 0 to 1.
    closed : float
        0 (eyes as wide as the person's) to 1 (shut).
    gaze : tuple of float
        Shift of the irises to the right and down, as fractions of the eye's half-width.
    """

    smile: float = 0.0
    open: float = 0.0
    brow_raise: float = 0.0
    frown: float = 0.0
    closed: float = 0.0
    gaze: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Pose:
    """Head rotation, applied yaw first, then pitch, then roll.

    Attributes
    ----------
    yaw : float
        Positive turns the nose to the viewer's right [rad].
    pitch : float
        Positive turns the nose up [rad].
    roll : float
        Positive turns the head clockwise on the image [rad].
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0

    def matrix(self) -> NDArray[np.float64]:
        """Return the 3 x 3 matrix that takes head coordinates to viewer coordinates."""
        cy, sy = np.cos(self.yaw), np.sin(self.yaw)
        cp, sp = np.cos(self.pitch), np.sin(self.pitch)
        cr, sr = np.cos(self.roll), np.sin(self.roll)
        yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        return np.asarray(roll @ pitch @ yaw)


@dataclass(frozen=True, slots=True)
class Light:
    """One soft key light, a weaker fill and light from all sides.

    Attributes
    ----------
    key, fill : ndarray of float, shape (3,)
        Unit vectors towards the lights in viewer coordinates (y down).
    key_colour, fill_colour, sky, ground : ndarray of float, shape (3,)
        Linear-light strengths; `sky` comes from above, `ground` from below.
    """

    key: NDArray[np.float64]
    fill: NDArray[np.float64]
    key_colour: NDArray[np.float64]
    fill_colour: NDArray[np.float64]
    sky: NDArray[np.float64]
    ground: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shot:
    """Everything of one picture that is not the person.

    Attributes
    ----------
    pose, expression, light
        Head, face and lamps.
    jitter : tuple of float
        Shift of the face from the crop's centre, right and down [face widths].
    distance : float
        From camera to head, for the perspective [face widths].
    glasses : bool
        Whether a person who owns glasses wears them.
    clothes : ndarray of float, shape (3,)
        Linear-light colour of the garment.
    exposure : float
        Brightness of the face relative to a correct exposure.
    white_balance : ndarray of float, shape (3,)
        Gain of each colour.
    blur : float
        Standard deviation of the camera's blur [face widths].
    electrons : float
        Photo-electrons of a white pixel, for the shot noise [e-].
    rng : numpy.random.Generator
        Source of the background's and the noise's numbers.
    """

    pose: Pose
    expression: Expression
    light: Light
    jitter: tuple[float, float]
    distance: float
    glasses: bool
    clothes: NDArray[np.float64]
    exposure: float
    white_balance: NDArray[np.float64]
    blur: float
    electrons: float
    rng: np.random.Generator


def _limited(rng: np.random.Generator, limit: float) -> float:
    """Draw from a normal distribution cut at +-limit, with half of it as standard deviation."""
    return float(np.clip(rng.normal(0.0, 0.5 * limit), -limit, limit)) if limit else 0.0


def _direction(azimuth: float, elevation: float) -> NDArray[np.float64]:
    """Return the unit vector to a light, by azimuth to the right and elevation [rad]."""
    return np.array(
        [
            np.sin(azimuth) * np.cos(elevation),
            -np.sin(elevation),
            np.cos(azimuth) * np.cos(elevation),
        ]
    )


def draw_expression(rng: np.random.Generator) -> Expression:
    """Draw an expression: mostly calm or smiling, sometimes talking, seldom with shut eyes."""
    mood = rng.uniform()
    smile = float(rng.uniform(0.35, 1.0) if mood < 0.4 else rng.normal(0.0, 0.16))
    gap = 0.0
    if rng.uniform() < 0.4:
        gap = float(rng.gamma(2.0, 0.018))
    elif smile > 0.5 and rng.uniform() < 0.6:
        gap = float(rng.uniform(0.015, 0.045))
    closed = float(rng.uniform(0.7, 1.0) if rng.uniform() < 0.04 else 0.25 * rng.beta(1, 3))
    return Expression(
        smile=float(np.clip(smile, -0.5, 1.0)),
        open=min(gap, 0.14),
        brow_raise=float(np.clip(rng.normal(0.0, 0.012), -0.02, 0.04)),
        frown=float(max(0.0, rng.normal(-0.2, 0.35))),
        closed=min(1.0, closed + 0.25 * max(0.0, smile)),
        gaze=(float(np.clip(rng.normal(0, 0.16), -0.4, 0.4)), float(rng.normal(0, 0.06))),
    )


def draw_light(rng: np.random.Generator) -> Light:
    """Draw lamps: a key anywhere in front, from flat and soft to hard and from one side."""
    key = _direction(float(rng.uniform(-1.25, 1.25)), float(rng.uniform(-0.15, 1.0)))
    fill = _direction(float(rng.uniform(-1.5, 1.5)), float(rng.uniform(-0.2, 0.9)))
    warmth = float(rng.normal(0.0, 0.13))
    tint = np.exp(np.array([warmth, 0.0, -warmth]))
    hardness = float(rng.uniform(0.25, 0.8))
    around = 1.0 - hardness
    return Light(
        key=key,
        fill=fill,
        key_colour=1.5 * hardness * tint,
        fill_colour=float(rng.uniform(0.0, 0.5)) * np.exp(rng.normal(0, 0.08, 3)),
        sky=around * np.exp(rng.normal(0, 0.06, 3)),
        ground=around * float(rng.uniform(0.3, 0.8)) * np.exp(rng.normal(0, 0.08, 3)),
    )


def draw_shot(
    seed: int,
    person: int,
    shot: int,
    *,
    max_yaw: float,
    max_pitch: float,
    max_roll: float,
    jitter: float,
) -> Shot:
    """Draw picture number `shot` of person `person`; depends on nothing but the arguments.

    Parameters
    ----------
    seed, person, shot : int
        Population, person and picture.
    max_yaw, max_pitch, max_roll : float
        Bounds of the head's rotation [rad].
    jitter : float
        Standard deviation of the face's offset in the crop [face widths].
    """
    # a trailing zero would not change a SeedSequence, so pictures count from one
    rng = np.random.default_rng(np.random.SeedSequence([seed, person, shot + 1]))
    pose = Pose(_limited(rng, max_yaw), _limited(rng, max_pitch), _limited(rng, max_roll))
    cast = float(rng.normal(0.0, 0.05))
    return Shot(
        pose=pose,
        expression=draw_expression(rng),
        light=draw_light(rng),
        jitter=(float(jitter * rng.normal()), float(jitter * rng.normal())),
        distance=float(rng.uniform(6.0, 16.0)),
        glasses=bool(rng.uniform() < 0.8),
        clothes=rng.dirichlet([6, 6, 6]) * float(rng.uniform(0.03, 1.2)),
        exposure=float(np.exp(rng.normal(0.0, 0.22))),
        white_balance=np.exp(np.array([cast, 0.0, -cast]) + rng.normal(0, 0.015, 3)),
        blur=float(rng.uniform(0.0, 0.009)),
        electrons=float(np.exp(rng.uniform(np.log(800), np.log(20000)))),
        rng=rng,
    )
