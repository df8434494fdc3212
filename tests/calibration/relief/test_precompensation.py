"""Pre-compensation with a linear process: the error shrinks as its closed form says."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from calibration.errors import CalibrationError
from calibration.relief.precompensation import Precompensation
from tests.hardware.fabrication.designs import blazed, design_of

CELL = 4e-6
SHAPE = (64, 96)


def process(height, scale, blur):
    """Depth scale and Gaussian blur."""
    return scale * ndimage.gaussian_filter(height, blur / CELL, mode="wrap")


def rms(values):
    return float(np.sqrt(np.mean(values**2)))


@pytest.mark.parametrize("period", [8, 16, 32])
def test_a_wave_shrinks_by_its_closed_form_every_round(period):
    x = np.arange(SHAPE[1])
    wave = 1e-6 * np.cos(2 * np.pi * x / period) + 0 * np.arange(SHAPE[0])[:, None]
    design = design_of(wave)
    rule = Precompensation(lowest=-1e-5, highest=1e-5, gain=0.9, blur=3e-6)
    wanted = rule.factor(1 / (period * CELL), scale=0.9, process_blur=5e-6)
    # far enough from the rim: the low-pass there is a mean over what is inside
    y, x = np.meshgrid(*design.axes()[::-1], indexing="ij")
    middle = np.hypot(x, y) < design.diameter / 2 - 40e-6
    ordered, before = design, None
    for _ in range(3):
        residual = process(ordered.height, 0.9, 5e-6) - design.height
        after = residual[middle]
        if before is not None:
            size = rms(after) / rms(before)
            # the Gaussians are cut at 4 standard deviations and sampled: 1e-3
            assert size == pytest.approx(abs(wanted), abs=5e-3)
        before = after
        ordered = rule.next(ordered, residual).design


def test_the_error_falls_by_a_fifth_and_more_in_each_of_three_rounds():
    rng = np.random.default_rng(4)
    smooth = ndimage.gaussian_filter(rng.normal(size=SHAPE), 5, mode="wrap")
    design = design_of(smooth / smooth.std() * 1e-6)
    rule = Precompensation(lowest=-2e-5, highest=2e-5, gain=0.8, blur=2e-6)
    ordered, sizes = design, []
    for _ in range(4):
        residual = process(ordered.height, 0.9, 8e-6) - design.height
        sizes.append(rms(residual[design.clear]))
        seen = residual + rng.normal(size=SHAPE) * 2e-9
        seen[rng.random(SHAPE) < 0.03] = np.nan
        ordered = rule.next(ordered, seen).design
    # the worst wave of weight: scale 0.9, blur 8 um, wavelength about 2 pi 5 cells: factor 0.45
    assert all(after < 0.8 * before for before, after in pairwise(sizes))
    assert sizes[-1] < 0.25 * sizes[0]


def test_the_process_range_holds_and_is_counted():
    design = blazed()
    rule = Precompensation(lowest=0.0, highest=1e-6, gain=1.0, blur=0.0)
    result = rule.next(design, np.full(design.shape, -2e-7))
    inside = result.design.height[design.clear]
    assert inside.max() <= 1e-6
    assert result.limited == np.count_nonzero(design.height[design.clear] + 2e-7 > 1e-6)
    assert result.limited > 0
    np.testing.assert_array_equal(result.design.height[~design.clear], design.height[~design.clear])


def test_a_made_surface_that_is_too_low_is_ordered_higher_in_that_place():
    design = design_of(np.zeros(SHAPE))
    residual = np.zeros(SHAPE)
    residual[20, 60] = -1e-7
    result = Precompensation(lowest=-1e-6, highest=1e-6, blur=CELL).next(design, residual)
    assert np.unravel_index(np.argmax(result.design.height), SHAPE) == (20, 60)
    # what the low-pass spreads is still the gain times the error
    assert result.design.height.sum() == pytest.approx(0.8e-7, rel=1e-6)
    assert result.change == pytest.approx(rms(result.design.height[design.clear]))


def test_what_cannot_work_is_refused():
    with pytest.raises(ValueError, match="gain"):
        Precompensation(lowest=0.0, highest=1.0, gain=2.0)
    with pytest.raises(ValueError, match="lowest"):
        Precompensation(lowest=1.0, highest=1.0)
    with pytest.raises(ValueError, match="blur"):
        Precompensation(lowest=0.0, highest=1.0, blur=math.nan)
    design = replace(blazed(), diameter=100e-6)
    rule = Precompensation(lowest=0.0, highest=1e-5)
    with pytest.raises(ValueError, match="register"):
        rule.next(design, np.zeros((3, 4)))
    with pytest.raises(CalibrationError, match="at least half"):
        rule.next(design, np.full(design.shape, np.nan))
