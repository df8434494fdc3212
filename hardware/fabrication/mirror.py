r"""Commands for a deformable mirror: Zernike amplitudes and actuator strokes, as CSV and JSON.

Light passes the surface of a mirror twice, so a height h of the design is a surface

.. math:: s = (n - 1) \, h / 2

along the incoming light (which then travels further). The pupil of the mirror is the clear
diameter of the design, whatever relay stands between them.
"""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from hardware.errors import HardwareError
from hardware.fabrication.design import HeightMap, Map, MaskDesign
from hardware.fabrication.influence import (
    Influence,
    damped_commands,
    gaussian_actuators,
    read_influence,
)
from hardware.fabrication.target import Estimate, Plain, Target, Written
from hardware.fabrication.zernike_fit import fit_modes, noll_orders, zernike

_STEPS = 1_000_000  # of a command within its range


@dataclass(frozen=True)
class _Solution:
    """What the mirror is asked to do, and does."""

    influence: Influence
    amplitudes: Map
    commands: Map
    clipped: int
    wanted_rms: float
    residual: float
    not_in_modes: float


@dataclass(frozen=True)
class Mirror(Target):
    """Zernike amplitudes and actuator commands.

    Attributes
    ----------
    modes : sequence of int
        Noll modes that the mirror is asked for; 1 (piston) is not allowed.
    actuators : int
        Actuators along the diameter of a square grid of Gaussian ones, 3 to 64.
    coupling : float
        Surface of a Gaussian actuator at its neighbour, 0.01 to 0.8.
    max_stroke : float
        Travel of a Gaussian actuator from end to end [m].
    influence : Path or None
        npz file of a measured mirror, see `read_influence`, in place of the Gaussian one.
    damping : float
        Tikhonov damping relative to the largest singular value, 0 to 1.
    samples : int
        Samples along the diameter on which surfaces are compared, 16 to 512.
    """

    name: ClassVar[str] = "mirror"
    units: ClassVar[Mapping[str, str]] = {"coupling": "ratio", "damping": "ratio"}
    seen_along_light: ClassVar[bool] = True
    flat_cells: ClassVar[bool | None] = False

    modes: Sequence[int] = tuple(range(2, 16))
    actuators: int = 12
    coupling: float = 0.15
    max_stroke: float = 3.5e-6
    influence: Path | str | None = None
    damping: float = 0.01
    samples: int = 64

    def __post_init__(self) -> None:
        object.__setattr__(self, "modes", tuple(self.modes))
        if not self.modes or len(set(self.modes)) < len(self.modes) or min(self.modes) < 2:
            raise ValueError(
                f"modes = {list(self.modes)}: different Noll indices from 2 on are needed"
            )
        for j in self.modes:
            noll_orders(j)
        if not 3 <= self.actuators <= 64:
            raise ValueError(f"actuators = {self.actuators}: 3 to 64 along the diameter")
        if not 0.01 <= self.coupling <= 0.8:
            raise ValueError(f"coupling = {self.coupling:g}: 0.01 to 0.8 is allowed")
        if not 1e-9 <= self.max_stroke <= 1e-3:
            raise ValueError(f"max_stroke = {self.max_stroke:g} m: 1e-9 to 1e-3 m are allowed")
        if not 0 <= self.damping <= 1:
            raise ValueError(f"damping = {self.damping:g}: 0 to 1 is allowed")
        if not 16 <= self.samples <= 512:
            raise ValueError(f"samples = {self.samples}: 16 to 512 are allowed")

    def meant(self, design: MaskDesign) -> HeightMap:
        solution = self._solve(design)
        height = solution.influence.shape_of(solution.commands)
        return HeightMap(height, design.diameter / self.samples)

    def step(self, design: MaskDesign) -> float:
        influence = self._influence()
        smallest = (influence.highest - influence.lowest) / _STEPS
        return float((np.abs(influence.surfaces).max(axis=(1, 2)) * smallest).max())

    def estimate(self, design: MaskDesign) -> Estimate:
        solution = self._solve(design)
        count = len(solution.commands)
        remarks = []
        if solution.not_in_modes > 0.1 * max(solution.wanted_rms, 1e-12):
            remarks.append(
                f"{solution.not_in_modes * 1e9:.3g} nm RMS of the surface are in none of the "
                f"{len(self.modes)} modes; design with these modes, or use an SLM"
            )
        if solution.clipped:
            remarks.append(
                f"{solution.clipped} of {count} actuators end at their limits, the surface is off "
                f"by {solution.residual * 1e9:.3g} nm RMS"
            )
        return Estimate(40 * count + 120 * len(self.modes) + 800, count, "; ".join(remarks))

    def write(self, design: MaskDesign, folder: Path) -> Written:
        solution = self._solve(design)
        unit = solution.influence.unit
        orders = [noll_orders(j) for j in self.modes]
        modes = folder / f"{design.name}_zernike.csv"
        actuators = folder / f"{design.name}_actuators.csv"
        together = folder / f"{design.name}_mirror.json"
        nanometres = [float(value) * 1e9 for value in solution.amplitudes]
        commands = [float(value) for value in solution.commands]
        with modes.open("w", encoding="ascii", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(("noll", "n", "m", "amplitude_rms_nm"))
            for j, (n, m), value in zip(self.modes, orders, nanometres, strict=True):
                table.writerow((j, n, m, repr(value)))
        with actuators.open("w", encoding="ascii", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(("actuator", f"command_{unit}"))
            table.writerows((i, repr(value)) for i, value in enumerate(commands))
        report: dict[str, Plain] = {
            "sign": "surface along the incoming light is positive; path difference is twice that",
            "orientation": "x right, y down, seen along the light; pupil = clear diameter",
            "modes": "Noll order, unit RMS over the pupil, sine modes for y down",
            "noll": list(self.modes),
            "amplitude_rms_nm": list(nanometres),
            f"command_{unit}": list(commands),
            f"lowest_{unit}": solution.influence.lowest.tolist(),
            f"highest_{unit}": solution.influence.highest.tolist(),
            "unit": unit,
            "clipped": solution.clipped,
            "damping_ratio": self.damping,
            "surface_rms_nm": solution.wanted_rms * 1e9,
            "residual_rms_nm": solution.residual * 1e9,
            "not_in_modes_rms_nm": solution.not_in_modes * 1e9,
            "diameter_m": design.diameter,
            "samples": self.samples,
        }
        together.write_text(json.dumps(report, indent=1) + "\n", encoding="ascii", newline="\n")
        longer = ("noll", "amplitude_rms_nm")
        notes = {
            key: value
            for key, value in report.items()
            if key in longer or not isinstance(value, list)
        }
        return Written([modes, actuators, together], notes)

    def read(self, folder: Path, written: Written) -> HeightMap:
        table, together = (folder / file.name for file in written.files[1:])
        influence = self._influence()
        try:
            with table.open(encoding="ascii", newline="") as file:
                rows = list(csv.DictReader(file))
            commands = np.array([float(row[f"command_{influence.unit}"]) for row in rows])
            report = json.loads(together.read_text("ascii"))
            same = commands.tolist() == report[f"command_{influence.unit}"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise HardwareError(f"{table}: cannot be read ({error!r})") from error
        if not same or len(commands) != len(influence.lowest):
            raise HardwareError(
                f"{table}: {len(commands)} commands, which differ from those of {together.name} "
                f"or from the {len(influence.lowest)} actuators of the mirror"
            )
        spacing = float(report["diameter_m"]) / self.samples
        return HeightMap(influence.shape_of(commands), spacing)

    def _influence(self) -> Influence:
        if self.influence is not None:
            return read_influence(self.influence, self.samples)
        return gaussian_actuators(self.actuators, self.coupling, self.max_stroke, self.samples)

    def _solve(self, design: MaskDesign) -> _Solution:
        orders = [noll_orders(j) for j in self.modes]
        fit = fit_modes(design, design.diameter, orders)
        half = (design.index - 1) / 2
        influence = self._influence()
        x = influence.axis()
        surface = np.zeros((self.samples, self.samples))
        for (n, m), a in zip(orders, fit.amplitudes, strict=True):
            surface += half * a * zernike(n, m, x[None, :], x[:, None])
        wanted = surface[influence.pupil]
        commands, clipped = damped_commands(influence, wanted, self.damping)
        width = (influence.highest - influence.lowest) / _STEPS
        commands = influence.lowest + np.round((commands - influence.lowest) / width) * width
        left = influence.shape_of(commands)[influence.pupil] - (wanted - wanted.mean())
        return _Solution(
            influence=influence,
            amplitudes=half * fit.amplitudes,
            commands=commands,
            clipped=clipped,
            wanted_rms=float(wanted.std()),
            residual=math.sqrt(float((left**2).mean())),
            not_in_modes=half * fit.residual,
        )
