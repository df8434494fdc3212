"""Image sensor: colour response, electrons, noise, saturation, digital numbers.

A *measurement* is linear light relative to the scene's white: 1 is what a white surface gives
through a lossless mask that blurs nothing. Exposure is explicit: `white_electrons` is what that
white leaves in one raw pixel. Binning happens after read-out, so every raw pixel pays its own
read and quantisation noise.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from optics.units import check_count, check_fraction, check_length, check_positive


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

    def nodes(self, count: int) -> tuple[Tensor, Tensor]:
        """`count` wavelengths [m] and weights (sum 1) over +-2 standard deviations, float64.

        Midpoints of equal steps in wavelength: what is integrated oscillates with wavelength,
        so equal steps beat a Gauss rule of the same size.
        """
        check_count("count", count)
        offset = ((torch.arange(count, dtype=torch.float64) + 0.5) / count * 2 - 1) * 2
        weight = torch.exp(-(offset**2) / 2)
        return self.centre + self.width * offset, weight / weight.sum()

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


#: Red, green and blue of an IMX477-like sensor behind its infrared filter (approximate).
IMX477_BANDS = (Band(603e-9, 33e-9), Band(533e-9, 37e-9), Band(462e-9, 27e-9))


@dataclass(frozen=True)
class Sensor:
    """Linear CMOS sensor after EMVA 1288, with colour mosaic and digital binning.

    Attributes
    ----------
    pixel_pitch : float
        Side of a raw pixel [m].
    binning : int
        Raw pixels along one side of a binned one.
    bayer : bool
        True: each raw pixel sees one colour (RGGB), so a binned pixel collects a quarter of its
        raw pixels in red and blue and half in green. False: every raw pixel sees every colour.
    full_well : float
        Electrons a raw pixel holds [e-].
    read_noise : float
        Dark temporal noise of a raw pixel [e- rms].
    system_gain : float
        Overall gain [DN/e-].
    black_level : float
        Offset added before digitising [DN].
    bits : int
        Resolution of the converter.
    white_fraction : float
        Scene white as a fraction of the full well.
    bands : sequence of Band
        Response of the colour channels.
    """

    pixel_pitch: float = 1.55e-6
    binning: int = 8
    bayer: bool = True
    full_well: float = 8180.0
    read_noise: float = 3.0
    system_gain: float = 0.47
    black_level: float = 256.0
    bits: int = 12
    white_fraction: float = 0.7
    bands: Sequence[Band] = field(default=IMX477_BANDS)

    def __post_init__(self) -> None:
        check_length("pixel_pitch", self.pixel_pitch)
        check_count("binning", self.binning)
        check_positive("full_well", self.full_well, "e-")
        check_positive("system_gain", self.system_gain, "DN/e-")
        check_fraction("white_fraction", self.white_fraction)
        check_count("bits", self.bits)
        if self.read_noise < 0:
            raise ValueError(f"read_noise = {self.read_noise:g} e-: zero or more is needed")
        if not 0 <= self.black_level < 2**self.bits - 1:
            raise ValueError(
                f"black_level = {self.black_level:g} DN is outside [0, {2**self.bits - 1}) DN of a "
                f"{self.bits}-bit sensor"
            )
        if self.bayer and self.binning % 2 and self.binning > 1:
            raise ValueError(
                f"binning = {self.binning}: with a colour mosaic it is 1 or even, so that every "
                f"binned pixel holds whole 2 x 2 blocks; use {self.binning + 1} or bayer=false"
            )
        if len(self.bands) != 3:
            raise ValueError(f"bands: {len(self.bands)} given, red, green and blue are needed")

    @property
    def pitch(self) -> float:
        """Side of a binned pixel [m]."""
        return self.pixel_pitch * self.binning

    @property
    def white_electrons(self) -> float:
        """Electrons that scene white leaves in a raw pixel [e-]."""
        return self.white_fraction * self.full_well

    @property
    def binned_white_electrons(self) -> float:
        """Electrons of scene white in a whole binned pixel, all colours together [e-]."""
        return self.white_electrons * self.binning**2

    def raw_per_binned(self) -> Tensor:
        """Raw pixels of each colour in one binned pixel, float64 (3,)."""
        share = (0.25, 0.5, 0.25) if self.bayer and self.binning > 1 else (1.0, 1.0, 1.0)
        return torch.tensor(share, dtype=torch.float64) * self.binning**2

    def mean_and_variance(
        self, irradiance: Tensor, *, white_electrons: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """Exact expected value and variance of an unsaturated measurement.

        Parameters
        ----------
        irradiance : Tensor
            (..., 3, H, W), linear light relative to scene white.
        white_electrons : float, optional
            Exposure other than the sensor's own [e- per raw pixel].

        Returns
        -------
        tuple of Tensor
            Mean and variance, same shape and unit (squared) as `irradiance`. The variance is
            (shot + read^2 + quantisation) / n over the n raw pixels of that colour; with `bayer`
            and no binning it is that of the sampled pixels, the interpolated ones have less.
        """
        white = self.white_electrons if white_electrons is None else white_electrons
        n = self.raw_per_binned().to(irradiance)[:, None, None]
        electrons = irradiance.clamp(min=0) * white
        floor = self.read_noise**2 + 1 / (12 * self.system_gain**2)
        return irradiance, (electrons + floor) / (n * white**2)

    def expose(
        self,
        irradiance: Tensor,
        generator: torch.Generator | Sequence[torch.Generator],
        *,
        white_electrons: float | None = None,
        frames: int = 1,
    ) -> Tensor:
        """Take a noisy, saturating, digitised measurement.

        Parameters
        ----------
        irradiance : Tensor
            (B, 3, H, W) on binned pixels, linear light relative to scene white.
        generator : torch.Generator or sequence of them
            Source of the noise; one per picture makes each picture's noise its own, whatever
            batch it is in.
        white_electrons : float, optional
            Exposure other than the sensor's own [e- per raw pixel].
        frames : int, default 1
            Frames averaged after read-out.

        Returns
        -------
        Tensor
            Same shape and unit. Gradients: shot noise by its pathwise derivative, clipping by
            its own, rounding straight through.

        Notes
        -----
        The n raw pixels of one colour under a binned pixel are taken as equally bright, so the
        sum of their Poisson counts is one Poisson count and the sum of their n roundings is one
        rounding plus the other n - 1 as independent uniform errors; a test compares this with
        raw pixels drawn one by one. Saturation likewise acts on the sum: the few raw pixels that
        clip while their mean is still below the full well are not told apart. With `bayer`
        and no binning, the mosaic is sampled and interpolated back (bilinear).
        """
        check_count("frames", frames)
        if irradiance.ndim != 4 or irradiance.shape[1] != 3:
            raise ValueError(f"irradiance is {tuple(irradiance.shape)}, expected (B, 3, H, W)")
        if not isinstance(generator, torch.Generator) and len(generator) != len(irradiance):
            raise ValueError(
                f"generator: {len(generator)} given for {len(irradiance)} pictures; give one per "
                f"picture, or a single one for all"
            )
        white = self.white_electrons if white_electrons is None else white_electrons
        check_positive("white_electrons", white, "e-")
        n = self.raw_per_binned().to(irradiance)[:, None, None] * frames
        electrons = irradiance.clamp(min=0) * (white * n)
        electrons = _shot_noise(electrons, generator)
        electrons = electrons + self.read_noise * n.sqrt() * _normal(electrons, generator)
        electrons = torch.minimum(electrons, self.full_well * n)
        value = electrons * self.system_gain
        value = value + ((n - 1) / 12).sqrt() * _normal(value, generator)
        value = _round_straight_through(value + self.black_level * n)
        value = torch.minimum(value.clamp(min=0), (2**self.bits - 1) * n)
        out = (value - self.black_level * n) / (self.system_gain * white * n)
        return _mosaic(out) if self.bayer and self.binning == 1 else out


def _normal(like: Tensor, generator: torch.Generator | Sequence[torch.Generator]) -> Tensor:
    """Draw standard normals of the shape of `like` (B, ...), where the generator lives."""
    if isinstance(generator, torch.Generator):
        draw = torch.randn(
            like.shape, generator=generator, dtype=like.dtype, device=generator.device
        )
    else:
        shape = like.shape[1:]
        draw = torch.stack(
            [torch.randn(shape, generator=g, dtype=like.dtype, device=g.device) for g in generator]
        )
    return draw.to(like.device)


def _shot_noise(
    electrons: Tensor, generator: torch.Generator | Sequence[torch.Generator]
) -> Tensor:
    """Poisson counts of mean `electrons`; normal above 200 e-, where the skew is under 0.07."""
    mean = electrons.detach()
    counts = mean + mean.sqrt() * _normal(mean, generator)
    each = [generator] if isinstance(generator, torch.Generator) else generator
    for part, expected, source in zip(
        counts.chunk(len(each)), mean.chunk(len(each)), each, strict=True
    ):
        few = expected < 200
        if bool(few.any()):
            few_means = expected[few].to(source.device)
            part[few] = torch.poisson(few_means, generator=source).to(part)
    # pathwise: the deviation grows with the square root of the mean
    slope = 1 + (counts - mean) / (2 * mean.clamp(min=1))
    return counts + slope * (electrons - mean)


def _round_straight_through(value: Tensor) -> Tensor:
    return value + (value.round() - value).detach()


_RGGB = torch.tensor([[[1, 0], [0, 0]], [[0, 1], [1, 0]], [[0, 0], [0, 1]]])


def _mosaic(image: Tensor) -> Tensor:
    """Sample an RGGB mosaic and fill every colour by normalised bilinear interpolation."""
    height, width = image.shape[-2:]
    tiles = (1, math.ceil(height / 2), math.ceil(width / 2))
    keep = _RGGB.repeat(*tiles)[:, :height, :width].to(image)
    kernel = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]).to(image)
    kernel = kernel.expand(3, 1, 3, 3)
    total = functional.conv2d(image * keep, kernel, padding=1, groups=3)
    return total / functional.conv2d(keep[None], kernel, padding=1, groups=3)
