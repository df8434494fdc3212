"""Range checks that catch a wrong unit at the door.

Everything inside the package is SI: metres, radians, seconds, electrons, DN.
"""

import math

_LENGTHS = {  # name: (low, high) in metres
    "wavelength": (2e-7, 2e-5),
    "design_wavelength": (2e-7, 2e-5),
    "spacing": (1e-8, 1e-2),
    "cell": (1e-7, 1e-2),
    "pixel_pitch": (2e-7, 1e-3),
    "aperture_diameter": (1e-5, 1.0),
    "focal_length": (1e-4, 10.0),
    "distance": (0.0, 1e5),
    "object_distance": (1e-3, 1e5),
    "focus_distance": (1e-3, 1e5),
    "max_height": (1e-8, 1e-2),
    "wrap_height": (1e-8, 1e-2),
    "height": (-1e-2, 1e-2),
}


def check_length(name: str, value: float) -> float:
    """Return `value`, or raise if it cannot be a length in metres.

    Parameters
    ----------
    name : str
        Which quantity it is, a name this module has a range for.
    value : float
        Length [m].

    Raises
    ------
    ValueError
        The value is not finite or outside the range of that quantity.
    """
    low, high = _LENGTHS[name]
    if not low <= value <= high:
        raise ValueError(
            f"{name} = {value:g} m is outside [{low:g}, {high:g}] m; lengths are metres, "
            f"so 550 nm is 550e-9"
        )
    return float(value)


def check_positive(name: str, value: float, unit: str = "") -> float:
    """Return `value`, or raise if it is not a finite number above zero."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} = {value:g}{' ' * bool(unit)}{unit}: a positive number is needed")
    return float(value)


def check_fraction(name: str, value: float) -> float:
    """Return `value`, or raise if it is not in (0, 1]."""
    if not 0 < value <= 1:
        raise ValueError(f"{name} = {value:g} is outside (0, 1]; it is a fraction")
    return float(value)


def check_count(name: str, value: int, low: int = 1) -> int:
    """Return `value`, or raise if it is not a whole number of at least `low`."""
    if isinstance(value, bool) or value != int(value) or value < low:
        raise ValueError(f"{name} = {value}: a whole number of at least {low} is needed")
    return int(value)
