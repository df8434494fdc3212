"""Energy on the pixels around the image of a point, and its slopes, for one colour and depth.

Every slope is one more transform of a wave: where the wave U on the sensor changes by dU, its
intensity does by 2 Re(U* dU). Shifts, wedges and the scale of the image share two transforms.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from calibration.twin.pupil import (
    Pupil,
    Ray,
    Values,
    decentred,
    make_pupil,
    margin_of,
    relief_field,
    wedge_rate,
)
from optics.camera import Camera
from optics.grids import coordinates
from optics.propagation import to_sensor
from optics.sensor import SpectralResponse
from optics.zernike import zernike_at

#: Parameters whose slopes come from the waves; those of the others are differences.
WAVE_SLOPES = (
    "etch_scale", "blur", "tilt_y", "tilt_x", "decentre_y", "decentre_x", "focus",
    "boresight_y", "boresight_x",
)  # fmt: skip
#: Slope with respect to the source's distance.
DISTANCE = "distance"

_SMOOTHEST = 1e-13  # relief that is none [m]
_BATCH = 2**25  # fields in work together [bytes]


@dataclass(frozen=True)
class Window:
    """Pixels on which light is wanted.

    Attributes
    ----------
    side : int
        Pixels along each side, odd.
    pitch : float
        Their distance [m].
    centre : tuple of float
        Where the middle pixel lies from the image of the point, (y, x) [m].
    """

    side: int
    pitch: float
    centre: tuple[float, float]


class PointLight:
    """Light of a point source behind a camera with errors, colour by colour.

    Parameters
    ----------
    camera : Camera
        The design with unbinned pixels.
    nodes : int
        Wavelengths per colour.

    Notes
    -----
    Reliefs are kept for the depths that share them.
    """

    def __init__(self, camera: Camera, nodes: int) -> None:
        self.camera, self.nodes = camera, nodes
        self._reliefs: dict[tuple[object, ...], Tensor] = {}
        self._slopes: dict[tuple[object, ...], Tensor] = {}
        with torch.no_grad():
            height = camera.mask.height()
        # displacing nothing has no effect, which a sampled stop shows only nearly
        self._featureless = bool(height.max() - height.min() < _SMOOTHEST)

    def waves(self, colour: int, values: Values) -> tuple[Tensor, Tensor]:
        """Wavelengths (W,) [m] and weights, summing to 1, of a colour."""
        return shifted_nodes(
            self.camera.sensor.bands[colour],
            self.nodes,
            shift=values["wavelength_shift"],
            widen=values["bandwidth"],
        )

    def relief(self, colour: int, values: Values, ray: Ray) -> Tensor:
        """Fields (W, N, N) of the mask."""
        wave, _ = self.waves(colour, values)
        key = self._key(colour, values, ray)
        if key not in self._reliefs:
            while len(self._reliefs) >= 3:  # one per colour
                self._reliefs.pop(next(iter(self._reliefs)))
            self._reliefs[key] = relief_field(
                self.camera, values, wave, sine=ray.sine, margin=margin_of(self.camera, values)
            )
        return self._reliefs[key]

    def plane(self, colour: int, values: Values, ray: Ray, window: Window) -> Tensor:
        """Energy fraction on every pixel of `window`, float64 (side, side)."""
        values = self._placed(values)
        with torch.no_grad():
            relief = self.relief(colour, values, ray)
            wave, weight = self.waves(colour, values)
            pupil = make_pupil(self.camera, values, relief, wave, ray)
            frame = _Frame(self.camera, values, window, pupil.rest.shape[-1])
            total = torch.zeros(window.side, window.side, dtype=torch.float64)
            for index, one in enumerate(wave):
                field = frame.field((pupil.relief[index] * pupil.rest[index])[None], one)[0]
                total += float(weight[index]) * frame.pixels(
                    field.real.square() + field.imag.square(), one
                )
            return total / self._energy()

    def slopes(
        self, colour: int, values: Values, ray: Ray, window: Window, names: Sequence[str]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Energy as of `plane`, and its slopes with respect to some parameters.

        Parameters
        ----------
        colour : int
            Plane of the PSF.
        values, ray, window
            As for `plane`.
        names : sequence of str
            Of `WAVE_SLOPES`, `noll_` and a number, or `DISTANCE`.
        """
        if values["gap"] or self.camera.gap:
            raise ValueError("slopes: the waves of a camera with a gap are not taken apart")
        values = self._placed(values)
        with torch.no_grad():
            relief = self.relief(colour, values, ray)
            wave, weight = self.waves(colour, values)
            pupil = make_pupil(self.camera, values, relief, wave, ray)
            changes = self._changes(colour, values, ray, names, pupil)
            frame = _Frame(self.camera, values, window, pupil.rest.shape[-1])
            total = torch.zeros(window.side, window.side, dtype=torch.float64)
            sums = {name: torch.zeros_like(total) for name in names}
            turns = wedge_rate(self.camera, wave, ray)
            for index, one in enumerate(wave):
                share = float(weight[index])
                change = _WaveChange(self.camera, values, ray, float(one), float(turns[index]))
                field = frame.field((pupil.relief[index] * pupil.rest[index])[None], one)[0]
                intensity = field.real.square() + field.imag.square()
                bright = frame.pixels(intensity, one)
                total += share * bright
                elements = _elements(pupil, changes, index, self.camera, names)
                for kind, moved in frame.fields(elements, one):
                    slope = 2 * (field.real * moved.real + field.imag * moved.imag)
                    for name, part in change.parts(kind, slope, frame):
                        if name in sums:
                            sums[name] += share * frame.pixels(part, one)
                if "focus" in sums:
                    sums["focus"] -= share * 2 / frame.distance * bright
            energy = self._energy()
            return total / energy, {name: value / energy for name, value in sums.items()}

    def _changes(
        self, colour: int, values: Values, ray: Ray, names: Sequence[str], pupil: Pupil
    ) -> dict[str, Tensor]:
        """Return changes (W, N, N) of the wave itself, by what cannot be said as a phase."""
        wave, _ = self.waves(colour, values)
        steps = {"etch_scale": 1e-4, "blur": 1e-3 * self.camera.mask.cell}
        out = {
            name: self._relief_slope(colour, values, ray, name, step) * pupil.rest
            for name, step in steps.items()
            if name in names
        }
        if {"decentre_y", "decentre_x"} & set(names) and not self._featureless:
            both = decentred(self.camera, values, wave, ray, pupil.rest.shape[-1])
            out["decentre_y"], out["decentre_x"] = (pupil.relief * part for part in both)
        return out

    def _placed(self, values: Values) -> Values:
        """Return values without a decentre that nothing could show."""
        if not self._featureless:
            return values
        return {**values, "decentre_y": 0.0, "decentre_x": 0.0}

    def _relief_slope(
        self, colour: int, values: Values, ray: Ray, name: str, step: float
    ) -> Tensor:
        """Slope (W, N, N) of the mask's fields, kept for the depths that share it."""
        key = (name, *self._key(colour, values, ray))
        if key not in self._slopes:
            while len(self._slopes) >= 6:  # two per colour
                self._slopes.pop(next(iter(self._slopes)))
            wave, _ = self.waves(colour, values)
            low, high = values[name] - step, values[name] + step
            low = max(0.0, low) if name == "blur" else low
            pair = [
                relief_field(
                    self.camera,
                    {**values, name: value},
                    wave,
                    sine=ray.sine,
                    margin=margin_of(self.camera, values),
                )
                for value in (high, low)
            ]
            self._slopes[key] = (pair[0] - pair[1]) / (high - low)
        return self._slopes[key]

    def _key(self, colour: int, values: Values, ray: Ray) -> tuple[object, ...]:
        """Return what a relief depends on."""
        made = ("etch_scale", "blur", "tilt_y", "tilt_x", "wavelength_shift", "bandwidth")
        margin = margin_of(self.camera, values)
        return (colour, margin, ray.sine, *(values[name] for name in made))

    def _energy(self) -> float:
        return float(self.camera.aperture.square().sum()) * self.camera.mask.cell**2


class _Frame:
    """From waves in the pupil to points behind the pixels of a window, and to the pixels."""

    def __init__(self, camera: Camera, values: Values, window: Window, samples: int) -> None:
        self.distance = camera.sensor_distance + values["focus"]
        self.parts = camera.subsamples
        self.window, self.cell, self.samples = window, camera.mask.cell, samples
        self.pixelated = camera.mask.pixelated
        self.count = window.side * self.parts + 2  # a point beyond each end, see `pixels`
        self.pitch = window.pitch / self.parts
        line = coordinates(self.count, self.pitch)
        self.line = line
        self.y, self.x = line + window.centre[0], line + window.centre[1]

    def field(self, waves: Tensor, wavelength: Tensor) -> Tensor:
        """Fields (K, count, count) of waves (K, N, N)."""
        return to_sensor(
            waves[:, None],
            spacing=self.cell,
            wavelength=wavelength[None],
            distance=self.distance,
            points=(self.count, self.count),
            pitch=self.pitch,
            offset=self.window.centre,
        )[:, 0]

    def fields(
        self, waves: Iterator[tuple[str, Tensor]], wavelength: Tensor
    ) -> Iterator[tuple[str, Tensor]]:
        """Fields of named waves (N, N), as many at a time as memory likes."""
        together = max(1, _BATCH // (self.count**2 * 16))
        while some := list(itertools.islice(waves, together)):
            fields = self.field(torch.stack([wave for _, wave in some]), wavelength)
            yield from zip([name for name, _ in some], fields, strict=True)

    def pixels(self, intensity: Tensor, wavelength: Tensor) -> Tensor:
        """Integrate (count, count) over the pixels, float64 (side, side).

        As the camera does: the midpoint rule with its first Euler-Maclaurin term, the slopes at
        both sides of a pixel, and the sinc^2 of flat cells on the points.
        """
        if self.pixelated:
            envelope = torch.sinc(self.cell / (wavelength * self.distance) * self.line).square()
            envelope = envelope.to(intensity)
            intensity = envelope[:, None] * intensity * envelope
        return _sum_rows(_sum_rows(intensity, self.parts).mT, self.parts).mT.double() * (
            self.pitch**2
        )


def _sum_rows(intensity: Tensor, parts: int) -> Tensor:
    """Sum the points of each pixel along the rows' direction."""
    inner = intensity[1:-1].reshape(-1, parts, intensity.shape[1])
    before, after = intensity[:-2:parts], intensity[parts + 1 :: parts]
    ends = before - inner[:, 0] - inner[:, -1] + after
    return inner.sum(1) + ends / 24


@dataclass(frozen=True)
class _WaveChange:
    """What one transform says about several parameters at one wavelength."""

    camera: Camera
    values: Values
    ray: Ray
    wavelength: float
    turns: float

    def parts(self, kind: str, slope: Tensor, frame: _Frame) -> Iterator[tuple[str, Tensor]]:
        """Pairs of a parameter and its slope on the points."""
        behind, wave = frame.distance, self.wavelength
        if kind in ("y", "x"):
            place = frame.y[:, None] if kind == "y" else frame.x[None, :]
            shift = 2 * math.pi / (wave * behind) * slope
            yield f"boresight_{kind}", shift
            tilt = self.values[f"tilt_{kind}"]
            yield f"tilt_{kind}", 2 * math.pi * self.turns / math.cos(tilt) ** 2 * slope
            # the image of an oblique point lies further out on a sensor further back
            oblique = self.ray.tangent[0 if kind == "y" else 1]
            yield "focus", (place.to(slope) / behind + oblique) * shift
        elif kind == "bend":
            per_curvature = math.pi / wave * slope
            yield "focus", -per_curvature / behind**2
            yield DISTANCE, -per_curvature / self.ray.distance**2
        elif kind.startswith("noll_"):
            yield kind, 2 * math.pi / wave * slope
        else:
            yield kind, slope


def _elements(
    pupil: Pupil, changes: dict[str, Tensor], index: int, camera: Camera, names: Sequence[str]
) -> Iterator[tuple[str, Tensor]]:
    """Waves (N, N) whose transforms give the slopes, by kind."""
    wave = pupil.relief[index] * pupil.rest[index]
    turned = 1j * wave
    real = turned.real.dtype
    shifts = {f"{kind}_{axis}" for kind in ("boresight", "tilt") for axis in "yx"} | {"focus"}
    if shifts & set(names):
        # the wedge lies on the mask, whose middle the shifts may count from as well: the
        # difference is a phase common to all cells
        yield "y", turned * pupil.down.to(real)
        yield "x", turned * pupil.across.to(real)
    if "focus" in names or DISTANCE in names:
        yield "bend", turned * (pupil.y**2 + pupil.x**2).to(real)
    radius = camera.aperture_diameter / 2
    for name in names:
        if name.startswith("noll_"):
            mode = int(name[5:])
            one = torch.zeros(mode, dtype=torch.float64)
            one[-1] = 1
            yield name, turned * zernike_at(one, pupil.y / radius, pupil.x / radius).to(real)
        elif name in changes:
            yield name, changes[name][index]


def shifted_nodes(
    band: SpectralResponse, count: int, *, shift: float, widen: float
) -> tuple[Tensor, Tensor]:
    """Wavelengths and weights of a band moved by `shift` [m] and widened about its middle."""
    wave, weight = band.nodes(count)
    if shift or widen != 1:
        wave = band.centre + shift + widen * (wave - band.centre)
    return wave, weight
