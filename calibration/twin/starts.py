"""Where to begin: which way round the rail is, the focus, and where on the sensor the image lies.

The pattern of a phase mask changes beyond recognition when the focus is wrong by more than a
depth of focus, and slopes say nothing over a distance of many speckles. So patterns are computed
for some focus settings and both directions of the rail, and each is searched for in the stack by
correlation, which finds the place by itself.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from calibration.errors import CalibrationError
from calibration.psf.stack import PsfStack
from calibration.twin.parameters import Parameters, expected_values
from calibration.twin.rates import RateModel
from optics.camera import Camera

_TURN = 0.25  # waves at the rim between two focus settings
_MOST = 25  # focus settings


@dataclass(frozen=True)
class Start:
    """A place to begin the descent.

    Attributes
    ----------
    direction : {1, -1}
        Of the rail.
    values : dict
        Parameters: focus and boresight found, others expected.
    power : float
        Rate times squared distance per energy fraction [e-/s m^2].
    correlation : float
        Of the pattern with the stack, 0 to 1, ambient light included.
    """

    direction: int
    values: dict[str, float]
    power: float
    correlation: float


def find_starts(
    design: Camera,
    stack: PsfStack,
    parameters: Parameters,
    *,
    directions: Sequence[int],
    window: int,
    watch: Callable[[], object] = lambda: None,
) -> list[Start]:
    """Return the best start for each direction, the likeliest direction first.

    Parameters
    ----------
    design : Camera
        The design.
    stack : PsfStack
        What was measured; a few depths are enough.
    parameters : tuple of Parameter
        Their scatters set how far is searched.
    directions : sequence of {1, -1}
        Directions of the rail that are possible.
    window : int
        Side of the patterns [raw pixels], odd.
    watch : callable
        Called after every image that was searched.
    """
    best = []
    for direction in directions:
        expected = expected_values(parameters)
        model = RateModel(
            design, stack, parameters, direction=direction, power=1.0, window=window, near=expected
        )
        found = [
            _found(model, {**expected, "focus": expected["focus"] + shift}, watch)
            for shift in _focus_settings(design, parameters)
        ]
        best.append(max(found, key=lambda start: start.correlation))
    best.sort(key=lambda start: -start.correlation)
    if best[0].correlation <= 0:
        raise CalibrationError(
            "the pattern of the design is nowhere in the stack; are the source, its place on the "
            "rail and the design those of the measurement?"
        )
    return best


def _focus_settings(design: Camera, parameters: Parameters) -> list[float]:
    """Return changes of the focus, three deviations to both sides, part of a wave apart [m]."""
    scatter = next(p.scatter for p in parameters if p.name == "focus")
    wave = min(band.centre for band in design.sensor.bands)
    # a change s of the distance z bends the wave by s R^2 / 2 z^2 at the rim
    step = 2 * _TURN * wave * (2 * design.sensor_distance / design.aperture_diameter) ** 2
    half = min(math.ceil(3 * scatter / step - 1e-9) if 3 * scatter > step else 0, _MOST // 2)
    return [3 * scatter * n / half for n in range(-half, half + 1)] if half else [0.0]


def _found(model: RateModel, values: dict[str, float], watch: Callable[[], object]) -> Start:
    """Search the pattern at `values` in the greens of the stack."""
    stack, scatter = model.stack, model.scatter
    reach = [2 + math.ceil(4 * scatter[f"boresight_{a}"] / stack.pixel_pitch) for a in "yx"]
    total: Tensor | None = None
    light, pattern = 0.0, 0.0
    for depth in range(stack.depths):
        plane = model.colour_plane(1, values, depth) / model.distance(values, depth) ** 2
        green = _green(stack, depth)
        light += float(green.square().sum())
        pattern += float(plane.square().sum()) / 2  # half of the pixels are green
        anchor = [a - o for a, o in zip(model.views[depth].anchor, stack.origin, strict=True)]
        part = _correlation(green, plane, anchor, reach)
        total = part if total is None else total + part
        watch()
    if total is None or light == 0:
        raise CalibrationError("no pixel of the stack is valid")
    peak = int(total.argmax())
    values = dict(values)
    row, column = peak // total.shape[1] - reach[0], peak % total.shape[1] - reach[1]
    for axis, pixels in (("y", row), ("x", column)):
        values[f"boresight_{axis}"] += pixels * stack.pixel_pitch
    highest = float(total.max())
    power = max(highest, 1e-12 * light) / pattern
    return Start(model.direction, values, power, highest / math.sqrt(light * pattern))


def _green(stack: PsfStack, depth: int) -> Tensor:
    """Rates (H, W) of the valid green pixels, the others zero."""
    block = np.array([letter == "G" for letter in stack.cfa]).reshape(2, 2)
    height, width = stack.shape
    green = np.tile(block, ((height + 1) // 2, (width + 1) // 2))[:height, :width]
    return torch.from_numpy(np.where(stack.valid[depth] & green, stack.rate[depth], 0.0))


def _correlation(image: Tensor, pattern: Tensor, anchor: Sequence[int], reach: list[int]) -> Tensor:
    """Correlation for displacements of the pattern's middle from `anchor`, up to `reach`."""
    size = [n + m for n, m in zip(image.shape, pattern.shape, strict=True)]
    spectrum = torch.fft.rfft2(image, s=size) * torch.fft.rfft2(pattern, s=size).conj()
    whole: Tensor = torch.fft.irfft2(spectrum, s=size)
    for dim in (0, 1):
        first = anchor[dim] - pattern.shape[dim] // 2
        index = (first + torch.arange(-reach[dim], reach[dim] + 1)) % size[dim]
        whole = whole.index_select(dim, index)
    return whole
