"""A camera: aperture, mask, lens and sensor at one focus; its PSFs on its own pixels.

Thin mask in the aperture plane, scalar, paraxial. The scene is described in image coordinates:
upright, x along the columns; a mask that tilts light towards +x moves the image of a point to
larger columns. A field point is the pair (y, x) of tangents of its chief ray, so that its image
lies at the sensor distance times it; its PSF is centred there.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from optics.grids import coordinates, disc_coverage
from optics.lenses import Lens
from optics.masks.base import Mask
from optics.propagation import cis_turns, relief_spots
from optics.pupils import (
    Place,
    cross_gap,
    mask_field,
    pupil_intensity,
    symmetric_intensity,
)
from optics.sensor import Sensor
from optics.units import check_count, check_length


class Camera(nn.Module):
    r"""Phase mask, lens and sensor, focused once.

    At the sensor distance :math:`z` the pupil field for a point at distance :math:`d` is

    .. math:: p = A \, e^{i \varphi(\lambda)} \,
              e^{i \frac{k r^2}{2} \left( \frac1d + \frac1z - \frac1{f(\lambda)} \right)}

    and the PSF its squared Fourier transform, integrated over every binned pixel and over the
    response of every colour channel.

    Parameters
    ----------
    aperture_diameter : float
        Clear diameter of the circular stop [m].
    lens : Lens
        The lens behind the mask.
    mask : Mask
        Phase mask in the plane of the stop; must cover it.
    sensor : Sensor
        Pixels and colour response.
    focus_distance : float
        Object distance at which the bare lens is sharp [m].
    window : int
        Side of the PSF in binned pixels, odd.
    nodes : int
        Wavelengths per colour channel, 3 or more.
    double : bool, default False
        Compute in complex128 instead of complex64.
    gap : float
        Distance from the mask, with the stop, to the lens behind it [m].
    budget : int
        Memory for the fields behind the pixels [bytes]; larger stacks are computed in parts,
        and in training those parts are computed again for their gradient.

    Notes
    -----
    A mask under oblique light delays by :math:`h (\sqrt{n^2 - s^2} - \sqrt{1 - s^2})`, s the
    sine of the chief ray (thin element). Aberrations, vignetting and their change over the field
    come from the lens. The fall of the illumination towards the corners (cos^4) is not included.
    Across a gap light goes by the angular spectrum, of the directions up to half a turn per cell;
    object distances are counted from the mask.

    Light that lands outside the window is lost to the simulation: the PSF then sums to less
    than 1, and `optics.quality.energy_inside` says by how much.
    """

    aperture: Tensor

    def __init__(
        self,
        *,
        aperture_diameter: float,
        lens: Lens,
        mask: Mask,
        sensor: Sensor,
        focus_distance: float,
        window: int = 127,
        nodes: int = 5,
        double: bool = False,
        gap: float = 0.0,
        budget: int = 2**30,
    ) -> None:
        super().__init__()
        self.aperture_diameter = check_length("aperture_diameter", aperture_diameter)
        self.lens, self.mask, self.sensor = lens, mask, sensor
        self.focus_distance = check_length("focus_distance", focus_distance)
        self.sensor_distance = lens.image_distance(focus_distance)
        self.window = check_count("window", window)
        if window % 2 == 0:
            raise ValueError(f"window = {window}: an odd number of pixels is needed, {window + 1}")
        self.nodes = check_count("nodes", nodes, 3)
        self.dtype = torch.float64 if double else torch.float32
        self.budget = check_count("budget", budget)
        if not 0 <= gap < self.lens.focal_length:
            raise ValueError(
                f"gap = {gap:g} m: the lens stands behind the mask, nearer than its focal length "
                f"{self.lens.focal_length:g} m; give 0 to below that"
            )
        self.gap = float(gap)
        if mask.samples * mask.cell < aperture_diameter * (1 - 1e-9):
            raise ValueError(
                f"mask is {mask.samples * mask.cell:g} m wide, aperture_diameter = "
                f"{aperture_diameter:g} m: the mask must cover the aperture"
            )
        shape = (mask.samples, mask.samples)
        self.register_buffer(
            "aperture", disc_coverage(shape, mask.cell, aperture_diameter), persistent=False
        )
        self._check_window()

    def replace(self, **changes: Any) -> "Camera":
        """Return the same camera with some constructor arguments changed; parts are shared."""
        own: dict[str, Any] = {
            "aperture_diameter": self.aperture_diameter,
            "lens": self.lens,
            "mask": self.mask,
            "sensor": self.sensor,
            "focus_distance": self.focus_distance,
            "window": self.window,
            "nodes": self.nodes,
            "double": self.dtype == torch.float64,
            "gap": self.gap,
            "budget": self.budget,
        }
        return Camera(**own | changes).to(self.aperture.device)

    def image_size(self, object_size: float, object_distance: float) -> float:
        """Size on the sensor of something `object_size` [m] large, in binned pixels."""
        check_length("object_distance", object_distance)
        return object_size * self.sensor_distance / object_distance / self.sensor.pitch

    @property
    def subsamples(self) -> int:
        """Points per binned pixel and axis at which the intensity is taken before summing.

        The intensity holds frequencies up to the cut-off D / (lambda z). With this many points
        all that could be mistaken for something else lies beyond the first zero of the pixel.
        """
        shortest = min(band.shortest for band in self.sensor.bands)
        cutoff = self.aperture_diameter / (shortest * self.sensor_distance)
        return math.ceil(self.sensor.pitch * cutoff + 1)

    def defocus(self, object_distance: float, wavelength: Tensor) -> Tensor:
        """Curvature 1/d + 1/z - 1/f left over for a point at that distance, (W,) [1/m]."""
        check_length("object_distance", object_distance)
        vergence = 1 / object_distance + 1 / self.sensor_distance
        return vergence - self.lens.power(wavelength)

    def _check_window(self) -> None:
        """Refuse a window that would show aliases of the spot as if they were light."""
        if self.mask.pixelated:
            return  # repeats of a pixelated mask are its real diffraction orders
        shortest = min(band.shortest for band in self.sensor.bands)
        period = shortest * self.sensor_distance / self.mask.cell
        if self.window * self.sensor.pitch > period:
            raise ValueError(
                f"window = {self.window} pixels of {self.sensor.pitch:g} m is wider than "
                f"{period:g} m, the period of a pupil sampled at {self.mask.cell:g} m: the PSF "
                f"would hold aliases; use window <= {int(period / self.sensor.pitch - 1) | 1} or "
                f"cell <= {shortest * self.sensor_distance / self.window / self.sensor.pitch:.3g} m"
            )

    def _check_defocus(self, curvature: Tensor, wavelength: Tensor) -> None:
        """Refuse a defocus so strong that its phase is not sampled at the rim."""
        slope = float((curvature.abs() / wavelength).max()) * self.aperture_diameter / 2
        if slope * self.mask.cell > 0.5:
            raise ValueError(
                f"defocus of {float(curvature.abs().max()):.3g} dioptres turns the phase by "
                f"{2 * slope * self.mask.cell:.2f} half-waves per cell at the rim, at most 1 is "
                f"sampled: use cells <= {0.5 / slope:.3g} m, or distances nearer to the focus at "
                f"{self.focus_distance:g} m"
            )

    def spot(
        self, object_distance: float, wavelength: Tensor, *, field: tuple[float, float] = (0.0, 0.0)
    ) -> Tensor:
        """Monochromatic PSFs of one point: `spots` of one field point and distance, (W, h, w)."""
        return self.spots([object_distance], wavelength, fields=[field])[0, 0]

    def spots(
        self,
        object_distances: Sequence[float],
        wavelength: Tensor,
        *,
        fields: Sequence[tuple[float, float]] = ((0.0, 0.0),),
    ) -> Tensor:
        """Monochromatic PSFs, integrated over binned pixels.

        Every depth and field point is computed from its own pupil; nothing is interpolated
        between intensities.

        Parameters
        ----------
        object_distances : sequence of float
            D distances along the axis [m].
        wavelength : Tensor
            (W,) vacuum wavelengths [m].
        fields : sequence of tuple of float
            F field points, tangents (y, x) of the chief rays.

        Returns
        -------
        Tensor
            (F, D, W, window, window); each sums to the share of the energy through the bare stop
            that lands in the window.
        """
        wave = wavelength.to("cpu", torch.float64)
        curvature = torch.stack([self.defocus(d, wave) for d in object_distances])
        self._check_defocus(curvature, wave)
        layers = self.mask.layers(wave)
        stack = []
        for field in fields:
            rows = []
            for part in self._parts(len(object_distances), len(wave)):
                some = list(object_distances[part])
                arguments = (layers, wave, curvature[part], some, field)
                if self._exceeds_budget(len(fields) * len(object_distances) * len(wave)):
                    rows.append(checkpoint(self._pixels, *arguments, use_reentrant=False))
                else:
                    rows.append(self._pixels(*arguments))
            stack.append(torch.cat(rows))
        energy = float(self.aperture.square().sum()) * self.mask.cell**2
        return torch.stack(stack) / energy

    def _parts(self, depths: int, waves: int) -> list[slice]:
        """Depths that are computed together: one mask phasor serves them all."""
        each = max(1, self.budget // (self._plane_bytes * waves))
        if self.lens.changes_with_depth or self.gap:
            each = 1
        return [slice(first, first + each) for first in range(0, depths, each)]

    @property
    def _plane_bytes(self) -> int:
        """Field and intensity of one plane behind the pixels [bytes]."""
        points = self.window * self.subsamples + 2
        return points**2 * (24 if self.dtype == torch.float64 else 12)

    def _exceeds_budget(self, planes: int) -> bool:
        return torch.is_grad_enabled() and planes * self._plane_bytes > self.budget

    def _pixels(
        self,
        layers: list[tuple[Tensor, Tensor]],
        wave: Tensor,
        curvature: Tensor,
        object_distances: list[float],
        field: tuple[float, float],
    ) -> Tensor:
        """Energy on every binned pixel (D, W, window, window)."""
        parts = self.subsamples
        count = self.window * parts + 2  # one beyond each side, see _pixel_sums
        pitch = self.sensor.pitch / parts
        place = Place(wave, self.sensor_distance, (count, count), pitch)
        samples = self._lens_samples(wave)
        lens = self._lens_factor(wave, object_distances[0], field, samples)
        if self.mask.radial and lens is None and not self.gap and field == (0.0, 0.0):
            intensity = symmetric_intensity(
                self.mask, self.aperture_diameter, place, curvature, dtype=self.dtype
            )
        else:
            oblique = self.mask.obliquity(wave, _sine(field)) if any(field) else 1.0
            tilted = [(height, rate * oblique) for height, rate in layers]
            amplitude = self.aperture.to(self.dtype)
            pupil = mask_field(self.mask, tilted, amplitude, always=self.gap > 0)
            if pupil is not None:
                if self.gap:  # the wave is as curved as its object is near already at the mask
                    vergence = 1 / object_distances[0]
                    pupil = cross_gap(
                        pupil,
                        spacing=self.mask.cell,
                        wavelength=wave,
                        gap=self.gap,
                        samples=samples,
                        vergence=vergence,
                    )
                    curvature = curvature - vergence
                intensity = pupil_intensity(pupil, lens, self.mask.cell, place, curvature)
            else:
                intensity = relief_spots(
                    tilted[0][0],
                    turns_per_metre=tilted[0][1],
                    amplitude=amplitude if lens is None else amplitude * lens,
                    spacing=self.mask.cell,
                    wavelength=wave,
                    distance=self.sensor_distance,
                    points=place.points,
                    pitch=pitch,
                    curvature=curvature,
                )
        sums = self._pixel_sums(wave).to(intensity)
        return sums.mT @ (intensity @ sums) * pitch**2

    def _lens_samples(self, wave: Tensor) -> int:
        """Count samples across the lens: the stop and, behind a gap, its steepest light."""
        steepest = min(0.9, float(wave.max()) / (2 * self.mask.cell))
        reach = self.gap * steepest / math.sqrt(1 - steepest**2)
        return self.mask.samples + 2 * math.ceil(reach / self.mask.cell)

    def _lens_factor(
        self, wave: Tensor, object_distance: float, field: tuple[float, float], samples: int
    ) -> Tensor | None:
        """Lens where the beam of a field point crosses it: (1, N, N), complex (W, N, N) or 1."""
        line = coordinates(samples, self.mask.cell, device=self.aperture.device)
        y, x = line[:, None] + self.gap * field[0], line[None, :] + self.gap * field[1]
        passed = self.lens.transmission(y, x, field=field)
        opd = self.lens.opd(
            y,
            x,
            wave.to(y.device),
            field=field,
            object_distance=object_distance,
            sensor_distance=self.sensor_distance,
        )
        if opd is None:
            return None if passed is None else passed[None].to(self.dtype)
        turns = opd / wave.to(opd.device)[:, None, None]
        phasor = cis_turns(turns, dtype=self.dtype)
        return phasor if passed is None else phasor * passed.to(self.dtype)

    def _pixel_sums(self, wave: Tensor) -> Tensor:
        """Weights of the points behind the pixels of one axis, float64 (1 or W, points, window).

        Midpoint rule and its first Euler-Maclaurin term: the slopes at the two sides of the
        pixel, which is why there is one more point beyond each end of the window. Flat cells
        put their own sinc^2 on the points.
        """
        parts = self.subsamples
        first = torch.arange(self.window) * parts
        sums = torch.zeros(self.window * parts + 2, self.window, dtype=torch.float64)
        pixel = torch.arange(self.window)
        for offset in range(parts):
            sums[first + 1 + offset, pixel] = 1.0
        for offset, weight in ((0, 1), (1, -1), (parts, -1), (parts + 1, 1)):
            sums[first + offset, pixel] += weight / 24
        if not self.mask.pixelated:
            return sums[None]
        x = coordinates(len(sums), self.sensor.pitch / parts)
        rate = self.mask.cell / (wave * self.sensor_distance)
        return torch.sinc(rate[:, None] * x).square()[..., None] * sums

    def psf(
        self,
        object_distances: Sequence[float],
        *,
        fields: Sequence[tuple[float, float]] | None = None,
        nodes: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """PSFs per distance and colour channel.

        Parameters
        ----------
        object_distances : sequence of float
            Distances [m].
        fields : sequence of tuple of float, optional
            Field points, tangents (y, x) of their chief rays; the axis if left out.
        nodes : int, optional
            Wavelengths per channel, instead of the camera's own.
        generator : torch.Generator, optional
            Draw the wavelengths from the response instead (unbiased; for training).

        Returns
        -------
        Tensor
            (distance, 3, window, window), or (field, distance, 3, window, window) with `fields`;
            each plane sums to its transmitted energy fraction inside the window.
        """
        bands = self.sensor.bands
        count = nodes or (self.nodes if generator is None else 1)
        if generator is None:
            pairs = [band.nodes(count) for band in bands]
        else:
            share = torch.full((count,), 1 / count, dtype=torch.float64)
            pairs = [(band.draw(generator, count), share) for band in bands]
        points = [(0.0, 0.0)] if fields is None else fields
        planes = []
        for waves, weights in pairs:
            spots = self.spots(object_distances, waves, fields=points)
            planes.append(torch.einsum("w,fdwhv->fdhv", weights.to(spots), spots))
        stack = torch.stack(planes, dim=2)
        return stack[0] if fields is None else stack


def _sine(field: tuple[float, float]) -> float:
    """Sine of a chief ray with tangents `field`."""
    tangent = math.hypot(*field)
    return tangent / math.hypot(1.0, tangent)
