"""A linear sensor: the binned measurement networks see, and the raw mosaic a camera writes.

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

from optics.sensor.bands import IMX477_BANDS, SpectralResponse
from optics.sensor.mosaic import check_cfa, demosaic_bilinear, sample_mosaic
from optics.sensor.noise import (
    Generators,
    fixed_pattern,
    normal,
    round_straight_through,
    saturating_moments,
    shot_noise,
)
from optics.units import check_count, check_fraction, check_length, check_positive


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
        True: each raw pixel sees one colour (`cfa`), so a binned pixel collects a quarter of its
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
    bands : sequence of SpectralResponse
        Response of the colour channels: red, green, blue; one for a monochrome sensor.
    cfa : {"RGGB", "BGGR", "GRBG", "GBRG", ""}
        Colours of the top-left 2 x 2 block, row by row; "" is a monochrome sensor.
    dark_current : float
        Electrons a raw pixel collects without light [e-/s].
    exposure : float
        Exposure time, for the dark current alone [s].
    prnu : float
        Photo-response non-uniformity: gain of the raw pixels, relative rms, fixed.
    dsnu : float
        Dark-signal non-uniformity: offset of the raw pixels, fixed [e- rms].
    row_noise : float
        Offset that all raw pixels of a row share, new in every frame [e- rms].
    pattern_seed : int
        Which individual sensor it is: seed of the fixed pattern.
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
    bands: Sequence[SpectralResponse] = field(default=IMX477_BANDS)
    cfa: str = "RGGB"
    dark_current: float = 0.0
    exposure: float = 20e-3
    prnu: float = 0.0
    dsnu: float = 0.0
    row_noise: float = 0.0
    pattern_seed: int = 0

    def __post_init__(self) -> None:
        check_length("pixel_pitch", self.pixel_pitch)
        check_count("binning", self.binning)
        check_positive("full_well", self.full_well, "e-")
        check_positive("system_gain", self.system_gain, "DN/e-")
        check_fraction("white_fraction", self.white_fraction)
        check_count("bits", self.bits)
        check_positive("exposure", self.exposure, "s")
        check_count("pattern_seed", self.pattern_seed, 0)
        for name, unit in (
            ("read_noise", " e-"),
            ("dark_current", " e-/s"),
            ("prnu", ""),
            ("dsnu", " e-"),
            ("row_noise", " e-"),
        ):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} = {value:g}{unit}: zero or more is needed")
        if self.prnu > 0.3:
            raise ValueError(f"prnu = {self.prnu:g} is above 0.3; it is a fraction, so 1 % is 0.01")
        if not 0 <= self.black_level < 2**self.bits - 1:
            raise ValueError(
                f"black_level = {self.black_level:g} DN is outside [0, {2**self.bits - 1}) DN of a "
                f"{self.bits}-bit sensor"
            )
        if self.cfa:
            check_cfa(self.cfa)
        if self.coloured and self.binning % 2 and self.binning > 1:
            raise ValueError(
                f"binning = {self.binning}: with a colour mosaic it is 1 or even, so that every "
                f"binned pixel holds whole 2 x 2 blocks; use {self.binning + 1} or bayer=false"
            )
        if not self.cfa and len(self.bands) != 1:
            raise ValueError(
                f"bands: {len(self.bands)} given, a monochrome sensor (cfa = '') has one"
            )
        if self.cfa and len(self.bands) != 3:
            raise ValueError(f"bands: {len(self.bands)} given, red, green and blue are needed")

    @property
    def coloured(self) -> bool:
        """Whether each raw pixel sees one colour alone."""
        return self.bayer and bool(self.cfa)

    @property
    def channels(self) -> int:
        """Colours of a measurement: 3, or 1 of a monochrome sensor."""
        return len(self.bands)

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

    @property
    def dark_electrons(self) -> float:
        """Electrons the dark current leaves in a raw pixel [e-]."""
        return self.dark_current * self.exposure

    def raw_per_binned(self) -> Tensor:
        """Raw pixels of each colour in one binned pixel, float64 (channels,)."""
        share = (0.25, 0.5, 0.25) if self.coloured and self.binning > 1 else (1.0,) * self.channels
        return torch.tensor(share, dtype=torch.float64) * self.binning**2

    def mean_and_variance(
        self, irradiance: Tensor, *, white_electrons: float | None = None, frames: int = 1
    ) -> tuple[Tensor, Tensor]:
        """Exact expected value and variance of an unsaturated measurement.

        Parameters
        ----------
        irradiance : Tensor
            (..., channels, H, W), linear light relative to scene white.
        white_electrons : float, optional
            Exposure other than the sensor's own [e- per raw pixel].
        frames : int, default 1
            Frames averaged after read-out.

        Returns
        -------
        tuple of Tensor
            Mean and variance, same shape and unit (squared) as `irradiance`. The variance is
            (shot + dark + read^2 + quantisation) / n over the n raw pixels of that colour, plus
            that of the rows; with `bayer` and no binning it is that of the sampled pixels, the
            interpolated ones have less. The fixed pattern counts as noise, over all sensors of
            this make, and frames do not average it; without `prnu` and `dsnu` what is left is
            the temporal noise of one sensor.
        """
        white = self.white(white_electrons)
        n = self.raw_per_binned().to(irradiance)[:, None, None] * check_count("frames", frames)
        electrons = irradiance.clamp(min=0) * white
        floor = self.read_noise**2 + 1 / (12 * self.system_gain**2)
        variance = (electrons + (floor + self.dark_electrons)) / (n * white**2)
        if self.prnu or self.dsnu or self.row_noise:
            pattern = (self.prnu * electrons) ** 2 * frames + self.dsnu**2 * frames
            rows = self.row_noise**2 * self._row_mixing(irradiance).square().sum(-1) / frames
            variance = variance + (pattern / n + rows[:, None, None]) / white**2
        return irradiance, variance

    def saturating_mean_and_variance(
        self, irradiance: Tensor, *, white_electrons: float | None = None, frames: int = 1
    ) -> tuple[Tensor, Tensor]:
        """Return expected value and variance of what `expose` returns, its limits included.

        Parameters
        ----------
        irradiance, white_electrons, frames
            As for `mean_and_variance`.

        Returns
        -------
        tuple of Tensor
            Mean and variance, shape, unit and dtype of `irradiance`; differentiable.

        Notes
        -----
        The charge is taken as normal, as `expose` itself does above 200 electrons; a well smaller
        than that is not described. Rounding is exact to a hundredth of a digital number with half
        a number of noise or more.
        """
        white = self.white(white_electrons)
        n = self.raw_per_binned().to(irradiance)[:, None, None] * check_count("frames", frames)
        n = n.to(torch.float64)
        light = irradiance.clamp(min=0).to(torch.float64) * (white * n)
        _, variance = self.mean_and_variance(
            irradiance.to(torch.float64), white_electrons=white, frames=frames
        )
        dark = self.dark_electrons * n
        rounding = n / (12 * self.system_gain**2)
        low, high = self.limits()
        mean, spread = saturating_moments(
            light + dark,
            variance * (white * n) ** 2 - rounding,
            full_well=self.full_well * n,
            # the sum of n roundings: n - 1 as noise, the last one as it is
            later_variance=rounding * (n - 1) / n,
            low=low * n,
            high=high * n,
            step=1 / self.system_gain,
        )
        out = (mean - dark) / (white * n)
        return out.to(irradiance), (spread / (white * n) ** 2).to(irradiance)

    def expose(
        self,
        irradiance: Tensor,
        generator: Generators,
        *,
        white_electrons: float | None = None,
        frames: int = 1,
    ) -> Tensor:
        """Take a noisy, saturating, digitised measurement.

        Parameters
        ----------
        irradiance : Tensor
            (B, channels, H, W) on binned pixels, linear light relative to scene white.
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
            Same shape and unit; black level and mean dark signal are taken off, the fixed pattern
            is not. Gradients: shot noise by its pathwise derivative, clipping by its own,
            rounding straight through.

        Notes
        -----
        The n raw pixels of one colour under a binned pixel are taken as equally bright, so the
        sum of their Poisson counts is one Poisson count and the sum of their n roundings is one
        rounding plus the other n - 1 as independent uniform errors; a test compares this with
        raw pixels drawn one by one. Likewise their gains and offsets are one draw each, of a
        deviation smaller by sqrt(n); it is the same at every call for pictures of one size.
        Saturation acts on the sum: the few raw pixels that clip while their mean is still below
        the full well are not told apart. With `bayer` and no binning, the mosaic is sampled and
        interpolated back (bilinear).
        """
        check_count("frames", frames)
        self.check_exposure(irradiance, generator)
        white = self.white(white_electrons)
        raw = self.raw_per_binned().to(irradiance)[:, None, None]
        n = raw * frames
        electrons = irradiance.clamp(min=0) * (white * n)
        if self.prnu:
            gain = self.gain_pattern(electrons) / raw.sqrt()
            electrons = electrons * (1 + self.prnu * gain).clamp(min=0)
        if self.dark_current:
            electrons = electrons + self.dark_electrons * n
        electrons = shot_noise(electrons, generator)
        electrons = electrons + self.read_noise * n.sqrt() * normal(electrons, generator)
        if self.dsnu:
            offset = self.offset_pattern(electrons) * raw.sqrt()
            electrons = electrons + self.dsnu * frames * offset
        if self.row_noise:
            mixing = self._row_mixing(electrons)
            kinds = electrons[:, 0, :, :1].expand(-1, -1, mixing.shape[1])
            rows = torch.einsum("ck,bhk->bch", mixing, normal(kinds, generator))[..., None]
            electrons = electrons + self.row_noise * raw * math.sqrt(frames) * rows
        electrons = torch.minimum(electrons, self.full_well * n)
        value = electrons * self.system_gain
        value = value + ((n - 1) / 12).sqrt() * normal(value, generator)
        value = round_straight_through(value + self.black_level * n)
        value = torch.minimum(value.clamp(min=0), (2**self.bits - 1) * n)
        out = (value - self.black_level * n) / (self.system_gain * white * n)
        if self.dark_current:
            out = out - self.dark_electrons / white
        if self.coloured and self.binning == 1:
            return demosaic_bilinear(sample_mosaic(out, self.cfa), self.cfa)
        return out

    def gain_pattern(self, like: Tensor) -> Tensor:
        """Draw the gains, standard normals: the same for all pictures of one size."""
        return fixed_pattern(self._pattern_shape(like), 2 * self.pattern_seed, like)

    def offset_pattern(self, like: Tensor) -> Tensor:
        """Draw the offsets, standard normals; independent of the gains."""
        return fixed_pattern(self._pattern_shape(like), 2 * self.pattern_seed + 1, like)

    def _pattern_shape(self, like: Tensor) -> tuple[int, ...]:
        """One draw per raw pixel where pixels are raw, else one per binned pixel and colour."""
        shape = tuple(like.shape[1:])
        return shape[-2:] if self.coloured and self.binning == 1 else shape

    def white(self, white_electrons: float | None = None) -> float:
        """Return the exposure given, or the sensor's own [e- per raw pixel]."""
        white = self.white_electrons if white_electrons is None else white_electrons
        return check_positive("white_electrons", white, "e-")

    def limits(self) -> tuple[float, float]:
        """Charges at which the converter reads zero and its largest number [e-]."""
        top = 2**self.bits - 1 - self.black_level
        return -self.black_level / self.system_gain, top / self.system_gain

    def _row_mixing(self, like: Tensor) -> Tensor:
        """Weights of a binned pixel's row offsets, per colour (channels, even and odd rows).

        Half of the rows are even and half odd, so each kind averages to a deviation of
        sqrt(2 / binning); red sits in one kind, blue in the other, green in both.
        """
        if self.binning % 2:
            return like.new_full((self.channels, 1), self.binning**-0.5)
        if not self.coloured:
            return like.new_full((self.channels, 2), (2 * self.binning) ** -0.5)
        rows = torch.tensor([[c in self.cfa[k : k + 2] for k in (0, 2)] for c in "RGB"])
        share = rows / rows.sum(1, keepdim=True)  # exact: one or one half
        return share.to(like) * math.sqrt(2 / self.binning)

    def check_exposure(self, irradiance: Tensor, generator: Generators) -> None:
        """Refuse light of another shape than (B, channels, H, W), or generators too few."""
        if irradiance.ndim != 4 or irradiance.shape[1] != self.channels:
            raise ValueError(
                f"irradiance is {tuple(irradiance.shape)}, expected (B, {self.channels}, H, W)"
            )
        if not isinstance(generator, torch.Generator) and len(generator) != len(irradiance):
            raise ValueError(
                f"generator: {len(generator)} given for {len(irradiance)} pictures; give one per "
                f"picture, or a single one for all"
            )
