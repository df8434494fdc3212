"""Optics by example: each script shows one concept and checks it against a closed form.

airy.py               the spot of a perfect lens      talbot.py        a grating images itself
cubic_mask.py         depth of field by a mask        poisson_spot.py  light behind a disc
chromatic_shift.py    focus and colour                zone_plate.py    focusing by rings
multilevel.py         what a few etched levels reach  lensless.py      a pinhole for a lens
deformable_mirror.py  a mirror takes out defocus

Run one by ``python -m experiments.gallery.airy``, all by ``./lab gallery``. A script is a module
with `compute`, which returns a `Result`, and `draw`, which makes a figure of it; a new file is
found by itself.
"""

import importlib
import pkgutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from experiments.report.drawing import INK, house_style, new_figure, png, render
from experiments.store import atomic_write

#: Line styles of all figures: what the library computes, and what the textbook says.
COMPUTED: dict[str, Any] = {"color": "#0072b2", "linewidth": 2.4}
EXPECTED: dict[str, Any] = {"color": INK, "linestyle": (0, (3, 2)), "linewidth": 1.2}
#: Colours for several computed curves in one chart, distinguishable with colour deficiencies.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")


@dataclass(frozen=True)
class Check:
    """One number the library computes, beside the one it should be.

    Attributes
    ----------
    what : str
        Name of the quantity, with its unit.
    found, expected : float
        Computed value, and the closed form's.
    bar : float
        Largest relative difference that the sampling and the approximations explain.
    """

    what: str
    found: float
    expected: float
    bar: float

    @property
    def error(self) -> float:
        """Relative difference."""
        return abs(self.found / self.expected - 1)


@dataclass(frozen=True)
class Result:
    """What a script computed.

    Attributes
    ----------
    checks : tuple of Check
        Numbers with a closed form.
    arrays : mapping of str to Tensor
        What `draw` needs.
    """

    checks: tuple[Check, ...]
    arrays: Mapping[str, Tensor]

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        """Array `name`, for drawing."""
        return self.arrays[name].to(torch.float64).numpy(force=True)

    @property
    def worst(self) -> Check:
        """Return the check that comes nearest to its bar, or lies furthest beyond it."""
        return max(self.checks, key=lambda check: check.error / check.bar)

    @property
    def error(self) -> float:
        """Relative difference of the worst check."""
        return self.worst.error

    @property
    def bar(self) -> float:
        """Bar of the worst check."""
        return self.worst.bar

    @property
    def ok(self) -> bool:
        """Whether every check keeps its bar."""
        return all(check.error <= check.bar for check in self.checks)


def names() -> list[str]:
    """Names of the scripts, in alphabetical order."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in found if not name.startswith("_"))


def script(name: str) -> ModuleType:
    """Script called `name`; the error lists the ones there are."""
    if name not in names():
        raise ValueError(f"what = {name}: there is no such script, known are {', '.join(names())}")
    return importlib.import_module(f"{__name__}.{name}")


def picture(module: ModuleType, result: Result) -> Figure:
    """Figure of a result, in the style of the reports."""
    with house_style():
        figure: Figure = module.draw(result)
    return figure


def side_by_side(**options: Any) -> tuple[Figure, Axes, Axes]:
    """Return a new figure with two charts; `options` as for matplotlib's `Figure.subplots`."""
    figure = new_figure(9.0, 3.9)
    left, right = figure.subplots(1, 2, **options)
    return figure, left, right


def light_map(axes: Axes, light: NDArray[np.float64], half: float, *, floor: float = 0) -> None:
    """Draw `light` on a square of +-`half` axis units, y down; log scale down to `floor`."""
    scale = LogNorm(floor, 1) if floor else Normalize(0, 1)
    picture = axes.imshow(light, extent=(-half, half, half, -half), cmap="inferno", norm=scale)
    axes.grid(visible=False)
    axes.figure.colorbar(picture, ax=axes)


def publish() -> None:
    """Run the script that was started, save its figure and tell how near it comes.

    The figure goes to ``runs/gallery/<name>.png``.
    """
    module = sys.modules["__main__"]
    name = Path(str(module.__file__)).stem
    result: Result = module.compute()
    path = Path("runs/gallery") / f"{name}.png"
    atomic_write(path, png(render(picture(module, result), 160)))
    lines = (
        f"{check.what}: {check.found:.6g}, closed form {check.expected:.6g}, "
        f"error {check.error:.1e} (bar {check.bar:.0e})"
        for check in result.checks
    )
    sys.stdout.write("\n".join([*lines, str(path), ""]))
    sys.exit(0 if result.ok else 1)
