r"""A camera as it was made: measured PSFs and measured noise in the place of the designed ones.

Measured were some distances. Between them only what the design does not explain is interpolated,

.. math:: p(d) = p_\mathrm{design}(d) + \sum_k w_k(1/d) \,
          \big( p_\mathrm{measured}(d_k) - p_\mathrm{design}(d_k) \big)

with linear weights in 1/d, in which defocus is linear; where that is negative there is no light,
and every colour keeps the energy of the design, because no source tells how much light there was.
"""

import bisect
import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from calibration.errors import CalibrationError
from calibration.noise.model import NoiseModel
from calibration.uncertainty import Uncertain
from optics.camera import Camera
from optics.sensor import Sensor

_REACH = 1e-3  # relative: how far beyond the measured distances counts as on the last one


class CalibratedCamera(nn.Module):
    """A made camera; stands where an `optics.Camera` stands, its mask cannot be learned.

    Parameters
    ----------
    design : Camera
        What was meant, with the sensor as measured: gives the scale, and the PSFs between the
        measured distances.
    distances : sequence of float
        Where it was measured, rising [m].
    psfs : Tensor
        (D, 3, window, window) at those distances, energy fractions on binned pixels.

    Notes
    -----
    For a wrapped relief with a spot of 18 mrad, etched 3 % too deep, six distances from 0.75 m to
    3 m, even in 1/d, bring the PSFs midway to within 1.8 % of the true ones (relative L2);
    interpolating the measured PSFs themselves would, to within 2.9 %.
    """

    distances: Tensor
    psfs: Tensor
    surplus: Tensor

    def __init__(self, design: Camera, distances: Sequence[float], psfs: Tensor) -> None:
        super().__init__()
        shape = (len(distances), 3, design.window, design.window)
        if tuple(psfs.shape) != shape or not distances:
            raise ValueError(
                f"psfs is {tuple(psfs.shape)}, expected {shape}: one PSF for each of the "
                f"{len(distances)} distances, as wide as the window of the design"
            )
        if min(distances) <= 0 or any(b <= a for a, b in itertools.pairwise(distances)):
            raise ValueError(f"distances = {list(distances)} m: positive and rising is needed")
        if not bool(torch.isfinite(psfs).all()):
            raise ValueError("psfs holds values that are not finite")
        self.design = design
        self.near, self.far = float(distances[0]), float(distances[-1])
        self.register_buffer("distances", torch.tensor([*distances], dtype=torch.float64))
        self.register_buffer("psfs", psfs.to(design.aperture.device, design.dtype))
        self.register_buffer("surplus", self.psfs - self._designed(distances))

    @property
    def sensor(self) -> Sensor:
        """Sensor as measured."""
        return self.design.sensor

    def image_size(self, object_size: float, object_distance: float) -> float:
        """Size on the sensor of something `object_size` [m] large, in binned pixels."""
        return self.design.image_size(object_size, object_distance)

    def reaches(self, distance: float) -> bool:
        """Return whether a distance [m] lies within those that were measured."""
        return self.near * (1 - _REACH) <= distance <= self.far * (1 + _REACH)

    def check_distance(self, distance: float) -> None:
        """Raise CalibrationError unless a distance [m] lies within those that were measured."""
        if not self.reaches(distance):
            raise CalibrationError(
                f"distance = {distance:g} m: PSFs were measured from {self.near:g} m to "
                f"{self.far:g} m and say nothing beyond; stay within, or capture a stack that "
                f"reaches there (plan.nearest, plan.farthest)"
            )

    def psf(
        self,
        object_distances: Sequence[float],
        *,
        fields: Sequence[tuple[float, float]] | None = None,
        nodes: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """PSFs per distance and colour channel, as `optics.Camera.psf` returns them.

        Parameters
        ----------
        object_distances : sequence of float
            Distances within those that were measured [m].
        fields : sequence of tuple of float, optional
            The axis alone; other fields were not measured.
        nodes, generator
            Of no effect: light was measured as it came, not at chosen wavelengths.

        Raises
        ------
        CalibrationError
            A distance or a field lies where nothing was measured.
        """
        if fields is not None and any(any(field) for field in fields):
            raise CalibrationError(
                f"fields = {list(fields)}: the PSFs were measured on the axis alone; give (0, 0)"
            )
        with torch.no_grad():
            spots = self._designed(object_distances)
            energy = spots.sum((-2, -1), keepdim=True)
            added = torch.stack([self._surplus(distance) for distance in object_distances])
            made = (spots + added).clamp(min=0)
            stack = made * (energy / made.sum((-2, -1), keepdim=True))
        return stack if fields is None else stack.expand(len(fields), *stack.shape)

    def _designed(self, distances: Sequence[float]) -> Tensor:
        with torch.no_grad():
            return self.design.psf(distances)

    def _surplus(self, distance: float) -> Tensor:
        """Return what the design does not explain at a distance (3, h, w)."""
        self.check_distance(distance)
        known = self.distances.tolist()
        after = min(max(bisect.bisect(known, distance), 1), len(known) - 1)
        if after < 1:
            return self.surplus[0]
        left, right = 1 / known[after - 1], 1 / known[after]
        weight = min(max((left - 1 / distance) / (left - right), 0.0), 1.0)
        return torch.lerp(self.surplus[after - 1], self.surplus[after], weight)


def measured_sensor(sensor: Sensor, noise: NoiseModel) -> Sensor:
    """Return a sensor with what was measured of it in the place of its data sheet.

    Gains, black levels and wells are means over the colour planes, noises root mean squares; the
    dark current is that of the worst plane. What was not measured (a full well that no exposure
    reached, non-uniformity without flats) stays.

    Parameters
    ----------
    sensor : Sensor
        As it was designed with.
    noise : NoiseModel
        Of the mode that it is used in.

    Raises
    ------
    CalibrationError
        The mode is another one.
    """
    if noise.bits != sensor.bits or bool(noise.cfa) != sensor.coloured:
        raise CalibrationError(
            f"the sensor was measured in mode {noise.mode} ({noise.bits} bit, "
            f"{noise.cfa or 'monochrome'}), the camera was designed for {sensor.bits} bit, "
            f"{sensor.cfa if sensor.coloured else 'monochrome'}: calibrate in that mode"
        )
    found: dict[str, Any] = {"dark_current": max(0.0, *_values(noise, "dark_current"))}
    for name in ("system_gain", "black_level", "full_well"):
        if values := _values(noise, name):
            found[name] = sum(values) / len(values)
    for name in ("read_noise", "row_noise", "prnu", "dsnu"):
        if values := _values(noise, name):
            found[name] = math.sqrt(sum(v**2 for v in values) / len(values))
    return replace(sensor, cfa=noise.cfa or sensor.cfa, **found)


def _values(noise: NoiseModel, name: str) -> list[float]:
    every: list[Uncertain | None] = [getattr(plane, name) for plane in noise.planes.values()]
    return [one.value for one in every if one is not None]
