"""Registration: known displacements come back, as surely as it says."""

import math

import numpy as np
import pytest

from calibration.errors import CalibrationError
from calibration.psf.registration import DriftLog, filled, register


def image(shape, centre, *, peak=1000.0, radius=4.0):
    """A spot without symmetry, in closed form, so that it can be drawn anywhere."""
    y, x = np.indices(shape)
    y, x = y - centre[0], x - centre[1]
    arms = np.exp(-(y**2 / (2 * radius**2) + x**2 / (2 * (0.6 * radius) ** 2)))
    second = 0.5 * np.exp(-((y - 5) ** 2 + (x + 3) ** 2) / (2 * (0.7 * radius) ** 2))
    return peak * (arms + second)


SHAPE = (64, 80)
MIDDLE = (30.0, 41.0)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.37123, -0.81077), (-7.25338, 4.5), (0.5, 0.5)])
def test_a_known_displacement_comes_back(shift):
    moved = image(SHAPE, (MIDDLE[0] + shift[0], MIDDLE[1] + shift[1]))
    found = register(image(SHAPE, MIDDLE), 0.3 * moved, variance=1.0)
    # without noise, rounding is all that is left
    assert (found.row.value, found.column.value) == pytest.approx(shift, abs=1e-7)
    assert found.similarity == pytest.approx(1, abs=1e-6)


def test_towards_larger_rows_and_columns_is_positive():
    found = register(image(SHAPE, MIDDLE), image(SHAPE, (33, 43)), variance=1.0)
    assert (found.row.value, found.column.value) == pytest.approx((3, 2), abs=1e-5)


@pytest.mark.parametrize("uneven", [False, True])
def test_it_is_as_sure_as_it_says_and_within_two_hundredths(uneven):
    rng = np.random.default_rng(3)
    pulls, errors = [], []
    for _ in range(60):
        shift = rng.uniform(-1, 1, 2)
        clean = (image(SHAPE, MIDDLE), image(SHAPE, MIDDLE + shift, peak=500.0))
        variance = [25.0 + (one / 4 if uneven else 0.0) for one in clean]
        noisy = [
            c + rng.normal(size=SHAPE) * np.sqrt(v) for c, v in zip(clean, variance, strict=True)
        ]
        # the reference is twice as bright: in the units of the image, a quarter of its variance
        found = register(*noisy, variance=variance[1] + variance[0] / 4)
        error = np.array([found.row.value, found.column.value]) - shift
        errors.append(error)
        pulls.append(error / [found.row.uncertainty, found.column.uncertainty])
    # 120 values: 0.09 and 0.065
    assert abs(np.mean(pulls)) < 0.35
    assert np.std(pulls) == pytest.approx(1, abs=0.2)
    assert np.std(errors) < 0.02


def test_a_lower_band_is_less_sure_and_still_honest():
    rng = np.random.default_rng(4)
    pulls, sigma = {1.0: [], 0.06: []}, {}
    for _ in range(40):
        noisy = [image(SHAPE, c) + rng.normal(size=SHAPE) * 5 for c in (MIDDLE, (30.3, 40.8))]
        for band, kept in pulls.items():
            found = register(*noisy, variance=50.0, band=band)
            kept.append((found.row.value - 0.3) / found.row.uncertainty)
            sigma[band] = found.row.uncertainty
    assert sigma[0.06] > 1.2 * sigma[1.0]
    for kept in pulls.values():
        assert np.std(kept) == pytest.approx(1, abs=0.35)


def test_pixels_that_are_not_valid_do_not_matter():
    rng = np.random.default_rng(5)
    valid = rng.random(SHAPE) > 0.01
    moved = image(SHAPE, (30.4, 41.2))
    moved[~valid] = 1e6
    found = register(image(SHAPE, MIDDLE), moved, variance=1.0, valid=valid)
    # what is filled in differs from what was there
    assert (found.row.value, found.column.value) == pytest.approx((0.4, 0.2), abs=5e-3)


def test_filling_takes_the_nearest_and_keeps_what_is_known():
    values = np.arange(30.0).reshape(5, 6)
    valid = np.ones((5, 6), bool)
    valid[1:4, 1:4] = False
    out = filled(np.where(valid, values, np.nan), valid)
    assert np.array_equal(out[valid], values[valid])
    # the middle of a ramp between its sides
    assert out[2, 2] == pytest.approx(values[2, 2], abs=1.5)
    with pytest.raises(CalibrationError, match="no pixel is valid"):
        filled(values, np.zeros((5, 6), bool))


def test_a_drift_is_its_rate():
    rng = np.random.default_rng(6)
    log = DriftLog()
    for time in np.arange(12) * 0.5:
        clean = image(SHAPE, (30 + 0.02 * time, 41 - 0.01 * time))
        log.add(float(time), clean + rng.normal(size=SHAPE), np.full(SHAPE, 1.0))
    rows, columns = log.rate()
    assert abs(rows.value - 0.02) < 4 * rows.uncertainty
    assert abs(columns.value + 0.01) < 4 * columns.uncertainty
    assert rows.uncertainty < 1e-3
    assert log.largest == pytest.approx(math.hypot(0.11, 0.055), abs=0.01)


def test_what_cannot_be_registered_is_refused():
    rng = np.random.default_rng(7)
    spot = image(SHAPE, MIDDLE)
    with pytest.raises(CalibrationError, match="too little in common"):
        register(rng.normal(size=SHAPE), rng.normal(size=SHAPE), variance=2.0)
    with pytest.raises(CalibrationError, match="even"):
        register(np.zeros(SHAPE), spot, variance=1.0)
    bar = np.broadcast_to(np.sin(np.arange(80) / 80 * 2 * np.pi * 3), SHAPE)
    with pytest.raises(CalibrationError, match="one direction"):
        register(bar, bar, variance=1.0)
    with pytest.raises(ValueError, match=r"\(64, 80\), image \(64, 79\)"):
        register(spot, spot[:, 1:], variance=1.0)
    with pytest.raises(ValueError, match="band = 0"):
        register(spot, spot, variance=1.0, band=0.0)
    with pytest.raises(ValueError, match="not finite"):
        register(spot, np.full(SHAPE, np.nan), variance=1.0)
    log = DriftLog()
    for time in (0.0, 1.0):
        log.add(time, spot, 1.0)
    with pytest.raises(CalibrationError, match="2 images"):
        log.rate()
