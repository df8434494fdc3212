"""What stands before the camera of the bench, as electrons per second behind it."""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calibration.bench.truth import BenchTruth, true_camera
from hardware.cameras import SensorMode
from hardware.frames import Roi, shifted_cfa
from optics.camera import Camera
from optics.grids import coordinates
from optics.imaging import StrayLight
from optics.lenses import ZernikeLens
from optics.units import check_length, check_positive

#: Colours of a mosaic and their planes in a PSF (R, G, B).
_PLANES = {"R": 0, "G": 1, "B": 2}
#: Relative rate of the panel in R, G, B: white light through an IMX477.
_PANEL_WHITE = (0.6, 1.0, 0.7)
_KEPT = 16  # PSFs held in memory


@dataclass(frozen=True)
class Source:
    """What shines on the bench.

    Attributes
    ----------
    peak_rate : float
        Rate of the brightest pixel with the source at `reference`, full level, no errors [e-/s].
    reference : float
        Distance at which it is that bright [m].
    diameter : float
        Of the pinhole in front of the point source [m].
    panel_rate : float
        Rate of a green pixel that sees the lit panel, on the axis [e-/s].
    panel_slope : float
        Relative change of the panel's light from one side of the frame to the other.
    ambient : float
        What reaches every pixel with all lights off [e-/s].
    """

    peak_rate: float = 8e6
    reference: float = 1.5
    diameter: float = 100e-6
    panel_rate: float = 2e5
    panel_slope: float = 0.02
    ambient: float = 2.0

    def __post_init__(self) -> None:
        check_positive("peak_rate", self.peak_rate, "e-/s")
        check_positive("panel_rate", self.panel_rate, "e-/s")
        check_length("object_distance", self.reference)
        for name in ("diameter", "panel_slope", "ambient"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} = {getattr(self, name):g}: zero or more is needed")


class BenchScene:
    """Electrons per second behind a true camera, for a `SimulatedCamera`.

    The source stands where `place` says: z along the axis from the mask, x and y across it by the
    scale of a rail; `levels` tells those of the channels `point` and `panel`.

    Parameters
    ----------
    design : Camera
        Sets the brightness of the source.
    truth : BenchTruth
        The true camera.
    source : Source
        What shines.
    frame : SensorMode
        Pixels of the sensor.
    place : callable
        Returns where the source is [m].
    levels : callable
        Returns how bright the lights are, 0 to 1.
    """

    def __init__(
        self,
        design: Camera,
        truth: BenchTruth,
        source: Source,
        frame: SensorMode,
        *,
        place: Callable[[], Mapping[str, float]],
        levels: Callable[[], Mapping[str, float]],
    ) -> None:
        self.camera = true_camera(design, truth)
        self.truth, self.source, self.frame = truth, source, frame
        self._place, self._levels = place, levels
        self._psfs: OrderedDict[tuple[float, ...], Tensor] = OrderedDict()
        self._stray = StrayLight(veil=truth.veil, skirt=truth.skirt, radius=6.0)
        nominal = design.replace(
            sensor=replace(design.sensor, binning=1), window=self.camera.window
        )
        with torch.no_grad():
            peak = float(nominal.psf([source.reference]).max())
        self._power = source.peak_rate / peak * source.reference**2  # [e-/s m2]

    def __call__(self, roi: Roi) -> NDArray[np.float64]:
        """Return the electrons per second of every pixel of `roi` [e-/s]."""
        rate = np.full((roi.height, roi.width), self.source.ambient)
        levels = self._levels()
        colours = self._colours(roi)
        if levels["panel"] > 0:
            white = np.array(_PANEL_WHITE)[colours]
            rate += levels["panel"] * self.source.panel_rate * white * self._panel(roi)
        if levels["point"] > 0:
            rate += levels["point"] * self._point(roi, colours)
        return rate

    def _colours(self, roi: Roi) -> NDArray[np.intp]:
        """Plane of the PSF that each pixel sees."""
        cfa = shifted_cfa(self.frame.cfa, roi.row, roi.column)
        block = np.array([_PLANES[letter] for letter in cfa]).reshape(2, 2)
        return np.tile(block, ((roi.height + 1) // 2, (roi.width + 1) // 2))[
            : roi.height, : roi.width
        ]

    def _panel(self, roi: Roi) -> NDArray[np.float64]:
        """Light of the panel relative to that on the axis: cos^4, and a slope along x."""
        y, x = (self._tangent(axis, roi) for axis in (0, 1))
        cosine = 1 / np.sqrt(1 + y[:, None] ** 2 + x**2)
        edge = self.frame.shape[1] / 2 * self.frame.pixel_pitch / self.camera.sensor_distance
        return np.asarray(cosine**4 * (1 + self.source.panel_slope / 2 * x / edge))

    def _tangent(self, axis: int, roi: Roi) -> NDArray[np.float64]:
        """Tangent of the chief ray to every row (0) or column (1) of `roi`."""
        first, count = ((roi.row, roi.height), (roi.column, roi.width))[axis]
        place = (first + np.arange(count) - self._middle(axis)) * self.frame.pixel_pitch
        return np.asarray((place - self.truth.boresight[axis]) / self.camera.sensor_distance)

    def _middle(self, axis: int) -> float:
        return (self.frame.shape[axis] - 1) / 2

    def _point(self, roi: Roi, colours: NDArray[np.intp]) -> NDArray[np.float64]:
        """Light of the point source."""
        reading = self._place()
        distance = self.truth.stage_scale * reading["z"] + self.truth.stage_offset
        tangent = (reading.get("y", 0.0) / distance, reading.get("x", 0.0) / distance)
        pitch = self.frame.pixel_pitch
        centre = [
            self._middle(axis)
            + (self.camera.sensor_distance * tangent[axis] + self.truth.boresight[axis]) / pitch
            for axis in (0, 1)
        ]
        whole = [math.floor(c + 0.5) for c in centre]
        psf = self._psf(distance, tangent, (centre[0] - whole[0], centre[1] - whole[1]))
        window = psf.shape[-1]
        first = [w - window // 2 for w in whole]
        veil = self.truth.veil * psf.sum((-2, -1)) / math.prod(self.frame.shape)
        planes = np.tile(veil.numpy()[:, None, None], (1, roi.height, roi.width))
        rows = _overlap(first[0], window, roi.row, roi.height)
        columns = _overlap(first[1], window, roi.column, roi.width)
        if rows and columns:
            planes[:, rows[1], columns[1]] = psf[:, rows[0], columns[0]].numpy()
        seen = np.take_along_axis(planes, colours[None], axis=0)[0]
        return np.asarray(self._power / distance**2 * seen)

    def _psf(
        self, distance: float, tangent: tuple[float, float], fraction: tuple[float, float]
    ) -> Tensor:
        """PSFs (3, h, w) of the true camera, displaced by a fraction of a pixel."""
        key = tuple(round(v, 9) for v in (distance, *tangent, *fraction))
        if key not in self._psfs:
            with torch.no_grad():
                psf = self._displaced(distance, tangent, fraction)
                psf = self._stray.psf(psf, frame=self.frame.shape)
                width = self.source.diameter / distance * self.camera.sensor_distance
                psf = disc_blur(psf, width / self.frame.pixel_pitch).clamp(min=0).double()
            self._psfs[key] = psf
            while len(self._psfs) > _KEPT:
                self._psfs.popitem(last=False)
        self._psfs.move_to_end(key)
        return self._psfs[key]

    def _displaced(
        self, distance: float, tangent: tuple[float, float], fraction: tuple[float, float]
    ) -> Tensor:
        """PSFs (3, h, w) without stray light, displaced by a fraction of a pixel.

        The light of flat cells goes where the lens sends it: what limits it moves along.
        """
        camera = self._steered(fraction)
        planes = []
        for band in camera.sensor.bands:
            waves, weights = band.nodes(camera.nodes)
            spots = camera.spots([distance], waves, fields=[tangent])[0, 0]
            if camera.mask.pixelated:
                down, across = (_envelope_moved(camera, waves, part) for part in fraction)
                spots = spots * down[:, :, None] * across[:, None, :]
            planes.append(torch.einsum("w,whv->hv", weights.to(spots), spots))
        return torch.stack(planes)

    def _steered(self, fraction: tuple[float, float]) -> Camera:
        """Return the camera whose wavefront is tilted so that the spot moves by part of a pixel.

        A PSF sampled on pixels cannot be shifted afterwards: it holds frequencies beyond theirs.
        """
        lens = self.camera.lens
        assert isinstance(lens, ZernikeLens)  # noqa: S101 - made by true_camera
        radius, z = self.camera.aperture_diameter / 2, self.camera.sensor_distance
        # Noll 2 is 2 x / radius with unit RMS: its slope is 2 / radius of the coefficient.
        y, x = (part * self.frame.pixel_pitch / z * radius / 2 for part in fraction)
        coefficients = list(self.truth.wavefront)
        coefficients[1] += x
        coefficients[2] += y
        steered = ZernikeLens(
            lens.base,
            aperture_diameter=lens.aperture_diameter,
            half_field=math.atan(lens.field_edge),
            fixed=coefficients,
        )
        return self.camera.replace(lens=steered)


def disc_blur(psf: Tensor, diameter: float) -> Tensor:
    """Blur planes (..., h, w) by a uniform disc of `diameter` [pixels], its edges periodic.

    Its transform is the Airy pattern 2 J1(v) / v, v = pi diameter f.
    """
    if diameter == 0:
        return psf
    fy, fx = torch.fft.fftfreq(psf.shape[-2]), torch.fft.rfftfreq(psf.shape[-1])
    v = math.pi * diameter * torch.hypot(fy[:, None], fx[None, :]).double()
    transfer = torch.where(v > 1e-6, 2 * torch.special.bessel_j1(v) / v.clamp(min=1e-6), 1.0)
    spectrum = torch.fft.rfft2(psf.double()) * transfer
    blurred: Tensor = torch.fft.irfft2(spectrum, s=psf.shape[-2:])
    return blurred.to(psf)


def _envelope_moved(camera: Camera, waves: Tensor, by: float) -> Tensor:
    """Factors (W, window) of the light of flat cells with its envelope moved by part of a pixel.

    Means over the pixels of the sinc^2 about the image, over those of the one about the window's
    middle, which is where a camera has it: near a zero of both they stay finite.
    """
    parts, pitch = camera.subsamples, camera.sensor.pitch
    place = coordinates(camera.window * parts, pitch / parts)
    rate = camera.mask.cell / (waves * camera.sensor_distance)

    def mean(middle: float) -> Tensor:
        points = torch.sinc(rate[:, None] * (place - middle)).square()
        return points.reshape(len(waves), camera.window, parts).mean(-1)

    return mean(by * pitch) / mean(0.0)


def _overlap(first: int, size: int, begin: int, count: int) -> tuple[slice, slice] | None:
    """Slices of a window, and of a region that begins at `begin`, that show the same pixels."""
    low, high = max(first, begin), min(first + size, begin + count)
    if low >= high:
        return None
    return slice(low - first, high - first), slice(low - begin, high - begin)
