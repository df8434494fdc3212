"""The wave behind the lens of a camera with given errors, and how it changes with each of them.

The mask stays where its cells are and the rest of the camera is displaced against it, which
changes no intensity: so a relief of flat cells is decentred by any part of a cell without being
sampled anew. Beyond its map the relief goes on with its edge value.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from optics.camera import Camera
from optics.fabrication import Errors, Fabricated, Fabrication
from optics.grids import coordinates, disc_coverage
from optics.masks import Mask
from optics.propagation import cis_turns
from optics.pupils import cross_gap, mask_field
from optics.zernike import zernike_at

Values = Mapping[str, float]

_STEP = 0.05  # of a cell, for the slope with respect to the decentre


@dataclass(frozen=True)
class Ray:
    """Where a point source stands.

    Attributes
    ----------
    distance : float
        From the mask [m].
    tangent : tuple of float
        Tangents (y, x) of the chief ray.
    """

    distance: float
    tangent: tuple[float, float] = (0.0, 0.0)

    @property
    def sine(self) -> float:
        """Sine of the chief ray."""
        tangent = math.hypot(*self.tangent)
        return tangent / math.hypot(1.0, tangent)


@dataclass(frozen=True)
class Pupil:
    """Waves behind the lens and what they were made of.

    Attributes
    ----------
    relief : Tensor
        Complex (W, N, N), the mask's own.
    rest : Tensor
        Complex (W, N, N), everything else; 1 where a gap has mixed both.
    y, x : Tensor
        Float64 (N, 1) and (1, N), places in the stop [m].
    down, across : Tensor
        The same as counted from the middle of the mask [m].
    """

    relief: Tensor
    rest: Tensor
    y: Tensor
    x: Tensor
    down: Tensor
    across: Tensor


def relief_field(
    camera: Camera, values: Values, wave: Tensor, *, sine: float, margin: int
) -> Tensor:
    """Mean field (W, N, N) of the cells as made, on their wedge, `margin` cells more.

    Parameters
    ----------
    camera : Camera
        Its mask is the design.
    values : mapping
        `etch_scale`, `blur`, `tilt_y` and `tilt_x`.
    wave : Tensor
        Float64 (W,) [m].
    sine : float
        Sine of the chief ray.
    margin : int
        Cells of the edge value on every side.
    """

    def error(*names: str) -> Tensor:
        return torch.tensor([values[name] for name in names], dtype=torch.float64)

    etched = Fabricated(
        camera.mask,
        fabrication=Fabrication(),
        errors=Errors(etch_scale=error("etch_scale")[0], tilt=error("tilt_y", "tilt_x")),
    )
    height = functional.pad(etched.height()[None], (margin,) * 4, mode="replicate")[0]
    made = Fabricated(
        _Surface(camera.mask, height),
        fabrication=Fabrication(),
        errors=Errors(blur=error("blur")[0]),
    )
    oblique = made.obliquity(wave, sine) if sine else 1.0
    layers = [(height, rate * oblique) for height, rate in made.layers(wave)]
    whole = torch.ones(made.samples, made.samples, dtype=camera.dtype)
    field = mask_field(made, layers, whole, always=True)
    if field is None:
        raise RuntimeError("the mask gives no field")
    return field


class _Surface(Mask):
    """Another mask's height after some of its making, on a larger map."""

    def __init__(self, mask: Mask, height: Tensor) -> None:
        super().__init__(
            height.shape[0],
            mask.cell,
            material_name="fused_silica",  # replaced: a mirror is not in the list of materials
            design_wavelength=mask.design_wavelength,
        )
        self.material, self.pixelated = mask.material, mask.pixelated
        self.mask, self.made = mask, height

    @property
    def wrap_height(self) -> float:
        return self.mask.wrap_height

    def height(self) -> Tensor:
        return self.made

    def turns_per_metre(self, wavelength: Tensor) -> Tensor:
        return self.mask.turns_per_metre(wavelength)

    def obliquity(self, wavelength: Tensor, sine: float) -> Tensor:
        return self.mask.obliquity(wavelength, sine)


def margin_of(camera: Camera, values: Values) -> int:
    """Cells beyond the map that a decentred mask may show."""
    most = max(abs(values["decentre_y"]), abs(values["decentre_x"])) / camera.mask.cell
    if camera.gap or values["gap"]:
        return math.ceil(most)
    return math.ceil(most + 2 * _STEP)


def make_pupil(camera: Camera, values: Values, relief: Tensor, wave: Tensor, ray: Ray) -> Pupil:
    """Return the waves (W, N, N) behind the lens.

    Parameters
    ----------
    camera : Camera
        The design.
    values : mapping
        Errors by name.
    relief : Tensor
        Of `relief_field`.
    wave : Tensor
        Float64 (W,) [m].
    ray : Ray
        The source.
    """
    shift = values["decentre_y"], values["decentre_x"]
    if values["gap"] or camera.gap:
        relief = _behind_gap(camera, values, relief, wave, ray, shift)
    down = coordinates(relief.shape[-1], camera.mask.cell)
    y, x = down[:, None] + shift[0], down[None, :] + shift[1]
    if values["gap"] or camera.gap:
        gap = camera.gap + values["gap"]
        ly, lx = y + gap * ray.tangent[0], x + gap * ray.tangent[1]
        # the wave from the object was curved already at the mask
        bend = _curvature(camera, values, wave, ray) - 1 / ray.distance
        turns = bend[:, None, None] / (2 * wave[:, None, None]) * (y**2 + x**2)
        rest = cis_turns(turns + _lens(camera, values, wave, ray, ly, lx), dtype=camera.dtype)
        passed = camera.lens.transmission(ly, lx, field=ray.tangent)
        rest = rest if passed is None else rest * passed.to(camera.dtype)
    else:
        rest = _rest(camera, values, wave, ray, shift, relief.shape[-1])
    return Pupil(relief, rest, y, x, down[:, None], down[None, :])


def _rest(
    camera: Camera, values: Values, wave: Tensor, ray: Ray, shift: tuple[float, float], samples: int
) -> Tensor:
    """Stop, lens and defocus (W, N, N) on the grid of a mask displaced by `shift`."""
    cell = camera.mask.cell
    line = coordinates(samples, cell)
    y, x = line[:, None] + shift[0], line[None, :] + shift[1]
    amplitude = _stop(camera, shift, samples)
    passed = camera.lens.transmission(y, x, field=ray.tangent)
    amplitude = amplitude if passed is None else amplitude * passed
    bend = _curvature(camera, values, wave, ray)[:, None, None] / (2 * wave[:, None, None])
    turns = _lens(camera, values, wave, ray, y, x) + bend * (y**2 + x**2)
    return amplitude.to(camera.dtype) * cis_turns(turns, dtype=camera.dtype)


def _behind_gap(
    camera: Camera,
    values: Values,
    relief: Tensor,
    wave: Tensor,
    ray: Ray,
    shift: tuple[float, float],
) -> Tensor:
    """Field of the mask, with the stop at it, at the lens behind the gap."""
    cell, gap = camera.mask.cell, camera.gap + values["gap"]
    line = coordinates(relief.shape[-1], cell)
    # the object's sphere is centred on the stop; `cross_gap` centres it on the mask
    ramp = (shift[0] * line[:, None] + shift[1] * line) / ray.distance
    turns = ramp / wave[:, None, None]
    stop = _stop(camera, shift, relief.shape[-1]).to(camera.dtype)
    steepest = min(0.9, float(wave.max()) / (2 * cell))
    reach = gap * steepest / math.sqrt(1 - steepest**2)
    return cross_gap(
        relief * stop * cis_turns(turns, dtype=camera.dtype),
        spacing=cell,
        wavelength=wave,
        gap=gap,
        samples=relief.shape[-1] + 2 * math.ceil(reach / cell),
        vergence=1 / ray.distance,
    )


def _stop(camera: Camera, shift: tuple[float, float], samples: int) -> Tensor:
    return disc_coverage(
        (samples, samples),
        camera.mask.cell,
        camera.aperture_diameter,
        centre=(-shift[0], -shift[1]),
    )


def _curvature(camera: Camera, values: Values, wave: Tensor, ray: Ray) -> Tensor:
    """Curvature 1/d + 1/z - 1/f (W,) [1/m]."""
    behind = camera.sensor_distance + values["focus"]
    return 1 / ray.distance + 1 / behind - camera.lens.power(wave)


def _lens(camera: Camera, values: Values, wave: Tensor, ray: Ray, y: Tensor, x: Tensor) -> Tensor:
    """Wavefront of the lens and its errors (W, N, N) [turns]."""
    radius = camera.aperture_diameter / 2
    modes = {int(name[5:]): value for name, value in values.items() if name.startswith("noll_")}
    coefficients = [modes.get(j, 0.0) for j in range(1, max(modes, default=1) + 1)]
    added = zernike_at(torch.tensor(coefficients, dtype=torch.float64), y / radius, x / radius)
    opd = camera.lens.opd(
        y,
        x,
        wave,
        field=ray.tangent,
        object_distance=ray.distance,
        sensor_distance=camera.sensor_distance + values["focus"],
    )
    total = added[None] if opd is None else opd + added
    return total / wave[:, None, None]


def wedge_rate(camera: Camera, wave: Tensor, ray: Ray) -> Tensor:
    """Return the turns of phase (W,) per metre of height under oblique light [1/m]."""
    rate = camera.mask.turns_per_metre(wave)
    return rate * camera.mask.obliquity(wave, ray.sine) if ray.sine else rate


def decentred(
    camera: Camera, values: Values, wave: Tensor, ray: Ray, rest: Tensor
) -> tuple[Tensor, Tensor]:
    """Slopes (W, N, N) of `Pupil.rest` with respect to the decentre along y and x [1/m]."""
    step = _STEP * camera.mask.cell
    out = []
    for dy, dx in ((step, 0.0), (0.0, step)):
        shift = values["decentre_y"] + dy, values["decentre_x"] + dx
        out.append((_rest(camera, values, wave, ray, shift, rest.shape[-1]) - rest) / step)
    return out[0], out[1]
