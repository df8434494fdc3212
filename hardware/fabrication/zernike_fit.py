r"""Zernike polynomials in numpy, and the combination of them that is nearest to a map.

.. math::
    Z_n^m = \sqrt{n + 1} \, R_n^{|m|}(\rho) \cdot
    \begin{cases} 1 & m = 0 \\ \sqrt 2 \cos m\theta & m > 0 \\ \sqrt 2 \sin |m|\theta & m < 0
    \end{cases}

has unit RMS over the unit disc (R. J. Noll, J. Opt. Soc. Am. 66, 207 (1976), eqs. 1 to 3). The
angle runs from +x (columns) towards +y (down the rows). In a file with y up the sine modes
(m < 0) change their sign.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hardware.fabrication.design import HeightMap, Map

#: Largest Noll index, radial order 20: beyond it the sums of factorials lose digits.
MOST_NOLL = 231
#: Terms of the Fringe set.
MOST_FRINGE = 37
_SAMPLES = 1024  # along a side: enough for every mode, and a fit of seconds
_BAND = 1 << 18  # samples whose modes are held at a time


def noll_orders(j: int) -> tuple[int, int]:
    """Radial order n and signed azimuthal order m of Noll index `j`, from 1 (piston)."""
    if not 1 <= j <= MOST_NOLL:
        raise ValueError(f"noll index = {j}: 1 to {MOST_NOLL} are allowed")
    n = (math.isqrt(8 * j - 7) - 1) // 2
    place = j - n * (n + 1) // 2 - 1
    m = 2 * ((place + 1) // 2) if n % 2 == 0 else 2 * (place // 2) + 1
    return n, (m if j % 2 == 0 else -m)


def fringe_orders(j: int) -> tuple[int, int]:
    """Radial and azimuthal order of Fringe (University of Arizona) index `j`, 1 to 37."""
    if not 1 <= j <= MOST_FRINGE:
        raise ValueError(f"fringe index = {j}: 1 to {MOST_FRINGE} are allowed")
    if j == MOST_FRINGE:
        return 12, 0
    half = math.isqrt(j - 1)
    place = j - half * half - 1
    m = half - place // 2
    return 2 * half - m, (m if place % 2 == 0 else -m)


def rim_value(n: int, m: int) -> float:
    """Largest value that a mode of unit RMS takes on the rim; Fringe modes take 1 there."""
    return math.sqrt((n + 1) * (2 if m else 1))


def zernike(n: int, m: int, x: Map, y: Map) -> Map:
    """Mode of unit RMS at points in units of the pupil radius.

    Parameters
    ----------
    n, m : int
        Radial order and signed azimuthal order.
    x, y : ndarray
        Positions of shapes that broadcast; y down.
    """
    order = abs(m)
    if order > n or (n - order) % 2:
        raise ValueError(f"m = {m}: with n = {n}, m runs from {-n} to {n} in steps of 2")
    square = x * x + y * y
    half, low = (n - order) // 2, (n + order) // 2
    radial = np.zeros_like(square)
    for k in range(half + 1):  # Horner in rho^2: highest power first
        top = (-1) ** k * math.factorial(n - k)
        below = math.factorial(k) * math.factorial(low - k) * math.factorial(half - k)
        radial = radial * square + top // below
    if order == 0:
        turning = np.ones_like(square)
    else:
        power = (x + 1j * y) ** order
        turning = power.real if m > 0 else power.imag
    return np.asarray(rim_value(n, m) * radial * turning, np.float64)


@dataclass(frozen=True)
class Fit:
    """Modes nearest to a map in the least-squares sense.

    Attributes
    ----------
    orders : tuple of tuple of int
        (n, m) of the modes.
    amplitudes : ndarray
        (J,) RMS contributions over the pupil [m].
    residual : float
        RMS over the pupil of what the modes leave [m].
    rms : float
        RMS of the map about its mean over the pupil [m].
    """

    orders: tuple[tuple[int, int], ...]
    amplitudes: Map
    residual: float
    rms: float


def fit_modes(surface: HeightMap, diameter: float, orders: Sequence[tuple[int, int]]) -> Fit:
    """Least-squares fit of modes (and of piston, which is dropped if it is not asked for).

    Maps of more than 1024 samples on a side are fitted on every k-th sample.

    Parameters
    ----------
    surface : HeightMap
        Map of which the samples within the pupil count.
    diameter : float
        Diameter of the pupil, centred on the map [m].
    orders : sequence of tuple of int
        (n, m) of the modes.

    Raises
    ------
    ValueError
        There are fewer than two samples in the pupil for every mode.
    """
    asked = tuple(orders)
    modes = asked if (0, 0) in asked else ((0, 0), *asked)
    stride = math.ceil(max(surface.shape) / _SAMPLES)
    x, y = (axis[stride // 2 :: stride] / (diameter / 2) for axis in surface.axes())
    height = surface.height[stride // 2 :: stride, stride // 2 :: stride]
    inside = np.hypot(x[None, :], y[:, None]) <= 1
    rows, columns = np.nonzero(inside)
    if len(rows) < 2 * len(modes):
        raise ValueError(
            f"zernike modes = {len(asked)}: the pupil has {len(rows)} samples, at least "
            f"{2 * len(modes)} are needed; use fewer modes or a finer map"
        )
    values = height[inside]
    gram = np.zeros((len(modes), len(modes)))
    right = np.zeros(len(modes))
    for start in range(0, len(rows), _BAND):  # normal equations: nearly orthonormal modes
        band = slice(start, start + _BAND)
        basis = np.stack([zernike(n, m, x[columns[band]], y[rows[band]]) for n, m in modes])
        gram += basis @ basis.T
        right += basis @ values[band]
    # modes that few samples cannot tell apart share their amplitude
    solution = np.linalg.lstsq(gram, right, rcond=1e-12)[0]
    left = 0.0
    for start in range(0, len(rows), _BAND):
        band = slice(start, start + _BAND)
        rest = values[band].copy()
        for (n, m), a in zip(modes, solution, strict=True):
            rest -= a * zernike(n, m, x[columns[band]], y[rows[band]])
        left += float(rest @ rest)
    return Fit(
        orders=asked,
        amplitudes=np.asarray(solution[len(modes) - len(asked) :], np.float64),
        residual=math.sqrt(left / len(rows)),
        rms=float(values.std()),
    )
