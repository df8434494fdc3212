"""Physical quantities in configs: "25 mm" is 0.025 m; a bare number is refused.

Standard library only, so that every job can use it, also on a Raspberry Pi.
"""

import math
import re
from decimal import Decimal

#: Units of each dimension, and how many SI units (electrons for a charge) one of them is.
UNITS: dict[str, dict[str, Decimal]] = {
    "length": {
        "nm": Decimal("1e-9"),
        "um": Decimal("1e-6"),
        "µm": Decimal("1e-6"),
        "mm": Decimal("1e-3"),
        "cm": Decimal("1e-2"),
        "m": Decimal(1),
    },
    "time": {
        "us": Decimal("1e-6"),
        "µs": Decimal("1e-6"),
        "ms": Decimal("1e-3"),
        "s": Decimal(1),
        "min": Decimal(60),
        "h": Decimal(3600),
    },
    "angle": {
        "urad": Decimal("1e-6"),
        "µrad": Decimal("1e-6"),
        "mrad": Decimal("1e-3"),
        "rad": Decimal(1),
        "deg": Decimal("0.017453292519943295769236907684886127"),
    },
    "charge": {"e-": Decimal(1), "ke-": Decimal(1000)},
}
_EXAMPLES = {"length": "25 mm", "time": "20 ms", "angle": "5 mrad", "charge": "10 ke-"}
_QUANTITY = re.compile(
    r"\s*(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)\s*(?P<unit>[^\s\d.].*?)\s*",
    re.ASCII,
)
_LONGEST = 64  # characters; longer texts are refused before they are parsed


def parse_quantity(text: object, dimension: str, name: str = "value") -> float:
    """Return the quantity in SI units (electrons for a charge).

    Parameters
    ----------
    text : str
        A number and a unit, such as "25 mm"; anything else is refused, bare numbers included.
    dimension : {"length", "time", "angle", "charge"}
        What is being measured.
    name : str
        Setting it belongs to, named in the message.

    Raises
    ------
    ValueError
        `text` is not a finite number with a unit of `dimension`.

    Examples
    --------
    >>> parse_quantity("550 nm", "length")
    5.5e-07
    >>> parse_quantity(550, "length", "wavelength")
    Traceback (most recent call last):
    ValueError: wavelength = 550 has no unit; write a length in nm, um, mm, cm or m, as in '25 mm'
    """
    units = UNITS[dimension]
    names = [unit for unit in units if not unit.startswith("µ")]
    allowed = (
        f"write {_article(dimension)} in {', '.join(names[:-1])} or {names[-1]}, "
        f"as in {_EXAMPLES[dimension]!r}"
    )
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        raise ValueError(f"{name} = {text!r:.80} is not {_article(dimension)}; {allowed}")
    if isinstance(text, (int, float)) or _is_number(text):
        raise ValueError(f"{name} = {text} has no unit; {allowed}")
    # The Greek letter and the micro sign look alike and are both in use.
    match = _QUANTITY.fullmatch(text.replace("\u03bc", "µ")) if len(text) <= _LONGEST else None
    if match is None:
        raise ValueError(f"{name} = {text!r:.80} is not a number with a unit; {allowed}")
    unit = match["unit"]
    if unit not in units:
        raise ValueError(f"{name} = {text!r} is not in a unit of {dimension}; {allowed}")
    value = float(Decimal(match["number"]) * units[unit])
    if not math.isfinite(value):
        raise ValueError(f"{name} = {text!r} is too large; {allowed}")
    return value


def _article(dimension: str) -> str:
    return f"an {dimension}" if dimension[0] in "aeiou" else f"a {dimension}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
