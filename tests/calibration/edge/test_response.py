"""Slanted edges with a known MTF give it back; real ones give the curves of sfrmat5."""

import json
import math

import numpy as np
import pytest
import tifffile
from scipy.optimize import brentq
from scipy.special import ndtr

from calibration.edge.response import edge_response
from calibration.errors import CalibrationError
from tests.shared_data import shared

DARK, BRIGHT = 100.0, 500.0
SHAPE = (100, 84)


def true_mtf(frequency, sigma, angle):
    """Gaussian blur times the square pixel's aperture along the normal of the edge."""
    aperture = np.sinc(frequency * math.cos(angle)) * np.sinc(frequency * math.sin(angle))
    return np.exp(-2 * (math.pi * sigma * frequency) ** 2) * aperture


def sigma_for(mtf50, angle):
    return brentq(lambda s: true_mtf(mtf50, s, angle) - 0.5, 1e-3, 50)


def frequency_at(level, sigma, angle):
    return brentq(lambda f: true_mtf(f, sigma, angle) - level, 1e-6, 0.95)


def rendered(sigma, angle, *, shape=SHAPE, shift=0.3, bend=0.0, dark=DARK, bright=BRIGHT):
    """A blurred edge as square pixels integrate it, in closed form; bright on the right.

    A Gaussian's second integral, differenced over the two boxes that a turned square is seen as.
    """
    y, x = np.indices(shape, float)
    y -= (shape[0] - 1) / 2
    x -= (shape[1] - 1) / 2 + shift + bend * (y / shape[0]) ** 2
    t = x * math.cos(angle) - y * math.sin(angle)
    a, b = math.cos(angle), abs(math.sin(angle))

    def integral(t):
        density = np.exp(-((t / sigma) ** 2) / 2) / math.sqrt(2 * math.pi)
        return (t**2 + sigma**2) / 2 * ndtr(t / sigma) + sigma * t / 2 * density

    far, near = (a + b) / 2, (a - b) / 2
    share = integral(t + far) - integral(t + near) - integral(t - near) + integral(t - far)
    return dark + (bright - dark) * share / (a * b)


def noisy(picture, noise, seed=0):
    return picture + np.random.default_rng(seed).normal(size=picture.shape) * noise


def edge_of(mtf50=0.25, degrees=6.0, **changes):
    angle = math.radians(degrees)
    return rendered(sigma_for(mtf50, abs(angle)), angle, **changes)


# 1/8, 1/6, 1/5 and 1/4: few distances from the edge occur, the worst for fixed bins
FRACTIONS = [math.degrees(math.atan(1 / n)) for n in (8, 6, 5, 4)]


@pytest.mark.parametrize("mtf50", [0.15, 0.22, 0.28, 0.32, 0.35])
@pytest.mark.parametrize(
    ("oversampling", "tolerance"),
    # the second-order treatment of bins unevenly filled leaves 0.0005, evenly filled 0.0001
    [(4.0, 6e-4), ("even", 1.5e-4)],
)
def test_noiseless_edge_gives_its_mtf_at_any_angle(mtf50, oversampling, tolerance):
    for degrees in [3.0, 4.1, 5.0, 6.7, 8.2, 10.3, 12.9, 15.0, *FRACTIONS]:
        angle = math.radians(degrees)
        sigma = sigma_for(mtf50, angle)
        found = edge_response(rendered(sigma, angle), oversampling=oversampling, draws=0)
        assert found.mtf50.value == pytest.approx(mtf50, abs=tolerance)
        mtf30 = frequency_at(0.3, sigma, angle)
        assert found.mtf30.value == pytest.approx(mtf30, abs=2 * tolerance)
        half = true_mtf(0.25, sigma, angle)
        assert found.mtf_half_nyquist.value == pytest.approx(half, abs=2 * tolerance)
        below = found.frequency <= 0.5
        truth = true_mtf(found.frequency[below], sigma, angle)
        np.testing.assert_allclose(found.mtf[below], truth, rtol=0, atol=4 * tolerance)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dark_side", ["left", "right"])
@pytest.mark.parametrize("degrees", [7.0, -7.0])
def test_orientation_polarity_and_direction_are_found(transposed, dark_side, degrees):
    bright_first = dark_side == "right"
    levels = {"dark": BRIGHT, "bright": DARK} if bright_first else {}
    plane = edge_of(0.3, degrees, shift=4.0, **levels)
    found = edge_response(plane.T if transposed else plane, draws=0)
    assert found.orientation == ("horizontal" if transposed else "vertical")
    assert math.degrees(found.angle) == pytest.approx(degrees, abs=2e-3)
    assert found.mtf50.value == pytest.approx(0.3, abs=3e-4)
    assert (found.dark, found.bright) == (pytest.approx(DARK), pytest.approx(BRIGHT))
    middle = (SHAPE[1] - 1) / 2 + 4.0  # the bins' own quarter of a pixel does not enter here
    assert found.edge.mean() == pytest.approx(middle, abs=1e-2)
    assert len(found.location) == SHAPE[0]


def test_the_bins_and_rows_of_sfrmat5_lower_mtf50_as_known():
    """-0.0018 to -0.0022 at 0.32 and -0.0005 at 0.22, whatever the angle, were measured with it."""
    for mtf50, bias in [(0.32, -0.0021), (0.22, -0.0005)]:
        for degrees in (3.0, 6.0, 12.9):
            found = edge_response(edge_of(mtf50, degrees), procedure="sfrmat5", draws=0)
            assert found.mtf50.value - mtf50 == pytest.approx(bias, abs=3e-4)


REAL = ["sfrmat5_Test_edge1_mono", "sfrmat3_v_edge_mono", "sfrmat3_h_edge_mono"]


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("order", [1, 5])
@pytest.mark.parametrize("window", ["tukey", "hamming"])
def test_real_edges_give_the_curves_of_sfrmat5(name, order, window):
    curves = json.loads(shared("data/hardware/sfrmat/sfrmat5_reference_output.json").read_text())
    reference = curves[f"{name}.tif|npol={order}|win={window}"]
    frequency, mtf = np.array(reference["freq_mtf"]).T
    plane = tifffile.imread(shared(f"data/hardware/sfrmat/{name}.tif"))
    found = edge_response(plane, order=order, window=window, procedure="sfrmat5", draws=0)
    assert found.mtf50.value == pytest.approx(reference["sfr50"], abs=3e-3)
    below = frequency <= 0.5
    difference = np.interp(frequency[below], found.frequency, found.mtf) - mtf[below]
    assert np.sqrt(np.mean(difference**2)) < 3.5e-3
    assert np.abs(difference).max() < 8e-3  # noise of the edge beyond 0.4, other trimming of rows


@pytest.mark.parametrize("name", REAL)
def test_on_straight_real_edges_the_order_changes_nothing(name):
    """Located near the edge, noise far from it does not bend the polynomial; sfrmat5's 0.009."""
    plane = tifffile.imread(shared(f"data/hardware/sfrmat/{name}.tif"))
    found = [edge_response(plane, order=order, draws=0).mtf50.value for order in (1, 3, 5)]
    assert np.ptp(found) < 1e-3


def test_polynomial_follows_a_bent_edge_that_a_line_blurs():
    plane = noisy(edge_of(0.3, bend=6.0), 1.0)
    straight = edge_response(plane, order=1, draws=0)
    bent = edge_response(plane, order=2, draws=0)
    assert straight.mtf50.value < 0.27
    assert bent.mtf50.value == pytest.approx(0.3, abs=2e-3)  # the noise, and the turning normal
    assert bent.residual < 0.05 < straight.residual


@pytest.mark.parametrize("mtf50", [0.03, 0.08])
def test_wide_blur_is_measured_too(mtf50):
    """Behind a phase mask the edge is many pixels wide."""
    found = edge_response(noisy(edge_of(mtf50, shape=(150, 200)), 2.0), draws=0)
    assert found.mtf50.value == pytest.approx(mtf50, rel=5e-3)


@pytest.mark.parametrize("mtf50", [0.15, 0.25, 0.35])
def test_noise_at_an_snr_of_100_is_within_the_tolerance_on_average(mtf50):
    plane = edge_of(mtf50, 6.2, shape=(120, 100))
    found = [edge_response(noisy(plane, 4.0, s), draws=0).mtf50.value - mtf50 for s in range(40)]
    scatter = np.std(found) / math.sqrt(len(found))
    assert scatter < 1e-3
    assert abs(np.mean(found)) < 2.5 * scatter + 2e-4


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_intervals_cover_the_truth_at_their_rate():
    trials = 600
    angle = math.radians(6.2)
    sigma = sigma_for(0.22, angle)
    plane = rendered(sigma, angle, shape=(64, 60))
    truth = {
        "mtf50": 0.22,
        "mtf30": frequency_at(0.3, sigma, angle),
        "mtf_half_nyquist": true_mtf(0.25, sigma, angle),
    }
    inside = dict.fromkeys(truth, 0)
    for seed in range(trials):
        found = edge_response(noisy(plane, 8.0, seed), draws=30, seed=seed)
        for name, value in truth.items():
            interval = getattr(found, name)
            inside[name] += interval.low <= value <= interval.high
    spread = math.sqrt(0.95 * 0.05 * trials)  # of a binomial count
    for name, number in inside.items():
        assert abs(number - 0.95 * trials) < 4 * spread, name
        assert number < trials, name


def test_intervals_know_noise_that_is_alike_along_a_row():
    """Smoothed along the rows, noise of the same size moves the MTF more at low frequencies."""
    plane = edge_of(0.2, 6.0)
    white = np.random.default_rng(5).normal(size=SHAPE)
    smooth = (white + np.roll(white, 1, 1) + np.roll(white, 2, 1)) / math.sqrt(3)
    spans = []
    for noise in (white, smooth):
        found = edge_response(plane + 4 * noise, draws=100)
        low = (found.frequency > 0.02) & (found.frequency < 0.12)
        spans.append(float((found.mtf_high - found.mtf_low)[low].mean()))
    # the power at low frequencies is three times that of white noise, the rest of it is less
    assert spans[1] / spans[0] == pytest.approx(math.sqrt(3), rel=0.2)


def test_intervals_belong_to_the_curve_and_are_the_same_each_time():
    plane = noisy(edge_of(), 4.0)
    first, second, other = (edge_response(plane, draws=40, seed=s) for s in (3, 3, 4))
    assert first.mtf50 == second.mtf50
    assert first.mtf50 != other.mtf50
    assert first.mtf50.low < first.mtf50.value < first.mtf50.high
    assert (first.mtf_low <= first.mtf).all()
    assert (first.mtf <= first.mtf_high).all()
    assert math.isnan(edge_response(plane, draws=0).mtf50.low)


def test_levels_noise_and_spread_functions_are_those_of_the_plane():
    found = edge_response(noisy(edge_of(0.3) + 64, 5.0), black_level=64.0, draws=0)
    assert found.dark == pytest.approx(DARK, abs=1.5)
    assert found.bright == pytest.approx(BRIGHT, abs=1.5)
    assert found.contrast == pytest.approx(400 / 600, abs=3e-3)
    # 8400 pixels tell a standard deviation to 1 %; each bin's mean takes 4 % off it
    assert found.noise == pytest.approx(5.0, rel=0.05)
    assert found.snr == pytest.approx(80, rel=0.06)
    step = np.diff(found.position)
    assert np.sum(found.line_spread[1:] * step) == pytest.approx(1.0, abs=1e-3)
    half = np.interp(0.0, found.position, found.edge_spread)
    assert half == pytest.approx((DARK + BRIGHT) / 2, abs=5)


def test_frequency_per_millimetre_is_that_of_the_pitch():
    found = edge_response(edge_of(), spacing=3.1e-6, draws=0)
    assert found.per_millimetre(0.5) == pytest.approx(161.29, abs=0.01)  # 1 / (2 x 3.1 um)
    with pytest.raises(ValueError, match="spacing = None"):
        edge_response(edge_of(), draws=0).per_millimetre(0.5)


def test_mtf_that_stays_above_the_level_crosses_it_at_infinity():
    """A point-sampled ideal edge has no blur but its own bins."""
    y, x = np.indices(SHAPE, float)
    angle = math.radians(5)
    t = (x - 42) * math.cos(angle) - (y - 50) * math.sin(angle)
    found = edge_response(np.where(t > 0, BRIGHT, DARK), draws=0)
    assert found.mtf50.value == math.inf


NOISE = noisy(np.zeros(SHAPE), 2.0, 9)
REFUSED = {
    "region has 19 x 84": edge_of()[:19],
    "not finite": np.where(np.indices(SHAPE).sum(0) == 40, np.nan, edge_of()),
    "no single edge: .* coherence": np.full(SHAPE, 300.0) + NOISE,
    "no single edge.*one straight": edge_of() + edge_of(shape=SHAPE[::-1]).T + NOISE,
    "contrast of 0.09": edge_of(dark=300.0, bright=360.0) + NOISE,
    "two edges": edge_of() + edge_of(shift=20.0) + NOISE,
    "two edges: the picture steps": edge_of() - edge_of(shift=9.0) + NOISE + DARK,
    "0.20 deg off .* crosses 0.35 pixels": edge_of(degrees=0.2) + 0.1 * NOISE,
    "44.* deg off": edge_of(degrees=44.0),
    "50% of the bins are empty": edge_of(degrees=math.degrees(math.atan(0.5))),
    "comes within .* of the region's side": edge_of(shift=36.0, degrees=4.0) + NOISE,
    "scatters by .* raise the order": edge_of(bend=40.0, shift=-5.0) + NOISE,
}


@pytest.mark.parametrize("message", REFUSED)
def test_regions_that_say_nothing_are_refused(message):
    with pytest.raises(CalibrationError, match=message):
        edge_response(REFUSED[message], draws=0)


def test_saturated_pixels_are_refused_and_a_few_are_not():
    plane = edge_of()
    with pytest.raises(CalibrationError, match=r"white level of 450 .* shorten the exposure"):
        edge_response(np.minimum(plane, 450.0), white_level=450.0)
    plane[10:12, 70:80] = 1000.0  # 0.24 %
    edge_response(plane, white_level=1000.0, draws=0)


def test_a_dark_side_that_was_cut_off_is_refused_and_its_noise_is_not():
    dark = noisy(edge_of(dark=1.0), 3.0)
    with pytest.raises(CalibrationError, match="exactly 0 and none is below"):
        edge_response(np.maximum(dark, 0.0), draws=0)
    edge_response(np.rint(dark), draws=0)


def test_even_oversampling_measures_where_fixed_bins_stay_empty():
    plane = edge_of(0.25, math.degrees(math.atan(0.5)))
    assert edge_response(plane, oversampling="even", draws=0).mtf50.value == pytest.approx(
        0.25, abs=1e-3
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"order": 0}, "order = 0"),
        ({"order": 6}, "order = 6"),
        ({"window": "hann"}, "window = 'hann'"),
        ({"procedure": "iso"}, "procedure = 'iso'"),
        ({"oversampling": "variable"}, "oversampling = 'variable'"),
        ({"oversampling": 1.0}, "oversampling = 1"),
        ({"spacing": 3.1}, "spacing = 3.1 m.*3.1e-6"),
        ({"draws": 5}, "draws = 5"),
        ({"black_level": 64.0, "white_level": 64.0}, "black has to be lower"),
    ],
)
def test_arguments_without_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        edge_response(edge_of(), **changes)


def test_a_colour_picture_is_refused():
    with pytest.raises(ValueError, match="one colour plane at a time"):
        edge_response(np.zeros((*SHAPE, 3)))
