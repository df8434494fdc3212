"""Raw frames: the mosaic of digital numbers a camera writes, pixel by pixel."""

from torch import Tensor

from optics.sensor.mosaic import sample_mosaic
from optics.sensor.noise import (
    Generators,
    normal,
    round_straight_through,
    saturating_moments,
    shot_noise,
)
from optics.sensor.sensor import Sensor


def expose_raw(
    sensor: Sensor,
    irradiance: Tensor,
    generator: Generators,
    *,
    white_electrons: float | None = None,
) -> Tensor:
    """Take one raw frame, as the camera would write it.

    Parameters
    ----------
    sensor : Sensor
        Its `binning` plays no part.
    irradiance : Tensor
        (B, channels, H, W) on raw pixels, linear light relative to scene white.
    generator : torch.Generator or sequence of them
        Source of the noise; one per picture makes each picture's noise its own.
    white_electrons : float, optional
        Exposure other than the sensor's own [e- per raw pixel].

    Returns
    -------
    Tensor
        (B, H, W) whole numbers in the dtype of `irradiance`, black level and dark signal
        included [DN]. Gradients: shot noise by its pathwise derivative, clipping by its own,
        rounding straight through.

    Notes
    -----
    Here the well cuts the charge before read noise, which is the order of things in a pixel;
    `Sensor.expose` cuts their sum.
    """
    sensor.check_exposure(irradiance, generator)
    seen = _seen(sensor, irradiance)
    electrons = seen.clamp(min=0) * sensor.white(white_electrons)
    if sensor.prnu:
        electrons = electrons * (1 + sensor.prnu * sensor.gain_pattern(seen)).clamp(min=0)
    electrons = shot_noise(electrons + sensor.dark_electrons, generator)
    electrons = electrons.clamp(max=sensor.full_well)
    electrons = electrons + sensor.read_noise * normal(electrons, generator)
    if sensor.dsnu:
        electrons = electrons + sensor.dsnu * sensor.offset_pattern(seen)
    if sensor.row_noise:
        electrons = electrons + sensor.row_noise * normal(seen[..., :1], generator)
    value = round_straight_through(electrons * sensor.system_gain + sensor.black_level)
    return value.clamp(0, 2**sensor.bits - 1)


def raw_mean_and_variance(
    sensor: Sensor, irradiance: Tensor, *, white_electrons: float | None = None
) -> tuple[Tensor, Tensor]:
    """Return expected value and variance of what `expose_raw` returns, its limits included.

    Parameters
    ----------
    sensor : Sensor
        Its `binning` plays no part.
    irradiance : Tensor
        (..., channels, H, W) on raw pixels, linear light relative to scene white.
    white_electrons : float, optional
        Exposure other than the sensor's own [e- per raw pixel].

    Returns
    -------
    tuple of Tensor
        (..., H, W), mean [DN] and variance [DN^2] over exposures and over all sensors of this
        make; without `prnu` and `dsnu` what is left is the temporal noise of one sensor. Valid
        where `Sensor.saturating_mean_and_variance` is.
    """
    light = _seen(sensor, irradiance).clamp(min=0).double() * sensor.white(white_electrons)
    charge = light + sensor.dark_electrons
    gain = sensor.system_gain
    later = sensor.read_noise**2 + sensor.dsnu**2 + sensor.row_noise**2
    low, high = sensor.limits()
    mean, variance = saturating_moments(
        charge,
        charge + (sensor.prnu * light) ** 2,
        full_well=sensor.full_well,
        later_variance=later,
        low=low,
        high=high,
        step=1 / gain,
    )
    return (mean * gain + sensor.black_level).to(irradiance), (variance * gain**2).to(irradiance)


def _seen(sensor: Sensor, irradiance: Tensor) -> Tensor:
    """Light behind the colour filter of each raw pixel, (..., C, H, W) -> (..., H, W)."""
    if sensor.coloured:
        return sample_mosaic(irradiance, sensor.cfa)
    if sensor.channels > 1:
        raise ValueError(
            "bayer = false: a pixel that sees every colour at once writes no mosaic; use "
            "bayer=true, or cfa='' with one band for a monochrome sensor"
        )
    return irradiance[..., 0, :, :]
