"""Noise beyond shot and read: raw frames, fixed pattern, dark current, rows, limits."""

import math
from dataclasses import replace

import pytest
import torch

from optics import IMX477_BANDS, Sensor
from optics.sensor import expose_raw, raw_mean_and_variance, sample_mosaic
from optics.sensor.noise import censored_moments, saturating_moments


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def mono(**changes):
    """Monochrome sensor without binning, double precision comes with the light."""
    return Sensor(**({"binning": 1, "cfa": "", "bands": IMX477_BANDS[1:2]} | changes))


def light(level, height=120, width=150, batch=1, channels=1):
    return torch.full((batch, channels, height, width), float(level), dtype=torch.float64)


def same_moments(drawn, mean, variance, independent=None):
    """Sample mean and variance agree with the law within 4.5 standard errors.

    The error of the variance is sqrt((kurtosis - 1) / n) of the draws themselves.
    """
    n = drawn.numel() if independent is None else independent
    error = math.sqrt(max(variance, 1e-30) / n)
    assert abs(float(drawn.mean()) - mean) < 4.5 * error
    centred = drawn - drawn.mean()
    kurtosis = float(centred.pow(4).mean() / centred.square().mean() ** 2)
    tolerance = 4.5 * math.sqrt((kurtosis - 1) / n)
    assert float(drawn.var()) == pytest.approx(variance, rel=tolerance)


# --- limits -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), [(-1.0, 2.0), (-50.0, 0.5), (1.5, 60.0), (3.0, 3.5)])
def test_censored_moments_are_those_of_quadrature(low, high):
    mean, sigma = 0.7, 1.3
    x = torch.linspace(-12, 14, 400_001, dtype=torch.float64)
    density = torch.exp(-(((x - mean) / sigma) ** 2) / 2)
    density = density / density.sum()
    value = x.clamp(low, high)
    expected = float((density * value).sum())
    spread = float((density * (value - expected) ** 2).sum())
    ours = censored_moments(torch.tensor(mean), torch.tensor(sigma**2), low, high)
    # float32 arguments: 1e-7; the sum's step is 1e-9 of it
    assert float(ours[0]) == pytest.approx(expected, rel=1e-6, abs=1e-8)
    assert float(ours[1]) == pytest.approx(spread, rel=1e-6, abs=1e-8)


def test_far_beyond_its_limits_a_variable_stands_still():
    for mean, limit in ((1e6, 2.0), (-1e6, -1.0)):
        ours = censored_moments(torch.tensor(mean), torch.tensor(1.0), -1.0, 2.0)
        assert float(ours[0]) == pytest.approx(limit, abs=1e-9)
        assert float(ours[1]) < 1e-3  # rounding of 1e6 deviations squared
    still = censored_moments(torch.tensor(0.3), torch.tensor(0.0), -math.inf, math.inf)
    assert float(still[0]) == pytest.approx(0.3, rel=1e-6)
    assert float(still[1]) < 1e-11


def test_limits_gradcheck():
    mean = torch.tensor([-1.5, 0.2, 2.2], dtype=torch.float64, requires_grad=True)
    variance = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda m, v: saturating_moments(
            m, v, full_well=1.8, later_variance=0.3, low=-1.0, high=2.0, step=0.1
        ),
        (mean, variance),
    )


@pytest.mark.parametrize("well", [6.0, 9.0, 30.0])  # the well cuts first, both do, the converter
def test_well_then_noise_then_converter(well):
    mean, variance, later = 8.0, 4.0, 1.0
    charge = mean + 2 * torch.randn(1_000_000, dtype=torch.float64, generator=seeded())
    noise = torch.randn(1_000_000, dtype=torch.float64, generator=seeded(1))
    drawn = (charge.clamp(max=well) + noise).clamp(4.0, 9.5)
    ours = saturating_moments(
        torch.tensor(mean), torch.tensor(variance), full_well=well, later_variance=later,
        low=4.0, high=9.5,
    )  # fmt: skip
    # a million draws: 4.5 standard errors, and as much for the corners that 16 nodes smear
    assert float(ours[0]) == pytest.approx(float(drawn.mean()), abs=9e-3)
    assert float(ours[1]) == pytest.approx(float(drawn.var()), rel=0.012)


@pytest.mark.parametrize("mean", [-0.3, 0.2, 5.0, 9.9, 11.0])
def test_rounded_and_clipped_moments_are_sums_over_whole_numbers(mean):
    """A normal of one step, rounded to 0 ... 10: every probability in closed form."""
    k = torch.arange(11, dtype=torch.float64)
    edge = torch.cat([torch.tensor([-math.inf]), k[:-1] + 0.5, torch.tensor([math.inf])]).double()
    share = torch.special.ndtr(edge - mean).diff()
    expected = float((share * k).sum())
    spread = float((share * (k - expected) ** 2).sum())
    ours = saturating_moments(
        torch.tensor(mean).double(), torch.tensor(0.6).double(), full_well=1e9,
        later_variance=0.4, low=0.0, high=10.0, step=1.0,
    )  # fmt: skip
    # the next term of the expansion: 7 / 5760 of a third derivative of order one
    assert float(ours[0]) == pytest.approx(expected, abs=1e-3)
    assert float(ours[1]) == pytest.approx(spread, abs=3e-3)


# --- raw frames -------------------------------------------------------------------------------


def test_raw_photon_transfer_has_the_gain_as_slope_and_the_read_noise_as_intercept():
    sensor = mono(prnu=0.02, dsnu=2.0)
    means, variances = [], []
    for index, level in enumerate(torch.linspace(0.02, 0.9, 8).tolist()):
        frames = [expose_raw(sensor, light(level), seeded(2 * index + k)) for k in (0, 1)]
        means.append(float(sum(frames).mean()) / 2 - sensor.black_level)
        # the difference of two frames holds no fixed pattern
        variances.append(float((frames[0] - frames[1]).var()) / 2)
    mean, variance = torch.tensor(means).double(), torch.tensor(variances).double()
    weight = 1 / variance**2
    centre = (weight * mean).sum() / weight.sum()
    level = (weight * variance).sum() / weight.sum()
    slope = (weight * (mean - centre) * (variance - level)).sum()
    slope = slope / (weight * (mean - centre) ** 2).sum()
    # each variance is known to sqrt(2 / 18000) = 1 %; together the slope to 0.6 %
    assert float(slope) == pytest.approx(sensor.system_gain, rel=0.025)
    dark = [expose_raw(sensor, light(0.0), seeded(50 + k)) for k in (0, 1)]
    floor = (sensor.system_gain * sensor.read_noise) ** 2 + 1 / 12
    assert float((dark[0] - dark[1]).var()) / 2 == pytest.approx(floor, rel=0.05)


@pytest.mark.parametrize("level", [0.0, 0.1, 0.7, 1.38, 1.42, 2.0])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dark_current": 4000.0, "exposure": 0.1},
        {"prnu": 0.03, "dsnu": 8.0},
        {"system_gain": 0.3, "full_well": 7000.0},  # the well cuts, not the converter
        {"black_level": 0.0},  # half of the dark noise is lost
    ],
)
def test_raw_draws_have_the_stated_mean_and_variance(changes, level):
    sensor = mono(**changes)
    scene = light(level, 240, 300)
    mean, variance = raw_mean_and_variance(sensor, scene)
    drawn = expose_raw(sensor, scene, seeded(7))
    assert mean.shape == drawn.shape == (1, 240, 300)
    if float(variance[0, 0, 0]) < 1e-6:  # all clipped
        assert float((drawn - mean).abs().max()) < 0.5
    else:
        same_moments(drawn, float(mean[0, 0, 0]), float(variance[0, 0, 0]))


def test_raw_moments_gradcheck():
    sensor = mono(prnu=0.01)
    scene = (light(0.0, 2, 3) + torch.tensor([0.1, 0.9, 1.41])).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: raw_mean_and_variance(sensor, s), scene)


def test_raw_values_are_whole_and_within_the_converter():
    frame = expose_raw(Sensor(), light(0.4, 10, 14, channels=3) * 5, seeded())
    assert torch.equal(frame, frame.round())
    assert float(frame.min()) >= 0
    assert float(frame.max()) == 2**12 - 1


@pytest.mark.parametrize("cfa", ["RGGB", "BGGR", "GRBG", "GBRG"])
def test_a_raw_mosaic_sees_the_colours_of_its_order(cfa):
    sensor = Sensor(cfa=cfa, read_noise=0.0)
    scene = torch.tensor([0.1, 0.4, 0.8]).double()[None, :, None, None].expand(1, 3, 7, 10)
    frame = expose_raw(sensor, scene, seeded())
    expected = sample_mosaic(scene, cfa) * sensor.white_electrons * sensor.system_gain + 256
    # 6 sigma of the shot noise of the brightest
    assert float((frame - expected).abs().max()) < 6 * math.sqrt(0.8 * 5726) * 0.47


def test_a_raw_frame_of_a_picture_does_not_depend_on_its_batch():
    sensor, scene = Sensor(row_noise=2.0), light(0.02, 8, 10, batch=3, channels=3)
    together = expose_raw(sensor, scene, [seeded(s) for s in (5, 6, 7)])
    assert torch.equal(together[1:2], expose_raw(sensor, scene[1:2], [seeded(6)]))


def test_the_raw_gradient_is_that_of_the_mean():
    """Rounding passes it, the shot noise adds half its relative size."""
    sensor = mono(read_noise=0.0)
    scene = light(0.5, 100, 130).requires_grad_()
    (slope,) = torch.autograd.grad(expose_raw(sensor, scene, seeded()).sum(), scene)
    expected = sensor.white_electrons * sensor.system_gain
    error = 0.5 / math.sqrt(0.5 * sensor.white_electrons) / math.sqrt(slope.numel())
    assert float(slope.mean()) / expected == pytest.approx(1, abs=4.5 * error)
    (full,) = torch.autograd.grad(expose_raw(sensor, 9 * scene, seeded()).sum(), scene)
    assert float(full.abs().max()) == 0.0


# --- the binned measurement -------------------------------------------------------------------

FULL = {"dark_current": 3000.0, "exposure": 0.02, "prnu": 0.03, "dsnu": 40.0}


@pytest.mark.parametrize("frames", [1, 9])
@pytest.mark.parametrize(
    "settings",
    [{"binning": 4}, {"binning": 2, "bayer": False}, {"binning": 1, "bayer": False}, None],
)
def test_pattern_and_dark_current_have_the_stated_moments(settings, frames):
    sensor = mono(binning=3, **FULL) if settings is None else Sensor(**settings, **FULL)
    scene = light(0.3, 150, 160, channels=sensor.channels)
    mean, variance = sensor.mean_and_variance(scene, frames=frames)
    drawn = sensor.expose(scene, seeded(3), frames=frames)
    for colour in range(sensor.channels):
        at = (0, colour, 0, 0)
        same_moments(drawn[0, colour], float(mean[at]), float(variance[at]))


@pytest.mark.parametrize("level", [0.5, 1.40, 1.43, 3.0])
@pytest.mark.parametrize("gain", [0.47, 0.3])  # converter or well
def test_a_binned_measurement_near_its_limit_has_the_stated_moments(gain, level):
    sensor = Sensor(binning=4, system_gain=gain, **FULL)
    scene = light(level, 200, 220, channels=3)
    mean, variance = sensor.saturating_mean_and_variance(scene)
    drawn = sensor.expose(scene, seeded(2))
    for colour in range(3):
        law = float(variance[0, colour, 0, 0])
        if law < 1e-12:
            assert float((drawn[0, colour] - mean[0, colour]).abs().max()) < 1e-4
        else:
            same_moments(drawn[0, colour], float(mean[0, colour, 0, 0]), law)


def test_far_from_its_limits_both_laws_agree():
    sensor = Sensor(**FULL, row_noise=2.0)
    scene = light(0.4, 2, 3, channels=3)
    for plain, limited in zip(
        sensor.mean_and_variance(scene, frames=4),
        sensor.saturating_mean_and_variance(scene, frames=4),
        strict=True,
    ):
        torch.testing.assert_close(plain, limited, rtol=1e-9, atol=0)


def test_a_binned_pattern_is_the_mean_of_raw_patterns():
    """Raw pixels of one colour drawn one by one, their gains and offsets averaged."""
    sensor = Sensor(binning=4, **FULL)
    _, law = sensor.mean_and_variance(light(0.3, 1, 1, channels=3))
    _, floor = replace(sensor, prnu=0.0, dsnu=0.0).mean_and_variance(light(0.3, 1, 1, channels=3))
    generator, white = seeded(4), sensor.white_electrons
    for colour, raw in enumerate((4, 8, 4)):
        gains, offsets = (
            torch.randn(40_000, raw, dtype=torch.float64, generator=generator) for _ in range(2)
        )
        seen = 0.3 * white * (1 + sensor.prnu * gains) + sensor.dsnu * offsets
        extra = float((law - floor)[0, colour, 0, 0]) * white**2
        # 4.5 sqrt(2 / 40000)
        assert float(seen.mean(1).var()) == pytest.approx(extra, rel=0.032)


def test_the_fixed_pattern_is_the_sensors_own_and_frames_do_not_average_it():
    quiet = {"read_noise": 0.01, "full_well": 1e9, "bits": 40, "prnu": 0.02, "dsnu": 100.0}
    one, other = Sensor(**quiet), Sensor(**quiet, pattern_seed=1)
    scene = light(0.5, 20, 30, channels=3)
    first = one.expose(scene, seeded(1))
    again = one.expose(scene, seeded(2), frames=100)
    elsewhere = other.expose(scene, seeded(1))

    def alike(a, b):
        return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])

    # shot noise of 4e8 electrons and 16 pixels is 1e-5, the pattern 5e-3
    assert alike(first - 0.5, again - 0.5) > 0.999
    assert abs(alike(first - 0.5, elsewhere - 0.5)) < 4.5 / math.sqrt(1800)


@pytest.mark.parametrize("settings", [{"cfa": "", "bands": IMX477_BANDS[:1]}, {}])
def test_without_binning_both_paths_show_the_same_pattern(settings):
    quiet = {"read_noise": 0.0, "full_well": 1e9, "bits": 40, "prnu": 0.02, "dsnu": 50.0}
    sensor = Sensor(binning=1, **quiet, **settings)
    scene = light(0.5, 12, 14, channels=sensor.channels)
    raw = expose_raw(sensor, scene, seeded(1))
    electrons = (raw - sensor.black_level) / sensor.system_gain / sensor.white_electrons
    binned = sensor.expose(scene, seeded(2))
    seen = sample_mosaic(binned, "RGGB") if sensor.channels == 3 else binned[:, 0]
    # shot noise of 3.5e8 electrons: 6 sqrt(2) 5e-5 relative
    torch.testing.assert_close(seen, electrons, rtol=5e-4, atol=0)


# --- rows -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "share"),
    [  # variance of the mean of the rows that a colour lies in
        ({"binning": 4}, (1 / 2, 1 / 4, 1 / 2)),
        ({"binning": 4, "bayer": False}, (1 / 4,) * 3),
        ({"binning": 3, "bayer": False}, (1 / 3,) * 3),
        ({"binning": 1, "bayer": False}, (1.0,) * 3),
    ],
)
@pytest.mark.parametrize("frames", [1, 4])
def test_row_noise_has_the_variance_of_the_rows_a_colour_lies_in(settings, share, frames):
    sensor = Sensor(row_noise=400.0, read_noise=0.0, **settings)
    scene = light(0.6, 4000, 2, channels=3)
    drawn = sensor.expose(scene, seeded(), frames=frames) * sensor.white_electrons
    _, law = sensor.mean_and_variance(scene, frames=frames)
    rest = replace(sensor, row_noise=0.0).mean_and_variance(scene, frames=frames)[1]
    for colour in range(3):
        expected = 400.0**2 * share[colour] / frames
        rows = float((law - rest)[0, colour, 0, 0]) * sensor.white_electrons**2
        assert rows == pytest.approx(expected, rel=1e-9)
        # shot noise is averaged out of the covariance of two columns; 5 sqrt(1 / 4000)
        both = torch.cov(drawn[0, colour].T)
        assert float(both[0, 1]) == pytest.approx(expected, rel=0.11)


def test_red_and_green_share_rows_and_red_and_blue_do_not():
    sensor = Sensor(binning=4, row_noise=300.0, read_noise=0.0)
    drawn = sensor.expose(light(0.1, 4000, 1, channels=3), seeded(), white_electrons=100.0)
    both = torch.corrcoef(drawn[0, :, :, 0])
    # red is one half of what green averages: 1 / sqrt(2), less the shot noise
    assert float(both[0, 1]) == pytest.approx(math.sqrt(0.5), abs=0.05)
    assert abs(float(both[0, 2])) < 4.5 / math.sqrt(4000)


def test_raw_row_noise_is_shared_by_a_row_and_new_in_every_frame():
    sensor = mono(row_noise=20.0, read_noise=1.0)
    rows = [expose_raw(sensor, light(0.0, 3000, 40), seeded(k))[0].mean(-1) for k in (0, 1)]
    expected = (20 * sensor.system_gain) ** 2
    assert float(rows[0].var()) == pytest.approx(expected, rel=4.5 * math.sqrt(2 / 3000))
    assert abs(float(torch.corrcoef(torch.stack(rows))[0, 1])) < 4.5 / math.sqrt(3000)


# --- settings ---------------------------------------------------------------------------------


def test_dark_signal_is_taken_off_the_measurement_and_its_noise_is_not():
    sensor = mono(dark_current=1e4, exposure=0.05, binning=3)
    dark = sensor.expose(light(0.0), seeded())
    law = (500 + 9 + 1 / 12 / 0.47**2) / (9 * sensor.white_electrons**2)
    same_moments(dark, 0.0, law)


def test_a_monochrome_sensor_sees_one_channel_in_every_pixel():
    sensor = mono(binning=4)
    assert sensor.channels == 1
    assert sensor.raw_per_binned().tolist() == [16.0]
    assert sensor.expose(light(0.5, 6, 7), seeded()).shape == (1, 1, 6, 7)
    with pytest.raises(ValueError, match=r"expected \(B, 1, H, W\)"):
        sensor.expose(light(0.5, 6, 7, channels=3), seeded())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dark_current": -1.0}, "dark_current = -1 e-/s: zero or more"),
        ({"dsnu": math.nan}, "dsnu = nan e-: zero or more"),
        ({"row_noise": -2.0}, "row_noise = -2 e-: zero or more"),
        ({"prnu": 1.0}, "prnu = 1 is above 0.3; .* 1 % is 0.01"),
        ({"exposure": 0.0}, "exposure = 0 s: a positive number"),
        ({"cfa": "RGB"}, "cfa = 'RGB': .* are one of RGGB"),
        ({"cfa": ""}, "bands: 3 given, a monochrome sensor"),
        ({"pattern_seed": -1}, "pattern_seed = -1"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Sensor(**changes)


def test_a_sensor_without_mosaic_writes_no_raw_frame():
    with pytest.raises(ValueError, match="writes no mosaic; use bayer=true, or cfa=''"):
        expose_raw(Sensor(bayer=False), light(0.5, 4, 6, channels=3), seeded())
