"""Rates of the raw pixels around a point source, as a camera with given parameters shows them.

The energy of every colour on the pixels of a window goes through stray light, the disc of the
source and the diffusion of the pixels; each pixel of the mosaic sees the plane of its own colour,
times the power of the source over the squared distance, plus the ambient light.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calibration.psf.stack import PsfStack
from calibration.twin.frame import Window
from calibration.twin.light import DISTANCE, WAVE_SLOPES, PointLight
from calibration.twin.parameters import Parameters, free, rail_distance
from calibration.twin.pupil import Ray
from optics.camera import Camera
from optics.imaging import StrayLight

#: Colours of a mosaic and their planes (R, G, B).
PLANES = {"R": 0, "G": 1, "B": 2}
#: Radius at which the skirt of the stray light begins to fall [pixels].
SKIRT_RADIUS = 6.0

_EDGE = 2  # pixels inside the border of a window that are not compared: what is cut there may be
# a pixel off
_STRIPS, _USED, _MARGIN = 6, 4, 2  # strips, rows of each that are compared, and rows beside them
_GOLDEN = 0.618
_OPTICAL = ("gap", "wavelength_shift", "bandwidth")  # their slopes are differences
_STEP = 0.05  # of what is known beforehand, for those


@dataclass(frozen=True)
class View:
    """Part of the region of a stack that is compared, inside the window around the image.

    Attributes
    ----------
    rows : ndarray
        Its rows in the region.
    columns : slice
        Its columns in the region.
    window_rows, window_columns
        The same in the window.
    strips : tuple of int
        First rows in the window of the strips that slopes are computed on; none for all of it.
    strip_rows : ndarray
        The rows once more, in the rows of all strips.
    anchor : tuple of int
        Row and column of the window's middle pixel in the frame.
    colours : ndarray
        Plane of the PSF that every pixel sees.
    """

    rows: NDArray[np.intp]
    columns: slice
    window_rows: NDArray[np.intp]
    window_columns: slice
    strips: tuple[int, ...]
    strip_rows: NDArray[np.intp]
    anchor: tuple[int, int]
    colours: NDArray[np.intp]


def raw_camera(design: Camera) -> Camera:
    """Return the design with unbinned pixels and a window of the same extent."""
    window = (design.window * design.sensor.binning) | 1
    return design.replace(sensor=replace(design.sensor, binning=1), window=window).eval()


class RateModel:
    """What a camera before a rail shows, as a function of its parameters.

    Parameters
    ----------
    design : Camera
        The design.
    stack : PsfStack
        Tells where the source stood and which pixels were read; its rates are not used.
    parameters : tuple of Parameter
        All of them.
    direction : {1, -1}
        Whether readings of the rail grow away from the camera.
    power : float
        Rate times squared distance per energy fraction for which `power` is 0 [e-/s m^2].
    window : int
        Side of the window around the image [raw pixels], odd; light beyond it counts only as veil.
    near : mapping
        Values at which the window is put; it stays there whatever values are asked for.
    sparse : bool
        Whether only strips of rows are compared, other ones at every depth. All of the window
        counts as light, but slopes cost a tenth; a small window is compared as a whole.
    """

    def __init__(
        self,
        design: Camera,
        stack: PsfStack,
        parameters: Parameters,
        *,
        direction: int,
        power: float,
        window: int,
        near: Mapping[str, float],
        sparse: bool = False,
    ) -> None:
        if not stack.cfa:
            raise ValueError("the stack has no colours; a twin needs the mosaic of the design")
        self.camera = raw_camera(design)
        pitch = self.camera.sensor.pixel_pitch
        if not math.isclose(stack.pixel_pitch, pitch, rel_tol=1e-3):
            raise ValueError(
                f"pixel_pitch of the stack = {stack.pixel_pitch:g} m, that of the design "
                f"{pitch:g} m: they are not the same sensor, or one of them is binned"
            )
        self.stack, self.parameters = stack, parameters
        self._sparse = sparse and window > 2 * _STRIPS * (_USED + 2 * _MARGIN)
        self.direction, self.power, self.window = direction, power, window
        self.pivot = float((stack.readings.min() + stack.readings.max()) / 2)
        self.free = tuple(p.name for p in free(parameters))
        self.scatter = {p.name: p.scatter for p in parameters}
        self.light = PointLight(self.camera, self.camera.nodes)
        self.views = [self._view(near, depth) for depth in range(stack.depths)]

    def distance(self, values: Mapping[str, float], depth: int) -> float:
        """Distance of the source from the mask [m]."""
        reading = float(self.stack.readings[depth])
        return rail_distance(values, reading, direction=self.direction, pivot=self.pivot)

    def ray(self, values: Mapping[str, float], depth: int) -> Ray:
        """Return the source of a depth."""
        distance = self.distance(values, depth)
        along = float(self.stack.readings[depth]) - self.pivot
        y, x = (
            (place + values[f"slant_{axis}"] * along) / distance
            for place, axis in zip(self.stack.across, "yx", strict=True)
        )
        return Ray(distance, (y, x))

    def stands(self, values: Mapping[str, float]) -> bool:
        """Whether the windows lie where the images at `values` are, to the pixel."""
        return all(
            self._view(values, depth).anchor == view.anchor for depth, view in enumerate(self.views)
        )

    def colour_plane(self, colour: int, values: Mapping[str, float], depth: int) -> Tensor:
        """Energy fractions (window, window) of one colour on all pixels, without stray light."""
        window = replace(self._window(values, depth), strips=())
        return self.light.plane(colour, values, self.ray(values, depth), window)

    def predict(self, values: Mapping[str, float], depth: int) -> Tensor:
        """Rates (h, w) of the pixels of `views[depth]` [e-/s]."""
        seen = self._planes(values, depth, self._energies(values, depth))
        return self._brightness(values, depth) * seen + values["ambient"]

    def linearise(self, values: Mapping[str, float], depth: int) -> tuple[Tensor, Tensor]:
        """Rates as of `predict` and their slopes (P, h, w) with respect to the free parameters.

        The part of the skirt, a hundredth of the light and smooth, is left out of those slopes
        that come from the waves.
        """
        energies = self._energies(values, depth)
        slopes = self._energy_slopes(values, depth)
        rate, shown = self._shown(values, depth, energies, slopes)
        return rate, torch.stack([shown[name] for name in self.free])

    # light on the window

    def _window(self, values: Mapping[str, float], depth: int) -> Window:
        pitch, z = self.stack.pixel_pitch, self._behind(values)
        tangent = self.ray(values, depth).tangent
        middle = [(n - 1) / 2 for n in self.stack.frame]
        anchor = self.views[depth].anchor
        y, x = (
            (anchor[k] - middle[k]) * pitch - z * tangent[k] - values[f"boresight_{axis}"]
            for k, axis in enumerate("yx")
        )
        strips = self.views[depth].strips
        return Window((self.window, self.window), pitch, (y, x), strips, _USED + 2 * _MARGIN)

    def _behind(self, values: Mapping[str, float]) -> float:
        return self.camera.sensor_distance + values["focus"]

    def _energies(self, values: Mapping[str, float], depth: int) -> Tensor:
        return torch.stack([self.colour_plane(c, values, depth) for c in range(3)])

    def _energy_slopes(self, values: Mapping[str, float], depth: int) -> dict[str, Tensor]:
        """Slopes (3, S, rows, side) on the strips by what waves, places or distances change."""
        optical = [n for n in self.free if n in WAVE_SLOPES or n.startswith("noll_")]
        by_difference = [n for n in _OPTICAL if n in self.free]
        gap = self.camera.gap or values["gap"] or "gap" in self.free
        slopes: dict[str, Tensor] = {}
        if gap:
            by_difference = optical + by_difference
        else:
            names = [*dict.fromkeys([*optical, "boresight_y", "boresight_x", DISTANCE])]
            ray, window = self.ray(values, depth), self._window(values, depth)
            each = [self.light.slopes(c, values, ray, window, names) for c in range(3)]
            slopes = {name: torch.stack([one[name] for one in each]) for name in names}
            for axis, tangent in zip("yx", ray.tangent, strict=True):
                # a source beside the axis moves its image when it comes nearer
                shift = self._behind(values) * tangent / ray.distance
                slopes[DISTANCE] = slopes[DISTANCE] - shift * slopes[f"boresight_{axis}"]
        for name in by_difference:
            slopes[name] = self._difference(values, depth, name)
        if gap:
            for name in ("boresight_y", "boresight_x", "stage_offset"):
                slopes.setdefault(name, self._difference(values, depth, name))
            slopes[DISTANCE] = slopes.pop("stage_offset")
        return slopes

    def _difference(self, values: Mapping[str, float], depth: int, name: str) -> Tensor:
        step = _STEP * (self.scatter[name] or 1e-3)
        low = {p.name: p.low for p in self.parameters}[name]
        ends = values[name] + step, max(low, values[name] - step)
        if name == "gap":
            ends = ends[0], max(-self.camera.gap, ends[1])
        high, lower = (self._energies({**values, name: v}, depth) for v in ends)
        change = (high - lower) / (ends[0] - ends[1])
        height = _USED + 2 * _MARGIN
        strips = [change[:, first : first + height] for first in self.views[depth].strips]
        return torch.stack(strips or [change], 1)

    # from the light to the mosaic

    def _brightness(self, values: Mapping[str, float], depth: int) -> float:
        return self.power * math.exp(values["power"]) / self.distance(values, depth) ** 2

    def _planes(self, values: Mapping[str, float], depth: int, energies: Tensor) -> Tensor:
        """Mosaic (h, w) of energies (3, side, side) after stray light, source and diffusion."""
        width = self._disc(values, depth)
        stray = stray_light(energies, values["veil"], values["skirt"], self.stack.frame)
        seen = soften(stray, width=width, diffusion=values["diffusion"]).clamp(min=0)
        return self._mosaic(seen * _balance(values), depth)

    def _disc(self, values: Mapping[str, float], depth: int) -> float:
        """Diameter of the image of the source [pixels]."""
        size = values["source_diameter"] / self.distance(values, depth) * self._behind(values)
        return size / self.stack.pixel_pitch

    def _mosaic(self, planes: Tensor, depth: int) -> Tensor:
        return self._seen(planes, self.views[depth].window_rows, depth)

    def _seen(self, planes: Tensor, rows: NDArray[np.intp], depth: int) -> Tensor:
        """Return some rows of planes (3, ..., side) as their pixels see them."""
        view = self.views[depth]
        part = planes[:, torch.from_numpy(rows), view.window_columns]
        return part.gather(0, torch.from_numpy(view.colours)[None])[0]

    def _shown(
        self, values: Mapping[str, float], depth: int, energies: Tensor, slopes: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Rates and their slopes with respect to the free parameters."""
        bright, distance = self._brightness(values, depth), self.distance(values, depth)
        width, diffusion = self._disc(values, depth), values["diffusion"]
        kept = (1 - values["veil"] - values["skirt"]) * _balance(values)

        def show(planes: Tensor) -> Tensor:
            soft = soften(planes, width=width, diffusion=diffusion)
            return bright * self._mosaic(soft * _balance(values), depth)

        def show_strips(strips: Tensor) -> Tensor:
            soft = soften(strips, width=width, diffusion=diffusion).flatten(1, 2)
            return bright * self._seen(soft * kept, self.views[depth].strip_rows, depth)

        def softer(wider: float, more: float) -> Tensor:
            pair = [soften(energies, width=width + s * wider, diffusion=diffusion + s * more)
                    for s in (1, -1)]  # fmt: skip
            return bright * self._mosaic((pair[0] - pair[1]) / 2 * kept, depth)

        signal = bright * self._planes(values, depth, energies)
        out = {name: show_strips(slope) for name, slope in slopes.items()}
        wider = softer(1e-2, 0.0) / 1e-2 if width > 0.02 else torch.zeros_like(signal)
        # the law of squares, the defocus and the size of the source's image
        nearer = out[DISTANCE] - 2 / distance * signal - width / distance * wider
        reading = float(self.stack.readings[depth])
        along = reading - self.pivot
        out["stage_offset"] = nearer
        out["stage_scale"] = nearer * (reading if self.direction > 0 else 2 * self.pivot - reading)
        for axis in "yx":
            out[f"slant_{axis}"] = (
                out[f"boresight_{axis}"] * self._behind(values) * along / distance
            )
        bare = stray_light(energies, 0.0, 0.0, self.stack.frame)
        for name, amounts in (("veil", (0.5, 0.0)), ("skirt", (0.0, 0.5))):
            if name in self.free:  # linear in both: two points say all
                out[name] = show(2 * (stray_light(energies, *amounts, self.stack.frame) - bare))
        out["power"], out["ambient"] = signal, torch.ones_like(signal)
        colours = torch.from_numpy(self.views[depth].colours)
        out["red"], out["blue"] = signal * (colours == 0), signal * (colours == 2)
        if "diffusion" in self.free:
            out["diffusion"] = softer(0.0, 1e-3) / 1e-3
        if "source_diameter" in self.free:
            per_metre = self._behind(values) / distance / self.stack.pixel_pitch
            out["source_diameter"] = wider * per_metre
        return signal + values["ambient"], out

    # where the pixels are

    def _view(self, near: Mapping[str, float], depth: int) -> View:
        tangent, z = self.ray(near, depth).tangent, self._behind(near)
        pitch, stack = self.stack.pixel_pitch, self.stack
        anchor, slices = [], []
        for k, axis in enumerate("yx"):
            place = (z * tangent[k] + near[f"boresight_{axis}"]) / pitch
            middle = math.floor((stack.frame[k] - 1) / 2 + place + 0.5)
            first = middle - self.window // 2 - stack.origin[k]
            low = max(first + _EDGE, 0)
            high = min(first + self.window - _EDGE, stack.shape[k])
            if low >= high:
                raise ValueError(
                    f"the image of the source at {stack.readings[depth]:g} m is expected outside "
                    f"of the region of the stack; cut another region or correct the readings"
                )
            anchor.append(middle)
            slices.append((slice(low, high), slice(low - first, high - first)))
        (rows, window_rows), (columns, window_columns) = slices
        strips, strip_rows, kept = self._rows(window_rows, depth)
        own = np.arange(rows.start, rows.stop)[kept - window_rows.start]
        colours = colour_planes(stack.cfa, stack.shape)[own, columns]
        return View(
            own, columns, kept, window_columns, strips, strip_rows, (anchor[0], anchor[1]), colours
        )  # fmt: skip

    def _rows(
        self, among: slice, depth: int
    ) -> tuple[tuple[int, ...], NDArray[np.intp], NDArray[np.intp]]:
        """First rows of the strips, rows that are compared in them, and the same in the window."""
        every = np.arange(among.start, among.stop)
        if not self._sparse:
            return (), every, every
        height = _USED + 2 * _MARGIN
        # spread evenly, at every depth elsewhere
        place = (np.arange(_STRIPS) + (0.5 + depth * _GOLDEN) % 1) / _STRIPS
        first = (place * (self.window - height)).astype(np.intp)
        rows = (first[:, None] + np.arange(height)).flatten()
        inner = np.tile(np.arange(height), _STRIPS)
        use = (inner >= _MARGIN) & (inner < height - _MARGIN) & np.isin(rows, every)
        return tuple(first.tolist()), np.flatnonzero(use), rows[use]


def colour_planes(cfa: str, shape: Sequence[int]) -> NDArray[np.intp]:
    """Plane (R, G, B as 0, 1, 2) that each pixel of a mosaic of `shape` sees."""
    block = np.array([PLANES[letter] for letter in cfa], np.intp).reshape(2, 2)
    repeats = tuple((n + 1) // 2 for n in shape)
    return np.tile(block, repeats)[: shape[0], : shape[1]]


def stray_light(planes: Tensor, veil: float, skirt: float, frame: tuple[int, int]) -> Tensor:
    """Planes (..., h, w) with the stray light of a lens."""
    return StrayLight(veil=veil, skirt=skirt, radius=SKIRT_RADIUS).psf(planes, frame=frame)


def soften(planes: Tensor, *, width: float, diffusion: float) -> Tensor:
    """Planes (..., h, w) seen through the disc of the source and the diffusion in the pixels.

    Parameters
    ----------
    planes : Tensor
        Energy on the pixels; taken as periodic.
    width : float
        Diameter of the disc [pixels].
    diffusion : float
        Variance of a Gaussian, per axis; a little less than 0 sharpens [pixel^2].
    """
    if width == 0 and diffusion == 0:
        return planes
    fy, fx = torch.fft.fftfreq(planes.shape[-2]), torch.fft.rfftfreq(planes.shape[-1])
    square = fy[:, None].double() ** 2 + fx.double() ** 2
    v = math.pi * width * square.sqrt()
    disc = torch.where(v > 1e-6, 2 * torch.special.bessel_j1(v) / v.clamp(min=1e-6), 1.0)
    transfer = disc * torch.exp(-2 * math.pi**2 * diffusion * square)
    out: Tensor = torch.fft.irfft2(torch.fft.rfft2(planes) * transfer, s=planes.shape[-2:])
    return out


def _balance(values: Mapping[str, float]) -> Tensor:
    """Factors (3, 1, 1) of the colours."""
    factors = [math.exp(values["red"]), 1.0, math.exp(values["blue"])]
    return torch.tensor(factors, dtype=torch.float64)[:, None, None]
