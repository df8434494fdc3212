"""Sensor: photon transfer, binning, saturation, rounding, gradients."""

import math

import pytest
import torch

from optics import Sensor
from optics.sensor import IMX477_BANDS, Band, demosaic_bilinear, sample_mosaic


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def plain(**changes):
    return Sensor(**({"binning": 1, "bayer": False} | changes))


def uniform(level, height=120, width=160, batch=1):
    return torch.full((batch, 3, height, width), float(level), dtype=torch.float64)


# --- photon transfer --------------------------------------------------------------------------


def test_photon_transfer_slope_is_the_gain_and_intercept_the_read_noise():
    sensor = plain(white_fraction=0.5)
    levels = torch.linspace(0.05, 0.9, 8, dtype=torch.float64)
    mean, variance = [], []
    for index, level in enumerate(levels.tolist()):
        value = sensor.expose(uniform(level), seeded(index))
        digital = value * sensor.white_electrons * sensor.system_gain
        mean.append(digital.mean())
        variance.append(digital.var())
    mean, variance = torch.stack(mean), torch.stack(variance)
    weight = 1 / variance
    centre = (weight * mean).sum() / weight.sum()
    slope = (weight * (mean - centre) * variance).sum() / (weight * (mean - centre) ** 2).sum()
    # 57600 pixels per level: each variance is known to sqrt(2 / n) = 0.6 %
    assert float(slope) == pytest.approx(sensor.system_gain, rel=0.01)
    dark = sensor.expose(uniform(0.0), seeded(9)) * sensor.white_electrons * sensor.system_gain
    floor = sensor.read_noise**2 * sensor.system_gain**2 + 1 / 12
    assert float(dark.var()) == pytest.approx(floor, rel=0.03)  # 5 sigma of sqrt(2 / n)


@pytest.mark.parametrize("exposure", [30.0, 5000.0])
@pytest.mark.parametrize(("binning", "bayer"), [(1, False), (4, True), (2, False)])
def test_draws_have_the_stated_mean_and_variance(binning, bayer, exposure):
    sensor = Sensor(binning=binning, bayer=bayer)
    scene = uniform(0.3, 60, 80, batch=4)
    scene[:, 1] = 0.6
    mean, variance = sensor.mean_and_variance(scene, white_electrons=exposure)
    draws = sensor.expose(scene, seeded(), white_electrons=exposure)
    count = draws[:, 0].numel()
    for colour in range(3):
        drawn, law = draws[:, colour], float(variance[0, colour, 0, 0])
        error = float(drawn.mean() - mean[0, colour, 0, 0])
        assert abs(error) < 4.5 * math.sqrt(law / count)
        # sqrt(2 / n) = 1 % per colour; kurtosis of Poisson counts adds little above 9 electrons
        assert float(drawn.var()) == pytest.approx(law, rel=0.05)


@pytest.mark.parametrize("white", [12.0, 900.0])
def test_a_binned_pixel_is_the_mean_of_raw_pixels_drawn_one_by_one(white):
    """With a 4 x 4 bin of a colour mosaic: 4 raw pixels in red and blue, 8 in green."""
    # steps of 5 electrons, so that rounding is a sixth of the dark variance
    sensor = Sensor(binning=4, black_level=64.0, system_gain=0.2)
    level = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    assert sensor.raw_per_binned().tolist() == [4.0, 8.0, 4.0]
    bins = 40000
    drawn = sensor.expose(
        level[None, :, None, None].expand(1, 3, 200, 200), seeded(1), white_electrons=white
    )
    generator = seeded(2)
    for colour, raw in enumerate((4, 8, 4)):
        mu = torch.full((bins, raw), float(level[colour]) * white, dtype=torch.float64)
        electrons = torch.poisson(mu, generator=generator)
        noise = torch.randn(bins, raw, dtype=torch.float64, generator=generator)
        electrons = electrons + sensor.read_noise * noise
        digital = (electrons * sensor.system_gain + sensor.black_level).round()
        one_by_one = ((digital - sensor.black_level) / sensor.system_gain / white).mean(1)
        ours = drawn[0, colour]
        error = math.sqrt(float(one_by_one.var()) * 2 / bins)
        assert abs(float(ours.mean() - one_by_one.mean())) < 4.5 * error
        # two sample variances of 40000: 4.5 * sqrt(4 / n) = 4.5 %
        assert float(ours.var() / one_by_one.var()) == pytest.approx(1, abs=0.045)


def test_averaging_frames_divides_the_variance():
    sensor = plain()
    scene = uniform(0.4)
    one = sensor.expose(scene, seeded(1)).var()
    nine = sensor.expose(scene, seeded(2), frames=9).var()
    assert float(one / nine) == pytest.approx(9, rel=0.04)  # 5 * sqrt(4 / 57600) = 4 %


# --- limits and digitising --------------------------------------------------------------------


def test_without_binning_values_are_whole_digital_numbers():
    sensor = plain()
    value = sensor.expose(uniform(0.5, 20, 30), seeded())
    digital = value * sensor.white_electrons * sensor.system_gain + sensor.black_level
    # division and multiplication in float64
    torch.testing.assert_close(digital, digital.round(), rtol=0, atol=1e-9)
    assert float(digital.max()) <= 2**12 - 1


def test_a_pixel_saturates_at_its_full_well():
    sensor = plain(full_well=2000.0, white_fraction=0.5)
    value = sensor.expose(uniform(5.0, 20, 30), seeded())
    # rounding to a digital number of 1 / 0.47 electrons
    torch.testing.assert_close(value, torch.full_like(value, 2.0), rtol=0, atol=1.1 / 0.47 / 1000)


def test_the_converter_saturates_before_a_deep_well():
    sensor = plain(full_well=20000.0, white_fraction=0.5, read_noise=0.0)
    value = sensor.expose(uniform(3.0, 20, 30), seeded())
    top = (2**12 - 1 - 256) / 0.47 / 10000
    torch.testing.assert_close(value, torch.full_like(value, top), rtol=0, atol=1e-12)


def test_black_level_lets_dark_noise_go_negative():
    sensor = plain()
    dark = sensor.expose(uniform(0.0), seeded())
    assert float(dark.min()) < 0
    assert abs(float(dark.mean())) < 4.5 * float(dark.std()) / math.sqrt(dark.numel())


def test_negative_light_is_dark():
    sensor = plain(read_noise=0.0)
    assert float(sensor.expose(uniform(-0.5, 8, 9), seeded()).abs().max()) < 1e-12


# --- reproducibility --------------------------------------------------------------------------


def test_same_seed_same_picture():
    sensor, scene = Sensor(), uniform(0.01, 10, 14, batch=2)
    assert torch.equal(sensor.expose(scene, seeded(3)), sensor.expose(scene, seeded(3)))
    assert not torch.equal(sensor.expose(scene, seeded(3)), sensor.expose(scene, seeded(4)))


def test_noise_of_a_picture_does_not_depend_on_its_batch():
    sensor, scene = Sensor(), uniform(0.01, 10, 14, batch=3) + torch.arange(3)[:, None, None, None]
    together = sensor.expose(scene, [seeded(s) for s in (5, 6, 7)], white_electrons=40.0)
    alone = sensor.expose(scene[1:2], [seeded(6)], white_electrons=40.0)
    assert torch.equal(together[1:2], alone)


def first_expose(sensor, irradiance, generators, white, frames):
    """The measurement as trained cameras know it, before patterns, dark current and rows."""
    n = sensor.raw_per_binned().to(irradiance)[:, None, None] * frames

    def normal():
        draws = [
            torch.randn(irradiance.shape[1:], generator=g, dtype=irradiance.dtype)
            for g in generators
        ]
        return torch.stack(draws)

    mean = irradiance.clamp(min=0) * (white * n)
    counts = mean + mean.sqrt() * normal()
    for part, expected, g in zip(counts, mean, generators, strict=True):
        few = expected < 200
        if bool(few.any()):
            part[few] = torch.poisson(expected[few], generator=g)
    counts = counts + sensor.read_noise * n.sqrt() * normal()
    value = torch.minimum(counts, sensor.full_well * n) * sensor.system_gain
    value = value + ((n - 1) / 12).sqrt() * normal()
    value = value + sensor.black_level * n
    value = (value + (value.round() - value)).clamp(min=0)  # as straight-through rounding adds
    value = torch.minimum(value, (2**sensor.bits - 1) * n)
    return (value - sensor.black_level * n) / (sensor.system_gain * white * n)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("white", "frames"), [(5726.0, 1), (30.0, 1), (100.0, 7)])
@pytest.mark.parametrize("settings", [{}, {"binning": 2}, {"binning": 3, "bayer": False}])
def test_without_the_newer_noises_every_bit_is_as_before(settings, white, frames, dtype):
    scene = torch.rand(3, 3, 11, 14, generator=seeded(), dtype=dtype) * 1.6 - 0.1
    sensor = Sensor(**settings)
    ours = sensor.expose(scene, [seeded(k) for k in range(3)], white_electrons=white, frames=frames)
    first = first_expose(sensor, scene, [seeded(k) for k in range(3)], white, frames)
    assert torch.equal(ours, first)


# --- mosaic -----------------------------------------------------------------------------------


def test_a_constant_survives_the_mosaic():
    sensor = Sensor(binning=1, bayer=True, read_noise=0.0, system_gain=100.0, bits=24)
    level = torch.tensor([0.3, 0.5, 0.2]).double()[None, :, None, None].expand(1, 3, 7, 10)
    value = sensor.expose(level, seeded(), white_electrons=8000.0)
    # no interpolation weight may exceed one: shot noise of 0.8 % bounds every pixel
    assert float((value - level).abs().max()) < 6 * math.sqrt(0.5 / 8000)
    assert float((value - level).mean().abs()) < 2e-3


def test_mosaic_keeps_the_sampled_colour_and_interpolates_the_others():
    x = torch.arange(12, dtype=torch.float64)
    ramp = (x + 10 * torch.arange(9, dtype=torch.float64)[:, None]).expand(1, 3, 9, 12)
    out = demosaic_bilinear(sample_mosaic(ramp, "RGGB"), "RGGB")
    torch.testing.assert_close(out[0, 0, ::2, ::2], ramp[0, 0, ::2, ::2])
    torch.testing.assert_close(out[0, 2, 1::2, 1::2], ramp[0, 2, 1::2, 1::2])
    # a plane is interpolated exactly inside
    torch.testing.assert_close(out[..., 1:-1, 1:-1], ramp[..., 1:-1, 1:-1])


# --- gradients --------------------------------------------------------------------------------


def test_rounding_has_the_gradient_one():
    sensor = plain(read_noise=0.0, full_well=1e8, white_fraction=1.0, bits=30)
    scene = uniform(0.5, 6, 8).requires_grad_()
    (slope,) = torch.autograd.grad(sensor.expose(scene, seeded()).sum(), scene)
    # shot noise of 1e8 electrons changes the slope by 1e-4 / 2
    torch.testing.assert_close(slope, torch.ones_like(slope), rtol=0, atol=1e-3)


def test_a_saturated_pixel_has_no_gradient():
    scene = uniform(5.0, 6, 8).requires_grad_()
    (slope,) = torch.autograd.grad(plain().expose(scene, seeded()).sum(), scene)
    assert float(slope.abs().max()) == 0.0


@pytest.mark.parametrize("mean", [8.0, 2000.0])
def test_shot_noise_gradient_is_that_of_the_expected_second_moment(mean):
    """d E[N^2] / d mu = 2 mu + 1 for Poisson counts; ignoring the noise gives 2 mu."""
    sensor = plain(read_noise=0.0, system_gain=50.0, bits=24, full_well=1e5)
    white = 100.0
    scene = uniform(mean / white, 400, 500).requires_grad_()
    counts = sensor.expose(scene, seeded(), white_electrons=white) * white
    (slope,) = torch.autograd.grad(counts.square().sum(), scene)
    per_electron = slope.detach() / white
    error = float(per_electron.std()) / math.sqrt(per_electron.numel())
    assert abs(float(per_electron.mean()) - (2 * mean + 1)) < 4.5 * error
    if mean < 100:
        assert error < 0.1  # so that 2 mu alone would be refused


# --- arguments --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pixel_pitch": 1.55}, "pixel_pitch = 1.55 m is outside"),
        ({"binning": 3}, "binning = 3: with a colour mosaic it is 1 or even"),
        ({"read_noise": -1.0}, "read_noise = -1 e-: zero or more"),
        ({"black_level": 4095.0}, r"black_level = 4095 DN is outside \[0, 4095\) DN of a 12-bit"),
        ({"white_fraction": 1.5}, r"white_fraction = 1.5 is outside \(0, 1\]"),
        ({"bands": IMX477_BANDS[:2]}, "bands: 2 given"),
    ],
)
def test_bad_sensors_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Sensor(**changes)


def test_bad_exposures_are_refused():
    with pytest.raises(ValueError, match="white_electrons = 0 e-"):
        Sensor().expose(uniform(0.5, 4, 4), seeded(), white_electrons=0.0)
    with pytest.raises(ValueError, match="frames = 0"):
        Sensor().expose(uniform(0.5, 4, 4), seeded(), frames=0)
    with pytest.raises(ValueError, match=r"irradiance is \(3, 4, 5\), expected \(B, 3, H, W\)"):
        Sensor().expose(uniform(0.5, 4, 5)[0], seeded())
    with pytest.raises(ValueError, match="generator: 2 given for 3 pictures"):
        Sensor().expose(uniform(0.5, 4, 5, batch=3), [seeded(), seeded(1)])


# --- colours ----------------------------------------------------------------------------------


def test_a_band_has_its_mean_and_the_deviation_of_its_cut_normal():
    band = Band(550e-9, 30e-9)
    waves, weights = band.nodes(400)
    mean = float((waves * weights).sum())
    deviation = math.sqrt(float(((waves - mean).square() * weights).sum()))
    cut = 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(2 / math.sqrt(2))
    assert mean == pytest.approx(550e-9, rel=1e-12)
    assert deviation == pytest.approx(30e-9 * math.sqrt(1 - cut), rel=1e-4)  # midpoint rule


def test_drawn_wavelengths_follow_the_nodes():
    band, generator = Band(550e-9, 30e-9), seeded()
    draws = torch.cat([band.draw(generator) for _ in range(4000)])
    waves, weights = band.nodes(400)
    variance = float(((waves - 550e-9).square() * weights).sum())
    assert float((draws - 550e-9).abs().max()) <= 60e-9
    assert abs(float(draws.mean()) - 550e-9) < 4.5 * math.sqrt(variance / 4000)
    # a normal clamped instead of cut would have 1.19 times the variance; 4.5 sqrt(1.2 / n)
    assert float(draws.var()) == pytest.approx(variance, rel=0.08)
