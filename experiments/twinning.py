"""A camera laid on what was measured: the design as it is, or its twin with all that was found.

Both are the same fit with other freedom. A design keeps all its numbers: only where its image
lies, how bright the source is and how much other light there is are found, because no PSF could be
compared without. Its image is moved by tilting the wave, not by shifting samples.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.errors import CalibrationError
from calibration.stack import PsfStack
from calibration.twin import Parameters, TwinFit, camera_parameters, fit_twin, known
from calibration.twin.rates import RateModel, raw_camera
from experiments.store import ArtifactError, load_arrays, save_arrays
from optics.camera import Camera

#: What says where the image lies and how bright it is, of any camera.
PLACEMENT = ("boresight_y", "boresight_x", "power", "red", "blue", "ambient")
#: What a design has none of, though a made camera is expected to have some.
_NONE = ("blur", "veil", "skirt")
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


def lay_design(
    design: Camera, stack: PsfStack, *, source_diameter: float, directions: Sequence[int] = (1,)
) -> Laid:
    """Lay a design on a stack, all its numbers as they were meant.

    Parameters
    ----------
    design : Camera
        The design.
    stack : PsfStack
        What was measured, readings as distances.
    source_diameter : float
        Of the pinhole before the source [m].
    directions : sequence of {1, -1}
        Of the rail.

    Raises
    ------
    CalibrationError
        The design is nowhere in the stack.
    """
    parameters = camera_parameters(source_diameter=source_diameter)
    held = {p.name: 0.0 for p in parameters if p.name not in PLACEMENT}
    exact = tuple(
        replace(p, expected=0.0) if p.name in _NONE else p for p in known(parameters, held)
    )
    return _laid(design, stack, exact, directions)


def lay_twin(
    design: Camera,
    stack: PsfStack,
    *,
    source_diameter: float,
    scatter: Mapping[str, float] | None = None,
    directions: Sequence[int] = (1, -1),
) -> Laid:
    """Find the errors of the camera that was made, and lay it on the stack.

    Parameters
    ----------
    design, stack, source_diameter, directions
        As for `lay_design`.
    scatter : mapping of str to float, optional
        Standard deviations of what is known beforehand; 0 holds a parameter.
    """
    parameters = known(camera_parameters(source_diameter=source_diameter), scatter or {})
    return _laid(design, stack, parameters, directions)


def _laid(
    design: Camera, stack: PsfStack, parameters: Parameters, directions: Sequence[int]
) -> Laid:
    try:
        placed = _near_spot(stack, raw_camera(design), parameters)
        fit = fit_twin(design, stack, placed, directions=directions)
    except ValueError as error:  # pixels or regions that cannot be those of this design
        raise CalibrationError(f"the design does not belong to the session: {error}") from error
    return Laid(
        design, _expected(fit, stack), fit.values, fit.power, fit.correlation, fit.chi_square, fit
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


def _expected(fit: TwinFit, stack: PsfStack) -> NDArray[np.float64]:
    window = raw_camera(fit.design).window
    model = RateModel(
        fit.design, stack, fit.parameters, direction=fit.direction,
        power=fit.power / float(np.exp(fit.values["power"])), window=window, near=fit.values,
    )  # fmt: skip
    out = np.full(stack.rate.shape, np.nan)
    for depth, view in enumerate(model.views):
        rates = model.predict(fit.values, depth).numpy() - fit.values["ambient"]
        out[depth, view.rows, view.columns] = rates
    return out
