"""What a twin may differ in from its design: names, units, and what is known beforehand.

**Gauges.** Some changes no PSF can show, or no PSF can tell apart. They are fixed, not fitted:

- Piston (Noll 1) changes no intensity.
- Noll 2 and 3 move the image of every depth alike, as the boresight does: the boresight is fitted.
- Noll 4 is a focus: the distance from lens to sensor is fitted, which also scales the image.
- The power of the source, the transmission and the gain of the sensor are one factor, `power`,
  for green; `red` and `blue` are the other colours against it.
- The rail's zero and its scale are those of the source's distance from the mask; a distance
  enters by the defocus, by the square law of the illumination and by the size of the source.

What is left may still be weakly determined by the depths at hand, such as focus against the
zero of the rail; that is told from the data (`calibration.twin.posterior`), not decreed here.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from optics.units import check_positive


@dataclass(frozen=True)
class Parameter:
    """One number of a twin.

    Attributes
    ----------
    name : str
        Its name; `_y` and `_x` mark the two of a pair.
    unit : str
        Its unit, "" for a plain number.
    scatter : float
        Standard deviation of what is known beforehand; 0 for what is known exactly and not fitted.
    expected : float
        Mean of what is known beforehand.
    low : float
        Least possible value.
    """

    name: str
    unit: str
    scatter: float
    expected: float = 0.0
    low: float = -math.inf

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scatter) and self.scatter >= 0):
            raise ValueError(
                f"scatter of {self.name} = {self.scatter:g}: 0 (known) or more is needed"
            )
        if not (math.isfinite(self.expected) and self.expected >= self.low):
            raise ValueError(
                f"expected {self.name} = {self.expected:g}: a number of at least {self.low:g}"
            )


Parameters = tuple[Parameter, ...]


def camera_parameters(
    *, source_diameter: float, modes: Iterable[int] = range(5, 12), wavefront: float = 20e-9
) -> Parameters:
    """Return all parameters of a camera before a point source on a rail.

    The scatters are those of a careful workshop and a lens mount; change them by `known`. What
    most set-ups know well enough is held: wavelengths, bandwidth, gap, slant, the source.

    Parameters
    ----------
    source_diameter : float
        Of the pinhole before the source; 0 for a point [m].
    modes : iterable of int
        Noll indices of the lens's wavefront, 5 or more.
    wavefront : float
        Scatter of each of them [m].
    """
    indices = sorted(set(modes))
    if indices and indices[0] < 5:
        raise ValueError(
            f"modes begin at Noll {indices[0]}: 1 to 4 are piston, boresight and focus; give 5 "
            f"or more"
        )
    if not source_diameter >= 0:
        raise ValueError(f"source_diameter = {source_diameter:g} m: zero or more is needed")
    return (
        Parameter("etch_scale", "", 0.03, low=-0.9),
        Parameter("blur", "m", 0.15e-6, expected=0.3e-6, low=0.0),
        *_pair("tilt", "rad", 0.1e-3),
        *_pair("decentre", "m", 20e-6),
        Parameter("focus", "m", 15e-6),
        *(Parameter(f"noll_{j}", "m", wavefront) for j in indices),
        *_pair("boresight", "m", 30e-6),
        Parameter("stage_scale", "", 2e-3, expected=1.0, low=0.1),
        Parameter("stage_offset", "m", 2e-3),
        Parameter("veil", "", 0.005, expected=0.01, low=0.0),
        Parameter("skirt", "", 0.005, expected=0.01, low=0.0),
        # relative to the estimate of the start, as a logarithm
        Parameter("power", "", 1.0),
        # of the colours against green, as logarithms
        Parameter("red", "", 0.3),
        Parameter("blue", "", 0.3),
        Parameter("ambient", "e-/s", 100.0),
        Parameter("diffusion", "pixel^2", 0.0),
        Parameter("source_diameter", "m", 0.0, expected=source_diameter, low=0.0),
        Parameter("gap", "m", 0.0),
        Parameter("wavelength_shift", "m", 0.0),
        Parameter("bandwidth", "", 0.0, expected=1.0, low=0.01),
        *_pair("slant", "rad", 0.0),
    )


def _pair(name: str, unit: str, scatter: float) -> tuple[Parameter, Parameter]:
    return Parameter(f"{name}_y", unit, scatter), Parameter(f"{name}_x", unit, scatter)


def known(parameters: Parameters, scatter: Mapping[str, float]) -> Parameters:
    """Return the parameters with other knowledge of some.

    Parameters
    ----------
    parameters : tuple of Parameter
        All of them.
    scatter : mapping of str to float
        Standard deviations by name, of a pair also by its name without `_y` and `_x`; 0 holds a
        parameter at its expected value.
    """
    names = {p.name for p in parameters}
    wanted: dict[str, float] = {}
    for name, value in scatter.items():
        found = {name, f"{name}_y", f"{name}_x"} & names
        if not found:
            raise ValueError(f"no parameter is called {name}; there are {', '.join(sorted(names))}")
        wanted |= dict.fromkeys(found, value)
    return tuple(replace(p, scatter=wanted.get(p.name, p.scatter)) for p in parameters)


def expected_values(parameters: Parameters) -> dict[str, float]:
    """Return the mean of what is known beforehand, by name."""
    return {p.name: p.expected for p in parameters}


def free(parameters: Parameters) -> Parameters:
    """Return those that are fitted."""
    return tuple(p for p in parameters if p.scatter > 0)


def rail_distance(
    values: Mapping[str, float], reading: float, *, direction: int, pivot: float
) -> float:
    """Distance from the mask to a source at `reading` of the rail [m].

    .. math:: d = s r + o

    of a rail whose readings grow away from the camera (`direction` 1); one that is mounted the
    other way round (-1) has its readings mirrored about `pivot` first.
    """
    seen = reading if direction > 0 else 2 * pivot - reading
    distance = values["stage_scale"] * seen + values["stage_offset"]
    return check_positive("distance of the source", distance, "m")
