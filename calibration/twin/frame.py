"""From waves in the pupil to points behind the pixels of a window, and to the pixels."""

from dataclasses import dataclass

import torch
from torch import Tensor

from calibration.twin.pupil import Values
from optics.camera import Camera
from optics.grids import coordinates
from optics.propagation import cis_turns
from optics.propagation.lines import LineGeometry, Lines, Workspace, line_transform


@dataclass(frozen=True)
class Window:
    """Pixels on which light is wanted: all of a rectangle, or strips of its rows.

    Attributes
    ----------
    shape : tuple of int
        Pixels (rows, columns) of the rectangle.
    pitch : float
        Their distance [m].
    centre : tuple of float
        Where their middle lies from the image of the point, (y, x) [m].
    strips : tuple of int, optional
        First rows of the strips.
    height : int
        Rows of a strip.
    """

    shape: tuple[int, int]
    pitch: float
    centre: tuple[float, float]
    strips: tuple[int, ...] = ()
    height: int = 0

    def rows(self) -> Tensor:
        """Places (S, rows) down from the middle; one strip of all rows where there are none [m]."""
        line = coordinates(self.shape[0], self.pitch)
        if not self.strips:
            return line[None]
        return torch.stack([line[first : first + self.height] for first in self.strips])


class Frame:
    """Points behind the pixels of a window, and a point beyond each end.

    Parameters
    ----------
    camera : Camera
        The design with unbinned pixels.
    values : mapping
        `focus`.
    window : Window
        The pixels.
    parts : int
        Points per pixel and axis.

    Attributes
    ----------
    points : tuple of int
        (S, P, Q): strips, rows and columns.
    rows, columns : Tensor
        Places (S, rows) and (columns,) of the pixels from the middle of the window [m].
    distance : float
        From the lens [m].
    """

    def __init__(self, camera: Camera, values: Values, window: Window, parts: int) -> None:
        self.distance = camera.sensor_distance + values["focus"]
        self.window, self.cell, self.pixelated = window, camera.mask.cell, camera.mask.pixelated
        self.parts = parts
        self.pitch = window.pitch / self.parts
        self.rows, self.columns = window.rows(), coordinates(window.shape[1], window.pitch)
        rows, columns = (n * self.parts + 2 for n in (self.rows.shape[1], len(self.columns)))
        self.points = len(self.rows), rows, columns

    def lines(self) -> tuple[Tensor, Tensor]:
        """Places (S, P) and (Q,) of the points from the middle of the window [m]."""
        down, across = (coordinates(n, self.pitch) for n in self.points[1:])
        return self.rows.mean(1, keepdim=True) + down, across

    def pixels(self, intensity: Tensor) -> Tensor:
        """Integrate (S, P, Q) over the pixels, float64 (S, rows, columns).

        As the camera does: the midpoint rule with its first Euler-Maclaurin term, the slopes at
        both sides of a pixel.
        """
        return _sum_rows(_sum_rows(intensity, self.parts).mT, self.parts).mT.double() * (
            self.pitch**2
        )


class Transform:
    """From waves (N, N) of one wavelength to the points of a frame, again and again.

    What `optics.propagation.to_sensor` does, its vectors and memory kept; few rows are a matrix
    product, all strips at once.

    Parameters
    ----------
    frame : Frame
        The points.
    wavelength : Tensor
        Float64, one [m].
    samples : int
        Samples N of the waves.
    dtype : torch.dtype
        Of the waves.
    """

    def __init__(self, frame: Frame, wavelength: Tensor, samples: int, dtype: torch.dtype) -> None:
        self._rate = frame.cell / (float(wavelength) * frame.distance)
        self._frame, self._samples, self._dtype = frame, samples, dtype
        self._work = Workspace()
        window = frame.window
        self._across = self._chirp(frame.points[2], window.centre[1])
        down, across = frame.lines()
        scale = self._rate * frame.cell
        if window.strips:
            place = (down + window.centre[0]).flatten()[:, None]
            turns = -self._rate * place * coordinates(samples, 1.0)
            self._rows = scale * cis_turns(turns, dtype=dtype.to_real())
        else:
            self._down = self._chirp(frame.points[1], window.centre[0])
        #: Energy (S, P, Q) or a number by which intensities count: scale and sinc^2 of flat cells.
        self.weight = torch.tensor(1.0 if window.strips else scale**2, dtype=dtype.to_real())
        if frame.pixelated:
            # about the image, wherever the window lies: there the lens sends what cells spread
            down, across = (
                torch.sinc(self._rate * (line + middle)).square()
                for line, middle in zip((down, across), window.centre, strict=True)
            )
            self.weight = (self.weight * down[:, :, None] * across).to(dtype.to_real())

    def _chirp(self, points: int, centre: float) -> Lines:
        frame = self._frame
        geometry = LineGeometry(
            self._samples, points, (self._rate * frame.pitch,), ((0.0,),), centre / frame.pitch
        )
        return line_transform(geometry, "chirp", torch.device("cpu"), self._dtype)

    def field(self, wave: Tensor) -> Tensor:
        """Field (S, P, Q) of a wave (N, N), short of the root of `weight`."""
        if self._frame.window.strips:
            lines = self._rows @ wave
        else:
            lines = self._along(self._down, wave.mT).mT
        return self._along(self._across, lines).reshape(self._frame.points)

    def _along(self, line: Lines, waves: Tensor) -> Tensor:
        every = slice(None)
        return line.forward(waves[None, None], every, every, self._work)[0, 0]


def _sum_rows(intensity: Tensor, parts: int) -> Tensor:
    """Sum the points of each pixel along the rows' direction."""
    inner = intensity[:, 1:-1].reshape(len(intensity), -1, parts, intensity.shape[2])
    before, after = intensity[:, :-2:parts], intensity[:, parts + 1 :: parts]
    ends = before - inner[:, :, 0] - inner[:, :, -1] + after
    return inner.sum(2) + ends / 24
