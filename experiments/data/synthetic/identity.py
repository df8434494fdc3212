"""Who a synthetic person is: every number that stays the same in all pictures of them.

Lengths are in face widths (distance of iBUG points 0 and 16), in a head frame with its origin
midway between the eyes, x to the viewer's right, y down and z towards the viewer.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HAIR_STYLES = ("bald", "buzz", "short", "fringe", "bob", "long", "tied", "curly")
BEARD_STYLES = ("none", "stubble", "moustache", "goatee", "full")
GLASSES_STYLES = ("none", "rectangle", "round", "heavy")

_STYLE_ODDS = {  # by sex; age moves men towards bald
    "male": (0.08, 0.17, 0.38, 0.17, 0.02, 0.03, 0.03, 0.12),
    "female": (0.0, 0.02, 0.08, 0.12, 0.20, 0.30, 0.16, 0.12),
}
# natural hair colours, linear sRGB: black, dark brown, brown, auburn, dark blond, blond, red
_HAIR_COLOURS = np.array(
    [
        (0.010, 0.008, 0.008),
        (0.030, 0.018, 0.011),
        (0.075, 0.040, 0.020),
        (0.120, 0.045, 0.018),
        (0.200, 0.125, 0.062),
        (0.440, 0.300, 0.140),
        (0.270, 0.080, 0.022),
    ]
)
# irises, linear sRGB: dark brown, brown, hazel, green, blue, grey
_IRIS_COLOURS = np.array(
    [
        (0.030, 0.014, 0.007),
        (0.080, 0.036, 0.014),
        (0.150, 0.090, 0.030),
        (0.110, 0.150, 0.070),
        (0.110, 0.210, 0.340),
        (0.210, 0.250, 0.280),
    ]
)

# name: (mean, standard deviation, male minus mean); the means are adult anthropometry
_SHAPE = {
    "head_width": (1.03, 0.035, 0.0),
    "skull_height": (0.60, 0.03, 0.0),
    "forehead_depth": (0.66, 0.02, 0.0),
    "chin_y": (0.785, 0.040, 0.018),
    "chin_width": (1.0, 0.17, 0.10),
    "jaw_width": (1.03, 0.055, 0.025),
    "jaw_angle": (0.0, 0.028, 0.012),
    "chin_depth": (0.0, 0.028, 0.008),
    "cheek_full": (0.0, 0.024, -0.006),
    "cheekbone": (0.028, 0.014, 0.0),
    "brow_ridge": (0.014, 0.011, 0.012),
    "glabella": (0.0, 0.010, 0.004),
    "eye_x": (0.219, 0.011, 0.0),
    "eye_width": (0.103, 0.006, -0.001),
    "eye_upper": (0.048, 0.0075, -0.003),
    "eye_lower": (0.027, 0.004, 0.0),
    "eye_tilt": (0.055, 0.060, -0.015),
    "eye_peak": (0.0, 0.16, 0.0),
    "eye_depth": (0.062, 0.014, 0.006),
    "eye_bulge": (0.034, 0.006, 0.0),
    "lid_fold": (0.030, 0.011, -0.004),
    "iris_radius": (0.0425, 0.0018, 0.0),
    "brow_y": (-0.135, 0.016, 0.012),
    "brow_inner": (0.088, 0.014, -0.004),
    "brow_outer": (0.375, 0.014, 0.0),
    "brow_arch": (0.036, 0.014, -0.008),
    "brow_tilt": (0.012, 0.017, 0.006),
    "brow_thick": (0.024, 0.006, 0.006),
    "nose_y": (0.316, 0.026, 0.006),
    "nose_width": (0.105, 0.013, 0.006),
    "nose_height": (0.185, 0.022, 0.010),
    "nose_bridge": (0.052, 0.008, 0.003),
    "nose_root": (0.030, 0.018, 0.004),
    "nose_hump": (0.0, 0.014, 0.003),
    "nose_tip": (0.046, 0.008, 0.003),
    "nose_turn": (0.062, 0.016, -0.006),
    "nose_bend": (0.0, 0.008, 0.0),
    "mouth_gap": (0.140, 0.014, 0.004),
    "mouth_width": (0.182, 0.015, 0.004),
    "lip_upper": (0.046, 0.012, -0.006),
    "lip_lower": (0.062, 0.014, -0.006),
    "lip_bow": (0.22, 0.12, -0.03),
    "lip_corner": (0.0, 0.008, 0.0),
    "lip_depth": (0.030, 0.010, -0.003),
    "maxilla": (0.022, 0.014, 0.0),
    "chin_bump": (0.038, 0.014, 0.005),
    "ear_size": (0.20, 0.016, 0.008),
    "ear_angle": (0.34, 0.15, 0.04),
    "neck_width": (0.345, 0.022, 0.028),
    "asymmetry": (0.0, 0.006, 0.0),
    "hairline_y": (-0.445, 0.038, 0.0),
    "hairline_peak": (0.0, 0.020, 0.0),
    "hairline_recess": (0.03, 0.025, 0.03),
}


@dataclass(frozen=True, slots=True)
class Identity:
    """One person.

    Attributes
    ----------
    shape : dict
        Lengths of the head and its features [face widths]; the names are those of the model.
    female, age : float
        0 (male) to 1 (female); age [years].
    melanin, redness, yellow : float
        Skin pigments, 0 to 1.
    texture : ndarray of float, shape (8,)
        Offsets of this person's skin and hair patterns in the noise tables, 0 to 1.
    freckles, blush, shine, wrinkles, eye_bags : float
        Strength of these skin features, 0 to 1.
    moles : ndarray of float32, shape (M, 4)
        x, y, radius [face widths] and darkness of single marks.
    lip_colour : float
        From skin-like (0) to made up (1).
    lashes, brow_dark : float
        Strength of lashes and brows, 0 to 1.
    hair_style, beard_style, glasses_style : str
        One of the names listed in this module.
    hair, iris, beard, frame : ndarray of float, shape (3,)
        Linear-light colours.
    hair_volume, hair_wave, fringe_y, parting : float
        Hair thickness, waviness, lower end of a fringe and side of the parting.
    beard_full, beard_top : float
        Density of the beard and how far it climbs the cheek.
    glasses_size, glasses_aspect, frame_width : float
        Lens half-width, height over width and rim thickness.
    """

    shape: dict[str, float]
    female: float
    age: float
    melanin: float
    redness: float
    yellow: float
    texture: NDArray[np.float64]
    freckles: float
    blush: float
    shine: float
    wrinkles: float
    eye_bags: float
    moles: NDArray[np.float32]
    lip_colour: float
    lashes: float
    brow_dark: float
    hair_style: str
    beard_style: str
    glasses_style: str
    hair: NDArray[np.float64]
    iris: NDArray[np.float64]
    beard: NDArray[np.float64]
    frame: NDArray[np.float64]
    hair_volume: float
    hair_wave: float
    fringe_y: float
    parting: float
    beard_full: float
    beard_top: float
    glasses_size: float
    glasses_aspect: float
    frame_width: float


def draw_identity(seed: int, person: int) -> Identity:
    """Draw person number `person` of the population `seed`; depends on nothing else."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, person]))
    female = float(np.clip(rng.beta(0.25, 0.25), 0.02, 0.98))
    age = float(18 + 60 * rng.beta(1.3, 2.2))
    male = 1.0 - 2.0 * female  # +1 man, -1 woman
    shape = {
        name: mean + shift * male + spread * float(np.clip(rng.normal(), -2.4, 2.4))
        for name, (mean, spread, shift) in _SHAPE.items()
    }
    melanin = float(rng.beta(0.9, 1.2))
    # ancestry-like correlations: darker populations have wider noses and fuller lips on average
    shape["nose_width"] += 0.016 * melanin
    shape["lip_upper"] += 0.018 * melanin - 0.004
    shape["lip_lower"] += 0.018 * melanin - 0.004
    years = (age - 40) / 40
    shape["lip_upper"] -= 0.008 * years
    shape["ear_size"] += 0.012 * years

    pale = 1.0 - melanin
    odds = np.array(
        [3.0, 3.0 * pale + 1, 2.5 * pale, 0.7 * pale, 1.4 * pale**2, pale**2.5, 0.4 * pale**2]
    )
    if melanin > 0.55:
        odds = np.array([4.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    hair = _HAIR_COLOURS[rng.choice(7, p=odds / odds.sum())] * np.exp(rng.normal(0, 0.2))
    grey = float(np.clip((age - 44 + rng.normal(0, 9)) / 28, 0, 1)) * float(rng.uniform(0.3, 1.0))
    hair = (1 - grey) * hair + grey * np.array([0.42, 0.41, 0.40]) * rng.uniform(0.5, 1.1)
    irises = np.array([3.0, 2.5, 1.6 * pale, 0.8 * pale, 2.0 * pale**2, pale**2])
    if melanin > 0.5:
        irises = np.array([4.0, 1.0, 0.1, 0.0, 0.0, 0.0])
    iris = _IRIS_COLOURS[rng.choice(6, p=irises / irises.sum())] * np.exp(rng.normal(0, 0.15, 3))

    style_odds = np.array(_STYLE_ODDS["female" if female > 0.5 else "male"])
    if female <= 0.5:
        style_odds[0] *= max(0.3, (age - 22) / 12)
    hair_style = str(rng.choice(HAIR_STYLES, p=style_odds / style_odds.sum()))
    if female <= 0.5 and age > 30:
        shape["hairline_recess"] += 0.0022 * (age - 30) * float(rng.uniform(0, 1))
        shape["hairline_y"] -= 0.0022 * (age - 30) * float(rng.uniform(0, 1))
    beard_odds = (1.0, 0, 0, 0, 0) if female > 0.4 else (0.46, 0.22, 0.08, 0.10, 0.14)
    beard_style = str(rng.choice(BEARD_STYLES, p=beard_odds))
    glasses_style = str(rng.choice(GLASSES_STYLES, p=(0.72, 0.12, 0.08, 0.08)))
    frames = np.array(
        [(0.01, 0.01, 0.012), (0.05, 0.02, 0.012), (0.25, 0.24, 0.22), (0.03, 0.04, 0.10)]
    )

    count = int(rng.poisson(2.5))
    moles = np.stack(
        [
            rng.uniform(-0.42, 0.42, count),
            rng.uniform(-0.38, 0.74, count),
            rng.uniform(0.005, 0.013, count),
            rng.uniform(0.35, 0.8, count),
        ],
        -1,
    )
    made_up = female > 0.5 and rng.uniform() < 0.5
    return Identity(
        shape=shape,
        female=female,
        age=age,
        melanin=melanin,
        redness=float(rng.beta(2, 3)),
        yellow=float(rng.beta(2, 2)),
        texture=rng.uniform(size=8),
        freckles=float(max(0.0, rng.normal(-0.6, 0.6)) * pale),
        blush=float(rng.beta(1.5, 3)),
        shine=float(rng.uniform(0.25, 1.0)),
        wrinkles=float(np.clip((age - 32) / 42 + rng.normal(0, 0.12), 0, 1)),
        eye_bags=float(np.clip((age - 25) / 60 + rng.normal(0.1, 0.15), 0, 1)),
        moles=moles.astype(np.float32),
        lip_colour=float(rng.uniform(0.5, 1.0) if made_up else rng.uniform(0.0, 0.25)),
        lashes=float(np.clip(0.35 + 0.45 * female + rng.normal(0, 0.12), 0.1, 1)),
        brow_dark=float(np.clip(rng.normal(0.8, 0.16), 0.3, 1)),
        hair_style=hair_style,
        beard_style=beard_style,
        glasses_style=glasses_style,
        hair=hair,
        iris=iris,
        beard=hair * rng.uniform(0.6, 1.1) + np.array([0.004, 0.001, 0.0]),
        frame=frames[rng.integers(4)],
        hair_volume=float(rng.uniform(0, 1)),
        hair_wave=float(rng.uniform(0, 1)),
        fringe_y=float(rng.uniform(-0.34, -0.17)),
        parting=float(rng.uniform(-1, 1)),
        beard_full=float(rng.uniform(0.55, 1.0)),
        beard_top=float(rng.normal(0, 0.035)),
        glasses_size=float(rng.uniform(0.150, 0.182)),
        glasses_aspect=float(rng.uniform(0.58, 0.92)),
        frame_width=float(rng.uniform(0.008, 0.018)),
    )
