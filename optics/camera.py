"""A camera: aperture, mask, lens and sensor at one focus; its PSFs on its own pixels.

Thin mask in the aperture plane of a thin lens, scalar, paraxial, on axis. The scene is described
in image coordinates: upright, x along the columns; a mask that tilts light towards +x moves the
image of a point to larger columns.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from optics.grids import coordinates, disc_coverage, squared_radius
from optics.lens import ThinLens
from optics.masks.base import Mask
from optics.propagation import cis, to_sensor
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
    lens : ThinLens
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

    Notes
    -----
    Light that lands outside the window is lost to the simulation: the PSF then sums to less
    than 1, and `optics.quality.energy_inside` says by how much.
    """

    aperture: Tensor
    radius2: Tensor

    def __init__(
        self,
        *,
        aperture_diameter: float,
        lens: ThinLens,
        mask: Mask,
        sensor: Sensor,
        focus_distance: float,
        window: int = 127,
        nodes: int = 5,
        double: bool = False,
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
        if mask.samples * mask.cell < aperture_diameter * (1 - 1e-9):
            raise ValueError(
                f"mask is {mask.samples * mask.cell:g} m wide, aperture_diameter = "
                f"{aperture_diameter:g} m: the mask must cover the aperture"
            )
        shape = (mask.samples, mask.samples)
        self.register_buffer(
            "aperture", disc_coverage(shape, mask.cell, aperture_diameter), persistent=False
        )
        self.register_buffer("radius2", squared_radius(shape, mask.cell), persistent=False)
        self._check_window()

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
        shortest = min(band.centre - 2 * band.width for band in self.sensor.bands)
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
        shortest = min(band.centre - 2 * band.width for band in self.sensor.bands)
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

    def spot(self, object_distance: float, wavelength: Tensor) -> Tensor:
        """Monochromatic PSFs of an axial point, integrated over binned pixels.

        Parameters
        ----------
        object_distance : float
            Distance of the point [m].
        wavelength : Tensor
            (W,) vacuum wavelengths [m].

        Returns
        -------
        Tensor
            (W, window, window); each sums to the share of the transmitted energy that lands in
            the window.
        """
        wave = wavelength.to("cpu", torch.float64)
        curvature = self.defocus(object_distance, wave)
        self._check_defocus(curvature, wave)
        radius2, aperture = self.radius2, self.aperture
        pupil = self.mask.phasor(wave, dtype=self.dtype)
        if float(curvature.abs().max()) > 0:
            rate = (curvature / (2 * wave)).to(radius2.device)
            turns = (rate[:, None, None] * radius2).remainder(1.0)
            pupil = pupil * cis(2 * math.pi * turns.to(pupil.real.dtype))
        pupil = pupil * aperture.to(pupil.real.dtype)
        # one wavelength at a time where memory traffic is what takes the time
        step = 1 if pupil.device.type == "cpu" else len(wave)
        parts = [slice(first, first + step) for first in range(0, len(wave), step)]
        spots = [self._pixels(pupil[part], wave[part]) for part in parts]
        energy = float(aperture.square().sum()) * self.mask.cell**2
        return torch.cat(spots) / energy

    def _pixels(self, pupil: Tensor, wave: Tensor) -> Tensor:
        """Energy on every binned pixel behind `pupil` (W, N, N): (W, window, window)."""
        parts = self.subsamples
        pitch = self.sensor.pitch / parts
        points = self.window * parts + 2  # one beyond each side, see _sum_pixels
        field = to_sensor(
            pupil,
            spacing=self.mask.cell,
            wavelength=wave,
            distance=self.sensor_distance,
            points=(points, points),
            pitch=pitch,
        )
        intensity = field.real.square() + field.imag.square()
        if self.mask.pixelated:
            intensity = intensity * self._cell_envelope(wave, points, pitch).to(intensity)
        rows = self._sum_pixels(intensity, parts)
        return self._sum_pixels(rows.transpose(-1, -2), parts).transpose(-1, -2) * pitch**2

    def _sum_pixels(self, intensity: Tensor, parts: int) -> Tensor:
        """Integrate the last axis over pixels of `parts` points: (..., points) -> (..., window).

        Midpoint rule and its first Euler-Maclaurin term: the slopes at the two sides of the
        pixel, which is why one more point is needed beyond the window.
        """
        inner = intensity[..., 1:-1].reshape(*intensity.shape[:-1], self.window, parts).sum(-1)
        span = (self.window - 1) * parts + 1
        before, first, last, after = (
            intensity[..., start : start + span : parts] for start in (0, 1, parts, parts + 1)
        )
        return inner + (after - last - first + before) / 24

    def _cell_envelope(self, wavelength: Tensor, points: int, pitch: float) -> Tensor:
        """Intensity envelope of one flat square cell, sinc^2 sinc^2: (W, points, points)."""
        x = coordinates(points, pitch)
        rate = self.mask.cell / (wavelength * self.sensor_distance)
        line = torch.sinc(rate[:, None] * x).square()
        return line[:, :, None] * line[:, None, :]

    def psf(
        self,
        object_distances: Sequence[float],
        *,
        nodes: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """PSFs of axial points per distance and colour channel.

        Parameters
        ----------
        object_distances : sequence of float
            Distances [m].
        nodes : int, optional
            Wavelengths per channel, instead of the camera's own.
        generator : torch.Generator, optional
            Draw the wavelengths from the response instead (unbiased; for training).

        Returns
        -------
        Tensor
            (distance, 3, window, window); each plane sums to its transmitted energy fraction
            inside the window.
        """
        bands = self.sensor.bands
        if generator is None:
            pairs = [band.nodes(nodes or self.nodes) for band in bands]
        else:
            count = nodes or 1
            share = torch.full((count,), 1 / count, dtype=torch.float64)
            pairs = [(band.draw(generator, count), share) for band in bands]
        stack = []
        for distance in object_distances:
            planes = []
            for waves, weights in pairs:
                spots = self.spot(distance, waves)
                planes.append(torch.einsum("w,whv->hv", weights.to(spots), spots))
            stack.append(torch.stack(planes))
        return torch.stack(stack)
