"""Tabulated colours: quadrature, draws, ends."""

import math

import pytest
import torch

from optics import Band, TableBand
from optics.sensor import IMX477_BANDS, imx477_table


def uneven():
    """Zero ends, a gap, uneven steps."""
    return TableBand(
        [400e-9, 410e-9, 450e-9, 470e-9, 500e-9, 540e-9, 600e-9],
        [0.0, 0.0, 2.0, 0.0, 0.0, 3.0, 1.0],
    )


def brute(band, function, parts=400_000):
    """Midpoint sum of `function` times the table, over the table alone."""
    wave = torch.tensor(band.wavelengths, dtype=torch.float64)
    value = torch.tensor(band.values, dtype=torch.float64)
    x = wave[0] + (torch.arange(parts, dtype=torch.float64) + 0.5) / parts * (wave[-1] - wave[0])
    k = (torch.searchsorted(wave, x) - 1).clamp(0, len(wave) - 2)
    density = value[k] + (x - wave[k]) / (wave[k + 1] - wave[k]) * (value[k + 1] - value[k])
    return float((function(x) * density).sum() / density.sum())


@pytest.mark.parametrize("count", [1, 2, 5, 31])
def test_nodes_give_the_mean_wavelength_of_the_table_exactly(count):
    band = uneven()
    waves, weights = band.nodes(count)
    mean = brute(band, lambda x: x)
    assert float(weights.sum()) == pytest.approx(1, rel=1e-14)
    # the sum it is compared with steps over the corners: (1 / 400000)^2
    assert float((waves * weights).sum()) == pytest.approx(mean, rel=1e-10)
    assert band.centre == pytest.approx(mean, rel=1e-10)
    assert bool((waves.diff() > 0).all())


def test_width_is_the_standard_deviation_of_the_table():
    band = uneven()
    mean = band.centre
    assert band.width == pytest.approx(math.sqrt(brute(band, lambda x: (x - mean) ** 2)), rel=1e-8)


def test_every_node_is_the_mean_of_its_share_of_the_energy():
    """A box of 300 nm in 3 parts of equal energy: nodes at 1/6, 1/2 and 5/6."""
    waves, weights = TableBand([400e-9, 700e-9], [2.0, 2.0]).nodes(3)
    torch.testing.assert_close(
        waves, torch.tensor([450e-9, 550e-9, 650e-9], dtype=torch.float64), rtol=1e-13, atol=0
    )
    torch.testing.assert_close(weights, torch.full((3,), 1 / 3, dtype=torch.float64))


def test_nodes_converge_on_an_oscillating_integrand():
    band = imx477_table()[1]

    def fringe(x):
        return torch.cos(2 * math.pi * 5 * 540e-9 / x)

    truth = brute(band, fringe)
    errors = []
    for count in (5, 40, 320):
        waves, weights = band.nodes(count)
        errors.append(abs(float((fringe(waves) * weights).sum()) - truth))
    # between first order (a tail that one node spans) and second: at least 8 per eightfold count
    assert errors[1] < errors[0] / 8
    assert errors[2] < errors[1] / 8
    assert errors[2] < 5e-4


def test_no_node_or_draw_lies_beyond_the_ends():
    band = uneven()
    assert (band.shortest, band.longest) == (410e-9, 600e-9)
    waves = torch.cat([band.nodes(500)[0], band.draw(torch.Generator().manual_seed(0), 5000)])
    assert 410e-9 <= float(waves.min()) < 413e-9
    assert 599e-9 < float(waves.max()) <= 600e-9
    assert not bool(((waves > 470e-9) & (waves < 500e-9)).any())  # the gap


def test_a_band_ends_two_deviations_from_its_mean():
    band = Band(550e-9, 30e-9)
    waves = band.nodes(1001)[0]
    assert band.shortest == pytest.approx(490e-9)
    assert band.longest == pytest.approx(610e-9)
    assert band.shortest <= float(waves.min())
    assert float(waves.max()) <= band.longest


def test_single_draws_follow_the_table():
    band, generator = uneven(), torch.Generator().manual_seed(3)
    draws = torch.cat([band.draw(generator) for _ in range(4000)])
    # Kolmogorov-Smirnov: 1.95 / sqrt(n) holds with 99.9 %
    rank = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    below = torch.tensor([brute(band, lambda x, w=w: x <= w, 2000) for w in draws.sort()[0][::40]])
    assert float((below - rank[::40]).abs().max()) < 1.95 / math.sqrt(4000)


def test_stratified_draws_estimate_without_bias():
    band, generator = imx477_table()[0], torch.Generator().manual_seed(0)
    means = torch.stack([band.draw(generator, 8).mean() for _ in range(500)])
    error = float(means.std()) / math.sqrt(500)
    assert abs(float(means.mean()) - band.centre) < 4.5 * error
    # a plain mean of 8 has width / 2.8; the long tails leave this much
    assert float(means.std()) < band.width / 4.5


def test_the_scale_of_a_table_has_no_meaning():
    a, b = uneven(), uneven()
    b = TableBand(b.wavelengths, [7.5 * v for v in b.values])
    torch.testing.assert_close(a.nodes(9)[0], b.nodes(9)[0], rtol=1e-14, atol=0)


def test_the_made_up_table_resembles_the_normal_bands():
    for band, table in zip(IMX477_BANDS, imx477_table(), strict=True):
        peak = table.wavelengths[max(range(len(table.values)), key=table.values.__getitem__)]
        assert abs(peak - band.centre) < 5e-9  # the table's own step
        assert abs(table.centre - band.centre) < 20e-9  # leak and lobes pull
        assert (table.shortest, table.longest) == pytest.approx((390e-9, 700e-9))
    for band, table in zip(IMX477_BANDS, imx477_table(leak=0.0), strict=True):
        assert abs(table.centre - band.centre) < 15e-9


@pytest.mark.parametrize(
    ("wavelengths", "values", "message"),
    [
        ([500e-9], [1.0], "1 and 1 entries"),
        ([500e-9, 600e-9], [1.0], "2 and 1 entries"),
        ([500, 600], [1, 1], "wavelength = 500 m is outside"),
        ([500e-9, 500e-9], [1.0, 1.0], "5e-07 m follows 5e-07 m; sort the table"),
        ([500e-9, 600e-9], [1.0, -0.1], "values: -0.1 at 6e-07 m"),
        ([500e-9, 600e-9], [1.0, math.nan], "values: nan at 6e-07 m"),
        ([500e-9, 600e-9], [0, 0], "all are zero"),
    ],
)
def test_bad_tables_are_refused(wavelengths, values, message):
    with pytest.raises(ValueError, match=message):
        TableBand(wavelengths, values)


def test_bad_counts_and_leaks_are_refused():
    with pytest.raises(ValueError, match="count = 0"):
        uneven().nodes(0)
    with pytest.raises(ValueError, match="count = 0"):
        uneven().draw(torch.Generator(), 0)
    with pytest.raises(ValueError, match=r"leak = 1 is outside \[0, 1\)"):
        imx477_table(leak=1.0)
