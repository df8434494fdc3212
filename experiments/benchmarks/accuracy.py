"""The anchors of the simulator, collected: what each is off by, and by how much it may be.

A module `anchors_*.py` of this package has `ANCHORS`: name -> function of the precision (True:
float64) that returns (error, bar). A new file needs no entry anywhere.
"""

import importlib
import logging
import math
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import experiments.benchmarks

log = logging.getLogger(__name__)
Anchor = Callable[[bool], tuple[float, float]]


@dataclass(frozen=True)
class Found:
    """One anchor in one precision.

    Attributes
    ----------
    name : str
        Which.
    double : bool
        Whether it was computed in float64.
    error, bar : float
        What it is off by and may be; NaN where it could not be computed.
    reason : str
        Why it could not.
    """

    name: str
    double: bool
    error: float
    bar: float
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether it holds."""
        return self.error <= self.bar

    @property
    def key(self) -> str:
        """Name in the metrics."""
        return self.name if self.double else f"{self.name}_float32"


def anchors() -> dict[str, Anchor]:
    """Every anchor by name.

    Raises
    ------
    ValueError
        Two files use the same name.
    """
    found: dict[str, Anchor] = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(experiments.benchmarks.__path__)):
        if not module.startswith("anchors_"):
            continue
        loaded = importlib.import_module(f"{experiments.benchmarks.__name__}.{module}")
        own: Mapping[str, Anchor] = loaded.ANCHORS
        if twice := set(found) & set(own):
            raise ValueError(f"{module} and another file both have the anchors {sorted(twice)}")
        found |= own
    return found


def measure(name: str, anchor: Anchor, *, double: bool) -> Found:
    """Compute one anchor; one that raises has failed, and the others go on."""
    try:
        error, bar = anchor(double)
    except Exception as error_:
        return Found(name, double, math.nan, math.nan, f"{type(error_).__name__}: {error_}")
    return Found(name, double, float(error), float(bar))


def measure_all() -> Iterator[Found]:
    """Every anchor in float64 and in float32."""
    for name, anchor in anchors().items():
        for double in (True, False):
            yield measure(name, anchor, double=double)


def metrics(found: list[Found]) -> dict[str, float | bool | None]:
    """Return the flat numbers; None where there is no number."""
    flat: dict[str, float | bool | None] = {}
    for item in found:
        flat[f"{item.key}/error"] = item.error if math.isfinite(item.error) else None
        flat[f"{item.key}/bar"] = item.bar if math.isfinite(item.bar) else None
        flat[f"{item.key}/ok"] = item.ok
    return flat
