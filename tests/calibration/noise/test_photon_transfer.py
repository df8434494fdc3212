"""Photon transfer: the settings of simulated sensors come back, with honest uncertainties."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import integrate, ndimage, stats

from calibration.bayer import planes
from calibration.errors import CalibrationError
from calibration.noise.levels import level_of
from calibration.noise.photon_transfer import photon_transfer
from calibration.noise.saturation import clipped_variance, saturation_signal
from optics.sensor import Sensor, expose_raw, raw_mean_and_variance
from tests.calibration.simulated_sensor import SimulatedSensor

GRID = np.linspace(0.03, 1.12, 25)

SETTINGS = {
    "hq": {},
    "well": {"full_well": 6000.0, "prnu": 0.006, "dsnu": 0.8},
    "gain 16": {"system_gain": 7.52, "read_noise": 1.5, "prnu": 0.006, "row_noise": 0.3},
    "10 bit": {"system_gain": 0.25, "black_level": 60.0, "bits": 10, "full_well": 1e6},
    "10 bit, gain 16": {"system_gain": 1.6, "read_noise": 2.2, "black_level": 60.0, "bits": 10},
    "warm": {"dark_current": 2000.0, "row_noise": 0.5},
}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", SETTINGS)
def test_settings_of_a_sensor_come_back(name, seed):
    sensor = SimulatedSensor(**SETTINGS[name], seed=seed)
    found = photon_transfer(*sensor.session(GRID))
    dark = sensor.dark_current * 1e-3
    # the targets of the method; chance alone is 0.25 % of the gain and 0.5 % of the read noise
    assert found.system_gain.value == pytest.approx(sensor.system_gain, rel=0.01)
    noise = np.hypot(sensor.read_noise, np.sqrt(dark))
    assert found.read_noise.value == pytest.approx(noise, rel=0.03)
    assert found.full_well.value == pytest.approx(sensor.top - dark, rel=0.02)
    black = sensor.black_level + dark * sensor.system_gain
    assert abs(found.black_level.value - black) < 4 * found.black_level.uncertainty
    # a fair line; uneven pixels meet saturation one after the other
    assert found.chi_square < found.degrees + 4 * np.sqrt(2 * found.degrees)
    assert found.linearity.error < 0.002
    assert not found.correlation.flagged
    assert found.warnings == ()


def test_row_noise_is_told_from_read_noise():
    shares = np.linspace(0.05, 0.6, 6)
    found = photon_transfer(*SimulatedSensor(row_noise=2.0).session(shares, count=4))
    assert found.read_noise.value == pytest.approx(3.0, rel=0.03)
    # 160 rows in four frames: 3.3 %
    assert found.row_noise.value == pytest.approx(2.0, rel=0.1)


@pytest.fixture(scope="module")
def small_sessions():
    """Many small sessions of one make of sensor, every one with its own noise."""
    out = []
    for seed in range(200):
        sensor = SimulatedSensor(shape=(24, 32), seed=seed, row_noise=0.5, system_gain=1.7)
        out.append(photon_transfer(*sensor.session(np.linspace(0.04, 0.6, 9), count=3)))
    return out


@pytest.mark.parametrize(
    ("name", "truth"), [("system_gain", 1.7), ("read_noise", 3.0), ("black_level", 256.0)]
)
def test_uncertainties_are_the_scatter_of_many_sessions(small_sessions, name, truth):
    found = [getattr(session, name) for session in small_sessions]
    pull = np.array([(f.value - truth) / f.uncertainty for f in found])
    # 200 sessions: the mean of the pulls is known to 0.07, their deviation to 0.05
    assert abs(pull.mean()) < 0.2
    assert pull.std() == pytest.approx(1, abs=0.15)


def test_chi_square_is_that_of_its_degrees(small_sessions):
    chi = np.array([session.chi_square for session in small_sessions])
    degrees = small_sessions[0].degrees
    # 200 sessions: the mean is known to sqrt(2 / degrees / 200), 4 % of it
    assert chi.mean() == pytest.approx(degrees, rel=0.12)


def test_what_rows_do_to_the_means_is_in_the_chi_square():
    """At a high gain and in little light, a mean's error weighs as much as a variance's."""
    chi = []
    for seed in range(100):
        sensor = SimulatedSensor(
            system_gain=8.0, read_noise=1.5, row_noise=2.0, shape=(24, 32), seed=seed
        )
        found = photon_transfer(*sensor.session(np.linspace(0.003, 0.04, 12)))
        chi.append(found.chi_square / found.degrees)
    # 100 sessions of 6 degrees: 6 %; the noise of 24 rows is itself known to 20 % in a session
    assert np.mean(chi) == pytest.approx(1, abs=0.25)


def test_the_uncertainty_of_the_gain_agrees_with_a_bootstrap_over_pixels():
    sensor = SimulatedSensor(shape=(32, 32), prnu=0.006)
    shares = np.linspace(0.04, 0.65, 6)
    stacks = [sensor.frames(2, share * sensor.top) for share in (0.0, *shares)]
    rng = np.random.default_rng(5)

    def session(order):
        levels = [
            level_of(stack.reshape(2, -1)[:, order].reshape(2, 32, 32), exposure=1e-3, light=light)
            for stack, light in zip(stacks, (0.0, *shares), strict=True)
        ]
        return photon_transfer(levels[1:], levels[:1])

    found = session(np.arange(1024))
    again = [session(rng.integers(0, 1024, 1024)) for _ in range(150)]
    # a bootstrap of 150: 6 %; and the scatter of one data set of 1024 pixels about another's: 5 %
    for name in ("system_gain", "read_noise"):
        scatter = np.std([getattr(item, name).value for item in again])
        assert getattr(found, name).uncertainty == pytest.approx(scatter, rel=0.25)


@pytest.mark.parametrize("levels", [9, 12, 16])
@pytest.mark.parametrize("shift", [0.0, 0.33, 0.67])
def test_a_coarse_grid_of_levels_does_not_move_the_full_well(levels, shift):
    sensor = SimulatedSensor(full_well=6000.0, shape=(128, 120), prnu=0.006)
    step = 1.2 / levels
    grid = step * (np.arange(levels) + 0.2 + 0.8 * shift)
    grid = grid[grid < 1.3]
    assert grid.max() > 1
    bright, dark = sensor.session(grid)
    found = photon_transfer(bright, dark)
    assert found.full_well.value == pytest.approx(6000, rel=0.02)
    assert abs(found.full_well.value - 6000) < 4 * found.full_well.uncertainty


@pytest.mark.parametrize("z", [-3.0, -0.5, 0.0, 1.3, 4.0])
def test_the_variance_of_a_cut_normal_variable_is_its_integral(z):
    moments = [
        integrate.quad(lambda x, n=n: min(x, z) ** n * stats.norm.pdf(x), -12, 12, points=[z])[0]
        for n in (1, 2)
    ]
    assert clipped_variance(z) == pytest.approx(moments[1] - moments[0] ** 2, rel=1e-6)


@pytest.mark.parametrize("dark_variance", [0.0, 300.0])
@pytest.mark.parametrize("well", [6000, 300])
@pytest.mark.parametrize("depth", [-0.6, 0.0, 0.6, 3.0])
def test_one_partly_clipped_level_tells_the_saturation(depth, well, dark_variance):
    """`depth` deviations of light beyond the well; what follows the well is not clipped."""
    light = well + depth * np.sqrt(well)
    charge = np.minimum(np.random.default_rng(2).poisson(light, 200_000), well)
    line = [(0.5 * share * well, 0.25 * share * well, 1.0) for share in (0.2, 0.5, 0.8)]
    points = [*line, (0.5 * charge.mean(), 0.25 * charge.var(), 0.01)]
    points = [(s, v + dark_variance, u) for s, v, u in points]
    found = saturation_signal(points, 0.5, dark_variance)
    # a hundredth of the noise: the skew of 300 electrons
    assert found.value == pytest.approx(well / 2, abs=0.02 * np.sqrt(well) / 2)


def test_a_session_that_never_saturates_says_so():
    found = photon_transfer(*SimulatedSensor(shape=(64, 60)).session(np.linspace(0.03, 0.8, 25)))
    assert found.saturation is None
    assert found.full_well is None
    assert any("no level saturates" in note for note in found.warnings)


def test_linearity_is_the_bend_that_was_put_in():
    """y = x (1 - b x): the line of least relative squares leaves a known rest."""
    bend = 0.05
    shares = np.linspace(0.06, 0.9, 20)
    sensor = SimulatedSensor(read_noise=1.0)
    bright, dark = sensor.session([*(shares * (1 - bend * shares)), 1.1])
    bent = [replace(level, light=float(s)) for s, level in zip([*shares, 1.1], bright, strict=True)]
    found = photon_transfer(bent, dark).linearity
    y = shares * (1 - bend * shares)
    slope, offset = np.polyfit(shares, y, 1, w=1 / y)
    rest = np.abs(y / (offset + slope * shares) - 1)
    assert found.error == pytest.approx(rest.mean(), abs=2e-4)
    assert abs(found.worst) == pytest.approx(rest.max(), abs=5e-4)
    straight = photon_transfer(bright, dark).linearity
    assert straight.error < 3e-4


def low_passed(sensor, strength):
    """Levels of a sensor that filters its own raw data, before they are rounded."""
    kernel = np.array([strength, 1 - 2 * strength, strength])

    def level(electrons):
        frames = [
            sensor.digitised(ndimage.convolve1d(sensor.charge(electrons), kernel, axis=1))
            for _ in range(2)
        ]
        return level_of(np.stack(frames), exposure=1e-3, light=float(electrons))

    return [level(s * sensor.top) for s in GRID], [level(0.0)]


@pytest.mark.parametrize("seed", [0, 1])
def test_filtered_raw_data_are_flagged_with_their_numbers(seed):
    sensor = SimulatedSensor(seed=seed, shape=(128, 120))
    found = photon_transfer(*low_passed(sensor, 0.1))
    # neighbours in a row then share 2 * 0.8 * 0.1 of the variance of white noise
    single = 0.8**2 + 2 * 0.1**2
    sums = single + 2 * 0.8 * 0.1
    assert found.correlation.flagged
    assert found.correlation.single == pytest.approx(0.47 * single, rel=0.02)
    assert found.correlation.sums == pytest.approx(0.47 * sums, rel=0.03)
    assert any("correlated noise" in note for note in found.warnings)


@pytest.mark.parametrize("seed", range(12))
def test_white_noise_is_not_flagged_even_in_small_planes(seed):
    sensor = SimulatedSensor(seed=seed, shape=(32, 32), row_noise=1.0)
    assert not photon_transfer(*sensor.session(np.linspace(0.05, 1.1, 12))).correlation.flagged


def test_the_ratio_of_the_gains_is_as_sure_as_it_says(small_sessions):
    ratio = [session.correlation.ratio for session in small_sessions]
    pull = np.array([(r.value - 1) / r.uncertainty for r in ratio])
    assert abs(pull.mean()) < 0.2
    assert pull.std() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("clamped", [False, True])
def test_darks_of_the_same_exposures_take_the_dark_current_out(clamped):
    """Light by exposure time, and thousands of dark electrons at the longest."""
    sensor = SimulatedSensor(dark_current=3000.0, clamped=clamped, read_noise=3.0)
    times = np.linspace(0.02, 1.0, 14)
    bright = [sensor.level(5000 * t, exposure=t) for t in times]
    darks = [level_of(sensor.frames(2, 0.0, t), exposure=t, light=0.0) for t in times]
    found = photon_transfer(bright, darks)
    assert found.system_gain.value == pytest.approx(0.47, rel=0.015)
    assert found.read_noise.value == pytest.approx(np.sqrt(9 + 60), rel=0.03)
    assert found.linearity.error < 1e-3


def test_our_own_sensor_model_comes_back():
    """optics.Sensor draws the frames: another author of the same physics."""
    sensor = Sensor(system_gain=0.6, read_noise=2.4, full_well=5500.0, row_noise=0.4, prnu=0.005)
    generator = torch.Generator().manual_seed(3)

    def take(share):
        light = torch.full((2, 3, 300, 280), share, dtype=torch.float64)
        raw = expose_raw(sensor, light, generator, white_electrons=sensor.full_well)
        return planes(raw.numpy(), sensor.cfa)

    shots = [take(share) for share in (0.0, *GRID)]
    for name in ("R", "Gr", "Gb", "B"):
        levels = [
            level_of(shot[name], exposure=0.01, light=float(share))
            for shot, share in zip(shots, (0.0, *GRID), strict=True)
        ]
        found = photon_transfer(levels[1:], levels[:1])
        assert found.system_gain.value == pytest.approx(0.6, rel=0.012)
        assert found.read_noise.value == pytest.approx(2.4, rel=0.03)
        assert found.full_well.value == pytest.approx(5500, rel=0.02)


def test_the_exact_moments_of_our_sensor_model_lie_on_the_line():
    """Closed form against closed form: no noise at all in this one."""
    sensor = Sensor(cfa="", bands=Sensor().bands[:1], full_well=7000.0)
    shares = torch.tensor([0.0, *GRID], dtype=torch.float64)
    mean, variance = raw_mean_and_variance(
        sensor, shares[:, None, None, None], white_electrons=7000.0
    )
    any_level = SimulatedSensor(shape=(64, 64)).level()
    levels = [
        replace(any_level, light=float(s), mean=m, variance=v, sum_variance=v, row_variance=0.0)
        for s, m, v in zip(shares, mean.ravel().tolist(), variance.ravel().tolist(), strict=True)
    ]
    found = photon_transfer(levels[1:], levels[:1])
    assert found.system_gain.value == pytest.approx(0.47, rel=1e-6)
    assert found.read_noise.value == pytest.approx(3.0, rel=1e-6)
    assert found.black_level.value == pytest.approx(256.0, abs=1e-6)
    # the edge is found with the noise of the full well in place of the level's own
    assert found.full_well.value == pytest.approx(7000.0, rel=1e-3)
    assert found.chi_square < 1e-6


@pytest.mark.parametrize(
    ("change", "shares", "message"),
    [
        ({}, np.linspace(0.05, 1.1, 12), "12 light levels; 20 or more"),
        ({"gradient": 0.05}, GRID, "across the pixels"),
        ({"flicker": 0.03}, GRID, "frames of one level differ"),
        ({}, np.r_[np.linspace(0.03, 0.8, 20), 1.1], "apart where it begins"),
        ({"black_level": 1.0}, GRID, "dark samples are zero"),
        ({"system_gain": 0.09, "bits": 10}, GRID, "rounding hides the read noise"),
    ],
    ids=["few", "uneven", "unsteady", "coarse", "clipped dark", "rounding"],
)
def test_doubtful_sessions_say_so(change, shares, message):
    sensor = SimulatedSensor(**change, shape=(128, 120))
    found = photon_transfer(*sensor.session(shares))
    assert any(message in note for note in found.warnings)


def test_a_curve_that_is_no_line_says_so():
    """Gain that sinks with the signal, as of a pixel whose capacitance grows."""
    sensor = SimulatedSensor()
    bright, darks = [], []
    for share in (0.0, *GRID):
        charge = np.stack([sensor.charge(share * sensor.top) for _ in range(2)])
        frames = sensor.digitised(charge * (1 - 0.1 * charge / sensor.top))
        (bright if share else darks).append(level_of(frames, exposure=1e-3, light=float(share)))
    assert any("do not follow a line" in n for n in photon_transfer(bright, darks).warnings)


def test_sessions_that_do_not_tell_are_refused():
    sensor = SimulatedSensor(shape=(32, 30))
    bright, dark = sensor.session([0.1, 0.2, 0.3, 0.4])
    copies = level_of(np.stack([sensor.frame()] * 2), exposure=1e-3, light=0.0)
    other = level_of(sensor.frames(2)[:, :16], exposure=1e-3, light=0.0)
    later = level_of(sensor.frames(2), exposure=0.5, light=0.0)
    for levels, darks, message in (
        (bright, [], "no dark level"),
        (bright[:2], dark, "2 bright levels"),
        (bright, [copies], "copies"),
        (sensor.session([0.0, 0.0, 0.0])[0], dark, "turn the lamp up"),
        (sensor.session([0.3, 0.9, 1.1, 1.2, 1.3])[0], dark, "take darker levels"),
        (bright, [later, later], "no dark was taken at exposure = 0.001 s"),
    ):
        with pytest.raises(CalibrationError, match=message):
            photon_transfer(levels, darks)
    with pytest.raises(ValueError, match="give light=0"):
        photon_transfer(bright, [bright[0]])
    with pytest.raises(ValueError, match="same pixels in all"):
        photon_transfer(bright, [other])


def test_processed_frames_whose_noise_does_not_grow_are_refused():
    rng = np.random.default_rng(0)
    levels = [
        level_of(256 + 100 * i + noise * rng.normal(size=(2, 40, 40)), exposure=1e-3, light=i)
        for i, noise in enumerate((9.0, 8.0, 7.0, 6.0, 5.0, 9.5))
    ]
    with pytest.raises(CalibrationError, match="does not grow"):
        photon_transfer(levels[1:], levels[:1])
