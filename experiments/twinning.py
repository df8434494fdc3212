"""A camera laid on what was measured: the design as it is, or its twin with all that was found.

A design keeps all its numbers: only where its image lies, how bright the source is in each colour
and how much other light there is are found, because no PSF could be compared without. Images are
moved by tilting the wave, not by shifting samples.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.bayer import planes
from calibration.errors import CalibrationError
from calibration.psf.registration import register
from calibration.psf.stack import PsfStack
from calibration.twin import (
    Parameters,
    TwinFit,
    camera_parameters,
    expected_values,
    fit_twin,
    known,
)
from calibration.twin.rates import RateModel, colour_planes, raw_camera
from calibration.twin.starts import find_starts
from experiments.store import ArtifactError, load_arrays, save_arrays
from optics.camera import Camera

#: What a design has none of, though a made camera is expected to have some.
_NONE = ("blur", "veil", "skirt")
_SMALLEST = 63  # side of the pattern that is searched for [pixels]
_ROUNDS = 6
_STILL = 0.002  # pixels: at 40 000 electrons a pixel, a hundredth doubles the mean square of a rest
_BAND = 0.5  # of the frequencies of a plane: finer ones are folded, and do not move along
_SLACK = 0.1  # relative error of a design that its errors of making leave
_PLAIN = ("power", "correlation", "chi_square")


@dataclass(frozen=True, eq=False)
class Laid:
    """A camera laid on a stack.

    Attributes
    ----------
    design : Camera
        What it differs from by `values`.
    expected : ndarray
        (D, H, W) rates that it shows, other light left out; NaN beyond its window [e-/s].
    values : mapping of str to float
        Parameters of a twin: where the image lies, and all errors.
    power : float
        Rate times squared distance per energy fraction of green [e-/s m^2].
    correlation, chi_square : float
        With what was measured, over all valid pixels.
    fit : TwinFit or None
        How it was laid; None where it was read from a file.
    """

    design: Camera
    expected: NDArray[np.float64]
    values: Mapping[str, float]
    power: float
    correlation: float
    chi_square: float
    fit: TwinFit | None = None

    @property
    def ambient(self) -> float:
        """Light of everything but the source [e-/s]."""
        return self.values["ambient"]

    def save(self, path: Path) -> None:
        """Write everything but the design, as .npz."""
        sheet = {name: getattr(self, name) for name in _PLAIN} | {"values": dict(self.values)}
        text = np.frombuffer(json.dumps(sheet).encode(), np.uint8)
        save_arrays(path, {"expected": self.expected, "sheet": text})


def load_laid(path: Path, design: Camera) -> Laid:
    """Read what `Laid.save` wrote of a camera with this design.

    Raises
    ------
    ArtifactError
        The file is missing or damaged.
    """
    arrays = load_arrays(path)
    try:
        sheet = json.loads(arrays["sheet"].tobytes())
        power, correlation, chi_square = (float(sheet[name]) for name in _PLAIN)
        values = {name: float(value) for name, value in sheet["values"].items()}
        return Laid(design, arrays["expected"], values, power, correlation, chi_square)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{path} holds no camera that was laid: {error}") from error


def lay_design(design: Camera, stack: PsfStack, *, source_diameter: float) -> Laid:
    """Lay a design on a stack, all its numbers as they were meant.

    Its pattern is found by correlation, then moved by what a registration of the first green plane
    finds, mean over the depths, until it stays; colours and other light follow by least squares.

    Parameters
    ----------
    design : Camera
        The design.
    stack : PsfStack
        What was measured, readings as distances.
    source_diameter : float
        Of the pinhole before the source [m].

    Raises
    ------
    CalibrationError
        The design is nowhere in the stack.
    """
    parameters = camera_parameters(source_diameter=source_diameter)
    held = {p.name: 0.0 for p in parameters if not p.name.startswith("boresight")}
    exact = tuple(
        replace(p, expected=0.0) if p.name in _NONE else p for p in known(parameters, held)
    )
    _check_belongs(design, stack)
    placed = _near_spot(stack, raw_camera(design), exact)
    window = raw_camera(design).window
    coarse = min(window, max(_SMALLEST, window // 4 | 1))
    few = stack.at(slice(None, None, 2))
    best = find_starts(design, few, placed, directions=(1,), window=coarse)[0]
    found = {f"boresight_{axis}": best.values[f"boresight_{axis}"] for axis in "yx"}
    return _settled(design, stack, placed, {**expected_values(placed), **found}, window)


def lay_twin(
    design: Camera,
    stack: PsfStack,
    *,
    source_diameter: float,
    scatter: Mapping[str, float],
    directions: Sequence[int] = (1, -1),
    watch: Callable[[], object] = lambda: None,
) -> Laid:
    """Find the errors of the camera that was made, and lay it on the stack.

    Parameters
    ----------
    design, stack, source_diameter, directions
        As for `lay_design`.
    scatter : mapping of str to float
        Standard deviations of what is known beforehand; 0 holds a parameter. "wavefront" is that
        of every mode of the lens.
    watch : callable
        Called after every image that was computed.
    """
    every = camera_parameters(source_diameter=source_diameter)
    modes = [p.name for p in every if p.name.startswith("noll_")]
    given = dict(scatter)
    wavefront = given.pop("wavefront", None)
    if wavefront is not None:
        given |= dict.fromkeys(modes, wavefront)
    parameters = known(every, given)
    return _laid(design, stack, parameters, directions, watch)


def _settled(
    design: Camera,
    stack: PsfStack,
    parameters: Parameters,
    start: Mapping[str, float],
    window: int,
) -> Laid:
    """Move the image until a registration finds nothing more to move."""
    values = {**start, **dict.fromkeys(("power", "red", "blue", "ambient"), 0.0)}
    for turn in range(_ROUNDS):
        shape = _rates(design, stack, parameters, values, direction=1, power=1.0, window=window)
        factors, ambient = _brightness(stack, shape)
        expected = shape * factors[_colours(stack)]
        left = _left_over(stack, expected, ambient)
        if turn == _ROUNDS - 1 or math.hypot(*left) < _STILL:
            break
        for axis, pixels in zip("yx", left, strict=True):
            values[f"boresight_{axis}"] += pixels * stack.pixel_pitch
    values |= {
        "red": math.log(factors[0] / factors[1]),
        "blue": math.log(factors[2] / factors[1]),
        "ambient": ambient,
    }
    seen = stack.valid & np.isfinite(expected)
    rest = stack.rate[seen] - ambient - expected[seen]
    return Laid(
        design=design,
        expected=expected,
        values=values,
        power=float(factors[1]),
        correlation=float(np.corrcoef(stack.rate[seen], expected[seen])[0, 1]),
        chi_square=float((rest**2 / stack.variance[seen]).mean()),
    )


def _brightness(stack: PsfStack, shape: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Factors of R, G, B and the other light that bring `shape` nearest to the measured rates."""
    seen = stack.valid & np.isfinite(shape)
    colours = np.broadcast_to(_colours(stack), shape.shape)[seen]
    rate, model = stack.rate[seen], shape[seen]
    design = np.stack([np.where(colours == k, model, 0.0) for k in range(3)] + [np.ones_like(rate)])
    weight = np.ones_like(rate)
    for _ in range(2):  # first by the bright pixels, then by all as far as the model holds
        answer = np.linalg.solve((design * weight) @ design.T, (design * weight) @ rate)
        if answer[:3].min() <= 0:
            raise CalibrationError(
                "the pattern of the design is nowhere in the stack; are the source, its place on "
                "the rail and the design those of the measurement?"
            )
        slack = _SLACK * (answer[:3] @ design[:3])
        weight = 1 / (stack.variance[seen] + slack**2)
    return answer[:3], float(answer[3])


def _left_over(
    stack: PsfStack, expected: NDArray[np.float64], ambient: float
) -> tuple[float, float]:
    """Displacement (down, right) of the measured images, mean over the depths [pixels]."""
    name = "Gr"
    found = []
    for depth in range(stack.depths):
        rate, valid, variance, meant = (
            planes(one[depth], stack.cfa)[name]
            for one in (stack.rate, stack.valid, stack.variance, expected)
        )
        seen = valid & np.isfinite(meant)
        image = np.where(seen, rate - ambient, np.nan_to_num(meant))
        shift = register(
            np.nan_to_num(meant), image, variance=np.where(seen, variance, 0.0), band=_BAND
        )
        found.append((2 * shift.row.value, 2 * shift.column.value))
    down, right = np.mean(found, axis=0)
    return float(down), float(right)


def _colours(stack: PsfStack) -> NDArray[np.intp]:
    return colour_planes(stack.cfa, stack.shape)


def _laid(
    design: Camera,
    stack: PsfStack,
    parameters: Parameters,
    directions: Sequence[int],
    watch: Callable[[], object],
) -> Laid:
    _check_belongs(design, stack)
    placed = _near_spot(stack, raw_camera(design), parameters)
    fit = fit_twin(design, stack, placed, directions=directions, watch=watch)
    expected = _rates(
        design, stack, fit.parameters, {**fit.values, "ambient": 0.0}, direction=fit.direction,
        power=fit.power / math.exp(fit.values["power"]), window=raw_camera(design).window,
    )  # fmt: skip
    return Laid(design, expected, fit.values, fit.power, fit.correlation, fit.chi_square, fit)


def _check_belongs(design: Camera, stack: PsfStack) -> None:
    pitch = design.sensor.pixel_pitch
    if not stack.cfa or not math.isclose(stack.pixel_pitch, pitch, rel_tol=1e-3):
        raise CalibrationError(
            f"the design does not belong to the session: its pixels are {pitch * 1e6:g} um, in "
            f"colour, those of the session {stack.pixel_pitch * 1e6:g} um"
            f"{'' if stack.cfa else ', monochrome'}; give design=<the run that was made>"
        )


def _near_spot(stack: PsfStack, camera: Camera, parameters: Parameters) -> Parameters:
    """Return the parameters with the boresight expected where the spot is."""
    centre = np.mean([_centroid(stack, depth) for depth in range(stack.depths)], axis=0)
    expected = {}
    for axis, place, frame, across in zip("yx", centre, stack.frame, stack.across, strict=True):
        oblique = across * float(np.mean(camera.sensor_distance / stack.readings))
        middle = (frame - 1) / 2
        expected[f"boresight_{axis}"] = (place - middle) * stack.pixel_pitch - oblique
    return tuple(replace(p, expected=expected.get(p.name, p.expected)) for p in parameters)


def _centroid(stack: PsfStack, depth: int) -> tuple[float, float]:
    """Centroid of what is brighter than the rest, in the full frame [pixels]."""
    valid = stack.valid[depth]
    rate = np.where(valid, stack.rate[depth], 0.0)
    light = np.clip(rate - np.quantile(rate[valid], 0.5), 0.0, None) if valid.any() else rate
    total = float(light.sum())
    if total <= 0:
        raise CalibrationError(f"depth {depth + 1} of the stack shows no light")
    row, column = (float(light.sum(1 - k) @ np.arange(n)) for k, n in enumerate(light.shape))
    return stack.origin[0] + row / total, stack.origin[1] + column / total


def _rates(
    design: Camera,
    stack: PsfStack,
    parameters: Parameters,
    values: Mapping[str, float],
    *,
    direction: int,
    power: float,
    window: int,
) -> NDArray[np.float64]:
    """Rates (D, H, W) that a camera shows, NaN beyond its window."""
    model = RateModel(
        design, stack, parameters, direction=direction, power=power, window=window, near=values
    )
    out = np.full(stack.rate.shape, np.nan)
    for depth, view in enumerate(model.views):
        out[depth, view.rows, view.columns] = model.predict(values, depth).numpy()
    return out
