"""How a finished camera's numbers scatter with the errors of its making.

Three looks at the same process: Monte Carlo over whole masks, one error at a time, and the
first-order effect from the gradient. Where the last two disagree, the number does not answer
linearly and only the Monte Carlo counts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from optics import Camera, Errors, Fabricated, Fabrication

#: Errors that the gradient reaches; the others answer to finite differences.
WITH_GRADIENT = ("etch_scale", "blur", "tilt", "decentre", "temperature")

Measures = Mapping[str, "Measure"]


@dataclass(frozen=True)
class Measure:
    """One number of a camera.

    Attributes
    ----------
    label : str
        What it is, with its unit.
    value : callable
        Takes the camera and its PSF (3, h, w); returns a scalar, differentiable.
    higher_is_better : bool
        Direction in which a mask that strays fails.
    """

    label: str
    value: Callable[[Camera, Tensor], Tensor]
    higher_is_better: bool


@dataclass(frozen=True)
class Sensitivity:
    """Effect of one error on one number.

    Attributes
    ----------
    first_order : float
        Standard deviation of the number by its slope alone.
    alone : float
        Root-mean-square change of the number when only this error is drawn.
    mean_shift : float
        Mean change of the number when only this error is drawn.
    """

    first_order: float
    alone: float
    mean_shift: float


@dataclass(frozen=True)
class Bench:
    """A camera, its process and what is measured.

    Attributes
    ----------
    camera : Camera
        As designed.
    fabrication : Fabrication
        The process.
    distance : float
        Object distance [m].
    nodes : int
        Wavelengths per colour channel.
    measures : mapping of str to Measure
        What is measured.
    """

    camera: Camera
    fabrication: Fabrication
    distance: float
    nodes: int
    measures: Measures

    def made(self, errors: Errors, fabrication: Fabrication | None = None) -> Camera:
        """Return the camera with these errors, at its own place in the beam and colour."""
        mask = Fabricated(
            self.camera.mask, fabrication=fabrication or self.fabrication, errors=errors
        )
        sensor = self.camera.sensor
        if float(shift := errors.wavelength_shift.detach()):
            bands = tuple(band.shifted(float(shift)) for band in sensor.bands)
            sensor = replace(sensor, bands=bands)
        gap = max(0.0, self.camera.gap + float(errors.gap.detach()))
        return self.camera.replace(mask=mask, sensor=sensor, gap=gap)

    def psf(self, camera: Camera) -> Tensor:
        """PSF (3, h, w) at the bench's distance."""
        return camera.psf([self.distance], nodes=self.nodes)[0]

    def measure(self, camera: Camera) -> dict[str, Tensor]:
        """All numbers of a camera."""
        psf = self.psf(camera)
        return {name: measure.value(camera, psf) for name, measure in self.measures.items()}

    def numbers(self, errors: Errors, fabrication: Fabrication | None = None) -> dict[str, float]:
        """All numbers of the camera as made with these errors."""
        with torch.no_grad():
            found = self.measure(self.made(errors, fabrication))
        return {name: float(value) for name, value in found.items()}

    def designed(self) -> dict[str, float]:
        """All numbers of the design."""
        with torch.no_grad():
            return {name: float(value) for name, value in self.measure(self.camera).items()}


def monte_carlo(
    bench: Bench, draws: int, *, seed: int, scale: float = 1.0, progress: bool = False
) -> dict[str, list[float]]:
    """Numbers of `draws` cameras made with all errors at once, `scale` times the tolerances."""
    process = scaled(bench.fabrication, scale)
    out: dict[str, list[float]] = {name: [] for name in bench.measures}
    generator = torch.Generator().manual_seed(seed)
    for _ in tqdm(range(draws), f"masks at {scale:g} x", disable=None if progress else True):
        found = bench.numbers(process.draw(generator), process)
        for name, value in found.items():
            out[name].append(value)
    return out


def sensitivities(
    bench: Bench, draws: int, *, seed: int, progress: bool = False
) -> dict[str, dict[str, Sensitivity]]:
    """Effect of every error that scatters, {error: {number: Sensitivity}}."""
    process = bench.fabrication
    nominal = bench.numbers(process.nominal())
    slopes = _slopes(bench)
    out: dict[str, dict[str, Sensitivity]] = {}
    names = scattering(process)
    for error in tqdm(names, "one error at a time", disable=None if progress else True):
        alone = _only(process, error)
        generator = torch.Generator().manual_seed(seed)
        changes: dict[str, list[float]] = {name: [] for name in bench.measures}
        for _ in range(draws):
            found = bench.numbers(alone.draw(generator), alone)
            for name, value in found.items():
                changes[name].append(value - nominal[name])
        if error not in slopes:
            slopes[error] = _difference(bench, error, nominal)
        out[error] = {
            name: Sensitivity(
                first_order=slopes[error][name],
                alone=float(torch.tensor(change).square().mean().sqrt()),
                mean_shift=sum(change) / len(change),
            )
            for name, change in changes.items()
        }
    return out


def yield_at(
    values: Sequence[float], design: float, *, allowed: float, higher_is_better: bool
) -> float:
    """Share of masks whose number is not worse than the design's by more than `allowed` of it.

    Of a design at zero, such as a difference to itself, `allowed` is the number itself.
    """
    margin = allowed * (abs(design) or 1.0)
    if higher_is_better:
        good = [value >= design - margin for value in values]
    else:
        good = [value <= design + margin for value in values]
    return sum(good) / len(good)


def scaled(process: Fabrication, scale: float) -> Fabrication:
    """Return the process with all its scatter multiplied by `scale`, its own habits kept."""
    wider: dict[str, Any] = {n: getattr(process, n) * scale for n in scattering(process)}
    return replace(process, **wider)


def scattering(process: Fabrication) -> list[str]:
    """Names of the errors that scatter at all."""
    habits = ("levels", "min_feature", "blur")
    return [
        entry.name
        for entry in fields(process)
        if entry.name not in habits and getattr(process, entry.name) > 0
    ]


def _only(process: Fabrication, error: str) -> Fabrication:
    """Return the process with one error left."""
    without: dict[str, Any] = {n: 0.0 for n in scattering(process) if n != error}
    return replace(process, **without)


def _field(error: str) -> str:
    """Name in `Errors` of what `Fabrication` calls by its tolerance."""
    return "blur" if error == "blur_spread" else error


def _slopes(bench: Bench) -> dict[str, dict[str, float]]:
    """First-order scatter of every number for the errors that the gradient reaches."""
    process = bench.fabrication
    wanted = [error for error in scattering(process) if _field(error) in WITH_GRADIENT]
    if not wanted:
        return {}
    start = process.nominal()
    # a blur of exactly zero has no slope to either side; a hundredth of its scatter has
    start = replace(start, blur=start.blur.clamp(min=process.blur_spread / 100))
    free = {error: getattr(start, _field(error)).clone().requires_grad_() for error in wanted}
    errors = replace(start, **{_field(error): value for error, value in free.items()})
    found = bench.measure(bench.made(errors))
    out: dict[str, dict[str, float]] = {error: {} for error in wanted}
    for name, value in found.items():
        if not value.requires_grad:  # does not depend on the mask
            for error in wanted:
                out[error][name] = 0.0
            continue
        gradients = torch.autograd.grad(
            value, list(free.values()), retain_graph=True, allow_unused=True
        )
        for error, gradient in zip(wanted, gradients, strict=True):
            steep = 0.0 if gradient is None else float(gradient.norm())
            out[error][name] = steep * getattr(process, error)
    return out


def _difference(bench: Bench, error: str, nominal: Mapping[str, float]) -> dict[str, float]:
    """First-order scatter by a step of a tenth of the tolerance, each component on its own."""
    process = bench.fabrication
    tolerance = getattr(process, error)
    generator = torch.Generator().manual_seed(0)
    shape = getattr(process.draw(generator), error).shape
    squares = dict.fromkeys(nominal, 0.0)
    free = (
        range(2, int(torch.Size(shape).numel()))
        if error == "overlay"
        else range(torch.Size(shape).numel())
    )
    for place in free:  # the first etch defines where the others should lie
        step = torch.zeros(shape, dtype=torch.float64)
        step.view(-1)[place] = tolerance / 10
        found = bench.numbers(replace(process.nominal(), **{error: step}))
        for name, value in found.items():
            squares[name] += ((value - nominal[name]) * 10) ** 2
    return {name: square**0.5 for name, square in squares.items()}
