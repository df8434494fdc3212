"""Obfuscators by the names under which the PRO-Face family published them.

blur_<kernel>_<low>_<high>     Gaussian, sigma drawn between low and high [px]
pixelate_<block>               cells of that many pixels
medianblur_<kernel>            median over a square
"""

from typing import Any

from anonymizer.protection.obfuscators.blur import GaussianBlur
from anonymizer.protection.obfuscators.choice import Choice
from anonymizer.protection.obfuscators.median import MedianBlur
from anonymizer.protection.obfuscators.obfuscator import Obfuscator
from anonymizer.protection.obfuscators.pixelate import Pixelate
from anonymizer.protection.obfuscators.sampling import AreaSampling, Sampling


def named(name: str, sampling: Sampling | None = None) -> Obfuscator[Any]:
    """Return the obfuscator of a published name.

    Parameters
    ----------
    name : str
        As above. Pixel sides vary in training by 3 px, from 14 px on by 6 px in steps of 2;
        median sides by 6 px.
    sampling : Sampling
        Which values are averaged, and how.

    Raises
    ------
    ValueError
        If the name is none of these, or a number in it is out of range.

    Examples
    --------
    >>> named("blur_31_2_8").typical()
    5.0
    """
    if "+" in name:
        return Choice([named(part, sampling) for part in name.split("+")])
    kind, *numbers = name.split("_")
    how = sampling or AreaSampling()
    try:
        match kind, [float(number) for number in numbers]:
            case "blur", [kernel, low, high]:
                return GaussianBlur(_whole(kernel), low, high, how)
            case "pixelate", [block]:
                return _pixelate(_whole(block), how)
            case "medianblur", [kernel]:
                return MedianBlur(_whole(kernel), sampling=how)
            case _:
                raise ValueError("no such name")
    except ValueError as error:
        raise ValueError(
            f"name = {name!r}: {error}; expected blur_<kernel>_<low>_<high>, pixelate_<block> or "
            f"medianblur_<kernel>, such as blur_31_2_8, pixelate_7, medianblur_13"
        ) from error


def _pixelate(block: int, how: Sampling) -> Pixelate:
    # PRO-Face drew 4..10 around 7 at 112 px, PRO-Face S 14, 16, ..., 26 around 20 at 256 px
    return Pixelate(block, step=1 if block < 14 else 2, sampling=how)


def _whole(number: float) -> int:
    if number != int(number):
        raise ValueError(f"{number:g} is no whole number of pixels")
    return int(number)
