"""Energy on the pixels around the image of a point, and its slopes, for one colour and depth.

Every slope is one more transform of a wave: where the wave U on the sensor changes by dU, its
intensity does by 2 Re(U* dU). Shifts, wedges and the scale of the image share two transforms.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from calibration.twin.frame import Frame, Transform, Window
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
from optics.sensor import SpectralResponse
from optics.zernike import zernike_at

#: Parameters whose slopes come from the waves; those of the others are differences.
WAVE_SLOPES = (
    "etch_scale", "blur", "tilt_y", "tilt_x", "decentre_y", "decentre_x", "focus",
    "boresight_y", "boresight_x",
)  # fmt: skip
#: Slope with respect to the source's distance.
DISTANCE = "distance"

_SEEN = 0.8  # cycles per pixel, beyond which slopes may be mistaken
_SMOOTHEST = 1e-13  # relief that is none [m]
#: What is added up on the way to other slopes.
_SUMMED = ("energy", "boresight_y", "boresight_x", "bend")


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
        """Energy fraction on every pixel of `window`, float64 (rows, columns)."""
        values = self._placed(values)
        with torch.no_grad():
            relief = self.relief(colour, values, ray)
            wave, weight = self.waves(colour, values)
            pupil = make_pupil(self.camera, values, relief, wave, ray)
            frame = Frame(self.camera, values, window, self.camera.subsamples)
            total = torch.zeros(frame.points, dtype=pupil.rest.real.dtype)
            for index, one in enumerate(wave):
                field = pupil.relief[index] * pupil.rest[index]
                transform = Transform(frame, one, len(field), field.dtype)
                seen = transform.field(field)
                intensity = seen.real.square().addcmul_(seen.imag, seen.imag)
                total.addcmul_(intensity, transform.weight, value=float(weight[index]))
            return frame.pixels(total).flatten(0, 1) / self._energy()

    def slopes(
        self,
        colour: int,
        values: Values,
        ray: Ray,
        window: Window,
        names: Sequence[str],
    ) -> dict[str, Tensor]:
        """Slopes of the energy as of `plane` with respect to some parameters.

        Parameters
        ----------
        colour : int
            Plane of the PSF.
        values, ray, window
            As for `plane`.
        names : sequence of str
            Of `WAVE_SLOPES`, `noll_` and a number, or `DISTANCE`.

        Returns
        -------
        dict of str to Tensor
            Float64 (S, rows, columns) by name, S strips or 1.
        """
        if values["gap"] or self.camera.gap:
            raise ValueError("slopes: the waves of a camera with a gap are not taken apart")
        values = self._placed(values)
        with torch.no_grad():
            relief = self.relief(colour, values, ray)
            wave, weight = self.waves(colour, values)
            pupil = make_pupil(self.camera, values, relief, wave, ray)
            turns = wedge_rate(self.camera, wave, ray)
            changes = self._changes(colour, values, ray, names, pupil)
            phases = _phases(pupil, self.camera, names)
            frame = Frame(self.camera, values, window, _slope_points(self.camera))
            sums = _SlopeSums(frame, self.camera, values, ray, names)
            for index, one in enumerate(wave):
                field = pupil.relief[index] * pupil.rest[index]
                sums.turn_to(field, one, float(weight[index]), float(turns[index]))
                turned = 1j * field
                for kind, phase in phases.items():
                    sums.add(kind, turned * phase)
                for kind, change in changes.items():
                    sums.add(kind, change[index])
            energy = self._energy()
            return {name: slope / energy for name, slope in sums.slopes().items()}

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
            both = decentred(self.camera, values, wave, ray, pupil.rest)
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
            moved = relief_field(
                self.camera,
                {**values, name: values[name] + step},
                wave,
                sine=ray.sine,
                margin=margin_of(self.camera, values),
            )
            self._slopes[key] = (moved - self.relief(colour, values, ray)) / step
        return self._slopes[key]

    def _key(self, colour: int, values: Values, ray: Ray) -> tuple[object, ...]:
        """Return what a relief depends on."""
        made = ("etch_scale", "blur", "tilt_y", "tilt_x", "wavelength_shift", "bandwidth")
        margin = margin_of(self.camera, values)
        return (colour, margin, ray.sine, *(values[name] for name in made))

    def _energy(self) -> float:
        return float(self.camera.aperture.square().sum()) * self.camera.mask.cell**2


class _SlopeSums:
    """Slopes on the points of one window, added up over the wavelengths of a colour."""

    def __init__(
        self, frame: Frame, camera: Camera, values: Values, ray: Ray, names: Sequence[str]
    ) -> None:
        self.frame, self.values, self.ray, self.names = frame, values, ray, names
        self.sums = {
            name: torch.zeros(frame.points, dtype=camera.dtype.to_real())
            for name in dict.fromkeys((*_SUMMED, *names))
            if name not in ("focus", DISTANCE)
        }

    def turn_to(self, wave: Tensor, wavelength: Tensor, weight: float, turns: float) -> None:
        """Go on with the wave (N, N) of the next wavelength."""
        self.wavelength, self.turns = wavelength, turns
        self.transform = Transform(self.frame, wavelength, len(wave), wave.dtype)
        field = self.transform.field(wave)
        # twice the conjugate field, in parts, that the changes are multiplied by
        share = 2 * weight * self.transform.weight
        self.real, self.imag = share * field.real, share * field.imag
        self._sum(field, {"energy": 0.5})

    def add(self, kind: str, element: Tensor) -> None:
        """Add what a change (N, N) of the wave does."""
        self._sum(self.transform.field(element), self._parts(kind))

    def _parts(self, kind: str) -> dict[str, float]:
        """Return the factors of a kind of change by what it is added to."""
        per_length = 2 * math.pi / float(self.wavelength)
        if kind in ("y", "x"):
            return {
                f"boresight_{kind}": per_length / self.frame.distance,
                f"tilt_{kind}": 2
                * math.pi
                * self.turns
                / math.cos(self.values[f"tilt_{kind}"]) ** 2,
            }
        if kind == "bend":
            return {"bend": per_length / 2}
        return {kind: per_length if kind.startswith("noll_") else 1.0}

    def _sum(self, field: Tensor, factors: Mapping[str, float]) -> None:
        for name, factor in factors.items():
            if name in self.sums:
                self.sums[name].addcmul_(self.real, field.real, value=factor)
                self.sums[name].addcmul_(self.imag, field.imag, value=factor)

    def slopes(self) -> dict[str, Tensor]:
        """Slopes (S, rows, columns) on the pixels, by name."""
        frame, behind = self.frame, self.frame.distance
        on_pixels = {name: frame.pixels(total) for name, total in self.sums.items()}
        on_pixels[DISTANCE] = -on_pixels["bend"] / self.ray.distance**2
        # a longer way scales the image, bends the wave and spreads its energy; the image of an
        # oblique point lies further out on a sensor further back
        down, across = (
            (line + middle) / behind + tangent
            for line, middle, tangent in zip(
                (frame.rows[:, :, None], frame.columns),
                frame.window.centre,
                self.ray.tangent,
                strict=True,
            )
        )
        on_pixels["focus"] = (
            down * on_pixels["boresight_y"]
            + across * on_pixels["boresight_x"]
            - on_pixels["bend"] / behind**2
            - 2 / behind * on_pixels["energy"]
        )
        return {name: on_pixels[name] for name in self.names}


def _slope_points(camera: Camera) -> int:
    """Points per pixel and axis for slopes, often fewer than for the light itself.

    A step needs no better slopes than to a few per cent: what is mistaken for something else may
    reach down to frequencies of which a pixel shows less than a quarter.
    """
    shortest = min(band.shortest for band in camera.sensor.bands)
    cutoff = camera.aperture_diameter / (shortest * camera.sensor_distance)
    return math.ceil(camera.sensor.pitch * cutoff + _SEEN)


def _phases(pupil: Pupil, camera: Camera, names: Sequence[str]) -> dict[str, Tensor]:
    """Return the shapes (N, N) of the phases whose changes give the slopes, by kind."""
    real = pupil.rest.real.dtype
    radius = camera.aperture_diameter / 2
    # the wedge lies on the mask, whose middle the shifts may count from as well: the difference
    # is a phase common to all cells
    out = {"y": pupil.down, "x": pupil.across, "bend": pupil.y**2 + pupil.x**2}
    for name in names:
        if name.startswith("noll_"):
            one = torch.zeros(int(name[5:]), dtype=torch.float64)
            one[-1] = 1
            out[name] = zernike_at(one, pupil.y / radius, pupil.x / radius)
    return {kind: phase.to(real) for kind, phase in out.items()}


def shifted_nodes(
    band: SpectralResponse, count: int, *, shift: float, widen: float
) -> tuple[Tensor, Tensor]:
    """Wavelengths and weights of a band moved by `shift` [m] and widened about its middle."""
    wave, weight = band.nodes(count)
    if shift or widen != 1:
        wave = band.centre + shift + widen * (wave - band.centre)
    return wave, weight
