"""Spectral response of a colour channel: a density over wavelength, lens and filters included.

A response is anything with `nodes` (quadrature), `draw` (random wavelengths), its mean, its
deviation and its ends. Only its shape matters: the level is the sensor's exposure.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from optics.units import check_count, check_length, check_positive


class SpectralResponse(Protocol):
    """What a camera asks of a colour channel; wavelengths in vacuum [m]."""

    @property
    def centre(self) -> float:
        """Mean wavelength [m]."""

    @property
    def width(self) -> float:
        """Standard deviation [m]."""

    @property
    def shortest(self) -> float:
        """No node or draw is below it [m]."""

    @property
    def longest(self) -> float:
        """No node or draw is above it [m]."""

    def shifted(self, by: float) -> "SpectralResponse":
        """Return the response moved by `by` [m] towards longer wavelengths."""

    def nodes(self, count: int) -> tuple[Tensor, Tensor]:
        """`count` wavelengths [m] and their weights (sum 1), float64 on the CPU."""

    def draw(self, generator: torch.Generator, count: int = 1) -> Tensor:
        """Random wavelengths whose plain mean estimates the mean over the response (count,)."""


@dataclass(frozen=True)
class Band:
    """Spectral response of one colour channel: a normal density over wavelength.

    Attributes
    ----------
    centre : float
        Mean wavelength, lens, filter and silicon together [m].
    width : float
        Standard deviation [m].
    """

    centre: float
    width: float

    def __post_init__(self) -> None:
        check_length("wavelength", self.centre)
        check_positive("width", self.width, "m")

    @property
    def shortest(self) -> float:
        """Lower end, -2 standard deviations [m]."""
        return self.centre - 2 * self.width

    @property
    def longest(self) -> float:
        """Upper end, +2 standard deviations [m]."""
        return self.centre + 2 * self.width

    def nodes(self, count: int) -> tuple[Tensor, Tensor]:
        """`count` wavelengths [m] and weights (sum 1) over +-2 standard deviations, float64.

        Midpoints of equal steps in wavelength: what is integrated oscillates with wavelength,
        so equal steps beat a Gauss rule of the same size.
        """
        check_count("count", count)
        offset = ((torch.arange(count, dtype=torch.float64) + 0.5) / count * 2 - 1) * 2
        weight = torch.exp(-(offset**2) / 2)
        return self.centre + self.width * offset, weight / weight.sum()

    def shifted(self, by: float) -> "Band":
        """Return the response moved by `by` [m] towards longer wavelengths."""
        return Band(self.centre + by, self.width)

    def draw(self, generator: torch.Generator, count: int = 1) -> Tensor:
        """Random wavelengths from the response, cut at +-2 standard deviations (count,) [m].

        One from each of `count` equally likely parts, so that their plain mean is an unbiased
        and steady estimate of the mean over the response.
        """
        check_count("count", count)
        low = math.erfc(2 / math.sqrt(2)) / 2  # share of the density below -2
        shift = torch.rand((), generator=generator, dtype=torch.float64)
        share = (torch.arange(count, dtype=torch.float64) + shift) / count
        offset: Tensor = torch.special.ndtri(low + (1 - 2 * low) * share)
        return self.centre + self.width * offset


@dataclass(frozen=True)
class TableBand:
    """Spectral response by a table: straight lines between the entries, nothing outside.

    Attributes
    ----------
    wavelengths : sequence of float
        Two or more, rising [m].
    values : sequence of float
        Relative response at each (electrons per photon or per energy, as the light source is
        given), zero or more, not all zero; the scale has no meaning.
    """

    wavelengths: Sequence[float]
    values: Sequence[float]

    def __post_init__(self) -> None:
        # tuples of plain floats, whatever was given: comparable, and nobody changes them later
        object.__setattr__(self, "wavelengths", tuple(float(w) for w in self.wavelengths))
        object.__setattr__(self, "values", tuple(float(v) for v in self.values))
        waves, values = self.wavelengths, self.values
        if len(waves) != len(values) or len(waves) < 2:
            raise ValueError(
                f"wavelengths and values have {len(waves)} and {len(values)} entries: one value "
                f"per wavelength and at least two are needed"
            )
        for wave in waves:
            check_length("wavelength", wave)
        for before, after in pairwise(waves):
            if after <= before:
                raise ValueError(
                    f"wavelengths: {after:g} m follows {before:g} m; sort the table by rising "
                    f"wavelength, each once"
                )
        for wave, value in zip(waves, values, strict=True):
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(
                    f"values: {value:g} at {wave:g} m; a response is a number of at least zero "
                    f"(set measured noise below zero to zero)"
                )
        if max(values) == 0:
            raise ValueError("values: all are zero; a channel that sees no light has no colour")

    @property
    def centre(self) -> float:
        """Mean wavelength [m]."""
        x, _, area, moment, _ = self._segments()
        return float(x[0] + moment.sum() / area.sum())

    @property
    def width(self) -> float:
        """Standard deviation [m]."""
        _, _, area, moment, square = self._segments()
        mean = moment.sum() / area.sum()
        return float((square.sum() / area.sum() - mean**2).sqrt())

    @property
    def shortest(self) -> float:
        """Wavelength below which the response is zero [m]."""
        first = next(i for i, value in enumerate(self.values) if value > 0)
        return self.wavelengths[max(first - 1, 0)]

    @property
    def longest(self) -> float:
        """Wavelength above which the response is zero [m]."""
        last = max(i for i, value in enumerate(self.values) if value > 0)
        return self.wavelengths[min(last + 1, len(self.wavelengths) - 1)]

    def shifted(self, by: float) -> "TableBand":
        """Return the response moved by `by` [m] towards longer wavelengths."""
        return TableBand([wave + by for wave in self.wavelengths], self.values)

    def nodes(self, count: int) -> tuple[Tensor, Tensor]:
        """`count` wavelengths [m] and equal weights (sum 1), float64.

        The response is cut into `count` parts of equal energy and each gets one node at its own
        mean wavelength: the integral of the table and its mean wavelength are exact at any
        count. Equal energy and not equal steps, because a measured table has long weak tails,
        on which equal steps would spend most of their nodes.
        """
        check_count("count", count)
        share = torch.arange(count + 1, dtype=torch.float64) / count
        moment = self._moment_below(share)
        mean = (moment[1:] - moment[:-1]) * count
        weight = torch.full((count,), 1 / count, dtype=torch.float64)
        return self.wavelengths[0] + mean, weight

    def draw(self, generator: torch.Generator, count: int = 1) -> Tensor:
        """Random wavelengths from the response (count,) [m], one from each equally likely part."""
        check_count("count", count)
        shift = torch.rand((), generator=generator, dtype=torch.float64)
        return self._quantile((torch.arange(count, dtype=torch.float64) + shift) / count)[0]

    def _segments(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Wavelengths, values; per segment the integrals of v, v x and v x^2, x from the first."""
        wave = torch.tensor(self.wavelengths, dtype=torch.float64)
        value = torch.tensor(self.values, dtype=torch.float64)
        x0, step = wave[:-1] - wave[0], wave.diff()
        low, rise = value[:-1], value.diff()
        area = step * (low + rise / 2)
        first = step**2 * (low / 2 + rise / 3)
        second = step**3 * (low / 3 + rise / 4)
        return wave, value, area, x0 * area + first, x0**2 * area + 2 * x0 * first + second

    def _quantile(self, share: Tensor) -> tuple[Tensor, Tensor]:
        """Wavelength below which `share` of the energy lies, and the segment it is in."""
        wave, value, area, _, _ = self._segments()
        total = torch.cat([area.new_zeros(1), area.cumsum(0)])
        wanted = share.clamp(0, 1) * total[-1]
        index = torch.searchsorted(total, wanted, right=True).sub(1).clamp(0, len(area) - 1)
        step = wave.diff()[index]
        low, rise = value[index], (value.diff() / wave.diff())[index]
        rest = (wanted - total[index]).clamp(min=0)
        # low t + rise t^2 / 2 = rest, in the form that does not cancel for a small rise
        root = (low.square() + 2 * rise * rest).clamp(min=0).sqrt()
        t = 2 * rest / (low + root).clamp(min=torch.finfo(torch.float64).tiny)
        return wave[index] + torch.minimum(t, step), index

    def _moment_below(self, share: Tensor) -> Tensor:
        """Integral of (x - first) over the density up to each quantile, of total energy 1."""
        wave, value, area, moment, _ = self._segments()
        end, index = self._quantile(share)
        t = end - wave[index]
        low, rise = value[index], (value.diff() / wave.diff())[index]
        begin = wave[index] - wave[0]
        part = begin * (low * t + rise * t**2 / 2) + low * t**2 / 2 + rise * t**3 / 3
        before = torch.cat([moment.new_zeros(1), moment.cumsum(0)])[index]
        return (before + part) / area.sum()


#: Red, green and blue of an IMX477-like sensor behind its infrared filter (approximate).
IMX477_BANDS = (Band(603e-9, 33e-9), Band(533e-9, 37e-9), Band(462e-9, 27e-9))


def imx477_table(leak: float = 0.03) -> tuple[TableBand, TableBand, TableBand]:
    """Red, green and blue tables that resemble an IMX477 behind its infrared filter.

    Generated here, not measured: the normal densities of `IMX477_BANDS`, the side lobes that
    absorptive dyes have (red below 480 nm, green and blue near the infrared edge), an even leak,
    and the edges of the infrared filter (50 % at 650 nm) and of glass (50 % at 405 nm). For a
    camera at hand read its measured table instead.

    Parameters
    ----------
    leak : float
        Response everywhere between the edges, relative to the peak, in [0, 1).
    """
    if not 0 <= leak < 1:
        raise ValueError(f"leak = {leak:g} is outside [0, 1); it is a fraction of the peak")
    side_lobes = ((440e-9, 0.06), (650e-9, 0.08), (640e-9, 0.05))
    waves = [n * 1e-9 for n in range(390, 701, 5)]
    tables = []
    for band, (lobe, height) in zip(IMX477_BANDS, side_lobes, strict=True):
        values = []
        for wave in waves:
            main = math.exp(-(((wave - band.centre) / band.width) ** 2) / 2)
            side = height * math.exp(-(((wave - lobe) / 25e-9) ** 2) / 2)
            infrared = 1 / (1 + math.exp((wave - 650e-9) / 6e-9))
            glass = 1 / (1 + math.exp((405e-9 - wave) / 4e-9))
            values.append((main + side + leak) * infrared * glass)
        values[0] = values[-1] = 0.0
        tables.append(TableBand(waves, values))
    return tables[0], tables[1], tables[2]
