r"""One axis of the pupil-to-sensor transform.

Each class maps lines of N pupil samples to P points on the sensor,

.. math:: U_m = \sum_n e^{2 \pi i b n^2} \, e^{-2 \pi i r m n} \, p_n

with a rate r [turns] per wavelength and a bend b [turns] per wavelength and distance: whatever is
quadratic in the pupil coordinate (defocus, source curvature, lens) separates into the two axes, so
it costs a vector and not a plane. Both classes also have the adjoint. n and m are counted from
the centres of their grids.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from optics.propagation.phasor import cis_turns


@dataclass(frozen=True)
class LineGeometry:
    """What a transform of lines depends on; hashable, so that its vectors are made once.

    Attributes
    ----------
    samples, points : int
        Samples in, points out.
    rates : tuple of float
        Turns per sample and point, by wavelength.
    bends : tuple of tuple of float
        Turns per squared sample, by distance and wavelength.
    shift : float
        Position of the centre of the points, in points from the axis.
    """

    samples: int
    points: int
    rates: tuple[float, ...]
    bends: tuple[tuple[float, ...], ...]
    shift: float = 0.0

    def inputs(self) -> Tensor:
        """Sample numbers from the centre (N,), float64."""
        return torch.arange(self.samples, dtype=torch.float64) - (self.samples - 1) / 2

    def outputs(self) -> Tensor:
        """Point numbers from the axis (P,), float64."""
        centre = (self.points - 1) / 2 - self.shift
        return torch.arange(self.points, dtype=torch.float64) - centre


class Workspace:
    """Planes that are used over and over; fresh memory costs more than the arithmetic on it."""

    def __init__(self) -> None:
        self._planes: dict[tuple[object, ...], Tensor] = {}

    def zeros(self, name: str, shape: torch.Size, like: Tensor) -> Tensor:
        """Plane `name`, zero when it is made; the same one for the same shape."""
        key = (name, shape)
        if key not in self._planes:
            self._planes[key] = like.new_zeros(shape)
        return self._planes[key]


class Lines(Protocol):
    """A transform of lines and its adjoint; `d` and `w` choose distances and wavelengths."""

    def forward(self, lines: Tensor, d: slice, w: slice, work: Workspace) -> Tensor:
        """(..., 1 or D, W, H, N) -> (..., D, W, H, P)."""

    def adjoint(self, lines: Tensor, d: slice, w: slice, work: Workspace) -> Tensor:
        """(..., D, W, H, P) -> (..., D, W, H, N)."""


class ChirpLines:
    """Chirp-z transform: three short FFTs' worth of work whatever the rate (Bluestein 1970)."""

    def __init__(self, geometry: LineGeometry, device: torch.device, dtype: torch.dtype) -> None:
        self.geometry = geometry
        self.length = next_fast_len(geometry.samples + geometry.points - 1)
        rates = torch.tensor(geometry.rates, dtype=torch.float64)[:, None]
        bends = torch.tensor(geometry.bends, dtype=torch.float64)[..., None]
        n, m = geometry.inputs(), geometry.outputs()
        # m - n for every pair that occurs, laid out so that the circular sum is the linear one
        lag = torch.arange(self.length, dtype=torch.float64)
        lag = torch.where(lag < geometry.points, lag, lag - self.length) + m[0] - n[0]
        kernel = torch.fft.fft(cis_turns(0.5 * rates * lag**2)) / self.length
        self.first = cis_turns((bends - 0.5 * rates) * n**2)[:, :, None, :].to(device, dtype)
        self.kernel = kernel[:, None, :].to(device, dtype)
        self.last = cis_turns(-0.5 * rates * m**2)[:, None, :].to(device, dtype)
        # the adjoint runs the same sum backwards
        self.first_conj, self.kernel_conj, self.last_conj = (
            t.conj().resolve_conj() for t in (self.first, self.kernel, self.last)
        )

    def forward(self, lines: Tensor, d: slice, w: slice, work: Workspace) -> Tensor:
        """(..., 1 or D, W, H, N) -> (..., D, W, H, P)."""
        out = self._convolve(lines, self.first[d, w], self.kernel[w], work)
        return out[..., : self.geometry.points] * self.last[w]

    def adjoint(self, lines: Tensor, d: slice, w: slice, work: Workspace) -> Tensor:
        """(..., D, W, H, P) -> (..., D, W, H, N)."""
        out = self._convolve(lines, self.last_conj[w], self.kernel_conj[w], work)
        return out[..., : self.geometry.samples] * self.first_conj[d, w]

    def _convolve(self, lines: Tensor, chirp: Tensor, kernel: Tensor, work: Workspace) -> Tensor:
        shape = torch.broadcast_shapes(lines.shape, chirp.shape)  # type: ignore[no-untyped-call]
        count = shape[-1]
        padded = work.zeros(f"padded {count}", torch.Size((*shape[:-1], self.length)), chirp)
        torch.mul(lines, chirp, out=padded[..., :count])  # beyond it the plane stays zero
        # unscaled transforms only: a scaled one of 2048 x 2048 is wrong in some builds of torch
        spectrum = torch.fft.fft(padded).mul_(kernel)
        out: Tensor = torch.fft.ifft(spectrum, norm="forward")
        return out


class MatrixLines:
    """Matrix Fourier transform (Soummer et al., Opt. Express 15, 15935 (2007))."""

    def __init__(self, geometry: LineGeometry, device: torch.device, dtype: torch.dtype) -> None:
        rates = torch.tensor(geometry.rates, dtype=torch.float64)[:, None, None]
        bends = torch.tensor(geometry.bends, dtype=torch.float64)[..., None, None]
        n, m = geometry.inputs(), geometry.outputs()
        waves = cis_turns(-rates * (n[:, None] * m))
        self.bend = cis_turns(bends[..., 0] * n**2)[:, :, None, :].to(device=device, dtype=dtype)
        self.waves = waves.to(device=device, dtype=dtype)
        self.bend_conj = self.bend.conj().resolve_conj()
        self.waves_adjoint = self.waves.mH.contiguous()

    def forward(self, lines: Tensor, d: slice, w: slice, work: Workspace) -> Tensor:
        """(..., 1 or D, W, H, N) -> (..., D, W, H, P)."""
        return (lines * self.bend[d, w]) @ self.waves[w]

    def adjoint(self, lines: Tensor, d: slice, w: slice, work: Workspace) -> Tensor:
        """(..., D, W, H, P) -> (..., D, W, H, N)."""
        return (lines @ self.waves_adjoint[w]) * self.bend_conj[d, w]


@lru_cache(maxsize=64)
def line_transform(
    geometry: LineGeometry, method: str, device: torch.device, dtype: torch.dtype
) -> Lines:
    """Transform of one axis; kept, because its vectors take as long to make as to use.

    Raises
    ------
    ValueError
        `method` is neither "chirp" nor "matrix".
    """
    if method not in ("chirp", "matrix"):
        raise ValueError(f"method = {method!r}, expected 'auto', 'chirp' or 'matrix'")
    kind = ChirpLines if method == "chirp" else MatrixLines
    return kind(geometry, device, dtype)


def cheaper(lines: int, samples: int, points: int) -> str:
    """Return the faster method for `lines` lines of `samples` samples to `points` points.

    Cost table: on CPUs a complex product runs an order of magnitude faster per operation than
    an FFT, which waits for memory; measured between 64 and 2048 samples (`./lab benchmark
    optics`), the product wins up to about 48 points.
    """
    length = next_fast_len(samples + points - 1)
    by_chirp = lines * length * (10 * math.log2(length) + 30)
    by_matrix = lines * samples * points * 8 * MATRIX_ADVANTAGE
    return "matrix" if by_matrix < by_chirp else "chirp"


#: Time per operation of a complex matrix product, relative to that of an FFT.
MATRIX_ADVANTAGE = 0.3
