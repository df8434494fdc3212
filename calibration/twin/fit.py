"""Fit of a camera's parameters to a measured PSF stack, through the simulator of the design.

Coarse to fine: a start by correlation, a descent on the middle of the image at a few depths, one
on strips of all depths, and the last on all pixels, most of whose time is for slopes that are
taken once. If the rail may be mounted either way round, both are tried.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from calibration.errors import CalibrationError
from calibration.psf.stack import PsfStack
from calibration.twin.parameters import Parameters, expected_values
from calibration.twin.posterior import Posterior, bootstrap_ratios, posterior
from calibration.twin.problem import StackProblem
from calibration.twin.rates import SKIRT_RADIUS, RateModel, raw_camera
from calibration.twin.solve import Solution, huber_weight, minimise
from calibration.twin.starts import Start, find_starts
from calibration.uncertainty import Uncertain
from optics.camera import Camera
from optics.fabrication import Errors, Fabricated, Fabrication
from optics.imaging import StrayLight
from optics.lenses import ZernikeLens

_SMALLEST = 63  # side of the middle of the image that the first descent sees [pixels]
#: Errors of the model that are allowed for, of the brightest pixel, from descent to descent: the
#: bright pixels lead and the dim ones follow, or all count from the beginning.
_WAYS = ((0.02, 0.004, 0.001), (0.0,))
_SCATTERED = 4  # further starts where none before explains the stack
_LIKELY = 0.6  # correlation, of that of the best start, below which another is no candidate
_OUTLIER = 6.0  # standard deviations
_CLEAR = 9.0  # by which the cost of one direction is less than that of the other: 3 sigma


Watch = Callable[[], object]


@dataclass(frozen=True)
class TwinFit:
    """A camera as it was made, found from what it showed.

    Attributes
    ----------
    design : Camera
        What should have been made.
    parameters : tuple of Parameter
        What was allowed to differ.
    values : dict of str to float
        All parameters at the best fit; those in `unidentifiable` are little more than guesses,
        needed to compute with.
    estimates : dict of str to Uncertain
        Those that were found, with their standard uncertainty; widened where the residuals are
        larger than the variances explain (Birge).
    unidentifiable : dict of str to str
        Those that these data cannot tell, and why.
    posterior : Posterior
        Covariance of all free parameters, before that widening.
    bootstrap : dict of str to float
        Deviation by resampled tiles over that of the covariance, see `bootstrap_ratios`.
    direction : {1, -1}
        Of the rail: whether its readings grow away from the camera.
    power : float
        Rate times squared distance per energy fraction of green [e-/s m^2].
    chi_square : float
        Mean squared residual of a pixel in standard deviations, outliers at their weight.
    outliers : int
        Pixels beyond 6 standard deviations.
    pixels : int
        Pixels that were fitted.
    correlation : float
        Normalised correlation of measured and expected rates.
    start_correlation : float
        That of the design with its image moved and scaled to fit.
    starts : tuple of Start
        Where descents began.
    """

    design: Camera
    parameters: Parameters
    values: dict[str, float]
    estimates: dict[str, Uncertain]
    unidentifiable: dict[str, str]
    posterior: Posterior
    bootstrap: dict[str, float]
    direction: int
    power: float
    chi_square: float
    outliers: int
    pixels: int
    correlation: float
    start_correlation: float
    starts: tuple[Start, ...]

    def camera(self) -> Camera:
        """Return the design with everything that was found, its pixels unbinned.

        Stray light is apart (`stray_light`), and a relief of flat cells is decentred by whole
        cells.
        """
        return twin_camera(self.design, self.values)

    def stray_light(self) -> StrayLight:
        """Return the stray light that was found."""
        return StrayLight(veil=self.values["veil"], skirt=self.values["skirt"], radius=SKIRT_RADIUS)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for a file."""
        return {
            "estimates": {
                name: {"value": e.value, "uncertainty": e.uncertainty}
                for name, e in self.estimates.items()
            },
            "units": {p.name: p.unit for p in self.parameters},
            "unidentifiable": dict(self.unidentifiable),
            "correlated": [list(pair) for pair in self.posterior.correlated],
            "condition": self.posterior.condition,
            "bootstrap": dict(self.bootstrap),
            "direction": self.direction,
            "power": self.power,
            "chi_square": self.chi_square,
            "outliers": self.outliers,
            "pixels": self.pixels,
            "correlation": self.correlation,
            "start_correlation": self.start_correlation,
        }


def fit_twin(
    design: Camera,
    stack: PsfStack,
    parameters: Parameters,
    *,
    directions: Sequence[int] = (1, -1),
    watch: Watch = lambda: None,
) -> TwinFit:
    """Find what a camera differs in from its design.

    Parameters
    ----------
    design : Camera
        The design; its sensor may bin.
    stack : PsfStack
        What was measured.
    parameters : tuple of Parameter
        What may differ, and what is known of it: `camera_parameters`.
    directions : sequence of {1, -1}
        Directions of the rail that are possible; give one that is known.
    watch : callable
        Called after every image that was computed, some hundred times in all.

    Raises
    ------
    CalibrationError
        The design is nowhere in the stack, or there are fewer pixels than parameters.
    """
    if not set(directions) <= {1, -1} or not directions:
        raise ValueError(f"directions = {tuple(directions)}: 1, -1 or both are needed")
    full = raw_camera(design).window
    coarse = min(full, max(_SMALLEST, full // 4 | 1))
    few = _some_depths(stack)
    starts = find_starts(design, few, parameters, directions=directions, window=coarse, watch=watch)
    likely = [s for s in starts if s.correlation > _LIKELY * starts[0].correlation]

    def tried(start: Start, slacks: Sequence[float]) -> _Descent:
        return _descend(
            design, few, parameters, start, slacks, window=coarse, sparse=True, watch=watch
        )

    descents = [_first(tried, start) for start in likely]
    if not any(descent.explains for descent in descents):
        scattered = [[start, *_scattered(start, parameters)] for start in likely]
        descents = [_first(tried, *some) for some in scattered]
    descents.sort(key=lambda descent: -descent.correlation)
    found = best = descents[0]
    for sparse in (True, False):
        found = _descend(
            design, stack, parameters, best.start, (0.0,), window=full, sparse=sparse,
            watch=watch, values=found.solution.values,
        )  # fmt: skip
    unclear = {}
    if len(descents) > 1 and abs(descents[1].solution.cost - best.solution.cost) < _CLEAR:
        unclear["direction"] = (
            "the stack looks the same with the rail the other way round and even aberrations "
            "reversed; say which way it is mounted"
        )
    return _judged(design, parameters, found, tuple(starts), unclear)


@dataclass(frozen=True)
class _Descent:
    start: Start
    model: RateModel
    problem: StackProblem
    solution: Solution

    @property
    def explains(self) -> bool:
        """Whether what is left is of the size that was allowed for."""
        residual = torch.cat(self.solution.linear.residual)
        return float(residual.abs().clamp(max=_OUTLIER).square().mean()) < 2

    @property
    def correlation(self) -> float:
        """Of measured and expected rates."""
        return self.problem.correlation(self.solution.linear.residual)


def _first(tried: Callable[[Start, Sequence[float]], _Descent], *starts: Start) -> _Descent:
    """Return the first descent that explains the stack, or the nearest to it."""
    found: list[_Descent] = []
    for start, slacks in itertools.product(starts, _WAYS):
        found.append(tried(start, slacks))
        if found[-1].explains:
            break
    return max(found, key=lambda descent: descent.correlation)


def _scattered(start: Start, parameters: Parameters) -> list[Start]:
    """Further starts: draws of what is known beforehand of the parameters that bend the pattern."""
    rng = np.random.default_rng(0)
    bending = ("etch_scale", "decentre_y", "decentre_x", "focus")
    return [
        replace(
            start,
            values=start.values
            | {
                p.name: max(p.low, p.expected + p.scatter * float(rng.standard_normal()))
                for p in parameters
                if p.name in bending
            },
        )
        for _ in range(_SCATTERED)
    ]


def _some_depths(stack: PsfStack) -> PsfStack:
    """Return the nearest, the farthest and the middle depth."""
    if stack.depths <= 3:
        return stack
    order = np.argsort(stack.readings)
    chosen = order[[0, len(order) // 2, -1]]
    return replace(
        stack,
        rate=stack.rate[chosen],
        variance=stack.variance[chosen],
        valid=stack.valid[chosen],
        readings=stack.readings[chosen],
    )


def _descend(
    design: Camera,
    stack: PsfStack,
    parameters: Parameters,
    start: Start,
    slacks: Sequence[float],
    *,
    window: int,
    sparse: bool,
    watch: Watch,
    values: Mapping[str, float] | None = None,
) -> _Descent:
    """Descend slack by slack, on a window of some size that follows the image."""

    def once(slack: float, near: Mapping[str, float]) -> _Descent:
        model = RateModel(
            design, stack, parameters, direction=start.direction, power=start.power,
            window=window, near=near, sparse=sparse,
        )  # fmt: skip
        problem = StackProblem(model, slack=slack, watch=watch)
        return _Descent(start, model, problem, minimise(problem, near))

    found = once(slacks[0], values or start.values)
    for slack in slacks[1:]:
        found = once(slack, found.solution.values)
    if not found.model.stands(found.solution.values):
        found = once(slacks[-1], found.solution.values)
    return found


def _judged(
    design: Camera,
    parameters: Parameters,
    found: _Descent,
    starts: tuple[Start, ...],
    unclear: dict[str, str],
) -> TwinFit:
    """Judge what a descent on all pixels has found."""
    solution, model, problem = found.solution, found.model, found.problem
    known = posterior(model.free, solution.normal())
    residual = torch.cat(solution.linear.residual)
    weight = huber_weight(residual, solution.straight)
    chi_square = float((weight * residual.square()).sum()) / (len(residual) - len(model.free))
    valid = [problem.valid(depth) for depth in range(model.stack.depths)]
    ratios = bootstrap_ratios(model, solution, known.covariance, valid)
    widen = math.sqrt(max(1.0, chi_square))
    scatter = {p.name: p.scatter for p in parameters}
    placed = {name: solution.values[name] for name in ("boresight_y", "boresight_x", "ambient")}
    estimates = {
        name: Uncertain(solution.values[name], float(deviation) * scatter[name] * widen)
        for name, deviation in zip(known.names, known.deviations, strict=True)
        if name not in known.unidentifiable
    }
    return TwinFit(
        design=design,
        parameters=parameters,
        values=solution.values,
        estimates=estimates,
        unidentifiable=known.unidentifiable | unclear,
        posterior=known,
        bootstrap={n: float(r) for n, r in zip(known.names, ratios, strict=True)},
        direction=model.direction,
        power=model.power * math.exp(solution.values["power"]),
        chi_square=chi_square,
        outliers=int((residual.abs() > _OUTLIER).sum()),
        pixels=len(residual),
        correlation=found.correlation,
        start_correlation=problem.correlation(
            problem.residual({**expected_values(parameters), **placed})
        ),
        starts=starts,
    )


def twin_camera(design: Camera, values: Mapping[str, float]) -> Camera:
    """Return the camera that parameters describe, its pixels unbinned.

    Parameters
    ----------
    design : Camera
        The design.
    values : mapping of str to float
        Parameters by name; source, rail, stray light and boresight are not part of a camera.
    """

    def pair(name: str) -> torch.Tensor:
        return torch.tensor([values[f"{name}_y"], values[f"{name}_x"]], dtype=torch.float64)

    modes = {int(n[5:]): v for n, v in values.items() if n.startswith("noll_")}
    raw = raw_camera(design)
    behind = design.sensor_distance + values["focus"]
    focal = design.lens.focal_length
    if behind <= focal:
        raise CalibrationError(
            f"focus = {values['focus']:g} m puts the sensor before the focal plane; such a camera "
            f"is sharp nowhere"
        )
    return raw.replace(
        mask=Fabricated(
            design.mask,
            fabrication=Fabrication(),
            errors=Errors(
                etch_scale=torch.tensor(values["etch_scale"]),
                blur=torch.tensor(values["blur"]),
                tilt=pair("tilt"),
                decentre=pair("decentre"),
            ),
        ),
        lens=ZernikeLens(
            design.lens,
            aperture_diameter=design.aperture_diameter,
            half_field=math.radians(15),  # the wavefront is the same over the field
            fixed=[modes.get(j, 0.0) for j in range(1, max(modes, default=1) + 1)],
        ),
        focus_distance=1 / (1 / focal - 1 / behind),
        gap=design.gap + values["gap"],
    ).eval()
