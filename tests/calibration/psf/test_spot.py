"""Measured PSFs: energy, place and size of a known spot, colour plane by colour plane."""

import numpy as np
import pytest

from calibration.bayer import places, planes
from calibration.errors import CalibrationError
from calibration.psf.hdr import MergedRate
from calibration.psf.spot import measure_plane, measure_psf

RADIUS = 7.0  # pixels of the mosaic


def gauss(shape, centre, *, energy=1e6, radius=RADIUS, step=1, first=(0, 0)):
    """Spot of this energy per sample grid of every `step`-th pixel [e-/s]."""
    y, x = (first[i] + step * np.arange(n) - centre[i] for i, n in enumerate(shape))
    core = np.exp(-(y[:, None] ** 2 + x**2) / (2 * radius**2))
    return energy * step**2 * core / (2 * np.pi * radius**2)


def merged(mosaic, rng=None, *, floor=2.0, scale=0.05, cfa="RGGB", valid=None):
    variance = floor + scale * np.maximum(mosaic, 0)
    rate = mosaic if rng is None else mosaic + rng.normal(size=mosaic.shape) * np.sqrt(variance)
    valid = np.ones(mosaic.shape, bool) if valid is None else valid
    return MergedRate(
        rate=np.where(valid, rate, np.nan),
        variance=np.where(valid, variance, np.inf),
        valid=valid,
        cfa=cfa,
        origin=(100, 201) if not cfa else (100, 200),
        scale={},
        chi_square={},
        exposures=(),
        warnings=(),
    )


def colours(shape, centres):
    """A mosaic whose planes have spots of their own, on a tilted background."""
    out = np.empty(shape)
    y, x = np.indices(shape)
    for name, place in places(out, "RGGB"):
        first = (place[0].start, place[1].start)
        size = (shape[0] // 2, shape[1] // 2)
        out[place] = gauss(size, centres[name], step=2, first=first)
    return out + 5 + 0.02 * y - 0.01 * x


SHAPE = (120, 132)
CENTRES = {"R": (60.9, 65.3), "Gr": (60.2, 66.1), "Gb": (60.2, 66.1), "B": (59.7, 66.6)}


def test_energy_place_and_widths_are_those_of_the_spot():
    psf = measure_psf(merged(colours(SHAPE, CENTRES)), wing=None)
    for name, plane in psf.planes.items():
        # a quarter of the pixels, each four times as bright
        assert plane.energy.value == pytest.approx(1e6, rel=1e-3)
        place = [c.value for c in plane.centroid]
        assert place == pytest.approx([100 + CENTRES[name][0], 200 + CENTRES[name][1]], abs=5e-3)
        assert plane.width.value == pytest.approx(RADIUS * np.sqrt(2), rel=2e-3)
        for share, radius in plane.encircled.items():
            # a Gaussian holds 1 - exp(-r^2 / 2 s^2); samples are two pixels apart
            assert radius == pytest.approx(RADIUS * np.sqrt(-2 * np.log(1 - share)), abs=0.4)


def test_all_of_it_is_as_sure_as_it_says():
    rng, pulls = np.random.default_rng(0), []
    clean = colours(SHAPE, CENTRES)
    for _ in range(12):
        psf = measure_psf(merged(clean, rng), wing=None)
        for name, plane in psf.planes.items():
            truth = (1e6, 100 + CENTRES[name][0], 200 + CENTRES[name][1], RADIUS * np.sqrt(2))
            found = (plane.energy, *plane.centroid, plane.width)
            pulls.append([(f.value - t) / f.uncertainty for f, t in zip(found, truth, strict=True)])
    # 48 planes: 0.15 and 0.1
    assert np.abs(np.mean(pulls, axis=0)).max() < 0.6
    np.testing.assert_allclose(np.std(pulls, axis=0), 1, atol=0.35)


def test_colours_are_displaced_against_green_and_places_in_the_block_are_no_colour():
    rng, pulls = np.random.default_rng(1), []
    clean = colours(SHAPE, CENTRES)
    for _ in range(12):
        shifts = measure_psf(merged(clean, rng), wing=None).shifts
        assert set(shifts) == {"R", "Gb", "B"}
        for name, shift in shifts.items():
            truth = np.subtract(CENTRES[name], CENTRES["Gr"])
            found = (shift.row, shift.column)
            pulls.append([(f.value - t) / f.uncertainty for f, t in zip(found, truth, strict=True)])
            assert max(f.uncertainty for f in found) < 0.02
    # 72 values: 0.12 and 0.09
    assert abs(np.mean(pulls)) < 0.4
    assert np.std(pulls) == pytest.approx(1, abs=0.3)


def test_a_plane_is_not_touched_by_the_others():
    """No demosaicing: what the blue pixels saw is nowhere in red."""
    mosaic = colours(SHAPE, CENTRES)
    changed = mosaic.copy()
    planes(changed, "RGGB")["B"][...] *= 3
    before, after = (measure_psf(merged(m), wing=None).planes["R"] for m in (mosaic, changed))
    np.testing.assert_array_equal(before.rate, after.rate)
    assert before.energy == after.energy


def test_a_wing_is_not_taken_for_background():
    rng = np.random.default_rng(2)
    y, x = np.indices((160, 170))
    wing = 400 * (1 + ((y - 80.2) ** 2 + (x - 84.9) ** 2) / 15**2) ** -1.5
    clean = gauss((160, 170), (80.2, 84.9), radius=5.0) + wing + 3.0
    errors = {}
    for power in (None, 3.0):
        found = measure_plane(*noisy(clean, rng), wing=power)
        inside = np.hypot(y - 80.2, x - 84.9) <= found.radius
        truth = (clean - 3.0)[inside].sum()
        errors[power] = (found.energy.value - truth) / found.energy.uncertainty
    assert abs(errors[3.0]) < 3
    assert errors[None] < -30


def noisy(clean, rng):
    variance = 2.0 + 0.05 * clean
    rate = clean + rng.normal(size=clean.shape) * np.sqrt(variance)
    return rate, variance, np.ones(clean.shape, bool)


def test_the_unit_psf_sums_to_one_within_the_circle_and_keeps_negative_noise():
    rng = np.random.default_rng(3)
    clean = gauss((90, 96), (44.6, 47.0), radius=4.0)
    rate, variance, valid = noisy(clean, rng)
    valid[40, 40] = False
    rate[40, 40] = np.nan
    plane = measure_plane(rate, variance, valid, wing=None)
    unit = plane.unit_psf()
    y, x = np.indices(unit.shape)
    row, column = (c.value for c in plane.centroid)
    inside = np.hypot(y - row, x - column) <= plane.radius + 1e-9
    assert unit[inside].sum() == pytest.approx(1, abs=1e-6)
    assert (unit[:10] < 0).mean() == pytest.approx(0.5, abs=0.1)
    assert np.isnan(plane.rate[40, 40])
    assert np.isfinite(unit).all()


def test_dynamic_range_is_that_of_the_pixels_as_they_came_out():
    rng = np.random.default_rng(4)
    rate, variance, valid = noisy(gauss((90, 96), (44.6, 47.0), radius=4.0), rng)
    plane = measure_plane(rate, variance, valid, wing=None)
    assert plane.dynamic_range == pytest.approx(20 * np.log10(plane.peak / np.sqrt(2.0)), abs=0.2)
    # noise that the variance does not know counts all the same
    worse = measure_plane(rate + 3 * rng.normal(size=rate.shape), variance, valid, wing=None)
    assert worse.dynamic_range == pytest.approx(20 * np.log10(worse.peak / np.sqrt(11.0)), abs=0.2)


def test_regions_without_a_spot_or_with_a_part_of_one_are_refused():
    rng = np.random.default_rng(5)
    with pytest.raises(CalibrationError, match="R: no pixel is brighter than noise"):
        measure_psf(merged(np.full(SHAPE, 5.0), rng))
    with pytest.raises(CalibrationError, match="at the edge of the region"):
        measure_plane(*noisy(gauss((80, 90), (0.0, 45.0)), rng), wing=None)
    with pytest.raises(CalibrationError, match="no pixel is valid"):
        measure_psf(merged(np.ones(SHAPE), valid=np.zeros(SHAPE, bool)))


def test_a_mono_sensor_has_one_plane_at_full_resolution():
    clean = gauss((90, 96), (44.6, 47.0), radius=4.0)
    psf = measure_psf(merged(clean, cfa=""), wing=None)
    assert set(psf.planes) == {"mono"}
    assert psf.shifts == {}
    assert psf.planes["mono"].centroid[1].value == pytest.approx(201 + 47.0, abs=1e-3)
